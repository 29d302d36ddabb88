"""The generated table: `rows` contacts of twelve columns, the same in every system."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pathlib import Path

POSTGRES = """CREATE TABLE {name} (id integer PRIMARY KEY, email text, name text, phone text, city text, country text, credit numeric(12,2),
    points integer, active boolean, born date, updated timestamptz, note text)"""
POSTGRES_ROWS = """INSERT INTO {name}
    SELECT i, 'user' || i || '@example.org', 'Name ' || i || ' Surname', '+4477' || lpad(i::text, 8, '0'), 'City' || (i % 1000), 'GB',
           (i % 10000) + (i % 100) / 100.0, i % 500, i % 2 = 0, date '1950-01-01' + (i % 20000),
           timestamptz '2026-01-01 00:00:00Z' + i * interval '1 second', 'note text number ' || i
    FROM generate_series({first}, {last}) AS i"""
SQLITE = """CREATE TABLE contact (id INTEGER PRIMARY KEY, email TEXT, name TEXT, phone TEXT, city TEXT, country TEXT, credit DECIMAL TEXT,
    points INTEGER, active BOOLEAN, born DATE, updated TIMESTAMP, note TEXT)"""
SQLITE_ROWS = """WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) INSERT INTO contact
    SELECT i, 'user' || i || '@example.org', 'Name ' || i || ' Surname', printf('+4477%08d', i), 'City' || (i % 1000), 'GB',
           printf('%d.%02d', i % 10000 + (i % 100) / 100, i % 100), i % 500, i % 2 = 0,
           date('1950-01-01', '+' || (i % 20000) || ' days'), strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + i, 'unixepoch'),
           'note text number ' || i FROM n"""
COLUMNS = "id, email, name, phone, city, country, credit, points, active, born, updated, note"
FIELDS = {
    "number": "integer",
    "email": "text",
    "name": "text",
    "phone": "text",
    "city": "text",
    "country": "text",
    "credit": "decimal",
    "points": "integer",
    "active": "boolean",
    "born": "date",
    "updated": "datetime",
    "note": "text",
}


def fill_postgres(url: str, rows: int, *, first: int = 1, name: str = "contact") -> None:
    """Make the table with rows first..rows; none where `rows` is 0."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(POSTGRES.format(name=name))
        if rows:
            db.execute(POSTGRES_ROWS.format(name=name, first=first, last=rows))
        db.execute(f"VACUUM ANALYZE {name}")


def fill_sqlite(path: Path, rows: int) -> None:
    """Make the file with the table in it."""
    with sqlite3.connect(path) as db:
        db.execute(SQLITE)
        db.execute(SQLITE_ROWS.format(first=1, last=rows))
    db.close()


def touch_sqlite(path: Path, step: int) -> None:
    """Change every so many rows."""
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE contact SET note = note || 'a' WHERE id % {step} = 0")
    db.close()


def configuration(source: dict[str, str], target: dict[str, str], *, modified: bool = False, match: str = "email") -> str:
    """A trueup.yaml that keeps `source` and `target` (connector settings) in agreement."""
    systems = "\n".join(
        f"  {name}: {{connector: {settings['connector']}, "
        + ", ".join(f'{key}: "{value}"' for key, value in settings.items() if key != "connector")
        + "}"
        for name, settings in (("source", source), ("target", target))
    )
    fields = "\n".join(f"      {name}: {{type: {kind}, source_of_truth: source}}" for name, kind in FIELDS.items())
    shown = "{" + ", ".join(f"{name}: {'id' if name == 'number' else name}" for name in FIELDS) + "}"
    dated = "        modified: updated\n" if modified else ""
    mapping = f"        object: contact\n        key: id\n{dated}        fields: {shown}\n"
    return (
        f"systems:\n{systems}\nentities:\n  contact:\n    match: [[{match}]]\n    guard: off\n    fields:\n{fields}\n"
        f"    mappings:\n      source:\n{mapping}      target:\n{mapping}"
    )
