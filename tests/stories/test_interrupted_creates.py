"""A new row arrived, and whoever wrote it died before that was recorded: what people did with the row meanwhile counts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trueup.runtime import deliveries
from trueup.runtime.workspace import Workspace, open_workspace

CONFIGURATION = """
systems:
  crm: {connector: sqlite, path: crm.db}
  till: {connector: sqlite, path: till.db}
entities:
  customer:
    match: [[email]]
    fields:
      email: {type: text}
      name: {type: text, conflict: last_write_wins}
      points: {type: integer, conflict: {merge: add}}
    mappings:
      crm: {object: people, key: id, fields: {email: email, name: name, points: points}}
      till: {object: people, key: id, fields: {email: email, name: name, points: points}}
"""
SYSTEMS = ("crm", "till")


class Killed(BaseException):
    """Nothing that the program catches."""


def ask(folder: Path, system: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement in a file."""
    with closing(sqlite3.connect(folder / f"{system}.db")) as db, db:
        return db.execute(statement).fetchall()


def killed_before_recording(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends when the first rows are written, and nothing about that is recorded."""

    def killed(*_args: object, **_options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, closing(Workspace(open_workspace(folder / "trueup.yaml").config)) as workspace:
        patch.setattr(deliveries, "commit_results", killed)
        with pytest.raises(Killed):
            workspace.sync()


def test_a_new_row_is_counted_on_before_anybody_knows_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
    for system in SYSTEMS:
        ask(tmp_path, system, "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, points INTEGER)")
    ask(tmp_path, "till", "INSERT INTO people VALUES (1, 'ann@example.org', 'Ann', 5)")
    killed_before_recording(tmp_path, monkeypatch)
    assert ask(tmp_path, "crm", "SELECT points FROM people") == [(5,)]
    ask(tmp_path, "crm", "UPDATE people SET points = points + 2")
    ask(tmp_path, "till", "UPDATE people SET points = points + 1")
    with closing(Workspace(open_workspace(tmp_path / "trueup.yaml").config)) as workspace:
        assert workspace.sync().status == "done"
    for system in SYSTEMS:
        assert ask(tmp_path, system, "SELECT email, name, points FROM people") == [("ann@example.org", "Ann", 8)]
