"""A power cut takes the commits of a state that did not wait for the disk: the run is then as one that was killed before them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest

from trueup.connectors.base import WriteBatch
from trueup.connectors.sqlite import SqliteConnector
from trueup.model import ObjectSpec
from trueup.runtime.pass_options import PassOptions
from trueup.runtime.workspace import Workspace, open_workspace
from trueup.store import Db, Store

FULL = 2
CONFIGURATION = """
systems:
  shop: {connector: sqlite, path: shop.db}
  crm: {connector: sqlite, path: crm.db}
entities:
  customer:
    match: [[email]]
    precedence: [shop, crm]
    deletes: {from: [shop], action: propagate}
    fields: {email: {}, stock: {type: integer, conflict: {merge: add}}}
    mappings:
      shop: {object: people, key: id, fields: {email: email, stock: stock}}
      crm: {object: people, key: id, fields: {email: email, stock: stock}}
"""


@dataclass
class Commit:
    """A commit of the state: the length of its log after it, and whether it waited for the disk."""

    log_bytes: int
    waited: bool


class Watched(Store):
    """A state that notes its commits, and after which of them a system was written to."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.commits: list[Commit] = []
        self.left: list[Commit] = []

    @contextmanager
    def write(self, *, lasting: bool | None = None) -> Iterator[Db]:
        """See Store.write."""
        outer = self._current is None
        with super().write(lasting=lasting) as tx:
            yield tx
            driver = tx.connection.connection.driver_connection
            assert driver is not None
            waits = driver.execute("PRAGMA synchronous").fetchone()[0] == FULL
        if outer:
            self.commits.append(Commit(Path(f"{self.target}-wal").stat().st_size, waits))


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Workspace]:
    """Twenty customers in two systems that agree."""
    (tmp_path / "trueup.yaml").write_text(CONFIGURATION)
    for name in ("shop", "crm"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as db, db:
            db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, stock INTEGER)")
            if name == "shop":
                db.executemany("INSERT INTO people VALUES (?, ?, 10)", [(number, f"c{number}@example.org") for number in range(1, 21)])
    with mock.patch("trueup.runtime.workspace.Store", Watched), open_workspace(tmp_path / "trueup.yaml") as workspace:
        store = watched(workspace)
        write = SqliteConnector.write

        def noted(connector: SqliteConnector, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
            store.left.append(store.commits[-1])
            return write(connector, obj, batch)

        with mock.patch.object(SqliteConnector, "write", noted):
            workspace.sync()
            yield workspace


def people(folder: Path, system: str) -> list[tuple[int, str, int]]:
    """The rows of a system."""
    with closing(sqlite3.connect(folder / f"{system}.db")) as db:
        return db.execute("SELECT * FROM people ORDER BY email").fetchall()


def change(folder: Path) -> None:
    """In the shop: a sale, a new customer, and one that is gone."""
    with closing(sqlite3.connect(folder / "shop.db")) as db, db:
        db.execute("UPDATE people SET stock = stock - 3 WHERE id = 7")
        db.execute("INSERT INTO people VALUES (21, 'new@example.org', 1)")
        db.execute("DELETE FROM people WHERE id = 9")


def watched(workspace: Workspace) -> Watched:
    """The state, with what was noted of it."""
    store = workspace.store
    assert isinstance(store, Watched)
    return store


def test_what_leaves_for_a_system_is_on_disk_and_so_is_the_end(company: Workspace) -> None:
    store, folder = watched(company), Path(company.config.directory)
    change(folder)
    store.commits.clear()
    store.left.clear()
    company.sync()
    assert len(store.left) == 3
    assert all(commit.waited for commit in store.left)
    assert store.commits[-1].waited
    assert not all(commit.waited for commit in store.commits)


def test_one_changed_record_waits_for_the_disk_twice(company: Workspace) -> None:
    store, folder = watched(company), Path(company.config.directory)
    change(folder)
    store.commits.clear()
    company.sync(record=("customer", "shop:7"))
    assert [commit.waited for commit in store.commits].count(True) == 2


def test_a_run_after_a_power_cut_ends_as_if_there_had_been_none(company: Workspace, tmp_path: Path) -> None:
    store, folder = watched(company), Path(company.config.directory)
    change(folder)
    before = len(store.commits)
    company.sync()
    agreed = [row[1:] for row in people(folder, "shop")]
    assert [row[1:] for row in people(folder, "crm")] == agreed
    last = store.commits.index(store.left[-1])
    assert last > before
    # What was on disk when the rows had left is the least that is there after the power cut; anything after it may be.
    for number, commit in enumerate(store.commits[last:]):
        ends_as_if_there_had_been_none(store, folder, tmp_path / f"cut-{number}", commit, agreed)


@pytest.mark.parametrize("away", [frozenset(), frozenset({"crm"})], ids=["delivered", "decided"])
def test_what_was_told_and_looked_at_waits_for_the_disk_only_where_it_leaves(
    company: Workspace, tmp_path: Path, away: frozenset[str]
) -> None:
    store, folder = watched(company), Path(company.config.directory)
    change(folder)
    before = store.commits[-1]
    store.left.clear()
    with company.lock("serving"), store.gathered():
        number = company.begin_run("serve", ["customer"])
        begun = len(store.commits)
        for keys in (["7"], ["21"], ["9"]):
            summary, problem = company.one_pass("customer", PassOptions(keys={"shop": keys}, away=away), run=number)
            assert problem is None
            assert not summary.held
        made = store.commits[begun:]
        assert [commit for commit in made if commit.waited] == store.left
        assert len(store.left) == (0 if away else 3)
        assert len(made) > len(store.left)
    agreed = [row[1:] for row in people(folder, "shop")]
    least = [*store.left, before][0 if away else -2]
    for place, commit in enumerate(one for one in store.commits if one.log_bytes >= least.log_bytes):
        ends_as_if_there_had_been_none(store, folder, tmp_path / f"cut-{place}", commit, agreed)


def test_what_others_are_told_of_is_on_disk_before(company: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    store, folder = watched(company), Path(company.config.directory)
    change(folder)
    reached: list[int] = []
    synced = os.fsync

    def note(file: int) -> None:
        reached.append(os.fstat(file).st_size)
        synced(file)

    monkeypatch.setattr("os.fsync", note)
    with company.lock("serving"), store.gathered():
        number = company.begin_run("serve", ["customer"])
        _summary, problem = company.one_pass("customer", PassOptions(keys={"shop": ["7"]}, away=frozenset({"crm"})), run=number)
        assert problem is None
        assert not store.commits[-1].waited
        head = company.end_of_trail()  # this goes to others
        assert reached == [Path(f"{store.target}-wal").stat().st_size]
        assert company.end_of_trail() == head
        assert len(reached) == 1  # there was nothing more to wait for


def ends_as_if_there_had_been_none(store: Watched, folder: Path, again: Path, last: Commit, agreed: list[tuple[Any, ...]]) -> None:
    """A copy of everything, of which the state has lost what came after a commit, is agreed on by the next run, and quiet afterwards."""
    again.mkdir()
    for path in (*folder.glob("*.db"), folder / "trueup.yaml"):
        shutil.copy(path, again)
    state = Path(store.target)
    (again / ".trueup").mkdir()
    shutil.copy(state, again / ".trueup" / state.name)
    (again / ".trueup" / f"{state.name}-wal").write_bytes(Path(f"{state}-wal").read_bytes()[: last.log_bytes])
    with open_workspace(again / "trueup.yaml") as afterwards:
        result = afterwards.sync()
        quiet = afterwards.sync()
    assert result.status == quiet.status == "done"
    assert [row[1:] for row in people(again, "crm")] == agreed == [row[1:] for row in people(again, "shop")]
    assert not any(part.delivered.updated or part.delivered.created for part in quiet.entities["customer"].systems.values())
