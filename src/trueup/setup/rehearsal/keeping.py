"""What may be kept of a rehearsal: the masked copies as they were at its end, and its state. No real value is in either."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import orjson

from trueup.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.connectors.memory import MemoryTable
    from trueup.setup.rehearsal.copies import Copies

STATE = "state.db"


def check_place(place: Path) -> None:
    """Whether a folder can be made there. Raises UsageError: what is there stays there."""
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} is there already", hint="name a folder that is not there yet, or an empty one")
    parent = place if place.exists() else place.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(f"nothing can be kept in {place}: the folder cannot be made", hint="name one in a folder that you may write to")


def keep(place: Path, folder: Path, copies: Copies) -> None:
    """Write a SQLite file for each system, a table for each object, and the state beside them; for this user alone."""
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        place.chmod(0o700)
        for name, world in copies.worlds.items():
            path = place / f"{_file_name(name)}.db"
            path.touch(mode=0o600)
            with closing(sqlite3.connect(path)) as connection, connection:
                for table in world.tables.values():
                    _write(connection, table)
        shutil.copyfile(folder / STATE, place / STATE)
        (place / STATE).chmod(0o600)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"the copies cannot be kept in {place}: {reason}", hint="make room, or name another folder") from error


def _file_name(system: str) -> str:
    return re.sub(r"[^\w.-]", "_", system).lstrip(".") or "_"


def _write(connection: sqlite3.Connection, table: MemoryTable) -> None:
    names = list(table.columns)
    quoted = [_quoted(name) for name in names]
    connection.execute(f"CREATE TABLE {_quoted(table.name)} ({', '.join(quoted)})")
    rows = [[_plain(row.values.get(name)) for name in names] for row in (*table.rows.values(), *table.stray)]
    connection.executemany(f"INSERT INTO {_quoted(table.name)} VALUES ({', '.join('?' for _ in names)})", rows)  # noqa: S608 - names are quoted, values bound


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return orjson.dumps(value).decode()
    return value.isoformat() if isinstance(value, date | datetime) else value
