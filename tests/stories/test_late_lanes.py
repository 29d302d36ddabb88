"""A delivery that outlasts its pass: what it records beside the next pass is not undone by that one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trueup.core.facts import Decision, Facts
from trueup.core.reconcile import reconcile
from trueup.runtime import run_pass
from trueup.runtime.pass_options import PassOptions
from trueup.runtime.serving.lanes import Freed, Lanes
from trueup.runtime.workspace import Workspace, open_workspace

CONFIGURATION = """
systems:
  crm: {connector: sqlite, path: crm.db}
  till: {connector: sqlite, path: till.db}
  shop: {connector: sqlite, path: shop.db}
entities:
  customer:
    match: [[email]]
    guard: off
    fields:
      email: {type: text}
      name: {type: text, conflict: last_write_wins}
      points: {type: integer, conflict: {merge: add}}
    mappings:
      crm: {object: people, key: id, fields: {email: email, name: name, points: points}}
      till: {object: people, key: id, fields: {email: email, name: name, points: points}}
      shop: {object: people, key: id, fields: {email: email, name: name, points: points}}
"""
SYSTEMS = ("crm", "till", "shop")
PATIENCE_S = 60.0
DECIDING_S = 0.5
"""So long the second pass takes to decide, while a lane that may would record: many times what that takes."""


class Firm:
    """One customer in three files, and passes whose lanes may outlast them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
        for system in SYSTEMS:
            self.ask(system, "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, points INTEGER)")
        self.ask("crm", "INSERT INTO people VALUES (1, 'ann@example.org', 'Ann', 9)")
        self.workspace = Workspace(open_workspace(folder / "trueup.yaml").config)
        assert self.workspace.sync().status == "done"
        self.freed: list[Freed] = []
        self.lanes = Lanes(SYSTEMS, lambda: None, self.freed.append)

    def ask(self, system: str, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in a file."""
        with closing(sqlite3.connect(self.folder / f"{system}.db", timeout=PATIENCE_S)) as db, db:
            return db.execute(statement).fetchall()

    def look(self, system: str) -> None:
        """A pass over the customer's row in one system, without those whose lanes are at work."""
        number = self.workspace.begin_run("test", ["customer"])
        options = PassOptions(keys={system: ["1"]}, away=self.lanes.leave_out(), lanes=self.lanes)
        _summary, problem = self.workspace.one_pass("customer", options, run=number)
        self.workspace.end_run(number, "done", self.workspace.clock(), None, None)
        assert problem is None

    def wait_for_lanes(self, but: Collection[str] = ()) -> None:
        """Until no other lane than these is at work."""
        until = time.monotonic() + PATIENCE_S
        while self.lanes.busy - set(but):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not any(lane.problem for lane in self.freed)

    def held(self, system: str) -> tuple[str, int]:
        """The customer's name and points in a system."""
        ((name, points),) = self.ask(system, "SELECT name, points FROM people")
        return name, points


@pytest.fixture
def firm(tmp_path: Path) -> Iterator[Firm]:
    """The firm, closed afterwards."""
    made = Firm(tmp_path)
    yield made
    made.lanes.close(PATIENCE_S)
    made.workspace.close()


def while_deciding(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Let something happen in the next pass when it has read what is known, before it commits what follows."""

    def slowly(facts: Facts) -> Decision:
        what()
        return reconcile(facts)

    monkeypatch.setattr(run_pass, "reconcile", slowly)


def test_what_a_late_lane_records_is_not_undone(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    with firm.workspace.lock("test"):
        busy = sqlite3.connect(firm.folder / "shop.db", isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")  # whoever writes to the shop waits
        firm.ask("crm", "UPDATE people SET points = points + 1")
        firm.look("crm")
        assert "shop" in firm.lanes.busy
        firm.wait_for_lanes(but=["shop"])

        def the_shop_takes_it() -> None:
            busy.rollback()
            until = time.monotonic() + DECIDING_S
            while "shop" in firm.lanes.busy and time.monotonic() < until:
                time.sleep(0.01)

        firm.ask("till", "UPDATE people SET name = 'Anna'")
        with monkeypatch.context() as slow:
            while_deciding(slow, the_shop_takes_it)
            firm.look("till")
        busy.close()
        firm.wait_for_lanes()
        firm.look("shop")
        firm.wait_for_lanes()
    assert firm.workspace.sync().status == "done"
    assert {system: firm.held(system) for system in SYSTEMS} == dict.fromkeys(SYSTEMS, ("Anna", 10))


def test_when_all_are_left_out_it_says_who(firm: Firm) -> None:
    with firm.workspace.lock("test"):
        options = PassOptions(keys={}, away=frozenset(SYSTEMS))
        _summary, problem = firm.workspace.one_pass("customer", options, run=None)
    assert problem == "customer: fewer than two systems can be reached: crm, shop, till: left out for the moment"
