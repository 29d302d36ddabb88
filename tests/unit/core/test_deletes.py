"""Rows that are gone: who may delete, what follows, and what a delete loses against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests.unit.core.tools import (
    ADA,
    NOW,
    THEN,
    agreed,
    candidate,
    delivered,
    entity,
    golden,
    known,
    owed,
    shadow,
    shows,
    stands,
    state,
    told,
    updates,
    value,
)
from trueup.core.cells import GID, KEY, NULL
from trueup.core.facts import FILTERED, MISSING, PRESENT, Decision, Facts
from trueup.core.reconcile import reconcile
from trueup.model import DeleteAction, Deletes, Entity, Field

SYSTEMS = ("crm", "shop", "till")


def shape(action: DeleteAction | None = None, **options: Any) -> Entity:
    """Three systems; the CRM may delete, if anybody may."""
    deletes = Deletes(sources=("crm",), action=action, set={"status": "gone"} if action == "archive" else {}) if action else None
    return entity(Field(name="status"), systems=SYSTEMS, deletes=deletes, **options)


def vanished(action: DeleteAction | None, system: str = "crm", **others: Any) -> tuple[Facts, Decision]:
    """A record that three systems held, and that one does not hold any more."""
    facts = agreed(shape(action), {1: ADA | {"status": "new"}}, gone=[(1, system)], **others)
    return facts, reconcile(facts)


def deleted(facts: Facts, decision: Decision) -> dict[str, list[str]]:
    """The keys due to be deleted in each system."""
    return {system: owed(facts, decision, system).deletes[KEY].to_list() for system in SYSTEMS}


def recreated(facts: Facts, decision: Decision, system: str = "crm") -> bool:
    """Whether a system is due to be given the record again."""
    return owed(facts, decision, system).creates[GID].to_list() == [1]


def test_of_a_row_that_went_with_its_record_nobody_hears():
    facts = agreed(shape("propagate"), {1: ADA | {"status": "new"}}, gone=[(1, "crm"), (1, "shop")])
    decision = reconcile(facts)
    assert decision.deleted.to_list() == [1]
    assert decision.missing == 0
    assert sorted(decision.removed.select("__system", KEY).rows()) == [("crm", "k1"), ("shop", "k1")]
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": ["k1"]}


# ---------------------------------------------------------------- nobody may delete


def test_without_a_rule_nothing_is_deleted_anywhere():
    facts, decision = vanished(None)
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert decision.deleted.is_empty()
    assert decision.golden.is_empty()


def test_without_a_rule_the_row_is_not_made_again():
    facts, decision = vanished(None)
    assert state(decision, "crm") == MISSING
    assert not recreated(facts, decision)
    assert not recreated(facts, reconcile(delivered(facts, decision)))


def test_without_a_rule_a_person_hears_of_it():
    _facts, decision = vanished(None)
    assert decision.missing == 1
    assert decision.missing_keys.rows() == [(1, "crm", "k1")]


def test_a_missing_row_receives_nothing():
    facts, decision = vanished(None)
    facts = delivered(facts, decision)
    facts = shows(facts, shop={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert updates(owed(facts, decision, "till")) == {1: {"name": "Ann"}}
    assert owed(facts, decision, "crm").rows == 0


def test_a_system_that_may_not_delete_is_listed_as_missing():
    facts, decision = vanished("propagate", "shop")
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert decision.missing == 1
    assert state(decision, "shop") == MISSING
    assert decision.deleted.is_empty()


def test_nothing_is_believed_of_an_object_that_is_another_than_before():
    facts, decision = vanished("propagate", moved=frozenset({"crm"}))
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert decision.missing == 1


# ---------------------------------------------------------------- what follows


@pytest.mark.parametrize("action", ["propagate", "archive"])
def test_a_row_that_was_perhaps_another_records_takes_nothing_with_it_when_it_goes(action: DeleteAction) -> None:
    """Its own row may have been left behind when the system moved, and the key given to another record there."""
    facts, decision = vanished(action, strangers=frozenset({("crm", "k1")}))
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert value(decision, "status") == "new"
    assert state(decision, "crm") == MISSING
    assert decision.missing == 1, "a person hears of it"


def test_a_delete_is_due_in_every_other_system():
    facts, decision = vanished("propagate")
    assert deleted(facts, decision) == {"crm": [], "shop": ["k1"], "till": ["k1"]}
    assert not any(recreated(facts, decision, system) for system in SYSTEMS)
    assert decision.deleted_now == 1
    assert decision.missing == 0


def test_a_deleted_record_keeps_its_values_and_says_when():
    _facts, decision = vanished("propagate")
    assert decision.golden.select("id", "deleted_at").rows() == [(1, NOW)]
    assert value(decision) == "Ada"
    assert decision.history.select("kind", "rule").rows() == [("delete", "deletes: propagate")]


def test_a_delete_harms_no_other_record():
    facts = agreed(shape("propagate"), {1: ADA, 2: ADA}, gone=[(1, "crm")])
    decision = reconcile(facts)
    assert decision.deleted.to_list() == [1]
    assert decision.golden["id"].to_list() == [1]
    assert deleted(facts, decision) == {"crm": [], "shop": ["k1"], "till": ["k1"]}


def test_what_two_systems_deleted_is_deleted_once():
    both = replace(shape("propagate"), deletes=Deletes(sources=("crm", "shop"), action="propagate"))
    facts = agreed(both, gone=[(1, "crm"), (1, "shop")])
    decision = reconcile(facts)
    assert decision.deleted_now == 1
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": ["k1"]}


def test_a_row_outside_of_the_filter_takes_nothing_with_it():
    """It may have gone, or only have another key out there: either way it took no part any more."""
    facts, decision = vanished("propagate", deltas=[shadow(1, "crm", state=FILTERED)])
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert decision.deleted.is_empty()
    assert decision.missing == 0
    assert not recreated(facts, decision)


def test_where_deletes_are_ignored_nobody_is_told():
    facts, decision = vanished("ignore")
    assert decision.missing == 0
    assert decision.missing_keys.is_empty()
    assert state(decision, "crm") == MISSING
    assert not recreated(facts, decision)
    assert decision.deleted.is_empty()


def test_where_deletes_are_ignored_those_of_others_are_told():
    _facts, decision = vanished("ignore", "shop")
    assert decision.missing == 1


def test_archive_sets_a_field_everywhere_else():
    facts, decision = vanished("archive")
    assert value(decision, "status") == "gone"
    assert updates(owed(facts, decision, "shop")) == updates(owed(facts, decision, "till")) == {1: {"status": "gone"}}
    assert owed(facts, decision, "crm").rows == 0
    assert told(decision, "edit") == {("edit", "crm", "gone")}


def test_archive_deletes_nothing():
    facts, decision = vanished("archive")
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert decision.deleted.is_empty()
    assert state(decision, "crm") == MISSING
    assert decision.missing == 0


@pytest.mark.parametrize("owner", [None, "crm"])
def test_a_row_that_returns_takes_back_what_archived_it(owner: str | None):
    archived = shape("archive")
    status = replace(archived.fields["status"], source_of_truth=owner)
    facts = agreed(replace(archived, fields={**archived.fields, "status": status}), {1: ADA | {"status": "new"}}, gone=[(1, "crm")])
    later = shows(delivered(facts, reconcile(facts)), crm={1: {"status": "new"}})
    back = reconcile(later)
    assert value(back, "status") == "new"
    assert state(back, "crm") == PRESENT
    assert updates(owed(later, back, "shop")) == {1: {"status": "new"}}


def test_a_row_that_returns_as_it_was_archived_changes_nothing():
    facts, decision = vanished("archive")
    assert reconcile(shows(delivered(facts, decision), crm={1: {"status": "gone"}})).golden.is_empty()


def test_what_is_archived_already_is_not_changed_again():
    facts = agreed(shape("archive"), {1: ADA | {"status": "gone"}}, gone=[(1, "crm")])
    decision = reconcile(facts)
    assert decision.golden.is_empty()
    assert state(decision, "crm") == MISSING


def owned(owner: str, action: DeleteAction = "archive") -> Entity:
    """As `shape`, where the status has a source of truth."""
    plain = shape(action)
    return replace(plain, fields={**plain.fields, "status": replace(plain.fields["status"], source_of_truth=owner)})


def test_a_field_is_not_archived_over_its_owner_and_the_row_is_told_as_missing():
    facts = agreed(owned("shop"), {1: ADA | {"status": "new"}}, gone=[(1, "crm")])
    decision = reconcile(facts)
    assert value(decision, "status") == "new"
    assert all(owed(facts, decision, system).rows == 0 for system in SYSTEMS)
    assert told(decision, "overruled", "edit", "archive") == {("overruled", "crm", "gone")}
    assert (decision.overruled, decision.missing, state(decision, "crm")) == (1, 1, MISSING)


def test_an_owner_without_a_row_stands_against_no_archiving():
    facts = agreed(owned("shop"), {1: ADA | {"status": "new"}}, gone=[(1, "crm")], deltas=[shadow(1, "shop", state=MISSING)])
    assert value(reconcile(facts), "status") == "gone"


def test_what_others_do_not_own_is_archived_all_the_same():
    both = replace(owned("shop"), deletes=Deletes(sources=("crm",), action="archive", set={"status": "gone", "name": "(gone)"}))
    facts = agreed(both, {1: ADA | {"status": "new"}}, gone=[(1, "crm")])
    decision = reconcile(facts)
    assert (value(decision, "status"), value(decision, "name")) == ("new", "(gone)")
    assert (decision.overruled, decision.missing) == (1, 0)


def test_archive_may_set_a_field_to_null():
    to_null = replace(shape("archive"), deletes=Deletes(sources=("crm",), action="archive", set={"status": None}))
    assert value(reconcile(agreed(to_null, {1: ADA | {"status": "new"}}, gone=[(1, "crm")])), "status") == NULL


# ---------------------------------------------------------------- what a delete loses against


def loses(facts: Facts, decision: Decision) -> None:
    """The row is made again, nobody deletes anything, and the history says so."""
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert decision.deleted.is_empty()
    assert state(decision, "crm") is None
    assert recreated(facts, decision)
    assert {kind for kind, *_rest in told(decision, "delete", "delete lost")} == {"delete lost"}
    assert decision.golden["id"].to_list() == [1], "later runs must find the record to be made again"


@pytest.mark.parametrize("action", ["propagate", "archive"])
def test_a_delete_loses_where_the_deleter_had_not_heard_of_a_value(action: DeleteAction) -> None:
    facts, decision = vanished(action, deltas=[shadow(1, "crm", seen={"name": "Al"}, sent={"name": "Al"})])
    loses(facts, decision)
    assert value(decision, "status") == "new"


def test_a_delete_stands_where_the_deleter_only_made_something_else_of_a_value():
    facts, decision = vanished("propagate", deltas=[shadow(1, "crm", seen={"name": "ADA"})])
    assert decision.deleted.to_list() == [1]
    assert not recreated(facts, decision)


def test_that_another_system_is_behind_saves_nothing():
    _facts, decision = vanished("propagate", deltas=[shadow(1, "shop", seen={"name": "Al"}, sent={"name": "Al"})])
    assert decision.deleted.to_list() == [1]


def test_a_delete_loses_against_an_edit_in_the_same_run():
    facts = agreed(shape("propagate"), gone=[(1, "crm")])
    facts = shows(facts, shop={1: {"name": "Ann"}})
    decision = reconcile(facts)
    loses(facts, decision)
    assert owed(facts, decision, "crm").creates["name"].to_list() == ["Ann"]


def test_an_edit_of_another_record_saves_nothing():
    facts = shows(agreed(shape("propagate"), {1: ADA, 2: ADA}, gone=[(1, "crm")]), shop={2: {"name": "Ann"}})
    assert reconcile(facts).deleted.to_list() == [1]


def test_a_delete_loses_while_a_person_must_settle_a_field():
    facts, decision = vanished("propagate", frozen=[candidate("shop", "Bob"), candidate(None, "Ada")])
    assert decision.deleted.is_empty()
    assert recreated(facts, decision)


def test_a_delete_loses_against_a_conflict_that_opens_in_the_same_run():
    facts = agreed(shape("propagate"), gone=[(1, "crm")])
    facts = shows(facts, shop={1: {"name": "Bob"}}, till={1: {"name": "Cleo"}})
    decision = reconcile(facts)
    assert decision.deleted.is_empty()
    assert decision.opened == 1
    assert recreated(facts, decision)


def test_rows_of_which_a_person_refused_the_delete_are_made_again():
    facts, decision = vanished("propagate", refused_deletes=frozenset({"crm"}))
    assert decision.deleted.is_empty()
    assert recreated(facts, decision)
    assert decision.golden["id"].to_list() == [1]
    assert {kind for kind, *_rest in told(decision, "delete", "delete refused")} == {"delete refused"}


def test_a_refusal_speaks_of_one_system():
    _facts, decision = vanished("propagate", refused_deletes=frozenset({"shop"}))
    assert decision.deleted.to_list() == [1]


# ---------------------------------------------------------------- after a delete


def tombstone(*systems: str, **others: Any) -> Facts:
    """A record deleted yesterday that these systems still hold."""
    made = shape("propagate")
    dead = golden(made, 1, ADA | {"status": "new"}, deleted_at=THEN)
    return known(made, [dead], [shadow(1, system, sent={}) for system in systems], **others)


def test_a_deleted_record_is_due_to_be_deleted_where_it_still_is():
    facts = tombstone("shop")
    decision = reconcile(facts)
    assert deleted(facts, decision) == {"crm": [], "shop": ["k1"], "till": []}
    assert decision.deleted_now == 0
    assert decision.history.is_empty()


def test_the_last_row_of_a_deleted_record_needs_nothing_more():
    facts = tombstone("shop", gone=[(1, "shop")])
    decision = reconcile(facts)
    assert decision.removed.rows() == [(1, "shop", "k1")]
    assert decision.missing == 0
    assert decision.history.is_empty()
    assert decision.deleted.to_list() == [1]
    assert decision.golden.is_empty()


def test_an_edit_seen_after_the_delete_revives_the_record():
    facts = shows(tombstone("shop"), shop={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert decision.deleted.is_empty()
    assert decision.golden.select("id", "deleted_at").rows() == [(1, None)]
    assert deleted(facts, decision) == {"crm": [], "shop": [], "till": []}
    assert owed(facts, decision, "crm").creates["name"].to_list() == ["Ann"]


def test_a_reading_that_says_nothing_new_revives_nothing():
    facts = shows(tombstone("shop"), shop={1: {}})
    decision = reconcile(facts)
    assert decision.deleted.to_list() == [1]
    assert deleted(facts, decision)["shop"] == ["k1"]


def test_a_revived_record_lets_its_gone_row_be_judged_as_any_other():
    facts = shows(tombstone("shop", "till", gone=[(1, "till")]), shop={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert decision.deleted.is_empty()
    assert decision.missing == 1
    assert state(decision, "till") == MISSING


def test_a_row_that_is_back_takes_part_again():
    facts, decision = vanished(None)
    facts = shows(delivered(facts, decision), crm={1: {"name": "Ann"}})
    decision = reconcile(facts)
    assert state(decision, "crm") == PRESENT
    assert value(decision) == "Ann"
    assert stands(decision, "shop") == {"name": "Ada"}


def test_nothing_that_was_not_confirmed_is_gone():
    """A row that a reading did not show says nothing."""
    facts = agreed(shape("propagate"), {1: ADA, 2: ADA})
    facts = shows(facts, crm={2: {"name": "Ann"}})
    decision = reconcile(facts)
    assert decision.deleted.is_empty()
    assert decision.after.filter(pl.col("gid") == 1)["state"].to_list() == [PRESENT] * 3
