"""One reading of a table that several processes share: a snapshot that is exported, and for each part a run of the table's own blocks.

Who cuts the table keeps a transaction open for as long as the parts are read; others see exactly its snapshot, as parallel dumps do
(https://www.postgresql.org/docs/current/functions-admin.html, "Snapshot Synchronization Functions"). In a snapshot each row has one place,
so that runs of blocks are parts without gap or overlap, whatever the key is like; the server reads just these blocks (from version 14 on),
in the order in which it would read all of them. The last part has no end: rows of tables that inherit from this one are in one as well.

What one long reading keeps waiting waits here, too: VACUUM leaves what the snapshot shows, and a table that is to be rewritten or
emptied waits for the end.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import conninfo

from trueup.connectors.base import PAGE_ROWS, PART_BYTES, Part
from trueup.connectors.postgres_grant import GrantingConnector
from trueup.connectors.sql_read import Select
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from trueup.connectors.base import Page
    from trueup.connectors.postgres_tables import PgFacts
    from trueup.connectors.sql_read import Table
    from trueup.model import ObjectSpec

_SINCE = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"
_CUT = f"""
    SELECT ({_SINCE}), pg_export_snapshot(), pg_relation_size(%(table)s::regclass) / current_setting('block_size')::bigint,
        pg_table_size(%(table)s::regclass)
"""
_MOMENT = re.compile(r"(\d+):([0-9A-Fa-f]+(?:-[0-9A-Fa-f]+)*)")
_PLACE = re.compile(r"(\d+)-(\d*)")
_FROM_VERSION = 14_00_00


class PartedConnector(GrantingConnector):
    """The part of the connector that has to do with shared readings."""

    def _place(self) -> str:
        """Where the database is, for a connection of one's own."""
        return conninfo.make_conninfo("", **self._info)

    @abstractmethod
    def _many(self, queries: Sequence[tuple[Select, str]], *settings: str) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows of queries through a connection of their own."""

    @abstractmethod
    def _limits(self) -> str:
        """Timeouts for the transaction that has just begun, as SQL."""

    @contextmanager
    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> Iterator[Sequence[Part]]:
        """See base.Parted. Views, queries, small tables, and those whose key is not kept unique are not cut."""
        table = self._table(obj, fresh=True)
        if not self._is_worth_it(table, part_bytes):
            yield ()
            return
        with self._errors():
            holder: psycopg.Connection[Any] = psycopg.connect(self._place(), autocommit=True, prepare_threshold=None)
        try:
            with self._errors():
                cut = self._cut(holder, table, count, part_bytes)
            yield cut
        finally:
            holder.close()

    def _is_worth_it(self, table: Table, part_bytes: int) -> bool:
        """Whether a table can be cut, and is no small one."""
        session = self._session()
        if session.info.server_version < _FROM_VERSION or not table.key_unique or not cast("PgFacts", table.extra["postgres"]).plain:
            return False
        with self._errors():
            found = session.execute("SELECT pg_table_size(%s::regclass)", [table.source]).fetchone()
        return found is not None and found[0] > part_bytes // 8

    def _cut(self, holder: psycopg.Connection[Any], table: Table, count: int, part_bytes: int) -> Sequence[Part]:
        """Begin the transaction whose snapshot is read, and keep the table as it is meanwhile."""
        holder.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {self._limits()}".encode())
        holder.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        holder.execute(f"SELECT FROM {table.source} LIMIT 0".encode())
        found = holder.execute(_CUT, {"table": table.source}).fetchone()
        assert found is not None
        since, snapshot, blocks, size = found
        step = max(1, min(blocks * part_bytes // max(size, 1), -(-blocks // count)))
        starts = range(0, max(blocks, 1), step)
        return [Part(f"{since}:{snapshot}", f"{start}-{start + step if start + step < blocks else ''}") for start in starts]

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        moment, place = _MOMENT.fullmatch(part.moment), _PLACE.fullmatch(part.place)
        if moment is None or place is None:
            raise ObjectUnreadableError(f"{part.place!r} of {part.moment!r} is no part of a reading", system=self.name)
        table = self._table(obj)
        self._must_be_the_same(moment[1])
        select = Select(table, tuple(columns), dated=True)
        until = f" AND t.ctid < '({place[2]},0)'::tid" if place[2] else ""
        sql = f"SELECT {select.outputs} FROM {table.source} AS t WHERE t.ctid >= '({place[1]},0)'::tid{until}"
        rows = (frame for _number, frame in self._many([(select, sql)], f"SET TRANSACTION SNAPSHOT '{moment[2]}'"))
        return self._scan_pages(select, None, page_rows, rows)

    def _must_be_the_same(self, since: str) -> None:
        """Names of snapshots are those of one server: another one, and the same after a restart, may know another one by this name."""
        session = self._session()
        with self._errors():
            found = session.execute(_SINCE).fetchone()
        if found is None or str(found[0]) != since:
            why = "the reading was begun on another server, or before this one was started again"
            raise ObjectUnreadableError(why, hint="nothing is to be done: it is read anew", system=self.name)
