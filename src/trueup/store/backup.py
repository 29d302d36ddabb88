"""A copy of the state in one portable file, taken from one snapshot while others write, and a state made from such a file.

The file is a zip archive: the rows of every table in pieces (Arrow, compressed), and `manifest.json`, which is written last. It means the
same whichever database the state lies in, so a state may come back in another one. What is being written to a system when the copy is
taken (`sending`) is not in it: nobody will wait for its outcome any more.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zipfile
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import sqlalchemy as sa

from trueup.errors import StateError
from trueup.sealing import NotOpenedError, new_key, seal, unseal
from trueup.store import bulk, identity, schema
from trueup.store.db import dtype_of, no_gc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from trueup.sealing import Key, MasterKeys
    from trueup.store.db import Db

FORMAT = 1
MANIFEST = "manifest.json"
SEALED_MANIFEST = "manifest.sealed"
"""Of a sealed backup: the manifest once more, so that no piece can be taken out of it or exchanged."""
PIECE_ROWS = 200_000
LEFT_OUT = frozenset({"sending", "lock_holder"})
"""Tables that mean something only to the process that wrote them."""


@dataclass(frozen=True, slots=True)
class TableCopy:
    """One table: how many rows, in how many pieces, and the SHA-256 of these in order."""

    rows: int
    pieces: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself. `version` is the newest golden version in it, `line` see `identity`.

    `sealed`: the master key's id (`master`), and the data key that its pieces are sealed under, itself sealed (`key`, base64); None where
    they are not. `key` is that data key, opened.
    """

    format: int
    program: str
    revision: str
    installation: str | None
    line: str | None
    taken_at: str
    version: int
    tables: Mapping[str, TableCopy] = field(default_factory=dict)
    sealed: Mapping[str, str] | None = None
    key: Key | None = field(default=None, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())


def write(db: Db, path: Path, *, program: str, at: datetime, masters: MasterKeys | None = None) -> Manifest:
    """Copy everything that this snapshot shows into a new file, whole or not at all, sealed under the first of the `masters`.

    Raises StateError where it cannot be written, MasterKeyError.
    """
    key, sealed = _data_key(masters, at)
    part = path.with_name(path.name + ".part")
    _folder(path.parent)
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds what the systems hold
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                manifest = _write(db, archive, program, at, (key, sealed))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except FileExistsError as error:
        raise StateError(
            f"{part} is there already: another backup is at work, or one was interrupted", hint="remove it if none is"
        ) from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StateError(f"the backup {path} cannot be written: {error.strerror}", hint="make room, or name another place") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return manifest


def _folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"the backup cannot be written: {folder}: {error.strerror}", hint="name another place") from error


def _data_key(masters: MasterKeys | None, at: datetime) -> tuple[Key | None, Mapping[str, str] | None]:
    """A new key for one backup, and how it is kept in it."""
    if masters is None:
        return None, None
    key, master = new_key(), masters.current()
    sealed = seal(master, key.raw, _bound("key", at.isoformat()))
    return key, {"master": master.id, "key": base64.b64encode(sealed).decode()}


def _bound(what: str, taken_at: str) -> str:
    return f"backup {what} of {taken_at}"


def _write(db: Db, archive: zipfile.ZipFile, program: str, at: datetime, sealing: tuple[Key | None, Mapping[str, str] | None]) -> Manifest:
    key, sealed = sealing
    tables: dict[str, TableCopy] = {}
    for table in schema.metadata.sorted_tables:
        if table.name in LEFT_OUT:
            continue
        digest, rows, pieces = hashlib.sha256(), 0, 0
        for frame in read_table(db, table):
            buffer = io.BytesIO()
            frame.write_ipc(buffer, compression="zstd")
            content, name = buffer.getvalue(), _name(table.name, pieces)
            content = content if key is None else seal(key, content, _bound(name, at.isoformat()))
            digest.update(content)
            archive.writestr(name, content)
            rows, pieces = rows + frame.height, pieces + 1
        tables[str(table.name)] = TableCopy(rows, pieces, digest.hexdigest())
    installation, line = identity.of(db)
    version = db.execute(sa.select(sa.func.coalesce(sa.func.max(schema.golden.c.version), 0))).scalar_one()
    manifest = Manifest(FORMAT, program, schema.REVISION, installation, line, at.isoformat(), int(version), tables, sealed, key)
    body = asdict(manifest)
    del body["key"]
    text = orjson.dumps(body, option=orjson.OPT_INDENT_2)
    archive.writestr(MANIFEST, text)
    if key is not None:
        archive.writestr(SEALED_MANIFEST, seal(key, text, _bound(MANIFEST, manifest.taken_at)))
    return manifest


def _name(table: str, piece: int) -> str:
    return f"{table}/{piece:05}.arrow"


def read_table(db: Db, table: sa.Table, rows: int = PIECE_ROWS) -> Iterator[pl.DataFrame]:
    """All rows of a table as it stores them, piece by piece; they are never all in memory."""
    kinds = {column.name: dtype_of(column.type) for column in table.columns}
    whole = {name: pl.Int64() if kind == pl.Boolean and db.backend == "sqlite" else kind for name, kind in kinds.items()}
    columns = ", ".join(f'"{name}"' for name in kinds)
    statement = f"SELECT {columns} FROM {table.name}"
    driver: Any = db.connection.connection.driver_connection
    with closing(driver.cursor() if db.backend == "sqlite" else driver.cursor(name="trueup_copy")) as cursor:
        cursor.execute(statement)
        while True:
            with no_gc():
                found = cursor.fetchmany(rows)
                if not found:
                    return
                frame = pl.DataFrame(found, schema=whole, orient="row", strict=True)
            yield frame.cast(dict(kinds))  # type: ignore[arg-type]


# ---------------------------------------------------------------- reading


def read_manifest(path: Path, masters: MasterKeys) -> Manifest:
    """What a backup says about itself; a sealed one is opened.

    Raises StateError for a file that is none, was cut short, or is of a later version, MasterKeyError where it cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(MANIFEST)
            body = orjson.loads(text)
            again = archive.read(SEALED_MANIFEST) if body.get("sealed") else b""
        if body["format"] != FORMAT:
            raise StateError(
                f"the backup {path} was made by a newer trueup ({body.get('program')})", hint="install that version; nothing was changed"
            )
        tables = {name: TableCopy(**copy) for name, copy in body.pop("tables").items()}
        manifest = Manifest(**body, tables=tables)
        if manifest.sealed is None:
            return manifest
        kept = base64.b64decode(manifest.sealed["key"])
        key = masters.open(kept, manifest.sealed["master"], _bound("key", manifest.taken_at), f"the backup {path}")
        if unseal(key, again, _bound(MANIFEST, manifest.taken_at)) != text:
            raise _damaged(path, "of contents")
        return replace(manifest, key=key)
    except NotOpenedError as error:
        raise _damaged(path, "of contents") from error
    except OSError as error:
        raise StateError(f"the backup {path} cannot be read: {error.strerror}", hint="check its name and rights") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise StateError(
            f"{path} is no whole backup: it was cut short, or is another kind of file", hint="take another backup; nothing was changed"
        ) from error


def pieces(path: Path, manifest: Manifest, table: str) -> Iterator[pl.DataFrame]:
    """The rows of one table. Raises StateError, after the last piece at the latest, where they are not what was written."""
    digest, rows = hashlib.sha256(), 0
    told = manifest.tables[table]
    try:
        with zipfile.ZipFile(path) as archive:
            for number in range(told.pieces):
                content = archive.read(_name(table, number))
                digest.update(content)
                if manifest.key is not None:
                    content = unseal(manifest.key, content, _bound(_name(table, number), manifest.taken_at))
                frame = pl.read_ipc(io.BytesIO(content))
                rows += frame.height
                yield frame
    except (zipfile.BadZipFile, KeyError, OSError, pl.exceptions.PolarsError, ValueError, NotOpenedError) as error:
        raise _damaged(path, table) from error
    if digest.hexdigest() != told.sha256 or rows != told.rows:
        raise _damaged(path, table)


def _damaged(path: Path, table: str) -> StateError:
    return StateError(f"the backup {path} is damaged: its table {table} is not what was written", hint="take another backup")


# ---------------------------------------------------------------- putting back


def fill(tx: Db, path: Path, manifest: Manifest) -> None:
    """Put the rows of a backup into the tables, which are at its revision, and compare them. Raises StateError."""
    for name in manifest.tables:
        if not name.isidentifier() or not sa.inspect(tx.connection).has_table(name):
            raise _damaged(path, name)
        table = sa.Table(name, sa.MetaData(), autoload_with=tx.connection)
        tx.execute(table.delete())
        told, columns = 0, list(table.c.keys())
        for frame in pieces(path, manifest, name):
            if not set(frame.columns) <= set(columns):
                raise _damaged(path, name)
            bulk.insert(tx, table, frame)
            told = (told + _sum(frame.select(sorted(frame.columns)))) % (1 << 64)
        if told != _sum_of(tx, table, manifest.tables[name].rows):
            raise StateError(f"the table {name} reads otherwise than the backup {path} says", hint="check the disk; nothing was changed")
        _number_on(tx, name, columns)


def _sum_of(tx: Db, table: sa.Table, rows: int) -> int:
    """The sum over all rows of a table; -1 where there are not so many."""
    total = count = 0
    for frame in read_table(tx, table):
        total, count = (total + _sum(frame.select(sorted(frame.columns)))) % (1 << 64), count + frame.height
    return total if count == rows else -1


def _sum(frame: pl.DataFrame) -> int:
    """A sum over rows in which their order does not matter: databases sort texts in their own ways."""
    return int(frame.hash_rows(seed=1).sum())


def _number_on(tx: Db, table: str, columns: list[str]) -> None:
    """Let PostgreSQL number new rows behind those that were put back; SQLite does so by itself."""
    if tx.backend != "postgresql" or "id" not in columns:
        return
    sequence = tx.connection.exec_driver_sql(f"SELECT pg_get_serial_sequence('{table}', 'id')").scalar_one()
    if sequence is not None:
        tx.connection.exec_driver_sql(f"SELECT setval('{sequence}', (SELECT coalesce(max(id), 0) + 1 FROM {table}), false)")
