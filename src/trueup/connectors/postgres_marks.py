"""Which rows of a table were made since a reading: every row version carries the number of the transaction that made it (`xmin`).

A mark holds the oldest transaction that was still at work when it was taken. A row made by an earlier one was there, committed, and
was seen by a reading that followed; one made by that transaction or a later one is read again. Numbers wrap around after four
thousand million: a mark is given up long before (https://www.postgresql.org/docs/current/routine-vacuuming.html).

A mark means something only for the same table of the same running server, so it also names the server's start (a restored backup, a
disk snapshot and a standby that took over all have another one), the table's file (a swapped, emptied or rewritten table) and its
columns (a column added with a default changes what every row reads like, and touches none). A standby may fall behind one that is asked
the next time, an inherited table shows rows of others, row security may show rows that it hid, and values of some types depend on more
than their row: there is no mark then.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from trueup.connectors.base import PAGE_ROWS, Page
from trueup.connectors.sql_read import Select, repaged, shape
from trueup.connectors.sql_write import BusyError, RowRefusedError
from trueup.connectors.sqlbase import SqlConnector
from trueup.core.frames import keep, stacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import polars as pl
    import psycopg

    from trueup.connectors.postgres_tables import PgFacts
    from trueup.connectors.sql_read import Table
    from trueup.connectors.sql_write import Job
    from trueup.connectors.watching import OwnWrites
    from trueup.model import ObjectSpec

OLDEST = 13_00_00
NUMBER = "pg_current_xact_id_if_assigned()::text"
_FAR = 1 << 30  # transactions; half of what `age` can tell apart
_RUNS = 50
_XID_BITS = (1 << 32) - 1

_MARK = """
    SELECT concat_ws(':',
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
        (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),
        c.oid, c.relfilenode, f.columns, pg_snapshot_xmin(pg_current_snapshot())::text)
    FROM pg_class c CROSS JOIN LATERAL (
        SELECT bool_and(own) AS own, md5(string_agg(described, E'\\x1f' ORDER BY attnum)) AS columns FROM (
            SELECT a.attnum,
                concat_ws(E'\\x1e', a.attnum, a.attname, a.atttypid, a.atttypmod, a.atthasmissing, a.attmissingval::text,
                    (SELECT string_agg(e.enumlabel, E'\\x1d' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = a.atttypid)
                ) AS described,
                a.attgenerated <> 'v' AND (t.typtype = 'e' OR b.typtype IN ('b', 'r', 'm')) AND b.typname !~ '^reg' AS own
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typelem <> 0 THEN t.typelem ELSE t.oid END
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ) columns
    ) f
    WHERE c.oid = %s::regclass AND c.relkind = 'r' AND NOT c.relhassubclass AND f.own AND NOT pg_is_in_recovery()
"""


def mark_of(session: psycopg.Connection[Any], table: str) -> str | None:
    """The mark of a quoted, qualified table now; None where nothing can be promised. An older server (before 13) has no such numbers."""
    if session.info.server_version < OLDEST:
        return None
    row = session.execute(_MARK, [table]).fetchone()
    return None if row is None else str(row[0])


def number_of(session: psycopg.Connection[Any]) -> int | None:
    """The number of the transaction in hand; None where it has written nothing, or the server is older than such numbers."""
    if session.info.server_version < OLDEST:
        return None
    row = session.execute(f"SELECT {NUMBER}".encode()).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def with_own(mark: str, numbers: Sequence[int]) -> str:
    """A mark with runs of transactions, `7-9,12-12`, whose rows count as untouched; of very many runs the longest."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] + 1 == number:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    kept = sorted(runs, key=lambda run: run[0] - run[1])[:_RUNS]
    return f"{mark}+{','.join(f'{first}-{last}' for first, last in sorted(kept))}" if kept else mark


def touched_since(mark: str, now: str | None) -> str | None:
    """The SQL condition on `t` for rows made since a mark; `now` is a mark just taken. None where the old one does not hold any more."""
    taken, _, own = mark.partition("+")
    place, _, number = taken.rpartition(":")
    place_now, _, number_now = (now or "").rpartition(":")
    if place != place_now or not number.isdecimal() or not 0 <= int(number_now) - int(number) < _FAR:
        return None
    conditions = [f"age(t.xmin) <= {_age(number)}"]
    for run in own.split(",") if own else ():
        first, _, last = run.partition("-")
        conditions.append(f"NOT age(t.xmin) BETWEEN {_age(last)} AND {_age(first)}")
    return f"({' AND '.join(conditions)})"


def _age(number: str) -> str:
    """How many transactions ago that one was."""
    return f"(SELECT age('{int(number) % (1 << 32)}'::xid))"


class MarkingConnector(SqlConnector):
    """The part of the connector that has to do with marks."""

    own_writes: OwnWrites | None = None
    _own: dict[str, list[int]]  # by table, the transactions since its last mark of which every row was told as stored
    _numbers: list[int] | None = None  # the transaction in hand is to be known by its number: here a statement may tell it besides

    @abstractmethod
    def _session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The connection for lookups and writes."""

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]:
        """Driver errors leave as `_trouble` says."""

    @abstractmethod
    def _read_only(self, session: psycopg.Connection[Any]) -> AbstractContextManager[None]:
        """A short transaction that can change nothing."""

    @abstractmethod
    def _frames(self, queries: Sequence[tuple[Select, str]]) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows of queries as raw frames, each with its query's number, in one snapshot."""

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking, and postgres_marks for where nothing can be promised."""
        table = self._table(obj)
        if not table.key_unique or not cast("PgFacts", table.extra["postgres"]).plain:
            return None
        session = self._session()
        with self._errors(), self._read_only(session):
            mark = mark_of(session, table.source)
        if mark is not None:
            self._own[table.source] = []
        return mark

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking: the numbers of the transactions whose rows were told as stored."""
        return with_own(mark, self._own.get(self._table(obj).source, []))

    def _settle_packed(self, table: Table, obj: ObjectSpec, jobs: list[Job]) -> pl.DataFrame:
        """Without savepoints first, where transactions are counted: rows written after one bear another number."""
        numbers = self._own.get(table.source)
        wanted = numbers is not None or self.own_writes is not None
        if not wanted or table.reread or any(job.kind == "delete" or job.frame.is_empty() for job in jobs):
            return super()._settle_packed(table, obj, jobs)
        noted: int | None = None
        told = self._numbers = []
        try:
            with self._transaction():
                outcomes = stacked([self._carry_out(table, obj, job) for job in jobs])
                number = told[0] if told else number_of(self._session())
                done = keep(outcomes, outcomes["__status"] == "done")
                if number is not None and not done["__stored"].all():
                    number = None
                if number is not None and self.own_writes is not None:  # before others, and the watch, can see it
                    noted = number & _XID_BITS
                    self.own_writes.note(noted, done["__key"].drop_nulls().to_list())
        except BaseException as error:
            if noted is not None and self.own_writes is not None:
                self.own_writes.withdraw(noted)
            if not isinstance(error, BusyError | RowRefusedError):
                raise
            self._numbers = None
            return super()._settle_packed(table, obj, jobs)
        finally:
            self._numbers = None
        if number is not None and numbers is not None:
            numbers.append(number)
        return outcomes

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking: rows that a transaction after the mark made are read, the rest are told by key; one snapshot each."""
        since = touched_since(mark, self.mark(obj))
        if since is None:
            return None
        select = Select(self._table(obj), tuple(columns), dated=True)
        select.outputs  # noqa: B018  raises for a missing column at the call, not at the first page
        return self._moved_pages(select, since)

    def _moved_pages(self, select: Select, since: str) -> Iterator[Page]:
        table = select.table
        keys = Select(table, ())
        nothing = self._nothing(select)
        queries = [
            (select, f"SELECT {select.outputs} FROM {table.source} AS t WHERE {since}"),
            (keys, f"SELECT {keys.outputs} FROM {table.source} AS t WHERE NOT {since}"),
        ]
        for number, frames in groupby(self._frames(queries), itemgetter(0)):
            for raw in repaged((frame for _number, frame in frames), PAGE_ROWS):
                if number == 0:
                    yield self._page(shape(select, raw), None)
                else:
                    shaped = shape(keys, raw)
                    yield Page(nothing.rows, rejected=shaped.rejected, same=shaped.rows.get_column("__key"))
        yield self._page(nothing, None, complete=True)
