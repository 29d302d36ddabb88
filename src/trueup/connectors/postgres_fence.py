"""Writes of which the writer may stand still: each holds an advisory lock while it lasts, by which others find and end it.

The lock belongs to the transaction and is shared, so that several writers of one lane keep nobody waiting. Whoever ends them ends their
connections, which a user may do to its own; the server then takes back what was not committed. A connection pooler in between changes
nothing: lock and transaction are the server's. https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from trueup.connectors.postgres_watch import WatchingConnector
from trueup.connectors.sql_write import BusyError
from trueup.errors import SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from trueup.connectors.base import WriteBatch
    from trueup.model import ObjectSpec

_END = """
    SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid AND a.usename = current_user
    WHERE l.locktype = 'advisory' AND l.database = a.datid AND a.datname = current_database() AND l.pid <> pg_backend_pid()
    AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = {number}
"""


class FencedConnector(WatchingConnector):
    """The part of the connector that has to do with writes which may stand still."""

    name: str
    _lane = ""
    _may_land: Callable[[], None] | None = None

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        self._lane, self._may_land = batch.lane, batch.may_land
        try:
            return super().write(obj, batch)
        finally:
            self._lane, self._may_land = "", None

    def end_writes(self, lane: str) -> None:
        """See base.Fenced."""
        session = self._session()
        try:
            with self._errors(), self._read_only(session):
                session.execute(_END.format(number=_number(lane)).encode())
                session.execute(f"SELECT pg_advisory_xact_lock({_number(lane)})".encode())
        except BusyError as error:
            message = "a write that was begun earlier, under another login, is not over: nobody knows yet what becomes of it"
            raise SystemUnreachableError(message, hint="it is tried again; pg_stat_activity shows whose it is", system=self.name) from error

    def _held(self) -> str:
        """Hold the name of the lane until the end of the transaction in hand, as SQL."""
        return f"SELECT pg_advisory_xact_lock_shared({_number(self._lane)})" if self._lane else ""

    def _may_become_visible(self) -> None:
        """Asked at the end of a transaction. Raises what keeps it from being committed."""
        if self._may_land is not None:
            self._may_land()


def _number(lane: str) -> int:
    return xxhash.xxh3_64_intdigest(f"trueup lane {lane}".encode()) - (1 << 63)
