"""Writes of which the writer may stand still: each holds a lock by name while it lasts, by which others find and end it.

Such a lock has one holder, so that a lane has several, numbered; a writer takes the first that is free. Whoever ends writes kills the
connections of the holders, which a user may do to its own, and the server takes back what was not committed. A table without transactions
(MyISAM) keeps what was written until then. https://mariadb.com/kb/en/get_lock/
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

import pymysql
import xxhash

from trueup.connectors.mysql_watching import WatchingConnector
from trueup.connectors.sql_write import BusyError
from trueup.errors import SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.mysql_session import Session
    from trueup.model import ObjectSpec

HOLDERS = 16
"""So many writes of one lane at once have a name; one more waits for the last of them."""
_NO_SUCH_THREAD = 1094


class FencedConnector(WatchingConnector):
    """The part of the connector that has to do with writes which may stand still."""

    lock_timeout_s: float
    _lane = ""
    _may_land: Callable[[], None] | None = None

    @abstractmethod
    def _session(self) -> Session:
        """The connection for lookups and writes."""

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
        with self._errors():
            asked = ", ".join(f"IS_USED_LOCK({name})" for name in _names(lane))
            held = {
                name: holder for name, holder in zip(_names(lane), session.rows(f"SELECT {asked}")[0], strict=True) if holder is not None
            }
            for holder in held.values():
                try:
                    session.run(f"KILL CONNECTION {int(holder)}")
                except pymysql.Error as error:
                    if error.args[0] != _NO_SUCH_THREAD:
                        raise
            for name in held:
                if not self._taken(session, name, self.lock_timeout_s):
                    message = "a write that was begun earlier is not over: nobody knows yet what becomes of it"
                    raise SystemUnreachableError(message, hint="it is tried again; SHOW PROCESSLIST shows whose it is", system=self.name)
                session.rows(f"SELECT RELEASE_LOCK({name})")

    def _hold(self, session: Session) -> str | None:
        """Hold a name of the lane; which one, to be given to `_let_go`. Raises BusyError."""
        if not self._lane:
            return None
        *names, last = _names(self._lane)
        for name in names:
            if self._taken(session, name, 0.0):
                return name
        if not self._taken(session, last, self.lock_timeout_s):
            raise BusyError("too many others write the same rows at once", hint="trying again later is right", system=self.name)
        return last

    @staticmethod
    def _let_go(session: Session, name: str | None) -> None:
        """Hold it no longer; a connection that is gone has let go of it by itself."""
        if name is not None:
            with suppress(pymysql.Error, OSError):
                session.rows(f"SELECT RELEASE_LOCK({name})")

    @staticmethod
    def _taken(session: Session, name: str, wait_s: float) -> bool:
        return str(session.rows(f"SELECT GET_LOCK({name}, {wait_s})")[0][0]) == "1"

    def _may_become_visible(self) -> None:
        """Asked at the end of a transaction. Raises what keeps it from being committed."""
        if self._may_land is not None:
            self._may_land()


def _names(lane: str) -> list[str]:
    digest = xxhash.xxh3_64_hexdigest(f"trueup lane {lane}".encode())
    return [f"'trueup {digest} {number}'" for number in range(HOLDERS)]
