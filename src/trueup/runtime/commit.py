"""Commit decisions and outcomes to the state: one transaction per chunk of records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import repeat
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core import quick
from trueup.core.cells import GID, KEY, NULL, SYSTEM, VERSION, beside, cell_to_python
from trueup.core.facts import FILTERED, UNREADABLE
from trueup.core.fingerprint import key_hash
from trueup.core.frames import FEW_ROWS, by_value, constant, differ, dropped, exchanged, is_given, keep, one_of, renamed, stacked, without
from trueup.core.merge import FREEZE_SCHEMA, NO_CANDIDATES
from trueup.core.shadow import encode_deltas, long_deltas
from trueup.runtime import trail
from trueup.store import conflict, created, failure, former_key, golden, history, match_key, notice, parked, sending, shadow, unsettled_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trueup.core.facts import Decision
    from trueup.model import Entity
    from trueup.runtime.identify import Identified
    from trueup.runtime.observation import Observation
    from trueup.runtime.outcomes import Doubt, Results
    from trueup.runtime.systems import Seat
    from trueup.store import Db
    from trueup.store.bulk import Ahead
    from trueup.store.engine import Backend

BACKOFF_S = (60.0, 300.0, 1_800.0, 7_200.0, 21_600.0)
"""How long a failing delivery waits before it is tried again, where the system does not say; the last one repeats."""


_CONFLICT_SCHEMA = {
    "gid": pl.Int64(),
    "field": pl.String(),
    "kind": pl.String(),
    "base": pl.String(),
    "golden": pl.String(),
    "candidates": pl.String(),
    "run": pl.Int64(),
    "opened_at": pl.Datetime("us", "UTC"),
}


def value_json(cell: str | None, entity: Entity, name: str | None) -> str | None:
    """A cell as JSON text for the history: None for an absent one, `null` for null."""
    if cell is None or name is None or name not in entity.fields:
        return None
    if cell == NULL:
        return "null"
    return orjson.dumps(cell_to_python(cell, entity.fields[name])).decode()


_AS_TEXT = ("text", "decimal", "date", "datetime")
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_PLAIN_NUMBER = r"^(?:0|-?[1-9][0-9]*)$"


def values_json(cells: pl.Series, names: pl.Series, entity: Entity) -> pl.Series:
    """As `value_json`, for columns. Values that stand in JSON as their cells do are taken as they are, the others one by one."""
    if cells.len() <= FEW_ROWS:
        return pl.Series(cells.name, [value_json(*pair) for pair in zip(cells.to_list(), repeat(entity), names.to_list())], dtype=pl.String)
    kinds = {name: field.type for name, field in entity.fields.items()}
    cell, kind = pl.col("cell"), pl.col("field").replace_strict(kinds, default=None, return_dtype=pl.String())
    stands = (kind == "integer") & cell.str.contains(_PLAIN_NUMBER) | (kind == "boolean") & cell.is_in(["true", "false"])
    quoted = pl.concat_str(pl.lit('"'), cell, pl.lit('"'))
    plain = pl.when(cell == NULL).then(pl.lit("null")).when(stands).then(cell)
    plain = plain.when(kind.is_in(_AS_TEXT) & ~cell.str.contains(_NEEDS_ESCAPE)).then(quoted)
    rows = pl.DataFrame([cells.alias("cell"), names.alias("field")]).with_columns(
        pl.when(kind.is_not_null()).then(plain).alias("text"), pl.int_range(pl.len()).alias("place")
    )
    rest = rows.filter(cell.is_not_null() & pl.col("text").is_null())
    if rest.is_empty():
        return rows["text"].alias(cells.name)
    told = [value_json(one, entity, name) for one, name in rest.select("cell", "field").rows()]
    return rows["text"].scatter(rest["place"], pl.Series(told, dtype=pl.String)).alias(cells.name)


@dataclass(frozen=True, slots=True)
class ReadyDecision:
    """The rows of a decision as the state takes them: golden records and shadows (by system), each with whether they are new."""

    decision: Decision
    golden: list[tuple[pl.DataFrame | Ahead, bool]]
    shadows: list[tuple[str, pl.DataFrame | Ahead, bool]]
    index: pl.DataFrame | Ahead


def ready_decision(decision: Decision, backend: Backend, *, hashes_later: bool = False) -> ReadyDecision:
    """Make the rows of a decision ready before the state's turn is taken: of many new ones that is a third of the work."""
    rows = list(_new_and_known(decision.golden, "id", decision.born))
    shadows = [
        (system, part, new)
        for system, mine in by_value(decision.shadows, "system")
        for part, new in _new_and_known(dropped(mine, ["system"]), "gid", decision.born)
    ]
    index = renamed(decision.index, GID, "gid")
    return ReadyDecision(
        decision,
        [(golden.ahead(part, backend) if new else part, new) for part, new in rows],
        [(system, shadow.ahead(part, backend) if new else part, new) for system, part, new in shadows],
        match_key.ahead(index, backend) if hashes_later and decision.indexed.is_empty() else index,
    )


def commit_decision(
    tx: Db,
    entity: Entity,
    decision: Decision | ReadyDecision,
    *,
    run: int | None,
    now: datetime,
    later: list[pl.DataFrame] | None = None,
    who: str | None = None,
) -> int:
    """Write what was decided (`who`: by a person, user@host). Returns the version under which it was written.

    `later` takes the match values of new records, to be indexed by hash in one sorted go by the caller; None: they are indexed here.
    """
    version = golden.next_version(tx)
    ready = decision if isinstance(decision, ReadyDecision) else ready_decision(decision, tx.backend, hashes_later=later is not None)
    decision = ready.decision
    for part, new in ready.golden:
        golden.upsert(tx, entity.name, part, new=new, version=version)
    if not decision.retold.is_empty():
        retold = decision.retold
        golden.retell(tx, entity.name, exchanged(retold, constant("version", version, retold.height, pl.Int64())))
    notice.born(tx, entity.name, version, decision.born)
    for system, gone in by_value(decision.removed, SYSTEM):
        former_key.note(tx, entity.name, system, gone[KEY], deleted_in=run)
        shadow.delete(tx, entity.name, system, gone[KEY])
    for system, part, new in ready.shadows:
        shadow.upsert(tx, entity.name, system, part, new=new)
    _commit_marks(tx, entity, decision, now)
    _commit_index(tx, entity, ready, later)
    if not decision.history.is_empty():
        history.append(tx, entity.name, _history(entity, decision.history, version=version, run=run, now=now, who=who))
    if not decision.thawed.is_empty() or not decision.frozen.is_empty():
        _commit_conflicts(tx, entity, decision, run=run, now=now)
    return version


def _commit_marks(tx: Db, entity: Entity, decision: Decision, now: datetime) -> None:
    """Rows that are to be deleted although their records live, and rows to be looked at again."""
    for system, mine in by_value(decision.withdrawn, SYSTEM):
        shadow.withdraw(tx, entity.name, system, mine[KEY])
    for system, mine in by_value(decision.again, SYSTEM):
        told = mine.select(pl.col(KEY).alias("key"), pl.lit("left apart no longer").alias("why"))
        unsettled_key.put(tx, entity.name, system, told.with_columns(since=pl.lit(now).cast(pl.Datetime("us", "UTC"))))


def _new_and_known(rows: pl.DataFrame, column: str, born: pl.Series) -> Iterator[tuple[pl.DataFrame, bool]]:
    """The rows of records that are being born, and the others; empty parts are left out."""
    if rows.is_empty():
        return
    if born.is_empty():
        yield rows, False
        return
    fresh = rows[column].is_in(born.implode())
    if fresh.all():
        yield rows, True
        return
    for part, new in ((rows.filter(fresh), True), (rows.filter(~fresh), False)):
        if not part.is_empty():
            yield part, new


def _commit_index(tx: Db, entity: Entity, ready: ReadyDecision, later: list[pl.DataFrame] | None) -> None:
    """The match values of records that are new or changed."""
    decision, rows = ready.decision, renamed(ready.decision.index, GID, "gid")
    if not decision.indexed.is_empty():
        match_key.replace(tx, entity.name, decision.indexed, rows)
    elif later is not None:
        match_key.by_record(tx, entity.name, ready.index)
        later.append(rows.cast({"rule": pl.Int8()}))  # of a first load they are many
    elif not rows.is_empty():
        match_key.add(tx, entity.name, rows)


def _history(entity: Entity, rows: pl.DataFrame, *, version: int, run: int | None, now: datetime, who: str | None) -> pl.DataFrame:
    """Merge history as the store wants it, values as JSON."""
    many = rows.height
    texts = {side: values_json(rows[side], rows["field"], entity) for side in ("before", "after")}
    return quick.table(
        {
            "version": constant("version", version, many, pl.Int64()),
            "gid": rows[GID],
            "run": constant("run", run, many, pl.Int64()),
            "field": rows["field"],
            "kind": rows["kind"],
            "system": rows[SYSTEM],
            "at": rows["__at"],
            "recorded_at": constant("recorded_at", now, many, pl.Datetime("us", "UTC")),
            "rule": rows["rule"],
            **texts,
            "detail": constant("detail", None if who is None else history.said_by(who), many, pl.String()),
        }
    )


def _commit_conflicts(tx: Db, entity: Entity, decision: Decision, *, run: int | None, now: datetime) -> None:
    """Close what thawed, open or renew what is frozen."""
    if not decision.thawed.is_empty():
        open_now = conflict.open_of(tx, entity.name, decision.thawed[GID].unique())
        ids = open_now.join(decision.thawed.rename({GID: "gid"}), on=["gid", "field"], how="semi")["id"]
        conflict.close(tx, ids, now, "all agree")
    if decision.frozen.is_empty():
        return
    agreed = {gid: row for gid, *row in decision.records.select(GID, *entity.fields).rows()}
    names = list(entity.fields)
    grouped: dict[tuple[int, str], list[tuple[Any, ...]]] = {}
    ordered = decision.frozen.sort(SYSTEM, nulls_last=True, maintain_order=True)
    for gid, name, *candidate in ordered.select(GID, "field", SYSTEM, "value", "__at", "kind", "base").rows():
        grouped.setdefault((gid, name), []).append(tuple(candidate))
    rows = []
    for (gid, name), listed in grouped.items():
        candidates = [{"system": system, "value": value, "at": at.isoformat() if at else None} for system, value, at, *_ in listed]
        golden_cell = agreed.get(gid, [None] * len(names))[names.index(name)]
        *_, kind, base = listed[0]
        rows.append((gid, name, kind, base, golden_cell, orjson.dumps(candidates).decode(), run, now))
    conflict.open_(tx, entity.name, pl.DataFrame(rows, schema=_CONFLICT_SCHEMA, orient="row"))


def commit_seen(tx: Db, entity: str, name: str, seen: Observation, now: datetime) -> None:
    """Rows outside of the filter, unreadable rows and their reasons."""
    if seen.filtered:
        shadow.set_state(tx, entity, name, pl.Series(seen.filtered, dtype=pl.String), FILTERED)
        shadow.set_fingerprint(tx, entity, name, pl.concat(seen.outside))
    bad = seen.failures
    known_bad = bad[KEY].drop_nulls().unique() if bad.height else bad[KEY]
    if known_bad.len():
        shadow.set_state(tx, entity, name, known_bad, UNREADABLE)
        shadow.set_fingerprint(
            tx, entity, name, pl.DataFrame({"key": known_bad, "fingerprint": pl.Series([None] * known_bad.len(), dtype=pl.Int64)})
        )
    recorded = failure.of(tx, entity, name)
    if not recorded.is_empty():
        recorded = recorded.filter(pl.col("stage").is_in(["read", "map"]))
        looked_at = recorded if seen.complete else recorded.filter(pl.col("key").is_in(list(seen.asked)))
        mended = looked_at.filter(~pl.col("key").is_in(known_bad.implode()))["id"].to_list()
        failure.drop(tx, mended)
    if not bad.is_empty():
        failure.put(
            tx,
            entity,
            bad.unique([KEY, "stage", "field", "reason"], maintain_order=True).select(
                pl.lit(name, dtype=pl.String).alias("system"),
                pl.coalesce(KEY, pl.format("({})", pl.col("reason").str.split(": ").list.first())).alias("key"),
                "stage",
                "field",
                "reason",
                pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("at"),
            ),
        )


def commit_identified(tx: Db, entity: str, found: Identified, *, run: int | None, now: datetime, moved: frozenset[str] | None) -> None:
    """What matching found out: rows under a new key, rows that are not parked any more, and those that are now.

    References of other entities follow a row to its new key, but not in systems that have `moved` altogether; None: nobody refers to these.
    """
    for (system,), rows in found.relinked.partition_by(SYSTEM, as_dict=True).items() if found.relinked.height else ():
        elsewhere = rows.filter(pl.col("old_key") != pl.col("new_key"))
        follow = moved is not None and system not in moved
        if follow:
            former_key.note(tx, entity, str(system), elsewhere["old_key"])
        shadow.rekey(tx, entity, str(system), elsewhere.select("old_key", "new_key", "khash"))
        if follow:
            former_key.made_again(tx, entity, str(system), elsewhere[GID])
    for system, keys in found.resolved.items():
        parked.remove(tx, entity, system, pl.Series(keys, dtype=pl.String))
    if not found.parked.is_empty():
        commit_parked(tx, entity, found.parked, run=run, now=now)


def commit_parked(tx: Db, entity: str, rows: pl.DataFrame, *, run: int | None, now: datetime) -> None:
    """Park rows: `__system`, `__key`, `candidates` (a list of golden ids) and `why`."""
    told = rows.select(
        pl.col(SYSTEM).alias("system"),
        pl.col(KEY).alias("key"),
        pl.format("[{}]", pl.col("candidates").cast(pl.List(pl.String)).list.join(",")).alias("candidates"),
        "why",
        pl.lit(run, dtype=pl.Int64).alias("run"),
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("since"),
    )
    parked.put(tx, entity, told)


def frozen_candidates(open_now: pl.DataFrame) -> pl.DataFrame:
    """The candidates of open conflicts, as the merge wants them (FREEZE_SCHEMA)."""
    if open_now.is_empty():
        return NO_CANDIDATES
    rows = [
        (gid, name, item["system"], item["value"], item["at"], True, base, kind)
        for gid, name, base, kind, text in open_now.select("gid", "field", "base", "kind", "candidates").rows()
        for item in orjson.loads(text)
    ]
    texts = {name: (pl.String() if name == "__at" else kind) for name, kind in FREEZE_SCHEMA.items()}
    frame = pl.DataFrame(rows, schema=texts, orient="row")
    return frame.with_columns(pl.col("__at").str.to_datetime(time_unit="us", time_zone="UTC", strict=False)).cast(FREEZE_SCHEMA)


@dataclass(frozen=True, slots=True)
class ReadyResults:
    """Results with their created rows as the state takes them: new, and to be undone (None: none was created)."""

    results: Results
    rows: pl.DataFrame | Ahead
    packed: created.Packed | None


def ready_results(results: Results, backend: Backend) -> ReadyResults:
    """Make outcomes ready before the state's turn is taken."""
    if results.created.is_empty():
        return ReadyResults(results, results.created, None)
    return ReadyResults(results, shadow.ahead(results.created.drop("system"), backend), created.packed(results.created))


def commit_results(
    tx: Db,
    entity: Entity,
    seat: Seat,
    results: Results | ReadyResults,
    *,
    run: int | None,
    now: datetime,
    all_new: bool = False,
    referred: bool = False,
) -> None:
    """Write the outcomes of one batch of a run, and drop its intent.

    `all_new` promises that nothing is known of the created rows' keys. Raises StateError, undoing the transaction, where it is not so.
    `referred`: rows of other entities may name the keys of this one's.
    """
    ready = results if isinstance(results, ReadyResults) else ready_results(results, tx.backend)
    results = ready.results
    if ready.packed is not None:
        _commit_created(tx, entity, seat, ready, all_new=all_new, referred=referred)
        if run is not None:
            created.add(tx, entity.name, seat.name, run, ready.packed)
    if results.removed:
        _retire(tx, entity, seat, pl.Series(results.removed, dtype=pl.String), run=run, referred=referred)
    if not results.written.is_empty():
        _commit_written(tx, entity, seat, results, now)
    if results.doubtful:
        _ask_about(tx, entity, results.doubtful, now)
    touched = pl.concat([results.created["gid"], results.written[GID].alias("gid")])
    if touched.len():  # failures of single fields are over only when nothing of theirs is due: see runtime/failures.py
        failure.clear(tx, entity.name, seat.name, gids=touched, stage="write", field="")
    if not results.failed.is_empty():
        put_troubles(tx, entity, seat, results.failed, now=now)
    if results.intent is not None:
        for intended in sending.remove(tx, results.intent):
            trail.has_left(tx, entity.name, seat.name, intended, results, at=now)


def _commit_created(tx: Db, entity: Entity, seat: Seat, ready: ReadyResults, *, all_new: bool, referred: bool) -> None:
    made = ready.results.created
    known = not all_new and _make_room(tx, entity, seat, made)
    shadow.upsert(tx, entity.name, seat.name, made.drop("system") if known else ready.rows, new=not known)
    if referred:
        former_key.made_again(tx, entity.name, seat.name, made["gid"])


def _retire(tx: Db, entity: Entity, seat: Seat, keys: pl.Series, *, run: int | None, referred: bool) -> None:
    """Take in that rows were deleted as wanted. Those that an undo has taken out keep their keys in what is known of them."""
    kept = shadow.keep_withdrawn(tx, entity.name, seat.name, keys)
    if referred or not kept:
        former_key.note(tx, entity.name, seat.name, keys, deleted_in=run)
    if not kept:
        shadow.forget_deleted(tx, entity.name, seat.name, keys)


def _ask_about(tx: Db, entity: Entity, doubts: Sequence[Doubt], now: datetime) -> None:
    """Open a conflict per doubtful value: what the system shows, against the golden value and whatever was in question before."""
    waiting = conflict.open_of(tx, entity.name, pl.Series([doubt.gid for doubt in doubts], dtype=pl.Int64))
    before = {(row["gid"], row["field"]): row for row in waiting.iter_rows(named=True)}
    rows = []
    for doubt in doubts:
        side = {"system": doubt.system, "value": doubt.shown, "at": now.isoformat()}
        known = before.get((doubt.gid, doubt.field))
        others = orjson.loads(known["candidates"]) if known else [{"system": None, "value": doubt.golden, "at": None}]
        sides = [side, *(item for item in others if item["system"] != doubt.system)]
        kind, base = (known["kind"], known["base"]) if known else ("conflict", doubt.base)
        rows.append((doubt.gid, doubt.field, kind, base, doubt.golden, orjson.dumps(sides).decode(), None, now))
    conflict.open_(tx, entity.name, pl.DataFrame(rows, schema=_CONFLICT_SCHEMA, orient="row"))


def _make_room(tx: Db, entity: Entity, seat: Seat, created: pl.DataFrame) -> bool:
    """A system may give a new row the key of one that vanished: what is known of the vanished one is kept under a name of its own.

    Returns whether anything is known of any of these keys, before or after that.
    """
    old = shadow.by_key(tx, entity.name, seat.name, created["key"])
    other = old.join(created.select("key", pl.col("gid").alias("_new")), on="key").filter(pl.col("gid") != pl.col("_new"))
    if not other.is_empty():
        moved = other.select(pl.col("key").alias("old_key"), pl.format("{} (gone, record {})", "key", "gid").alias("new_key"))
        shadow.rekey(tx, entity.name, seat.name, moved.with_columns(key_hash(moved["new_key"]).alias("khash")))
    return not old.is_empty()


def _commit_written(tx: Db, entity: Entity, seat: Seat, results: Results, now: datetime) -> None:
    """Move `seen` and `sent` of the fields written; the rest of each shadow stays."""
    known = shadow.held(tx, entity.name, seat.name, results.written[KEY])
    rows = keep(results.written, one_of(results.written[KEY], known["key"]))
    rows = beside(rows, renamed(known, "key", KEY), KEY)
    agreed = _agreed(results)
    many = rows.height
    texts = {column: _moved_deltas(rows, results.cells, column, differ(results.cells[column], agreed)) for column in ("seen", "sent")}
    remember = seat.may_lag
    texts["before"] = constant("before", None, many, pl.String())
    if remember:
        was_read = keep(results.cells, results.cells["was_read"])
        texts["before"] = _moved_deltas(rows, was_read, "before", constant("", value=True, rows=was_read.height, dtype=pl.Boolean()))
    version = rows[VERSION]
    shadow.upsert(
        tx,
        entity.name,
        seat.name,
        quick.table(
            {
                "key": rows[KEY],
                "gid": rows[GID],
                "khash": rows["khash"],
                "fingerprint": rows["fingerprint"],
                **texts,
                "written_at": constant("written_at", now if remember else None, many, pl.Datetime("us", "UTC")),
                "native_version": version.zip_with(is_given(version), rows["native_version"]),
            }
        ),
    )


def _agreed(results: Results) -> pl.Series:
    """The golden value now, per cell that was written."""
    if results.golden is None:
        return results.cells["sent"]
    moved = [results.golden[gid][name] for gid, name in results.cells.select(GID, "field").rows()]
    return pl.Series("sent", moved, dtype=pl.String)


def _moved_deltas(rows: pl.DataFrame, cells: pl.DataFrame, column: str, named: pl.Series) -> pl.Series:
    """A delta of each row (__gid, __key) with the fields that were written replaced by those of them that are to be `named`."""
    told = quick.table({"gid": rows[GID], "system": rows[KEY], column: rows[column]})  # a row is known by its key here
    cells = quick.table({GID: cells[GID], SYSTEM: cells[KEY], "field": cells["field"], "cell": cells[column]})
    old = without(long_deltas(told, column), cells, [SYSTEM, "field"])
    return encode_deltas(told, stacked([old, keep(cells, named)])).alias(column)


def put_troubles(tx: Db, entity: Entity, seat: Seat, troubles: pl.DataFrame, *, now: datetime) -> None:
    """Record records that could not be written: (__gid, __key, field, reason, retry_s)."""
    columns_to_field = {column: name for name in entity.mapped(seat.name) for column in _columns(seat, name)}
    attempts = {gid: count for gid, count in failure.of(tx, entity.name, seat.name).select("gid", "attempts").rows() if gid is not None}
    rows = []
    for gid, key, name, reason, retry_s in troubles.select(GID, KEY, "field", "reason", "retry_s").rows():
        wait = None
        if retry_s is not None:
            wait = retry_s if retry_s == 0.0 else max(retry_s, BACKOFF_S[min(attempts.get(gid, 0), len(BACKOFF_S) - 1)])
        next_try = None if wait is None else now + timedelta(seconds=wait)
        rows.append((seat.name, key, gid, "write", columns_to_field.get(name or "", name), reason, now, next_try))
    schema = {
        "system": pl.String(),
        "key": pl.String(),
        "gid": pl.Int64(),
        "stage": pl.String(),
        "field": pl.String(),
        "reason": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "next_try_at": pl.Datetime("us", "UTC"),
    }
    failure.put(tx, entity.name, pl.DataFrame(rows, schema=schema, orient="row"))


def _columns(seat: Seat, name: str) -> tuple[str, ...]:
    mapping = seat.mapping.fields[name]
    return (mapping.column,) if mapping.column is not None else tuple(mapping.write)
