"""What one changed record costs, counted: queries that Polars plans, statements and commits. Times would tell of the machine."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from trueup.runtime.workspace import open_workspace

FIELDS = {
    "email": "text",
    "name": "text",
    "credit": "decimal",
    "points": "integer",
    "active": "boolean",
    "born": "date",
    "updated": "datetime",
}
QUERIES = 5
STATEMENTS = 80
COMMITS = 8


def configuration() -> str:
    """Two databases that agree in every field."""
    fields = "\n".join(f"      {name}: {{type: {kind}, source_of_truth: shop}}" for name, kind in FIELDS.items())
    shown = "{" + ", ".join(f"{name}: {name}" for name in FIELDS) + "}"
    mappings = "\n".join(f"      {system}: {{object: people, key: id, fields: {shown}}}" for system in ("shop", "crm"))
    systems = "\n".join(f"  {system}: {{connector: sqlite, path: {system}.db}}" for system in ("shop", "crm"))
    head = "entities:\n  customer:\n    match: [[email]]\n    precedence: [shop, crm]\n    fields:"
    return f"systems:\n{systems}\n{head}\n{fields}\n    mappings:\n{mappings}\n"


def test_one_changed_record_takes_few_steps(tmp_path: Path) -> None:
    (tmp_path / "trueup.yaml").write_text(configuration())
    columns = (
        "id INTEGER PRIMARY KEY, email TEXT, name TEXT, credit DECIMAL TEXT, points INTEGER, active BOOLEAN, born DATE, updated TIMESTAMP"
    )
    for system in ("shop", "crm"):
        with closing(sqlite3.connect(tmp_path / f"{system}.db")) as db, db:
            db.execute(f"CREATE TABLE people ({columns})")
            if system == "shop":
                values = ("Ann", "1.50", 3, 1, "1980-01-31", "2026-01-02T03:04:05Z")
                db.executemany(
                    "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [(number, f"c{number}@example.org", *values) for number in range(1, 51)],
                )
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or called.__name__ not in {"collect", "execute", "executemany", "commit"}:
            return
        caller: FrameType | None = frame
        while caller is not None:
            if "connectors" in caller.f_code.co_filename:
                return
            caller = caller.f_back
        counts[called.__name__] += 1

    with open_workspace(tmp_path / "trueup.yaml") as workspace:
        workspace.sync()
        for name in ("Anna", "Anne"):
            with closing(sqlite3.connect(tmp_path / "shop.db")) as db, db:
                db.execute("UPDATE people SET name = ? WHERE id = 7", (name,))
            counts.clear()
            sys.setprofile(count)
            try:
                workspace.sync(record=("customer", "shop:7"))
            finally:
                sys.setprofile(None)
    with closing(sqlite3.connect(tmp_path / "crm.db")) as db:
        assert db.execute("SELECT name FROM people WHERE email = 'c7@example.org'").fetchall() == [("Anne",)]
    assert 0 < counts["collect"] <= QUERIES, counts
    assert 0 < counts["execute"] + counts["executemany"] <= STATEMENTS, counts
    assert 0 < counts["commit"] <= COMMITS, counts
