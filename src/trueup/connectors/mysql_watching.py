"""How MySQL and MariaDB are watched: whether it is possible, and what is wanted."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pymysql

from trueup.connectors.mysql_watch import NON_BLOCKING, BinlogWatch, Logged, begin_dump, continued, next_packet, server_number, standing
from trueup.connectors.sqlbase import SqlConnector
from trueup.connectors.watching import Way, made_name
from trueup.errors import AccessRefusedError, ObjectMissingError, ObjectUnreadableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from trueup.connectors.mysql_session import Address, Session
    from trueup.connectors.sql_read import Table
    from trueup.connectors.watching import OwnWrites, Watch
    from trueup.errors import SystemError_
    from trueup.model import ObjectSpec

SETTING = {
    "type": "string",
    "title": "Watch",
    "description": (
        "how changes are noticed as they happen: binlog (the server's binary log), poll (on a schedule only), off; left out: binlog where"
        " the server and the user's rights allow it, else poll"
    ),
    "enum": ["binlog", "poll", "off"],
}


class WatchingConnector(SqlConnector):
    """The part of the connector that watches; see watching.Watching."""

    watch_setting: str | None = None
    own_writes: OwnWrites | None = None
    own_of: Mapping[int, OwnWrites] = {}
    _address: Address
    _stored_keys: set[str]  # rows that the transaction in hand has written, and told as stored

    @abstractmethod
    def _connect(self, statement_timeout_s: float) -> Session:
        """A connection of its own."""

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]:
        """Driver errors leave as `_trouble` says."""

    @abstractmethod
    def _trouble(self, error: pymysql.Error) -> SystemError_:
        """A driver's error in the words of the contract."""

    @abstractmethod
    def _lost(self, words: str) -> SystemError_:
        """The error for a connection that is gone."""

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        return self._way(objects)[0]

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching. Nothing is made in the server."""
        way, logged = self._way(objects)
        if not way.pushes:
            raise UsageError(f"this system is not watched: {way.why}", hint="set `watch` for it", system=self.name)
        with self._errors(), self._connect(0) as session:
            start = standing(session) if since is None else continued(session, self.name, since)
        if start is None:
            raise ObjectUnreadableError("the server keeps no binary log", system=self.name)
        logged.fresh = frozenset(index for index, parts in logged.names.items() if ".".join(parts) not in start.tables)
        return BinlogWatch(self._address, made_name(name), way, logged, start, self._said, self.own_of)

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching: nothing was made."""

    @contextmanager
    def _noted(self, session: Session) -> Iterator[None]:
        """Around a commit: MariaDB gives it a number, which stands in its log as well, and tells it to who committed."""
        if self.own_writes is None or not self.own_writes.heeded or not self._stored_keys or not session.is_mariadb:
            yield
            return
        with self.own_writes.committing(self._stored_keys) as numbers:
            yield
            with suppress(pymysql.Error, OSError):  # it is committed all the same
                numbers += [number for (number,) in session.rows("SELECT @@last_gtid") if number]

    def _said(self, error: Exception) -> SystemError_:
        """An error of the stream in the words of the contract."""
        return self._trouble(error) if isinstance(error, pymysql.Error) else self._lost(str(error) or type(error).__name__)

    def _way(self, objects: Sequence[ObjectSpec]) -> tuple[Way, Logged]:
        unwatched: dict[int, str] = {}
        logged = self._logged(objects, unwatched)
        if self.watch_setting == "poll":
            return Way("poll", "the settings say so"), logged
        if self.watch_setting == "off":
            return Way("off", "the settings say so"), logged
        against = self._obstacle(logged, unwatched)
        if against is not None and self.watch_setting == "binlog":
            raise against
        if against is not None:
            return Way("poll", f"{against.message}: {against.hint}"), logged
        if not logged.names and self.watch_setting is None:
            return Way("poll", "no table can be watched", unwatched=unwatched), logged
        why = "the settings say so" if self.watch_setting else "the server and the user's rights allow it"
        return Way("binlog", why, durable=True, unwatched=unwatched), logged

    def _logged(self, objects: Sequence[ObjectSpec], unwatched: dict[int, str]) -> Logged:
        resolved: dict[int, Table] = {}
        names: dict[int, tuple[str, str]] = {}
        for index, obj in enumerate(objects):
            try:
                table = None if obj.sql is not None else self._table(obj, fresh=True)
            except ObjectMissingError as error:
                unwatched[index] = f"{error.message}: {error.hint}" if error.hint else error.message
                continue
            if table is None or table.info.kind != "table" or not table.key:
                what = "a query" if table is None else f"{table.info.name}, which is a {table.info.kind} or has no key,"
                unwatched[index] = f"{what} is not watched: only tables are; it is read on a schedule"
                continue
            schema, name = (part.replace("``", "`") for part in (table.target or "")[1:-1].split("`.`"))
            resolved[index], names[index] = table, (schema, name)
        return Logged(system=self.name, resolved=resolved, names=names)

    def _obstacle(self, logged: Logged, unwatched: dict[int, str]) -> SystemError_ | None:
        """Why the log cannot be read, and what to do; None where it can."""
        with self._errors(), self._connect(0) as session:
            facts = session.rows("SELECT @@global.log_bin, @@global.binlog_format, @@global.server_id")[0]
            if facts[0] not in {"1", "ON"}:
                return ObjectUnreadableError(
                    "the server keeps no binary log",
                    hint="set log_bin, server_id and binlog_format = ROW in the server's configuration and restart it",
                    system=self.name,
                )
            if (facts[1] or "").upper() != "ROW":
                return ObjectUnreadableError(
                    f"the server's binlog_format is {facts[1]}, which does not tell rows",
                    hint="have an administrator run SET GLOBAL binlog_format = ROW, and set it in the server's configuration",
                    system=self.name,
                )
            try:
                place = standing(session)
                if place is not None:
                    begin_dump(session, place, server_number(f"try {self.name}"), NON_BLOCKING)
                    next_packet(session)
            except pymysql.Error as error:
                right = "REPLICATION SLAVE, BINLOG MONITOR" if session.is_mariadb else "REPLICATION SLAVE, REPLICATION CLIENT"
                return AccessRefusedError(
                    f"the user may not read the binary log: {self._trouble(error).message}",
                    hint=f"have an administrator run GRANT {right} ON *.* TO {self._user()}",
                    system=self.name,
                )
        self._unlogged(logged, unwatched)
        return None

    def _unlogged(self, logged: Logged, unwatched: dict[int, str]) -> None:
        """Leave out tables of databases that the server does not log."""
        with self._errors(), self._connect(0) as session:
            rows: Any = session.rows("SHOW MASTER STATUS") if session.is_mariadb else []
        only, never = ({name for name in (text or "").split(",") if name} for text in (rows[0][2:4] if rows else ("", "")))
        for index, (schema, _name) in list(logged.names.items()):
            if schema in never or (only and schema not in only):
                unwatched[index] = f"the server does not log the database {schema} (binlog_do_db, binlog_ignore_db)"

    def _user(self) -> str:
        """The user as GRANT names it."""
        with self._errors(), self._connect(0) as session:
            name, _, host = (session.rows("SELECT CURRENT_USER()")[0][0] or "").rpartition("@")
        return f"'{name}'@'{host}'"
