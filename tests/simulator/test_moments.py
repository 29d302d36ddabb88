"""Single moments of games that once broke a promise, each played as short as it can be told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.sparing import every_third
from trueup.model import Deletes
from trueup.store import conflict, cursor, golden, parked
from trueup.testing.simulator import Simulation
from trueup.testing.simulator_scenario import ELSEWHERE, ENTITY, FULL, HERE, REGION, Scenario, SystemPlan
from trueup.testing.simulator_world import Kill, one_thread

if TYPE_CHECKING:
    from trueup.model import Caps, ConflictRule

FIELDS = ("code", "email", "name", "status", "price", "points", "tags", "note")
TACITURN = replace(FULL, kind="api", stored_row=False)
"""A system that does not tell how it stored what it was given."""


def plan(name: str, **settings: Any) -> SystemPlan:
    usual: dict[str, Any] = {"caps": FULL, "key_type": "integer", "assign": "system", "direction": "both", "fields": FIELDS}
    return SystemPlan(name=name, **usual | settings)


def office(*plans: SystemPlan, **settings: Any) -> Simulation:
    """Systems that share customers, to be used as a context manager."""
    rules = {"price": "max", "points": "add", "tags": "union", "note": "text"}
    common: dict[str, Any] = {"rules": rules, "owners": {}, "deletes": None, "guarded": False, "explicit": True, "match": (("code",),)}
    return Simulation(1, Scenario(systems={item.name: item for item in plans}, **common | settings))


def type_in(sim: Simulation, system: str, **values: Any) -> str:
    """A new row; returns its key."""
    table = sim.worlds[system].tables["people"]
    number = table.next_number(sequence=False)
    return str(table.insert({"id": number, **{f"c_{name}": value for name, value in values.items()}}))


def shown(sim: Simulation, system: str, name: str) -> list[Any]:
    """What the rows of a system show in one field."""
    return [row.values.get(f"c_{name}") for row in sim.worlds[system].tables["people"].rows.values()]


def change(sim: Simulation, system: str, key: str, **values: Any) -> None:
    sim.worlds[system].tables["people"].edit(key, {f"c_{name}": value for name, value in values.items()})


def test_what_is_typed_into_a_new_row_of_which_the_reply_was_lost_is_an_edit() -> None:
    with office(plan("crm", fields=("code",)), plan("shop", caps=TACITURN), plan("till")) as sim:
        type_in(sim, "crm", code="K1")
        sim.systems["shop"].faults.replies_lost = 1
        sim.sync()
        (key,) = sim.people.keys("shop")
        change(sim, "shop", key, price="7.25", tags=["new"])
        sim.sync()
        assert shown(sim, "till", "price") == ["7.25"]
        assert shown(sim, "till", "tags") == [["new"]]


def test_a_record_that_a_parked_row_may_be_is_created_once_that_row_is_gone() -> None:
    """The row reads like another record altogether, is parked, and vanishes: the record that it looked like lacks a row there."""
    with office(plan("crm", fields=("code", "name")), plan("shop", fields=("code", "name"))) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        change(sim, "crm", key, code="K2", name="Ben")
        type_in(sim, "shop", code="K2", name="Bea")
        sim.sync()
        sim.worlds["crm"].tables["people"].remove(key)
        sim.sync()
        sim.sync()
        assert shown(sim, "crm", "code") == ["K2"]


def test_a_row_that_cannot_be_read_under_its_new_key_is_not_taken_for_deleted() -> None:
    with office(plan("crm"), plan("shop"), deletes=Deletes(("crm", "shop"), "propagate")) as sim:
        key = type_in(sim, "crm", code="K1", points=1)
        sim.sync()
        change(sim, "crm", key, points="many")
        sim.worlds["crm"].tables["people"].edit(key, {"id": 9})
        sim.sync()
        assert shown(sim, "shop", "code") == ["K1"]
        change(sim, "crm", "9", points=3)
        sim.sync()
        assert shown(sim, "crm", "points") == shown(sim, "shop", "points") == [3]
        sim.worlds["crm"].tables["people"].remove("9")
        sim.sync()
        assert shown(sim, "shop", "code") == []


def test_a_parked_row_whose_delete_was_refused_is_made_again_when_it_is_gone() -> None:
    """The delete is told by tombstone with a listing that is not complete, and loses against an edit."""
    told = replace(FULL, tombstones=True)
    both = {"fields": ("code", "name")}
    rules: dict[str, ConflictRule] = {"name": "last_write_wins"}
    with office(plan("crm", caps=told, **both), plan("shop", **both), deletes=Deletes(("crm",), "propagate"), rules=rules) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        change(sim, "crm", key, code="K2", name="Ben")
        sim.sync()
        change(sim, "shop", "1", name="Anne")
        sim.worlds["crm"].tables["people"].remove(key)
        sim.worlds["crm"].tables["people"].hold_back(1)
        sim.sync()
        sim.sync()
        sim.sync()
        assert shown(sim, "crm", "name") == ["Anne"]


def test_a_system_that_is_written_from_now_on_is_told_what_it_missed() -> None:
    rules: dict[str, ConflictRule] = {"name": "last_write_wins"}
    with office(plan("crm"), plan("shop", direction="read"), rules=rules) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        type_in(sim, "shop", code="K1", name="Bea")
        sim.sync()
        change(sim, "crm", key, name="Cid")
        sim.sync()
        assert shown(sim, "shop", "name") == ["Bea"]
        sim.scenario.systems["shop"].direction = "both"
        sim.restart()
        sim.plan_and_sync()
        assert shown(sim, "shop", "name") == ["Cid"]


def test_a_plan_says_that_a_row_which_it_would_write_is_not_there_any_more() -> None:
    """The system shows what was modified only, so that a row is missed when it is to be written."""
    with office(plan("crm"), plan("shop", caps=replace(FULL, incremental=True), dated=True), rules={"name": "last_write_wins"}) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        sim.sync()
        assert sim.workspace.plan().entities["customer"].notes == []
        change(sim, "crm", key, name="Anne")
        sim.worlds["shop"].tables["people"].remove("1")
        assert "rows of shop are not as last read" in sim.workspace.plan().entities["customer"].notes[0]


def test_a_row_that_matched_nothing_is_found_when_its_record_appears_although_nobody_touched_it() -> None:
    """A system that is only written makes no records by itself; its other rows are told by their marks."""
    with office(plan("crm"), plan("shop", caps=replace(FULL, marks=True), direction="write")) as sim:
        type_in(sim, "shop", code="K1", name="Ann")
        type_in(sim, "crm", code="K2", name="Ben")
        sim.sync()
        sim.sync()
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        assert sorted(shown(sim, "shop", "code")) == ["K1", "K2"]


@pytest.mark.parametrize("caps", [FULL, replace(FULL, marks=True), replace(FULL, incremental=True)], ids=["whole", "marks", "cursor"])
def test_a_new_row_is_not_made_a_record_which_a_known_row_is_becoming(caps: Caps) -> None:
    """One system corrects the code of a customer, who is typed into another one under the right code at the same time."""
    with office(plan("crm"), plan("shop", caps=caps, dated=True)) as sim:
        key = type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        sim.sync()
        change(sim, "crm", key, code="K2")
        second = type_in(sim, "shop", code="K2", name="Ann")
        sim.people.doubled["shop"] = {second}
        for _number in range(3):
            sim.plan_and_sync()
            sim.clock.pass_by(600)
        assert shown(sim, "crm", "code") == ["K2"]
        assert shown(sim, "shop", "code") == ["K2", "K2"]
        assert [system_and_key for *system_and_key, _why in waiting(sim)] == [["shop", second]]


@pytest.mark.parametrize("caps", [FULL, replace(FULL, marks=True), replace(FULL, incremental=True, tombstones=True)], ids=lambda caps: "")
def test_a_row_under_the_key_of_one_that_is_gone_is_another_record(caps: Caps) -> None:
    with office(plan("crm"), plan("shop", caps=caps, dated=True)) as sim:
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        shop = sim.worlds["shop"].tables["people"]
        before = shop.values()["1"]
        shop.remove("1")
        sim.sync(full=True)
        shop.insert({"id": 1, "c_code": "K2", "c_name": "Ann"})
        for number in range(2):
            sim.sync(full=number == 0)
        assert sorted(shown(sim, "crm", "code")) == ["K1", "K2"]
        assert shown(sim, "shop", "code") == ["K2"], "a row that vanished is not made again unasked"
        shop.insert(before | {"id": 7, "c_name": "Anne"})
        sim.sync(full=True)
        assert sorted(shown(sim, "crm", "name")) == ["Ann", "Anne"], "found again under another key"


def test_a_row_that_is_back_under_its_key_is_its_record_again() -> None:
    with office(plan("crm"), plan("shop"), rules={"name": "last_write_wins"}) as sim:
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        shop = sim.worlds["shop"].tables["people"]
        before = dict(shop.rows["1"].values)
        shop.remove("1")
        sim.sync()
        shop.insert(before | {"c_name": "Anne"})
        sim.sync()
        assert shown(sim, "crm", "name") == shown(sim, "shop", "name") == ["Anne"]


def waiting(sim: Simulation) -> list[tuple[str, str, str]]:
    """The rows that wait for a person: system, key, why."""
    with sim.workspace.store.read() as db:
        return parked.of(db, ENTITY).select("system", "key", "why").rows()


BY_CONTENTS = replace(FULL, marks=True, marks_once=True)
"""A system whose rows are known by what they read like."""


def told_by_key(sim: Simulation, system: str) -> bool:
    """Whether the next run goes by a mark there."""
    with sim.workspace.store.read() as db:
        return (cursor.get(db, ENTITY, system).mark or "").startswith("{")


def ann_everywhere(sim: Simulation) -> str:
    """A record in both systems, of which the shop's mark knows; its key in the shop."""
    type_in(sim, "crm", code="K1", name="Ann")
    sim.sync()
    sim.sync()
    assert told_by_key(sim, "shop")
    (key,) = sim.people.keys("shop")
    return key


def test_what_a_person_puts_back_after_we_wrote_is_an_edit() -> None:
    with office(plan("crm"), plan("shop", caps=BY_CONTENTS), rules={"name": "last_write_wins"}) as sim:
        key = ann_everywhere(sim)
        change(sim, "crm", sim.people.keys("crm")[0], name="Bea")
        sim.sync()
        assert shown(sim, "shop", "name") == ["Bea"]
        assert told_by_key(sim, "shop")
        change(sim, "shop", key, name="Ann")
        sim.restart()
        sim.sync()
        assert shown(sim, "crm", "name") == ["Ann"]


def test_what_a_person_puts_back_after_a_run_over_one_record_is_an_edit() -> None:
    with office(plan("crm"), plan("shop", caps=BY_CONTENTS), rules={"name": "last_write_wins"}) as sim:
        key = ann_everywhere(sim)
        change(sim, "shop", key, name="Bea")
        with one_thread():
            sim.workspace.sync(record=(ENTITY, f"shop:{key}"))
        assert shown(sim, "crm", "name") == ["Bea"]
        change(sim, "shop", key, name="Ann")
        sim.restart()
        sim.sync()
        assert shown(sim, "crm", "name") == ["Ann"]


@pytest.mark.parametrize("edited", ["crm", "shop"])
@pytest.mark.parametrize("kill_at", every_third(range(1, 12)))
def test_what_a_person_puts_back_after_a_run_over_one_record_was_killed_is_an_edit(kill_at: int, edited: str) -> None:
    with office(plan("crm"), plan("shop", caps=BY_CONTENTS), rules={"name": "last_write_wins"}) as sim:
        key = ann_everywhere(sim)
        change(sim, edited, sim.people.keys(edited)[0], name="Bea")
        sim.killer.at = sim.killer.passed + kill_at
        try:
            with one_thread():
                sim.workspace.sync(record=(ENTITY, f"shop:{key}"))
        except Kill:
            sim.restart()
        sim.killer.at = None
        if shown(sim, "shop", "name") == shown(sim, "crm", "name") == ["Bea"]:
            change(sim, "shop", key, name="Ann")
            sim.sync()
            sim.sync()
            assert shown(sim, "crm", "name") == ["Ann"]
        else:
            sim.sync()
            assert shown(sim, "crm", "name") == shown(sim, "shop", "name") == ["Bea"]


@pytest.mark.parametrize("kill_at", every_third(range(1, 16)))
def test_what_a_person_puts_back_after_a_kill_is_an_edit(kill_at: int) -> None:
    with office(plan("crm"), plan("shop", caps=BY_CONTENTS), rules={"name": "last_write_wins"}) as sim:
        key = ann_everywhere(sim)
        change(sim, "shop", key, name="Bea")
        sim.sync(kill_at=kill_at)
        change(sim, "shop", key, name="Ann")
        sim.sync()
        sim.sync()
        assert shown(sim, "crm", "name") == shown(sim, "shop", "name") == ["Ann"]


def test_a_new_row_finds_a_record_of_which_nobody_could_read_the_row_when_its_cleaning_changed() -> None:
    """The only system that shows the address is away; another one gets the customer, with the address in another writing."""
    fields = ("code", "email", "name")
    systems = plan("crm", fields=fields), plan("shop", fields=fields, direction="read"), plan("till", fields=("code", "name"))
    with office(*systems, match=(("email",),)) as sim:
        type_in(sim, "crm", code="K1", email="ANN@EXAMPLE.ORG", name="Ann")
        sim.sync()
        sim.scenario.cleans["email"] = "lower"
        sim.restart()
        type_in(sim, "shop", code="K1", email="Ann@example.org", name="Ann")
        sim.worlds["crm"].down = "nobody answers"
        sim.sync()
        sim.worlds["crm"].down = None
        sim.sync()
        assert shown(sim, "crm", "email") == ["ANN@EXAMPLE.ORG"]
        assert shown(sim, "till", "code") == ["K1"]
        with sim.workspace.store.read() as db:
            assert golden.count(db, ENTITY) == 1


def test_a_row_that_is_back_inside_of_the_filter_as_it_was_takes_part_again() -> None:
    with office(plan("crm"), plan("shop", filtered=True), rules={"name": "last_write_wins"}) as sim:
        type_in(sim, "crm", code="K1", name="Ann")
        sim.sync()
        shop = sim.worlds["shop"].tables["people"]
        shop.edit("1", {REGION: ELSEWHERE})
        sim.sync()
        change(sim, "crm", "1", name="Bea")
        sim.sync()
        assert shown(sim, "shop", "name") == ["Ann"]
        shop.edit("1", {REGION: HERE})
        sim.plan_and_sync()
        assert shown(sim, "shop", "name") == ["Bea"]


def one_on_its_way(sim: Simulation, *, fault: str) -> str:
    """A customer in both systems; new values of two fields are on their way to the shop when it breaks off. Returns the shop's key."""
    key = type_in(sim, "crm", code="K1", price="1", points=5)
    type_in(sim, "crm", code="K2", price="1", points=5)
    sim.sync()
    change(sim, "crm", key, price="9", points=6)
    setattr(sim.systems["shop"].faults, fault, 1)
    return next(key for key in sim.people.keys("shop") if sim.people.code("shop", key) == "K1")


TOLD = ("code", "price", "points")


def asked_about(sim: Simulation) -> list[str]:
    """The fields that wait for a person."""
    with sim.workspace.store.read() as db:
        return conflict.open_of(db, ENTITY)["field"].to_list()


@pytest.mark.parametrize("fault", ["writes_fail", "replies_lost"])
def test_a_row_that_tells_both_of_a_write_and_of_none_is_asked_about(fault: str) -> None:
    """The very value on its way was typed in where nothing was written, or one was put back where all was: the row reads alike."""
    with office(plan("crm", fields=TOLD), plan("shop", fields=TOLD)) as sim:
        key = one_on_its_way(sim, fault=fault)
        sim.sync()
        change(sim, "shop", key, **({"points": 6} if fault == "writes_fail" else {"price": "1"}))
        sim.sync()
        assert asked_about(sim) == ["price"]
        assert sorted(shown(sim, "crm", "points")) == [5, 6]
        sim.settle()
        assert shown(sim, "crm", "price") == shown(sim, "shop", "price")


@pytest.mark.parametrize("fault", ["writes_fail", "replies_lost"])
def test_other_rows_of_a_batch_that_is_written_whole_tell_what_became_of_it(fault: str) -> None:
    with office(plan("crm", fields=TOLD), plan("shop", fields=TOLD, caps=replace(FULL, atomic=True))) as sim:
        key = one_on_its_way(sim, fault=fault)
        change(sim, "crm", next(other for other in sim.people.keys("crm") if sim.people.code("crm", other) == "K2"), price="7")
        sim.sync()
        change(sim, "shop", key, **({"points": 6} if fault == "writes_fail" else {"price": "1"}))
        sim.sync()
        assert asked_about(sim) == []
        sim.settle()
        assert (
            sorted(shown(sim, "crm", "price"))
            == sorted(shown(sim, "shop", "price"))
            == (["7", "9"] if fault == "writes_fail" else ["1", "7"])
        )
