"""A state's file encrypted, decrypted, or put under another key: a new file is made beside it, compared row by row, and put in its place.

A process that is killed leaves the old file or the new one, and a key file that opens either (`encryption`); it is simply run again.
"""

from __future__ import annotations

import os
import secrets
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueup.errors import StateError, StateMissingError
from trueup.sealing.sources import sync_folder
from trueup.store import encryption, engine, in_use, locks
from trueup.store.encryption import PAGE_BYTES, Access

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.sealing import MasterKeys

ENDING = ".converting"
ROWS = 2_000


def encrypt(target: str, masters: MasterKeys, now: datetime) -> None:
    """Encrypt a state's file under a new key; one that is encrypted already is put under another. A missing one is made, empty.

    Raises StateError: not a file, in use, no room (it is as it was then); MasterKeyError.
    """
    path = _path(target)
    masters.current()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        encryption.keep_only(path, encryption.fresh_key(path, masters))
        from trueup.store.database import Store

        Store.open(target).close()
        return
    _convert(path, "keys encrypt", now, masters)


def decrypt(target: str, now: datetime) -> bool:
    """Put a state's file into the clear; False where it was. Raises as `encrypt`."""
    path = _path(target)
    if not path.exists():
        raise StateMissingError(f"there is no state at {target} yet", hint="run `trueup sync` first")
    if not encryption.file_keys(path):
        return False
    _convert(path, "keys decrypt", now, None)
    return True


def _path(target: str) -> Path:
    if engine.backend_of(target) != "sqlite":
        raise StateError(
            f"the state {engine.shown(target)} is in PostgreSQL, whose disks its administrator encrypts",
            hint="only a state in a file is encrypted by trueup",
        )
    return Path(target).expanduser()


def _convert(path: Path, purpose: str, now: datetime, masters: MasterKeys | None) -> None:
    use = in_use.InUse(path)
    with locks.FileLock(path).held(purpose, 0.0, now):
        use.alone()
        try:
            for file in encryption.files_of(path):
                if file.exists():
                    _exchange(file, masters)
        finally:
            use.end()


def _exchange(path: Path, masters: MasterKeys | None) -> None:
    """Make the new file, and put it in place of the old one; nobody else has that open."""
    for stale in path.parent.glob(f".{path.name}.*{ENDING}*"):
        stale.unlink()
    before = encryption.access_to(path)
    if before.key is None and masters is None:  # decrypted, and killed before its key file was removed; or in the clear already
        encryption.keep_only(path, None)
        return
    key = encryption.fresh_key(path, masters) if masters is not None else None
    old = before if before.driver is not encryption.PLAIN.driver else Access(encryption.sqlcipher(), None)
    new = Access(old.driver, key)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}{ENDING}")
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
        _copy(path, old, fresh, new)
        _compare(path, old, fresh, new)
        _settled(path)
        fresh.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        if isinstance(error, (OSError, old.driver.Error)):
            raise engine.state_error(error, str(path)) from error
        raise
    encryption.keep_only(path, key)


def _copy(path: Path, old: Access, fresh: Path, new: Access) -> None:
    with closing(old.connect(str(path), timeout=1)) as connection:
        # No other program may have the file open, and its log must be in it when it goes.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        key = encryption.literal(new.key) if new.key is not None else ""
        connection.execute(f'ATTACH DATABASE ? AS fresh KEY "{key}"', (str(fresh),))
        size = "cipher_page_size" if new.key is not None else "page_size"
        connection.execute(f"PRAGMA fresh.{size} = {PAGE_BYTES}")
        connection.execute("SELECT sqlcipher_export('fresh')").fetchall()
        for name in ("application_id", "user_version"):  # which sqlcipher_export leaves out
            connection.execute(f"PRAGMA fresh.{name} = {_pragma(connection, name)[0][0]}")
        connection.execute("DETACH DATABASE fresh")
    with closing(new.connect(str(fresh))) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    handle = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _compare(path: Path, old: Access, fresh: Path, new: Access) -> None:
    """Raise StateError where the new file is not what the old one is, to the last row."""
    with closing(old.connect(str(path))) as one, closing(new.connect(str(fresh))) as other:
        described = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name, type"
        same = one.execute(described).fetchall() == other.execute(described).fetchall()
        same = same and [row[0] for row in other.execute("PRAGMA integrity_check")] == ["ok"]
        same = same and all(_pragma(one, name) == _pragma(other, name) for name in ("application_id", "user_version"))
        tables = [row[0] for row in one.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if not same or not all(_same_rows(one, other, table) for table in tables):
            raise StateError(f"the copy of the state {path} is not what it was made from", hint="nothing was changed; check the disk")


def _pragma(connection: Any, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchall()


def _same_rows(one: Any, other: Any, table: str) -> bool:
    quoted = '"' + table.replace('"', '""') + '"'
    rows, copies = (connection.execute(f"SELECT * FROM {quoted} NOT INDEXED") for connection in (one, other))
    while True:
        some, same = rows.fetchmany(ROWS), copies.fetchmany(ROWS)
        if some != same:
            return False
        if not some:
            return True


def _settled(path: Path) -> None:
    """Raise StateError where the old file's log is not in it: another program keeps the file open."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StateError(f"another program has the state {path} open", hint="close it, and run again; nothing was changed")
