"""A copy of a SQLite state as it was, made before its tables are brought up to date: the way back to the older version."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueup.errors import StateError
from trueup.store import encryption

if TYPE_CHECKING:
    import sqlalchemy as sa

KEPT = 3
"""So many copies stay; the oldest go."""
_WORD = ".before-"


def copy_sqlite(reader: sa.Engine, path: Path) -> None:
    """A consistent copy of the state that `reader` is connected to, whoever writes to it; of an encrypted one, with its key file.

    Raises the driver's errors, and OSError.
    """
    state = _file(reader)
    assert state is not None
    access = encryption.access_to(state)
    if access.key is not None:
        encryption.like(state, path)
    with reader.connect() as connection, closing(access.connect(str(path))) as copy:
        source: Any = connection.connection.driver_connection
        source.backup(copy)


def keep_copy(reader: sa.Engine, found: str, wanted: str) -> Path | None:
    """Keep the state as it is at revision `found` beside itself; None where it is no file.

    To be called while nobody else can write to it. Raises StateError where there is no room: the tables are better left alone then.
    """
    state = _file(reader)
    if state is None:
        return None
    place = state.with_name(f"{state.name}{_WORD}{wanted}")
    part = place.with_name(place.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        copy_sqlite(reader, part)
        _synced(part)
        encryption.like(state, place)
        part.replace(place)
        encryption.forget_keys(part)
        _synced(place.parent)
    except (OSError, reader.dialect.loaded_dbapi.Error) as error:
        with suppress(OSError):
            part.unlink()
            encryption.forget_keys(part)
        raise StateError(
            f"the state {state} is an older one ({found}, now {wanted}), and could not be copied before it is changed: {error}",
            hint=f"make room for a copy of {state.stat().st_size // 1024**2 + 1:,} MiB beside it; nothing was changed",
        ) from error
    for old in sorted(copies(state), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        with suppress(OSError):
            old.unlink()
            encryption.forget_keys(old)
    return place


def copies(state: Path) -> list[Path]:
    """The copies beside a state that earlier upgrades left."""
    return [path for path in state.parent.glob(f"{state.name}{_WORD}*") if path.suffix not in {".part", ".key"}]


def _file(reader: sa.Engine) -> Path | None:
    if reader.dialect.name != "sqlite":
        return None
    with reader.connect() as connection:
        rows = connection.exec_driver_sql("PRAGMA database_list").all()
    return next((Path(str(row[2])) for row in rows if row[1] == "main" and row[2]), None)


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
