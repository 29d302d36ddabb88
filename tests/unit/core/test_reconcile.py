"""One pass over a few records, from what systems show to what is agreed: ownership, rules, conflicts, first contact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import polars as pl
import pytest

from tests.unit.core.tools import (
    ADA,
    NOW,
    THEN,
    Cells,
    agreed,
    candidate,
    delivered,
    entity,
    golden,
    holds,
    hours,
    known,
    owed,
    plain,
    shadow,
    shows,
    stands,
    told,
    updates,
    value,
    waiting,
)
from trueup.core.births import births
from trueup.core.cells import GID, NULL
from trueup.core.facts import Decision, Facts
from trueup.core.fingerprint import match_hash
from trueup.core.reconcile import reconcile
from trueup.model import ConflictRule, Deletes, Entity, Field

SYSTEMS = ("crm", "shop", "till")
MANUAL = entity(systems=SYSTEMS)


def counting(conflict: ConflictRule, **field: Any) -> Entity:
    """Three systems that share a number."""
    return entity(Field(name="points", type="integer", conflict=conflict, **field), systems=SYSTEMS)


def points(
    shape: Entity, crm: str | None = None, shop: str | None = None, *, crm_at: float = 0, shop_at: float = 0, agreed_at: str = "10"
) -> Decision:
    """The number was 10 everywhere; then two systems say these."""
    facts = agreed(shape, {1: ADA | {"points": agreed_at}})
    if crm is not None:
        facts = shows(facts, hours(crm_at), crm={1: {"points": crm}})
    if shop is not None:
        facts = shows(facts, hours(shop_at), shop={1: {"points": shop}})
    return reconcile(facts)


# ---------------------------------------------------------------- one edit


@pytest.mark.parametrize("rule", ["manual", "last_write_wins", "first_write_wins", "max", "min", "add"])
def test_an_edit_that_meets_nobody_elses_is_taken_whatever_the_rule(rule: ConflictRule) -> None:
    for said in ("7", "12"):
        decision = points(counting(rule), shop=said)
        assert value(decision, "points") == said
        assert decision.updated == 1
        assert decision.opened == 0


def test_an_edit_is_due_in_every_other_system_and_nowhere_else():
    facts = shows(agreed(MANUAL), shop={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert {system: updates(owed(facts, decision, system)) for system in SYSTEMS} == {
        "crm": {1: {"name": "Ann"}},
        "shop": {},
        "till": {1: {"name": "Ann"}},
    }


def test_the_history_says_what_became_of_what_and_why():
    decision = reconcile(shows(agreed(MANUAL), hours(-1), shop={1: {"name": "Ann"}}))
    assert decision.history.rows() == [(1, "name", "Ada", "Ann", "shop", hours(-1), "accepted", "edit")]


def test_edits_of_different_fields_do_not_meet():
    decision = reconcile(shows(agreed(MANUAL), crm={1: {"name": "Ann"}}, shop={1: {"email": "ann@example.com"}}))
    assert (value(decision), value(decision, "email")) == ("Ann", "ann@example.com")
    assert decision.opened == 0


def test_edits_of_different_records_do_not_meet():
    decision = reconcile(shows(agreed(MANUAL, {1: ADA, 2: ADA}), crm={1: {"name": "Ann"}}, shop={2: {"name": "Bob"}}))
    assert (value(decision), value(decision, gid=2)) == ("Ann", "Bob")


def test_the_same_edit_twice_is_one():
    facts = shows(agreed(MANUAL), crm={1: {"name": "Ann"}}, shop={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert value(decision) == "Ann"
    assert decision.opened == 0
    assert [updates(owed(facts, decision, system)) for system in SYSTEMS] == [{}, {}, {1: {"name": "Ann"}}]


def test_an_edit_to_what_golden_has_become_meanwhile_is_no_conflict():
    facts = agreed(MANUAL, deltas=[shadow(1, "shop", seen={"name": "Al"}, sent={"name": "Al"})])
    decision = reconcile(shows(facts, shop={1: {"name": "Ada"}}))
    assert decision.opened == 0
    assert stands(decision, "shop") == {}


# ---------------------------------------------------------------- ownership

OWNED = entity(Field(name="phone", source_of_truth="crm"), systems=SYSTEMS)
PHONE = ADA | {"phone": "111"}


def test_the_owners_edit_is_taken():
    assert value(reconcile(shows(agreed(OWNED, {1: PHONE}), crm={1: {"phone": "222"}})), "phone") == "222"


def test_the_owners_edit_is_taken_though_it_had_not_heard_of_the_value_that_stands():
    facts = agreed(OWNED, {1: PHONE}, deltas=[shadow(1, "crm", seen={"phone": "000"}, sent={"phone": "000"})])
    decision = reconcile(shows(facts, crm={1: {"phone": "222"}}))
    assert value(decision, "phone") == "222"
    assert decision.opened == 0


def test_an_edit_by_another_than_the_owner_is_put_back_and_told():
    facts = shows(agreed(OWNED, {1: PHONE}), shop={1: {"phone": "222"}})
    decision = reconcile(facts)
    assert value(decision, "phone") == "111"
    assert decision.overruled == 1
    assert told(decision, "overruled") == {("overruled", "shop", "222")}
    assert updates(owed(facts, decision, "shop")) == {1: {"phone": "111"}}
    assert owed(facts, decision, "till").rows == 0


def test_the_owner_wins_against_a_later_edit_by_another():
    facts = shows(agreed(OWNED, {1: PHONE}), hours(-5), crm={1: {"phone": "222"}})
    decision = reconcile(shows(facts, hours(-1), shop={1: {"phone": "333"}}))
    assert value(decision, "phone") == "222"
    assert told(decision, "overruled") == {("overruled", "shop", "333")}


def test_until_the_owner_holds_the_record_the_value_of_whoever_made_it_stands():
    decision = reconcile(shows(known(OWNED), shop={1: PHONE}))
    assert value(decision, "phone") == "111"
    assert decision.overruled == 0


def test_when_the_owner_comes_to_hold_the_record_its_value_stands():
    facts = known(OWNED, [golden(OWNED, 1, PHONE, origin_system="shop")], [shadow(1, "shop")])
    decision = reconcile(shows(facts, crm={1: PHONE | {"phone": "222"}}))
    assert value(decision, "phone") == "222"


def test_the_edits_of_a_system_that_a_person_refused_are_put_back():
    facts = shows(agreed(MANUAL, refused=frozenset({"shop"})), shop={1: {"name": "Bob"}}, crm={1: {"email": "x"}})
    decision = reconcile(facts)
    assert value(decision) == "Ada"
    assert value(decision, "email") == "x"
    assert told(decision, "overruled") == {("overruled", "shop", "Bob")}
    assert updates(owed(facts, decision, "shop")) == {1: {"name": "Ada", "email": "x"}}


def test_a_system_that_is_only_written_has_nothing_to_say():
    shape = entity(systems=SYSTEMS, writes=["till"])
    facts = shows(agreed(shape), till={1: {"name": "Bob"}})
    decision = reconcile(facts)
    assert value(decision) == "Ada"
    assert updates(owed(facts, decision, "till")) == {1: {"name": "Ada"}}
    assert told(decision, "overruled") == {("overruled", "till", "Bob")}


# ---------------------------------------------------------------- conflicts


def test_by_default_nobody_wins():
    facts = shows(agreed(MANUAL), crm={1: {"name": "Ann"}}, shop={1: {"name": "Bob"}})
    decision = reconcile(facts)
    assert value(decision) == "Ada"
    assert waiting(decision) == {("crm", "Ann"), ("shop", "Bob")}
    assert decision.opened == 1
    assert [owed(facts, decision, system).rows for system in SYSTEMS] == [0, 0, 0]
    assert told(decision, "candidate") == {("candidate", "crm", "Ann"), ("candidate", "shop", "Bob")}


def test_an_edit_that_did_not_know_the_golden_value_is_in_conflict_with_it():
    facts = agreed(MANUAL, deltas=[shadow(1, "shop", seen={"name": "Al"}, sent={"name": "Al"})])
    decision = reconcile(shows(facts, shop={1: {"name": "Bob"}}))
    assert waiting(decision) == {(None, "Ada"), ("shop", "Bob")}


def test_an_edit_that_knew_the_golden_value_stands_for_it_too():
    """The CRM's edit replaces Ada; the shop's, made on Al, does not know that."""
    facts = agreed(MANUAL, deltas=[shadow(1, "shop", seen={"name": "Al"}, sent={"name": "Al"})])
    decision = reconcile(shows(facts, crm={1: {"name": "Ann"}}, shop={1: {"name": "Bob"}}))
    assert waiting(decision) == {("crm", "Ann"), ("shop", "Bob")}


def test_a_conflict_in_one_field_leaves_the_others_alone():
    facts = shows(agreed(MANUAL), crm={1: {"name": "Ann", "email": "ann@example.com"}}, shop={1: {"name": "Bob"}})
    decision = reconcile(facts)
    assert updates(owed(facts, decision, "shop")) == {1: {"email": "ann@example.com"}}


def test_the_latest_edit_wins_and_the_other_is_kept():
    shape = counting("last_write_wins")
    for crm_at, shop_at, won, lost in ((-2, -1, "8", ("lost", "crm", "7")), (-1, -2, "7", ("lost", "shop", "8"))):
        decision = points(shape, "7", "8", crm_at=crm_at, shop_at=shop_at)
        assert value(decision, "points") == won
        assert told(decision, "lost") == {lost}


def test_the_earliest_edit_wins_and_the_other_is_kept():
    decision = points(counting("first_write_wins"), "7", "8", crm_at=-1, shop_at=-2)
    assert value(decision, "points") == "8"
    assert told(decision, "lost") == {("lost", "crm", "7")}


def test_the_first_edit_stands_until_everybody_has_it():
    """The shop had not been told 10 yet: its later 8 loses; once it has been, its next edit is an ordinary one."""
    shape = counting("first_write_wins")
    behind = agreed(shape, {1: ADA | {"points": "10"}}, deltas=[shadow(1, "shop", seen={"points": "9"}, sent={"points": "9"})])
    facts = shows(behind, hours(-1), shop={1: {"points": "8"}})
    decision = reconcile(facts)
    assert value(decision, "points") == "10"
    facts = shows(delivered(facts, decision), hours(-1), shop={1: {"points": "8"}})
    assert value(reconcile(facts), "points") == "8"


@pytest.mark.parametrize(("rule", "stands"), [("max", "11"), ("min", "9")])
def test_the_larger_or_the_smaller_one_stands_as_a_number(rule: ConflictRule, stands: str) -> None:
    assert value(points(counting(rule), "9", "11"), "points") == stands
    assert value(points(counting(rule), "11", "9"), "points") == stands


@pytest.mark.parametrize("rule", ["max", "min"])
def test_null_is_neither_the_larger_nor_the_smaller_one(rule: ConflictRule) -> None:
    assert value(points(counting(rule), NULL, "5"), "points") == "5"


@pytest.mark.parametrize("rule", ["max", "min"])
def test_null_is_neither_the_later_nor_the_earlier_day(rule: ConflictRule) -> None:
    facts = agreed(entity(Field(name="due", type="date", conflict=rule)), {1: ADA | {"due": "2026-05-01"}})
    assert value(reconcile(shows(facts, crm={1: {"due": NULL}}, shop={1: {"due": "2026-06-01"}})), "due") == "2026-06-01"


@pytest.mark.parametrize("rule", ["last_write_wins", "first_write_wins"])
def test_ties_go_by_precedence(rule: ConflictRule) -> None:
    assert value(points(counting(rule), "7", "8"), "points") == "7"
    shape = replace(counting(rule), precedence=("till", "shop", "crm"))
    assert value(points(shape, "7", "8"), "points") == "8"


def test_a_counter_that_somebody_empties_is_told_its_sum():
    """A null counts as zero, and does not stay: the counter would never read alike everywhere."""
    facts = shows(agreed(counting("add"), {1: ADA | {"points": "30"}}), crm={1: {"points": NULL}})
    decision = reconcile(facts)
    assert value(decision, "points") == "0"
    assert [updates(owed(facts, decision, system)) for system in SYSTEMS] == [{1: {"points": "0"}}] * 3


def test_a_counter_too_large_to_add_waits_for_a_person_and_stops_nobody_else():
    large = "9" * 26
    records = {1: ADA | {"points": large}, 2: ADA | {"points": "1"}}
    facts = shows(agreed(counting("add"), records), crm={1: {"points": large[:-1] + "8"}, 2: {"points": "3"}}, shop={1: {"points": "7"}})
    decision = reconcile(facts)
    assert set(decision.frozen.select(GID, "field").rows()) == {(1, "points")}
    assert value(decision, "points", 2) == "3"


def test_changes_of_a_counter_are_added_and_due_everywhere():
    facts = shows(agreed(counting("add"), {1: ADA | {"points": "10"}}), crm={1: {"points": "15"}}, shop={1: {"points": "7"}})
    decision = reconcile(facts)
    assert [updates(owed(facts, decision, system)) for system in SYSTEMS] == [{1: {"points": "12"}}] * 3


def test_a_sale_on_an_old_count_is_no_conflict():
    facts = agreed(counting("add"), {1: ADA | {"points": "30"}}, deltas=[shadow(1, "shop", seen={"points": "10"}, sent={"points": "10"})])
    decision = reconcile(shows(facts, shop={1: {"points": "8"}}))
    assert value(decision, "points") == "28"
    assert stands(decision, "shop") == {"points": "8"}
    assert stands(decision, "crm") == {"points": "30"}


def test_a_counter_that_a_system_rounds_is_not_delivered_back_to_it():
    """The till holds 10 where it was given 10.4; one more makes 11.4, of which it holds 11."""
    shape = entity(Field(name="balance", type="decimal", conflict="add"), systems=SYSTEMS)
    facts = agreed(shape, {1: ADA | {"balance": "10.4"}}, deltas=[shadow(1, "till", seen={"balance": "10"})])
    facts = shows(facts, till={1: {"balance": "11"}})
    decision = reconcile(facts)
    assert value(decision, "balance") == "11.4"
    assert holds(decision, "till") == {"balance": "11"}
    assert owed(facts, decision, "till").rows == 0


def test_a_rule_judges_an_edit_that_meets_nobody_elses():
    shape = counting("rule", rule="least(incoming, golden)")
    rising, falling = points(shape, shop="12"), points(shape, shop="8")
    assert value(rising, "points") == "10"
    assert told(rising, "lost") == {("lost", "shop", "12")}
    assert stands(rising, "shop") == {"points": "12"}, "the value that stands is due there"
    assert value(falling, "points") == "8"


def test_overlapping_texts_are_for_a_person():
    shape = entity(Field(name="notes", conflict="text"))
    facts = agreed(shape, {1: ADA | {"notes": "one\ntwo\nthree"}})
    apart = reconcile(shows(facts, crm={1: {"notes": "1\ntwo\nthree"}}, shop={1: {"notes": "one\ntwo\n3"}}))
    assert value(apart, "notes") == "1\ntwo\n3"
    touching = reconcile(shows(facts, crm={1: {"notes": "1\ntwo\nthree"}}, shop={1: {"notes": "I\ntwo\nthree"}}))
    assert value(touching, "notes") == "one\ntwo\nthree"
    assert waiting(touching, "notes") == {("crm", "1\ntwo\nthree"), ("shop", "I\ntwo\nthree")}


# ---------------------------------------------------------------- what waits for a person

OPEN = [candidate("crm", "Ann"), candidate("shop", "Bob")]
DISPUTED = [shadow(1, "crm", seen={"name": "Ann"}, sent={"name": "Ann"}), shadow(1, "shop", seen={"name": "Bob"}, sent={"name": "Bob"})]


def disputed(**systems: Any) -> tuple[Facts, Decision]:
    """The CRM says Ann, the shop says Bob, and then these systems show something."""
    facts = shows(agreed(MANUAL, frozen=OPEN, deltas=DISPUTED), **systems)
    return facts, reconcile(facts)


def test_a_conflict_stays_open_while_nothing_happens():
    facts, decision = disputed(crm={1: {}})
    assert decision.frozen_pairs.rows() == [(1, "name")]
    assert decision.opened == 0
    assert [owed(facts, decision, system).rows for system in SYSTEMS] == [0, 0, 0]


def test_a_further_edit_replaces_its_systems_candidate():
    _facts, decision = disputed(shop={1: {"name": "Cleo"}})
    assert waiting(decision) == {("crm", "Ann"), ("shop", "Cleo")}
    assert decision.opened == 0


def test_an_edit_by_a_third_joins():
    _facts, decision = disputed(till={1: {"name": "Dora"}})
    assert waiting(decision) == {("crm", "Ann"), ("shop", "Bob"), ("till", "Dora")}


def test_when_all_agree_it_thaws_and_the_others_are_told():
    facts, decision = disputed(shop={1: {"name": "Ann"}})
    assert value(decision) == "Ann"
    assert decision.thawed.rows() == [(1, "name")]
    assert decision.frozen_pairs.is_empty()
    assert [updates(owed(facts, decision, system)) for system in SYSTEMS] == [{}, {}, {1: {"name": "Ann"}}]


def test_counters_that_happen_to_show_the_same_stay_frozen():
    """Nobody knows whether the shop's 15 has the last delivery in it; 2 more in the CRM make 15 there, too, and are 2 more all the same."""
    shape = counting("add")
    open_now = [candidate("shop", "15", field="points", base="11"), candidate(None, "13", field="points", base="11")]
    told = [shadow(1, "shop", seen={"points": "15"}, sent={"points": "15"})]
    decision = reconcile(shows(agreed(shape, {1: ADA | {"points": "13"}}, frozen=open_now, deltas=told), crm={1: {"points": "15"}}))
    assert value(decision, "points") == "13"
    assert waiting(decision, "points") == {("crm", "15"), ("shop", "15")}
    assert decision.thawed.is_empty()


def test_a_golden_value_that_an_agreeing_edit_did_not_know_keeps_it_frozen():
    facts = agreed(MANUAL, frozen=[candidate(None, "Ada"), candidate("shop", "Bob")], deltas=DISPUTED)
    decision = reconcile(shows(facts, crm={1: {"name": "Bob"}}))
    assert waiting(decision) == {(None, "Ada"), ("crm", "Bob"), ("shop", "Bob")}


def test_a_change_that_looks_wrong_waits_whatever_the_rule():
    shape = counting("last_write_wins", hold_if="incoming < base * 0.5")
    held = points(shape, shop="4")
    assert value(held, "points") == "10"
    assert waiting(held, "points") == {("shop", "4")}
    assert held.frozen["kind"].to_list() == ["hold"]
    assert told(held, "edit") == set()
    assert value(points(shape, shop="6"), "points") == "6"


def test_a_held_change_of_an_owner_waits_too():
    shape = entity(Field(name="points", type="integer", source_of_truth="crm", hold_if="incoming < base * 0.5"), systems=SYSTEMS)
    assert value(points(shape, crm="4"), "points") == "10"


# ---------------------------------------------------------------- first contact


def meeting(shape: Entity, shown: str, stands: str | None = "10", *, at: float | None = None, field: str = "points") -> Decision:
    """The CRM's record, whose number (or other field) stands since yesterday, meets a row of the shop."""
    cells = ADA if stands is None else ADA | {field: stands}
    facts = known(shape, [golden(shape, 1, cells)], [shadow(1, "crm")])
    return reconcile(shows(facts, None if at is None else hours(at), shop={1: ADA | {field: shown}}))


def test_rows_that_agree_meet_in_silence():
    decision = meeting(counting("manual"), "10")
    assert decision.golden.is_empty()
    assert decision.history.is_empty()
    assert holds(decision, "shop") == stands(decision, "shop") == {}


@pytest.mark.parametrize("rule", ["manual", "last_write_wins", "first_write_wins", "max", "min", "add"])
def test_a_missing_value_never_beats_a_value(rule: ConflictRule) -> None:
    assert value(meeting(counting(rule), NULL), "points") == "10"
    assert value(meeting(counting(rule), "7", NULL), "points") == "7"
    assert value(meeting(counting(rule), "7", None), "points") == "7"


def test_the_missing_value_of_an_owner_does_not_beat_a_value_either():
    shape = entity(Field(name="points", type="integer", source_of_truth="shop"))
    assert value(meeting(shape, NULL), "points") == "10"
    assert value(meeting(shape, "7"), "points") == "7"


def test_who_does_not_own_a_field_loses_at_first_contact():
    shape = entity(Field(name="points", type="integer", source_of_truth="crm"))
    decision = meeting(shape, "7")
    assert value(decision, "points") == "10"
    assert told(decision, "lost", "overruled") == {("lost", "shop", "7")}


def test_rows_that_meet_are_judged_by_their_times():
    assert value(meeting(counting("last_write_wins"), "7", at=-1), "points") == "7"
    assert value(meeting(counting("last_write_wins"), "7", at=-48), "points") == "10"
    assert value(meeting(counting("first_write_wins"), "7", at=-48), "points") == "7"


@pytest.mark.parametrize(("rule", "stands"), [("max", "10"), ("min", "9")])
def test_rows_that_meet_are_judged_by_their_size(rule: ConflictRule, stands: str) -> None:
    assert value(meeting(counting(rule), "9"), "points") == stands


def test_two_counters_that_meet_are_one_counter_seen_twice():
    assert value(meeting(counting("add"), "7"), "points") == "10"
    assert value(meeting(replace(counting("add"), precedence=("shop", "till", "crm")), "7"), "points") == "7"


def test_lists_that_meet_are_joined():
    shape = entity(Field(name="tags", type="list", conflict="union"))
    decision = meeting(shape, '["b"]', '["a"]', field="tags")
    assert orjson.loads(value(decision, "tags") or "") == ["a", "b"]


def test_rows_that_differ_by_hand_wait_unless_the_configuration_says_who_comes_first():
    unsaid = meeting(counting("manual"), "7")
    assert value(unsaid, "points") == "10"
    assert waiting(unsaid, "points") == {(None, "10"), ("shop", "7")}
    said = meeting(replace(counting("manual"), precedence=("shop", "crm", "till"), explicit_precedence=True), "7")
    assert value(said, "points") == "7"
    assert said.frozen.is_empty()


def test_the_value_that_lost_at_first_contact_is_kept_in_the_history():
    assert told(meeting(counting("max"), "7"), "lost") == {("lost", "shop", "7")}


def test_three_rows_that_are_born_as_one_record_are_settled_together():
    rows = {system: {1: ADA | {"points": said}} for system, said in (("crm", "7"), ("shop", "9"), ("till", "8"))}
    facts = shows(known(counting("max")), **rows)
    decision = reconcile(facts)
    assert value(decision, "points") == "9"
    assert decision.born.to_list() == [1]
    assert updates(owed(facts, decision, "crm")) == updates(owed(facts, decision, "till")) == {1: {"points": "9"}}


# ---------------------------------------------------------------- the golden record


def test_a_record_is_from_the_system_that_first_showed_it():
    decision = reconcile(shows(known(MANUAL), THEN, shop={1: ADA}))
    assert decision.golden.select("id", "origin_system", "origin_at", "origins").rows() == [(1, "shop", THEN, None)]


def test_a_changed_value_says_where_it_came_from():
    decision = reconcile(shows(agreed(MANUAL), hours(-1), shop={1: {"name": "Ann"}}))
    assert decision.golden["data"].to_list() == ['{"name":"Ann","email":"ada@example.com"}']
    assert decision.golden["origins"].to_list() == ['{"name":["shop","2026-11-20T11:00:00.000000Z"]}']
    assert decision.golden["origin_system"].to_list() == ["crm"]


def test_a_later_value_from_the_same_system_has_a_time_of_its_own():
    decision = reconcile(shows(agreed(MANUAL), hours(-1), crm={1: {"name": "Ann"}}))
    assert decision.golden["origins"].to_list() == ['{"name":["crm","2026-11-20T11:00:00.000000Z"]}']


def test_only_records_that_changed_are_written():
    facts = shows(agreed(MANUAL, {1: ADA, 2: ADA}), crm={1: {"name": "Ann"}, 2: {}})
    decision = reconcile(facts)
    assert decision.golden["id"].to_list() == [1]
    assert decision.records[GID].to_list() == [1, 2]


MATCHED = entity(match=(("email",), ("name",)))


def hashes(rule: int, *values: str) -> set[tuple[int, int]]:
    name = MATCHED.match[rule][0]
    frame = pl.DataFrame({name: list(values)})
    return {(rule, found) for found in frame.select(match_hash(frame, (name,), rule)).to_series().to_list()}


def test_a_changed_match_value_is_found_by_the_new_one_and_by_what_others_still_show():
    decision = reconcile(shows(agreed(MATCHED), crm={1: {"email": "new@example.com"}}))
    assert decision.indexed.to_list() == [1]
    expected = hashes(0, "new@example.com", "ada@example.com") | hashes(1, "Ada")
    assert set(decision.index.select("rule", "hash").rows()) == expected


def test_a_deleted_record_is_found_by_nothing():
    shape = replace(MATCHED, deletes=Deletes(sources=("crm",), action="propagate"))
    decision = reconcile(agreed(shape, gone=[(1, "crm")]))
    assert decision.indexed.to_list() == [1]
    assert decision.index.is_empty()


def test_a_record_that_one_system_shows_is_born_as_by_a_pass():
    """The short cut of a first load decides what the whole way would."""
    rows: dict[int, Cells] = {1: ADA, 2: {"name": NULL, "email": "bob@example.com"}, 3: {"name": "Cleo", "email": None}}
    facts = shows(known(MATCHED), THEN, crm=rows)
    slow, fast = reconcile(facts), births(MATCHED, "crm", facts.observed["crm"], NOW)
    for part in ("records", "golden", "born", "shadows", "removed", "deleted", "index", "frozen", "thawed"):
        assert plain(fast)[part] == plain(slow)[part], part
