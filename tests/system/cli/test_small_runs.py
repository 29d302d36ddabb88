"""A run that has little to do: what it loads, and how much of the state it looks at."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.system.cli.tool import Project, environment
from trueup.runtime.workspace import open_workspace

CONFIG = """\
systems:
  shop: {SHOP}
  crm:  {CRM}
entities:
  customer:
    match: [[email]]
    fields: {name: {type: text}, email: {type: text}, changed: {type: datetime}}
    mappings:
      shop: {object: customers, key: id, modified: changed, fields: {name: name, email: email, changed: changed}}
      crm:  {object: contacts, key: id, modified: changed, fields: {name: name, email: email, changed: changed}}
"""
# Each takes longer to load than a small run should take for anything it does not need.
HEAVY = {
    "adbc_driver_manager", "adbc_driver_postgresql", "adbc_driver_sqlite", "alembic", "email_validator", "fastexcel", "lxml", "nameparser",
    "nanoarrow", "numpy", "openpyxl", "pandas", "phonenumbers", "psycopg2", "pyarrow", "pycountry", "pygments", "pymysql", "rich.console",
    "sqlalchemy.dialects.postgresql", "trueup.store.indexes",
}  # fmt: skip


def by_cursor(text: str) -> str:
    return text


def by_mark(text: str) -> str:
    return text.replace(" modified: changed,", "")


@pytest.mark.parametrize("reading", [by_cursor, by_mark])
def test_a_small_run_between_databases_loads_what_it_needs(tmp_path: Path, postgres_url: str, reading: Any) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as database:
        for table in ("customers", "contacts"):
            database.execute(f"CREATE TABLE {table} (id serial PRIMARY KEY, name text, email text, changed timestamptz)")
        database.execute("INSERT INTO customers SELECT i, 'n' || i, i || '@example.org', now() FROM generate_series(1, 500) i")
        project = Project(tmp_path)
        place = f'{{connector: postgres, url: "{postgres_url}"}}'
        project.write("trueup.yaml", reading(CONFIG.replace("{SHOP}", place).replace("{CRM}", place)))
        assert "polars" in loaded(project), "the names are looked for rightly"
        for change in ("", "UPDATE customers SET name = 'changed', changed = now() WHERE id % 100 = 0"):
            if change:
                database.execute(change)
            assert sorted(loaded(project) & HEAVY) == []
        assert database.execute("SELECT count(*) FROM contacts WHERE name = 'changed'").fetchone() == (5,)


def loaded(project: Project) -> set[str]:
    """The modules that a run loads."""
    words = [sys.executable, "-X", "importtime", "-m", "trueup", "sync"]
    done = subprocess.run(words, cwd=project.folder, env=environment(), capture_output=True, text=True, check=True)
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, flags=re.MULTILINE))


def test_what_a_run_by_cursor_does_in_the_state_does_not_grow_with_the_table(tmp_path: Path) -> None:
    small, large = (work_of_one_change(tmp_path / str(rows), rows) for rows in (300, 3_000))
    assert 0 < large <= small * 1.1, (small, large)


def work_of_one_change(folder: Path, rows: int) -> int:
    """Steps of SQLite's machine in the state, for a run that finds two changed rows by cursor and delivers them."""
    folder.mkdir()
    project = Project(folder)
    for table, name in (("customers", "shop"), ("contacts", "crm")):
        project.sql(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT, email TEXT, changed TIMESTAMP)", database=f"{name}.db")
    project.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO customers SELECT i, 'n' || i, i || '@example.org', strftime('%Y-%m-%dT%H:00:00Z', i * 3600, 'unixepoch') FROM n",
        (rows,),
        "shop.db",
    )
    places = {name.upper(): f"connector: sqlite, path: {name}.db" for name in ("shop", "crm")}
    project.write("trueup.yaml", CONFIG.replace("{SHOP}", f"{{{places['SHOP']}}}").replace("{CRM}", f"{{{places['CRM']}}}"))
    project.trueup("sync").expect(0)
    project.trueup("sync").expect(0)
    project.sql("UPDATE customers SET name = 'changed', changed = '2026-02-01T00:00:00Z' WHERE id IN (7, 70)", database="shop.db")
    with counted_steps() as steps, open_workspace(folder / "trueup.yaml") as workspace:
        summary = workspace.sync().entities["customer"]
    # The newest row of each system is always read again.
    assert [(system.observed.read, system.delivered.updated) for system in summary.systems.values()] == [(3, 0), (1, 2)]
    assert summary.total == rows
    return sum(steps)


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Grows by one for every ten steps in any SQLite state that is opened meanwhile."""
    steps: list[int] = []

    def watch(connection: Any, _record: Any) -> None:
        connection.set_progress_handler(lambda: steps.append(1), 10)

    sa.event.listen(sa.Pool, "connect", watch)
    try:
        yield steps
    finally:
        sa.event.remove(sa.Pool, "connect", watch)
