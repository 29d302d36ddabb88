"""Orders that are there before the customer whom they name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trueup.connectors.memory import MemoryColumn, MemoryConnector, MemoryTable, MemoryWorld
from trueup.model import ColumnInfo, Config, Deletes, Entity, Field, FieldMapping, Mapping, ObjectSpec, System
from trueup.runtime.workspace import Workspace


class Office:
    """A shop and a CRM with customers and orders, empty. `required`: an order must name its customer."""

    def __init__(self, folder: Path, *, required: bool) -> None:
        self.worlds = {name: MemoryWorld() for name in ("crm", "shop")}
        customer = self._entity("customer", Field(name="name"), Field(name="nick"))
        reference = Field(name="customer", type="reference", entity="customer", required=required, conflict="last_write_wins")
        order = self._entity("order", Field(name="number"), reference)
        systems = {name: System(name=name, connector="memory") for name in self.worlds}
        config = Config(
            file="t.yaml", directory="/", state=str(folder / "state.db"), systems=systems, entities={"customer": customer, "order": order}
        )
        connectors = {name: MemoryConnector(name, world) for name, world in self.worlds.items()}
        self.workspace = Workspace(config, connectors=connectors, clock=lambda: datetime.now(UTC))

    def lets_delete(self) -> None:
        """From now on a customer who is deleted in one system is deleted in the other."""
        workspace = self.workspace
        customer = replace(workspace.config.entities["customer"], deletes=Deletes(("crm", "shop"), "propagate"))
        workspace.config = replace(workspace.config, entities={**workspace.config.entities, "customer": customer})

    def _entity(self, name: str, *fields: Field) -> Entity:
        mappings = {}
        for system, world in self.worlds.items():
            columns = [MemoryColumn(info=ColumnInfo(name="id", type="integer", nullable=False, has_default=True))]
            world.add_table(name, columns + [MemoryColumn(info=ColumnInfo(name=item.name, type="text")) for item in fields], ("id",))
            shown = {item.name: FieldMapping(field=item.name, column=item.name) for item in fields}
            mappings[system] = Mapping(entity=name, system=system, object=ObjectSpec(name=name, key=("id",)), fields=shown)
        return Entity(
            name=name,
            fields={item.name: item for item in fields},
            mappings=mappings,
            match=((fields[0].name,),),
            precedence=tuple(mappings),
            guard=None,
        )

    def table(self, system: str, name: str) -> MemoryTable:
        return self.worlds[system].tables[name]

    def orders(self, system: str) -> list[tuple[Any, Any]]:
        """Number and customer's name of each order."""
        names = {key: row.values["name"] for key, row in self.table(system, "customer").rows.items()}
        return [(row.values["number"], names.get(row.values["customer"])) for row in self.table(system, "order").rows.values()]


@pytest.mark.parametrize("required", [True, False])
def test_a_reference_is_found_when_its_record_comes(tmp_path: Path, required: bool) -> None:
    office = Office(tmp_path, required=required)
    office.table("crm", "customer").insert({"id": 1, "name": "Bob"})
    office.table("shop", "order").insert({"id": 1, "number": "N1", "customer": "7"})
    with office.workspace as workspace:
        workspace.sync()
        assert office.orders("crm") == ([] if required else [("N1", None)])
        office.table("shop", "customer").insert({"id": 7, "name": "Ada"})
        workspace.sync()
        workspace.sync()
        assert office.orders("crm") == office.orders("shop") == [("N1", "Ada")]


def test_an_order_that_waits_is_not_made_a_second_time(tmp_path: Path) -> None:
    office = Office(tmp_path, required=True)
    office.table("crm", "customer").insert({"id": 1, "name": "Ada"})
    for system, customer in (("crm", "1"), ("shop", "7")):
        office.table(system, "order").insert({"id": 1, "number": "N1", "customer": customer})
    with office.workspace as workspace:
        workspace.sync()
        assert len(office.orders("shop")) == 1
