"""A state made anew from a backup, beside the one that is there, and put in its place in one step. That one is kept aside."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from trueup.core.facts import MISSING, PRESENT, WITHDRAWN
from trueup.core.match import TO_BE_DELETED
from trueup.errors import StateError, StateMissingError
from trueup.store import (
    audit,
    backup,
    bulk,
    encryption,
    engine,
    identity,
    in_use,
    locks,
    meta,
    migrate,
    restored,
    schema,
    schema_people,
    viewlist,
)
from trueup.store.database import Store
from trueup.store.db import Db, Names
from trueup.store.golden import skip_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from trueup.store.backup import Manifest

LACKING = object()


def check_known(manifest: Manifest, path: Path) -> None:
    """Raise StateError for a backup of tables that this version does not know."""
    if manifest.revision not in migrate.known_revisions():
        raise StateError(
            f"the backup {path} was made by trueup {manifest.program}, whose state this version does not know"
            f" (its tables are at {manifest.revision}, this one knows {schema.REVISION})",
            hint="install that version or a newer one; nothing was changed",
        )


def build(path: Path, manifest: Manifest, target: str, change: Callable[[Db], None]) -> None:
    """Make a state at `target`, where nothing is, from a backup: rows compared, tables brought up to date, then `change`d.

    Raises StateError; what was begun is then removed.
    """
    backend = engine.backend_of(target)
    if backend == "sqlite":
        place = Path(target)
        writer = engine.sqlite_engine(place, writer=True, read_only=False)
    else:
        writer, name = engine.postgres_engine(target, read_only=False)
    try:
        if backend == "sqlite":
            engine.create_sqlite(place, create=True, shown_as=target)
        else:
            _schema(writer, name, f'CREATE SCHEMA "{name}"')
        with writer.connect() as connection, connection.begin():
            migrate.upgrade(connection, to=manifest.revision)
        with writer.connect() as connection, connection.begin():
            backup.fill(Db(connection, Names(), backend, writable=True), path, manifest)
        with writer.connect() as connection, connection.begin():
            viewlist.keep(connection, {})  # they were not copied; the next run makes them
            migrate.upgrade(connection)
            change(Db(connection, Names(), backend, writable=True))
        if backend == "postgresql":
            with writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("ANALYZE")
    except BaseException as error:
        writer.dispose()
        remove(target)
        if isinstance(error, (OSError, *engine.driver_errors(writer))):
            raise engine.state_error(error, engine.shown(target)) from error
        raise
    writer.dispose()


def remove(target: str) -> None:
    """Remove a state that was made for a moment only."""
    if engine.backend_of(target) == "sqlite":
        for ending in ("", "-wal", "-shm", "-journal", ".lock", ".key"):
            Path(target + ending).unlink(missing_ok=True)
        return
    pool, name = engine.postgres_engine(target, read_only=False)
    try:
        _schema(pool, name, f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    finally:
        pool.dispose()


def _schema(pool: sa.Engine, _name: str, statement: str) -> None:
    with pool.begin() as connection:
        connection.exec_driver_sql(statement)


SECRETS = (schema.secret, schema.data_key, schema.credential)
ACCESS = (schema_people.person, schema_people.api_key, schema_people.session, schema_people.invitation)


def carry(tx: Db, now: Store | None, *, trail: bool = False) -> None:
    """Take what is of this place over from the state that is replaced: secrets, who is let in, and its audit trail.

    None: it cannot be read, and what is there stays; so it does where that state has none, as one that was begun after a loss.
    """
    if now is None:
        return
    with now.read() as db:
        for tables in (SECRETS, ACCESS, *([(schema.audit,)] if trail else [])):
            if any(db.execute(sa.select(sa.literal_column("1")).select_from(table).limit(1)).first() for table in tables):
                for table in tables:
                    tx.execute(table.delete())
                    for frame in backup.read_table(db, table):
                        bulk.insert(tx, table, frame)
        if trail:
            meta.set_(tx, audit.CONFIGURATION, meta.get(db, audit.CONFIGURATION))


def as_restored(
    manifest: Manifest,
    moved: dict[str, list[tuple[int, str]]] | None,
    at: datetime,
    now: Store | None,
    *,
    replaced: str | None = None,
) -> Callable[[Db], None]:
    """What is changed in a state that comes back: what it was just about to do is void, and everything is read anew.

    Approvals of the past hold for the past only. A row that was still to be deleted is left to a person. The audit trail is that of the
    backup, and goes on with a line about it, which names the head of the one that was `replaced`; secrets and who is let in are those of
    the state that is there `now`, where it can be read. Who was logged in when the backup was taken is not for that.
    """

    def change(tx: Db) -> None:
        for table in (schema_people.session, schema_people.invitation):
            tx.execute(table.delete())
        carry(tx, now)
        for table in (schema.hold, schema.activity, schema.sending):
            tx.execute(table.delete())
        tx.execute(schema.cursor.update().values(cursor=None, mark=None, full_at=None))
        shadow, golden, parked = schema.shadow, schema.golden, schema.parked
        dead = sa.select(golden.c.id).where(golden.c.deleted_at.is_not(None))
        doomed = sa.and_(shadow.c.golden_id.in_(dead), shadow.c.state == PRESENT)
        known = {tuple(row) for row in tx.execute(sa.select(parked.c.entity, parked.c.system, parked.c.key)).all()}
        for row in tx.execute(sa.select(shadow.c.entity, shadow.c.system, shadow.c.key).where(doomed)).all():
            if tuple(row) not in known:
                values = {"entity": row.entity, "system": row.system, "key": row.key}
                tx.execute(parked.insert().values(**values, candidates="[]", why=TO_BE_DELETED, since=at))
        tx.execute(shadow.delete().where(doomed))
        # A row that was to be taken out although its record lives: it is linked again where it is still there, and not made again else.
        tx.execute(shadow.update().where(shadow.c.state == WITHDRAWN).values(state=MISSING))
        identity.ensure(tx)
        identity.begin_line(tx)
        skip_versions(tx)
        restored.put(tx, restored.Restored(manifest.taken_at, at.isoformat(), moved))
        meta.set_(tx, "shapes of views", None)
        audit.tell(tx, "decision", {"about": "restore", "taken_at": manifest.taken_at, "replaced": replaced}, at=at)
        audit.write(tx, "a state that is being restored")

    return change


# ---------------------------------------------------------------- the state that is there


@contextmanager
def held(target: str, purpose: str, now: datetime) -> Iterator[None]:
    """Hold the state that is at `target`, readable or not, while a block runs. Raises StateLockedError."""
    if engine.backend_of(target) == "sqlite":
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        with locks.FileLock(path).held(purpose, 0.0, now):
            yield
        return
    pool, name = engine.postgres_engine(target, read_only=False)
    try:
        with pool.connect() as connection:
            there = sa.inspect(connection).has_table(schema.lock_holder.name, schema=name)
        if not there:
            yield
            return
        with locks.AdvisoryLock(pool, name).held(purpose, 0.0, now):
            yield
    except engine.driver_errors(pool) as error:
        raise engine.state_error(error, engine.shown(target)) from error
    finally:
        pool.dispose()


@contextmanager
def readable(target: str) -> Iterator[Store | None]:
    """The state that is there, for reading; None where there is none, or it cannot be read."""
    try:
        store = Store.open(target, read_only=True)
    except StateError:
        yield None
        return
    with store:
        yield store


def exists(target: str) -> bool:
    """Whether there is anything at `target`, readable or not."""
    if engine.backend_of(target) == "sqlite":
        return Path(target).exists() and Path(target).stat().st_size > 0
    try:
        Store.open(target, read_only=True).close()
    except StateMissingError:
        return False
    except StateError:
        return True
    return True


def holds_anything(db: Db) -> bool:
    """Whether a state knows any record or row."""
    tables = (schema.golden, schema.shadow)
    return any(db.execute(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table)))).scalar_one() for table in tables)


def moved_since(store: Store, path: Path, manifest: Manifest) -> dict[str, list[tuple[int, str]]] | None:
    """The values (record, field) that this state, a later one of the same line, agreed otherwise on than the backup; None: not known."""
    try:
        with store.read() as db:
            if (manifest.installation, manifest.line) != identity.of(db) or manifest.installation is None:
                return None
            golden = schema.golden
            later = db.execute(sa.select(golden.c.id, golden.c.entity, golden.c.data).where(golden.c.version > manifest.version)).all()
            names = {row.id: row.name for row in db.execute(sa.select(schema.entity_name)).all()}
    except StateError:
        return None
    now = {row.id: (names[row.entity], row.data) for row in later}
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names.values()}
    for frame in backup.pieces(path, manifest, golden.name):
        for gid, text in frame.select("id", "data").rows():
            if gid in now:
                entity, after = now[gid]
                before, then = orjson.loads(text or "{}"), orjson.loads(after or "{}")
                found[entity] += [
                    (gid, name) for name in sorted(before.keys() | then.keys()) if before.get(name, LACKING) != then.get(name, LACKING)
                ]
    return found


def put_in_place(new: str, target: str, at: datetime) -> str | None:
    """Let the state made at `new` be the one at `target`; says where the one that was there is now, None where there was none."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    if engine.backend_of(target) == "sqlite":
        use = in_use.InUse(Path(target))
        use.alone()  # the log of the file that is replaced must not be taken for that of the new one
        try:
            return _files_in_place(Path(new), Path(target), stamp)
        finally:
            use.end()
    pool, name = engine.postgres_engine(target, read_only=False)
    other, fresh = engine.postgres_engine(new, read_only=False)
    other.dispose()
    aside = f"{name}_replaced_{stamp.lower()}"[:63]
    try:
        with pool.begin() as connection:
            there = name in sa.inspect(connection).get_schema_names()
            if there:
                connection.exec_driver_sql(f'ALTER SCHEMA "{name}" RENAME TO "{aside}"')
            connection.exec_driver_sql(f'ALTER SCHEMA "{fresh}" RENAME TO "{name}"')
    except engine.driver_errors(pool) as error:
        raise engine.state_error(error, engine.shown(target)) from error
    finally:
        pool.dispose()
    return f"the schema {aside}" if there else None


def _files_in_place(new: Path, target: Path, stamp: str) -> str | None:
    """Files: the old one gets a second name, and is then replaced in one step. Its log goes along where it could not be written back."""
    _settled(new)
    Path(f"{new}.lock").unlink(missing_ok=True)
    if not target.exists():
        new.replace(target)
        encryption.forget_keys(new)
        _synced(target.parent)
        return None
    aside = target.with_name(f"{target.name}.replaced-{stamp}")
    with suppress(StateError):  # a damaged one is kept as it is
        _settled(target)
    for ending in ("-wal", "-shm"):
        log = target.with_name(target.name + ending)
        if log.exists():
            log.replace(aside.with_name(aside.name + ending))
    aside.unlink(missing_ok=True)
    encryption.like(target, aside)
    try:
        os.link(target, aside)
    except OSError:  # a file system without second names: for a moment there is no state, and `restore` can be said again
        target.replace(aside)
    new.replace(target)
    encryption.forget_keys(new)  # those of the target are the same
    _synced(target.parent)
    return str(aside)


def encrypted_like(target: str, new: str) -> None:
    """Let the state that is to be made at `new` be encrypted if the one at `target` is, or was."""
    if engine.backend_of(target) == "sqlite":
        encryption.like(Path(target), Path(new))


def _settled(path: Path) -> None:
    """Write the log of a state file back into it. Raises StateError where another process has it open, or it is damaged."""
    writer = engine.sqlite_engine(path, writer=True, read_only=False)
    try:
        with writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except engine.driver_errors(writer) as error:
        raise engine.state_error(error, str(path)) from error
    finally:
        writer.dispose()


def _synced(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
