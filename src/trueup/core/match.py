"""Match: which golden record is this new row? Yes, new, or ask a person.

A row without a link carries one hash per match rule (null where a value of the rule is missing; null never matches). The rules are
tried in order; the first that gives exactly one golden record without a link in that system links the row. Where a rule gives several,
the following rules may narrow them down; where it gives only records that are linked already, the row is parked.
A weaker rule never links where a stronger one has differing values on both sides.

Systems are taken in order of precedence, those that make no new records last, and rows in order of their key, so that the result does
not depend on who was read first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.frames import constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INDEX_SCHEMA = pl.Schema({"rule": pl.Int64(), "hash": pl.Int64(), GID: pl.Int64()})
PAIR_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String()})
PARKED_SCHEMA = pl.Schema({SYSTEM: pl.String(), KEY: pl.String(), "candidates": pl.List(pl.Int64()), "why": pl.String()})
LINK_SCHEMA = pl.Schema({KEY: pl.String(), "page": pl.Int32(), "place": pl.Int32(), GID: pl.Int64(), "born": pl.Boolean()})

SORTED_ROWS = 500_000
"""So many hashes are sorted at once."""

SEVERAL = "may be one of several records"
TAKEN = "that record already has a row in this system"
DOUBLE = "the same record stands twice in this system"
REUSED = "another record? everything under this key changed at once"
"""Not found by matching: a linked row of which every value changed; its candidate is its own record."""
UNLINKED = "a person took it from its record"
NEW_SINCE = "new since the backup that was restored, and there are no match rules to tell which record it is"
TO_BE_DELETED = "its record was deleted when the backup that was restored was taken"
DUPLICATE = "a duplicate: its record has another row in this system"
"""Not found by matching: the row's own record was united with one that has a row there, too."""
ALIKE = "may be the same as another record"
"""The beginning of the reason of a linked row whose record is much like another one: its candidate. It is delivered to as ever."""
KEPT_APART = (UNLINKED, NEW_SINCE, TO_BE_DELETED, DUPLICATE)
"""No rule may link such a row: it stays parked until a person has placed it."""
DELETED = "the record that a person named for it was deleted"


@dataclass(frozen=True)
class Matching:
    """What matching decided: `links` per system (as LINK_SCHEMA; born: the record is new) and `parked` rows with their candidates."""

    links: Mapping[str, pl.DataFrame]
    parked: pl.DataFrame


def rule_columns(count: int) -> list[str]:
    """The names of the hash columns of `count` match rules."""
    return [f"h{number}" for number in range(count)]


def index_of(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """The long index (rule, hash, __gid) of rows with __gid and one hash column per rule; missing hashes are left out."""
    parts = [
        rows.select(pl.lit(number, dtype=pl.Int64).alias("rule"), pl.col(name).alias("hash"), GID).drop_nulls("hash")
        for number, name in enumerate(rule_columns(count))
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=INDEX_SCHEMA)


def match(
    rows: Mapping[str, pl.DataFrame],
    precedence: Sequence[str],
    rules: int,
    known: pl.DataFrame,
    taken: pl.DataFrame,
    first_gid: int,
    barren: Sequence[str],
) -> Matching:
    """Match unlinked rows.

    rows        per system: __key, page, place (both kept as they are) and one hash column per rule (`rule_columns`)
    known       index (rule, hash, __gid) of golden records that may be meant
    taken       (__gid, __system) links that stand; links of rows confirmed gone are not among them
    first_gid   golden id for the first new record; the following ones count up
    barren      systems whose rows never make a new record; what matches nothing there is left out
    """
    links: dict[str, pl.DataFrame] = {}
    parked = [pl.DataFrame(schema=PARKED_SCHEMA)]
    next_gid = first_gid
    columns = rule_columns(rules)
    order = [name for name in precedence if name not in barren] + [name for name in precedence if name in barren]
    order = [name for name in order if name in rows]
    for system in order:
        mine = _numbered(rows[system])
        occupied = taken.filter(pl.col(SYSTEM) == system).select(GID).unique()
        linked, asked, free = _link(mine, columns, known, occupied)
        born, twins = _births(free.clear() if system in barren else free, columns, next_gid)
        next_gid += born.height
        made = [_links(linked, born=False), _links(born, born=True)]
        links[system] = pl.concat([frame for frame in made if not frame.is_empty()] or made[:1])
        parked += [_of(system, frame) for frame in (asked, twins)]
        if system == order[-1]:  # nobody comes after it
            break
        here = pl.concat([linked.select(GID, *columns), born.select(GID, *columns)])
        known = pl.concat([known, index_of(here, rules)]) if rules else known
        taken = pl.concat([taken, here.select(GID, pl.lit(system).alias(SYSTEM))])
    return Matching(links, pl.concat(parked))


def _links(rows: pl.DataFrame, *, born: bool) -> pl.DataFrame:
    """Rows as LINK_SCHEMA. Column by column: a `select` would copy those of a first load, which lie in memory page by page."""
    news = constant("", born, rows.height, pl.Boolean())
    return pl.DataFrame({name: news if name == "born" else rows[name] for name in LINK_SCHEMA})


def _of(system: str, parked: pl.DataFrame) -> pl.DataFrame:
    return parked.select(pl.lit(system, dtype=pl.String).alias(SYSTEM), KEY, "candidates", "why").cast(PARKED_SCHEMA)


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with their place in the order of keys in `_row`: whole numbers by size and before other keys. The rows stay where they are.

    Most systems show them in this order; else a first load of many rows would take much memory to be sorted as a whole.
    """
    number = rows[KEY].cast(pl.Int64, strict=False)
    if number.null_count() == 0 and number.is_sorted() and not _repeats(number):
        return rows.with_row_index("_row")
    places = _places(number) if number.null_count() == 0 else None
    if places is None:
        order = rows.select(pl.arg_sort_by(number.alias("number"), KEY, nulls_last=True)).to_series()
        places = _scattered(rows.height, [(order, 0)])
    return rows.with_columns(places.alias("_row"))


def _places(number: pl.Series) -> pl.Series | None:
    """The place of every number in their order, found for some of them at a time, as sorting takes memory; None where one comes twice."""
    low, high = cast("int", number.min()), cast("int", number.max())
    step = (high - low) // -(-number.len() // SORTED_ROWS) + 1
    parts: list[tuple[pl.Series, int]] = []
    done = 0
    for start in range(low, high + 1, step):
        at = number.is_between(start, min(start + step - 1, high)).arg_true()
        some = number.gather(at)
        order = some.arg_sort()
        if _repeats(some.gather(order)):
            return None
        parts.append((at.gather(order), done))
        done += at.len()
    return _scattered(number.len(), parts)


def _scattered(height: int, parts: Sequence[tuple[pl.Series, int]]) -> pl.Series:
    """Per row its place: each part lists rows in their order, from a place on."""
    places = pl.zeros(height, dtype=pl.UInt32, eager=True)
    for rows, first in parts:
        places.scatter(rows, pl.int_range(first, first + rows.len(), dtype=pl.UInt32, eager=True))
    return places


def _repeats(ordered: pl.Series) -> bool:
    """Whether a value comes twice among sorted ones."""
    return bool((ordered.slice(1) == ordered.slice(0, max(0, ordered.len() - 1))).any())


def _link(
    rows: pl.DataFrame, columns: list[str], known: pl.DataFrame, occupied: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Split rows into linked (with __gid), parked (as PARKED_SCHEMA, of this system) and those that no golden record claims."""
    if known.is_empty():
        nobody = rows.clear().with_columns(pl.lit(None, dtype=pl.Int64).alias(GID))
        return nobody, _nobody(), rows
    undecided = rows
    linked: list[pl.DataFrame] = []
    narrowing = pl.DataFrame(schema={"_row": pl.UInt32(), GID: pl.Int64()})
    parked: list[pl.DataFrame] = []
    for number, name in enumerate(columns):
        pairs = _candidates(undecided, number, name, columns, known)
        if pairs.is_empty():
            continue
        earlier = narrowing.select("_row").unique()
        narrowed = pairs.join(narrowing, on=["_row", GID], how="semi")
        pairs = pl.concat([pairs.join(earlier, on="_row", how="anti"), narrowed])
        free = pairs.join(occupied, on=GID, how="anti")
        counts = free.group_by("_row").agg(pl.col(GID).first().alias(GID), pl.len().alias("free"))
        unique = counts.filter(pl.col("free") == 1).select("_row", GID)
        full = pairs.join(free.select("_row").unique(), on="_row", how="anti")
        parked.append(_parked(undecided, full, TAKEN))
        several = free.join(counts.filter(pl.col("free") > 1), on="_row", how="semi").select("_row", GID)
        narrowing = pl.concat([narrowing.join(several.select("_row").unique(), on="_row", how="anti"), several])
        linked.append(undecided.join(unique, on="_row"))
        done = pl.concat([unique.select("_row"), full.select("_row").unique()])
        undecided = undecided.join(done, on="_row", how="anti")
        narrowing = narrowing.join(done, on="_row", how="anti")
    parked.append(_parked(undecided, narrowing, SEVERAL))
    free_rows = undecided.join(narrowing.select("_row").unique(), on="_row", how="anti")
    every_link = pl.concat(linked) if linked else rows.clear().with_columns(pl.lit(None, dtype=pl.Int64).alias(GID))
    firsts = every_link.sort("_row").unique(GID, keep="first", maintain_order=True)
    twins = every_link.join(firsts.select("_row"), on="_row", how="anti")
    parked.append(_parked(twins, twins.select("_row", GID), DOUBLE))
    return firsts, pl.concat(parked), free_rows


def _candidates(rows: pl.DataFrame, number: int, name: str, columns: list[str], known: pl.DataFrame) -> pl.DataFrame:
    """(_row, __gid) pairs that one rule gives, without those that a stronger rule contradicts."""
    index = known.filter(pl.col("rule") == number).select(pl.col("hash").alias(name), GID).unique()
    pairs = rows.select("_row", *columns).join(index, on=name, how="inner")
    for stronger in range(number):
        if pairs.is_empty():
            break
        said = known.filter(pl.col("rule") == stronger).select(GID, pl.col("hash").alias("_said"))
        mine = f"h{stronger}"
        both = pairs.select("_row", GID, mine).drop_nulls(mine).join(said, on=GID, how="inner")
        verdict = both.group_by("_row", GID).agg((pl.col(mine) == pl.col("_said")).any().alias("same"))
        pairs = pairs.join(verdict.filter(~pl.col("same")), on=["_row", GID], how="anti")
    return pairs.select("_row", GID).unique()


def _parked(rows: pl.DataFrame, pairs: pl.DataFrame, why: str) -> pl.DataFrame:
    """Parked rows with the sorted golden ids that they may be."""
    lists = pairs.group_by("_row").agg(pl.col(GID).unique().sort().alias("candidates"))
    return rows.join(lists, on="_row").select(KEY, "candidates", pl.lit(why).alias("why"))


def _nobody() -> pl.DataFrame:
    """No parked rows."""
    return pl.DataFrame(schema=PARKED_SCHEMA).drop(SYSTEM)


def _has_doubles(hashes: pl.Series) -> bool:
    """Whether a value comes twice: told by sorting, which takes a tenth of the memory of grouping, and some of them at a time."""
    parts = -(-hashes.len() // SORTED_ROWS)
    step = -(-(1 << 64) // max(1, parts))
    for low in range(-(1 << 63), 1 << 63, step):
        some = hashes if parts == 1 else hashes.filter(hashes.is_between(low, min(low + step - 1, (1 << 63) - 1)))
        if _repeats(some.drop_nulls().sort()):
            return True
    return False


def _births(rows: pl.DataFrame, columns: list[str], first_gid: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """New golden records for rows that nobody claims; rows of one system that look alike: the smallest key is born, the rest park."""
    if not any(_has_doubles(rows[name]) for name in columns):
        place = rows["_row"]
        if rows.height and place.max() != rows.height - 1:  # not all rows are left
            place = place.rank("ordinal") - 1
        return rows.with_columns((place.cast(pl.Int64) + first_gid).alias(GID)), _nobody()
    leader = rows.select("_row", *columns).with_columns(_leader=pl.col("_row"))
    for number, name in enumerate(columns):
        groups = leader.filter(pl.col(name).is_not_null() & (pl.col("_leader") == pl.col("_row")))
        heads = groups.group_by(name).agg(pl.col("_row").min().alias("_head"), pl.len().alias("_many")).filter(pl.col("_many") > 1)
        if heads.is_empty():
            continue
        doubles = groups.join(heads, on=name).filter(pl.col("_row") != pl.col("_head"))
        for stronger in columns[:number]:
            head_says = leader.select(pl.col("_row").alias("_head"), pl.col(stronger).alias("_head_says"))
            doubles = (
                doubles.join(head_says, on="_head", how="left")
                .filter(pl.col(stronger).is_null() | pl.col("_head_says").is_null() | (pl.col(stronger) == pl.col("_head_says")))
                .drop("_head_says")
            )
        moves = doubles.select("_row", "_head")
        leader = (
            leader.join(moves, on="_row", how="left", maintain_order="left")
            .with_columns(_leader=pl.coalesce("_head", "_leader"))
            .drop("_head")
        )
    heads = leader.filter(pl.col("_leader") == pl.col("_row")).select("_row").sort("_row").with_row_index("_number")
    ids = heads.select("_row", (pl.col("_number").cast(pl.Int64) + first_gid).alias(GID))
    born = rows.join(ids, on="_row", maintain_order="left")
    followers = leader.filter(pl.col("_leader") != pl.col("_row")).select("_row", "_leader")
    # A follower's leader may itself follow another row: walk up until a head is reached.
    while not (chained := followers.join(followers.rename({"_row": "_leader", "_leader": "_top"}), on="_leader")).is_empty():
        up = chained.select("_row", "_top")
        followers = followers.join(up, on="_row", how="left").select("_row", pl.coalesce("_top", "_leader").alias("_leader"))
    pairs = followers.join(ids.rename({"_row": "_leader"}), on="_leader").select("_row", GID)
    return born, _parked(rows, pairs, DOUBLE)
