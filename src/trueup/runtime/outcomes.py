"""What the state must learn from a system's answers: shadows as the system stored them, failures, and keys to look at again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, NULL, OP, VERSION, beside
from trueup.core.deliver import FIELDS
from trueup.core.facts import SHADOW_SCHEMA
from trueup.core.fingerprint import key_hash, native_fingerprint
from trueup.core.shadow import encode_delta

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Entity
    from trueup.runtime.lane import Prepared
    from trueup.runtime.systems import Seat

FAILED_SCHEMA = pl.Schema({GID: pl.Int64(), KEY: pl.String(), "field": pl.String(), "reason": pl.String(), "retry_s": pl.Float64()})


@dataclass
class Results:
    """Outcomes of one batch.

    created    new shadow rows (SHADOW_SCHEMA), whole
    written    (__gid, __key, fields written, seen after, fingerprint, version): see `Written`
    removed    keys of rows that are gone as wanted
    """

    created: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SHADOW_SCHEMA))
    written: list[Written] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FAILED_SCHEMA))
    wake: list[str] = field(default_factory=list)
    done: int = 0
    stale: int = 0
    intent: int | None = None
    doubtful: list[Doubt] = field(default_factory=list)
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


@dataclass(frozen=True)
class Written:
    """One updated row: the fields that were written, what they read as now, and what they read as before."""

    gid: int
    key: str
    sent: dict[str, str | None]  # golden values that were sent
    seen: dict[str, str | None]  # as stored
    before: dict[str, str | None]
    fingerprint: int | None
    version: str | None


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
            "seen": pl.Series(
                [encode_delta(seen[gid]) if gid in seen else None for gid in done[GID].to_list()] if seen else [None] * done.height,
                dtype=pl.String,
            ),
            "sent": pl.Series(
                [encode_delta(unsent[gid]) if gid in unsent else None for gid in done[GID].to_list()] if unsent else [None] * done.height,
                dtype=pl.String,
            ),
            "before": pl.Series([None] * done.height, dtype=pl.String),
            # Kept only where a late reading is possible: eight bytes a row otherwise for nothing.
            "written_at": pl.Series([now if seat.may_lag else None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, done.height),
            "modified": pl.Series([None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, done.height),
            "native_version": done[VERSION],
            "state": pl.Series([0], dtype=pl.Int64).new_from_index(0, done.height),
        },
        schema=SHADOW_SCHEMA,
    )
    return results


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
    done = outcomes.filter(pl.col("__status") == "done")
    results.done = done.height
    if done.is_empty():
        return results
    shown = [name for name in entity.shown(seat.name) if entity.fields[name].type != "reference"]
    stored, _readable = _stored_cells(seat, done, prepared, shown)
    before = _cells_by_op(seat, prepared.expected) if prepared.expected is not None and not prepared.expected.is_empty() else None
    fields = prepared.fields.select(OP, FIELDS)
    rows = beside(done.select(OP, GID, KEY, VERSION), fields, OP)
    prints = _fingerprints(seat, done).to_list()
    golden_rows = {row[GID]: row for row in golden.join(rows.select(GID), on=GID, how="semi").iter_rows(named=True)}
    stored_rows = {row[OP]: row for row in stored.iter_rows(named=True)}
    before_rows = {row[OP]: row for row in before.iter_rows(named=True)} if before is not None else {}
    for (op, gid, key, version, names), fingerprint in zip(rows.rows(), prints, strict=True):
        agreed, now_there, was = golden_rows[gid], stored_rows.get(op, {}), before_rows.get(op, {})
        sent = {name: agreed[name] for name in names}
        seen = {name: now_there.get(name, agreed[name]) if name in shown else agreed[name] for name in names}
        others_moved = op in prepared.moved or any(
            name not in sent and name in was and now_there.get(name, was[name]) != was[name] for name in shown if name in now_there
        )
        if others_moved:
            results.wake.append(key)
        results.written.append(
            Written(
                gid,
                key,
                sent,
                seen,
                {name: was[name] for name in names if name in was},
                None if others_moved else fingerprint,
                version,
            )
        )
    return results


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
    if as_sent is not None:
        return as_sent, [True] * done.height
    told = done.filter("__stored")
    image = prepared.image.select(OP, *[name for name in shown if name in prepared.image.columns])
    if told.is_empty():
        return image.join(done.select(OP), on=OP, how="semi"), [False] * done.height
    cells = _cells_by_op(seat, told.select(OP, KEY, *seat.returning))
    cells = cells.select(OP, *[name for name in shown if name in cells.columns])
    known = set(cells[OP].to_list())
    rest = image.join(done.select(OP), on=OP, how="semi").join(cells.select(OP), on=OP, how="anti")
    return pl.concat([cells, rest], how="diagonal"), [op in known for op in done[OP].to_list()]


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


def _equal(given: pl.Series, stored: pl.Series) -> bool:
    return given.dtype == stored.dtype and given.equals(stored)


def _cells_by_op(seat: Seat, native: pl.DataFrame) -> pl.DataFrame:
    """Native rows mapped to cells, by operation number; unreadable rows are left out."""
    keyed = native.with_columns(pl.col(OP).cast(pl.String).alias(KEY))
    missing = [pl.lit(None, dtype=pl.String).alias(name) for name in seat.compiled.read_columns if name not in keyed.columns]
    rows = seat.compiled.to_cells(keyed.drop(OP).with_columns(missing)).rows
    return rows.with_columns(pl.col(KEY).cast(pl.Int64).alias(OP)).drop(KEY)


def _fingerprints(seat: Seat, done: pl.DataFrame, readable: list[bool] | None = None) -> pl.Series:
    """The fingerprint of each row as stored, null where that is not known (the next reading then compares cell by cell)."""
    columns = seat.compiled.value_columns
    if not set(columns) <= set(done.columns):
        return pl.Series("fingerprint", [None] * done.height, dtype=pl.Int64)
    prints = native_fingerprint(done, columns)
    known = done["__stored"] if readable is None else done["__stored"] & pl.Series(readable)
    return pl.select(pl.when(known).then(prints).otherwise(None)).to_series()


def _differences(row: dict[str, object], shown: list[str]) -> dict[str, str | None]:
    """The fields in which a stored row is not as the golden record says."""
    found: dict[str, str | None] = {}
    for name in shown:
        stored = row.get(f"{name}:stored", row[name])
        if stored != row[name]:
            found[name] = stored if isinstance(stored, str) else None
    return found
