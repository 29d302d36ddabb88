"""Watching MySQL and MariaDB by their binary log, read as a replica reads it.

The log is written a moment before the storage engine shows what was committed: a hint is given out when the rows can be read. What the
engine itself does to rows of other tables (foreign keys with ON DELETE CASCADE) is in no log; a sweep finds it. A position names a place
in a file, and what tells that it is the same log: the last transaction's number in MariaDB, the server's own in MySQL.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pymysql

from trueup.connectors.mysql_binlog import Anything, Began, Ended, Log, Rotated, Rows, Statement
from trueup.connectors.mysql_keys import key_of
from trueup.connectors.mysql_session import Session
from trueup.connectors.watching import HINT_KEYS, Hints, Lag, parted
from trueup.errors import PositionLostError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from trueup.connectors.mysql_binlog import Event
    from trueup.connectors.mysql_session import Address
    from trueup.connectors.sql_read import Table
    from trueup.connectors.watching import OwnWrites, Way
    from trueup.errors import SystemError_

DUMP = 0x12
NON_BLOCKING = 1
_HEARTBEAT_S = 10
_SILENCE_S = 45
_MOVED_S = 30.0
_VISIBLE_S = 5.0
_NUMBER_S = 1.0  # whoever commits hears of the number of his transaction a moment later
_UNSURE_S = 0.05  # MySQL does not tell how far its engine is: what was logged is there by then
_LOG_LOST = {1236, 1373}
_ALTERS = re.compile(r"\s*(ALTER|DROP|RENAME|CREATE)\b", re.IGNORECASE)
_NAMES_ALL = re.compile(r"\s*(TRUNCATE|ALTER|DROP|RENAME|CREATE)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A position: where in the log, of which log it is, and the tables that were looked at up to there."""

    file: str
    position: int
    of: str
    tables: tuple[str, ...] = ()

    def text(self) -> str:
        """As the caller keeps it."""
        return json.dumps([self.file, self.position, self.of, *self.tables])

    @classmethod
    def read(cls, text: str) -> Place:
        """What `text` wrote. Raises ValueError."""
        file, position, of, *tables = json.loads(text)
        return cls(file=file, position=int(position), of=of, tables=tuple(tables))

    @property
    def order(self) -> tuple[int, int]:
        """Places of one log in their order."""
        return int(self.file.rpartition(".")[2] or 0), self.position


@dataclass(kw_only=True)
class Logged:
    """The tables whose changes stand in the log, by object."""

    system: str
    resolved: Mapping[int, Table]
    names: Mapping[int, tuple[str, str]]  # schema and name
    fresh: frozenset[int] = frozenset()
    _objects: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Turn the tables around."""
        for index, name in self.names.items():
            self._objects.setdefault(name, []).append(index)

    def objects_of(self, name: tuple[str, str]) -> list[int]:
        """The objects that are this table."""
        return self._objects.get(name, [])

    def places(self, index: int) -> list[int]:
        """Where the key columns of an object stand in its table."""
        columns = list(self.resolved[index].columns)
        return [columns.index(name) for name in self.resolved[index].key]

    def wanted(self) -> dict[tuple[str, str], frozenset[int]]:
        """What the log is read for."""
        return {name: frozenset(place for index in found for place in self.places(index)) for name, found in self._objects.items()}

    def tables(self) -> tuple[str, ...]:
        """The tables in a position."""
        return tuple(sorted({".".join(name) for name in self.names.values()}))


def begin_dump(session: Session, place: Place, server: int, flags: int = 0) -> None:
    """Ask for the log from a place on. The answer is read packet by packet."""
    checksum = "@@global.binlog_checksum"
    session.run(f"SET @master_binlog_checksum = {checksum}, @source_binlog_checksum = {checksum}, @mariadb_slave_capability = 4")
    session.run(f"SET @master_heartbeat_period = {_HEARTBEAT_S}000000000, @source_heartbeat_period = {_HEARTBEAT_S}000000000")
    asked = struct.pack("<IHI", place.position, flags, server) + place.file.encode()
    session.connection._execute_command(DUMP, asked)  # type: ignore[attr-defined]  # noqa: SLF001 - PyMySQL has no other way in


def next_packet(session: Session) -> bytes | None:
    """The next event; None at the end. Raises pymysql.Error."""
    packet: Any = session.connection._read_packet()  # type: ignore[no-untyped-call]  # noqa: SLF001 - as above
    return None if packet.is_eof_packet() else packet.get_all_data()[1:]


def server_number(made: str) -> int:
    """The number under which we are known as a replica; a second one with the same number makes the server end the first."""
    return int.from_bytes(hashlib.sha256(made.encode()).digest()[:4], "little") | 0x4000_0000


class BinlogWatch:
    """See watching.Watch. A thread reads the log, and stops reading while there is enough to tell."""

    def __init__(
        self,
        address: Address,
        made: str,
        way: Way,
        logged: Logged,
        start: Place,
        trouble: Callable[[Exception], SystemError_],
        own_of: Mapping[int, OwnWrites],
    ) -> None:
        """Begin to read. Raises SystemError_'s children."""
        self._own_of = own_of
        self._gtid = ""  # of the transaction that is coming in
        self._gtids: dict[int, dict[str, set[str]]] = {index: {} for index in own_of}  # by which transactions a key was changed
        self.way = way
        self.fresh = logged.fresh
        self._logged = logged
        self._trouble = trouble
        self._place = self._told = self._confirmed = replace(start, tables=logged.tables())
        self.position: str | None = self._place.text()
        self._keys: dict[int, dict[str, None] | None] = {}
        self._count = 0
        self._inside = self._woken = self._closed = False
        self._at: datetime | None = None
        self._error: SystemError_ | None = None
        self._told_at = time.monotonic()
        self._unconfirmed_since: float | None = None
        self._changed = threading.Condition()
        self._asking = threading.Lock()  # of the connection that asks, which any thread may use
        try:
            self._ask = Session(address, lock_timeout_s=10, statement_timeout_s=30)
            self._stream = Session(
                replace(address, options={**address.options, "read_timeout": _SILENCE_S}), lock_timeout_s=10, statement_timeout_s=0
            )
            checked = self._ask.rows("SELECT @@global.binlog_checksum")[0][0] != "NONE"
            self._log = Log(logged.wanted(), checked=checked)
            begin_dump(self._stream, start, server_number(made))
        except (pymysql.Error, OSError) as error:
            raise self._trouble(error) from error
        for own in own_of.values():
            own.heeded = self._ask.is_mariadb  # MySQL's log names its transactions only where it is set up to
        self._thread = threading.Thread(target=self._read, name=f"binlog {made}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ the thread that reads

    def _read(self) -> None:
        try:
            while (data := next_packet(self._stream)) is not None:
                for event in self._log.read(data):
                    self._take(event)
            self._fail(
                SystemUnreachableError("the server ended the stream of its log", hint="it is begun again", system=self._logged.system)
            )
        except pymysql.Error as error:
            number = error.args[0] if error.args else 0
            self._fail(lost(self._logged.system, str(error.args[-1])) if number in _LOG_LOST else self._trouble(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, the one who waits must hear of it
            self._fail(self._trouble(error))

    def _fail(self, error: SystemError_) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _take(self, event: Event) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count < HINT_KEYS or self._closed)
            match event:
                case Rows():
                    self._inside = True
                    self._rows(event)
                case Began():
                    self._inside = True
                    self._place = replace(self._place, of=event.gtid)
                    self._gtid = event.gtid
                case Ended():
                    self._inside = False
                    self._place = replace(self._place, position=event.end)
                    self._at = event.at
                case Rotated():
                    self._place = replace(self._place, file=event.file, position=event.position)
                case Statement():
                    self._statement(event)
                case Anything():
                    self._keys.update(dict.fromkeys(self._logged.names))
            if self._keys and (not self._inside or self._count >= HINT_KEYS):
                self._changed.notify_all()

    def _rows(self, rows: Rows) -> None:
        name = (rows.table.schema, rows.table.name)
        for index in self._logged.objects_of(name):
            table = self._logged.resolved[index]
            if not rows.known or len(rows.table.types) != len(table.columns):
                self._keys[index] = None
                continue
            places = self._logged.places(index)
            for image in rows.images:
                key = key_of(table, [image.get(place) for place in places])
                keys = self._keys.setdefault(index, {})
                if key is None:
                    self._keys[index] = None
                elif keys is not None:
                    if index in self._gtids:
                        self._gtids[index].setdefault(key, set()).add(self._gtid)
                    if key not in keys:
                        keys[key] = None
                        self._count += 1

    def _statement(self, statement: Statement) -> None:
        """A statement that stands in the log as text: what it names, or anything where it may change what it does not name."""
        for index, (_schema, name) in self._logged.names.items():
            named = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", statement.text, re.IGNORECASE)
            if named and _ALTERS.match(statement.text):
                self._error = lost(self._logged.system, f"the table {name} was altered, renamed or dropped")
            if named or not _NAMES_ALL.match(statement.text):
                self._keys[index] = None

    # ------------------------------------------------------------ the one who waits

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        with self._changed:
            ready = self._changed.wait_for(lambda: self._woken or self._error or self._tellable(), min(timeout_s, _MOVED_S * 2))
            self._woken = False
            if self._error is not None:
                raise self._error
            if not ready or not self._tellable():
                return None
            hints, place = self._hints()
            changed_by, whole = self._gtids, not (self._keys or self._inside)
            self._gtids = {index: {} if whole else {key: set(gtids) for key, gtids in mine.items()} for index, mine in changed_by.items()}
            self._changed.notify_all()
        self._wait_until_visible(place)
        return self._without_own(hints, changed_by, whole=whole)

    def _without_own(self, hints: Hints, changed_by: Mapping[int, Mapping[str, set[str]]], *, whole: bool) -> Hints:
        """The hints without rows that nobody changed but who is told; see OwnWrites. Not `whole`: the next ones tell the rest of them."""
        keys = dict(hints.keys)
        for index, own in self._own_of.items():
            found = keys.get(index)
            if found is not None:
                own.settled(found, _NUMBER_S)
                others = tuple(key for key in found if not all(key in own.of(gtid) for gtid in changed_by[index].get(key, {""})))
                if others:
                    keys[index] = others
                else:
                    del keys[index]
            for gtid in set().union(*changed_by[index].values()) if whole else ():
                own.forget(gtid)
        return replace(hints, keys=keys)

    def _tellable(self) -> bool:
        if self._keys:
            return not self._inside or self._count >= HINT_KEYS
        return self._place.order > self._told.order and time.monotonic() - self._told_at >= _MOVED_S

    def _hints(self) -> tuple[Hints, Place]:
        keys, self._keys, self._count = parted(self._keys)
        ended = self._told if self._inside or self._keys else self._place
        position = None
        if ended.order > self._told.order:
            self._told, self._told_at, position = ended, time.monotonic(), ended.text()
            if keys and self._unconfirmed_since is None:
                self._unconfirmed_since = time.monotonic()
        return Hints(keys, position, self._at), self._place

    def _wait_until_visible(self, place: Place) -> None:
        until_s = time.monotonic() + _VISIBLE_S
        with self._asking:
            try:
                if not self._ask.is_mariadb:
                    time.sleep(_UNSURE_S)
                    return
                while time.monotonic() < until_s:
                    self._ask.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
                    status = {row[0]: row[1] for row in self._ask.rows("SHOW STATUS LIKE 'binlog_snapshot_%'")}
                    self._ask.run("ROLLBACK")
                    file, position = status.get("Binlog_snapshot_file"), status.get("Binlog_snapshot_position")
                    if not file or replace(place, file=file, position=int(position or 0)).order >= place.order:
                        return
                    time.sleep(0.001)
            except (pymysql.Error, OSError) as error:
                raise self._trouble(error) from error

    def confirm(self, position: str) -> None:
        """See watching.Watch; the server keeps its log as long as it is set up to."""
        place = Place.read(position)
        with self._changed:
            self._confirmed = place
            if place.order >= self._told.order:
                self._unconfirmed_since = None

    def lag(self) -> Lag:
        """See watching.Watch."""
        since = self._unconfirmed_since
        seconds = None if since is None else time.monotonic() - since
        try:
            with self._asking:
                files = [(str(row[0]), int(row[1] or 0)) for row in self._ask.rows("SHOW BINARY LOGS")]
        except (pymysql.Error, OSError):
            return Lag(seconds=seconds)
        here = self._confirmed
        behind = [
            size - (here.position if file == here.file else 0) for file, size in files if replace(here, file=file).order >= here.order
        ]
        return Lag(bytes=max(0, sum(behind)), seconds=seconds)

    def wake(self) -> None:
        """See watching.Watch."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """See watching.Watch."""
        for own in self._own_of.values():
            own.heeded = False
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with suppress(OSError, AttributeError):  # ends the read in progress
            self._stream.connection._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else does
        self._thread.join(5)
        self._stream.abandon()
        with self._asking:
            self._ask.close()


def lost(system: str, words: str) -> PositionLostError:
    """The error that says that changes may have been missed."""
    return PositionLostError(
        f"changes may have been missed: {words}", hint="everything is looked at once, and watched from then on", system=system
    )


def standing(session: Session) -> Place | None:
    """Where the log ends now; None where there is no log. Raises pymysql.Error, also for missing rights."""
    try:
        rows: Any = session.rows("SHOW MASTER STATUS")
    except pymysql.err.ProgrammingError:  # it has another name since MySQL 8.4
        rows = session.rows("SHOW BINARY LOG STATUS")
    if not rows:
        return None
    file, position = str(rows[0][0]), int(rows[0][1] or 0)
    return Place(file=file, position=position, of=log_name(session, file, position))


def log_name(session: Session, file: str, position: int) -> str:
    """What tells this log from another one's with the same files: MariaDB's transactions up to a place, MySQL's server."""
    asked = f"BINLOG_GTID_POS({session.text(file)}, {position})" if session.is_mariadb else "@@server_uuid"
    return session.rows(f"SELECT {asked}")[0][0] or ""


def continued(session: Session, system: str, since: str) -> Place:
    """The place of a position that was kept. Raises PositionLostError where the log does not reach back to it, or is another one."""
    place = Place.read(since)
    sizes = {str(row[0]): int(row[1] or 0) for row in session.rows("SHOW BINARY LOGS")}
    if place.file not in sizes:
        raise lost(system, f"the server has removed its log {place.file}; it may keep more (binlog_expire_logs_seconds)")
    if place.position > sizes[place.file]:
        raise lost(system, f"the server's log {place.file} is shorter than it was")
    if not set(filter(None, place.of.split(","))) <= set(log_name(session, place.file, place.position).split(",")):
        raise lost(system, "the server's log is another one than it was")
    return place
