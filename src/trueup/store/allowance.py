"""What has been asked of applications that limit it: one book per system, for all processes that share a state.

A state in a file has its books in a file beside it (`STATE-limits.json`), which whoever writes holds a lock on; a state in PostgreSQL has
them as rows of `meta`, each changed in a transaction of its own that waits for no other writer. Nothing in a book is a secret or a value of
a record, and whoever loses one is told by the application that too much was asked.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from trueup.errors import StateError
from trueup.store import engine
from trueup.store.locks import try_lock
from trueup.store.schema import meta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.store.db import Db

PREFIX = "limits of "
AGAIN_S = 0.001
"""A book is had for some microseconds."""
SESSION = "trueup limits"
LONG_S = 60.0
"""That a system is left alone for less than that is not worth telling."""
_FIRST = "INSERT INTO meta (key, value) VALUES (%(key)s, '{}') ON CONFLICT (key) DO NOTHING"
_TAKE = "SELECT value, extract(epoch FROM clock_timestamp()) FROM meta WHERE key = %(key)s FOR UPDATE"
_KEEP = "UPDATE meta SET value = %(value)s WHERE key = %(key)s"


@dataclass(frozen=True, slots=True)
class Resting:
    """A system that is left alone until a moment, and why."""

    until: datetime
    why: str


@dataclass(slots=True)
class Turn:
    """A book while somebody has it, and the moment by the clock of whoever keeps it."""

    now: float
    book: dict[str, Any]


def books_path(target: str) -> Path:
    """The file of the books of a state in a file."""
    state = Path(target).expanduser()
    return state.with_name(f"{state.name}-limits.json")


class FileLedger:
    """The book of one system beside a state in a file. Where nothing can be written, it is kept in memory."""

    def __init__(self, target: str, system: str) -> None:
        """Open nothing yet."""
        self._path = books_path(target)
        self._system = system
        self._turn = threading.Lock()
        self._own: dict[str, Any] = {}

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Have the book alone for a moment."""
        with self._turn:
            handle = self._opened()
            if handle is None:
                yield Turn(time.time(), self._own)
                return
            try:
                while not try_lock(handle):
                    time.sleep(AGAIN_S)
                books = _read(handle)
                turn = Turn(time.time(), books.setdefault(self._system, {}))
                yield turn
                text = orjson.dumps(books)
                os.pwrite(handle, text, 0)
                os.ftruncate(handle, len(text))
            finally:
                os.close(handle)  # which lets go of the lock

    def _opened(self) -> int | None:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError:
            return None

    def close(self) -> None:
        """Nothing is open."""


class ServerLedger:
    """The book of one system in a state in PostgreSQL."""

    def __init__(self, target: str, system: str) -> None:
        """Connect when first asked."""
        self._target = target
        self._key = PREFIX + system
        self._turn = threading.Lock()
        self._pool: sa.Engine | None = None
        self._own: dict[str, Any] = {}
        self._away = False

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Have the book alone for a moment. Raises StateError where the database does not answer."""
        with self._turn:
            if self._pool is None:
                self._pool = engine.postgres_engine(self._target, read_only=False, session=SESSION)[0]
            if self._away:  # there is no state yet
                yield Turn(time.time(), self._own)
                return
            errors = engine.driver_errors(self._pool)
            try:
                with self._pool.connect() as connection, connection.begin():
                    if not sa.inspect(connection).has_table(meta.name):
                        self._away = True
                        yield Turn(time.time(), self._own)
                        return
                    connection.exec_driver_sql(_FIRST, {"key": self._key})
                    text, now = connection.exec_driver_sql(_TAKE, {"key": self._key}).one()
                    turn = Turn(float(now), orjson.loads(text))
                    yield turn
                    connection.exec_driver_sql(_KEEP, {"key": self._key, "value": orjson.dumps(turn.book).decode()})
            except errors as error:
                raise StateError(f"what was asked of applications cannot be kept: {type(error).__name__}") from error

    def close(self) -> None:
        """Give the connection back."""
        with self._turn:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.dispose()


def ledger(target: str, system: str) -> FileLedger | ServerLedger:
    """The book of a system."""
    return ServerLedger(target, system) if target.startswith("postgres") else FileLedger(target, system)


def _read(handle: int) -> dict[str, Any]:
    """The books; those of a process that died while it wrote are begun anew."""
    with suppress(ValueError):
        found = orjson.loads(os.pread(handle, 64 * 1024 * 1024, 0))
        if isinstance(found, dict):
            return found
    return {}


def resting(db: Db, target: str, now: datetime, *, longer_than_s: float = LONG_S) -> dict[str, Resting]:
    """The systems that are left alone for so long from now on, by name."""
    books: dict[str, Any] = {}
    if db.backend == "postgresql":
        found = db.execute(sa.select(meta.c.key, meta.c.value).where(meta.c.key.startswith(PREFIX)))
        books = {row.key.removeprefix(PREFIX): orjson.loads(row.value) for row in found}
    else:
        with suppress(OSError, ValueError):
            books = orjson.loads(books_path(target).read_bytes())
    rests = {system: book.get("rest") for system, book in books.items()}
    return {
        system: Resting(datetime.fromtimestamp(rest[0], UTC), str(rest[1]))
        for system, rest in rests.items()
        if rest and rest[0] - now.timestamp() > longer_than_s
    }
