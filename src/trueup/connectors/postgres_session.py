"""A connection to PostgreSQL: opened again after it broke, short transactions with limits, and its errors in the words of the contract."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from trueup.connectors.postgres_parts import PartedConnector
from trueup.connectors.postgres_tables import PgFacts
from trueup.connectors.sql_write import BusyError, RowRefusedError
from trueup.errors import (
    AccessRefusedError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemError_,
    SystemUnreachableError,
    WriteRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.connectors.sql_read import Table

_BUSY = {"40001", "40P01", "55P03", "57014"}  # serialization, deadlock, lock timeout, statement timeout
_UNREACHABLE = {"57P01", "57P02", "57P03", "53300", "53400", "25P03"}
_MISSING = {"42P01", "42703", "3F000", "42883"}
_REFUSED_WHOLE = {
    "53100": "no room is left on the server",
    "25006": "the server or the user may only read",
    "53200": "the server has no memory left",
}


class SessionConnector(PartedConnector):
    """The part of the connector that has to do with its connection."""

    def __init__(self, name: str, info: Mapping[str, Any], *, lock_timeout_s: float, statement_timeout_s: float) -> None:
        """Keep how to connect; nothing is opened yet."""
        self.name = name
        self.lock_timeout_s = lock_timeout_s
        self.statement_timeout_s = statement_timeout_s
        self._info = {"connect_timeout": "10", "application_name": "trueup", **info, "client_encoding": "utf8"}
        self._tables = {}
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._in_write = False

    def close(self) -> None:
        """See base.Connector."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._tables.clear()

    def _session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The connection for lookups and writes, opened again after it broke (never inside a transaction)."""
        if self._connection is None or self._connection.closed:
            with self._errors():
                self._connection = psycopg.connect(self._place(), autocommit=True, prepare_threshold=None)
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Driver errors leave as `_trouble` says."""
        try:
            yield
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _scrubbed(self, text: str) -> str:
        password = self._info.get("password")
        return text.replace(str(password), "***") if password else text

    def _trouble(self, error: psycopg.Error) -> SystemError_:
        """A driver's error in the words of the contract (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
        state = error.sqlstate or ""
        words = self._scrubbed(
            error.diag.message_primary or str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        )
        if state in _BUSY:
            return BusyError(words, hint="trying again later is right", system=self.name)
        if state in _REFUSED_WHOLE:
            return WriteRefusedError(f"{_REFUSED_WHOLE[state]}: {words}", system=self.name)
        if state == "42501" or state.startswith("28") or (not state and re.search(r"authentication failed|no password|password", words)):
            return AccessRefusedError(words, hint="check the user, its password and its rights", system=self.name)
        if state == "3D000" or (not state and re.search(r'FATAL: +database "', words)):  # a refused connection brings no code
            return SystemUnreachableError(words, hint="create the database, or correct `url`", system=self.name)
        if self._is_lost(error, state):
            return self._lost(words)
        if state in _MISSING and not self._is_inside_row(error):
            self._tables.clear()
            return ObjectMissingError(words, hint="the database changed; compare it with the mapping", system=self.name)
        if not self._in_write:
            return ObjectUnreadableError(words, system=self.name)
        return RowRefusedError(_own_words(error, words), column=self._column_at_fault(error))

    def _is_lost(self, error: psycopg.Error, state: str) -> bool:
        if state.startswith("08") or state in _UNREACHABLE:
            return True
        broken = self._connection is not None and self._connection.closed
        return broken or (not state and isinstance(error, psycopg.OperationalError))

    def _lost(self, words: str) -> SystemUnreachableError:
        place = f"{self._info.get('host') or 'the local server'}:{self._info.get('port') or 5432}"
        return SystemUnreachableError(
            f"PostgreSQL at {place} does not answer: {words}", hint="check `url` and the server", system=self.name
        )

    @staticmethod
    def _is_inside_row(error: psycopg.Error) -> bool:
        """Whether the missing thing is inside a trigger or function, so that the table itself is as described."""
        return bool(error.diag.context)

    def _column_at_fault(self, error: psycopg.Error) -> str | None:
        """The column that the server names: itself, in the detail of a violated key, in COPY's context, or by its constraint."""
        if error.diag.column_name:
            return error.diag.column_name
        in_key = re.match(r"Key \(([^,()]+)\)=", error.diag.message_detail or "")
        in_copy = re.search(r"^COPY .*, line \d+, column ([^:]+)", error.diag.context or "")
        if in_key or in_copy:
            return (in_key or in_copy).group(1).strip('"')  # type: ignore[union-attr]
        for table in self._tables.values():
            names = facts_of(table).constraints.get(error.diag.constraint_name or "", ())
            if table.info.name.rpartition(".")[2] == error.diag.table_name and len(names) == 1:
                return names[0]
        return None

    def clock(self) -> datetime:
        """See base.Timed."""
        session = self._session()
        with self._errors():
            found = session.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'").fetchone()
        assert found is not None
        moment: datetime = found[0]
        return moment.replace(tzinfo=UTC)

    @contextmanager
    def _read_only(self, session: psycopg.Connection[Any]) -> Iterator[None]:
        """A short transaction in which even a query with side effects can change nothing."""
        session.execute(f"BEGIN READ ONLY; {self._limits()}".encode())
        try:
            yield
        finally:
            if not session.closed:
                session.execute("ROLLBACK")

    def _limits(self) -> str:
        """Timeouts for the transaction that has just begun, as SQL."""
        lock_ms, statement_ms = int(self.lock_timeout_s * 1000), int(self.statement_timeout_s * 1000)
        return f"SET LOCAL lock_timeout = {lock_ms}; SET LOCAL statement_timeout = {statement_ms};"


def facts_of(table: Table) -> PgFacts:
    """What the catalogs say about a table, beside what every SQL connector knows."""
    facts = table.extra["postgres"]
    if not isinstance(facts, PgFacts):
        message = "a table of another connector"
        raise TypeError(message)
    return facts


def _own_words(error: psycopg.Error, words: str) -> str:
    """The server's message; with its detail where that speaks of the key alone (others show the whole row)."""
    detail = error.diag.message_detail or ""
    return f"{words}: {detail}" if detail.startswith("Key (") else words
