"""What counts as an edit: what a system shows now, minus what it was last seen to hold."""

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
    told,
    updates,
    value,
    waiting,
)
from trueup.core.cells import AT, GID, NULL, SYSTEM
from trueup.core.facts import FILTERED, MISSING, PRESENT, UNREADABLE
from trueup.core.reconcile import reconcile
from trueup.model import Field, FieldMapping

SHAPE = entity()
LATEST = entity(Field(name="phone", conflict="last_write_wins"))
PHONE = ADA | {"phone": "111"}


# ---------------------------------------------------------------- edits


def test_a_row_that_reads_as_before_says_nothing():
    facts = shows(agreed(SHAPE), crm={1: {}}, shop={1: {}})
    decision = reconcile(facts)
    assert decision.golden.is_empty()
    assert decision.history.is_empty()
    assert decision.edited == {}
    assert owed(facts, decision, "crm").rows == owed(facts, decision, "shop").rows == 0


def test_what_a_system_made_of_a_value_is_no_edit():
    """The shop stores ADA where it was given Ada: it holds the one and stands for the other."""
    facts = shows(agreed(SHAPE, deltas=[shadow(1, "shop", seen={"name": "ADA"})]), shop={1: {"name": "ADA"}})
    decision = reconcile(facts)
    assert value(decision) == "Ada"
    assert decision.edited == {}
    assert owed(facts, decision, "shop").rows == 0


def test_an_edit_to_the_golden_value_itself_is_still_an_edit():
    facts = shows(agreed(SHAPE, deltas=[shadow(1, "shop", seen={"name": "Bob"}, sent={"name": "Bob"})]), shop={1: {"name": "Ada"}})
    decision = reconcile(facts)
    assert decision.edited == {"shop": 1}
    assert holds(decision, "shop") == stands(decision, "shop") == {}
    assert owed(facts, decision, "shop").rows == 0


def test_edited_rows_are_counted_not_edited_values():
    facts = agreed(entity(Field(name="phone")), {1: ADA | {"phone": "1"}, 2: ADA | {"phone": "2"}})
    decision = reconcile(shows(facts, crm={1: {"name": "Ann", "phone": "9"}, 2: {"phone": "8"}}, shop={1: {}}))
    assert decision.edited == {"crm": 2}


@pytest.mark.parametrize("cell", [NULL, ""])
def test_null_and_empty_are_edits(cell: str) -> None:
    assert value(reconcile(shows(agreed(SHAPE), crm={1: {"name": cell}}))) == cell


def test_an_absent_value_is_no_edit():
    decision = reconcile(shows(agreed(SHAPE), crm={1: {"name": None}}))
    assert value(decision) == "Ada"
    assert decision.edited == {}
    assert holds(decision, "crm") == {}


def test_null_and_absent_in_the_shadow_are_told_apart():
    """A field that was null was seen; one that was absent never was, and has no base."""
    nulled = reconcile(shows(agreed(SHAPE, deltas=[shadow(1, "crm", seen={"name": NULL}, sent={"name": NULL})]), crm={1: {"name": "Ann"}}))
    assert nulled.edited == {"crm": 1}
    unseen = reconcile(shows(agreed(SHAPE, deltas=[shadow(1, "crm", seen={"name": None})]), crm={1: {"name": "Ann"}}))
    assert unseen.edited == {}, "that is a first contact"
    assert waiting(unseen) == {(None, "Ada"), ("crm", "Ann")}


def test_only_fields_that_a_system_can_show_are_compared():
    shape = entity(maps={"shop": [FieldMapping(field="name", write={"name": "name"}), FieldMapping(field="email", column="email")]})
    facts = shows(agreed(shape), shop={1: {}})
    facts = replace(facts, observed={"shop": facts.observed["shop"].with_columns(name=pl.lit("Bob"))})
    assert reconcile(facts).golden.is_empty()


# ---------------------------------------------------------------- first contact


def test_a_row_without_a_shadow_has_no_base():
    facts = known(SHAPE, [golden(SHAPE, 1, ADA)], [shadow(1, "crm")])
    decision = reconcile(shows(facts, shop={1: {"name": "Bob", "email": "ada@example.com"}}))
    assert decision.edited == {}
    assert waiting(decision) == {(None, "Ada"), ("shop", "Bob")}
    assert value(decision) == "Ada"


def test_a_record_being_born_has_no_golden_values_yet():
    decision = reconcile(shows(known(SHAPE), crm={5: ADA}))
    assert decision.born.to_list() == [5]
    assert value(decision, "email", gid=5) == "ada@example.com"
    assert decision.history["before"].to_list() == [None, None]


# ---------------------------------------------------------------- old windows

FILE = [shadow(1, "shop", before='{"name":"Bob"}')]


def test_an_edit_in_a_file_back_to_what_it_showed_before_our_delivery_is_for_a_person():
    decision = reconcile(shows(agreed(SHAPE, files=frozenset({"shop"}), deltas=FILE), shop={1: {"name": "Bob"}}))
    assert value(decision) == "Ada"
    assert waiting(decision) == {(None, "Ada"), ("shop", "Bob")}


def test_the_same_edit_in_a_database_is_an_edit():
    assert value(reconcile(shows(agreed(SHAPE, deltas=FILE), shop={1: {"name": "Bob"}}))) == "Bob"


def test_another_edit_in_a_file_is_an_edit():
    assert value(reconcile(shows(agreed(SHAPE, files=frozenset({"shop"}), deltas=FILE), shop={1: {"name": "Cleo"}}))) == "Cleo"


def test_an_old_window_is_for_a_person_whatever_the_rule():
    facts = agreed(LATEST, {1: PHONE}, files=frozenset({"shop"}), deltas=[shadow(1, "shop", before='{"phone":"099"}')])
    decision = reconcile(shows(facts, shop={1: {"phone": "099"}}))
    assert value(decision, "phone") == "111"
    assert waiting(decision, "phone") == {(None, "111"), ("shop", "099")}


def test_what_others_edit_beside_an_old_window_waits_with_it():
    shape = entity(Field(name="phone", conflict="max"))
    facts = agreed(shape, {1: PHONE}, files=frozenset({"shop"}), deltas=[shadow(1, "shop", before='{"phone":"099"}')])
    decision = reconcile(shows(facts, shop={1: {"phone": "099"}}, crm={1: {"phone": "222"}}))
    assert value(decision, "phone") == "111"
    assert waiting(decision, "phone") >= {("shop", "099"), ("crm", "222")}
    assert told(decision, "candidate") == {("candidate", "shop", "099"), ("candidate", "crm", "222")}


# ---------------------------------------------------------------- whose the golden value is


def conflicting(**columns: str | None) -> str | None:
    """The phone number that stands where the CRM's 222 from two hours ago meets a golden 111 that it did not know."""
    facts = known(
        LATEST,
        [golden(LATEST, 1, PHONE, **columns)],
        [shadow(1, "crm", seen={"phone": "000"}, sent={"phone": "000"}), shadow(1, "shop")],
    )
    return value(reconcile(shows(facts, hours(-2), crm={1: {"phone": "222"}})), "phone")


def test_the_golden_value_is_as_old_as_its_record():
    assert conflicting() == "222"


def test_a_value_that_came_later_has_its_own_origin():
    assert conflicting(origins=f'{{"phone":["shop","{hours(-1):%Y-%m-%dT%H:%M:%S.%fZ}"]}}') == "111"
    assert conflicting(origins=f'{{"name":["shop","{hours(-1):%Y-%m-%dT%H:%M:%S.%fZ}"]}}') == "222"


def test_a_value_that_a_person_settled_has_a_time_though_no_system():
    assert conflicting(origins=f'{{"phone":[null,"{hours(-1):%Y-%m-%dT%H:%M:%S.%fZ}"]}}') == "111"


# ---------------------------------------------------------------- who holds the record

OWNED = entity(Field(name="phone", source_of_truth="crm"))


@pytest.mark.parametrize("there", [PRESENT, FILTERED, UNREADABLE])
def test_an_owner_whose_row_is_there_overrules_though_it_was_not_read(there: int) -> None:
    facts = agreed(OWNED, {1: PHONE}, deltas=[shadow(1, "crm", state=there)])
    decision = reconcile(shows(facts, shop={1: {"phone": "222"}}))
    assert value(decision, "phone") == "111"
    assert told(decision, "overruled") == {("overruled", "shop", "222")}


def test_an_owner_whose_row_is_missing_does_not_hold_the_record():
    facts = agreed(OWNED, {1: PHONE}, deltas=[shadow(1, "crm", state=MISSING)])
    assert value(reconcile(shows(facts, shop={1: {"phone": "222"}})), "phone") == "222"


def test_an_owner_whose_row_is_gone_now_does_not_hold_the_record():
    facts = agreed(OWNED, {1: PHONE}, gone=[(1, "crm")])
    assert value(reconcile(shows(facts, shop={1: {"phone": "222"}})), "phone") == "222"


def test_an_owner_whose_row_is_back_holds_the_record_again():
    facts = agreed(OWNED, {1: PHONE}, deltas=[shadow(1, "crm", state=MISSING)])
    assert value(reconcile(shows(facts, crm={1: {}}, shop={1: {"phone": "222"}})), "phone") == "111"


# ---------------------------------------------------------------- reused keys

MATCHED = entity(Field(name="phone"), match=(("email",),))
OTHER = {"name": "Bob", "email": "bob@example.com", "phone": "222"}


def test_a_known_key_of_which_every_value_changed_is_perhaps_another_record():
    facts = shows(agreed(MATCHED, {1: PHONE}), crm={1: OTHER})
    decision = reconcile(facts)
    assert decision.reused.rows() == [(1, "crm", "k1")]
    assert value(decision) == "Ada"
    assert decision.golden.is_empty()
    assert decision.shadows.is_empty(), "the row is left as it was last seen"


def test_a_reused_key_harms_only_itself():
    facts = shows(agreed(MATCHED, {1: PHONE, 2: PHONE}), crm={1: OTHER, 2: {"name": "Ann"}}, shop={1: {"phone": "333"}})
    decision = reconcile(facts)
    assert decision.reused.select(GID, SYSTEM).rows() == [(1, "crm")]
    assert value(decision, gid=2) == "Ann"
    assert value(decision, "phone") == "333"
    assert decision.edited == {"crm": 1, "shop": 1}


@pytest.mark.parametrize("kept", ["name", "email", "phone"])
def test_one_value_that_stayed_makes_it_an_edit(kept: str) -> None:
    decision = reconcile(shows(agreed(MATCHED, {1: PHONE}), crm={1: OTHER | {kept: PHONE[kept]}}))
    assert decision.reused.is_empty()
    assert decision.edited == {"crm": 1}


def test_a_changed_e_mail_address_alone_is_an_ordinary_edit():
    shape = entity(match=(("email",),), maps={"crm": [FieldMapping(field="email", column="email")]})
    decision = reconcile(shows(agreed(shape), crm={1: {"email": "bob@example.com"}}))
    assert decision.reused.is_empty()
    assert value(decision, "email") == "bob@example.com"


def test_an_absent_value_says_nothing_against_another_record():
    decision = reconcile(shows(agreed(MATCHED, {1: PHONE}), crm={1: OTHER | {"phone": None}}))
    assert decision.reused.height == 1


@pytest.mark.parametrize(("before", "after"), [(None, None), (None, "222"), ("111", None)])
def test_an_empty_value_says_nothing_against_another_record(before: str | None, after: str | None) -> None:
    was, now = (NULL if value is None else value for value in (before, after))
    facts = agreed(MATCHED, {1: ADA | {"phone": was}})
    assert reconcile(shows(facts, crm={1: OTHER | {"phone": now}})).reused.height == 1


@pytest.mark.parametrize(("kept", "parked"), [("name", True), ("phone", True), ("email", False)])
def test_in_another_place_most_values_must_have_stayed(kept: str, parked: bool) -> None:
    facts = shows(agreed(MATCHED, {1: PHONE}), crm={1: OTHER | {kept: PHONE[kept]}})
    assert reconcile(replace(facts, moved=frozenset({"shop"}))).reused.is_empty()
    assert reconcile(replace(facts, moved=frozenset({"crm"}))).reused.height == parked


def test_an_edit_of_a_match_value_in_another_place_is_an_edit() -> None:
    facts = shows(agreed(MATCHED, {1: PHONE}), crm={1: {"email": OTHER["email"]}})
    assert reconcile(replace(facts, moved=frozenset({"crm"}))).reused.is_empty()


def test_a_value_that_was_unknown_before_says_nothing_against_another_record():
    facts = agreed(MATCHED, {1: ADA}, deltas=[shadow(1, "crm", seen={"phone": None})])
    assert reconcile(shows(facts, crm={1: OTHER})).reused.height == 1


@pytest.mark.parametrize("kept", ["name", "phone"])
def test_a_suspect_is_no_edit_because_some_value_came_to_be_the_same(kept: str) -> None:
    facts = agreed(MATCHED, {1: PHONE}, suspects=frozenset({("crm", "k1")}))
    assert reconcile(shows(facts, crm={1: OTHER | {kept: PHONE[kept]}})).reused.height == 1


def test_a_suspect_that_has_its_own_match_values_again_is_its_record() -> None:
    facts = agreed(MATCHED, {1: PHONE}, suspects=frozenset({("crm", "k1")}))
    decision = reconcile(shows(facts, crm={1: {"name": "Bob"}}))
    assert decision.reused.is_empty()
    assert value(decision) == "Bob"


def test_without_a_match_rule_a_row_is_what_its_key_says():
    decision = reconcile(shows(agreed(SHAPE), crm={1: {"name": "Bob", "email": "bob@example.com"}}))
    assert decision.reused.is_empty()
    assert value(decision) == "Bob"


def test_a_person_may_say_that_it_is_the_same_record():
    facts = agreed(MATCHED, {1: PHONE}, same_record=frozenset({"crm\x1fk1"}))
    decision = reconcile(shows(facts, crm={1: OTHER}))
    assert decision.reused.is_empty()
    assert value(decision) == "Bob"


def test_a_person_who_said_so_of_one_systems_row_did_not_say_it_of_anothers():
    facts = agreed(MATCHED, {1: PHONE}, same_record=frozenset({"crm\x1fk1"}))
    assert reconcile(shows(facts, shop={1: OTHER})).reused.select(SYSTEM).rows() == [("shop",)]


def test_a_new_row_is_not_taken_for_a_reused_key():
    facts = known(MATCHED, [golden(MATCHED, 1, PHONE)], [shadow(1, "crm")])
    assert reconcile(shows(facts, shop={1: OTHER})).reused.is_empty()


# ---------------------------------------------------------------- times


def test_an_edit_of_unknown_time_is_dated_by_the_moment_of_observation():
    facts = shows(agreed(SHAPE), None, crm={1: {"name": "Ann"}})
    assert reconcile(facts).history[AT].to_list() == [facts.now]


def test_an_edit_from_the_future_counts_as_now():
    facts = shows(agreed(SHAPE), hours(5), crm={1: {"name": "Ann"}})
    assert reconcile(facts).history[AT].to_list() == [facts.now]


def test_an_edit_is_as_old_as_its_system_says():
    assert reconcile(shows(agreed(SHAPE), THEN, crm={1: {"name": "Ann"}})).history[AT].to_list() == [THEN]


def test_a_frozen_field_takes_the_edit_as_a_candidate():
    facts = agreed(SHAPE, frozen=[candidate("shop", "Bob"), candidate(None, "Ada")])
    decision = reconcile(shows(facts, crm={1: {"name": "Cleo"}}))
    assert waiting(decision) == {("shop", "Bob"), ("crm", "Cleo")}
    assert updates(owed(facts, decision, "shop")) == {}
