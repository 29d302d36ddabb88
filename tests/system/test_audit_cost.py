"""What the audit trail costs: at most a twentieth of the processor time of a sync."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from trueup.runtime import trail
from trueup.runtime.workspace import open_workspace
from trueup.store import audit

ROWS = 100_000
MOST = 0.05
CONFIG = """\
systems:
  a: {connector: sqlite, path: a.db}
  b: {connector: sqlite, path: b.db}
entities:
  customer:
    match: [[email]]
    precedence: [a, b]
    guard: off
    fields: {name: {}, email: {}, credit: {type: decimal, source_of_truth: a}, city: {}}
    mappings:
      a: {object: t, key: id, fields: {name: name, email: email, credit: credit, city: city}}
      b: {object: t, key: id, fields: {name: name, email: email, credit: credit, city: city}}
"""


@pytest.mark.slow
def test_the_trail_takes_little_of_a_sync(tmp_path, monkeypatch):
    spent = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*args: Any, **more: Any) -> Any:
            begun = time.thread_time()
            try:
                return function(*args, **more)
            finally:
                spent[0] += time.thread_time() - begun

        return measured

    monkeypatch.setattr(audit, "write", timed(audit.write))
    for name in ("run_begins", "run_ends", "about_to_leave", "has_left"):
        monkeypatch.setattr(trail, name, timed(getattr(trail, name)))
    (tmp_path / "trueup.yaml").write_text(CONFIG, encoding="utf-8")
    for name in ("a", "b"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as database, database:
            database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, email TEXT, credit NUMERIC, city TEXT)")
            rows = ((number, f"Name {number}", f"m{number}@example.com", number % 977, "x") for number in range(ROWS if name == "a" else 0))
            database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    with open_workspace(tmp_path / "trueup.yaml") as workspace:
        for change in ("", "UPDATE t SET credit = credit + 1 WHERE id % 10 = 0"):
            with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
                database.execute(change)
            spent[0], begun = 0.0, time.process_time()
            workspace.sync()
            share = spent[0] / (time.process_time() - begun)
            assert 0 < share <= MOST
