"""Identify: give every newly seen row its golden record, from the links, people's decisions and the match rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import orjson
import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import MISSING, NO_ROWS
from trueup.core.fingerprint import key_hash
from trueup.core.frames import stacked
from trueup.core.match import ALIKE, DELETED, INDEX_SCHEMA, KEPT_APART, LINK_SCHEMA, PARKED_SCHEMA, REUSED, TAKEN, match, rule_columns
from trueup.store import golden, hold, match_key, parked
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.core.match import Matching
    from trueup.model import Entity
    from trueup.runtime.observation import Observation
    from trueup.store import Db

PROVISIONAL = 1 << 40
"""Golden ids from here on are provisional: no record was written under them yet."""

TOLD_SCHEMA = pl.Schema({SYSTEM: pl.String(), **LINK_SCHEMA})

UNMATCHED_ROWS = 1_000
"""Up to so many rows of a system that match no record are read again by key in every pass, where all others are told by a mark."""

NEW_KEY_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "new_key": pl.String()})
RELINK_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "old_key": pl.String(), "new_key": pl.String(), "khash": pl.Int64()})


_NOT_RELINKED = pl.DataFrame(schema=RELINK_SCHEMA)
_NOT_PARKED = pl.DataFrame(schema=PARKED_SCHEMA)


@dataclass
class Identified:
    r"""links: per system, as LINK_SCHEMA (born ones stay provisional). relinked: rows whose key changed. gone: what stays gone.

    parked: rows for a person (PARKED_SCHEMA); `freed` golden ids that were candidates of rows which are not parked any more.
    `resolved` are keys per system of rows that are not parked any more.
    `same_record` ("system\x1fkey"): linked rows that a person declared to be the record that they were, in spite of everything.
    `unmatched` are keys per system of rows that are to be matched again: they make no record by themselves, and are told by a mark where
    nobody touches them, or a known row may be becoming their record just now.
    `suspects` (system, key): linked rows parked as perhaps another record, looked at now; nobody has said anything about them yet.
    `strangers` (system, key): such rows that are gone.
    """

    links: Mapping[str, pl.DataFrame]
    relinked: pl.DataFrame
    gone: pl.DataFrame
    parked: pl.DataFrame
    freed: set[int]
    resolved: dict[str, list[str]]
    same_record: frozenset[str] = frozenset()
    suspects: frozenset[tuple[str, str]] = frozenset()
    strangers: frozenset[tuple[str, str]] = frozenset()
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    first_born: int = PROVISIONAL

    @property
    def provisional(self) -> int:
        """How many provisional ids were given out, to the last one that is linked."""
        last = [cast("int", frame[GID].max()) for frame in self.links.values() if not frame.is_empty()]
        return max([PROVISIONAL - 1, *last]) - PROVISIONAL + 1

    def settle(self, first: int) -> None:
        """Real golden ids for the records that are born, from `first` on; those of the links are made `real` where they are used."""
        self.first_born = first
        self.parked = self.parked.with_columns(pl.col("candidates").list.eval(self.real(pl.element())))

    def real(self, gid: pl.Expr) -> pl.Expr:
        """The golden id for one that may be provisional; a plan keeps those."""
        return pl.when(gid >= PROVISIONAL).then(gid - (PROVISIONAL - self.first_born)).otherwise(gid)

    def real_ids(self, gids: pl.Series) -> pl.Series:
        """As `real`, for a column of ids."""
        born = gids >= PROVISIONAL
        return gids - born.cast(pl.Int64) * (PROVISIONAL - self.first_born) if born.any() else gids

    def take_links(self) -> Mapping[str, pl.DataFrame]:
        """The links, given away: of a first load they are many."""
        links, self.links = self.links, {}
        return links

    def is_born(self, gids: pl.Series) -> pl.Series:
        """Per golden id whether it is a new record's: their ids are the latest."""
        return gids >= self.first_born


def identify(db: Db, entity: Entity, observations: Mapping[str, Observation]) -> Identified:
    """Match what was newly seen. Links of rows confirmed to be gone are released first, so that a renamed row is linked again."""
    gone = stacked([NO_ROWS, *[item.gone for item in observations.values()]])
    fresh = {name: _together(item.take_new_rows(), asked=bool(item.asked)) for name, item in observations.items() if item.new_rows}
    waiting = parked.of(db, entity.name)
    if not fresh:
        nothing = Identified({}, _NOT_RELINKED, gone, _NOT_PARKED, set(), {})
        _settle_parked(db, entity, waiting, observations, nothing)
        return nothing
    rows, apart = _kept_apart(fresh, waiting)
    rows, told = _decided(rows, waiting)
    first = PROVISIONAL + told.height  # the records that people made have the ids before it
    told, impossible = _possible(db, entity, told, gone)
    count = len(entity.match)
    found = _found(db, entity, rows)
    known = match_key.of(db, entity.name, found[GID].unique()).select("rule", "hash", pl.col("gid").alias(GID)) if found.height else found
    shadows = shadow_table.by_golden(db, entity.name, pl.concat([known[GID], told[GID]]).unique())
    links_now = shadows.filter(pl.col("state") != MISSING).select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    taken = links_now.join(gone.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
    taken = pl.concat([taken, told.filter(~pl.col("born")).select(GID, SYSTEM)])
    barren = [name for name, mapping in entity.mappings.items() if mapping.direction == "write"]
    result = match(rows, entity.precedence, count, known.cast(INDEX_SCHEMA), taken, first, barren)
    held = set(hold.of(db, entity.name, decided=False)["system"].to_list())
    again = {name: frames for name, item in observations.items() if name not in held and (frames := item.known_again)}
    result, undecided = _not_becoming(result, rows, again, waiting, count)
    links = _with_told(result.links, told)
    known_again = [
        frame.filter(~pl.col("born")).select(GID, pl.lit(name, dtype=pl.String).alias(SYSTEM), pl.col(KEY).alias("new_key"))
        for name, frame in links.items()
        if not frame["born"].all()
    ]
    relinked = pl.concat([pl.DataFrame(schema=NEW_KEY_SCHEMA), *known_again]).join(
        shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias("old_key")), on=[GID, SYSTEM]
    )
    relinked = relinked.with_columns(key_hash(relinked["new_key"]).alias("khash")).select(list(RELINK_SCHEMA))
    gone = gone.join(relinked.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
    still_parked = pl.concat([result.parked, apart, impossible])
    relinked = pl.concat([relinked.cast(RELINK_SCHEMA), _displaced(db, entity, links, relinked)])
    identified = Identified(links, relinked, gone, still_parked, set(), {})
    _settle_parked(db, entity, waiting, observations, identified)
    for name in rows.keys() & set(barren):
        _find_unmatched(name, rows[name], observations[name], identified)
    for system, key in undecided:
        identified.unmatched.setdefault(system, []).append(key)
    return identified


def _together(frames: list[pl.DataFrame], *, asked: bool) -> pl.DataFrame:
    """The new rows of a system, without their key hashes, which few of them are asked for."""
    rows = pl.concat(frames)
    # The same row may come by cursor and by key: the later reading stands.
    return rows.unique(KEY, keep="last", maintain_order=True) if asked else rows


def _with_told(links: Mapping[str, pl.DataFrame], told: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The links made by people before those made by rules."""
    parts = {str(name): [frame.drop(SYSTEM)] for (name,), frame in told.partition_by(SYSTEM, as_dict=True).items()}
    for name, frame in links.items():
        parts.setdefault(name, []).append(frame)
    return {name: frames[0] if len(frames) == 1 else pl.concat(frames) for name, frames in parts.items()}


def _displaced(db: Db, entity: Entity, links: Mapping[str, pl.DataFrame], relinked: pl.DataFrame) -> pl.DataFrame:
    """Rows that are gone, of which another record's row has the key now: what is known of them is kept under a name of its own."""
    found = [pl.DataFrame(schema=RELINK_SCHEMA)]
    for system, mine in links.items():
        taken = shadow_table.missing(db, entity.name, system)  # nearly always nothing, beside links by the million
        if taken.is_empty():
            continue
        taken = taken.join(mine.select(pl.col(KEY).alias("key")), on="key", how="semi")
        if taken.is_empty():
            continue
        old = shadow_table.by_key(db, entity.name, system, taken["key"]).join(mine.select(pl.col(KEY).alias("key"), GID), on="key")
        new = old.filter(pl.col("gid") != pl.col(GID)).with_columns(pl.format("{} (gone, record {})", "key", "gid").alias("new_key"))
        found.append(
            new.select(
                pl.col("gid").alias(GID),
                pl.lit(system).alias(SYSTEM),
                pl.col("key").alias("old_key"),
                "new_key",
                key_hash(new["new_key"]).alias("khash"),
            ).join(relinked.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
        )
    return pl.concat(found)


def _not_becoming(
    result: Matching, rows: Mapping[str, pl.DataFrame], again: Mapping[str, list[pl.DataFrame]], waiting: pl.DataFrame, count: int
) -> tuple[Matching, list[tuple[str, str]]]:
    """Without new records that a known row may be becoming in this very run; their rows (system, key) are matched in the next one.

    `again` are known rows that read differently. One that is parked as perhaps another record has had its run, and so have those of a
    system whose edits are held: what is made besides them is looked for there first.
    """
    if not again or not any((frame[GID] >= PROVISIONAL).any() for frame in result.links.values()):
        return result, []
    suspects = waiting.filter(pl.col("why") == REUSED)
    others = [
        _hashes(pl.concat(frames).join(_keys_of(suspects, name), on=KEY, how="anti"), count).select("rule", "hash")
        for name, frames in again.items()
    ]
    known = pl.concat(others)
    gids = pl.concat(
        [
            frame.filter(pl.col(GID) >= PROVISIONAL).join(
                _hashes(rows[name], count).join(known, on=["rule", "hash"], how="semi"), on=KEY, how="semi"
            )[GID]
            for name, frame in result.links.items()
        ]
    ).unique()
    if gids.is_empty():
        return result, []
    mine = pl.col(GID).is_in(gids.implode())
    doubles = result.parked.filter(pl.col("candidates").list.set_intersection(gids.to_list()).list.len() > 0)
    later = [
        *[frame.filter(mine).select(pl.lit(name, dtype=pl.String).alias(SYSTEM), KEY) for name, frame in result.links.items()],
        doubles.select(SYSTEM, KEY),
    ]
    put_off = pl.concat(later).unique(maintain_order=True)
    links = {name: frame.filter(~mine) for name, frame in result.links.items()}
    return replace(result, links=links, parked=result.parked.join(put_off, on=[SYSTEM, KEY], how="anti")), put_off.rows()


def _keys_of(waiting: pl.DataFrame, system: str) -> pl.DataFrame:
    """The keys of one system's parked rows."""
    return waiting.filter(pl.col("system") == system).select(pl.col("key").alias(KEY))


def _hashes(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """The match hashes of a system's rows in long form: __key, rule, hash."""
    names = rule_columns(count)
    return rows.select(KEY, *names).unpivot(index=[KEY], on=names, variable_name="rule", value_name="hash").drop_nulls("hash")


def _find_unmatched(system: str, rows: pl.DataFrame, seen: Observation, identified: Identified) -> None:
    """Note the rows that are neither linked nor parked, of a system with a mark; where there are too many, the mark is dropped."""
    placed = pl.concat([identified.links[system].select(KEY), identified.parked.filter(pl.col(SYSTEM) == system).select(KEY)])
    left = rows.select(KEY).join(placed, on=KEY, how="anti")
    if left.height > UNMATCHED_ROWS:
        seen.mark = None  # to ask for so many one by one would cost more than reading everything
    elif seen.mark is not None and not left.is_empty():
        identified.unmatched[system] = left[KEY].to_list()


def _found(db: Db, entity: Entity, rows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What the index of match values knows of these rows: rule, hash, __gid."""
    if not match_key.any_(db, entity.name):
        return pl.DataFrame(schema=INDEX_SCHEMA)
    parts = [
        frame.select(pl.lit(number, dtype=pl.Int64).alias("rule"), pl.col(name).alias("hash")).drop_nulls()
        for number, name in enumerate(rule_columns(len(entity.match)))
        for frame in rows.values()
    ]
    index = pl.concat([pl.DataFrame(schema={"rule": pl.Int64(), "hash": pl.Int64()}), *parts]).unique()
    return match_key.lookup(db, entity.name, index).select("rule", "hash", pl.col("gid").alias(GID))


def _kept_apart(rows: Mapping[str, pl.DataFrame], waiting: pl.DataFrame) -> tuple[Mapping[str, pl.DataFrame], pl.DataFrame]:
    """Take out the rows that a person took from their record and has not placed yet: no rule may link them, they stay parked."""
    placed = waiting.filter(pl.col("why").is_in(KEPT_APART) & pl.col("decision").is_null())
    if placed.is_empty():
        return rows, pl.DataFrame(schema=PARKED_SCHEMA)
    placed = placed.select(
        pl.col("system").alias(SYSTEM),
        pl.col("key").alias(KEY),
        pl.col("candidates").str.json_decode(pl.List(pl.Int64)),
        "why",
    )
    apart = [placed.filter(pl.col(SYSTEM) == name).join(frame.select(KEY), on=KEY, how="semi") for name, frame in rows.items()]
    left = {name: frame.join(mine, on=KEY, how="anti") for (name, frame), mine in zip(rows.items(), apart, strict=True)}
    return left, pl.concat(apart).cast(PARKED_SCHEMA)


def _decided(rows: Mapping[str, pl.DataFrame], waiting: pl.DataFrame) -> tuple[Mapping[str, pl.DataFrame], pl.DataFrame]:
    """Take out the rows that a person decided about: (rest, links as told, with their system)."""
    answers = [
        (system, key, orjson.loads(decision).get("to"))
        for system, key, decision in waiting.select("system", "key", "decision").rows()
        if decision
    ]
    if not answers:
        return rows, pl.DataFrame(schema=TOLD_SCHEMA)
    said = pl.DataFrame(answers, schema={SYSTEM: pl.String(), KEY: pl.String(), "to": pl.Int64()}, orient="row")
    told = [frame.select(KEY, "page", "place").join(said.filter(pl.col(SYSTEM) == name), on=KEY) for name, frame in rows.items()]
    left = {name: frame.join(mine, on=KEY, how="anti") for (name, frame), mine in zip(rows.items(), told, strict=True)}
    number = pl.int_range(pl.len(), dtype=pl.Int64) + PROVISIONAL
    links = (
        pl.concat(told)
        .sort(SYSTEM, KEY)
        .select(SYSTEM, KEY, "page", "place", pl.coalesce("to", number).alias(GID), pl.col("to").is_null().alias("born"))
    )
    return left, links.cast(TOLD_SCHEMA)


def _possible(db: Db, entity: Entity, told: pl.DataFrame, gone: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split what a person decided into (links that can be made, rows that stay parked): the record may be gone or taken by now."""
    wanted = told.filter(~pl.col("born"))
    if wanted.is_empty():
        return told, pl.DataFrame(schema=PARKED_SCHEMA)
    records = golden.fetch(db, entity.name, wanted[GID].unique())
    alive = records.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null()).select(pl.col("id").alias(GID))
    linked = shadow_table.by_golden(db, entity.name, wanted[GID].unique()).filter(pl.col("state") != MISSING)
    held = linked.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias("_held"))
    held = held.join(gone.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
    dead = wanted.join(alive, on=GID, how="anti")
    taken = wanted.join(held, on=[GID, SYSTEM]).filter(pl.col(KEY) != pl.col("_held"))
    seconds = wanted.filter(pl.struct(SYSTEM, GID).is_duplicated() & ~pl.struct(SYSTEM, GID).is_first_distinct())
    impossible = pl.concat(
        [
            rows.select(SYSTEM, KEY, pl.concat_list(GID).alias("candidates"), pl.lit(why).alias("why"))
            for rows, why in ((dead, DELETED), (taken, TAKEN), (seconds, TAKEN))
        ]
    ).unique([SYSTEM, KEY], keep="first", maintain_order=True)
    return told.join(impossible.select(SYSTEM, KEY), on=[SYSTEM, KEY], how="anti"), impossible.cast(PARKED_SCHEMA)


def _settle_parked(db: Db, entity: Entity, waiting: pl.DataFrame, observations: Mapping[str, Observation], identified: Identified) -> None:
    """Find the rows that were parked, were looked at, and are not parked any more; their candidates may be created there again."""
    if waiting.is_empty():
        return
    doubted = waiting.filter((pl.col("why") == REUSED) & pl.col("decision").is_null())
    linked = {
        (str(system), key)
        for (system,), rows in doubted.partition_by("system", as_dict=True).items()
        for key in shadow_table.by_key(db, entity.name, str(system), rows["key"]).filter(pl.col("state") != MISSING)["key"].to_list()
    }
    still = set(identified.parked.select(SYSTEM, KEY).rows())
    same, suspects, strangers = set(), set(), set()
    for system, key, candidates, why, decision in waiting.select("system", "key", "candidates", "why", "decision").rows():
        seen = observations.get(system)
        if seen is None or (system, key) in still or not (seen.complete or key in seen.asked):
            continue
        if key in seen.unreadable:  # still there: what it is cannot be told until it can be read
            continue
        if why.startswith(ALIKE) and key not in set(seen.gone[KEY].to_list()):  # a question about its record, and not about the row
            continue
        if (system, key) in linked and decision is None:
            if key not in set(seen.gone[KEY].to_list()):
                suspects.add((system, key))
                continue
            strangers.add((system, key))
        if why == REUSED and decision and orjson.loads(decision).get("to") in orjson.loads(candidates):
            same.add(f"{system}\x1f{key}")
        identified.resolved.setdefault(system, []).append(key)
        identified.freed.update(orjson.loads(candidates))
    identified.same_record, identified.suspects, identified.strangers = frozenset(same), frozenset(suspects), frozenset(strangers)


def rekeyed(shadows: pl.DataFrame, found: Identified) -> pl.DataFrame:
    """Shadows of renamed rows under their new keys."""
    if found.relinked.is_empty():
        return shadows
    names = found.relinked.select(
        pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system"), pl.col("new_key").alias("_key"), pl.col("khash").alias("_khash")
    )
    return (
        shadows.join(names, on=["gid", "system"], how="left", maintain_order="left")
        .with_columns(key=pl.coalesce("_key", "key"), khash=pl.coalesce("_khash", "khash"))
        .drop("_key", "_khash")
    )
