"""What the state must learn from a system's answers: shadows as the system stored them, failures, and keys to look at again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.core import quick
from trueup.core.cells import GID, KEY, NULL, OP, VERSION, beside
from trueup.core.deliver import FIELDS
from trueup.core.facts import SHADOW_SCHEMA
from trueup.core.fingerprint import key_hash, native_fingerprint
from trueup.core.frames import constant, differ, dropped, held, holding, keep, kept, one_of, only, renamed, stacked, typed, without
from trueup.core.shadow import encode_delta

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Entity
    from trueup.runtime.lane import Prepared
    from trueup.runtime.systems import Seat

FAILED_SCHEMA = pl.Schema({GID: pl.Int64(), KEY: pl.String(), "field": pl.String(), "reason": pl.String(), "retry_s": pl.Float64()})
_NO_SHADOWS = pl.DataFrame(schema=SHADOW_SCHEMA)
_NO_FAILED = pl.DataFrame(schema=FAILED_SCHEMA)


WRITTEN_SCHEMA = pl.Schema({GID: pl.Int64(), KEY: pl.String(), "fingerprint": pl.Int64(), VERSION: pl.String()})
CELL_SCHEMA = pl.Schema(
    {
        GID: pl.Int64(),
        KEY: pl.String(),
        "field": pl.String(),
        "sent": pl.String(),
        "seen": pl.String(),
        "before": pl.String(),
        "was_read": pl.Boolean(),
    }
)
_NOT_WRITTEN = pl.DataFrame(schema=WRITTEN_SCHEMA)
_NO_CELLS = pl.DataFrame(schema=CELL_SCHEMA)


@dataclass
class Results:
    """Outcomes of one batch.

    created    new shadow rows (SHADOW_SCHEMA), whole
    written    updated rows (WRITTEN_SCHEMA), as they are now known
    cells      the fields written in them (CELL_SCHEMA): the golden value that was sent, what reads there now, and what was there before
               where that was read
    removed    keys of rows that are gone as wanted
    """

    created: pl.DataFrame = field(default_factory=lambda: _NO_SHADOWS)
    written: pl.DataFrame = field(default_factory=lambda: _NOT_WRITTEN)
    cells: pl.DataFrame = field(default_factory=lambda: _NO_CELLS)
    removed: list[str] = field(default_factory=list)
    failed: pl.DataFrame = field(default_factory=lambda: _NO_FAILED)
    wake: list[str] = field(default_factory=list)
    done: int = 0
    stale: int = 0
    intent: int | None = None
    doubtful: list[Doubt] = field(default_factory=list)
    records: pl.DataFrame | None = None  # the golden records that were decided about
    golden: dict[int, dict[str, str | None]] | None = None  # golden cells now, where they may have moved since the values were sent


@dataclass(frozen=True, slots=True)
class Doubt:
    """A value that only a person can place: it came about around a write of ours that may or may not have landed."""

    gid: int
    field: str
    system: str
    shown: str | None
    golden: str | None
    base: str | None


def settle_creates(entity: Entity, seat: Seat, prepared: Prepared, outcomes: pl.DataFrame, golden: pl.DataFrame, now: datetime) -> Results:
    """New rows: their shadows start with what the system stored."""
    results = _troubles(outcomes, gone_is_done=False)
    done = outcomes.filter(pl.col("__status") == "done")
    if done.is_empty():
        return results
    results.done = done.height
    shown = [name for name in entity.shown(seat.name) if entity.fields[name].type != "reference"]
    stored, readable = _stored_cells(seat, done, prepared, shown)
    both = beside(done.select(OP, GID, KEY), golden, GID)
    both = beside(both, stored.rename({name: f"{name}:stored" for name in shown if name in stored.columns}), OP)
    told = [name for name in shown if f"{name}:stored" in both.columns]
    differing = [pl.col(f"{name}:stored").ne_missing(pl.col(name)) for name in told if not both[f"{name}:stored"].equals(both[name])]
    odd = both.filter(pl.any_horizontal(differing)) if differing else both.clear()
    seen = {row["__gid"]: _differences(row, shown) for row in odd.iter_rows(named=True)}
    unsent: dict[int, dict[str, str | None]] = {}
    writable = set(entity.written(seat.name))
    for gid, names in prepared.withheld.group_by(GID).agg("field").rows():
        unsent[gid] = dict.fromkeys(set(names) & writable)
    unsaid = _unsaid_references(entity, seat, done, prepared, unsent)
    for gid, key, said in beside(odd.select(OP, GID, KEY), prepared.fields, OP).select(GID, KEY, FIELDS).rows() if odd.height else ():
        news = [name for name, cell in seen[gid].items() if name not in said and cell not in (None, NULL)]
        if news:  # a default of the system, or somebody was quick: to be looked at as what it is
            unsaid[gid] = [*unsaid.get(gid, ()), *news]
            results.wake.append(key)
    for gid, names in unsaid.items():
        seen[gid] = {**seen.get(gid, {}), **dict.fromkeys(names)}
    hashes = key_hash(done[KEY])
    results.created = pl.DataFrame(
        {
            "gid": done[GID],
            "system": pl.Series([seat.name], dtype=pl.String).new_from_index(0, done.height),
            "key": done[KEY],
            "khash": hashes,
            "fingerprint": pl.select(pl.when(~done[GID].is_in(list(unsaid))).then(_fingerprints(seat, done, readable))).to_series(),
            "seen": _deltas_of(done[GID], seen),
            "sent": _deltas_of(done[GID], unsent),
            "before": constant("before", None, done.height, pl.String()),
            # Kept only where a late reading is possible: eight bytes a row otherwise for nothing.
            "written_at": pl.Series([now if seat.may_lag else None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, done.height),
            "modified": pl.Series([None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, done.height),
            "native_version": done[VERSION],
            "state": pl.Series([0], dtype=pl.Int64).new_from_index(0, done.height),
        },
        schema=SHADOW_SCHEMA,
    )
    return results


def _deltas_of(gids: pl.Series, told: Mapping[int, dict[str, str | None]]) -> pl.Series:
    """The delta of each record, null where nothing is told of it."""
    if not told:
        return constant("delta", None, gids.len(), pl.String())
    return pl.Series([encode_delta(told[gid]) if gid in told else None for gid in gids.to_list()], dtype=pl.String)


def _unsaid_references(
    entity: Entity, seat: Seat, done: pl.DataFrame, prepared: Prepared, withheld: Mapping[int, Mapping[str, str | None]]
) -> dict[int, list[str]]:
    """Per new row the references that were not written: what the system shows there is not known, and is to be looked at."""
    names = [name for name in entity.shown(seat.name) if entity.fields[name].type == "reference"]
    if not names:
        return {}
    rows = beside(done.select(OP, GID), prepared.fields, OP).select(GID, FIELDS).rows()
    found = {gid: [name for name in names if name not in said or name in withheld.get(gid, ())] for gid, said in rows}
    return {gid: unsaid for gid, unsaid in found.items() if unsaid}


def settle_updates(entity: Entity, seat: Seat, prepared: Prepared, outcomes: pl.DataFrame, golden: pl.DataFrame, now: datetime) -> Results:
    """Updated rows: `seen` moves for the fields written; a difference in any other field is somebody's edit, to be looked at again."""
    del now
    results = _troubles(outcomes, gone_is_done=False)
    done = keep(outcomes, outcomes["__status"] == "done")
    results.done = done.height
    if done.is_empty():
        return results
    shown = [name for name in entity.shown(seat.name) if entity.fields[name].type != "reference"]
    stored, _readable = _stored_cells(seat, done, prepared, shown)
    before = prepared.before
    if before is None and prepared.expected is not None and not prepared.expected.is_empty():
        before = _cells_by_op(seat, prepared.expected)
    rows = beside(quick.chosen(done, [OP, GID, KEY, VERSION]), quick.chosen(prepared.fields, [OP, FIELDS]), OP)
    prints = _fingerprints(seat, done)
    moved = one_of(rows[OP], pl.Series(list(prepared.moved), dtype=pl.Int64)) | _others_moved(rows, shown, stored, before)
    results.wake += kept(rows[KEY], moved).to_list()
    known = constant("fingerprint", None, rows.height, pl.Int64()).zip_with(moved, prints)
    results.written = typed(quick.chosen(rows, [GID, KEY, VERSION]).hstack([known.alias("fingerprint")]), WRITTEN_SCHEMA)
    parts = [_NO_CELLS]
    for name in held(rows[FIELDS]):
        mine = keep(rows, holding(rows[FIELDS], name))[[OP, GID, KEY]]
        mine = mine.hstack([constant("field", name, mine.height, pl.String())])
        mine = beside(mine, renamed(quick.chosen(golden, [GID, name]), name, "sent"), GID)
        mine = _with_cell(mine, stored if name in shown else None, name, "now", "is_told")
        mine = _with_cell(mine, before, name, "before", "was_read")
        mine = mine.hstack([mine["now"].zip_with(mine["is_told"], mine["sent"]).alias("seen")])
        parts.append(typed(mine, CELL_SCHEMA))
    results.cells = stacked(parts)
    return results


def _others_moved(rows: pl.DataFrame, shown: list[str], stored: pl.DataFrame, before: pl.DataFrame | None) -> pl.Series:
    """Per row (__op, __fields): whether a field that was not written reads otherwise than before."""
    moved = constant("moved", value=False, rows=rows.height, dtype=pl.Boolean())
    if before is None:
        return moved
    aligned = stored[OP].equals(before[OP])
    compared = [name for name in shown if name in stored.columns and name in before.columns]
    compared = [name for name in compared if not (aligned and stored[name].equals(before[name]))]
    if not compared:
        return moved
    known = one_of(rows[OP], stored[OP]) & one_of(rows[OP], before[OP])
    now, was = (
        beside(quick.chosen(rows, [OP]), quick.chosen(stored, [OP, *compared]), OP),
        beside(quick.chosen(rows, [OP]), quick.chosen(before, [OP, *compared]), OP),
    )
    for name in compared:
        moved |= differ(now[name], was[name]) & ~holding(rows[FIELDS], name)
    return (moved & known).alias("moved")


def _with_cell(rows: pl.DataFrame, cells: pl.DataFrame | None, name: str, value: str, known: str) -> pl.DataFrame:
    """The rows with one field of `cells` (by __op) as `value`, and as `known` whether it is told at all."""
    if cells is None or name not in cells.columns:
        nothing = constant(value, None, rows.height, pl.String())
        return rows.hstack([nothing, constant(known, value=False, rows=rows.height, dtype=pl.Boolean())])
    told = beside(rows, renamed(quick.chosen(cells, [OP, name]), name, value), OP)
    return told.hstack([one_of(rows[OP], cells[OP]).alias(known)])


def settle_deletes(entity: Entity, seat: Seat, prepared: Prepared, outcomes: pl.DataFrame, golden: pl.DataFrame, now: datetime) -> Results:
    """Deleted rows; one that was gone already is as good."""
    del entity, seat, prepared, golden, now
    results = _troubles(outcomes, gone_is_done=True)
    done = outcomes.filter(pl.col("__status").is_in(["done", "gone"]))
    results.done = done.height
    results.removed = done[KEY].to_list()
    return results


def as_stored(seat: Seat, settled: Prepared) -> pl.DataFrame:
    """Outcomes for rows that already held what was to be written: done, and stored as they were just read."""
    expected = settled.expected if settled.expected is not None else settled.rows.select(OP)
    told = set(seat.returning) <= set(expected.columns)
    return (
        settled.rows.select(OP, GID, KEY)
        .with_columns(
            pl.lit("done").alias("__status"),
            pl.lit(None, dtype=pl.String).alias("__version"),
            pl.lit(None, dtype=pl.String).alias("__reason"),
            pl.lit(None, dtype=pl.String).alias("__field"),
            pl.lit(None, dtype=pl.Float64).alias("__retry_s"),
            pl.lit(told).alias("__stored"),
        )
        .join(
            expected.drop([name for name in expected.columns if name.startswith("__") and name != OP]),
            on=OP,
            how="left",
            maintain_order="left",
        )
    )


def _troubles(outcomes: pl.DataFrame, *, gone_is_done: bool) -> Results:
    """Rejected and to be retried, stale and gone."""
    results = Results()
    status = pl.col("__status")
    if (outcomes["__status"] == "done").all():
        return results
    failed = outcomes.filter(status.is_in(["rejected", "retry"]))
    results.failed = failed.select(
        GID,
        KEY,
        pl.col("__field").alias("field"),
        pl.col("__reason").fill_null("refused without a reason").alias("reason"),
        pl.when(status == "retry").then(pl.col("__retry_s").fill_null(60.0)).otherwise(None).alias("retry_s"),
    ).cast(FAILED_SCHEMA)
    again = outcomes.filter(status.is_in(["stale"] if gone_is_done else ["stale", "gone"]))
    results.stale = again.height
    results.wake = again[KEY].drop_nulls().to_list()
    return results


def _stored_cells(seat: Seat, done: pl.DataFrame, prepared: Prepared, shown: list[str]) -> tuple[pl.DataFrame, list[bool]]:
    """Cells as stored per operation: from the answer where it tells the row, else the image that was expected.

    Also whether each row's stored form is known and readable, in the order of `done`.
    """
    as_sent = _cells_as_sent(seat, done, prepared, shown)
    if as_sent is None and prepared.kind == "update":
        as_sent = _cells_as_before(seat, done, prepared, shown)
    if as_sent is not None:
        return as_sent, [True] * done.height
    told = keep(done, done["__stored"])
    image = only(quick.chosen(prepared.image, [OP, *(name for name in shown if name in prepared.image.columns)]), done, [OP])
    if told.is_empty():
        return image, [False] * done.height
    cells = _cells_by_op(seat, quick.chosen(told, [OP, KEY, *seat.returning]))
    cells = quick.chosen(cells, [OP, *(name for name in shown if name in cells.columns)])
    known = set(cells[OP].to_list())
    rest = without(image, cells, [OP])
    return pl.concat([cells, rest], how="diagonal") if rest.height else cells, [op in known for op in done[OP].to_list()]


def _cells_as_sent(seat: Seat, done: pl.DataFrame, prepared: Prepared, shown: list[str]) -> pl.DataFrame | None:
    """The image, where every row is told and stored as it was given; only fields whose columns differ are read from what was stored.

    None where that says too little: a row is not told, a field is not in the image, or a value that differs may be unreadable.
    """
    given, compiled = prepared.rows, seat.compiled
    if not done["__stored"].all() or not set(shown) <= set(prepared.image.columns) or not given[OP].equals(done[OP]):
        return None
    same = {name for name in seat.returning if name in given.columns and name in done.columns and _equal(given[name], done[name])}
    if KEY in given.columns and given[KEY].equals(done[KEY]):
        same.update(seat.mapping.object.key)
    image = prepared.image.select(OP, *shown)
    if not image[OP].equals(done[OP]):
        return None
    differing = [reader.field.name for reader in compiled.readers if reader.field.name in shown and not same.issuperset(reader.columns)]
    if not differing:
        return image
    if compiled.where is not None or not {check.field for check in compiled.checks}.isdisjoint(differing):
        return None
    cells = compiled.cells_of(done, differing)
    return None if any(column.null_count() for column in cells.get_columns()) else image.with_columns(cells.get_columns())


def _cells_as_before(seat: Seat, done: pl.DataFrame, prepared: Prepared, shown: list[str]) -> pl.DataFrame | None:
    """The image of what was written and what the rows showed before, where each column of every row is as it was given or as it was.

    None where that says too little: what was stored is then to be read.
    """
    given, expected, before = prepared.rows, prepared.expected, prepared.before
    if expected is None or before is None or seat.compiled.where is not None or not done["__stored"].all():
        return None
    if not (given[OP].equals(done[OP]) and expected[OP].equals(done[OP]) and before[OP].equals(done[OP])):
        return None
    written = {name for names in given["__write"].to_list() for name in names} if "__write" in given.columns else set(given.columns)
    as_given = {name for name in written if name in done.columns and name in given.columns and _equal(given[name], done[name])}
    as_it_was = {name for name in seat.returning if name in expected.columns and _equal(expected[name], done[name])}
    columns = [done[OP]]
    for reader in seat.compiled.readers:
        name = reader.field.name
        if name not in shown:
            continue
        if name in prepared.image.columns and as_given.issuperset(reader.columns):
            columns.append(prepared.image[name])
        elif name in before.columns and as_it_was.issuperset(reader.columns):
            columns.append(before[name])
        else:
            return None
    return quick.frame(columns)


def _equal(given: pl.Series, stored: pl.Series) -> bool:
    return given.dtype == stored.dtype and given.equals(stored)


def _cells_by_op(seat: Seat, native: pl.DataFrame) -> pl.DataFrame:
    """Native rows mapped to cells, by operation number; unreadable rows are left out."""
    missing = [constant(name, None, native.height, pl.String()) for name in seat.compiled.read_columns if name not in native.columns]
    keyed = quick.frame([native[OP].cast(pl.String).alias(KEY), *dropped(native, [OP, KEY]).get_columns(), *missing])
    rows = seat.compiled.to_cells(keyed).rows
    return quick.frame([rows[KEY].cast(pl.Int64).alias(OP), *dropped(rows, [KEY]).get_columns()])


def _fingerprints(seat: Seat, done: pl.DataFrame, readable: list[bool] | None = None) -> pl.Series:
    """The fingerprint of each row as stored, null where that is not known (the next reading then compares cell by cell)."""
    columns = seat.compiled.value_columns
    if not set(columns) <= set(done.columns):
        return pl.Series("fingerprint", [None] * done.height, dtype=pl.Int64)
    prints = native_fingerprint(done, columns)
    known = done["__stored"] if readable is None else done["__stored"] & pl.Series(readable)
    return prints.zip_with(known, constant(prints.name, None, prints.len(), pl.Int64()))


def _differences(row: dict[str, object], shown: list[str]) -> dict[str, str | None]:
    """The fields in which a stored row is not as the golden record says."""
    found: dict[str, str | None] = {}
    for name in shown:
        stored = row.get(f"{name}:stored", row[name])
        if stored != row[name]:
            found[name] = stored if isinstance(stored, str) else None
    return found
