"""`was:` of fields and systems: what the state knows goes on under the new name, and nobody in any system notices."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.simulator.test_moments import change, office, plan, shown, type_in
from trueup.connectors.memory import truncated
from trueup.errors import StateError
from trueup.model import Deletes
from trueup.runtime.resolve import take_system
from trueup.store import conflict, golden, history
from trueup.testing.simulator import Simulation
from trueup.testing.simulator_changes import configure
from trueup.testing.simulator_scenario import ENTITY


def call_field(sim: Simulation, item: str, name: str) -> None:
    sim.scenario.were[item], sim.scenario.called[item] = sim.scenario.called[item], name
    sim.restart()


def call_system(sim: Simulation, old: str, new: str) -> None:
    sim.scenario.systems[old].was = old
    sim.call(old, new)
    sim.restart()


def record(sim: Simulation) -> dict[str, Any]:
    """The values of the only record."""
    with sim.workspace.store.read() as db:
        (row,) = (row for frame in golden.stream(db, ENTITY) for row in frame.iter_rows(named=True))
    values: dict[str, Any] = orjson.loads(row["data"])
    return values


def written(sim: Simulation) -> bool:
    return any(system.calls.writes for system in sim.systems.values())


def test_a_renamed_field_keeps_its_values_and_what_each_system_made_of_them() -> None:
    with office(plan("crm"), plan("shop", manners={"name": truncated(3)}), explicit=False) as sim:
        key = type_in(sim, "crm", code="K1", name="Annabel", points=5)
        sim.sync()
        call_field(sim, "name", "nickname")
        assert sim.workspace.plan().entities[ENTITY].updated == 0
        assert record(sim)["name"] == "Annabel", "a plan changes nothing"
        sim.sync()
        assert not written(sim)
        assert (record(sim)["nickname"], "name" in record(sim)) == ("Annabel", False)
        change(sim, "shop", "1", name="Bea")
        sim.sync()
        assert shown(sim, "crm", "name") == ["Bea"], "an ordinary edit of a value with a past"
        change(sim, "crm", key, name="Cid")
        sim.sync()
        assert shown(sim, "shop", "name") == ["Cid"]
        with sim.workspace.store.read() as db:
            assert set(history.of(db, ENTITY, 1)["field"]) == {"nickname"}


def test_a_counter_is_exact_through_a_rename_while_a_write_is_on_its_way() -> None:
    with office(plan("crm"), plan("shop")) as sim:
        key = type_in(sim, "crm", code="K1", points=5)
        sim.sync()
        change(sim, "crm", key, points=8)
        sim.systems["shop"].faults.replies_lost = 1
        sim.sync()
        call_field(sim, "points", "score")
        call_system(sim, "shop", "store")
        change(sim, "store", "1", points=shown(sim, "store", "points")[0] + 10)
        change(sim, "crm", key, points=9)
        sim.sync()
        sim.sync()
        asked = []
        with sim.workspace.store.read() as db:
            asked = conflict.open_of(db, ENTITY).rows()
        assert asked or shown(sim, "crm", "points") == shown(sim, "store", "points") == [19]


def test_a_renamed_system_keeps_its_links() -> None:
    with office(plan("crm"), plan("shop"), match=(), deletes=Deletes(("shop",), "propagate")) as sim:
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        call_system(sim, "shop", "store")
        assert sim.workspace.plan().entities[ENTITY].created == 0
        sim.sync()
        assert not written(sim)
        assert shown(sim, "store", "code") == ["K1"]
        sim.worlds["store"].tables["people"].remove("1")
        sim.sync()
        assert shown(sim, "crm", "code") == []


def test_what_waits_for_a_person_waits_under_the_new_names() -> None:
    with office(plan("crm"), plan("shop"), explicit=False) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        change(sim, "crm", key, name="Bea")
        change(sim, "shop", "1", name="Cid")
        sim.sync()
        call_field(sim, "name", "nickname")
        call_system(sim, "shop", "store")
        sim.sync()
        with sim.workspace.store.read() as db:
            (asked,) = conflict.open_of(db, ENTITY).iter_rows(named=True)
        assert asked["field"] == "nickname"
        assert {side["system"] for side in orjson.loads(asked["candidates"])} == {"crm", "store"}
        take_system(sim.workspace.store, sim.workspace.config, asked["id"], "store", sim.clock())
        sim.sync()
        assert shown(sim, "crm", "name") == shown(sim, "store", "name") == ["Cid"]


@pytest.mark.parametrize("kind", ["field", "system"])
def test_a_name_that_is_taken_is_refused(kind: str) -> None:
    with office(plan("crm"), plan("shop", fields=("code", "email"))) as sim:
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        if kind == "field":
            call_field(sim, "name", "title")
            sim.scenario.were.clear()
            sim.restart()
            sim.sync()
            sim.scenario.were["title"] = "title"
            sim.scenario.were["name"] = "email"
            sim.scenario.called["email"] = "mail"
        else:
            sim.scenario.systems["crm"].was = "shop"
        sim.restart()
        with pytest.raises(StateError, match="cannot be renamed"):
            sim.sync()


@pytest.mark.parametrize("change_of", ["was of a field", "was of a system"])
def test_the_simulator_renames(change_of: str) -> None:
    from random import Random

    with Simulation(12) as sim:
        for name in ("add", "add", "sync", "edit", "edit twice"):
            sim.play((name, 5))
        configure(sim, Random(3), change_of)
        for name in ("kill", "plan", "edit", "settle"):
            sim.play((name, 7))
        assert any(plan.was for plan in sim.scenario.systems.values()) or sim.scenario.were
