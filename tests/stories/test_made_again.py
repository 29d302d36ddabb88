"""A row that other rows refer to goes, and is made again under another key: those rows follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.stories.test_early_references import Office


def one_order(folder: Path, *, required: bool) -> Office:
    """Ada with an order, in both systems."""
    office = Office(folder, required=required)
    office.table("crm", "customer").insert({"id": 1, "name": "Ada"})
    office.table("crm", "order").insert({"id": 1, "number": "N1", "customer": "1"})
    office.workspace.sync()
    assert office.orders("shop") == [("N1", "Ada")]
    return office


def quiet(office: Office) -> bool:
    """Whether a further run writes nothing."""
    summary: Any = office.workspace.sync()
    parts = [system.delivered for entity in summary.entities.values() for system in entity.systems.values()]
    return not any(part.created or part.updated or part.deleted or part.pending for part in parts)


@pytest.mark.parametrize("required", [True, False])
def test_typed_in_again_by_a_person(tmp_path: Path, required: bool) -> None:
    office = one_order(tmp_path, required=required)
    with office.workspace as workspace:
        customers = office.table("shop", "customer")
        (old,) = customers.rows
        customers.remove(old)
        customers.insert({"id": 70, "name": "Ada"})
        workspace.sync()
        assert office.orders("shop") == [("N1", "Ada")]
        assert [row.values["customer"] for row in office.table("shop", "order").rows.values()] == ["70"]
        assert quiet(office)


def test_a_key_that_nobody_knows_is_left_alone(tmp_path: Path) -> None:
    """What a person typed for somebody who is to come is no dangling reference."""
    office = one_order(tmp_path, required=False)
    with office.workspace as workspace:
        customers, orders = office.table("shop", "customer"), office.table("shop", "order")
        (old,), (order,) = customers.rows, orders.rows
        customers.remove(old)
        customers.insert({"id": 70, "name": "Ada"})
        orders.edit(order, {"customer": "99"})
        workspace.sync()
        workspace.sync()
        assert orders.rows[order].values["customer"] == "99"
        customers.insert({"id": 99, "name": "Bob"})
        workspace.sync()
        workspace.sync()
        assert office.orders("crm") == office.orders("shop") == [("N1", "Bob")]


def test_a_new_row_under_the_old_key_is_who_it_says(tmp_path: Path) -> None:
    office = one_order(tmp_path, required=False)
    with office.workspace as workspace:
        customers, orders = office.table("shop", "customer"), office.table("shop", "order")
        (old,) = customers.rows
        customers.remove(old)
        customers.insert({"id": 70, "name": "Ada"})
        workspace.sync()
        customers.insert({"id": int(old), "name": "Bob"})
        workspace.sync()
        orders.insert({"id": 5, "number": "N2", "customer": old})
        workspace.sync()
        assert sorted(office.orders("crm")) == sorted(office.orders("shop")) == [("N1", "Ada"), ("N2", "Bob")]


def test_an_order_that_names_the_old_key_later(tmp_path: Path) -> None:
    """Somebody has the old number on paper."""
    office = one_order(tmp_path, required=True)
    with office.workspace as workspace:
        customers, orders = office.table("shop", "customer"), office.table("shop", "order")
        (old,) = customers.rows
        customers.remove(old)
        customers.insert({"id": 70, "name": "Ada"})
        workspace.sync()
        orders.insert({"id": 5, "number": "N2", "customer": old})
        workspace.sync()
        assert sorted(office.orders("crm")) == [("N1", "Ada"), ("N2", "Ada")]
        assert orders.rows["5"].values["customer"] == "70"
        assert quiet(office)


@pytest.mark.parametrize("takes_keys", [True, False])
def test_made_again_by_a_delete_that_loses(tmp_path: Path, takes_keys: bool) -> None:
    """An edit elsewhere stands against the delete: the row is made again, and the order follows in the same run."""
    office = one_order(tmp_path, required=True)
    office.worlds["shop"].caps = replace(office.worlds["shop"].caps, takes_keys=takes_keys)
    office.lets_delete()
    with office.workspace as workspace:
        shop = office.table("shop", "customer")
        (old,) = shop.rows
        before = shop.rows[old]
        shop.remove(old)
        office.table("crm", "customer").edit("1", {"nick": "Countess"})
        workspace.sync()
        assert office.orders("shop") == [("N1", "Ada")]
        assert (list(shop.rows) == [old]) == takes_keys  # its old key, where the system takes one
        assert before not in shop.rows.values()
        assert quiet(office)


def test_made_again_by_an_undo(tmp_path: Path) -> None:
    """The delete reached every system; so does its undo, and the orders that were left behind name the customer again."""
    office = one_order(tmp_path, required=True)
    office.lets_delete()
    with office.workspace as workspace:
        office.table("crm", "customer").remove("1")
        deleted = workspace.sync()
        assert deleted.run is not None
        assert not office.table("shop", "customer").rows
        workspace.undo(deleted.run)
        workspace.sync()
        assert office.orders("crm") == office.orders("shop") == [("N1", "Ada")]
        assert quiet(office)
