"""Floors: the least that any tool must do. One COPY into a table with a primary key; one plain read of each system into columns."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as postgres
import adbc_driver_sqlite.dbapi as sqlite
import nanoarrow
import polars as pl
import psycopg

from benchmarks.tables import COLUMNS, POSTGRES

if TYPE_CHECKING:
    from pathlib import Path


def copy_into_keyed_table(url: str, data: Path) -> None:
    """Psql's COPY of a file into an empty table with a primary key."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS copied")
        db.execute(POSTGRES.format(name="copied"))
    psql = shutil.which("psql")
    if psql is None:
        raise RuntimeError("psql is needed for the floor: apt-get install postgresql-client")
    subprocess.run([psql, url, "-q", "-c", f"\\copy copied from '{data}'"], check=True)


def export(url: str, data: Path) -> None:
    """Write the source table into a file for `copy_into_keyed_table`."""
    with psycopg.connect(url) as db, data.open("wb") as file, db.cursor().copy("COPY contact TO STDOUT") as out:
        for block in out:
            file.write(block)


def read_postgres(url: str) -> None:
    """One plain read of the table into columns."""
    with postgres.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS.replace('credit', 'credit::text')} FROM contact")
        _frames(cursor)


def read_sqlite(path: Path) -> None:
    """One plain read of the table into columns."""
    with sqlite.connect(str(path)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM contact")
        _frames(cursor)


def _frames(cursor: object) -> int:
    stream = nanoarrow.ArrayStream(cursor.fetch_arrow())  # type: ignore[attr-defined]
    return sum(pl.DataFrame(array).height for array in stream)
