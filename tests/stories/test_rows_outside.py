"""A row outside of a mapping's filter stands where a record's row would be made: the record gets none until it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest import mock

import polars as pl
import pytest

from trueup.connectors.memory import FULL_CAPS, MemoryColumn, MemoryConnector, MemoryTable, MemoryWorld
from trueup.model import Caps, ColumnInfo, Config, Deletes, Entity, Field, FieldMapping, Mapping, ObjectSpec, RunSummary, System
from trueup.runtime.explain import view_record
from trueup.runtime.workspace import Workspace
from trueup.store import unsettled_key
from trueup.testing.simulator_world import Kill, Killer, MortalStore, SimulatedSystem

_find = MemoryConnector.find
READINGS = {
    "everything": replace(FULL_CAPS, incremental=False, marks=False),
    "marks": replace(FULL_CAPS, incremental=False),
    "marks that are good once": replace(FULL_CAPS, incremental=False, marks_once=True),
    "changes": FULL_CAPS,
}
Change = Callable[[MemoryTable], None]


class Office:
    """Contacts of a shop, and of a CRM of which only the active ones are of interest."""

    def __init__(self, folder: Path, caps: Caps) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.path = str(folder / "state.db")
        self.killer = Killer()
        self.worlds = {name: MemoryWorld(caps, clock=lambda: self.now) for name in ("crm", "shop")}
        fields = [Field(name="email", required=True), Field(name="name", conflict="last_write_wins")]
        mappings = {}
        for system, world in self.worlds.items():
            columns = [ColumnInfo(name="id", type="integer", nullable=False, has_default=True), ColumnInfo(name="at", type="datetime")]
            columns += [ColumnInfo(name=name, type="text") for name in ("email", "name", "active")]
            world.add_table("contact", [MemoryColumn(info=column) for column in columns], ("id",), modified="at")
            shown = {item.name: FieldMapping(field=item.name, column=item.name) for item in fields}
            spec = ObjectSpec(name="contact", key=("id",), modified="at" if caps.incremental else None)
            filtered = {"where": "active = 'yes'", "set": {"active": "yes"}} if system == "crm" else {}
            mappings[system] = Mapping(entity="contact", system=system, object=spec, fields=shown, **filtered)  # type: ignore[arg-type]
        entity = Entity(
            name="contact",
            fields={item.name: item for item in fields},
            mappings=mappings,
            match=(("email",),),
            precedence=("crm", "shop"),
            deletes=Deletes(("crm", "shop"), "propagate"),
            guard=None,
        )
        systems = {name: System(name=name, connector="memory") for name in self.worlds}
        self.config = Config(file="t.yaml", directory="/", state=self.path, systems=systems, entities={"contact": entity})
        self.workspace = self.open()

    def open(self) -> Workspace:
        """A new process."""
        self.killer = Killer()
        store = MortalStore.open(self.path)
        cast("MortalStore", store).killer = self.killer
        self.connectors = {name: MemoryConnector(name, world) for name, world in self.worlds.items()}
        return Workspace(self.config, connectors=self.connectors, clock=lambda: self.now, store=store)

    def table(self, system: str) -> MemoryTable:
        return self.worlds[system].tables["contact"]

    def sync(self, *, full: bool = False) -> RunSummary:
        self.now += timedelta(minutes=1)
        return self.workspace.sync(full=full)

    def quiet(self) -> bool:
        """Whether a further run reads nothing new, writes nothing and looks for nothing."""
        asked: list[str] = []

        def find(connector: MemoryConnector, *of: Any) -> pl.DataFrame:
            asked.append(connector.name)
            return _find(connector, *of)

        with mock.patch.object(MemoryConnector, "find", find):
            done = self.sync().entities["contact"]
        return not asked and not any(item.delivered.created or item.delivered.updated for item in done.systems.values())

    def crm(self) -> list[tuple[str, str]]:
        """The active contacts of the CRM."""
        return sorted((str(row["email"]), str(row["name"])) for row in self.table("crm").values().values() if row["active"] == "yes")


@pytest.fixture(params=list(READINGS))
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    """Ann is in the shop, and in the CRM, where she is not active."""
    made = Office(tmp_path, READINGS[request.param])
    made.table("crm").insert({"id": 1, "email": "ann@example.org", "name": "Ann", "active": "no"})
    made.table("shop").insert({"id": 5, "email": "ann@example.org", "name": "Ann"})
    made.sync()
    assert made.crm() == []
    yield made
    made.workspace.close()


def becomes_another(table: MemoryTable) -> None:
    table.edit("1", {"email": "eve@example.org", "name": "Eve"})


def gives_its_key_away(table: MemoryTable) -> None:
    table.remove("1")
    table.insert({"id": 1, "email": "eve@example.org", "name": "Eve", "active": "no"})


ENDS: dict[str, Change] = {
    "it is deleted": lambda table: table.remove("1"),
    "it becomes another record's": becomes_another,
    "its key is given to another record's": gives_its_key_away,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_record_gets_its_row_when_the_one_outside_is_gone(office: Office, end: str) -> None:
    ENDS[end](office.table("crm"))
    planned = office.workspace.plan().entities["contact"].systems["crm"].delivered.created
    done = office.sync(full=office.worlds["crm"].caps.incremental)
    assert office.crm() == [("ann@example.org", "Ann")]
    assert done.entities["contact"].systems["crm"].delivered.created == 1
    assert planned == 1 or office.worlds["crm"].caps.incremental  # what is gone is found by a complete reading there
    assert office.quiet()


def test_the_record_says_what_it_waits_for(office: Office) -> None:
    with office.workspace.store.read() as db:
        view = view_record(db, office.config, office.config.entities["contact"], 1)
    assert [item.why for item in view.systems["crm"].waiting] == [
        "waits because a row there may be this record, which is outside of the mapping's filter: 1"
    ]


def test_while_it_stands_there_nobody_looks_again(office: Office) -> None:
    assert office.quiet()
    office.table("crm").insert({"id": 2, "email": "ben@example.org", "name": "Ben", "active": "yes"})
    office.sync()
    assert office.crm() == [("ben@example.org", "Ben")]
    assert office.quiet()
    assert office.quiet()


def test_one_that_comes_inside_is_the_record_itself(office: Office) -> None:
    office.table("crm").edit("1", {"active": "yes", "name": "Ann Back"})
    office.sync()
    office.sync()
    assert office.crm() == [("ann@example.org", "Ann Back")]
    assert len(office.table("crm").rows) == 1
    assert [row["name"] for row in office.table("shop").values().values()] == ["Ann Back"]
    assert office.quiet()


@pytest.mark.parametrize("reading", READINGS)
def test_a_linked_row_that_becomes_another_record_outside_stands_in_its_place(tmp_path: Path, reading: str) -> None:
    office = Office(tmp_path, READINGS[reading])
    crm, shop = office.table("crm"), office.table("shop")
    crm.insert({"id": 1, "email": "ann@example.org", "name": "Ann", "active": "yes"})
    office.sync()
    crm.edit("1", {"active": "no"})
    office.sync()
    becomes_another(crm)
    office.sync()
    shop.insert({"id": 9, "email": "eve@example.org", "name": "Eve"})
    office.sync()
    assert list(crm.rows) == ["1"]
    assert office.quiet()
    office.sync(full=True)
    assert list(crm.rows) == ["1"]
    crm.remove("1")
    office.sync(full=True)
    office.sync(full=True)
    assert office.crm() == [("eve@example.org", "Eve")]
    office.workspace.close()


def test_of_two_that_stand_there_both_must_go(office: Office) -> None:
    office.table("crm").insert({"id": 2, "email": "ann@example.org", "name": "Ann too", "active": "no"})
    office.sync(full=True)
    for key in ("1", "2"):
        assert office.crm() == []
        office.table("crm").remove(key)
        office.sync(full=True)
    assert office.crm() == [("ann@example.org", "Ann")]


def test_one_that_was_edited_still_stands_there(office: Office) -> None:
    office.table("crm").edit("1", {"name": "Anna"})
    office.sync()
    assert office.crm() == []
    assert office.quiet()
    office.table("crm").remove("1")
    office.sync(full=True)
    assert office.crm() == [("ann@example.org", "Ann")]


def test_it_is_not_forgotten_where_the_run_is_killed(office: Office) -> None:
    """At every point around a commit or a write, again and again until a run comes through: one row is made, and only one."""
    office.table("crm").remove("1")
    point, killed = 1, True
    while killed:
        office.connectors["crm"] = SimulatedSystem("crm", office.worlds["crm"], office.killer)
        office.workspace = Workspace(office.config, connectors=office.connectors, clock=lambda: office.now, store=office.workspace.store)
        office.killer.at = office.killer.passed + point
        try:
            office.sync(full=True)
            killed = False
        except Kill:
            office.workspace.close()
            office.workspace = office.open()
            point += 1
    office.killer.at = None
    assert point > 3
    office.sync(full=True)
    assert office.crm() == [("ann@example.org", "Ann")]


@pytest.mark.parametrize("reading", READINGS)
def test_a_row_that_leaves_under_another_key_is_not_deleted_elsewhere(tmp_path: Path, reading: str) -> None:
    """Ann was made inactive and got another number in the same moment: it is the row that left the filter, and comes back as that."""
    office = Office(tmp_path, READINGS[reading])
    crm, shop = office.table("crm"), office.table("shop")
    crm.insert({"id": 1, "email": "ann@example.org", "name": "Ann", "active": "yes"})
    crm.insert({"id": 2, "email": "ben@example.org", "name": "Ben", "active": "yes"})
    office.sync()
    crm.edit("1", {"id": 7, "active": "no"})
    crm.remove("2")
    planned = office.workspace.plan(full=True).entities["contact"].systems["shop"].delivered.deleted
    done = office.sync(full=True).entities["contact"].systems["shop"].delivered.deleted
    assert planned == done == 1, "Ben was deleted"
    assert [row["name"] for row in shop.values().values()] == ["Ann"]
    assert office.quiet()
    office.sync(full=True)
    crm.edit("7", {"active": "yes", "name": "Anna"})
    office.sync()
    assert office.crm() == [("ann@example.org", "Anna")]
    assert [row["name"] for row in shop.values().values()] == ["Anna"]
    crm.remove("7")
    office.sync(full=True)
    assert not shop.rows, "that was a delete"
    office.workspace.close()


def test_of_two_that_a_row_may_be_outside_none_is_taken(tmp_path: Path) -> None:
    office = Office(tmp_path, READINGS["everything"])
    crm, shop = office.table("crm"), office.table("shop")
    crm.insert({"id": 1, "email": "ann@example.org", "name": "Ann", "active": "yes"})
    office.sync()
    crm.remove("1")
    for number in (7, 8):
        crm.insert({"id": number, "email": "ann@example.org", "name": "Ann", "active": "no"})
    for _run in range(2):
        office.sync(full=True)
        assert len(shop.rows) == 1
    with office.workspace.store.read() as db:
        waits = unsettled_key.of(db, "contact", "crm").select("key", "why").rows()
    assert waits == [("1", "a row outside of the filter may be this one")]
    for key in ("7", "8"):
        crm.remove(key)
    office.sync(full=True)
    assert not shop.rows
    office.workspace.close()
