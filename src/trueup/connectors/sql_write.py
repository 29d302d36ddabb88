"""How the SQL connectors turn a write batch into set-based jobs, and jobs' results into outcomes.

A `Job` is a frame that one statement can carry out: the same columns written in every row, every key once. Its frame has `__op`, `__key`,
the key's native parts `k0`, `k1`, …, new values `n0`, `n1`, … for `written`, and values as last read `o0`, `o1`, … for `compared`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, PAGE_ROWS
from trueup.connectors.sql_read import native_keys
from trueup.connectors.sql_types import dtype_of, key_text
from trueup.core.frames import FEW_ROWS, constant, found, sorted_by
from trueup.errors import ObjectMissingError, SystemError_, SystemUnreachableError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.sql_read import Table
    from trueup.model import OperationKind

ROUND = "__round"


class RowRefusedError(SystemError_):
    """The database refused a statement because of what a row holds: constraint, trigger, type, length. `column` where it names one."""

    def __init__(self, message: str, *, column: str | None = None) -> None:
        """Keep the database's own words."""
        super().__init__(message)
        self.column = column


class TransactionLostError(RowRefusedError):
    """A row was refused in a way that took the whole transaction with it: its other operations have to be carried out again."""


class BusyError(SystemUnreachableError):
    """A lock, deadlock or serialization failure: the same transaction may succeed when tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Operations that one statement carries out; see the module's text for `frame`."""

    kind: OperationKind
    frame: pl.DataFrame
    written: tuple[str, ...]
    compared: tuple[str, ...] = ()
    returning: tuple[str, ...] = ()

    def part(self, start: int, length: int) -> Job:
        """The same job for a slice of its rows."""
        return replace(self, frame=self.frame.slice(start, length))

    def halves(self) -> tuple[Job, Job]:
        """The job in two."""
        middle = self.frame.height // 2
        return self.part(0, middle), self.part(middle, self.frame.height - middle)

    def of(self, frame: pl.DataFrame) -> Job:
        """The same job with other rows."""
        return replace(self, frame=frame)


def check_batch(table: Table, batch: WriteBatch) -> None:
    """Check that the object takes what the batch brings.

    Raises WriteRefusedError where the object takes no writes or a column cannot be written, ObjectMissingError for an unknown column.
    """
    if table.target is None or not table.writable:
        message = f"{table.info.name} cannot be written: it is a {table.info.kind} that takes no writes"
        raise WriteRefusedError(message, hint="map the table behind it, or set direction: read")
    if not table.key:
        message = f"{table.info.name} has no key"
        raise ObjectMissingError(message, hint="name its key column in the mapping")
    for name in batch.columns:
        if not table.column(name).info.writable:
            message = f"{table.info.name}.{name} is computed by the database and cannot be written"
            raise WriteRefusedError(message, hint="map it for reading only")
    for name in batch.returning:
        table.column(name)


def plan_jobs(table: Table, batch: WriteBatch, rows_per_job: int = PAGE_ROWS) -> Iterator[Job]:
    """The batch as jobs, in an order that keeps operations on the same key in their order."""
    if batch.kind == "create":
        yield from _create_jobs(table, batch, rows_per_job)
        return
    frame = _with_keys(table, batch.rows)
    if batch.expected is not None:
        old = [column.alias(column.name if column.name == "__op" else f"__old_{column.name}") for column in batch.expected.get_columns()]
        frame = found(frame, pl.DataFrame(old), ["__op"])
    for _, part in _rounds(frame):
        yield from _keyed_jobs(table, batch, part, rows_per_job)


def _create_jobs(table: Table, batch: WriteBatch, rows_per_job: int) -> Iterator[Job]:
    """Rows whose key was given (key parts written from it) apart from those that wait for one."""
    given = batch.rows.filter(pl.col("__key").is_not_null())
    open_ = batch.rows.filter(pl.col("__key").is_null())
    for rows, add_key in ((given, True), (open_, False)):
        if rows.is_empty():
            continue
        frame, written = rows, batch.columns
        if add_key:
            frame = _with_keys(table, rows)
            missing = [name for name in table.key if name not in written]
            frame = frame.with_columns([pl.col(f"k{table.key.index(name)}").alias(name) for name in missing])
            written = (*written, *missing)
        frame = frame.select("__op", "__key", *(pl.col(name).alias(f"n{index}") for index, name in enumerate(written)))
        for start in range(0, frame.height, rows_per_job):
            yield Job(kind="create", frame=frame.slice(start, rows_per_job), written=written, returning=batch.returning)


def _with_keys(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.hstack(native_keys(table, rows.get_column("__key")))


def _rounds(frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Operations on the same key one after the other: every part holds each key once."""
    keys = frame.get_column("__key")
    if (len(set(keys.to_list())) if frame.height <= FEW_ROWS else keys.n_unique()) == frame.height:
        yield 0, frame
        return
    numbered = frame.with_columns(pl.int_range(pl.len()).over("__key").alias(ROUND))
    for part in numbered.partition_by(ROUND, maintain_order=True):
        yield part.get_column(ROUND)[0], part.drop(ROUND)


def _keyed_jobs(table: Table, batch: WriteBatch, frame: pl.DataFrame, rows_per_job: int) -> Iterator[Job]:
    """Updates grouped by the columns they write, deletes as they are; sorted by key, so that two writers lock in one order."""
    expected = () if batch.expected is None else tuple(name for name in batch.expected.columns if not name.startswith("__"))
    for name in expected:
        table.column(name)
    groups: list[tuple[tuple[str, ...], pl.DataFrame]]
    if batch.kind == "delete":
        groups = [((), frame)]
    elif "__write" in frame.columns:
        parts = [frame]
        if frame.height != 1:
            parts = _by_columns(frame)
        groups = [(tuple(sorted(part.get_column("__write")[0].to_list())), part) for part in parts]
    else:
        groups = [(batch.columns, frame)]
    for written, part in groups:
        compared = expected if batch.kind == "delete" else tuple(name for name in expected if name in written)
        part = sorted_by(part, ("__key",))  # noqa: PLW2901  in one order
        ready = pl.DataFrame(
            [
                *part[["__op", "__key", *(f"k{index}" for index in range(len(table.key)))]].get_columns(),
                *(part[name].alias(f"n{index}") for index, name in enumerate(written)),
                *(part[f"__old_{name}"].alias(f"o{index}") for index, name in enumerate(compared)),
            ]
        )
        for start in range(0, ready.height, rows_per_job):
            yield Job(
                kind=batch.kind, frame=ready.slice(start, rows_per_job), written=written, compared=compared, returning=batch.returning
            )


def _by_columns(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows by the columns that they write, in whatever order these are named."""
    lists = frame.get_column("__write")
    if frame.height <= FEW_ROWS and len({frozenset(names) for names in lists.to_list()}) == 1:
        return [frame]
    named = lists.list.join("\x00")
    kinds = named.unique(maintain_order=True)
    if kinds.len() == 1:
        return [frame]
    ordered = {text: "\x00".join(sorted(text.split("\x00"))) for text in kinds.to_list()}
    return frame.with_columns(named.replace_strict(ordered).alias("__names")).partition_by("__names", maintain_order=True)


def paired(table: Table, job: Job, raw: pl.DataFrame, aliases: tuple[str, ...]) -> pl.DataFrame:
    """Returned rows with the `op` that each belongs to, for statements that cannot return it.

    They are told apart by key (`aliases` are the key's columns in `raw`). Raises RowRefusedError for a job of several rows that
    cannot be paired, so that they are carried out one by one.
    """
    if job.frame.height == 1:
        return raw.with_columns(pl.lit(job.frame.get_column("__op")[0], dtype=pl.Int64()).alias("op"))
    parts = [(alias, table.column(name).info.type) for alias, name in zip(aliases, table.key, strict=True)]
    if job.kind == "create":
        sent = [(f"n{job.written.index(name)}", table.column(name).info.type) for name in table.key]
        ops = job.frame.select(key_text(sent).alias("__paired"), pl.col("__op").alias("op"))
    else:
        ops = job.frame.select(pl.col("__key").alias("__paired"), pl.col("__op").alias("op"))
    rows = raw.with_columns(key_text(parts).alias("__paired")).join(ops, on="__paired", how="left", maintain_order="left")
    moved = job.kind == "update" and any(name in job.written for name in table.key)
    short = job.kind == "create" and raw.height != job.frame.height
    if moved or short or rows.height != raw.height or rows.get_column("op").null_count():
        message = "the returned rows cannot be told apart"
        raise RowRefusedError(message)
    return rows.drop("__paired")


def too_long(table: Table, job: Job) -> str | None:
    """The one column whose new text is longer than it takes, of a job of one row; None when there is none, or several."""
    found = []
    for index, name in enumerate(job.written):
        limit, value = table.column(name).info.max_length, job.frame.get_column(f"n{index}")[0]
        if limit is not None and isinstance(value, str) and len(value) > limit:
            found.append(name)
    return found[0] if len(found) == 1 else None


# ---------------------------------------------------------------- outcomes


def outcome_schema(table: Table, returning: tuple[str, ...]) -> dict[str, pl.DataType]:
    """Columns and types of an outcome frame of this table."""
    return dict(OUTCOME_SCHEMA) | {name: dtype_of(table.column(name).info.type) for name in returning}


def settled(
    table: Table, job: Job, status: str, *, reason: str | None = None, column: str | None = None, retry_s: float | None = None
) -> pl.DataFrame:
    """The same outcome, without a stored row, for every operation of the job."""
    told = {"__status": status, "__reason": reason, "__field": column, "__retry_s": retry_s, "__stored": False}
    return _outcomes(table, job, job.frame[["__op", "__key"]], told)


def _outcomes(table: Table, job: Job, rows: pl.DataFrame, told: Mapping[str, object]) -> pl.DataFrame:
    """The outcome frame of these rows: what is the same for all of them (`told`), and what each has; null for the rest."""
    columns = []
    for name, dtype in outcome_schema(table, job.returning).items():
        if name in rows.columns and name not in told:
            columns.append(rows[name] if rows[name].dtype == dtype else rows[name].cast(dtype))
        else:
            columns.append(constant(name, told.get(name), rows.height, dtype))
    return pl.DataFrame(columns)


def done(table: Table, job: Job, rows: pl.DataFrame, unreadable: pl.DataFrame) -> pl.DataFrame:
    """Outcomes of operations that were carried out.

    `rows` (`__op`, `__key`, returning columns) are shown as stored; `unreadable` (`__op`, `__key`) were stored but cannot be shown.
    """
    known = _outcomes(table, job, rows, {"__status": "done", "__stored": job.kind != "delete"})
    if unreadable.is_empty():
        return known
    return pl.concat([known, settled(table, job.of(unreadable), "done")])
