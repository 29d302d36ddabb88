"""`Store`: the state, opened. Transactions, the process lock and read-only SQL; the rows themselves are in the noun modules."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trueup.errors import StateError
from trueup.store import ask, audit, engine, locks, migrate
from trueup.store.before_upgrade import copy_sqlite
from trueup.store.db import Db, Names, matters
from trueup.store.encryption import access_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    import sqlalchemy as sa

WAIT_FOR_WRITER_S = 600.0
ANALYZE_FROM_ROWS = 10_000


class Store:
    """One state: a SQLite file, or a schema in a PostgreSQL database. Made by `Store.open`; usable from several threads."""

    def __init__(self, target: str, backend: engine.Backend, writer: sa.Engine | None, reader: sa.Engine, lock: locks.ProcessLock) -> None:
        """Take over opened engines; `writer` is None for a state opened read-only."""
        self.target = target
        self.backend: engine.Backend = backend
        self.shown = engine.shown(target)
        self._writer = writer
        self._reader = reader
        self._errors = engine.driver_errors(reader)
        self._names = Names()
        self._runs: set[int] = set()
        self._growth: dict[str, tuple[int, int]] = {}  # table -> rows added since it was looked at, and how many make it worth looking
        self._turn = threading.RLock()
        self._current: Db | None = None
        self._process_lock = lock
        self._connection: sa.Connection | None = None
        self._use: locks.InUse | None = None

    # ------------------------------------------------------------ life

    @classmethod
    def open(cls, target: str, *, create: bool = True, read_only: bool = False, older: bool = False, upgrade: bool = True) -> Store:
        """Open the state at a path or postgresql:// URL, bring its tables up to date, and make it where it is missing.

        With `create=False` or `read_only=True` a missing state is an error; read-only also leaves the tables as they are, and refuses those
        of an older trueup, unless `older` will do. `upgrade=False` leaves them as they are, too.
        Raises StateError: not a state, damaged, no rights, server unreachable, or made by a newer trueup.
        """
        if engine.backend_of(target) == "sqlite":
            return cls._open_sqlite(target, create=create and not read_only, read_only=read_only, older=older, upgrade=upgrade)
        return cls._open_postgres(target, create=create and not read_only, read_only=read_only, older=older, upgrade=upgrade)

    @classmethod
    def _open_sqlite(cls, target: str, *, create: bool, read_only: bool, older: bool, upgrade: bool) -> Store:
        path = Path(target).expanduser()
        use = locks.InUse(path)
        use.share()
        try:
            access = access_to(path)
            reader = engine.sqlite_engine(path, writer=False, read_only=read_only, access=access)
            writer = None if read_only else engine.sqlite_engine(path, writer=True, read_only=False, access=access)

            def prepare() -> None:
                engine.create_sqlite(path, create=create, shown_as=target, access=access)
                use.share()  # its folder may have been made only now
                migrate.bring_up_to_date(reader, writer if upgrade else None, shown=target, older=older)

            _prepared(prepare, target, reader, writer)
        except BaseException:
            use.end()
            raise
        store = cls(target, "sqlite", writer, reader, locks.FileLock(path))
        store._use = use
        return store

    @classmethod
    def _open_postgres(cls, target: str, *, create: bool, read_only: bool, older: bool, upgrade: bool) -> Store:
        both, schema = engine.postgres_engine(target, read_only=read_only)
        writer, shown = None if read_only else both, engine.shown(target)

        def prepare() -> None:
            migrate.create_schema(both, schema, create=create, shown=shown)
            migrate.bring_up_to_date(both, writer if upgrade else None, shown=shown, older=older)

        _prepared(prepare, shown, both, None)
        return cls(target, "postgresql", writer, both, locks.AdvisoryLock(both, schema))

    def close(self) -> None:
        """Give back every connection and the process lock. May be called twice."""
        with self._turn:
            self._process_lock.release_all()
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        if self._writer is not None:
            self._writer.dispose()
        self._reader.dispose()
        if self._use is not None:
            self._use.end()

    def __enter__(self) -> Self:
        """The store itself; it is closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    # ------------------------------------------------------------ transactions

    @contextmanager
    def write(self) -> Iterator[Db]:
        """A transaction that may change the state: one at a time in this process, committed at the end, undone on any error.

        Inside another `write()` of the same thread it joins that one. Raises StateError where the database refuses, the disk is full,
        or this process has lost the state to another one.
        """
        if self._writer is None:
            raise StateError(f"the state {self.shown} was opened for reading only", hint="this command does not change the state")
        if not self._turn.acquire(timeout=WAIT_FOR_WRITER_S):
            raise StateError(f"another thread has been writing to the state {self.shown} for {WAIT_FOR_WRITER_S:.0f} s", hint="run again")
        try:
            if self._current is not None:
                yield self._current
                return
            with self._told():
                yield from self._transaction(self._writer)
        finally:
            self._turn.release()

    def _transaction(self, writer: sa.Engine) -> Iterator[Db]:
        if self._connection is None or self._connection.invalidated:
            self._connection = writer.connect()
        connection = self._connection
        try:
            with connection.begin():
                tx = self._current = Db(connection, self._names, self.backend, writable=True, runs=self._runs)
                self._process_lock.check(connection)
                yield tx
                audit.write(tx, self.target)
                self._count_rows(tx)
            audit.committed(self.target)
        except BaseException:
            self._names.forget()
            raise
        finally:
            self._current = None

    def _count_rows(self, tx: Db) -> None:
        """Let PostgreSQL look at tables that have grown much: until it has, it takes an entity for a handful of rows and walks them all."""
        if self.backend != "postgresql":
            return
        for table, rows in tx.grown.items():
            grown, limit = self._growth.get(table, (0, ANALYZE_FROM_ROWS))
            grown += rows
            if grown >= limit:
                tx.connection.exec_driver_sql(f"ANALYZE {table}")
                grown, limit = 0, limit * 4
            self._growth[table] = (grown, limit)

    @contextmanager
    def read(self) -> Iterator[Db]:
        """A snapshot of the committed state; other threads may write meanwhile. Raises StateError where the database refuses."""
        with self._told(), self._reader.connect() as plain:
            connection = plain
            if self.backend == "postgresql":
                connection = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                # The snapshot is taken by the first statement, not by BEGIN.
                yield Db(connection, self._names, self.backend, writable=False, matters=matters(connection))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise engine.state_error(error, self.shown) from error

    def vacuum(self) -> None:
        """Write a state in a file anew, without its free space. Raises StateError where the disk has no room for that."""
        if self._writer is None:
            raise StateError(f"the state {self.shown} was opened for reading only", hint="this command does not change the state")
        with self._told(), self._turn:
            if self._connection is None or self._connection.invalidated:
                self._connection = self._writer.connect()
            driver: Any = self._connection.connection.driver_connection
            driver.execute("VACUUM")

    def copy_to(self, path: Path) -> None:
        """Make a copy of a state in a file, as it is now, under `path`; of an encrypted one, with its key file beside it.

        Raises StateError for a state elsewhere.
        """
        if self.backend != "sqlite":
            raise StateError(f"the state {self.shown} is no file", hint="copy it with its own tools")
        with self._told():
            copy_sqlite(self._reader, path)

    # ------------------------------------------------------------ other

    def lock(self, purpose: str, wait_s: float | None = None, *, now: datetime) -> AbstractContextManager[None]:
        """Hold the state for this process while the block runs; nested blocks of this process are one.

        `wait_s` is how long to wait for another process; None or 0: not at all. Raises StateLockedError with the other's pid and host.
        A process that ended, however it ended, holds nothing.
        """
        if self._writer is None:
            raise StateError(f"the state {self.shown} was opened for reading only", hint="this command does not change the state")
        return self._process_lock.held(purpose, wait_s or 0.0, now)

    @property
    def locked(self) -> bool:
        """Whether this store holds the process lock now."""
        return self._process_lock.depth > 0

    def query(self, sql: str, limit: int = 1000) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and at most `limit` rows of one reading SQL statement. Raises StateError for anything else than a read."""
        return ask.query(self._reader, self.backend, sql, limit)


def _prepared(prepare: Callable[[], None], shown: str, reader: sa.Engine, writer: sa.Engine | None) -> None:
    """Prepare a state; where that fails, leave no connection open, and tell the driver's errors as StateError."""
    try:
        prepare()
    except BaseException as error:
        for one in (reader, writer):
            if one is not None:
                one.dispose()
        if isinstance(error, (OSError, *engine.driver_errors(reader))):
            raise engine.state_error(error, shown) from error
        raise
