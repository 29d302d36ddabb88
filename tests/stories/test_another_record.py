"""A row that has become another record since it was read, beside a record that is to be created."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from trueup.connectors.memory import MemoryColumn, MemoryConnector, MemoryWorld
from trueup.model import ColumnInfo, Config, Entity, Field, FieldMapping, Mapping, ObjectSpec, System
from trueup.runtime.workspace import Workspace
from trueup.store import parked

FIELDS: dict[str, Literal["text", "integer"]] = {"code": "text", "name": "text", "points": "integer"}


class Office:
    """A shop and a CRM with two customers each, in agreement."""

    def __init__(self, folder: Path) -> None:
        self.worlds = {name: MemoryWorld() for name in ("crm", "shop")}
        for world in self.worlds.values():
            columns = [MemoryColumn(info=ColumnInfo(name="id", type="integer", nullable=False, has_default=True))]
            world.add_table(
                "people", columns + [MemoryColumn(info=ColumnInfo(name=name, type=kind)) for name, kind in FIELDS.items()], ("id",)
            )
        mappings = {
            name: Mapping(
                entity="customer",
                system=name,
                object=ObjectSpec(name="people", key=("id",)),
                fields={item: FieldMapping(field=item, column=item) for item in FIELDS},
            )
            for name in self.worlds
        }
        entity = Entity(
            name="customer",
            fields={name: Field(name=name, type=kind) for name, kind in FIELDS.items()},
            mappings=mappings,
            match=(("code",),),
            precedence=tuple(mappings),
        )
        systems = {name: System(name=name, connector="memory") for name in self.worlds}
        config = Config(file="t.yaml", directory="/", state=str(folder / "state.db"), systems=systems, entities={"customer": entity})
        self.connectors = {name: MemoryConnector(name, world) for name, world in self.worlds.items()}
        self.workspace = Workspace(config, connectors=self.connectors, clock=lambda: datetime.now(UTC))

    def rows(self, system: str) -> dict[str, dict[str, Any]]:
        return {key: row.values for key, row in self.worlds[system].tables["people"].rows.items()}


@pytest.mark.parametrize("becomes", ["another record", "an edited one"])
def test_a_row_that_became_this_record_unseen_is_looked_at_before_one_is_created_beside_it(tmp_path: Path, becomes: str) -> None:
    office = Office(tmp_path)
    crm, shop = (office.worlds[name].tables["people"] for name in ("crm", "shop"))
    shop.insert({"id": 1, "code": "A", "name": "Ada"})
    with office.workspace as workspace:
        workspace.sync()
        (key,) = office.rows("crm")
        crm.edit(key, {"code": "B"} | ({"name": "Bob"} if becomes == "another record" else {}))
        shop.insert({"id": 2, "code": "B", "name": "Bob"})
        crm.hold_back(1, 1)  # the listing of this run ends before that row
        workspace.sync()
        assert [row["code"] for row in office.rows("crm").values()] == ["B"]


def test_a_row_that_cannot_be_read_may_have_become_this_record(tmp_path: Path) -> None:
    """Nobody knows whose it is: no other row is made for the record until it can be read, and then it waits for a person."""
    office = Office(tmp_path)
    crm, shop = (office.worlds[name].tables["people"] for name in ("crm", "shop"))
    shop.insert({"id": 1, "code": "A", "name": "Ada", "points": 1})
    with office.workspace as workspace:
        workspace.sync()
        (key,) = office.rows("crm")
        crm.edit(key, {"code": "B", "name": "Bob", "points": "many"})
        shop.insert({"id": 2, "code": "B", "name": "Bob", "points": 2})
        shop.insert({"id": 3, "code": "C", "name": "Cleo", "points": 3})
        for _run in range(2):
            workspace.sync()
            assert sorted(row["code"] for row in office.rows("crm").values()) == ["B", "C"]
        crm.edit(key, {"points": 2})
        assert workspace.sync().entities["customer"].parked == 1
        with workspace.store.read() as db:
            assert parked.of(db, "customer")["key"].to_list() == [key]
        assert sorted(row["code"] for row in office.rows("crm").values()) == ["B", "C"]
