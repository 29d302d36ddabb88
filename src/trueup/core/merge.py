"""Merge, per field: ownership first, then the field's rule. Values in, values out; a conflict is a value, not an exception.

The unit is a *cell observation*: what one system shows for one field of one record, beside what it was last seen to show (`seen`), the
golden value that it stands for (`sent`) and the golden value now. Frames are long, one row per (record, system, field); the order of
systems and rows never matters (ties are broken by `precedence`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import AT, GID, NULL, SYSTEM
from trueup.core.combine import add_deltas, beyond_counting, merge_texts, merge_unions, sort_keys
from trueup.core.facts import GONE_SCHEMA
from trueup.core.judge import held_changes, judge_edits

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Entity

LONG_AGO = pl.datetime(1, 1, 1, time_unit="us", time_zone="UTC")
RECORD_FIELD = [GID, "field"]
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
    """

    entity: Entity
    cells: pl.DataFrame
    holders: pl.DataFrame
    frozen: pl.DataFrame
    records: pl.DataFrame
    now: datetime


@dataclass
class Merged:
    """What a merge decided. `updates` are absolute new `seen` and `sent` cells; `changes` are new golden values.

    `frozen` are the candidates of the conflicts that stand open afterwards, for every (record, field) that this merge touched; `thawed`
    (__gid, field) are those that closed by themselves. `history` tells accepted (kind edit), lost and overruled edits, and those that wait
    for a person (kind candidate).

    Only an undo says more: `revived` are deleted records that live again, `deleted` others that do not any more, `withdrawn` rows to be
    deleted although their records live; of those that an earlier undo withdrew, `spared` are still there and stay, `returned` are gone
    and made again.
    """

    updates: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=UPDATE_SCHEMA))
    changes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CHANGE_SCHEMA))
    history: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=HISTORY_SCHEMA))
    frozen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FREEZE_SCHEMA))
    thawed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()}))
    overruled: int = 0
    revived: pl.Series = field(default_factory=lambda: pl.Series(GID, [], dtype=pl.Int64))
    deleted: pl.Series = field(default_factory=lambda: pl.Series(GID, [], dtype=pl.Int64))
    withdrawn: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GONE_SCHEMA))
    spared: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GONE_SCHEMA))
    returned: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GONE_SCHEMA))


@dataclass
class _Ledger:
    """Frames collected on the way; concatenated once at the end."""

    updates: list[pl.DataFrame] = field(default_factory=list)
    changes: list[pl.DataFrame] = field(default_factory=list)
    history: list[pl.DataFrame] = field(default_factory=list)
    frozen: list[pl.DataFrame] = field(default_factory=list)
    thawed: list[pl.DataFrame] = field(default_factory=list)

    def stand(self, cells: pl.DataFrame, sent: pl.Expr | None = None) -> None:
        """These systems now show what was observed and stand for it (or for `sent`)."""
        self.updates.append(
            cells.select(*CELL, pl.col("observed").alias("seen"), (sent if sent is not None else pl.col("observed")).alias("sent"))
        )

    def tell(self, rows: pl.DataFrame, kind: str, after: str, rule: pl.Expr) -> None:
        """Write one history line per row: the value `after` against the golden value then."""
        self.history.append(
            rows.select(
                GID,
                "field",
                pl.col("golden").alias("before"),
                pl.col(after).alias("after"),
                SYSTEM,
                AT,
                rule.alias("rule"),
                pl.lit(kind).alias("kind"),
            )
        )

    def change(self, rows: pl.DataFrame, rule: pl.Expr) -> None:
        """Set new golden values: rows of __gid, field, golden, value, __system, __at; rows that change nothing are left out."""
        moved = rows.filter(pl.col("value").ne_missing(pl.col("golden")))
        changes = moved.select(
            GID, "field", pl.col("golden").alias("before"), pl.col("value").alias("after"), SYSTEM, AT, rule.alias("rule")
        )
        self.changes.append(changes)
        self.history.append(changes.with_columns(kind=pl.lit("edit")))


def merge(situation: Situation) -> Merged:
    """Settle every changed cell of a set of records. See DESIGN's merge rules 1-5 and first contact, in docs/architecture.md."""
    cells = _prepared(situation)
    if cells.is_empty():
        return Merged()
    ledger = _Ledger()
    overruled = 0
    first = _marked(cells, "first")
    regular = cells.filter(~pl.col("first")) if first.height else cells
    if not regular.is_empty():
        overruled = _merge_regular(situation, regular, ledger)
    if not first.is_empty():
        situation = replace(situation, frozen=_frozen_after(situation, ledger))
        overruled += _merge_first(situation, _with_moved_golden(first, ledger.changes), ledger)
    _hold(situation, ledger)
    return _finish(ledger, overruled)


def _frozen_after(situation: Situation, ledger: _Ledger) -> pl.DataFrame:
    """The candidates that stand after the ordinary edits: what meets the record now joins them."""
    told = [*ledger.thawed, *(frame.select(RECORD_FIELD) for frame in ledger.frozen)]
    if not told:
        return situation.frozen
    kept = situation.frozen.join(pl.concat(told).unique(), on=RECORD_FIELD, how="anti")
    return pl.concat([kept, *(frame.select(list(FREEZE_SCHEMA)).cast(FREEZE_SCHEMA) for frame in ledger.frozen)])


def _prepared(situation: Situation) -> pl.DataFrame:
    """The changed cells, each with its field's rules, its system's rank and whether ownership overrules it."""
    entity = situation.entity
    changed = situation.cells.filter(pl.col("first") | pl.col("observed").ne_missing(pl.col("seen")))
    owners = situation.holders.select(GID, pl.col(SYSTEM).alias("owner"), pl.lit(value=True).alias("owner_holds"))
    owned = any(item.source_of_truth is not None for item in entity.fields.values())
    prepared = changed.with_columns(*_rules(entity))
    prepared = (
        prepared.join(owners, on=[GID, "owner"], how="left") if owned else prepared.with_columns(owner_holds=pl.lit(None, pl.Boolean()))
    )
    return prepared.with_columns(
        pl.col("owner_holds").fill_null(value=False),
        overruled=pl.col("deaf") | pl.col("refused") | (pl.col("owner_holds") & (pl.col("owner") != pl.col(SYSTEM))).fill_null(value=False),
        own=(pl.col("owner") == pl.col(SYSTEM)).fill_null(value=False),
        **{AT: pl.min_horizontal(pl.col(AT).fill_null(situation.now), pl.lit(situation.now)).dt.cast_time_unit("us")},
    )


def _rules(entity: Entity) -> list[pl.Expr]:
    """Per cell: its field's rule, type and owner, its system's rank, and whether that system is only written."""
    fields = entity.fields.values()
    name, system = pl.col("field"), pl.col(SYSTEM)
    told: dict[str, dict[str, str | None]] = {
        "conflict": {item.name: item.conflict for item in fields},
        "type": {item.name: item.type for item in fields},
        "owner": {item.name: item.source_of_truth for item in fields},
    }
    by_field = [name.replace_strict(values, return_dtype=pl.String()).alias(column) for column, values in told.items()]
    ranks = {one: rank for rank, one in enumerate(entity.precedence)}
    deaf = [one for one in entity.precedence if entity.mappings[one].direction == "write"]
    return [*by_field, system.replace_strict(ranks, return_dtype=pl.Int64()).alias("rank"), system.is_in(deaf).alias("deaf")]


def _merge_regular(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> int:
    """Edits of fields that have a base. Returns the number of overruled ones."""
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
        cells = cells.filter(~pl.col("overruled"))
    own = _marked(cells, "own")
    if not own.is_empty():
        ledger.stand(own)
        ledger.change(own.rename({"observed": "value"}), pl.lit("source of truth"))
        cells = cells.filter(~pl.col("own"))
    doubtful = _marked(cells, "old_window")
    if not doubtful.is_empty():
        cells = cells.filter(~pl.col("old_window"))
    if not cells.is_empty() or not doubtful.is_empty():
        _merge_shared(situation, cells, doubtful, ledger)
    return over.height


def _marked(cells: pl.DataFrame, mark: str) -> pl.DataFrame:
    """The cells with a mark; mostly there are none, and then nothing is filtered."""
    return cells.filter(mark) if cells[mark].any() else cells.clear()


def _merge_shared(situation: Situation, shared: pl.DataFrame, doubtful: pl.DataFrame, ledger: _Ledger) -> None:
    """Edits that every system may make, by the rules of their fields; `doubtful` may come from an old window."""
    # A field that waits for a person takes further edits as candidates, whatever its rule.
    waiting = shared.clear()
    if not situation.frozen.is_empty():
        frozen_now = situation.frozen.select(RECORD_FIELD).unique()
        waiting = shared.filter(pl.col("conflict").is_in(COMBINING)).join(frozen_now, on=RECORD_FIELD, how="semi")
        shared = shared.join(waiting.select(CELL), on=CELL, how="anti")
    kinds = set(shared["conflict"].unique().to_list())
    too_large = shared.clear()
    if "add" in kinds:
        beyond = beyond_counting(shared.filter(pl.col("conflict") == "add"))
        if not beyond.is_empty():
            too_large = shared.join(beyond, on=RECORD_FIELD, how="semi")
            shared = shared.join(beyond, on=RECORD_FIELD, how="anti")
        deltas, totals = add_deltas(situation.entity, shared.filter(pl.col("conflict") == "add"))
        ledger.stand(deltas, pl.col("moved_sent"))
        ledger.change(totals, pl.lit("merge: add"))
    if "union" in kinds:
        unions = shared.filter(pl.col("conflict") == "union")
        ledger.stand(unions)
        ledger.change(merge_unions(unions), pl.lit("merge: union"))
    rest = [shared.filter(~pl.col("conflict").is_in(COMBINING)) if kinds & set(COMBINING) else shared, waiting]
    if "text" in kinds:
        texts = shared.filter(pl.col("conflict") == "text")
        merged, clashing = merge_texts(texts)
        whole = texts.join(clashing, on=RECORD_FIELD, how="anti")
        ledger.stand(whole)
        ledger.change(merged, pl.lit("merge: text"))
        rest.append(texts.join(clashing, on=RECORD_FIELD, how="semi"))
    if "rule" in kinds:
        judged = shared.filter(pl.col("conflict") == "rule")
        ledger.stand(judged)
        _judge(situation, judged, ledger, "rule")
    # An old window saved over a file: its edit did not know the golden value, whatever it stands for, and a person decides.
    rest.append(doubtful.with_columns(sent=pl.col("observed"), conflict=pl.lit("manual")))
    rest.append(too_large.with_columns(conflict=pl.lit("manual")))
    _settle(situation, pl.concat([frame for frame in rest if not frame.is_empty()] or rest[:1]), ledger)


def _judge(situation: Situation, edits: pl.DataFrame, ledger: _Ledger, rule: str) -> None:
    """Let the field's `rule` judge the edits; those of which nothing is left go to the history."""
    verdicts = judge_edits(situation.entity, edits, situation.records)
    ledger.change(verdicts, pl.lit(rule))
    stands = verdicts.select(*RECORD_FIELD, pl.col("value").alias("stands"))
    lost = edits.join(stands, on=RECORD_FIELD, how="left").filter(pl.col("observed").ne_missing(pl.col("stands")))
    ledger.tell(lost, "lost", "observed", pl.lit(rule))


def _settle(situation: Situation, cells: pl.DataFrame, ledger: _Ledger) -> None:
    """Accept what only one side changed, and settle the rest as one set per field, whatever the order."""
    if cells.is_empty():
        return
    ledger.stand(cells)
    fresh = cells.filter(pl.col("observed").ne_missing(pl.col("golden")))
    if not situation.frozen.is_empty():
        frozen_now = situation.frozen.select(RECORD_FIELD).unique()
        _join_frozen(situation, cells.join(frozen_now, on=RECORD_FIELD, how="semi"), ledger)
        fresh = fresh.join(frozen_now, on=RECORD_FIELD, how="anti")
    if fresh.is_empty():
        return
    candidates = fresh.with_columns(
        value=pl.col("observed"), knew=pl.col("sent").eq_missing(pl.col("golden")), is_golden=pl.lit(value=False)
    )
    unknowing = candidates.group_by(RECORD_FIELD).agg(
        pl.col("knew").any().alias("superseded"), pl.col("golden").first().is_not_null().alias("has_golden")
    )
    golden = (
        candidates.unique(RECORD_FIELD, keep="first", maintain_order=True)
        .join(unknowing.filter(~pl.col("superseded") & pl.col("has_golden")), on=RECORD_FIELD, how="semi")
        .pipe(_as_golden_candidate, situation)
    )
    _decide(pl.concat([candidates, golden.select(candidates.columns)]), ledger, "")


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
    distinct = candidates.group_by(RECORD_FIELD).agg(pl.col("value").n_unique().alias("values"))
    candidates = candidates.join(distinct, on=RECORD_FIELD, how="left")
    # One side that only a person can judge (an old window saved over a file) leaves the whole set to that person.
    doubtful = candidates.filter((pl.col("values") > 1) & pl.col("conflict").is_in(["manual", "text"])).select(RECORD_FIELD).unique()
    _freeze(candidates.join(doubtful, on=RECORD_FIELD, how="semi"), ledger)
    settled = candidates.join(doubtful, on=RECORD_FIELD, how="anti")
    if settled.is_empty():
        return
    winners = _winners(settled)
    rule = pl.when(pl.col("values") > 1).then(pl.format(occasion + "{}", pl.col("conflict"))).otherwise(pl.lit(occasion + "accepted"))
    ledger.change(winners, rule)
    won = winners.select(*RECORD_FIELD, pl.col("value").alias("won"))
    lost = settled.join(won, on=RECORD_FIELD, how="left").filter(~pl.col("is_golden") & pl.col("value").ne_missing(pl.col("won")))
    ledger.tell(lost, "lost", "value", pl.format(occasion + "{}", pl.col("conflict")))


def _winners(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row per (record, field): the candidate that its rule prefers; ties by precedence, then by value."""
    rule = pl.col("conflict")
    time = pl.col(AT).fill_null(LONG_AGO).dt.epoch("us")
    numeric = pl.col("type").is_in(["integer", "decimal", "float"])
    exact, rough = sort_keys(pl.col("value"))
    text = pl.col("value").fill_null("").rank("dense").cast(pl.Int64)
    extreme = rule.is_in(["max", "min"])
    sign = pl.when(rule == "max").then(-1).otherwise(1)
    ordered = candidates.with_columns(
        _null_last=extreme & (pl.col("value").fill_null(NULL) == NULL),
        _time=pl.when(rule == "last_write_wins").then(-time).when(rule == "first_write_wins").then(time).otherwise(0),
        _exact=pl.when(numeric & extreme).then(exact * sign),
        _rough=pl.when(numeric & extreme).then(rough * sign),
        _text_order=pl.when(~numeric & extreme).then(text * sign).otherwise(0),
        _text=text,
    ).sort([*RECORD_FIELD, "_null_last", "_time", "_exact", "_rough", "_text_order", "rank", "_text"], nulls_last=True)
    return ordered.unique(RECORD_FIELD, keep="first", maintain_order=True).select(candidates.columns)


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
    """Edits of frozen fields join as candidates; a field thaws by itself when all that is left is one value."""
    if cells.is_empty():
        return
    touched = cells.select(RECORD_FIELD).unique()
    edits = cells.with_columns(value=pl.col("observed"), knew=pl.col("sent").eq_missing(pl.col("golden")))
    knowing = edits.filter("knew").select(RECORD_FIELD).unique()
    stand = situation.frozen.join(touched, on=RECORD_FIELD, how="semi").join(edits.select(CELL), on=CELL, how="anti", nulls_equal=True)
    kept = stand.filter(pl.col(SYSTEM).is_not_null() | (pl.col("kind") == "hold"))
    golden = stand.filter(pl.col(SYSTEM).is_null() & (pl.col("kind") != "hold")).join(knowing, on=RECORD_FIELD, how="anti")
    kinds = situation.frozen.select(*RECORD_FIELD, "base", "kind").unique(RECORD_FIELD, keep="first", maintain_order=True)
    joined = edits.select(*RECORD_FIELD, SYSTEM, "value", AT, "knew").join(kinds, on=RECORD_FIELD, how="left")
    columns = list(FREEZE_SCHEMA)
    everyone = pl.concat([kept.select(columns), golden.select(columns), joined.select(columns)])
    agreed = (
        everyone.group_by(RECORD_FIELD)
        .agg(pl.col("value").n_unique().alias("values"), pl.col("kind").first())
        .filter(pl.col("values") == 1)
        .select(RECORD_FIELD)
    )
    ledger.frozen = [frame.join(touched, on=RECORD_FIELD, how="anti") for frame in ledger.frozen]  # this is the whole set now
    ledger.thawed.append(agreed)
    ledger.tell(edits.join(agreed, on=RECORD_FIELD, how="anti"), "candidate", "value", pl.col("conflict"))
    ledger.frozen.append(everyone.join(agreed, on=RECORD_FIELD, how="anti"))
    winners = edits.join(agreed, on=RECORD_FIELD, how="semi").sort([AT, "rank"], descending=[True, False])
    winners = winners.unique(RECORD_FIELD, keep="first", maintain_order=True)
    ledger.change(winners, pl.lit("all agree"))


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
        ledger.change(kept, pl.lit("first contact: source of truth"))
        losers = truth.join(kept.select(*RECORD_FIELD, pl.col("value").alias("won")), on=RECORD_FIELD).filter(
            ~pl.col("is_golden") & (pl.col("value") != pl.col("won"))
        )
        ledger.tell(losers, "lost", "value", pl.lit("first contact: source of truth"))
    rest = said.join(owned, on=RECORD_FIELD, how="anti")
    by_rank = ["add"] + (["manual", "text"] if situation.entity.explicit_precedence else [])
    ranked = pl.col("conflict").is_in(by_rank) | pl.col("owner").is_not_null()
    rest = rest.with_columns(conflict=pl.when(ranked).then(pl.lit("precedence")).otherwise(pl.col("conflict")))
    unions = rest.filter(pl.col("conflict") == "union")
    if not unions.is_empty():
        ledger.change(merge_unions(unions.with_columns(seen=pl.lit("[]"), observed=pl.col("value"))), pl.lit("first contact: union"))
    judged = rest.filter((pl.col("conflict") == "rule") & ~pl.col("is_golden"))
    if not judged.is_empty():
        _judge(situation, judged, ledger, "first contact: rule")
    _decide(rest.filter(~pl.col("conflict").is_in(["union", "rule"])), ledger, "first contact: ")
    # What a write-only system held is compared with what stands after everybody else was heard; where nobody said anything yet, it is
    # told as well: the first value that is agreed will replace it.
    lost = _with_moved_golden(deaf, ledger.changes).filter((pl.col("observed") != NULL) & pl.col("observed").ne_missing(pl.col("golden")))
    ledger.tell(lost, "overruled", "observed", pl.lit("write only"))
    lost = lost.filter(pl.col("golden").is_not_null())
    return lost.height


def _owner_takes_part(hearing: pl.DataFrame, golden: pl.DataFrame) -> pl.Series:
    """Per golden candidate: whether the field's owner itself is among those who meet now."""
    owners = hearing.filter("own").select(*RECORD_FIELD, pl.lit(value=True).alias("meets"))
    return golden.select(RECORD_FIELD).join(owners, on=RECORD_FIELD, how="left", maintain_order="left")["meets"].fill_null(value=False)


def _hold(situation: Situation, ledger: _Ledger) -> None:
    """Take back the golden changes that a field's `hold_if` wants a person to see, and freeze those fields."""
    if not any(item.hold_if for item in situation.entity.fields.values()) or not ledger.changes:
        return
    changes = pl.concat(ledger.changes)
    held = held_changes(situation.entity, changes, situation.records)
    if held.is_empty():
        return
    ledger.changes = [changes.join(held, on=RECORD_FIELD, how="anti")]
    taken_back = held.with_columns(kind=pl.lit("edit"), _held=pl.lit(value=True))
    ledger.history = [
        pl.concat(ledger.history)
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


def _finish(ledger: _Ledger, overruled: int) -> Merged:
    """Put the collected frames together; several golden changes of one cell become one, from the first value to the last."""
    merged = Merged(overruled=overruled)
    if ledger.updates:
        merged.updates = pl.concat([frame.cast(UPDATE_SCHEMA) for frame in ledger.updates])
        if len(ledger.updates) > 1:
            merged.updates = merged.updates.unique(CELL, keep="last", maintain_order=True)
    if ledger.changes:
        changes = pl.concat([frame.select(list(CHANGE_SCHEMA)).cast(CHANGE_SCHEMA) for frame in ledger.changes])
        merged.changes = (
            changes
            if changes.height < 2
            else changes.group_by(RECORD_FIELD, maintain_order=True)
            .agg(pl.col("before").first(), pl.col("after", SYSTEM, AT, "rule").last())
            .select(list(CHANGE_SCHEMA))
        )
    if ledger.history:
        merged.history = pl.concat([frame.select(list(HISTORY_SCHEMA)).cast(HISTORY_SCHEMA) for frame in ledger.history])
    if ledger.frozen:
        merged.frozen = pl.concat([frame.select(list(FREEZE_SCHEMA)).cast(FREEZE_SCHEMA) for frame in ledger.frozen])
    if ledger.thawed:
        merged.thawed = pl.concat(ledger.thawed)
    return merged
