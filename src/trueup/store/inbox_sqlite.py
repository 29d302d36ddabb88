"""An inbox in a file beside the state: WAL, `synchronous=FULL`, encrypted under the same key as the state where that is encrypted."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from trueup.errors import StateError, StateMissingError
from trueup.store import encryption
from trueup.store.encryption import PAGE_BYTES
from trueup.store.in_use import InUse
from trueup.store.inbox import LOOK_S, Event, Lag, Message
from trueup.store.moments import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from trueup.store.encryption import Access

APPLICATION_ID = 0x74727062
"""Marks the file as an inbox ("trpb"): no other program's database is ever written to."""
BUSY_S = 10.0
CACHE_KIB = 16 * 1024
CHECKPOINT_PAGES = 2_000
WAL_KEEP_BYTES = 32 * 1024 * 1024
VERSION = 1

_TABLES = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    system TEXT NOT NULL,
    object TEXT,
    key TEXT,
    event_id TEXT,
    item INTEGER NOT NULL,
    at INTEGER,
    record TEXT,
    body BLOB,
    received_at INTEGER NOT NULL,
    done_at INTEGER
);
CREATE UNIQUE INDEX event_once ON event (system, event_id, item) WHERE event_id IS NOT NULL;
CREATE INDEX event_waiting ON event (id) WHERE done_at IS NULL;
CREATE INDEX event_done ON event (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX event_record ON event (system, record) WHERE record IS NOT NULL;
"""


def inbox_path(state: Path) -> Path:
    """Where the inbox of a state in a file is."""
    return encryption.files_of(state)[1]


class SqliteDrawer:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path, connection: Any, errors: type[Exception], use: InUse) -> None:
        """Take over an opened connection whose driver raises `errors`."""
        self.shown = str(path)
        self._use = use
        self._connection = connection
        self._errors = errors
        self._turn = threading.RLock()
        self._put = threading.Event()  # by this very process, which SQLite does not tell of
        self._seen: int | None = None

    @classmethod
    def open(cls, state_target: str, *, create: bool) -> SqliteDrawer:
        """Open the file, and make it where it is missing."""
        state = Path(state_target).expanduser()
        path = inbox_path(state)
        if not path.exists() and not create:
            raise StateMissingError(f"there is no inbox at {path} yet", hint="`trueup serve` makes it when it receives webhooks")
        use = InUse(path)
        try:
            use.share()
            with _told(str(path), (OSError,)):
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    use.share()  # its folder may have been made only now
                    if not encryption.file_keys(path):
                        encryption.like(state, path)
                    path.touch(mode=0o600, exist_ok=True)
            access = encryption.access_to(path)
            errors: type[Exception] = access.driver.Error
            with _told(str(path), (errors, OSError)):
                return cls(path, _connected(path, access), errors, use)
        except BaseException:
            use.end()
            raise

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._connection.close()
            self._use.end()

    def insert(self, events: Sequence[Event]) -> list[bool]:
        """Keep events in one transaction."""
        rows = [_row(event) for event in events]
        statement = (
            "INSERT INTO event (system, object, key, event_id, item, at, record, body, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING"
        )
        with self._transaction() as connection:
            stored = [connection.execute(statement, row).rowcount == 1 for row in rows]
        self._put.set()
        return stored

    def waiting(self, limit: int, but: Collection[int]) -> list[Event]:
        """The oldest that are not done."""
        query = (
            "SELECT id, system, object, key, event_id, item, at, record, received_at FROM event"
            " WHERE done_at IS NULL AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (_list(but), limit)).fetchall()
        return [event_of(row) for row in rows]

    def done(self, ids: Collection[int], at: datetime) -> None:
        """Mark them."""
        statement = (
            "UPDATE event SET done_at = ?, body = CASE WHEN record IS NULL THEN NULL ELSE body END"
            " WHERE id IN (SELECT value FROM json_each(?)) AND done_at IS NULL"
        )
        with self._transaction() as connection:
            connection.execute(statement, (to_micros(at), _list(ids)))

    def lag(self) -> Lag:
        """How much waits."""
        with self._reading() as connection:
            waiting, oldest = connection.execute("SELECT count(*), min(received_at) FROM event WHERE done_at IS NULL").fetchone()
        return Lag(waiting, None if oldest is None else from_micros(oldest))

    def compact(self, before: datetime) -> int:
        """Take out what was done before, but the last message about each record."""
        with self._transaction() as connection:
            removed: int = connection.execute(COMPACT.replace(":before", "?"), (to_micros(before),)).rowcount
        return removed

    def pushed(self, system: str) -> list[int]:
        """All messages of a system that only pushes."""
        with self._reading() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM event WHERE system = ? AND record IS NOT NULL", (system,))]

    def messages(self, ids: Collection[int]) -> list[Message]:
        """Messages by number."""
        query = (
            "SELECT id, object, coalesce(at, received_at), body FROM event WHERE id IN (SELECT value FROM json_each(?))"
            " AND record IS NOT NULL ORDER BY coalesce(at, received_at), id"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (_list(ids),)).fetchall()
        return [Message(row[0], row[1], from_micros(row[2]), row[3]) for row in rows]

    def news(self, stop: threading.Event, timeout_s: float) -> bool:
        """Look at the file's version from time to time: that costs a look at shared memory."""
        until = time.monotonic() + timeout_s
        while not stop.is_set():
            with self._reading() as connection:
                version = connection.execute("PRAGMA data_version").fetchone()[0]
            if self._put.is_set() or version != self._seen:
                self._put.clear()
                self._seen = version
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            stop.wait(min(LOOK_S, left))
        return False

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._turn, _told(self.shown, (self._errors,)):
            yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._turn, _told(self.shown, (self._errors,)):
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has undone it by itself where the disk is full
                    connection.execute("ROLLBACK")
                raise


COMPACT = """
DELETE FROM event WHERE done_at < :before AND (record IS NULL OR EXISTS (
    SELECT 1 FROM event AS later WHERE later.system = event.system AND later.record = event.record AND (
        coalesce(later.at, later.received_at) > coalesce(event.at, event.received_at)
        OR (coalesce(later.at, later.received_at) = coalesce(event.at, event.received_at) AND later.id > event.id))))
"""


def event_of(row: Sequence[Any]) -> Event:
    """An event from the columns that `waiting` reads; both databases give them alike."""
    number, system, object_, key, event_id, item, at, record, received = row
    return Event(
        id=number,
        system=system,
        object=object_,
        key=key,
        event_id=event_id,
        item=item,
        at=None if at is None else from_micros(at),
        record=record,
        received_at=from_micros(received),
        body=b"",
    )


def _row(event: Event) -> tuple[Any, ...]:
    at = None if event.at is None else to_micros(event.at)
    received = to_micros(event.received_at)
    return (event.system, event.object, event.key, event.event_id, event.item, at, event.record, event.body, received)


def _list(ids: Collection[int]) -> str:
    return orjson.dumps(list(ids)).decode()


def _connected(path: Path, access: Access) -> Any:
    connection = access.connect(f"file:{quote(str(path))}?mode=rw", uri=True, check_same_thread=False, timeout=BUSY_S)
    try:
        _prepare(connection, path, plain=access.key is None)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: Any, path: Path, *, plain: bool) -> None:
    """Make the tables where there are none, and set what lives with a connection."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        if plain:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not _made_meanwhile(connection, path):
                for statement in _TABLES.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    if _pragma(connection, "user_version") > VERSION:
        raise StateError(f"the inbox {path} was made by a newer trueup", hint="install the newer version; nothing was changed")
    _into_wal(connection)


def _made_meanwhile(connection: Any, path: Path) -> bool:
    """Whether another process has made the tables while this one waited. Raises StateError where they are another program's."""
    if _pragma(connection, "application_id") == APPLICATION_ID:
        return True
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StateError(f"{path} is a database of another program", hint="move it away; nothing was changed in it")
    return False


def _into_wal(connection: Any) -> None:
    """Into WAL mode, once no other connection writes: SQLite's own waiting does not reach here."""
    until = time.monotonic() + BUSY_S
    while _pragma(connection, "journal_mode") != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except Exception as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.02)


def _pragma(connection: Any, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def _told(shown: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Tell the driver's errors as StateError."""
    try:
        yield
    except errors as error:
        from trueup.store.engine import state_error

        told = state_error(error, shown)
        raise StateError(told.message.replace("the state ", "the inbox "), hint=told.hint) from error
