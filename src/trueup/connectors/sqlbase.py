"""Base of the SQL connectors: reading in pages, finding, and set-based writes whose precondition is checked by the write itself.

A dialect (sqlite.py, postgres.py, mysql.py) says how to connect, how to describe an object (`Table`), and how to run a few statements; it
never repeats the rules: which rows are rejects, when an operation is stale or gone, how a failed statement is split until only the
rows at fault are left out, how often a lock is waited for.

Values: a binary column travels as lower-case hexadecimal text. A cursor is the canonical text of the greatest `modified` value seen:
`2026-11-20T02:00:00.123456Z` (aware), the same without `Z` (naive), `2026-11-20` (date), a plain number, or the text as it is stored.
It is compared inclusively. Rows whose `modified` is NULL are not seen by incremental reads.
"""

from __future__ import annotations

import difflib
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page
from trueup.connectors.sql_read import OP, Select, browsed, native_keys, newer, repaged, shape
from trueup.connectors.sql_types import key_text, key_texts, plain_decimal, typed
from trueup.connectors.sql_write import (
    BusyError,
    Job,
    RowRefusedError,
    TransactionLostError,
    check_batch,
    done,
    plan_jobs,
    settled,
    too_long,
)
from trueup.core.frames import keep, kept, one_of, stacked
from trueup.errors import ObjectMissingError, ObjectUnreadableError, UsageError
from trueup.model import Caps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.sql_read import Shaped, Table
    from trueup.model import ObjectInfo, ObjectSpec

BUSY_WAITS_S = (0.05, 0.2, 0.8)
"""Pauses between tries of a transaction that met a lock or a deadlock; after the last, its operations become `retry`."""
BUSY_RETRY_S = 5.0
"""What a `retry` outcome then proposes."""
TABLES_KEPT = 256


class SqlConnector(ABC):
    """What a dialect inherits. Dialects implement the methods under "the dialect's part"; the rest is the contract of `base.Connector`."""

    caps: Caps = Caps(
        kind="database",
        precondition="native",
        stored_row=True,
        incremental=True,
        find=True,
        assigns_keys=True,
        takes_keys=True,
        atomic=True,
        browses=True,
        clock=True,
    )
    name: str
    _tables: dict[tuple[Any, ...], Table]

    # ------------------------------------------------------------ the dialect's part

    @classmethod
    @abstractmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector."""

    @classmethod
    @abstractmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""

    @abstractmethod
    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""

    @abstractmethod
    def clock(self) -> datetime:
        """See base.Timed."""

    @abstractmethod
    def close(self) -> None:
        """See base.Connector."""

    @abstractmethod
    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector."""

    @abstractmethod
    def _load(self, obj: ObjectSpec) -> Table:
        """Ask the database for the object. Raises ObjectMissingError; `_table` checks key and modified columns."""

    @abstractmethod
    def _scan(self, select: Select, since: str | None, page_rows: int) -> Iterator[pl.DataFrame]:
        """Raw frames (`select.schema`, about `page_rows` each) of all rows, or of those modified at or after `since`.

        The latter in the order of modified, then key. One snapshot where that does not block the application.
        """

    @abstractmethod
    def _doubled(self, table: Table) -> pl.DataFrame:
        """Key parts (`c0`, `c1`, … typed as a page shows them) that stand for several rows; asked only where the key is not unique."""

    @abstractmethod
    def _lookup(self, select: Select, names: tuple[str, ...], values: pl.DataFrame) -> pl.DataFrame:
        """Raw rows whose columns `names` equal a row of `values`.

        `values` has its columns in the order of `names`, typed as a page shows them; null equals null. More rows than asked for
        are allowed (case-insensitive collations): the caller filters exactly.
        """

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """One write transaction: commit at the end, roll back on any exception. Driver errors leave as `_trouble` says."""

    @abstractmethod
    def _savepoint(self) -> AbstractContextManager[None]:
        """A savepoint inside `_transaction`: rolled back to on any exception. Driver errors leave as `_trouble` says."""

    @abstractmethod
    def _assign(self, table: Table, names: tuple[str, ...], count: int) -> pl.DataFrame | None:
        """Values for the key columns `names` of `count` new rows, as a frame of these columns.

        Taken from the database's own sequences or defaults; None where only the insert itself can tell.
        """

    @abstractmethod
    def _next_number(self, table: Table, name: str) -> int:
        """One more than the greatest value of an integer key column (1 in an empty table), for `assign: sequence`."""

    @abstractmethod
    def _create(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        """Insert the job's rows: `op` and `select`'s raw columns of the rows as stored.

        Where a key is not among the written columns the job has one row.
        """

    @abstractmethod
    def _update(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        """Update the rows whose key and compared columns match: `op` and `select`'s raw columns of the rows as stored."""

    @abstractmethod
    def _delete(self, table: Table, job: Job) -> pl.Series:
        """Delete the rows whose key and compared columns match: the `__op` of those deleted, once per deleted row."""

    # ------------------------------------------------------------ describing

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        return self._table(obj, fresh=True).info

    def _table(self, obj: ObjectSpec, *, fresh: bool = False) -> Table:
        """The object resolved; kept until it is described afresh or turns out to have changed."""
        cache_key = (obj.name, obj.sql, obj.key, obj.modified)
        if fresh or cache_key not in self._tables:
            self._tables.pop(cache_key, None)
            table = self._load(obj)
            for name in (*table.key, *((table.modified,) if table.modified else ())):
                table.column(name)
            if len(self._tables) >= TABLES_KEPT:
                self._tables.clear()
            self._tables[cache_key] = table
        return self._tables[cache_key]

    # ------------------------------------------------------------ reading

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector. The object is looked up at the call, rows are read as pages are asked for."""
        table = self._table(obj, fresh=keys is None)
        if not table.key:
            message = f"{table.info.name} has no key"
            raise ObjectMissingError(message, hint="name its key column in the mapping", system=self.name)
        select = Select.of(table, tuple(columns), dated=keys is None)
        select.outputs  # noqa: B018  raises for a missing column at the call, not at the first page
        if keys is not None:
            return self._keyed_pages(select, pl.Series("__key", list(dict.fromkeys(keys)), dtype=pl.String()), page_rows)
        if since is not None and table.modified is None:
            message = f"{table.info.name} has no `modified` column to read from a cursor"
            raise ObjectUnreadableError(message, hint="name the column in the mapping, or read everything", system=self.name)
        return self._scan_pages(select, since, page_rows)

    def _scan_pages(
        self, select: Select, since: str | None, page_rows: int, frames: Iterator[pl.DataFrame] | None = None
    ) -> Iterator[Page]:
        """Pages of a full or incremental read, one page held back so that the last one can say that it is the last.

        `frames` are its raw rows, where they are not those of a `_scan`.
        """
        table = select.table
        modified = table.column(table.modified) if table.modified else None
        doubled = None if table.key_unique else self._doubled_keys(table)
        newest, waiting = since, None
        for raw in repaged(self._scan(select, since, page_rows) if frames is None else frames, page_rows):
            if waiting is not None:
                yield self._page(waiting, newest if since is not None else None)
            waiting = shape(select, raw, doubled)
            newest = newer(newest, waiting.newest, modified)
        waiting = waiting or self._nothing(select)
        yield self._page(waiting, newest, complete=True)

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        table = self._table(replace(obj, key=(), modified=None), fresh=True)
        select = Select(replace(table, key=(), modified=None), tuple(columns))
        select.outputs  # noqa: B018  raises for a missing column at the call, not at the first page
        return self._browsed(select, page_rows)

    def _browsed(self, select: Select, page_rows: int) -> Iterator[Page]:
        waiting = browsed(select, self._empty(select))
        for raw in repaged(self._scan(select, None, page_rows), page_rows):
            if waiting[0].height or waiting[1]:
                yield Page(waiting[0], rejected=waiting[1])
            waiting = browsed(select, raw)
        yield Page(waiting[0], complete=True, rejected=waiting[1])

    def _keyed_pages(self, select: Select, keys: pl.Series, page_rows: int) -> Iterator[Page]:
        """Pages of the rows with the given keys."""
        for start in range(0, len(keys), page_rows):
            shaped = self._by_key(select, keys.slice(start, page_rows))
            yield self._page(shaped, None, complete=start + page_rows >= len(keys))
        if keys.is_empty():
            yield self._page(self._nothing(select), None, complete=True)

    def _by_key(self, select: Select, keys: pl.Series) -> Shaped:
        """The rows with these keys, exactly: a case-insensitive column does not bring its neighbours."""
        table = select.table
        values = native_keys(table, keys)
        values = values.drop_nulls() if any(column.null_count() for column in values.get_columns()) else values
        raw = self._lookup(select, table.key, values) if values.height else self._empty(select)
        found = key_texts([(raw[select.alias(name)], table.column(name).info.type) for name in table.key])
        asked = one_of(found, keys)
        raw, found = keep(raw, asked), kept(found, asked)
        doubled = None if table.key_unique else found.filter(found.is_duplicated())
        return shape(select, raw, doubled)

    def _doubled_keys(self, table: Table) -> pl.Series:
        parts = [(f"c{index}", table.column(name).info.type) for index, name in enumerate(table.key)]
        return self._doubled(table).select(key_text(parts).alias("__key")).to_series().drop_nulls()

    @staticmethod
    def _page(shaped: Shaped, cursor: str | None, *, complete: bool = False) -> Page:
        return Page(rows=shaped.rows, cursor=cursor, complete=complete, rejected=shaped.rejected)

    @staticmethod
    def _empty(select: Select) -> pl.DataFrame:
        return pl.DataFrame(schema=select.schema)

    def _nothing(self, select: Select) -> Shaped:
        return shape(select, self._empty(select))

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector. Rows that are rejects (NULL or doubled key, unreadable value) are not shown."""
        table = self._table(obj)
        names = tuple(values.columns)
        select = Select(table, tuple(dict.fromkeys((*columns, *names))))
        wanted = values.select([pl.col(name).cast(table.column(name).dtype) for name in names]).unique()
        if wanted.is_empty():
            return self._nothing(select).rows.select("__key", *columns)
        rows = shape(select, self._lookup(select, names, wanted)).rows
        if not table.key_unique:
            rows = self._by_key(select, rows.get_column("__key").unique()).rows
        exact = [self._comparable(table, name).alias(f"__exact{index}") for index, name in enumerate(names)]
        on = [f"__exact{index}" for index in range(len(names))]
        matching = rows.with_columns(exact).join(wanted.select(exact), on=on, how="semi", nulls_equal=True)
        return matching.select("__key", *columns).unique(subset=["__key"], maintain_order=True)

    @staticmethod
    def _comparable(table: Table, name: str) -> pl.Expr:
        return plain_decimal(pl.col(name)) if table.column(name).info.type == "decimal" else pl.col(name)

    # ------------------------------------------------------------ writing

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector. One short transaction per at most 50,000 operations; each is durable when its outcomes are given."""
        table = self._table(obj)
        check_batch(table, batch)
        outcomes = [self._settle_packed(table, obj, pack) for pack in _packed(plan_jobs(table, batch))]
        if not outcomes:
            return settled(
                table, Job(kind=batch.kind, frame=batch.rows.select("__op", "__key"), written=(), returning=batch.returning), "done"
            )
        return pl.concat(outcomes)

    def _settle_packed(self, table: Table, obj: ObjectSpec, jobs: list[Job]) -> pl.DataFrame:
        """All jobs of one transaction, tried again while the database is busy."""
        for wait_s in (*BUSY_WAITS_S, None):
            try:
                with self._transaction():
                    return pl.concat([self._settle(table, obj, job) for job in jobs])
            except BusyError as busy:
                if wait_s is None:
                    return pl.concat([settled(table, job, "retry", reason=busy.message, retry_s=BUSY_RETRY_S) for job in jobs])
                time.sleep(wait_s)
            except RowRefusedError as refused:  # refused at the commit (a deferred check), or the refusal ended the transaction
                if len(jobs) > 1 or jobs[0].frame.height > 1:
                    return pl.concat([self._settle_packed(table, obj, part) for part in _split(jobs)])
                return settled(table, jobs[0], "rejected", reason=refused.message, column=refused.column)
        message = "unreachable: the last wait returns"
        raise AssertionError(message)

    def _settle(self, table: Table, obj: ObjectSpec, job: Job) -> pl.DataFrame:
        """One job; when the database refuses it, its halves, down to the rows at fault."""
        if job.frame.is_empty():
            return settled(table, job, "done")
        try:
            with self._savepoint():
                return self._carry_out(table, obj, job)
        except TransactionLostError:
            raise
        except RowRefusedError as refused:
            if job.frame.height == 1:
                return settled(table, job, "rejected", reason=refused.message, column=refused.column or too_long(table, job))
        return pl.concat([self._settle(table, obj, half) for half in job.halves()])

    def _carry_out(self, table: Table, obj: ObjectSpec, job: Job) -> pl.DataFrame:
        if job.kind == "create":
            return self._carry_out_create(table, obj, job)
        doable, impossible = job, job.frame.clear()
        if any(job.frame[f"k{index}"].null_count() for index in range(len(table.key))):
            possible = pl.all_horizontal([pl.col(f"k{index}").is_not_null() for index in range(len(table.key))])
            doable, impossible = job.of(job.frame.filter(possible)), job.frame.filter(~possible)
        parts = [settled(table, job.of(impossible), "gone", reason="there is no row with this key")] if impossible.height else []
        if doable.frame.height:
            outcomes = self._carry_out_update(table, doable) if job.kind == "update" else self._carry_out_delete(table, doable)
            parts.append(outcomes)
            if outcomes.height < doable.frame.height:
                parts.append(self._left_over(table, doable, outcomes))
        return stacked(parts)

    def _carry_out_update(self, table: Table, job: Job) -> pl.DataFrame:
        if not job.written:  # nothing to write: done where the row is there
            return settled(table, job.of(job.frame.clear()), "done")
        return self._stored(table, job, self._update(table, job, Select.of(table, job.returning)))

    def _carry_out_delete(self, table: Table, job: Job) -> pl.DataFrame:
        ops = self._delete(table, job)
        _refuse_doubled(table, ops)
        return done(table, job, job.frame.filter(pl.col("__op").is_in(ops.implode())), job.frame.clear())

    def _carry_out_create(self, table: Table, obj: ObjectSpec, job: Job) -> pl.DataFrame:
        """Give new rows their keys, insert them, and report them as stored."""
        open_names = tuple(name for name in table.key if name not in job.written)
        if open_names:
            assigned = self._new_keys(table, obj, open_names, job.frame.height)
            if assigned is None and job.frame.height > 1:
                return pl.concat([self._settle(table, obj, job.part(row, 1)) for row in range(job.frame.height)])
            if assigned is not None:
                width = len(job.written)
                named = assigned.rename({name: f"n{width + index}" for index, name in enumerate(open_names)})
                job = Job(kind="create", frame=job.frame.hstack(named), written=(*job.written, *open_names), returning=job.returning)
        outcomes = self._stored(table, job, self._create(table, job, Select.of(table, job.returning)))
        kept = outcomes.get_column("__op")
        lost = job.of(job.frame.filter(~pl.col("__op").is_in(kept.implode())))
        if lost.frame.is_empty():
            return outcomes
        return pl.concat(
            [outcomes, settled(table, lost, "rejected", reason="the database did not keep the row (a trigger or rule dropped it)")]
        )

    def _new_keys(self, table: Table, obj: ObjectSpec, names: tuple[str, ...], count: int) -> pl.DataFrame | None:
        """Keys for new rows as the mapping's `assign` says; None where only the insert itself can tell."""
        if obj.assign == "uuid":
            fresh = {name: pl.Series([str(uuid.uuid4()) for _ in range(count)], dtype=pl.String()) for name in names}
            return pl.DataFrame(fresh).select([typed(pl.col(name), table.column(name).info.type) for name in names])
        if obj.assign == "sequence" and len(names) == 1:
            first = self._next_number(table, names[0])
            numbers = pl.int_range(first, first + count, eager=True).alias(names[0])
            return numbers.to_frame().with_columns(pl.col(names[0]).cast(table.column(names[0]).dtype))
        return self._assign(table, names, count)

    def _stored(self, table: Table, job: Job, raw: pl.DataFrame) -> pl.DataFrame:
        """Outcomes of what a statement returned. Raises RowRefusedError when one operation met several rows."""
        _refuse_doubled(table, raw.get_column(OP))
        select = Select.of(table, job.returning)
        if table.reread:
            raw = self._reread(select, raw)
        shaped = shape(select, raw)
        if job.kind == "create" and any(reject.key is None for reject in shaped.rejected):
            names = ", ".join(table.key)
            say = f": say who does (key: {{column: {names}, assign: …}})" if len(table.key) == 1 else ""
            message = f"nobody gives the new row its {names}{say}"
            raise RowRefusedError(message, column=names)
        if not shaped.rejected:
            return done(table, job, shaped.rows, job.frame.clear())
        shown = shaped.rows.get_column("__op")
        written = raw.get_column(OP)
        hidden = job.frame.filter(pl.col("__op").is_in(written.implode()) & ~pl.col("__op").is_in(shown.implode()))
        return done(table, job, shaped.rows, hidden)

    def _reread(self, select: Select, raw: pl.DataFrame) -> pl.DataFrame:
        """The rows just written as they stand now, after triggers; `raw` needs `op` and the key's columns only."""
        table = select.table
        aliases = [select.alias(name) for name in table.key]
        ops = raw.select(OP, *aliases)
        values = ops.select(pl.col(alias).alias(f"k{index}") for index, alias in enumerate(aliases)).unique()
        return self._lookup(select, table.key, values).join(ops, on=aliases, how="inner", nulls_equal=True)

    def _left_over(self, table: Table, job: Job, outcomes: pl.DataFrame) -> pl.DataFrame:
        """Outcomes of the operations that the statement passed by: the row is gone, or no longer as it was last read."""
        rest = job.of(job.frame.filter(~pl.col("__op").is_in(outcomes.get_column("__op").implode())))
        if rest.frame.is_empty():
            return settled(table, rest, "gone")
        shaped = self._by_key(Select.of(table, ()), rest.frame.get_column("__key"))
        there = shaped.rows.get_column("__key").extend(pl.Series([reject.key for reject in shaped.rejected], dtype=pl.String()))
        is_there = pl.col("__key").is_in(there.implode())
        present, gone = rest.of(rest.frame.filter(is_there)), rest.of(rest.frame.filter(~is_there))
        if job.kind == "update" and not job.written:
            kept = settled(table, present, "done")
        elif job.compared:
            kept = settled(table, present, "stale", reason="the row changed since it was read")
        else:
            kept = settled(table, present, "rejected", reason="the database did not change the row (a trigger, rule or policy kept it)")
        return pl.concat([kept, settled(table, gone, "gone", reason="there is no row with this key")])


def server_settings(url: str, *, least_lock_s: int = 0, more: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The settings of a connector to a database server: its URL (described by `url`), what it has of its own, and how long to wait."""
    return {
        "type": "object",
        "properties": {
            "url": {"type": "string", "title": "URL", "description": url, "secret": True},
            **(more or {}),
            "lock_timeout_s": {
                "type": "number",
                "title": "Lock timeout",
                "description": "seconds to wait for another session's lock before trying again later",
                "default": 10.0,
                "minimum": least_lock_s,
            },
            "statement_timeout_s": {
                "type": "number",
                "title": "Statement timeout",
                "description": "seconds that one write or lookup may take; 0: no limit",
                "default": 300.0,
                "minimum": 0,
            },
        },
        "required": ["url"],
        "additionalProperties": False,
    }


def checked_settings(connector: type[SqlConnector], name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with defaults filled in. Raises UsageError for one that is unknown, missing or of another type than the schema says."""
    schema = connector.settings_schema()
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for key in settings:
        if key not in properties:
            near = difflib.get_close_matches(key, properties, n=1)
            message = f"unknown setting {key!r}"
            raise UsageError(message, hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(properties)}", system=name)
    for key in schema.get("required", ()):
        if settings.get(key) in (None, ""):
            message = f"the setting {key!r} is missing"
            raise UsageError(message, hint=properties[key].get("description"), system=name)
    kinds: dict[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "boolean": (bool,)}
    for key, value in settings.items():
        kind = properties[key]["type"]
        if value is not None and (not isinstance(value, kinds[kind]) or (kind == "number" and isinstance(value, bool))):
            message = f"the setting {key!r} must be a {kind}"
            raise UsageError(message, hint=properties[key].get("description"), system=name)
        if value is not None and value not in properties[key].get("enum", [value]):
            message = f"the setting {key!r} has a value that is not known"
            raise UsageError(message, hint=f"there are {', '.join(properties[key]['enum'])}", system=name)
    defaults = {key: facts["default"] for key, facts in properties.items() if "default" in facts}
    return defaults | {key: value for key, value in settings.items() if value is not None}


def _refuse_doubled(table: Table, ops: pl.Series) -> None:
    """Where the database does not keep the key unique, one operation may have met several rows: undo, and leave that one out."""
    if not table.key_unique and ops.n_unique() < len(ops):
        message = f"the key stands for several rows of {table.info.name}; none of them was written"
        raise RowRefusedError(message, column=", ".join(table.key))


def _packed(jobs: Iterator[Job]) -> Iterator[list[Job]]:
    """Jobs gathered into transactions of at most `PAGE_ROWS` operations."""
    pack: list[Job] = []
    height = 0
    for job in jobs:
        if pack and height + job.frame.height > PAGE_ROWS:
            yield pack
            pack, height = [], 0
        pack.append(job)
        height += job.frame.height
    if pack:
        yield pack


def _split(jobs: list[Job]) -> tuple[list[Job], list[Job]]:
    """A transaction's jobs in two halves."""
    if len(jobs) > 1:
        middle = len(jobs) // 2
        return jobs[:middle], jobs[middle:]
    first, second = jobs[0].halves()
    return [first], [second]
