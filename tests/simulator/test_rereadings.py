"""Changed mappings at awkward moments: killed half-way, changed again, rows that take no part, systems that are held or away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.simulator.test_moments import change, office, plan, shown, type_in
from tests.sparing import every_third
from trueup.model import FieldMapping, Guard
from trueup.runtime import chunks
from trueup.store import cursor, golden, hold, mapping_version
from trueup.testing.simulator import Simulation
from trueup.testing.simulator_scenario import ELSEWHERE, ENTITY, HERE, REGION, SystemPlan

SYSTEMS = ("crm", "shop", "till")


def clean(sim: Simulation, how: str | None, item: str = "name") -> None:
    sim.scenario.cleans[item] = how
    sim.scenario.retold.add(item)
    sim.restart()


def names(sim: Simulation) -> list[str]:
    """What is agreed about the customers' names."""
    with sim.workspace.store.read() as db:
        return sorted(orjson.loads(row["data"])["name"] for frame in golden.stream(db, ENTITY) for row in frame.iter_rows(named=True))


def behind(sim: Simulation, system: str) -> int:
    """How many mappings may be behind the shadows of a system."""
    with sim.workspace.store.read() as db:
        return len(mapping_version.behind(db, ENTITY, system))


@contextmanager
def silence(sim: Simulation) -> Iterator[None]:
    """Whatever happens in here, nobody in any system notices, and nobody is asked."""
    before = {name: sim.people.table(name).values() for name in sim.worlds}
    yield
    assert {name: sim.people.table(name).values() for name in sim.worlds} == before


@pytest.fixture
def customers() -> Iterator[Simulation]:
    """Five customers, agreed in three systems."""
    with office(*(plan(name) for name in SYSTEMS), explicit=False, guarded=True) as sim:
        for number in range(5):
            type_in(sim, SYSTEMS[number % 3], code=f"K{number}", name=f"Ann {number}", points=number)
        sim.sync()
        yield sim


LOW = [f"ann {number}" for number in range(5)]
HIGH = [f"ANN {number}" for number in range(5)]


@pytest.mark.parametrize("point", every_third(range(1, 12)))
def test_killed_anywhere_it_is_done_by_the_next_run(customers: Simulation, point: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 2)
    with silence(customers):
        clean(customers, "lower")
        customers.sync(kill_at=point)
        customers.reread_in_silence()
        assert names(customers) == LOW
        assert [behind(customers, name) for name in SYSTEMS] == [1, 1, 1]


@pytest.mark.parametrize("point", [5, 7, 9])
@pytest.mark.parametrize("then", ["upper", None])
def test_changed_again_before_it_was_done(customers: Simulation, point: int, then: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows are known as the mapping in between read them, the others as that of before did."""
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 2)
    with silence(customers):
        clean(customers, "lower")
        assert customers.sync(kill_at=point) is None
        assert behind(customers, "crm") == 2
        clean(customers, then)
        customers.reread_in_silence()
        assert names(customers) == (HIGH if then else [f"Ann {number}" for number in range(5)])
        assert behind(customers, "crm") == 1


def test_edits_between_a_kill_and_the_next_run_are_edits(customers: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 2)
    clean(customers, "lower")
    assert customers.sync(kill_at=5) is None
    for key in customers.people.keys("shop"):
        change(customers, "shop", key, name=f"Bea {key}")
    customers.scenario.guarded = False
    customers.restart()
    customers.sync()
    assert sorted(shown(customers, "crm", "name")) == sorted(shown(customers, "till", "name")) == names(customers)
    assert names(customers) == [f"bea {number}" for number in range(1, 6)]


def test_a_row_outside_of_the_filter_comes_back_unedited() -> None:
    with office(plan("crm"), plan("shop", filtered=True), explicit=False) as sim:
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        shop = sim.worlds["shop"].tables["people"]
        (key,) = shop.rows
        shop.edit(key, {REGION: ELSEWHERE})
        sim.sync()
        clean(sim, "upper")
        change(sim, "crm", "1", name="Bea")
        sim.sync()
        shop.edit(key, {REGION: HERE})
        sim.sync()
        assert shown(sim, "shop", "name") == ["BEA"], "what it missed meanwhile, and no conflict"
        assert names(sim) == ["BEA"]


def test_a_row_that_cannot_be_read_comes_back_unedited() -> None:
    with office(plan("crm", fields=("code", "name", "grade")), plan("shop", fields=("code", "name", "grade")), explicit=False) as sim:
        type_in(sim, "crm", code="K1", name="Ann", grade="G")
        sim.sync()
        change(sim, "shop", "1", grade="unheard of")
        sim.sync()
        clean(sim, "upper")
        change(sim, "crm", "1", name="Bea")
        sim.sync()
        assert shown(sim, "shop", "name") == ["Ann"]
        change(sim, "shop", "1", grade="S")
        sim.sync()
        assert shown(sim, "shop", "name") == ["BEA"]
        assert shown(sim, "crm", "grade") == ["S"]


def test_a_system_of_which_a_guard_holds_the_edits_is_read_both_ways_until_they_are_let_in() -> None:
    with office(*(plan(name) for name in SYSTEMS), explicit=False) as sim:
        for number in range(9):
            type_in(sim, "crm", code=f"K{number}", name=f"Ann {number}")
        sim.sync()
        guard = Guard(updates=0.3, at_least=2)
        for key in sim.people.keys("shop")[:5]:
            change(sim, "shop", key, name=f"Bea {key}")
        clean(sim, "lower")
        for _ in range(2):
            guarded(sim, guard)
            sim.sync()
        assert [behind(sim, name) for name in SYSTEMS] == [1, 2, 1]
        with sim.workspace.store.write() as tx:
            ((id_, kind),) = hold.of(tx, ENTITY, decided=False).select("id", "kind").rows()
            assert kind == "updates"
            hold.decide(tx, id_, "approved", at=sim.clock(), ceiling=100)
        guarded(sim, guard)
        sim.sync()
        assert behind(sim, "shop") == 1
        assert shown(sim, "crm", "name")[:5] == [f"bea {number}" for number in range(1, 6)]
        assert names(sim)[4:] == [f"bea {number}" for number in range(1, 6)]


def guarded(sim: Simulation, guard: Guard) -> None:
    """The next run has a guard of this kind."""
    sim.restart()
    entity = sim.workspace.config.entities[ENTITY]
    sim.workspace.config = replace(sim.workspace.config, entities={**sim.workspace.config.entities, ENTITY: replace(entity, guard=guard)})


def test_one_record_alone_may_be_looked_at_first(customers: Simulation) -> None:
    with silence(customers):
        clean(customers, "lower")
        customers.workspace.sync(record=(ENTITY, "crm:1"))
        assert [name for name in names(customers) if name in LOW] == LOW[:1]
        assert behind(customers, "crm") == 2
        customers.reread_in_silence()
        assert names(customers) == LOW


def test_each_system_is_read_by_another_expression(customers: Simulation) -> None:
    """Two of them change at once; what is agreed follows the system where each customer was first seen."""
    plans: dict[str, SystemPlan] = customers.scenario.systems
    plans["crm"].reads["name"], plans["shop"].reads["name"] = "upper({})", "lower({})"
    customers.scenario.retold.add("name")
    customers.restart()
    with silence(customers):
        customers.reread_in_silence()
    assert names(customers) == sorted(["ANN 0", "ANN 3", "ann 1", "ann 4", "Ann 2"])
    change(customers, "till", customers.people.keys("till")[0], name="Dora")
    customers.sync()
    assert "Dora" in shown(customers, "crm", "name")


def test_references_are_read_in_another_way() -> None:
    """The column with the customer's number is read by an expression from now on: the orders keep their customers."""
    with office(plan("crm"), plan("shop"), explicit=False, ordering={"crm", "shop"}) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        sim.worlds["crm"].tables["orders"].insert({"id": 1, "o_number": "N1", "o_customer": key, "o_total": 5})
        for _ in range(2):
            sim.sync()
        orders = {name: sim.worlds[name].tables["orders"].values() for name in sim.worlds}
        assert [row["o_customer"] for row in orders["shop"].values()] == ["1"]
        entities = dict(sim.workspace.config.entities)
        mapped = entities["order"].mappings["shop"]
        fields: dict[str, Any] = {**mapped.fields}
        fields["customer"] = FieldMapping(field="customer", read="trim(o_customer)", write={"o_customer": "customer"})
        mappings = {**entities["order"].mappings, "shop": replace(mapped, fields=fields)}
        entities["order"] = replace(entities["order"], mappings=mappings)
        sim.workspace.config = replace(sim.workspace.config, entities=entities)
        done = sim.sync()
        assert done is not None
        summary = done.entities["order"]
        assert (summary.conflicts_opened, summary.overruled, summary.systems["shop"].observed.updated) == (0, 0, 0)
        assert {name: sim.worlds[name].tables["orders"].values() for name in sim.worlds} == orders


def test_a_changed_mapping_is_taken_over_only_when_the_system_was_read_whole(customers: Simulation) -> None:
    clean(customers, "lower")
    customers.worlds["till"].down = "nobody answers"
    customers.sync()
    with customers.workspace.store.read() as db:
        known = {name: cursor.get(db, ENTITY, name).mapping_version for name in SYSTEMS}
    assert [behind(customers, name) for name in SYSTEMS] == [1, 1, 1], "nothing was written under its new mapping"
    customers.worlds["till"].down = None
    with silence(customers):
        customers.reread_in_silence()
    with customers.workspace.store.read() as db:
        assert cursor.get(db, ENTITY, "till").mapping_version != known["till"]
        assert cursor.get(db, ENTITY, "crm").mapping_version == known["crm"]
    assert names(customers) == LOW
