"""Only one process works on a state. The lock belongs to the operating system or the server, so a dead process never holds it.

SQLite: an advisory lock (flock) on `STATE.lock`, whose text names the holder. PostgreSQL: a session's advisory lock, with the
holder's name and a token in a row; every write transaction checks that the token is still ours. There the members of one state
(`store/member.py`) hold the lock together; whoever types a command has it alone, which changes the token.

In PostgreSQL it is two locks: one to decide what is done (a server that leads, or a command alone), and one to do it (these, and workers).
A command that lets workers help keeps the first one alone, and holds the second one together with them.
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
from trueup.store.moments import to_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

_ASK_AGAIN_S = 0.1
GIVES_WAY = "serve"
"""Whoever holds the lock for this lets go of it soon when another process asks."""
WORKS = "work"
"""Held for this by those whom a server asked to do something: it gives way for them as well, by asking for nothing more."""
WAIT_FOR_WAY_S = 30.0
WANTED_WITHIN_S = 1.0
_NAME_ITSELF_S = 1.0  # how long a new holder may take to write its name


_LOOK_EVERY_S = 0.3
_NOW = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
_ASK = f"""
    INSERT INTO lock_holder (name, token, pid, host, purpose, since) VALUES ('wanted', 0, %(pid)s, %(host)s, 'waits', {_NOW})
    ON CONFLICT (name) DO UPDATE SET pid = excluded.pid, host = excluded.host, since = excluded.since
"""
_HELD = """
    INSERT INTO lock_holder (name, token, pid, host, purpose, since) VALUES (%(name)s, 1, %(pid)s, %(host)s, %(purpose)s, %(since)s)
    ON CONFLICT (name) DO UPDATE SET pid = excluded.pid, host = excluded.host, purpose = excluded.purpose, since = excluded.since
    RETURNING token
"""
_ASKED = f"SELECT count(*) > 0 FROM lock_holder WHERE name = 'wanted' AND since > {_NOW} - %(within)s"


class ProcessLock(Protocol):
    """What both kinds offer."""

    depth: int

    def held(self, purpose: str, wait_s: float, now: datetime) -> AbstractContextManager[None]:
        """Hold the lock while a block runs."""
        ...

    def check(self, connection: sa.Connection) -> None:
        """Raise StateError inside a write transaction where a lock held before has been lost meanwhile."""
        ...

    def turn(self, connection: sa.Connection) -> None:
        """Let one transaction write at a time, whichever process it is of; until its end."""
        ...

    def release_all(self) -> None:
        """Give the lock back whatever the depth."""
        ...

    def wanted(self) -> bool:
        """Whether another process has been waiting for this lock within the last moments."""
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
        begun, until = time.monotonic(), time.monotonic() + wait_s
        while not self._take(purpose, now):
            if time.monotonic() >= until:
                pid, host, held_for = self._holder()
                gives_way = held_for in {GIVES_WAY, WORKS} and purpose not in {GIVES_WAY, WORKS}
                if not gives_way or time.monotonic() - begun >= WAIT_FOR_WAY_S:
                    raise StateLockedError(pid, host)
                until = time.monotonic() + _ASK_AGAIN_S
            if not self._together(purpose):
                self._ask_for_it()
            time.sleep(min(_ASK_AGAIN_S, max(until - time.monotonic(), 0.0)))

    def _together(self, purpose: str) -> bool:  # noqa: ARG002  children may look at it
        """Whether several processes may hold the lock at once for this purpose."""
        return False

    @abstractmethod
    def _take(self, purpose: str, now: datetime) -> bool:
        """True when the lock was free and is now ours."""

    @abstractmethod
    def _holder(self) -> tuple[int, str, str]:
        """Pid and host of whoever holds it, and what for."""

    @abstractmethod
    def _ask_for_it(self) -> None:
        """Let the holder know that this process waits."""

    @abstractmethod
    def wanted(self) -> bool:
        """Whether another process has been waiting for this lock within the last moments."""

    @abstractmethod
    def _give_back(self) -> None:
        """Let go; nothing where it is not held."""


class FileLock(_Counted):
    """The lock of a SQLite state: `STATE.lock` beside it. The file stays; only the lock on it means anything."""

    def __init__(self, state: Path, ending: str = ".lock") -> None:
        """Prepare; nothing is opened yet. `ending` tells several locks of one state apart."""
        super().__init__()
        self._path = state.with_name(state.name + ending)
        self._asked = state.with_name(state.name + ".wanted")
        self._file: int | None = None

    def check(self, connection: sa.Connection) -> None:
        """A lock of the operating system is not lost while its file is open."""

    def turn(self, connection: sa.Connection) -> None:
        """SQLite lets one transaction write at a time by itself."""

    def _take(self, purpose: str, now: datetime) -> bool:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise StateError(
                f"the lock file {self._path} cannot be opened: {error.strerror}", hint="check the rights of its folder"
            ) from error
        if not try_lock(handle):
            os.close(handle)
            return False
        self._file = handle
        with suppress(OSError):
            self._asked.unlink()
        text = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": now.isoformat()}
        with suppress(OSError):  # the name is a courtesy to others: on a full disk the lock still holds
            os.ftruncate(handle, 0)
            os.pwrite(handle, orjson.dumps(text) + b"\n", 0)
        return True

    def _holder(self) -> tuple[int, str, str]:
        until = time.monotonic() + _NAME_ITSELF_S
        while True:
            with suppress(OSError, ValueError, KeyError, TypeError):
                found = orjson.loads(self._path.read_bytes())
                return int(found["pid"]), str(found["host"]), str(found["purpose"])
            if time.monotonic() >= until:
                return 0, "this machine", ""
            time.sleep(0.01)

    def _ask_for_it(self) -> None:
        with suppress(OSError):
            self._asked.touch(mode=0o644)

    def wanted(self) -> bool:
        """Whether another process has been waiting for this lock within the last moments."""
        try:
            return abs(time.time() - self._asked.stat().st_mtime) < WANTED_WITHIN_S
        except OSError:
            return False

    def _give_back(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def try_lock(handle: int) -> bool:
        """Take the lock on an open file; False where somebody else has it."""
        # The locked byte lies far behind the text, which others may then still read.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(handle: int) -> bool:
        """Take the lock on an open file; False where somebody else has it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class AdvisoryLock(_Counted):
    """The lock of a PostgreSQL state: a connection of its own that holds an advisory lock."""

    def __init__(self, pool: sa.Engine, schema_name: str, name: str = "state") -> None:
        """Prepare; nothing is connected yet. `name` tells several locks of one state apart."""
        super().__init__()
        self._pool = pool
        self._name = name
        self._deciding = f"{name} deciding"
        self.writer = xxhash.xxh3_64_intdigest(f"trueup writes {schema_name}".encode()) - (1 << 63)
        self._numbers = {
            named: xxhash.xxh3_64_intdigest(f"trueup {named} {schema_name}".encode()) - (1 << 63) for named in (name, self._deciding)
        }
        self._missed = name  # which of the two locks another process kept
        self._connection: sa.Connection | None = None
        self._token = 0
        self._looked = (0.0, False)

    def check(self, connection: sa.Connection) -> None:
        """Raise StateError where another process took the state after this one's connection to the server was lost."""
        if self.depth == 0:
            return
        token = connection.execute(
            sa.select(schema.lock_holder.c.token).where(schema.lock_holder.c.name == self._name)
        ).scalar_one_or_none()
        if token != self._token:
            raise StateError("another process took over this state after the connection to the server was lost", hint="run again")

    def turn(self, connection: sa.Connection) -> None:
        """Wait until no other transaction of any process writes to the state, and keep them waiting until the end of this one."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (self.writer,))

    def _take(self, purpose: str, now: datetime) -> bool:
        try:
            return self._try(purpose, now)
        except engine.driver_errors(self._pool) as error:
            self._drop()
            raise engine.state_error(error, "") from error

    def _together(self, purpose: str) -> bool:
        return purpose in {GIVES_WAY, WORKS}

    def _try(self, purpose: str, now: datetime) -> bool:
        if purpose == GIVES_WAY and self.wanted():
            return False
        if self._connection is None:
            self._connection = self._pool.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection = self._connection
        if self._together(purpose):
            return self._try_together(connection, purpose, now)
        for name in (self._deciding, self._name):
            if not self._got(connection, name, sa.func.pg_try_advisory_lock):
                return False
            self._token = self._tell(connection, name, purpose, now)
        self._token = connection.exec_driver_sql(
            "UPDATE lock_holder SET token = token + 1 WHERE name = %s RETURNING token", (self._name,)
        ).scalar_one()
        return True

    def _try_together(self, connection: sa.Connection, purpose: str, now: datetime) -> bool:
        """Hold it besides others who do: the token stays as it is, so that only who has the lock alone makes it another."""
        for name in (self._deciding, self._name) if purpose == GIVES_WAY else (self._name,):
            if not self._got(connection, name, sa.func.pg_try_advisory_lock_shared):
                return False
            self._token = self._tell(connection, name, purpose, now)
        return True

    def _got(self, connection: sa.Connection, name: str, take: Callable[[int], sa.ColumnElement[bool]]) -> bool:
        self._missed = name
        return bool(connection.execute(sa.select(take(self._numbers[name]))).scalar_one())

    def _tell(self, connection: sa.Connection, name: str, purpose: str, now: datetime) -> int:
        """Say who holds one of the two locks; its token."""
        told = {"name": name, "pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": to_micros(now)}
        return int(connection.exec_driver_sql(_HELD, told).scalar_one())

    def share(self) -> None:
        """Let workers hold the lock as well, which this process has alone: they do what it asks for, and nobody else decides anything."""
        assert self.depth > 0
        assert self._connection is not None
        mine = self._numbers[self._name]
        self._connection.execute(sa.select(sa.func.pg_advisory_lock_shared(mine)))  # beside the lock that it holds alone: no moment without
        self._connection.execute(sa.select(sa.func.pg_advisory_unlock(mine)))

    def _holder(self) -> tuple[int, str, str]:
        holder = schema.lock_holder
        with self._pool.connect() as connection:
            asked = sa.select(holder.c.pid, holder.c.host, holder.c.purpose).where(holder.c.name == self._missed)
            row = connection.execute(asked).one_or_none()
        self._drop()
        return (0, "another machine", "") if row is None else (int(row.pid), str(row.host), str(row.purpose))

    def _ask_for_it(self) -> None:
        with suppress(*engine.driver_errors(self._pool)), self._pool.begin() as connection:
            connection.exec_driver_sql(_ASK, {"pid": os.getpid(), "host": socket.gethostname()})

    def wanted(self) -> bool:
        """Whether another process has been waiting for this lock within the last moments; asked of the server some times a second."""
        when, answer = self._looked
        if time.monotonic() - when >= _LOOK_EVERY_S:
            answer = False
            with suppress(*engine.driver_errors(self._pool)), self._pool.connect() as connection:
                answer = bool(connection.exec_driver_sql(_ASKED, {"within": int(WANTED_WITHIN_S * 1e6)}).scalar_one())
            self._looked = (time.monotonic(), answer)
        return answer

    def _give_back(self) -> None:
        if self._connection is not None:
            with suppress(*engine.driver_errors(self._pool)):  # a server takes its time to notice that a connection was closed
                self._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        self._drop()

    def _drop(self) -> None:
        """Close the connection for good, not back into the pool: the server then lets go of everything it held."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
