"""`Store`: the state, opened. Transactions, the process lock and read-only SQL; the rows themselves are in the noun modules."""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trueup.errors import StateError
from trueup.store import ask, audit, engine, identity, in_use, job, locks, member, migrate
from trueup.store.alone import alone_on_server, alone_with_file
from trueup.store.before_upgrade import copy_sqlite
from trueup.store.checkpoint import Checkpoints
from trueup.store.db import Db, Names, with_matters
from trueup.store.encryption import access_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    import sqlalchemy as sa

WAIT_FOR_WRITER_S = 600.0
ANALYZE_FROM_ROWS = 10_000
KEPT_READERS = 4


class Store:
    """One state: a SQLite file, or a schema in a PostgreSQL database. Made by `Store.open`; usable from several threads."""

    def __init__(
        self,
        target: str,
        backend: engine.Backend,
        writer: sa.Engine | None,
        reader: sa.Engine,
        lock: locks.ProcessLock,
        serving: locks.ProcessLock,
    ) -> None:
        """Take over opened engines; `writer` is None for a state opened read-only."""
        self.target = target
        self.backend: engine.Backend = backend
        self.shown = engine.shown(target)
        self._writer = writer
        self._reader = reader
        self._errors = engine.driver_errors(reader)
        self._names = Names()
        self._runs: set[int] = set()
        self._checkpoints = Checkpoints(reader, self._errors)
        self._growth: dict[str, tuple[int, int]] = {}  # table -> rows added since it was looked at, and how many make it worth looking
        self._turn = threading.RLock()
        self._current: Db | None = None
        self._idle: deque[sa.Connection] = deque()  # connections to a file that nobody reads by now
        self._closed = False
        self._gathering = threading.local()  # `depth`: of the blocks of this thread whose commits need not wait for the disk
        self._behind = False  # the last commit did not wait for the disk
        self._process_lock = lock
        self._serving = serving
        self._connection: sa.Connection | None = None
        self._use: in_use.InUse | None = None
        self._session = engine.SESSION
        self.lease: member.Lease | None = None
        self._installation: str | None = None

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
        use = in_use.InUse(path)
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
        store = cls(target, "sqlite", writer, reader, locks.FileLock(path), locks.FileLock(path, ".serve"))
        store._use = use
        return store

    @classmethod
    def _open_postgres(cls, target: str, *, create: bool, read_only: bool, older: bool, upgrade: bool) -> Store:
        session = f"{engine.SESSION} {uuid.uuid4().hex[:12]}"
        both, schema = engine.postgres_engine(target, read_only=read_only, session=session)
        writer, shown = None if read_only else both, engine.shown(target)

        def prepare() -> None:
            migrate.create_schema(both, schema, create=create, shown=shown)
            migrate.bring_up_to_date(both, writer if upgrade else None, shown=shown, older=older)

        _prepared(prepare, shown, both, None)
        store = cls(target, "postgresql", writer, both, locks.AdvisoryLock(both, schema), locks.AdvisoryLock(both, schema, "serve"))
        store._session = session
        return store

    def close(self) -> None:
        """Give back every connection and the process lock. May be called twice."""
        with self._turn:
            self._process_lock.release_all()
            self._serving.release_all()
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        self._closed = True
        self._checkpoints.finish()
        while self._idle:
            self._idle.pop().close()
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
    def gathered(self) -> Iterator[None]:
        """While the block runs, a commit of its thread to a file waits for the disk only where it is to be `lasting`.

        Those before it are on disk with it. A power cut then loses the last commits, never one without all that came after it: as if the
        process had been killed before them. Whoever opens the block ends with a commit outside of it before anybody is told what was done,
        unless all of it would be found again in the systems.
        """
        depth = self._gathered
        self._gathering.depth = depth + 1
        try:
            yield
        finally:
            self._gathering.depth = depth

    @property
    def _gathered(self) -> int:
        return getattr(self._gathering, "depth", 0)

    @contextmanager
    def write(self, *, lasting: bool | None = None) -> Iterator[Db]:
        """A transaction that may change the state: one at a time in this process, committed at the end, undone on any error.

        Inside another `write()` of the same thread it joins that one. `lasting`: it is on disk when the block ends, also within `gathered`,
        because something outside of the state is about to follow from it; False: it need not be, because what it tells would be found
        again; None: it is, but within `gathered`. Raises StateError where the database refuses, the disk is full, or this process has
        lost the state to another one.
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
                yield from self._transaction(self._writer, lasting=not self._gathered if lasting is None else lasting)
        finally:
            self._turn.release()

    def _transaction(self, writer: sa.Engine, *, lasting: bool) -> Iterator[Db]:
        if self._connection is None or self._connection.invalidated:
            self._connection = writer.connect()
        connection = self._connection
        if self.backend == "sqlite":
            engine.wait_for_disk(connection, wait=lasting)
        try:
            with connection.begin():
                tx = self._current = Db(connection, self._names, self.backend, writable=True, runs=self._runs)
                self._process_lock.turn(connection)
                self._process_lock.check(connection)
                if self.lease is not None:
                    self.lease.check(connection)
                yield tx
                audit.write(tx, self.target)
                self._count_rows(tx)
            if self.backend == "sqlite":
                self._behind = not lasting
                if tx.grown:
                    self._checkpoints.grown(sum(tx.grown.values()))
            audit.committed(self.target)
        except BaseException:
            self._names.forget()
            raise
        finally:
            self._current = None

    def reach_disk(self) -> None:
        """Return when everything that is committed is on disk: before others are told of it. Raises StateError."""
        if self.backend != "sqlite":
            return  # the server's commits wait
        with self._turn:
            if not self._behind:
                return
            try:
                with Path(f"{Path(self.target).expanduser()}-wal").open("rb") as log:
                    os.fsync(log.fileno())
            except FileNotFoundError:
                pass  # all of it is in the file, and nobody has the state open: there is nothing to wait for
            except OSError as error:
                raise engine.state_error(error, self.shown) from error
            self._behind = False

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
        with self._told():
            if self.backend == "sqlite":
                yield from self._snapshot()
                return
            with self._reader.connect() as plain:
                connection = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                with connection.begin():
                    # The snapshot is taken by the first statement, not by BEGIN.
                    yield with_matters(Db(connection, self._names, self.backend, writable=False))

    def _snapshot(self) -> Iterator[Db]:
        """As `read`, of a file: on a connection kept at hand, as fetching and returning one takes longer than a few rows do."""
        connection = self._idle.pop() if self._idle else self._reader.connect()
        try:
            driver: Any = connection.connection.driver_connection
            driver.execute("BEGIN")
            yield with_matters(Db(connection, self._names, self.backend, writable=False))
            connection.rollback()
            driver.rollback()
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        if len(self._idle) < KEPT_READERS and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()

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

    def serving(self, now: datetime) -> AbstractContextManager[None]:
        """Be the one server of this state while the block runs. Raises StateLockedError with the pid and host of another one."""
        return self._serving.held("serving", 0.0, now)

    @contextmanager
    def alone(self, name: str, wait_s: float) -> Iterator[None]:
        """Be the only one of all processes and threads on this state to do something outside of it while the block runs; not reentrant.

        Raises SystemUnreachableError where somebody else does it for longer than that.
        """
        if self.backend == "sqlite":
            path = Path(self.target).expanduser()
            with alone_with_file(path.with_name(f"{path.name}.{name}.lock"), wait_s):
                yield
            return
        schema = engine.schema_of(self.target)
        with ExitStack() as held:
            with self._told():
                held.enter_context(alone_on_server(self._reader, f"trueup {schema} {name}", wait_s))
            yield

    def join(self, role: str, agreed: str, now: datetime) -> member.Lease:
        """Become one of the processes that share this state, which is in PostgreSQL: from now on nothing is written without the lease."""
        assert self.backend == "postgresql"
        with self._told():
            self.lease = member.join(self._reader, role, self._session, agreed, now)
        return self.lease

    def share(self) -> None:
        """Let workers hold this state as well, which this process has alone: they do what it asks for until it lets go of the state.

        This process is a member. Whatever somebody asked another one for before that is forgotten: nobody is at work.
        """
        lock = self._process_lock
        assert isinstance(lock, locks.AdvisoryLock)
        with self.write() as tx:
            job.forget_all(tx)
        with self._told():
            lock.share()

    def without_lease(self) -> None:
        """Go on as one that is no member: what it does from now on needs no lease."""
        self.lease = None

    def others(self) -> list[member.Member]:
        """Everybody who shares this state now, this process among them."""
        with self._told():
            return member.living(self._reader)

    def bury(self) -> list[int]:
        """Declare members gone whose lease has run out; their numbers."""
        lock = self._process_lock
        assert isinstance(lock, locks.AdvisoryLock)
        with self._told():
            return member.bury(self._reader, lock.writer)

    def bell(self) -> job.Bell:
        """What rings when a member asks another one for something, or answers; begun."""
        found = job.Bell(self._reader)
        found.start()
        return found

    def lane(self, entity: str, system: str) -> str:
        """The name under which rows of an entity are written to a system; no other state uses it."""
        if self._installation is None:
            with self.read() as db:
                self._installation = identity.of(db)[0]
        return f"{self._installation or ''} {entity} {system}"

    def must_be_ours(self) -> None:
        """Asked just before something is sent to a system. Raises LeaseLostError where others have taken over."""
        if self.lease is not None:
            self.lease.must_hold()

    @property
    def locked(self) -> bool:
        """Whether this store holds the process lock now."""
        return self._process_lock.depth > 0

    @property
    def wanted(self) -> bool:
        """Whether another process has been waiting for the process lock within the last moments."""
        return self._process_lock.wanted()

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
