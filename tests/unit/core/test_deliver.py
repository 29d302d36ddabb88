"""What is due in a system: the golden record minus what the system stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests.unit.core.tools import ADA, agreed, entity, golden, known, owed, shadow, shows, updates
from trueup.core.cells import GID, KEY, NULL
from trueup.core.deliver import FIELDS, Due
from trueup.core.facts import FILTERED, MISSING, UNREADABLE, Facts
from trueup.core.reconcile import reconcile
from trueup.model import Deletes, Entity, Field, FieldMapping

SHAPE = entity()


def due_in(facts: Facts, system: str = "shop", **how: Any) -> Due:
    return owed(facts, reconcile(facts), system, **how)


def lagging(shape: Entity = SHAPE, system: str = "shop", **columns: Any) -> Facts:
    """A system that stands for another name than the golden one."""
    old = {"name": "Al"}
    return agreed(shape, deltas=[shadow(1, system, seen=old, sent=old, **columns)])


# ---------------------------------------------------------------- updates


def test_what_a_system_stands_for_is_not_due():
    assert due_in(agreed(SHAPE)).rows == 0


def test_a_field_is_due_where_golden_is_not_what_the_system_stands_for():
    assert updates(due_in(lagging())) == {1: {"name": "Ada"}}


def test_what_a_system_holds_instead_of_what_it_was_given_is_not_due():
    assert due_in(agreed(SHAPE, deltas=[shadow(1, "shop", seen={"name": "ADA"})])).rows == 0


def test_nothing_is_due_to_others():
    assert due_in(lagging(), "crm").rows == 0


def test_an_update_names_its_row_and_shows_what_the_system_holds():
    facts = agreed(SHAPE, deltas=[shadow(1, "shop", seen={"name": "AL"}, sent={"name": "Al"})])
    row = due_in(facts).updates.row(0, named=True)
    assert row == {
        GID: 1,
        KEY: "k1",
        FIELDS: ["name"],
        "name": "Ada",
        "email": "ada@example.com",
        "seen:name": "AL",
        "seen:email": "ada@example.com",
    }


def test_an_update_tells_absent_null_and_golden_apart_in_what_is_held():
    shape = entity(Field(name="phone"))
    facts = agreed(shape, {1: ADA | {"phone": "111"}}, deltas=[shadow(1, "shop", seen={"name": None, "email": NULL}, sent={"name": "Al"})])
    row = due_in(facts).updates.row(0, named=True)
    assert (row["seen:name"], row["seen:email"], row["seen:phone"]) == (None, NULL, "111")


def test_null_is_delivered():
    facts = agreed(SHAPE, {1: ADA | {"name": NULL}}, deltas=[shadow(1, "shop", sent={"name": "Ada"})])
    assert updates(due_in(facts)) == {1: {"name": NULL}}


def test_a_value_that_nobody_has_said_is_nothing_to_deliver():
    facts = agreed(SHAPE, {1: {"name": "Ada"}}, deltas=[shadow(1, "shop", sent={"email": "x", "name": "Al"})])
    assert updates(due_in(facts)) == {1: {"name": "Ada"}}
    facts = agreed(SHAPE, {1: {"name": "Ada"}}, deltas=[shadow(1, "shop", sent={"email": "x"})])
    assert due_in(facts).rows == 0


def test_a_field_that_a_person_must_settle_is_not_delivered_and_the_others_are():
    old = {"name": "Al", "email": "al@example.com"}
    facts = agreed(SHAPE, deltas=[shadow(1, "shop", seen=old, sent=old)])
    frozen = pl.DataFrame([(1, "name"), (2, "email")], schema={GID: pl.Int64(), "field": pl.String()}, orient="row")
    assert updates(due_in(facts, frozen=frozen)) == {1: {"email": "ada@example.com"}}


def test_of_each_record_its_own_fields_are_due():
    facts = agreed(
        SHAPE,
        {1: ADA, 2: ADA, 3: ADA},
        deltas=[shadow(1, "shop", sent={"name": "Al"}), shadow(3, "shop", sent={"email": "al@example.com"})],
    )
    assert updates(due_in(facts)) == {1: {"name": "Ada"}, 3: {"email": "ada@example.com"}}


@pytest.mark.parametrize("there", [MISSING, FILTERED, UNREADABLE])
def test_a_row_that_is_not_plainly_there_receives_nothing(there: int) -> None:
    assert due_in(lagging(state=there)).rows == 0


# ---------------------------------------------------------------- what may be written


def test_a_system_that_is_only_read_is_never_written():
    facts = lagging(entity(reads=["shop"]))
    assert due_in(facts).rows == 0
    facts = shows(known(entity(reads=["shop"])), crm={1: ADA})
    assert due_in(facts).rows == 0


def test_a_field_that_is_only_read_is_never_written():
    shape = entity(maps={"shop": [FieldMapping(field="name", read="upper(name)"), FieldMapping(field="email", column="email")]})
    old = {"name": "Al", "email": "al@example.com"}
    todo = due_in(agreed(shape, deltas=[shadow(1, "shop", seen=old, sent=old)]))
    assert updates(todo) == {1: {"email": "ada@example.com"}}
    assert "name" not in todo.updates.columns
    assert todo.updates["seen:name"].to_list() == ["Al"]


def test_a_field_that_is_only_written_is_delivered():
    shape = entity(maps={"shop": [FieldMapping(field="name", write={"name": "name"})]})
    assert updates(due_in(lagging(shape))) == {1: {"name": "Ada"}}


def test_a_field_that_a_system_does_not_map_is_not_created_there():
    shape = entity(maps={"shop": [FieldMapping(field="email", column="email")]})
    assert due_in(shows(known(shape), crm={1: ADA})).creates.columns == [GID, "email"]


# ---------------------------------------------------------------- creates


def newborn(shape: Entity = SHAPE) -> Facts:
    """Two records that only the CRM shows."""
    return shows(known(shape), crm={1: ADA, 2: {"name": "Bob", "email": None}})


def test_a_record_without_a_row_is_created():
    todo = due_in(newborn())
    assert todo.creates.rows(named=True) == [{GID: 1, **ADA}, {GID: 2, "name": "Bob", "email": None}]
    assert (todo.updates.height, todo.deletes.height, todo.rows) == (0, 0, 2)


def test_nothing_is_created_in_the_system_that_showed_it():
    assert due_in(newborn(), "crm").rows == 0


def test_nothing_is_created_in_a_system_that_was_not_completely_observed():
    assert due_in(newborn(), may_create=False).rows == 0


def test_updates_need_no_complete_observation():
    assert updates(due_in(lagging(), may_create=False)) == {1: {"name": "Ada"}}


def test_a_record_that_a_parked_row_may_be_is_not_created():
    assert due_in(newborn(), blocked=pl.Series([1])).creates[GID].to_list() == [2]


@pytest.mark.parametrize("there", [MISSING, FILTERED, UNREADABLE])
def test_a_row_that_is_not_plainly_there_is_not_made_again(there: int) -> None:
    assert due_in(agreed(SHAPE, deltas=[shadow(1, "shop", state=there)])).rows == 0


def test_a_record_of_which_a_system_would_hold_no_value_is_not_created_there():
    shape = entity(maps={"shop": [FieldMapping(field="email", column="email")]})
    assert due_in(newborn(shape)).creates[GID].to_list() == [1]


def test_a_null_is_a_value_to_create_with():
    assert due_in(shows(known(SHAPE), crm={1: {"name": NULL, "email": None}})).creates["name"].to_list() == [NULL]


# ---------------------------------------------------------------- deletes


def doomed(**columns: Any) -> Facts:
    """A deleted record and another one; the shop was to be told something about both."""
    shape = replace(SHAPE, deletes=Deletes(sources=("crm",), action="propagate"))
    old = {"name": "Al"}
    goldens = [golden(shape, 1, ADA, deleted_at=known(shape).now), golden(shape, 2, ADA)]
    return known(shape, goldens, [shadow(1, "shop", sent=old, **columns), shadow(2, "shop", sent=old), shadow(2, "crm")])


def test_a_row_of_a_deleted_record_is_deleted_and_not_updated():
    todo = due_in(doomed())
    assert todo.deletes.rows() == [(1, "k1", None)]
    assert updates(todo) == {2: {"name": "Ada"}}
    assert todo.rows == 2


def test_a_deleted_record_is_created_nowhere():
    assert due_in(doomed(), "crm").rows == 0


@pytest.mark.parametrize("there", [MISSING, FILTERED, UNREADABLE])
def test_a_row_that_is_not_plainly_there_is_not_deleted(there: int) -> None:
    assert due_in(doomed(state=there)).deletes.is_empty()


def test_a_new_record_is_created_beside_a_deleted_one():
    """The number of rows says nothing about which they are."""
    facts = shows(doomed(), crm={3: {"name": "Cleo"}})
    assert due_in(facts).creates[GID].to_list() == [3]
