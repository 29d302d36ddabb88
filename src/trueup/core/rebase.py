"""Rebase: after a mapping changed, tell what is known in the words of the new one, before anything is compared.

A cell that read under an old mapping as it was last seen to was edited by nobody: what it reads as now is what was seen. The golden value
moves with the row that speaks for it, and whoever stood for the golden value stands for it still: nothing is due because it is told
otherwise now. A cell that no old mapping can read has no base, and is at first contact. All else is an edit, and left to the merge.

    before   shadow seen ANN,  row reads ANN under the old mapping, ann under the new one
    after    shadow seen ann,  golden ann

Told twice it is as if told once: a cell that reads now as it was seen is done with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import ASIDE, AT, GID, SYSTEM, WAS, records_to_json
from trueup.core.facts import NO_FIELDS, PRESENT
from trueup.core.frames import long
from trueup.core.golden import apply_changes
from trueup.core.merge import APART, CHANGE_SCHEMA, FREEZE_SCHEMA, HISTORY_SCHEMA, NO_CANDIDATES, NO_CHANGES, NO_HISTORY
from trueup.core.observe import golden_cells, holders, with_deltas, with_origin
from trueup.core.settle import among, rewritten
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.core.facts import Facts

RECORD_FIELD = [GID, "field"]
CELL = [GID, SYSTEM, "field"]
_NOW = pl.Schema(
    {
        GID: pl.Int64(),
        SYSTEM: pl.String(),
        "field": pl.String(),
        "now": pl.String(),
        "was": pl.List(pl.String()),
        "aside": pl.Boolean(),
    }
)
_NO_CELLS = pl.DataFrame(schema={GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String()})


@dataclass(frozen=True)
class Rebased:
    """The facts in the words of the new mappings, and what of them is to be stored.

    records  the golden cells (wide), as `observe.golden_cells` gives them
    moved    (__gid, field) of golden values that are told otherwise now
    cells    (__gid, __system, field) of which `seen` or `sent` is told otherwise now
    frozen   candidates of conflicts that are told otherwise now, each with all others of its conflict
    thawed   (__gid, field) of conflicts of which all candidates are the same value now
    changes  golden values on which those agree
    apart    a line of history for each cell that was the golden value and is another one now: it is left as it is
    """

    facts: Facts
    records: pl.DataFrame
    moved: pl.DataFrame = field(default_factory=lambda: NO_FIELDS)
    cells: pl.DataFrame = field(default_factory=lambda: _NO_CELLS)
    frozen: pl.DataFrame = field(default_factory=lambda: NO_CANDIDATES)
    thawed: pl.DataFrame = field(default_factory=lambda: NO_FIELDS)
    changes: pl.DataFrame = field(default_factory=lambda: NO_CHANGES)
    apart: pl.DataFrame = field(default_factory=lambda: NO_HISTORY)


def rebase(facts: Facts, golden: pl.DataFrame | None = None) -> Rebased:
    """Tell the facts in the words of the mappings of now; the same facts where no row was read under another mapping as well.

    `golden` are the `golden_cells` of the facts, if they are known already.
    """
    fields = {name.removeprefix(WAS) for rows in facts.observed.values() for name in rows.columns if name.startswith(WAS)}
    golden = golden_cells(facts) if golden is None else golden
    if not fields:
        return Rebased(facts, golden)
    names = [name for name in facts.entity.fields if name in fields]
    deltas = {column: long_deltas(facts.shadows, column) for column in ("seen", "sent")}
    cells = _read(facts, standing(facts, golden, deltas, names), names)
    moves = _moves(facts, cells)
    told = _told_otherwise(cells, moves)
    after = told.select(*CELL, "seen", "sent", "writable")
    records = apply_changes(golden, moves)
    shadows = rewritten(facts, after, deltas, records)
    plain = replace(
        facts,
        observed={system: _plain(rows) for system, rows in facts.observed.items()},
        golden=_golden(facts, records, moves),
        shadows=facts.shadows.join(shadows, on=["gid", "system"], how="left", maintain_order="left")
        .with_columns(pl.when("_rewritten").then(f"_{column}").otherwise(column).alias(column) for column in ("seen", "sent"))
        .select(facts.shadows.columns),
    )
    return _with_conflicts(Rebased(plain, records, moves.select(RECORD_FIELD), after.select(CELL), apart=_apart(facts, told)), cells, moves)


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that take part, as they read now."""
    if ASIDE in rows.columns:
        rows = rows.filter(~pl.col(ASIDE).fill_null(value=False)).drop(ASIDE)
    return rows.drop([name for name in rows.columns if name.startswith(WAS)])


# ---------------------------------------------------------------- what is known


def standing(facts: Facts, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], names: list[str]) -> pl.DataFrame:
    """Every cell that these fields have in any system: __gid, __system, field, state, golden, seen, sent, writable."""
    shadows = facts.shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), "state")
    cells = shadows.join(pl.DataFrame({"field": names}), how="cross").filter(among(facts, "mapped"))
    cells = cells.join(long(golden, [GID], names, "golden"), on=RECORD_FIELD, how="left").with_columns(writable=among(facts, "written"))
    cells = with_deltas(cells, deltas)
    sent = pl.when("_has_sent").then("_sent").when("writable").then("golden").otherwise("seen")
    return cells.with_columns(sent=sent).select(*CELL, "state", "golden", "seen", "sent", "writable")


def _read(facts: Facts, cells: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The cells with what was read of them: `now` (null: nothing), and what that means.

    again    the row was read under the mappings of before as well
    rebased  nobody edited it: it is told otherwise
    baseless nothing can be said about what it read as before
    edited   it is somebody's edit
    """
    shown = [pl.DataFrame(schema=_NOW)]
    for system, rows in facts.observed.items():
        mine = [name for name in names if name in facts.entity.shown(system) and name in rows.columns]
        if mine:
            shown.append(_long(system, rows, mine))
    cells = cells.join(pl.concat(shown), on=CELL, how="left", maintain_order="left")
    again = pl.col("was").is_not_null()
    said = pl.col("now").is_not_null()
    other = pl.col("now").ne_missing(pl.col("seen"))
    as_seen = pl.col("was").list.contains(pl.col("seen")).fill_null(value=False)
    unknown = pl.col("was").list.len() == 0
    aside = pl.col("aside").fill_null(value=False)
    # What cannot be counted or listed any more is nothing that a later value could be compared with.
    counted = pl.col("field").is_in([name for name in names if facts.entity.fields[name].conflict in ("add", "union")])
    return cells.with_columns(
        again=again,
        aside=aside,
        rebased=again & said & other & as_seen,
        baseless=(again & other & pl.when(said).then(unknown & ~aside).otherwise(as_seen & (counted | ~aside))).fill_null(value=False),
    ).with_columns(edited=said & other & ~pl.col("rebased") & ~pl.col("baseless"))


def _long(system: str, rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Observed rows as cells: __gid, __system, field, now, was, aside."""
    both = [name for name in names if WAS + name in rows.columns]
    rows = rows.with_columns((pl.col(ASIDE) if ASIDE in rows.columns else pl.lit(value=False)).alias("aside"))
    now = long(rows, [GID, "aside"], names, "now")
    if both:
        was = long(rows.select(GID, *(pl.col(WAS + name).alias(name) for name in both)), [GID], both, "was")
        now = now.join(was, on=RECORD_FIELD, how="left")
    else:
        now = now.with_columns(was=pl.lit(None))
    return now.select(GID, pl.lit(system).alias(SYSTEM), "field", "now", "was", "aside").cast(_NOW)


# ---------------------------------------------------------------- golden values


def _moves(facts: Facts, cells: pl.DataFrame) -> pl.DataFrame:
    """The golden values that are told otherwise: __gid, field, golden, after.

    One row speaks for a golden value: that of the field's owner; else of the system that the value came from; else one whose mapping is
    as it was, by precedence; else by precedence. It must show the value itself, not a form of its own, and stand for it.
    """
    touched = cells.filter(pl.col("rebased") & ~pl.col("aside")).select(RECORD_FIELD).unique()
    entity = facts.entity
    heard = [name for name in entity.precedence if entity.mappings[name].direction != "write"]
    ranks = {name: rank for rank, name in enumerate(entity.precedence)}
    changed = pl.concat_str(SYSTEM, "field", separator="\x1f").is_in(
        [f"{system}\x1f{name}" for system, names in facts.reread.items() for name in names]
    )
    at_hand = holders(facts).with_columns(here=pl.lit(value=True))
    voices = (
        cells.join(touched, on=RECORD_FIELD, how="semi")
        .filter(
            among(facts, "shown")
            & pl.col(SYSTEM).is_in(heard)
            & (pl.col("state") == PRESENT)
            & (pl.col("seen") == pl.col("golden"))
            & (pl.col("sent") == pl.col("golden"))
            & ~pl.col("edited")
            & ~pl.col("baseless")
            & ~pl.col("aside")
        )
        .join(at_hand, on=[GID, SYSTEM], how="semi")
        .with_columns(reread=changed, rank=pl.col(SYSTEM).replace_strict(ranks, return_dtype=pl.Int64()))
        .filter(~(pl.col("reread") & ~pl.col("rebased") & pl.col(SYSTEM).is_in(list(facts.unread)) & pl.col("now").is_null()))
        .with_columns(after=pl.when("rebased").then("now").otherwise("golden"))
    )
    owners = {item.name: item.source_of_truth for item in entity.fields.values()}
    owner = pl.col("field").replace_strict(owners, return_dtype=pl.String())
    holding = at_hand.select(GID, pl.col(SYSTEM).alias("owner"), pl.lit(value=True).alias("owned"))
    voices = (
        with_origin(facts.golden, voices)
        .with_columns(owner=owner)
        .join(holding, on=[GID, "owner"], how="left")
        .filter(pl.col("owned").is_null() | (pl.col("owner") == pl.col(SYSTEM)))
        .with_columns(own=(pl.col("origin") == pl.col(SYSTEM)).fill_null(value=False))
        .sort([*RECORD_FIELD, "own", "reread", "rank"], descending=[False, False, True, False, False])
        .unique(RECORD_FIELD, keep="first", maintain_order=True)
    )
    return voices.filter(pl.col("after") != pl.col("golden")).select(*RECORD_FIELD, "golden", "after")


def _golden(facts: Facts, records: pl.DataFrame, moves: pl.DataFrame) -> pl.DataFrame:
    """The golden rows, those of which a value is told otherwise with their new data."""
    if moves.is_empty():
        return facts.golden
    moved = records.join(moves.select(GID).unique(), on=GID, how="semi")
    data = moved.select(pl.col(GID).alias("id"), records_to_json(moved, facts.entity.fields).alias("_data"))
    return (
        facts.golden.join(data, on="id", how="left", maintain_order="left")
        .with_columns(data=pl.coalesce("_data", "data"))
        .select(facts.golden.columns)
    )


# ---------------------------------------------------------------- shadows


def _told_otherwise(cells: pl.DataFrame, moves: pl.DataFrame) -> pl.DataFrame:
    """The cells to be told otherwise, with their new `seen` and `sent`, beside the golden value of now (`agreed`).

    `same`: it showed the golden value itself, and stood for it. An edit of what was the golden value itself has the golden value of now
    for its base: it is that under the new mapping.
    """
    told = cells.join(moves.select(*RECORD_FIELD, "after"), on=RECORD_FIELD, how="left", maintain_order="left")
    moved = pl.col("after").is_not_null()
    stood = pl.col("sent").eq_missing(pl.col("golden"))
    seen = (
        pl.when("rebased")
        .then("now")
        .when("baseless")
        .then(None)
        .when(moved & pl.col("edited") & pl.col("again") & (pl.col("seen") == pl.col("golden")))
        .then("after")
        .otherwise("seen")
    )
    sent = (
        pl.when(stood)
        .then(pl.coalesce("after", "golden"))
        .when(pl.col("rebased") & (pl.col("sent") == pl.col("seen")))
        .then("now")
        .otherwise("sent")
    )
    same = (stood & (pl.col("seen") == pl.col("golden"))).fill_null(value=False)
    told = told.filter(moved | pl.col("rebased") | pl.col("baseless"))
    return told.with_columns(seen=seen, sent=sent, same=same, agreed=pl.coalesce("after", "golden"))


def _apart(facts: Facts, told: pl.DataFrame) -> pl.DataFrame:
    """A line of history for each cell that was the golden value and is another one now, where it could be written.

    Systems that are to be read both ways yet are left out: nobody knows what they will say.
    """
    waits = [f"{system}\x1f{name}" for system in facts.unread for name in facts.reread[system]]
    rows = told.filter(
        pl.col("same")
        & pl.col("writable")
        & pl.col(SYSTEM).is_in(list(facts.entity.mappings))
        & (pl.col("state") == PRESENT)
        & (pl.col("seen") != pl.col("agreed"))
        & ~pl.col("edited")
        & (pl.col("again") | ~pl.concat_str(SYSTEM, "field", separator="\x1f").is_in(waits))
    )
    return rows.select(
        GID,
        "field",
        pl.col("seen").alias("before"),
        pl.col("agreed").alias("after"),
        SYSTEM,
        pl.lit(facts.now).alias(AT),
        pl.lit("a mapping changed").alias("rule"),
        pl.lit(APART).alias("kind"),
    ).cast(HISTORY_SCHEMA)


# ---------------------------------------------------------------- conflicts


def _with_conflicts(rebased: Rebased, cells: pl.DataFrame, moves: pl.DataFrame) -> Rebased:
    """Candidates of open conflicts are told otherwise as well; where all are the same value now, there is nothing to settle any more."""
    facts = rebased.facts
    if facts.frozen.is_empty():
        return rebased
    read = cells.filter("rebased").select(*CELL, pl.col("seen").alias("_seen"), pl.col("now").alias("_now"))
    values = cells.select(*RECORD_FIELD, pl.col("golden").alias("_golden")).unique(RECORD_FIELD, keep="any")
    told = (
        facts.frozen.join(read, on=CELL, how="left", maintain_order="left")
        .join(moves.select(*RECORD_FIELD, pl.col("golden").alias("_before"), "after"), on=RECORD_FIELD, how="left", maintain_order="left")
        .join(values, on=RECORD_FIELD, how="left", maintain_order="left")
    )
    of_golden = pl.col(SYSTEM).is_null() & (pl.col("value") == pl.col("_before"))
    told = told.with_columns(
        _value=pl.when(pl.col("value") == pl.col("_seen")).then("_now").when(of_golden).then("after").otherwise("value"),
        _base=pl.when(pl.col("base") == pl.col("_before")).then("after").otherwise("base"),
        _golden=pl.coalesce("after", "_golden"),
    )
    other = pl.col("_value").ne_missing(pl.col("value")) | pl.col("_base").ne_missing(pl.col("base"))
    pairs = told.filter(other).select(RECORD_FIELD).unique()
    if pairs.is_empty():
        return rebased
    told = told.with_columns(value="_value", base="_base")
    frozen = told.select(list(FREEZE_SCHEMA))
    busy = cells.filter(pl.col("edited") | pl.col("baseless")).select(RECORD_FIELD).unique()
    mine = told.join(pairs, on=RECORD_FIELD, how="semi").join(busy, on=RECORD_FIELD, how="anti")
    held = (pl.col("kind") == "hold").first()
    one_value = pl.col("value").n_unique() == 1
    to_golden = pl.col("value").first() == pl.col("_golden").first()
    agreed = mine.group_by(RECORD_FIELD).agg(over=one_value & (~held | to_golden)).filter("over").select(RECORD_FIELD)
    ranks = {name: rank for rank, name in enumerate(facts.entity.precedence)}
    winners = (
        mine.join(agreed, on=RECORD_FIELD, how="semi")
        .filter(pl.col(SYSTEM).is_not_null())
        .with_columns(rank=pl.col(SYSTEM).replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64()))
        .sort([AT, "rank"], descending=[True, False], nulls_last=True)
        .unique(RECORD_FIELD, keep="first", maintain_order=True)
        .filter(pl.col("value").ne_missing(pl.col("_golden")))
    )
    changes = winners.select(
        *RECORD_FIELD,
        pl.col("_golden").alias("before"),
        pl.col("value").alias("after"),
        SYSTEM,
        AT,
        pl.lit("all agree").alias("rule"),
    ).cast(CHANGE_SCHEMA)
    left = frozen.join(agreed, on=RECORD_FIELD, how="anti")
    return replace(
        rebased, facts=replace(facts, frozen=left), frozen=left.join(pairs, on=RECORD_FIELD, how="semi"), thawed=agreed, changes=changes
    )
