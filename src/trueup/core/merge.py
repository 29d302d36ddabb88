"""Merge, per field: ownership first, then the field's rule. Values in, values out; a conflict is a value, not an exception.

The unit is a *cell observation*: what one system shows for one field of one record, beside what it was last seen to show (`seen`), the
golden value that it stands for (`sent`) and that of now. Frames are long; the order of systems and rows never matters (ties: `precedence`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core import quick
from trueup.core.cells import AT, GID, NULL, SYSTEM
from trueup.core.combine import add_deltas, beyond_counting, merge_texts, merge_unions
from trueup.core.facts import NO_FIELDS, NO_ROWS, NOBODY
from trueup.core.frames import (
    FEW_ROWS,
    among,
    constant,
    differ,
    exchanged,
    first_of_each,
    is_given,
    keep,
    last_of_each,
    long,
    looked_up,
    only,
    stacked,
    sure,
    typed,
    without,
)
from trueup.core.judge import held_changes, judge_edits
from trueup.core.winners import RECORD_FIELD, only_ones, winners

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Entity

APART = "apart"
"""The kind of history that tells what a system holds instead of the golden value, and is not told otherwise (`before`: what it holds)."""
LEFT = "left by a person"
"""The rule of what a person wants to stay apart."""
FILLED = "filled"
"""The kind of history that tells that a system said nothing when it was met (`after`: null), and was given what others said."""
COMBINING = ("add", "union", "text", "rule")
"""Rules that take every edit instead of choosing one."""
CELL = [GID, SYSTEM, "field"]

UPDATE_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String(), "seen": pl.String(), "sent": pl.String()})
CHANGE_SCHEMA = pl.Schema(
    {
        GID: pl.Int64(),
        "field": pl.String(),
        "before": pl.String(),
        "after": pl.String(),
        SYSTEM: pl.String(),
        AT: pl.Datetime("us", "UTC"),
        "rule": pl.String(),
    }
)
HISTORY_SCHEMA = pl.Schema({**CHANGE_SCHEMA, "kind": pl.String()})
CANDIDATE_SCHEMA = pl.Schema(
    {
        GID: pl.Int64(),
        "field": pl.String(),
        SYSTEM: pl.String(),
        "value": pl.String(),
        AT: pl.Datetime("us", "UTC"),
        "knew": pl.Boolean(),
    }
)
FREEZE_SCHEMA = pl.Schema({**CANDIDATE_SCHEMA, "base": pl.String(), "kind": pl.String()})
NO_UPDATES = pl.DataFrame(schema=UPDATE_SCHEMA)
NO_CHANGES = pl.DataFrame(schema=CHANGE_SCHEMA)
NO_HISTORY = pl.DataFrame(schema=HISTORY_SCHEMA)
NO_CANDIDATES = pl.DataFrame(schema=FREEZE_SCHEMA)


@dataclass(frozen=True)
class Situation:
    """What a merge is given.

    cells      __gid, __system, field, observed, seen, sent, golden, __at (null: unknown), first (no base: first contact),
               origin (system of the golden value, null where there is none), origin_at; observed is never absent;
               refused (a person refused this system's edits), old_window (a file went back to what it showed before our delivery)
    holders    __gid, __system: systems that hold the record now (rows that are there, linked)
    frozen     __gid, field, __system (null: the golden value), value, __at: candidates of open conflicts and held changes
    records    wide golden cells (__gid and every field) of the records at hand, for expressions
    now        the moment of observation, which dates edits of unknown time
    left       systems whose edits stay where they are (`facts.Facts.left`)
    since      golden ids of records with a past that nobody knows: new since the backup that was restored, or found again since
    """

    entity: Entity
    cells: pl.DataFrame
    holders: pl.DataFrame
    frozen: pl.DataFrame
    records: pl.DataFrame
    now: datetime
    left: frozenset[str] = frozenset()
    since: pl.Series = field(default_factory=lambda: pl.Series(GID, [], dtype=pl.Int64))


@dataclass
class Merged:
    """What a merge decided. `updates` are absolute new `seen` and `sent` cells; `changes` are new golden values.

    `frozen` are the candidates of the conflicts that stand open afterwards, for every (record, field) that this merge touched; `thawed`
    (__gid, field) are those that closed by themselves. `history` tells accepted (kind edit), lost and overruled edits, and those that wait
    for a person (kind candidate).

    Only an undo says more: `revived` are deleted records that live again, `deleted` others that do not any more, `withdrawn` rows to be
    deleted although their records live; of those that an earlier undo withdrew, `spared` are still there and stay, `returned` are gone
    and made again. `again` are rows to be compared anew when they are next read; where they were left as missing, as if they were there.
    """

    updates: pl.DataFrame = field(default_factory=lambda: NO_UPDATES)
    changes: pl.DataFrame = field(default_factory=lambda: NO_CHANGES)
    history: pl.DataFrame = field(default_factory=lambda: NO_HISTORY)
    frozen: pl.DataFrame = field(default_factory=lambda: NO_CANDIDATES)
    thawed: pl.DataFrame = field(default_factory=lambda: NO_FIELDS)
    overruled: int = 0
    revived: pl.Series = field(default_factory=lambda: NOBODY)
    deleted: pl.Series = field(default_factory=lambda: NOBODY)
    withdrawn: pl.DataFrame = field(default_factory=lambda: NO_ROWS)
    spared: pl.DataFrame = field(default_factory=lambda: NO_ROWS)
    returned: pl.DataFrame = field(default_factory=lambda: NO_ROWS)
    again: pl.DataFrame = field(default_factory=lambda: NO_ROWS)


@dataclass
class _Ledger:
    """Frames collected on the way; concatenated once at the end."""

    updates: list[pl.DataFrame] = field(default_factory=list)
    changes: list[pl.DataFrame] = field(default_factory=list)
    history: list[pl.DataFrame] = field(default_factory=list)
    frozen: list[pl.DataFrame] = field(default_factory=list)
    thawed: list[pl.DataFrame] = field(default_factory=list)

    def stand(self, cells: pl.DataFrame, sent: str = "observed") -> None:
        """These systems now show what was observed and stand for it (or for what `sent` names)."""
        told = {**{name: cells[name] for name in CELL}, "seen": cells["observed"], "sent": cells[sent]}
        self.updates.append(typed(quick.table(told), UPDATE_SCHEMA))

    def tell(self, rows: pl.DataFrame, kind: str, after: str, rule: pl.Expr | str) -> None:
        """Write one history line per row: the value `after` against the golden value then."""
        if not rows.is_empty():
            self.history.append(_as_history(_as_changes(rows, after, rule), kind))

    def change(self, rows: pl.DataFrame, rule: pl.Expr | str) -> None:
        """Set new golden values: rows of __gid, field, golden, value, __system, __at; rows that change nothing are left out."""
        moved = keep(rows, differ(rows["value"], rows["golden"]))
        if moved.is_empty():
            return
        changes = _as_changes(moved, "value", rule)
        self.changes.append(changes)
        self.history.append(_as_history(changes, "edit"))


def _as_changes(rows: pl.DataFrame, after: str, rule: pl.Expr | str) -> pl.DataFrame:
    """The golden value of rows and what stands against it (or after it)."""
    told = constant("rule", rule, rows.height, pl.String()) if isinstance(rule, str) else rows.select(rule.alias("rule")).to_series()
    columns = {GID: rows[GID], "field": rows["field"], "before": rows["golden"], "after": rows[after], SYSTEM: rows[SYSTEM], AT: rows[AT]}
    return typed(quick.table({**columns, "rule": told}), CHANGE_SCHEMA)


def _as_history(changes: pl.DataFrame, kind: str) -> pl.DataFrame:
    return changes.hstack([constant("kind", kind, changes.height, pl.String())])


def merge(situation: Situation) -> Merged:
    """Settle every changed cell of a set of records. See DESIGN's merge rules 1-5 and first contact, in docs/architecture.md."""
    cells = _prepared(situation)
    if cells.is_empty():
        return Merged()
    ledger = _Ledger()
    overruled = 0
    first = _marked(cells, "first")
    regular = _unmarked(cells, "first")
    if not regular.is_empty():
        overruled = _merge_regular(situation, regular, ledger)
    if not first.is_empty():
        situation = replace(situation, frozen=_frozen_after(situation, ledger))
        overruled += _merge_first(situation, _with_moved_golden(first, ledger.changes), ledger)
    _hold(situation, ledger)
    return _finish(ledger, overruled)


def _frozen_after(situation: Situation, ledger: _Ledger) -> pl.DataFrame:
    """The candidates that stand after the ordinary edits: what meets the record now joins them."""
    told = [*ledger.thawed, *(frame[RECORD_FIELD] for frame in ledger.frozen)]
    if not told:
        return situation.frozen
    kept = situation.frozen.join(pl.concat(told).unique(), on=RECORD_FIELD, how="anti")
    return pl.concat([kept, *(frame.select(list(FREEZE_SCHEMA)).cast(FREEZE_SCHEMA) for frame in ledger.frozen)])


def _prepared(situation: Situation) -> pl.DataFrame:
    """The changed cells, each with its field's rules, its system's rank and whether ownership overrules it."""
    entity, cells = situation.entity, situation.cells
    cells = keep(cells, cells["first"] | differ(cells["observed"], cells["seen"]))
    fields = entity.fields.values()
    names, systems = cells["field"], cells[SYSTEM]
    ranks = {one: rank for rank, one in enumerate(entity.precedence)}
    deaf = {one: entity.mappings[one].direction == "write" for one in entity.precedence}
    owner = looked_up("owner", names, {item.name: item.source_of_truth for item in fields}, pl.String())
    deaf_cells = looked_up("deaf", systems, deaf, pl.Boolean())
    holds = constant("owner_holds", value=False, rows=cells.height, dtype=pl.Boolean())
    own = holds.alias("own")
    if owner.null_count() < owner.len():
        owners = quick.table({GID: cells[GID], SYSTEM: owner})
        holds = among(owners, situation.holders, [GID, SYSTEM]).alias("owner_holds")
        own = sure(owner == systems).alias("own")
    return exchanged(
        cells,
        looked_up("conflict", names, {item.name: item.conflict for item in fields}, pl.String()),
        looked_up("type", names, {item.name: item.type for item in fields}, pl.String()),
        owner,
        looked_up("rank", systems, ranks, pl.Int64()),
        deaf_cells,
        holds,
        (deaf_cells | cells["refused"] | (holds & ~own)).alias("overruled"),
        own,
        _dated(cells[AT], situation.now),
    )


def _dated(at: pl.Series, now: datetime) -> pl.Series:
    """When each edit was made: now where that is not known, and never later."""
    if at.null_count() == at.len():
        return constant(AT, now, at.len(), CHANGE_SCHEMA[AT])
    return at.to_frame().select(pl.min_horizontal(pl.col(AT).fill_null(now), pl.lit(now)).dt.cast_time_unit("us").alias(AT)).to_series()


def _merge_regular(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> int:
    """Edits of fields that have a base. Returns the number of overruled ones."""
    if situation.left:
        cells = _without_left(situation, cells, ledger)
    over = _marked(cells, "overruled")
    if not over.is_empty():
        ledger.stand(over)
        why = (
            pl.when("refused")
            .then(pl.lit("refused by a person"))
            .when("deaf")
            .then(pl.lit("write only"))
            .otherwise(pl.format("source of truth: {}", pl.col("owner")))
        )
        ledger.tell(over, "overruled", "observed", why)
        cells = _unmarked(cells, "overruled")
    own = _marked(cells, "own")
    if not own.is_empty():
        ledger.stand(own)
        ledger.change(own.hstack([own["observed"].alias("value")]), "source of truth")
        ledger.thawed.append(_answered(situation, own))
        cells = _unmarked(cells, "own")
    doubtful = _marked(cells, "old_window")
    cells = _unmarked(cells, "old_window")
    if not cells.is_empty() or not doubtful.is_empty():
        _merge_shared(situation, cells, doubtful, ledger)
    return over.height


def _answered(situation: Situation, own: pl.DataFrame) -> pl.DataFrame:
    """The questions (__gid, field) from before a field had a source of truth, which this one answers by an edit of its own."""
    if situation.frozen.is_empty():
        return NO_FIELDS
    asked = situation.frozen.filter(pl.col("kind") == "conflict").select(RECORD_FIELD).unique()
    return asked.join(own, on=RECORD_FIELD, how="semi")


def _without_left(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> pl.DataFrame:
    """The edits that count. The others stay where they are, beside the golden value: their systems stand for it, as if they showed it.

    So an edit of either side counts again. What waits for a person is told of theirs, and nothing else.
    """
    mine = pl.col(SYSTEM).is_in(list(situation.left))
    left = cells.filter(mine)
    asked = situation.frozen.select(RECORD_FIELD).unique()
    joining = left.join(asked, on=RECORD_FIELD, how="semi")
    ledger.stand(joining)
    _join_frozen(situation, joining, ledger)
    left = left.join(asked, on=RECORD_FIELD, how="anti")
    ledger.stand(left, "golden")
    ledger.history.append(
        left.filter(pl.col("observed").ne_missing(pl.col("golden"))).select(
            GID,
            "field",
            pl.col("observed").alias("before"),
            pl.col("golden").alias("after"),
            SYSTEM,
            AT,
            pl.lit(LEFT).alias("rule"),
            pl.lit(APART).alias("kind"),
        )
    )
    return cells.filter(~mine)


def _marked(cells: pl.DataFrame, mark: str) -> pl.DataFrame:
    return keep(cells, cells[mark])


def _unmarked(cells: pl.DataFrame, mark: str) -> pl.DataFrame:
    return keep(cells, ~cells[mark])


def _merge_shared(situation: Situation, shared: pl.DataFrame, doubtful: pl.DataFrame, ledger: _Ledger) -> None:
    """Edits that every system may make, by the rules of their fields; `doubtful` may come from an old window."""
    # A field that waits for a person takes further edits as candidates, whatever its rule.
    waiting = shared.clear()
    if not situation.frozen.is_empty():
        frozen_now = situation.frozen.select(RECORD_FIELD).unique()
        waiting = shared.filter(pl.col("conflict").is_in(COMBINING)).join(frozen_now, on=RECORD_FIELD, how="semi")
        shared = shared.join(waiting.select(CELL), on=CELL, how="anti")
    kinds = set(shared["conflict"].to_list() if shared.height <= FEW_ROWS else shared["conflict"].unique().to_list())
    too_large = shared.clear()
    if "add" in kinds:
        beyond = beyond_counting(shared.filter(pl.col("conflict") == "add"))
        if not beyond.is_empty():
            too_large = shared.join(beyond, on=RECORD_FIELD, how="semi")
            shared = shared.join(beyond, on=RECORD_FIELD, how="anti")
        deltas, totals = add_deltas(situation.entity, shared.filter(pl.col("conflict") == "add"))
        ledger.stand(deltas, "moved_sent")
        ledger.change(totals, "merge: add")
    if "union" in kinds:
        unions = shared.filter(pl.col("conflict") == "union")
        ledger.stand(unions)
        ledger.change(merge_unions(unions), "merge: union")
    rest = [shared.filter(~pl.col("conflict").is_in(COMBINING)) if kinds & set(COMBINING) else shared, waiting]
    if "text" in kinds:
        texts = shared.filter(pl.col("conflict") == "text")
        merged, clashing = merge_texts(texts)
        whole = texts.join(clashing, on=RECORD_FIELD, how="anti")
        ledger.stand(whole)
        ledger.change(merged, "merge: text")
        rest.append(texts.join(clashing, on=RECORD_FIELD, how="semi"))
    if "rule" in kinds:
        judged = shared.filter(pl.col("conflict") == "rule")
        ledger.stand(judged)
        _judge(situation, judged, ledger, "rule")
    # An old window saved over a file: its edit did not know the golden value, whatever it stands for, and a person decides.
    if not doubtful.is_empty():
        rest.append(doubtful.with_columns(sent=pl.col("observed"), conflict=pl.lit("manual")))
    if not too_large.is_empty():
        rest.append(too_large.with_columns(conflict=pl.lit("manual")))
    _settle(situation, stacked(rest), ledger)


def _judge(situation: Situation, edits: pl.DataFrame, ledger: _Ledger, rule: str) -> None:
    """Let the field's `rule` judge the edits; those of which nothing is left go to the history."""
    verdicts = judge_edits(situation.entity, edits, situation.records)
    ledger.change(verdicts, rule)
    stands = verdicts.select(*RECORD_FIELD, pl.col("value").alias("stands"))
    lost = edits.join(stands, on=RECORD_FIELD, how="left").filter(pl.col("observed").ne_missing(pl.col("stands")))
    ledger.tell(lost, "lost", "observed", rule)


def _settle(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> None:
    """Accept what only one side changed, and settle the rest as one set per field, whatever the order."""
    if cells.is_empty():
        return
    ledger.stand(cells)
    fresh = keep(cells, differ(cells["observed"], cells["golden"]))
    if not situation.frozen.is_empty():
        frozen_now = first_of_each(situation.frozen[RECORD_FIELD], RECORD_FIELD)
        _join_frozen(situation, only(cells, frozen_now, RECORD_FIELD), ledger)
        fresh = without(fresh, frozen_now, RECORD_FIELD)
    if fresh.is_empty():
        return
    candidates = fresh.hstack(
        [
            fresh["observed"].alias("value"),
            (~differ(fresh["sent"], fresh["golden"])).alias("knew"),
            constant("is_golden", value=False, rows=fresh.height, dtype=pl.Boolean()),
        ]
    )
    # Where no edit knew the golden value, that one is a candidate as well.
    knowing = keep(candidates, candidates["knew"])
    unknowing = without(keep(candidates, is_given(candidates["golden"])), knowing, RECORD_FIELD)
    parts = [candidates]
    if not unknowing.is_empty():
        golden = _as_golden_candidate(first_of_each(unknowing, RECORD_FIELD), situation)
        parts.append(golden.select(candidates.columns))
    _decide(stacked(parts), ledger, "")


def _as_golden_candidate(cells: pl.DataFrame, situation: Situation) -> pl.DataFrame:
    """The golden value as one more candidate, with the system and time that it came from."""
    ranks = {name: rank for rank, name in enumerate(situation.entity.precedence)}
    return cells.with_columns(
        value=pl.col("golden"),
        knew=pl.lit(value=True),
        is_golden=pl.lit(value=True),
        rank=pl.col("origin").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64),
        **{SYSTEM: pl.col("origin"), AT: pl.col("origin_at")},
    )


def _decide(candidates: pl.DataFrame, ledger: _Ledger, occasion: str) -> None:
    """Settle each (record, field): one value left is accepted, several are judged by the field's rule or frozen."""
    if candidates.is_empty():
        return
    alone = only_ones(candidates)
    ledger.change(alone, occasion + "accepted")
    several = without(candidates, alone, RECORD_FIELD)
    if several.is_empty():
        return
    distinct = several.group_by(RECORD_FIELD).agg(pl.col("value").n_unique().alias("values"))
    several = several.join(distinct, on=RECORD_FIELD, how="left", maintain_order="left")
    # One side that only a person can judge (an old window saved over a file) leaves the whole set to that person.
    doubtful = several.filter((pl.col("values") > 1) & pl.col("conflict").is_in(["manual", "text"])).select(RECORD_FIELD).unique()
    _freeze(only(several, doubtful, RECORD_FIELD), ledger)
    settled = without(several, doubtful, RECORD_FIELD)
    if settled.is_empty():
        return
    best = winners(settled)
    rule = pl.when(pl.col("values") > 1).then(pl.format(occasion + "{}", pl.col("conflict"))).otherwise(pl.lit(occasion + "accepted"))
    ledger.change(best, rule)
    won = best.select(*RECORD_FIELD, pl.col("value").alias("won"))
    lost = settled.join(won, on=RECORD_FIELD, how="left").filter(~pl.col("is_golden") & pl.col("value").ne_missing(pl.col("won")))
    ledger.tell(lost, "lost", "value", pl.format(occasion + "{}", pl.col("conflict")))


def _freeze(candidates: pl.DataFrame, ledger: _Ledger) -> None:
    """Open a conflict per (record, field) with these candidates; the golden value stands as the one without a system."""
    if candidates.is_empty():
        return
    edits = candidates.filter(~pl.col("is_golden"))
    ledger.tell(edits, "candidate", "value", pl.col("conflict"))
    base = candidates.filter(~pl.col("is_golden")).group_by(RECORD_FIELD).agg(pl.col("seen").sort_by("rank").first().alias("base"))
    ledger.frozen.append(
        candidates.join(base, on=RECORD_FIELD, how="left").select(
            GID,
            "field",
            pl.when("is_golden").then(None).otherwise(pl.col(SYSTEM)).alias(SYSTEM),
            "value",
            AT,
            "knew",
            "base",
            pl.lit("conflict").alias("kind"),
        )
    )


def _join_frozen(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> None:
    """Edits of frozen fields join as candidates; one thaws when all agree, but not a counter: equal numbers may be several changes."""
    if cells.is_empty():
        return
    touched = cells.select(*RECORD_FIELD, pl.col("conflict").eq("add").alias("counted")).unique(RECORD_FIELD)
    edits = cells.with_columns(value=pl.col("observed"), knew=pl.col("sent").eq_missing(pl.col("golden")))
    knowing = edits.filter("knew").select(RECORD_FIELD).unique()
    stand = situation.frozen.join(touched, on=RECORD_FIELD, how="semi").join(edits.select(CELL), on=CELL, how="anti", nulls_equal=True)
    kept = stand.filter(pl.col(SYSTEM).is_not_null() | (pl.col("kind") == "hold"))
    golden = stand.filter(pl.col(SYSTEM).is_null() & (pl.col("kind") != "hold")).join(knowing, on=RECORD_FIELD, how="anti")
    kinds = situation.frozen.select(*RECORD_FIELD, "base", "kind").unique(RECORD_FIELD, keep="first", maintain_order=True)
    joined = edits.select(*RECORD_FIELD, SYSTEM, "value", AT, "knew").join(kinds, on=RECORD_FIELD, how="left")
    everyone = pl.concat([part.select(list(FREEZE_SCHEMA)) for part in (kept, golden, joined)])
    agreed = (
        everyone.group_by(RECORD_FIELD)
        .agg(pl.col("value").n_unique().alias("values"), pl.col("kind").first())
        .join(touched, on=RECORD_FIELD)
        .filter((pl.col("values") == 1) & ~(pl.col("counted") & (pl.col("kind") == "conflict")))
        .select(RECORD_FIELD)
    )
    ledger.frozen = [frame.join(touched, on=RECORD_FIELD, how="anti") for frame in ledger.frozen]  # this is the whole set now
    ledger.thawed.append(agreed)
    ledger.tell(edits.join(agreed, on=RECORD_FIELD, how="anti"), "candidate", "value", pl.col("conflict"))
    ledger.frozen.append(everyone.join(agreed, on=RECORD_FIELD, how="anti"))
    winners = edits.join(agreed, on=RECORD_FIELD, how="semi").sort([AT, "rank"], descending=[True, False])
    winners = winners.unique(RECORD_FIELD, keep="first", maintain_order=True)
    ledger.change(winners, "all agree")


def _with_moved_golden(cells: pl.DataFrame, changes: list[pl.DataFrame]) -> pl.DataFrame:
    """First contact comes after ordinary edits: it meets the golden values that they left."""
    moved = [frame for frame in changes if not frame.is_empty()]
    if not moved:
        return cells
    latest = pl.concat(moved).select(
        *RECORD_FIELD, pl.col("after"), pl.col(SYSTEM).alias("moved_by"), pl.col(AT).alias("moved_at"), pl.lit(value=True).alias("moved")
    )
    return (
        cells.join(latest, on=RECORD_FIELD, how="left")
        .with_columns(
            golden=pl.when("moved").then("after").otherwise("golden"),
            origin=pl.when("moved").then("moved_by").otherwise("origin"),
            origin_at=pl.when("moved").then("moved_at").otherwise("origin_at"),
        )
        .drop("after", "moved_by", "moved_at", "moved")
    )


def _merge_first(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> int:
    """First contact: no base. A missing value never beats a value; then owner, then the field's rule; nothing is lost in silence."""
    ledger.stand(cells)
    frozen_now = situation.frozen.select(RECORD_FIELD).unique()
    deaf = cells.filter("deaf")
    hearing = cells.filter(~pl.col("deaf"))
    _join_frozen(situation, hearing.join(frozen_now, on=RECORD_FIELD, how="semi"), ledger)
    hearing = hearing.join(frozen_now, on=RECORD_FIELD, how="anti").with_columns(
        value=pl.col("observed"), knew=pl.lit(value=False), is_golden=pl.lit(value=False)
    )
    with_golden = hearing.filter(pl.col("golden").is_not_null()).unique(RECORD_FIELD, keep="first", maintain_order=True)
    golden = _as_golden_candidate(with_golden, situation).with_columns(
        own=(pl.col("owner") == pl.col(SYSTEM)).fill_null(value=False) | (pl.col("owner_holds") & ~_owner_takes_part(hearing, with_golden))
    )
    everyone = pl.concat([hearing, golden.select(hearing.columns)])
    said = everyone.filter(pl.col("value") != NULL)
    silent = everyone.join(said.select(RECORD_FIELD).unique(), on=RECORD_FIELD, how="anti")
    _decide(silent, ledger, "first contact: ")
    owned = said.filter("own").select(RECORD_FIELD).unique()
    truth = said.join(owned, on=RECORD_FIELD, how="semi")
    if not truth.is_empty():
        # The owner as it is now stands before a golden value that came from it earlier.
        kept = truth.filter("own").unique(RECORD_FIELD, keep="first", maintain_order=True)
        ledger.change(kept, "first contact: source of truth")
        losers = truth.join(kept.select(*RECORD_FIELD, pl.col("value").alias("won")), on=RECORD_FIELD).filter(
            ~pl.col("is_golden") & (pl.col("value") != pl.col("won"))
        )
        ledger.tell(losers, "lost", "value", "first contact: source of truth")
    rest = said.join(owned, on=RECORD_FIELD, how="anti")
    by_rank = ["add"] + (["manual", "text"] if situation.entity.explicit_precedence else [])
    ranked = pl.col("conflict").is_in(by_rank) | pl.col("owner").is_not_null()
    rest = rest.with_columns(conflict=pl.when(ranked).then(pl.lit("precedence")).otherwise(pl.col("conflict")))
    if not situation.since.is_empty():  # they had a past, which nobody knows: who changed such a value last is for a person to say
        asked = (
            pl.col(GID).is_in(situation.since.implode()) & ~pl.col("conflict").is_in(["union", "max", "min"]) & pl.col("owner").is_null()
        )
        rest = rest.with_columns(conflict=pl.when(asked).then(pl.lit("manual")).otherwise(pl.col("conflict")))
    unions = rest.filter(pl.col("conflict") == "union")
    if not unions.is_empty():
        ledger.change(merge_unions(unions.with_columns(seen=pl.lit("[]"), observed=pl.col("value"))), "first contact: union")
    judged = rest.filter((pl.col("conflict") == "rule") & ~pl.col("is_golden"))
    if not judged.is_empty():
        _judge(situation, judged, ledger, "first contact: rule")
    _decide(rest.filter(~pl.col("conflict").is_in(["union", "rule"])), ledger, "first contact: ")
    # What a write-only system held is compared with what stands after everybody else was heard; where nobody said anything yet, it is
    # told as well: the first value that is agreed will replace it.
    lost = _with_moved_golden(deaf, ledger.changes).filter((pl.col("observed") != NULL) & pl.col("observed").ne_missing(pl.col("golden")))
    ledger.tell(lost, "overruled", "observed", "write only")
    lost = lost.filter(pl.col("golden").is_not_null())
    _tell_filled(situation.entity, hearing, ledger)
    return lost.height


def _tell_filled(entity: Entity, hearing: pl.DataFrame, ledger: _Ledger) -> None:
    """The systems that said nothing and are given what stands now: without a line of it, nobody could say what they had held.

    A reference may lack because we left it out: its record was not there yet when the row was made.
    """
    names = {name for name, field in entity.fields.items() if field.type != "reference"}
    written = [f"{system}\x1f{name}" for system in entity.mappings for name in entity.written(system) if name in names]
    silent = hearing.filter((pl.col("observed") == NULL) & pl.concat_str(SYSTEM, "field", separator="\x1f").is_in(written))
    if silent.is_empty():
        return
    filled = _with_moved_golden(silent, ledger.changes).filter(pl.col("golden").is_not_null() & (pl.col("golden") != NULL))
    ledger.tell(filled, FILLED, "observed", "first contact: filled")


def _owner_takes_part(hearing: pl.DataFrame, golden: pl.DataFrame) -> pl.Series:
    """Per golden candidate: whether the field's owner itself is among those who meet now."""
    owners = hearing.filter("own").select(*RECORD_FIELD, pl.lit(value=True).alias("meets"))
    return golden.select(RECORD_FIELD).join(owners, on=RECORD_FIELD, how="left", maintain_order="left")["meets"].fill_null(value=False)


def _hold(situation: Situation, ledger: _Ledger) -> None:
    """Take back the golden changes that a field's `hold_if` wants a person to see, and freeze those fields."""
    if not any(item.hold_if for item in situation.entity.fields.values()) or not ledger.changes:
        return
    changes = _as_agreed(situation, pl.concat(ledger.changes))
    held = held_changes(situation.entity, changes, situation.records)
    if held.is_empty():
        return
    ledger.changes = [changes.join(held, on=RECORD_FIELD, how="anti")]
    taken_back = held.with_columns(kind=pl.lit("edit"), _held=pl.lit(value=True))
    ledger.history = [
        pl.concat(ledger.history)
        .join(held.with_columns(kind=pl.lit(FILLED)), on=[*RECORD_FIELD, "kind"], how="anti", maintain_order="left")
        .join(taken_back, on=[*RECORD_FIELD, "kind"], how="left", maintain_order="left")
        .with_columns(
            kind=pl.when("_held").then(pl.lit("candidate")).otherwise("kind"),
            rule=pl.when("_held").then(pl.lit("hold_if")).otherwise("rule"),
        )
        .drop("_held")
    ]
    ledger.frozen.append(
        changes.join(held, on=RECORD_FIELD, how="semi").select(
            GID,
            "field",
            SYSTEM,
            pl.col("after").alias("value"),
            AT,
            pl.lit(value=True).alias("knew"),
            pl.col("before").alias("base"),
            pl.lit("hold").alias("kind"),
        )
    )


def _as_agreed(situation: Situation, changes: pl.DataFrame) -> pl.DataFrame:
    """The changes against what had been agreed on, also where that is no side in the merge (`meet.without_golden`)."""
    names = [name for name, item in situation.entity.fields.items() if item.hold_if and name in situation.records.columns]
    if not names or changes["before"].null_count() == 0 or situation.since.is_empty():
        return changes
    agreed = long(situation.records, [GID], names, "_agreed")
    told = changes.join(agreed, on=RECORD_FIELD, how="left", maintain_order="left")
    return told.with_columns(before=pl.coalesce("before", "_agreed")).drop("_agreed")


def _finish(ledger: _Ledger, overruled: int) -> Merged:
    """Put the collected frames together; several golden changes of one cell become one, from the first value to the last."""
    merged = Merged(overruled=overruled)
    if ledger.updates:
        merged.updates = stacked(ledger.updates)
        if len(ledger.updates) > 1:
            merged.updates = last_of_each(merged.updates, CELL)
    if ledger.changes:
        changes = stacked([typed(frame, CHANGE_SCHEMA) for frame in ledger.changes])
        merged.changes = (
            changes
            if changes.height < 2 or (changes.height <= FEW_ROWS and first_of_each(changes, RECORD_FIELD).height == changes.height)
            else changes.group_by(RECORD_FIELD, maintain_order=True)
            .agg(pl.col("before").first(), pl.col("after", SYSTEM, AT, "rule").last())
            .select(list(CHANGE_SCHEMA))
        )
    if ledger.history:
        merged.history = stacked([typed(frame, HISTORY_SCHEMA) for frame in ledger.history])
    if ledger.frozen:
        merged.frozen = stacked([typed(frame, FREEZE_SCHEMA) for frame in ledger.frozen])
    if ledger.thawed:
        merged.thawed = stacked(ledger.thawed)
    return merged
