"""Only one process works on a state. The lock belongs to the operating system or the server, so a dead process never holds it.

SQLite: an advisory lock (flock) on `STATE.lock`, whose text names the holder. PostgreSQL: a session's advisory lock, with the
holder's name and a token in a row; every write transaction checks that the token is still ours.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import orjson
import sqlalchemy as sa
import xxhash

from trueup.errors import StateError, StateLockedError
from trueup.store import engine, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

_ASK_AGAIN_S = 0.1
WAIT_FOR_EXCHANGE_S = 60.0
WAIT_FOR_OTHERS_S = 5.0
_NAME_ITSELF_S = 1.0  # how long a new holder may take to write its name


class ProcessLock(Protocol):
    """What both kinds offer."""

    depth: int

    def held(self, purpose: str, wait_s: float, now: datetime) -> AbstractContextManager[None]:
        """Hold the lock while a block runs."""
        ...

    def check(self, connection: sa.Connection) -> None:
        """Raise StateError inside a write transaction where a lock held before has been lost meanwhile."""
        ...

    def release_all(self) -> None:
        """Give the lock back whatever the depth."""
        ...


class _Counted(ABC):
    """Counts nested holders within this process; children say how to take and give back."""

    def __init__(self) -> None:
        self.depth = 0
        self._guard = threading.RLock()

    @contextmanager
    def held(self, purpose: str, wait_s: float, now: datetime) -> Iterator[None]:
        """Hold the lock while a block runs; raises StateLockedError when another process keeps it longer than `wait_s`."""
        with self._guard:
            if self.depth == 0:
                self._wait(purpose, wait_s, now)
            self.depth += 1
        try:
            yield
        finally:
            with self._guard:
                self.depth = max(self.depth - 1, 0)
                if self.depth == 0:
                    self._give_back()

    def release_all(self) -> None:
        """Give the lock back whatever the depth."""
        with self._guard:
            self.depth = 0
            self._give_back()

    def _wait(self, purpose: str, wait_s: float, now: datetime) -> None:
        until = time.monotonic() + wait_s
        while not self._take(purpose, now):
            if time.monotonic() >= until:
                pid, host = self._holder()
                raise StateLockedError(pid, host)
            time.sleep(min(_ASK_AGAIN_S, max(until - time.monotonic(), 0.0)))

    @abstractmethod
    def _take(self, purpose: str, now: datetime) -> bool:
        """True when the lock was free and is now ours."""

    @abstractmethod
    def _holder(self) -> tuple[int, str]:
        """Pid and host of whoever holds it."""

    @abstractmethod
    def _give_back(self) -> None:
        """Let go; nothing where it is not held."""


class FileLock(_Counted):
    """The lock of a SQLite state: `STATE.lock` beside it. The file stays; only the lock on it means anything."""

    def __init__(self, state: Path) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__()
        self._path = state.with_name(state.name + ".lock")
        self._file: int | None = None

    def check(self, connection: sa.Connection) -> None:
        """A lock of the operating system is not lost while its file is open."""

    def _take(self, purpose: str, now: datetime) -> bool:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise StateError(
                f"the lock file {self._path} cannot be opened: {error.strerror}", hint="check the rights of its folder"
            ) from error
        if not _try_lock(handle):
            os.close(handle)
            return False
        self._file = handle
        text = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": now.isoformat()}
        with suppress(OSError):  # the name is a courtesy to others: on a full disk the lock still holds
            os.ftruncate(handle, 0)
            os.pwrite(handle, orjson.dumps(text) + b"\n", 0)
        return True

    def _holder(self) -> tuple[int, str]:
        until = time.monotonic() + _NAME_ITSELF_S
        while True:
            with suppress(OSError, ValueError, KeyError, TypeError):
                found = orjson.loads(self._path.read_bytes())
                return int(found["pid"]), str(found["host"])
            if time.monotonic() >= until:
                return 0, "this machine"
            time.sleep(0.01)

    def _give_back(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        # The locked byte lies far behind the text, which others may then still read.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class InUse:
    """Whether any process has a state's file open: a shared lock on its folder, held as long as a store is open.

    Who puts another file in its place must know that nobody has the old one open: SQLite finds the log of a file by its name, and would
    take the new file's log for the old one's.
    """

    def __init__(self, state: Path) -> None:
        """Prepare; nothing is locked yet."""
        self._folder = state.parent
        self._handle: int | None = None

    def share(self) -> None:
        """Have it open; nothing where that was said already, or the folder is not there yet. Raises StateError while it is exchanged."""
        if self._handle is None and sys.platform != "win32":
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                self._take(fcntl.LOCK_SH, "the state is being encrypted or decrypted by another process", WAIT_FOR_EXCHANGE_S)

    def alone(self) -> None:
        """Be the only one. Raises StateError where another process has a state of this folder open."""
        if sys.platform != "win32":
            self._take(fcntl.LOCK_EX, f"another trueup has a state in {self._folder} open", WAIT_FOR_OTHERS_S)

    def _take(self, kind: int, refused: str, wait_s: float) -> None:
        handle = os.open(self._folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(handle)
                    raise StateError(refused, hint="run again when it has ended") from None
                time.sleep(_ASK_AGAIN_S)
            except OSError:  # a file system without such locks
                os.close(handle)
                return
            else:
                self._handle = handle
                return

    def end(self) -> None:
        """Let go; nothing where it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class AdvisoryLock(_Counted):
    """The lock of a PostgreSQL state: a connection of its own that holds an advisory lock."""

    def __init__(self, pool: sa.Engine, schema_name: str) -> None:
        """Prepare; nothing is connected yet."""
        super().__init__()
        self._pool = pool
        self._number = xxhash.xxh3_64_intdigest(f"trueup state {schema_name}".encode()) - (1 << 63)
        self._connection: sa.Connection | None = None
        self._token = 0

    def check(self, connection: sa.Connection) -> None:
        """Raise StateError where another process took the state after this one's connection to the server was lost."""
        if self.depth == 0:
            return
        token = connection.execute(sa.select(schema.lock_holder.c.token).where(schema.lock_holder.c.name == "state")).scalar_one_or_none()
        if token != self._token:
            raise StateError("another process took over this state after the connection to the server was lost", hint="run again")

    def _take(self, purpose: str, now: datetime) -> bool:
        try:
            return self._try(purpose, now)
        except engine.driver_errors(self._pool) as error:
            self._drop()
            raise engine.state_error(error, "") from error

    def _try(self, purpose: str, now: datetime) -> bool:
        if self._connection is None:
            self._connection = self._pool.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection = self._connection
        if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(self._number))).scalar_one():
            return False
        holder = schema.lock_holder
        found = connection.execute(sa.select(holder.c.token).where(holder.c.name == "state")).scalar_one_or_none()
        self._token = (found or 0) + 1
        values = {"token": self._token, "pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": now}
        if found is None:
            connection.execute(holder.insert().values(name="state", **values))
        else:
            connection.execute(holder.update().where(holder.c.name == "state").values(**values))
        return True

    def _holder(self) -> tuple[int, str]:
        holder = schema.lock_holder
        with self._pool.connect() as connection:
            row = connection.execute(sa.select(holder.c.pid, holder.c.host).where(holder.c.name == "state")).one_or_none()
        self._drop()
        return (0, "another machine") if row is None else (int(row.pid), str(row.host))

    def _give_back(self) -> None:
        self._drop()

    def _drop(self) -> None:
        """Close the connection for good, not back into the pool: the server then lets go of everything it held."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
