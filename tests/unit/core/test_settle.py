"""Shadows after a decision: what each system holds and stands for, so that nobody who was not told seems to know."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from tests.unit.core.tools import (
    ADA,
    THEN,
    agreed,
    candidate,
    entity,
    golden,
    holds,
    hours,
    known,
    owed,
    shadow,
    shows,
    stands,
    state,
    updates,
    value,
)
from trueup.core.cells import VERSION
from trueup.core.facts import FILTERED, MISSING, PRESENT, UNREADABLE
from trueup.core.reconcile import reconcile
from trueup.model import Deletes, Field, FieldMapping

SHAPE = entity()
THREE = entity(systems=("crm", "shop", "till"))


# ---------------------------------------------------------------- what moves when golden moves


def test_whoever_was_not_told_still_holds_and_stands_for_the_old_value():
    decision = reconcile(shows(agreed(SHAPE), crm={1: {"name": "Ann"}}))
    assert holds(decision, "shop") == stands(decision, "shop") == {"name": "Ada"}


def test_whoever_said_it_needs_no_delta():
    decision = reconcile(shows(agreed(SHAPE), crm={1: {"name": "Ann"}}))
    assert holds(decision, "crm") == stands(decision, "crm") == {}


def test_only_the_field_that_moved_is_named():
    facts = shows(agreed(SHAPE, deltas=[shadow(1, "shop", seen={"email": "ADA"})]), crm={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert holds(decision, "shop") == {"name": "Ada", "email": "ADA"}
    assert stands(decision, "shop") == {"name": "Ada"}


def test_a_system_that_was_behind_already_stays_where_it_was():
    """It was told neither of the two changes."""
    facts = agreed(THREE, deltas=[shadow(1, "shop", seen={"name": "Al"}, sent={"name": "Al"})])
    decision = reconcile(shows(facts, crm={1: {"name": "Ann"}}))
    assert holds(decision, "shop") == stands(decision, "shop") == {"name": "Al"}
    assert stands(decision, "till") == {"name": "Ada"}


def test_a_system_that_made_something_else_of_the_value_stands_for_the_value_it_was_given():
    facts = agreed(SHAPE, deltas=[shadow(1, "shop", seen={"name": "ADA"})])
    decision = reconcile(shows(facts, crm={1: {"name": "Ann"}}))
    assert (holds(decision, "shop"), stands(decision, "shop")) == ({"name": "ADA"}, {"name": "Ada"})


def test_when_golden_moves_to_what_a_system_holds_it_has_nothing_to_be_told():
    """The shop is behind at Ann; so be it, says the CRM."""
    facts = shows(agreed(SHAPE, deltas=[shadow(1, "shop", seen={"name": "Ann"}, sent={"name": "Ann"})]), crm={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert decision.after["sent"].to_list() == decision.after["seen"].to_list() == [None, None]
    assert owed(facts, decision, "shop").rows == 0


def test_a_null_that_was_overwritten_is_kept_as_null():
    facts = agreed(SHAPE, {1: ADA | {"name": "\x00"}})
    decision = reconcile(shows(facts, crm={1: {"name": "Ann"}}))
    assert decision.after.filter(pl.col("system") == "shop")["seen"].item() == '{"name":null}'


def test_an_overruled_edit_is_known_and_stood_for_so_that_golden_is_due():
    shape = entity(Field(name="phone", source_of_truth="crm"))
    facts = shows(agreed(shape, {1: ADA | {"phone": "111"}}), shop={1: {"phone": "222"}})
    decision = reconcile(facts)
    assert holds(decision, "shop") == stands(decision, "shop") == {"phone": "222"}
    assert updates(owed(facts, decision, "shop")) == {1: {"phone": "111"}}


def test_a_held_systems_reading_stands_for_itself_until_a_person_decides():
    facts = agreed(SHAPE, frozen=[candidate("shop", "Bob"), candidate(None, "Ada")])
    decision = reconcile(shows(facts, crm={1: {"name": "Cleo"}}))
    assert holds(decision, "crm") == stands(decision, "crm") == {"name": "Cleo"}


# ---------------------------------------------------------------- what a system cannot be given


def test_a_system_that_is_only_read_stands_for_exactly_what_it_holds():
    shape = entity(reads=["crm"])
    decision = reconcile(shows(agreed(shape), shop={1: {"name": "Ann"}}))
    assert holds(decision, "crm") == {"name": "Ada"}
    assert stands(decision, "crm") == {}


def test_an_edit_in_a_system_that_is_only_read_knew_what_it_held_not_what_golden_is():
    shape = entity(reads=["crm"])
    facts = shows(agreed(shape, deltas=[shadow(1, "crm", seen={"name": "Al"})]), crm={1: {"name": "Bob"}})
    decision = reconcile(facts)
    assert decision.opened == 1
    assert value(decision) == "Ada"


def test_fields_that_a_system_does_not_map_are_not_in_its_shadow():
    shape = entity(maps={"shop": [FieldMapping(field="email", column="email")]})
    decision = reconcile(shows(agreed(shape), crm={1: {"name": "Ann", "email": "x"}}))
    assert holds(decision, "shop") == {"email": "ada@example.com"}


# ---------------------------------------------------------------- new rows


def test_a_new_row_gets_a_shadow_with_its_key():
    facts = known(SHAPE, [golden(SHAPE, 1, ADA)], [shadow(1, "crm")])
    decision = reconcile(shows(facts, THEN, shop={1: ADA}))
    row = decision.after.filter(pl.col("system") == "shop").row(0, named=True)
    expected = {"gid": 1, "key": "k1", "khash": 1, "fingerprint": 1001, "modified": THEN, "state": PRESENT, "seen": None, "sent": None}
    assert {name: row[name] for name in expected} == expected


def test_of_a_value_that_a_new_row_does_not_show_nothing_is_known_and_nothing_is_due():
    facts = shows(known(SHAPE, [golden(SHAPE, 1, ADA)], [shadow(1, "crm")]), shop={1: {"name": "Ada"}})
    decision = reconcile(facts)
    assert holds(decision, "shop") == {"email": None}
    assert stands(decision, "shop") == {}
    assert updates(owed(facts, decision, "shop")) == {}


def test_a_value_that_a_new_row_cannot_show_is_due_there():
    only_written = FieldMapping(field="email", write={"email": "email"})
    shape = entity(maps={"shop": [FieldMapping(field="name", column="name"), only_written]})
    facts = shows(known(shape, [golden(shape, 1, ADA)], [shadow(1, "crm")]), shop={1: {"name": "Ada"}})
    assert updates(owed(facts, reconcile(facts), "shop")) == {1: {"email": "ada@example.com"}}


def test_a_null_in_a_new_row_is_due_to_become_the_value_that_stands():
    facts = shows(known(SHAPE, [golden(SHAPE, 1, ADA)], [shadow(1, "crm")]), shop={1: {"name": "Ada", "email": "\x00"}})
    assert updates(owed(facts, reconcile(facts), "shop")) == {1: {"email": "ada@example.com"}}


# ---------------------------------------------------------------- what the shadow keeps of a reading


def test_a_reading_is_remembered_by_fingerprint_time_and_version():
    facts = shows(agreed(SHAPE, deltas=[shadow(1, "crm", fingerprint=5, modified=THEN, native_version="v1")]), hours(-1), crm={1: {}})
    facts = replace(facts, observed={"crm": facts.observed["crm"].with_columns(pl.lit("v2").alias(VERSION))})
    decision = reconcile(facts)
    assert decision.shadows.select("system", "fingerprint", "modified", "native_version").rows() == [("crm", 1001, hours(-1), "v2")]


def test_a_reading_without_a_time_keeps_the_time_that_was_known():
    decision = reconcile(shows(agreed(SHAPE, deltas=[shadow(1, "crm", modified=THEN)]), None, crm={1: {}}))
    assert decision.shadows["modified"].item() == THEN


def test_a_row_that_was_not_read_keeps_what_is_known_of_it():
    facts = agreed(SHAPE, deltas=[shadow(1, "shop", fingerprint=5, modified=THEN, native_version="v1", written_at=THEN)])
    decision = reconcile(shows(facts, crm={1: {"name": "Ann"}}))
    row = decision.after.filter(pl.col("system") == "shop").row(0, named=True)
    assert (row["fingerprint"], row["modified"], row["native_version"], row["written_at"]) == (5, THEN, "v1", THEN)


def test_only_shadows_that_something_happened_to_are_written():
    facts = agreed(THREE, {1: ADA, 2: ADA, 3: ADA})
    decision = reconcile(shows(facts, crm={1: {"name": "Ann"}, 2: {}}))
    assert set(decision.shadows.select("gid", "system").rows()) == {(1, "crm"), (1, "shop"), (1, "till"), (2, "crm")}
    assert decision.after.height == 9


# ---------------------------------------------------------------- states


@pytest.mark.parametrize("before", [MISSING, FILTERED, UNREADABLE])
def test_a_row_that_is_read_again_is_there(before: int) -> None:
    decision = reconcile(shows(agreed(SHAPE, deltas=[shadow(1, "crm", state=before)]), crm={1: {}}))
    assert state(decision, "crm") == PRESENT


@pytest.mark.parametrize("before", [MISSING, FILTERED, UNREADABLE])
def test_a_row_that_is_not_read_stays_as_it_was(before: int) -> None:
    decision = reconcile(shows(agreed(SHAPE, deltas=[shadow(1, "crm", state=before)]), shop={1: {"name": "Ann"}}))
    assert state(decision, "crm") == before
    assert stands(decision, "crm") == {"name": "Ada"}, "it will be told when it is back"


def test_a_row_that_vanished_and_is_left_alone_is_missing():
    decision = reconcile(agreed(SHAPE, gone=[(1, "shop")]))
    assert (state(decision, "crm"), state(decision, "shop")) == (PRESENT, MISSING)
    assert decision.shadows["system"].to_list() == ["shop"]


def test_every_row_that_is_left_of_a_deleted_record_says_that_something_is_due():
    shape = replace(THREE, deletes=Deletes(sources=("crm",), action="propagate"))
    decision = reconcile(agreed(shape, {1: ADA, 2: ADA}, gone=[(1, "crm")]))
    assert set(decision.shadows.select("gid", "system", "sent").rows()) == {(1, "shop", "{}"), (1, "till", "{}")}
    assert decision.after.filter(pl.col("gid") == 2)["sent"].to_list() == [None, None, None]


def test_a_shadow_that_was_dropped_is_not_written():
    shape = replace(SHAPE, deletes=Deletes(sources=("crm",), action="propagate"))
    decision = reconcile(agreed(shape, gone=[(1, "crm")]))
    assert state(decision, "crm") is None
    assert decision.removed.rows() == [(1, "crm", "k1")]
    assert decision.shadows["system"].to_list() == ["shop"]
