"""A system that can tell which rows nobody touched: they are not read again, and nothing is missed by that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trueup.connectors.base import Page
from trueup.connectors.memory import MemoryColumn, MemoryConnector, MemoryTable, MemoryWorld
from trueup.model import ColumnInfo, Config, Deletes, Entity, Field, FieldMapping, Mapping, ObjectSpec, RunSummary, System
from trueup.runtime.workspace import Workspace


class Watched(MemoryConnector):
    """Notes which rows' values were read."""

    values_read: list[str]

    def read(self, obj: ObjectSpec, columns: Sequence[str], **how: object) -> Iterator[Page]:
        pages = list(super().read(obj, columns, **how))  # type: ignore[arg-type]
        self.values_read += _keys(pages)
        return iter(pages)

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        before = list(self.values_read)
        pages = super().moved(obj, columns, mark)
        if pages is None:
            return None
        kept = list(pages)
        self.values_read = before + _keys(kept)
        return iter(kept)


def _keys(pages: list[Page]) -> list[str]:
    rows = [key for page in pages for key in page.rows["__key"].to_list()]
    return rows + [str(reject.key) for page in pages for reject in page.rejected]


class Shop:
    """Contacts of a CRM, of which only the active ones are of interest, and of a shop."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.worlds = {name: MemoryWorld() for name in ("crm", "shop")}
        fields = [Field(name="email", required=True), Field(name="name", conflict="last_write_wins"), Field(name="points", type="integer")]
        mappings = {}
        for system, world in self.worlds.items():
            columns = [ColumnInfo(name="id", type="integer", nullable=False, has_default=True), ColumnInfo(name="active", type="text")]
            columns += [ColumnInfo(name=item.name, type="integer" if item.name == "points" else "text") for item in fields]
            world.add_table("contact", [MemoryColumn(info=column) for column in columns], ("id",))
            shown = {item.name: FieldMapping(field=item.name, column=item.name) for item in fields}
            where = "active IS NULL OR active <> 'no'" if system == "crm" else None
            spec = ObjectSpec(name="contact", key=("id",))
            mappings[system] = Mapping(entity="contact", system=system, object=spec, fields=shown, where=where)
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
        config = Config(file="t.yaml", directory="/", state=str(folder / "state.db"), systems=systems, entities={"contact": entity})
        self.connectors = {name: Watched(name, world) for name, world in self.worlds.items()}
        self.workspace = Workspace(config, connectors=self.connectors, clock=lambda: self.now)

    def table(self, system: str) -> MemoryTable:
        return self.worlds[system].tables["contact"]

    def sync(self, *, full: bool = False) -> dict[str, list[str]]:
        """Run; returns the keys of the rows whose values were read, by system."""
        for connector in self.connectors.values():
            connector.values_read = []
        self.now += timedelta(minutes=1)
        self.last: RunSummary = self.workspace.sync(full=full)
        return {name: sorted(connector.values_read) for name, connector in self.connectors.items()}

    def names(self, system: str) -> dict[str, str]:
        return {str(row["email"]): str(row["name"]) for row in self.table(system).values().values()}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    for number in range(1, 5):
        made.table("crm").insert({"id": number, "email": f"c{number}@example.org", "name": f"Name {number}", "points": 1})
    with made.workspace:
        made.sync()
        yield made


def test_nothing_is_read_where_nobody_touched_anything(shop: Shop) -> None:
    assert shop.sync() == {"crm": [], "shop": []}
    counts = shop.last.entities["contact"].systems["crm"].observed
    assert (counts.read, counts.unchanged, counts.created, counts.updated) == (4, 4, 0, 0)


def test_what_was_touched_is_read_and_delivered(shop: Shop) -> None:
    shop.table("crm").edit("2", {"name": "Renamed"})
    assert shop.sync() == {"crm": ["2"], "shop": ["2"]}  # the second one just before it is written
    assert shop.names("shop")["c2@example.org"] == "Renamed"
    assert shop.sync() == {"crm": [], "shop": []}  # what was written in the last run is known as it was told then
    shop.table("shop").edit("2", {"name": "Renamed again"})
    assert shop.sync() == {"crm": ["2"], "shop": ["2"]}
    assert shop.names("crm")["c2@example.org"] == "Renamed again"


def test_what_is_gone_is_missed_and_confirmed(shop: Shop) -> None:
    shop.table("crm").remove("3")
    shop.sync()
    assert sorted(shop.names("shop")) == ["c1@example.org", "c2@example.org", "c4@example.org"]
    assert shop.sync() == {"crm": [], "shop": []}


def test_a_row_that_takes_the_place_of_another_is_seen(shop: Shop) -> None:
    shop.table("crm").remove("3")
    shop.table("crm").insert({"id": 9, "email": "new@example.org", "name": "New", "points": 1})
    assert shop.sync()["crm"] == ["9"]
    assert sorted(shop.names("shop")) == ["c1@example.org", "c2@example.org", "c4@example.org", "new@example.org"]


def test_a_row_that_cannot_be_read_is_looked_at_until_it_can(shop: Shop) -> None:
    shop.table("crm").edit("2", {"points": "many"})
    assert "2" in shop.sync()["crm"]
    assert "2" in shop.sync()["crm"]
    assert shop.last.entities["contact"].failures_open == 1
    shop.table("crm").edit("2", {"points": "too many"})  # touched, and waiting to be looked at besides
    shop.sync()
    assert shop.last.entities["contact"].systems["crm"].observed.rejected == 1
    shop.table("crm").edit("2", {"points": 3})
    shop.sync()
    assert shop.last.entities["contact"].failures_open == 0
    assert shop.sync()["crm"] == []


def test_rows_outside_of_the_filter_are_left_alone_until_they_come_in(shop: Shop) -> None:
    shop.table("crm").insert({"id": 7, "email": "c7@example.org", "name": "Seven", "active": "no"})
    shop.table("crm").edit("1", {"active": "no"})
    assert shop.sync()["crm"] == ["1", "7"]
    assert shop.sync()["crm"] == []
    shop.table("crm").edit("7", {"active": "yes"})
    shop.sync()
    assert shop.names("shop")["c7@example.org"] == "Seven"


def test_everything_is_read_when_asked_for_and_once_a_day(shop: Shop) -> None:
    everything = ["1", "2", "3", "4"]
    assert shop.sync(full=True)["crm"] == everything
    assert shop.sync()["crm"] == []
    shop.now += timedelta(days=1)
    assert shop.sync()["crm"] == everything
    assert shop.sync()["crm"] == []


def test_another_table_under_the_same_name_is_read_whole(shop: Shop) -> None:
    old = shop.table("crm")
    columns = list(old.columns.values())
    shop.worlds["crm"].add_table("contact", columns, ("id",))
    for values in old.values().values():
        shop.table("crm").insert({**values, "name": "Restored"})
    assert shop.sync()["crm"] == ["1", "2", "3", "4"]
    assert set(shop.names("shop").values()) == {"Restored"}


def test_a_reading_that_broke_off_moves_no_mark(shop: Shop) -> None:
    shop.table("crm").edit("2", {"name": "Renamed"})
    shop.table("crm").hold_back(3)
    shop.sync()
    shop.sync()
    assert shop.names("shop")["c2@example.org"] == "Renamed"
