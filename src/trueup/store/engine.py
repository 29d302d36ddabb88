"""Connections to the state: how SQLite and PostgreSQL are opened, and what their errors mean to a person."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from trueup.errors import StateError, StateMissingError
from trueup.store.encryption import PAGE_BYTES, access_to

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.store.encryption import Access

Backend = Literal["sqlite", "postgresql"]

APPLICATION_ID = 0x74727570
"""Marks a SQLite file as a trueup state (`PRAGMA application_id`, "trup"), so that no other program's database is ever migrated."""

CACHE_KIB = 64 * 1024
BUSY_MS = 10_000
ASK_AGAIN_S = 0.02
WAL_KEEP_BYTES = 64 * 1024 * 1024
WAL_CHECKPOINT_PAGES = 8_000
POSTGRES_SCHEMA = "trueup"


def backend_of(target: str) -> Backend:
    """Which database a state's address means: a postgresql:// URL, or else a file."""
    return "postgresql" if target.startswith(("postgresql://", "postgres://", "postgresql+")) else "sqlite"


def shown(target: str) -> str:
    """The address as it may be shown: a URL without its password."""
    if backend_of(target) == "sqlite":
        return target
    try:
        return sa.make_url(target).set(query={}).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        return "the PostgreSQL address"


def sqlite_engine(path: Path, *, writer: bool, read_only: bool, access: Access | None = None) -> sa.Engine:
    """An engine on a state file. The writer begins IMMEDIATE and has one connection; readers each hold one and cannot write."""
    opened = access or access_to(path)
    mode = "ro" if read_only else "rw"
    uri = f"file:{quote(str(path))}?mode={mode}"

    def connect() -> Any:
        connection = opened.connect(uri, uri=True, check_same_thread=False, timeout=BUSY_MS / 1000)
        try:
            _prepare_sqlite(connection, writer=writer)
        except opened.driver.Error:
            connection.close()
            raise
        return connection

    engine = sa.create_engine(
        "sqlite://",
        module=opened.driver,
        creator=connect,
        poolclass=QueuePool,
        pool_size=1 if writer else 4,
        max_overflow=0 if writer else 60,
        pool_reset_on_return="rollback",
    )
    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"

    def start(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:  # one that `Store.read` began
            driver.execute(begin)

    sa.event.listen(engine, "begin", start)
    return engine


def _prepare_sqlite(connection: Any, *, writer: bool) -> None:
    """Settings that live with a connection. FULL: a commit that was reported survives a power cut."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB if writer else CACHE_KIB // 4}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}")
    if not writer:
        connection.execute("PRAGMA query_only = ON")


def wait_for_disk(connection: sa.Connection, *, wait: bool) -> None:
    """Whether the next commits of a writer wait until they are on disk. In WAL mode one that does brings there those before it."""
    info = connection.info
    if info.get("waits", True) != wait:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA synchronous = {'FULL' if wait else 'NORMAL'}")
        info["waits"] = wait


def create_sqlite(path: Path, *, create: bool, shown_as: str, access: Access | None = None) -> bool:
    """Make the file where it is missing or empty; True when it was. Raises StateError for a file that is not a state.

    The page size and WAL mode are lasting properties of the file and can be set only here.
    """
    if not path.exists():
        if not create:
            raise StateMissingError(
                f"there is no state at {shown_as} yet", hint="run `trueup sync` first, or check `state:` in the configuration"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        # It will hold the records of every system: only its owner may read it. SQLite gives its side files the same rights.
        path.touch(mode=0o600, exist_ok=True)
    elif path.is_dir():
        raise StateError(f"the state {shown_as} is a folder", hint="name a file in `state:`")
    opened = access or access_to(path)
    connection = opened.connect(str(path), timeout=BUSY_MS / 1000)
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        if found == APPLICATION_ID:
            return False
        if tables:
            raise StateError(
                f"{shown_as} is a database of another program", hint="give trueup a file of its own in `state:`; nothing was changed in it"
            )
        if not create:
            raise StateMissingError(f"{shown_as} is empty: there is no state yet", hint="run `trueup sync` first")
        if opened.key is None:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        _into_wal(connection, opened.driver)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        return True
    finally:
        connection.close()


def _into_wal(connection: Any, driver: Any) -> None:
    """Switch the file to WAL mode once no other connection writes to it.

    SQLite's own waiting does not reach here: it holds a read lock already when it asks for the write lock, and is refused at once.
    """
    until = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except driver.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(ASK_AGAIN_S)
        else:
            return


SESSION = "trueup state"


def postgres_engine(target: str, *, read_only: bool, session: str = SESSION) -> tuple[sa.Engine, str]:
    """An engine on a PostgreSQL state and the schema its tables live in (`?schema=` in the URL, else `trueup`).

    `session` is the name under which the server shows its connections.
    """
    text = target.replace("postgres://", "postgresql://", 1) if target.startswith("postgres://") else target
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StateError("the address of the state cannot be read", hint="write postgresql://user:password@host:5432/database") from error
    query = dict(url.query)
    schema = query.pop("schema", POSTGRES_SCHEMA)
    if not isinstance(schema, str) or not schema.replace("_", "").isalnum():
        raise StateError("`schema` in the address of the state must be one plain name", hint="for example ?schema=trueup")
    url = url.set(drivername="postgresql+psycopg", query=query)
    engine = sa.create_engine(
        url,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=28,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "application_name": session, "keepalives_idle": 30},
    )

    def connected(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f'SET search_path TO "{schema}"')
            if read_only:
                cursor.execute("SET default_transaction_read_only = on")
        connection.commit()

    sa.event.listen(engine, "connect", connected)
    return engine, schema


def schema_of(target: str) -> str:
    """The schema of a PostgreSQL state's address."""
    schema = sa.make_url(target).query.get("schema", POSTGRES_SCHEMA)
    return schema if isinstance(schema, str) else POSTGRES_SCHEMA


def with_schema(target: str, schema: str) -> str:
    """The same address with another schema."""
    return sa.make_url(target).update_query_dict({"schema": schema}).render_as_string(hide_password=False)


def driver_errors(engine: sa.Engine) -> tuple[type[Exception], ...]:
    """The exceptions that mean trouble in the database: SQLAlchemy's wrapper and the driver's own."""
    driver: Any = engine.dialect.loaded_dbapi
    return (sa.exc.DBAPIError, sa.exc.TimeoutError, driver.Error)


_MEANINGS: tuple[tuple[str, str, str], ...] = (
    ("database or disk is full", "the disk that holds the state {target} is full; the step was undone", "free some space and run again"),
    ("no space left on device", "the disk that holds the state {target} is full; the step was undone", "free some space and run again"),
    ("could not extend file", "the disk that holds the state {target} is full; the step was undone", "free some space and run again"),
    ("disk i/o error", "the disk that holds the state {target} cannot be written; the step was undone", "check its free space and health"),
    (
        "file is not a database",
        "{target} is not a trueup state, or it is damaged, or it is encrypted and its key file {target}.key is missing",
        "put back a backup, or the key file, or name another file in `state:`",
    ),
    ("malformed", "the state {target} is damaged", "put back a backup, or begin anew with another file in `state:`"),
    ("unable to open database file", "the state {target} cannot be opened", "check that the folder exists and that you may write to it"),
    ("readonly database", "the state {target} cannot be written", "check the rights of the file and its folder"),
    (
        "permission denied: '",
        "the state {target} cannot be opened: no right to use its folder",
        "check the rights of the file and its folder",
    ),
    ("permission denied", "the rights for the state {target} are missing", "grant the user the right to use and create in its schema"),
    ("database is locked", "the state {target} is in use by another program", "close it, or try again"),
    ("password authentication failed", "the state {target} refused the user or password", "check `state:` in the configuration"),
    ("could not translate host", "the server of the state {target} was not found", "check the host name in `state:`"),
    ("connection refused", "the server of the state {target} does not answer", "start it, or check host and port in `state:`"),
    ("not a directory", "the state {target} cannot be opened: its folder is a file", "name another place in `state:`"),
    ("file exists", "the state {target} cannot be opened: its folder is a file", "name another place in `state:`"),
    ("does not exist", "the state {target} cannot be opened: {reason}", "create the database, or check `state:`"),
)


def state_error(error: BaseException, target: str) -> StateError:
    """What a driver's error means for the state at `target` (already without a password)."""
    original = getattr(error, "orig", None) or error
    reason = " ".join(str(original).split())
    low = reason.lower()
    for needle, message, hint in _MEANINGS:
        if needle in low:
            return StateError(message.format(target=target, reason=reason), hint=hint)
    return StateError(f"the state {target} refused an operation: {reason}", hint="run again; if it repeats, report it with this text")
