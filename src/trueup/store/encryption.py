"""A state's file encrypted with SQLCipher, and the key file beside it (`STATE.key`), which holds the file's key under a master key.

The key file decides: where it holds a key, the state is opened by SQLCipher, and by the plain SQLite where it holds none, so that one
process never has two copies of SQLite on one file. While a file is converted it lists the key of before and the one to come, and no key at
all is tried as well: whichever of both files was put in place when a process was killed, one of them opens it.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from trueup.errors import MasterKeyError, StateError
from trueup.sealing import Key, new_key, seal
from trueup.sealing.master import opened_by_any
from trueup.sealing.sources import alone, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trueup.sealing import MasterKeys

PAGE_BYTES = 8192
WHAT = "the encrypted state"


@dataclass(frozen=True, slots=True)
class FileKey:
    """The key of a state's file, sealed under the master key with the id `master`."""

    id: str
    master: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Access:
    """How a state's file is opened: the driver, and the key; None for a file in the clear."""

    driver: Any
    key: Key | None

    def connect(self, place: str, **options: Any) -> Any:
        """A connection that has its key; nothing was read yet."""
        connection = self.driver.connect(place, isolation_level=None, **options)
        if self.driver is not sqlite3:
            connection.execute("PRAGMA cipher_log_level = NONE")  # a wrong key is told by us
        if self.key is not None:
            connection.execute(f'PRAGMA key = "{literal(self.key)}"')
            connection.execute(f"PRAGMA cipher_page_size = {PAGE_BYTES}")
        return connection


PLAIN = Access(sqlite3, None)


def literal(key: Key) -> str:
    """A key as SQLCipher takes it, without deriving another one from it."""
    return f"x'{key.raw.hex()}'"


def files_of(state: Path) -> tuple[Path, Path]:
    """The files of a state in a file, each of which is encrypted if the state is: itself, and its inbox."""
    return state, state.with_name(state.name + "-inbox.db")


def key_file(path: Path) -> Path:
    """Where the key of a state's file is."""
    return path.with_name(path.name + ".key")


def file_keys(path: Path) -> list[FileKey]:
    """The keys of a state's file, the newest first; empty where it is in the clear. Raises StateError for a file that is none of ours."""
    file = key_file(path)
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StateError(f"the key file {file} cannot be read: {error.strerror}", hint="check its rights") from None
    return _parsed(content, file)


def _parsed(content: bytes, file: Path) -> list[FileKey]:
    if not content.strip():
        return []
    try:
        known = orjson.loads(content)["keys"]
        return [FileKey(str(key["id"]), str(key["master"]), base64.b64decode(key["sealed"], validate=True)) for key in known]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise StateError(
            f"the key file {file} is damaged", hint="put back a copy of it; without it the encrypted state beside it cannot be opened"
        ) from None


def change_keys(path: Path, change: Callable[[list[FileKey]], list[FileKey]]) -> None:
    """Put other keys into a key file, whole or not at all, while nobody else does. Raises StateError, MasterKeyError."""
    file = key_file(path)
    with alone(file) as real:
        before = _parsed(real.read_bytes(), file)
        after = change(before)
        if after:
            keys = [{"id": key.id, "master": key.master, "sealed": base64.b64encode(key.sealed).decode()} for key in after]
            text = orjson.dumps({"trueup": "the key of the state beside this file, sealed; keep both together", "keys": keys})
            replace_file(real, text.decode() + "\n")
        else:
            real.unlink()


def sealed_key(key: Key, masters: MasterKeys) -> FileKey:
    """A key sealed under the current master key. Raises MasterKeyError."""
    master = masters.current()
    return FileKey(key.id, master.id, seal(master, key.raw, _bound(key.id)))


def rewrap(path: Path, masters: MasterKeys) -> int:
    """Seal the keys of a state's file under the current master key; returns how many were not.

    Raises MasterKeyError: nothing is changed then.
    """
    if not file_keys(path):
        return 0
    masters.look_again()
    current = masters.current().id
    moved = 0

    def change(keys: list[FileKey]) -> list[FileKey]:
        nonlocal moved
        moved = sum(key.master != current for key in keys)
        return [
            key if key.master == current else sealed_key(masters.open(key.sealed, key.master, _bound(key.id), WHAT), masters)
            for key in keys
        ]

    change_keys(path, change)
    return moved


def check_keys(path: Path, masters: MasterKeys) -> None:
    """Raises MasterKeyError where a key of a state's file does not open."""
    for key in file_keys(path):
        masters.open(key.sealed, key.master, _bound(key.id), WHAT)


def _bound(key_id: str) -> str:
    return f"state key\x00{key_id}"


def access_to(path: Path) -> Access:
    """How the state at `path` is opened.

    The file itself is tried, for a conversion may have been interrupted; where it is not there yet, it is made with the newest key.
    Raises StateError and MasterKeyError: no SQLCipher, no master key, a wrong one, another's key file.
    """
    known = file_keys(path)
    if not known:
        return PLAIN
    driver = sqlcipher()
    keys: list[Key] = []
    refused: MasterKeyError | None = None
    for sealed in known:
        try:
            keys.append(opened_by_any(sealed.sealed, sealed.master, _bound(sealed.id), WHAT))
        except MasterKeyError as error:
            refused = refused or error
    fresh = not path.exists() or path.stat().st_size == 0
    if fresh and keys:
        return Access(driver, keys[0])
    for key in (*keys, None):
        access = Access(driver, key)
        if not fresh and _opens(path, access):
            return access
    if refused is not None:
        raise refused
    raise StateError(
        f"the state {path} is encrypted under another key than the one in {key_file(path)}, or damaged",
        hint="put back the state and its key file together, from one backup",
    )


def _opens(path: Path, access: Access) -> bool:
    try:
        connection = access.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)
    except access.driver.OperationalError:
        return True  # not to be opened at all: that is told where it is opened
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except access.driver.DatabaseError as error:
        return bool(error.sqlite_errorcode != sqlite3.SQLITE_NOTADB)
    finally:
        connection.close()
    return True


def is_encrypted(path: Path) -> bool:
    """Whether the state at `path` is encrypted now. Raises as `access_to`."""
    return access_to(path).key is not None


def like(path: Path, other: Path) -> None:
    """Let a state that is going to be made at `other` be encrypted under the keys of the one at `path`, if that one is."""
    known = file_keys(path)
    if known:
        change_keys(other, lambda _before: known)


def forget_keys(path: Path) -> None:
    """Remove the key file of a state that is no more."""
    key_file(path).unlink(missing_ok=True)


def sqlcipher() -> Any:
    """The driver. Raises StateError where it is not installed."""
    try:
        from sqlcipher3 import dbapi2
    except ImportError:
        raise StateError("an encrypted state needs SQLCipher, which is not installed here", hint="install trueup[encrypted]") from None
    return dbapi2


def fresh_key(path: Path, masters: MasterKeys) -> Key:
    """Add a new key for the state's file, before those that are there. Raises MasterKeyError, and StateError without SQLCipher."""
    sqlcipher()
    key = new_key()
    sealed = sealed_key(key, masters)
    change_keys(path, lambda before: [sealed, *before])
    return key


def keep_only(path: Path, key: Key | None) -> None:
    """Forget every key of the state's file but this one; None: all of them, and the key file."""
    change_keys(path, lambda before: [known for known in before if key is not None and known.id == key.id])
