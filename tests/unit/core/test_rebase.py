"""A changed mapping is no edit: what nobody typed is told otherwise everywhere at once, and nothing is due for it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.tools import (
    ADA,
    agreed,
    candidate,
    delivered,
    entity,
    golden,
    holds,
    known,
    owed,
    plain,
    read_before,
    set_aside,
    shadow,
    shows,
    shuffled,
    stands,
    told,
    updates,
    value,
    waiting,
)
from trueup.core.cells import NULL, SYSTEM
from trueup.core.facts import FILTERED, MISSING, UNREADABLE, Decision, Facts
from trueup.core.fingerprint import match_hash
from trueup.core.merge import APART
from trueup.core.rebase import rebase
from trueup.core.reconcile import reconcile
from trueup.core.shadow import decode_delta
from trueup.model import Field
from trueup.testing.oracle import Row, tell_otherwise

SHAPE = entity()
THREE = ("crm", "shop", "till")
LOUD = {"name": "ADA", "email": "ada@example.com"}
WAS_LOUD: dict[int, dict[str, list[str]]] = {1: {"name": ["ADA"]}}


def quiet(facts: Facts, decision: Decision, *apart: tuple[str, str]) -> None:
    """Nothing happened that anybody need know of, and nothing is due; `apart` are values (system, shown) that are left as they are."""
    assert decision.edited == {}
    assert decision.updated == decision.overruled == decision.opened == 0
    assert set(decision.history.select(SYSTEM, "before").rows()) == set(apart)
    assert set(decision.history["kind"]) <= {APART}
    assert decision.apart == len(apart)
    assert decision.frozen.is_empty()
    for system in facts.entity.mappings:
        assert owed(facts, decision, system).rows == 0, system


def lowered(*systems: str, **others: Any) -> Facts:
    """The name was ADA everywhere, and is cleaned to lower case from now on; these systems were read."""
    shape = others.pop("shape", SHAPE)
    facts = agreed(shape, {1: LOUD}, **others)
    facts = shows(facts, **{system: {1: {"name": "ada"}} for system in systems})
    facts = read_before(facts, **dict.fromkeys(systems, WAS_LOUD))
    away = frozenset(shape.mappings) - set(systems)
    every = dict.fromkeys(shape.mappings, frozenset({"name"}))
    return replace(facts, reread=every, unread=away)


# ---------------------------------------------------------------- nobody typed anything


def test_what_reads_otherwise_under_a_new_mapping_is_told_otherwise_in_silence():
    facts = lowered("crm", "shop")
    decision = reconcile(facts)
    assert value(decision) == "ada"
    assert holds(decision, "crm") == holds(decision, "shop") == stands(decision, "crm") == stands(decision, "shop") == {}
    assert decision.reread == 1
    assert decision.golden["id"].to_list() == [1], "it is stored"
    assert decision.golden["origin_system"].to_list() == ["crm"], "it came from where it came from"
    quiet(facts, decision)


def test_told_again_it_is_told_once():
    """The process was killed before it could say that it was done: the same rows are read under both mappings again."""
    first = lowered("crm", "shop")
    known_now = delivered(first, reconcile(first))
    again = read_before(shows(known_now, crm={1: {}}, shop={1: {}}), crm=WAS_LOUD, shop=WAS_LOUD)
    decision = reconcile(again)
    assert value(decision) == "ada"
    assert decision.reread == 0
    assert decision.golden.is_empty()
    quiet(again, decision)


def test_a_system_that_was_not_read_stands_for_the_value_as_it_is_told_now():
    """Only what it holds is written out, for its own rereading: nothing is due there in the meantime."""
    facts = lowered("crm")
    decision = reconcile(facts)
    assert value(decision) == "ada"
    assert holds(decision, "shop") == {"name": "ADA"}
    assert stands(decision, "shop") == {}
    assert "shop" in decision.shadows["system"].to_list(), "it is stored"
    quiet(facts, decision)
    later = replace(delivered(facts, decision), reread=facts.reread, unread=frozenset())
    later = read_before(shows(later, shop={1: {"name": "ada"}}), shop=WAS_LOUD)
    decision = reconcile(later)
    assert holds(decision, "shop") == {}
    quiet(later, decision)


def test_a_system_whose_mapping_is_as_it_was_keeps_what_it_holds():
    """The words of one system were given another meaning; the value came from there. Nobody else is told."""
    facts = read_before(shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": "Countess"}}), crm=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == "Countess"
    assert holds(decision, "shop") == {"name": "ADA"}
    assert stands(decision, "shop") == {}
    quiet(facts, decision, ("shop", "ADA"))


def test_a_value_that_came_from_elsewhere_stays():
    facts = read_before(shows(agreed(SHAPE, {1: LOUD}), shop={1: {"name": "Countess"}}), shop=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == "ADA"
    assert holds(decision, "shop") == {"name": "Countess"}
    assert stands(decision, "shop") == {}
    quiet(facts, decision, ("shop", "Countess"))


def test_a_system_that_cannot_be_written_holds_nothing_apart():
    shape = entity(reads=["shop"])
    facts = read_before(shows(agreed(shape, {1: LOUD}), crm={1: {"name": "Countess"}}), crm=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == "Countess"
    quiet(facts, decision)


def test_a_value_of_a_person_stays_while_a_system_shows_it_under_the_mapping_of_before():
    facts = known(SHAPE, [golden(SHAPE, 1, LOUD, origin_system=None)], [shadow(1, "crm"), shadow(1, "shop")])
    decision = reconcile(read_before(shows(facts, crm={1: {"name": "Countess"}}), crm=WAS_LOUD))
    assert value(decision) == "ADA"


def test_one_that_was_read_and_reads_as_before_speaks_as_well():
    """Both mappings changed; the crm, where the value came from, reads the same under both, so its row is not even looked at."""
    facts = read_before(shows(agreed(SHAPE, {1: LOUD}), shop={1: {"name": "Countess"}}), shop=WAS_LOUD)
    facts = replace(facts, reread=dict.fromkeys(("crm", "shop"), frozenset({"name"})))
    assert value(reconcile(facts)) == "ADA"
    assert value(reconcile(replace(facts, unread=frozenset({"crm"})))) == "Countess", "who was not read says nothing"


def test_the_owner_alone_speaks_for_its_field():
    shape = entity(Field(name="name", source_of_truth="shop"))
    facts = read_before(shows(agreed(shape, {1: LOUD}), crm={1: {"name": "Countess"}}), crm=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == "ADA"
    assert stands(decision, "crm") == {}
    quiet(facts, decision, ("crm", "Countess"))
    facts = read_before(shows(agreed(shape, {1: LOUD}), shop={1: {"name": "Countess"}}), shop=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == "Countess"
    quiet(facts, decision, ("crm", "ADA"))


def test_a_system_with_a_form_of_its_own_does_not_cut_the_golden_value():
    """The shop keeps three letters: what it shows is no more than its form of the value."""
    facts = known(
        SHAPE,
        [golden(SHAPE, 1, LOUD | {"name": "ADABEL"}, origin_system="shop")],
        [shadow(1, "crm"), shadow(1, "shop", seen={"name": "ADA"})],
    )
    facts = read_before(
        shows(facts, crm={1: {"name": "adabel"}}, shop={1: {"name": "ada"}}), crm={1: {"name": ["ADABEL"]}}, shop={1: {"name": ["ADA"]}}
    )
    decision = reconcile(facts)
    assert value(decision) == "adabel"
    assert holds(decision, "shop") == {"name": "ada"}
    quiet(facts, decision)


def test_a_system_that_is_only_written_does_not_speak():
    facts = lowered("shop", shape=entity(writes=["shop"]))
    assert value(reconcile(facts)) == "ADA"


def test_what_is_due_stays_due():
    """The crm said Bob, and the shop has not heard of it."""
    facts = agreed(SHAPE, {1: LOUD | {"name": "BOB"}}, deltas=[shadow(1, "shop", seen={"name": "ADA"}, sent={"name": "ADA"})])
    facts = read_before(
        shows(facts, crm={1: {"name": "bob"}}, shop={1: {"name": "ada"}}), crm={1: {"name": ["BOB"]}}, shop={1: {"name": ["ADA"]}}
    )
    decision = reconcile(facts)
    assert value(decision) == "bob"
    assert updates(owed(facts, decision, "shop")) == {1: {"name": "bob"}}
    assert decision.edited == {}


def test_what_was_due_is_not_when_both_read_the_same_now():
    facts = agreed(SHAPE, {1: LOUD}, deltas=[shadow(1, "shop", seen={"name": "Ada"}, sent={"name": "Ada"})])
    facts = read_before(shows(facts, crm={1: {"name": "ada"}}, shop={1: {"name": "ada"}}), crm=WAS_LOUD, shop={1: {"name": ["Ada"]}})
    decision = reconcile(facts)
    assert holds(decision, "shop") == stands(decision, "shop") == {}
    quiet(facts, decision)


def test_null_and_values_turn_into_one_another():
    facts = read_before(shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": NULL}}, shop={1: {"name": NULL}}), crm=WAS_LOUD, shop=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == NULL
    quiet(facts, decision)
    facts = agreed(SHAPE, {1: LOUD | {"name": NULL}})
    facts = read_before(
        shows(facts, crm={1: {"name": "none"}}, shop={1: {"name": "none"}}), crm={1: {"name": [NULL]}}, shop={1: {"name": [NULL]}}
    )
    assert value(reconcile(facts)) == "none"


def test_a_vanished_row_is_told_nothing_and_stands_for_what_it_stood_for():
    facts = lowered("crm", deltas=[shadow(1, "shop", state=MISSING)])
    decision = reconcile(facts)
    assert holds(decision, "shop") == {"name": "ADA"}
    assert stands(decision, "shop") == {}


def test_match_values_are_found_as_they_are_told_now():
    shape = entity(match=(("name",),))
    decision = reconcile(lowered("crm", "shop", shape=shape))
    assert decision.indexed.to_list() == [1]
    assert decision.index["hash"].to_list() == [match_hash(pl.DataFrame({"name": ["ada"]}), ("name",), 0)[0]]


def test_a_deleted_record_is_not_found_again():
    shape = entity(match=(("name",),))
    facts = lowered("crm", "shop", shape=shape)
    facts = replace(facts, golden=facts.golden.with_columns(deleted_at=pl.lit(facts.now).cast(pl.Datetime("us", "UTC"))))
    assert reconcile(facts).indexed.is_empty()


# ---------------------------------------------------------------- several mappings behind one shadow


def test_any_of_the_mappings_before_may_be_behind_a_shadow():
    """A run under a mapping in between did not get to its end: some rows are known as that mapping read them."""
    facts = agreed(SHAPE, {1: LOUD})
    facts = read_before(
        shows(facts, crm={1: {"name": "ada"}}, shop={1: {"name": "ada"}}),
        crm={1: {"name": ["Ada", "ADA"]}},
        shop={1: {"name": ["ADA", "Ada"]}},
    )
    decision = reconcile(facts)
    assert value(decision) == "ada"
    quiet(facts, decision)


# ---------------------------------------------------------------- edits beside it


def test_an_edit_of_the_same_field_is_an_edit():
    facts = shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": "bob"}}, shop={1: {"name": "ada"}})
    decision = reconcile(read_before(facts, crm={1: {"name": ["BOB"]}}, shop=WAS_LOUD))
    assert value(decision) == "bob"
    assert decision.edited == {"crm": 1}
    assert updates(owed(facts, decision, "shop")) == {1: {"name": "bob"}}
    assert decision.frozen.is_empty()
    assert told(decision, "edit") == {("edit", "crm", "bob")}


def test_an_edit_that_the_new_mapping_does_not_see_is_none():
    facts = shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": "ada"}}, shop={1: {"name": "ada"}})
    facts = read_before(facts, crm={1: {"name": ["Ada"]}}, shop=WAS_LOUD)
    decision = reconcile(facts)
    assert value(decision) == "ada"
    quiet(facts, decision)


def test_an_edit_of_a_field_whose_mapping_is_as_it_was():
    facts = shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": "ada", "email": "new@example.com"}}, shop={1: {"name": "ada"}})
    decision = reconcile(read_before(facts, crm=WAS_LOUD, shop=WAS_LOUD))
    assert value(decision) == "ada"
    assert value(decision, "email") == "new@example.com"
    assert decision.edited == {"crm": 1}


def test_two_edits_in_both_systems_are_a_conflict_as_ever():
    facts = shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": "bob"}}, shop={1: {"name": "cleo"}})
    decision = reconcile(read_before(facts, crm={1: {"name": ["BOB"]}}, shop={1: {"name": ["CLEO"]}}))
    assert waiting(decision) == {("crm", "bob"), ("shop", "cleo")}


def test_an_overruled_edit_is_overruled_as_ever():
    shape = entity(Field(name="name", source_of_truth="crm"))
    facts = shows(agreed(shape, {1: LOUD}), crm={1: {"name": "ada"}}, shop={1: {"name": "bob"}})
    facts = read_before(facts, crm=WAS_LOUD, shop={1: {"name": ["BOB"]}})
    decision = reconcile(facts)
    assert decision.overruled == 1
    assert updates(owed(facts, decision, "shop")) == {1: {"name": "ada"}}


COUNTER = entity(Field(name="points", type="integer", conflict="add"), systems=THREE)
"""Read in cents from now on, everywhere."""
CENTS = {1: {"points": ["5"]}}


def test_a_counter_is_told_in_the_new_unit():
    facts = shows(agreed(COUNTER, {1: ADA | {"points": "5"}}), **{name: {1: {"points": "500"}} for name in THREE})
    facts = read_before(facts, crm=CENTS, shop=CENTS, till=CENTS)
    decision = reconcile(facts)
    assert value(decision, "points") == "500"
    quiet(facts, decision)


def test_a_sale_during_the_change_is_added_in_the_new_unit():
    facts = shows(agreed(COUNTER, {1: ADA | {"points": "5"}}), crm={1: {"points": "600"}}, shop={1: {"points": "500"}})
    facts = read_before(facts, crm={1: {"points": ["6"]}}, shop=CENTS)
    facts = replace(facts, reread=dict.fromkeys(THREE, frozenset({"points"})), unread=frozenset({"till"}))
    decision = reconcile(facts)
    assert value(decision, "points") == "600"
    assert decision.edited == {"crm": 1}


def test_lists_and_texts_are_merged_from_what_they_are_told_as_now():
    shape = entity(Field(name="tags", type="list", conflict="union"), Field(name="notes", conflict="text"))
    facts = agreed(shape, {1: ADA | {"tags": '["A","B"]', "notes": "ONE\nTWO\nTHREE\n"}})
    facts = shows(
        facts,
        crm={1: {"tags": '["a","c"]', "notes": "one!\ntwo\nthree\n"}},
        shop={1: {"tags": '["a","b"]', "notes": "one\ntwo\nthree\n"}},
    )
    facts = read_before(
        facts,
        crm={1: {"tags": ['["A","C"]'], "notes": ["ONE!\nTWO\nTHREE\n"]}},
        shop={1: {"tags": ['["A","B"]'], "notes": ["ONE\nTWO\nTHREE\n"]}},
    )
    decision = reconcile(facts)
    assert value(decision, "tags") == '["a","c"]'
    assert value(decision, "notes") == "one!\ntwo\nthree\n"
    assert decision.frozen.is_empty()


# ---------------------------------------------------------------- no base


def test_a_field_that_no_mapping_before_could_read_is_at_first_contact():
    facts = read_before(shows(agreed(SHAPE), shop={1: {"name": "Bob", "email": "bob@example.com"}}), shop={1: {"name": []}})
    decision = reconcile(facts)
    assert value(decision) == "Ada"
    assert waiting(decision) == {(None, "Ada"), ("shop", "Bob")}
    assert value(decision, "email") == "bob@example.com", "the others are not"


def test_a_value_that_cannot_be_told_any_more_has_no_base_when_it_comes():
    """A reference, say, to a row that nobody knows yet."""
    facts = read_before(shows(agreed(SHAPE), shop={1: {"name": None}}), shop={1: {"name": ["Ada"]}})
    decision = reconcile(facts)
    assert value(decision) == "Ada"
    assert holds(decision, "shop") == {"name": None}
    quiet(facts, decision)
    later = reconcile(shows(delivered(facts, decision), shop={1: {"name": "Bob"}}))
    assert waiting(later) == {(None, "Ada"), ("shop", "Bob")}


# ---------------------------------------------------------------- rows that take no part


@pytest.mark.parametrize("state", [FILTERED, UNREADABLE])
def test_a_row_that_takes_no_part_is_told_otherwise_and_no_more(state: int) -> None:
    facts = lowered("crm", "shop", deltas=[shadow(1, "shop", state=state)])
    decision = reconcile(set_aside(facts, "shop", 1))
    assert value(decision) == "ada"
    assert holds(decision, "shop") == {}
    assert decision.after.filter(pl.col("system") == "shop")["state"].to_list() == [state]
    assert decision.edited == {}


def test_a_row_that_takes_no_part_does_not_speak():
    decision = reconcile(set_aside(lowered("crm"), "crm", 1))
    assert value(decision) == "ADA"
    assert holds(decision, "crm") == {"name": "ada"}


def test_a_counter_that_cannot_be_counted_any_more_begins_anew():
    facts = agreed(COUNTER, {1: ADA | {"points": "many"}})
    facts = set_aside(read_before(shows(facts, crm={1: {"points": None}}), crm={1: {"points": ["many"]}}), "crm", 1)
    decision = reconcile(facts)
    assert holds(decision, "crm") == {"points": None}
    assert value(reconcile(shows(delivered(facts, decision), crm={1: {"points": "7"}})), "points") == "7"


def test_an_edit_in_a_row_that_takes_no_part_is_still_one_when_it_does_again():
    facts = read_before(shows(agreed(SHAPE, {1: LOUD}), crm={1: {"name": "bob"}}), crm={1: {"name": ["BOB"]}})
    decision = reconcile(set_aside(facts, "crm", 1))
    assert value(decision) == "ADA"
    assert holds(decision, "crm") == {}
    assert value(reconcile(shows(delivered(facts, decision), crm={1: {"name": "bob"}}))) == "bob"


# ---------------------------------------------------------------- what waits for a person

LOW = {1: {"name": "ada"}}


def test_a_conflict_is_told_otherwise():
    waits = [candidate(None, "ADA", base="ADA"), candidate("shop", "BOB", base="ADA")]
    facts = agreed(SHAPE, {1: LOUD}, deltas=[shadow(1, "shop", seen={"name": "BOB"}, sent={"name": "BOB"})], frozen=waits)
    facts = read_before(shows(facts, crm=LOW, shop={1: {"name": "bob"}}), crm=WAS_LOUD, shop={1: {"name": ["BOB"]}})
    decision = reconcile(facts)
    assert waiting(decision) == {(None, "ada"), ("shop", "bob")}
    assert set(decision.frozen["base"]) == {"ada"}
    assert decision.thawed.is_empty()
    assert decision.opened == 0
    assert owed(facts, decision, "shop").rows == 0, "it waits"


def test_a_conflict_about_what_is_the_same_now_is_over():
    waits = [candidate(None, "ADA"), candidate("shop", "Ada", base="ADA")]
    facts = agreed(SHAPE, {1: LOUD}, deltas=[shadow(1, "shop", seen={"name": "Ada"}, sent={"name": "Ada"})], frozen=waits)
    facts = read_before(shows(facts, crm=LOW, shop=LOW), crm=WAS_LOUD, shop={1: {"name": ["Ada"]}})
    decision = reconcile(facts)
    assert decision.thawed.rows() == [(1, "name")]
    assert decision.frozen.is_empty()
    assert decision.frozen_pairs.is_empty()
    assert value(decision) == "ada"
    assert owed(facts, decision, "crm").rows == owed(facts, decision, "shop").rows == 0


def test_what_all_sides_of_a_conflict_say_now_is_told_to_the_others():
    """The crm and the shop said the same in two ways, and the till holds what was agreed before."""
    shape = entity(systems=THREE)
    waits = [candidate("crm", "BOB", base="Ada"), candidate("shop", "Bob", base="Ada")]
    deltas = [
        shadow(1, "crm", seen={"name": "BOB"}, sent={"name": "BOB"}),
        shadow(1, "shop", seen={"name": "Bob"}, sent={"name": "Bob"}),
    ]
    facts = agreed(shape, {1: ADA}, deltas=deltas, frozen=waits)
    facts = shows(facts, crm={1: {"name": "bob"}}, shop={1: {"name": "bob"}}, till={1: {"name": "ada"}})
    facts = read_before(facts, crm={1: {"name": ["BOB"]}}, shop={1: {"name": ["Bob"]}}, till={1: {"name": ["Ada"]}})
    decision = reconcile(facts)
    assert value(decision) == "bob"
    assert decision.thawed.rows() == [(1, "name")]
    assert updates(owed(facts, decision, "till")) == {1: {"name": "bob"}}
    assert owed(facts, decision, "crm").rows == owed(facts, decision, "shop").rows == 0
    assert told(decision, "edit") == {("edit", "crm", "bob")}


def test_a_held_change_is_told_otherwise_and_still_held():
    waits = [candidate("shop", "BOB", base="ADA", kind="hold")]
    facts = agreed(SHAPE, {1: LOUD}, deltas=[shadow(1, "shop", seen={"name": "BOB"}, sent={"name": "BOB"})], frozen=waits)
    facts = read_before(shows(facts, crm=LOW, shop={1: {"name": "bob"}}), crm=WAS_LOUD, shop={1: {"name": ["BOB"]}})
    decision = reconcile(facts)
    assert waiting(decision) == {("shop", "bob")}
    assert value(decision) == "ada"
    assert decision.thawed.is_empty()


def test_an_edit_joins_the_conflict_as_it_is_told_now():
    waits = [candidate(None, "ADA"), candidate("shop", "BOB", base="ADA")]
    facts = agreed(SHAPE, {1: LOUD}, deltas=[shadow(1, "shop", seen={"name": "BOB"}, sent={"name": "BOB"})], frozen=waits)
    facts = shows(facts, crm={1: {"name": "cleo"}}, shop={1: {"name": "bob"}})
    decision = reconcile(read_before(facts, crm={1: {"name": ["CLEO"]}}, shop={1: {"name": ["BOB"]}}))
    assert waiting(decision) == {("crm", "cleo"), ("shop", "bob")}


# ---------------------------------------------------------------- against the oracle

CELLS = st.sampled_from(["a", "b", "c", NULL])


@st.composite
def rows(draw: st.DrawFn, system: str, agreed_cell: str | None, *, counted: bool) -> Row:
    seen = draw(st.one_of(st.just(agreed_cell), st.none(), CELLS))
    sent = draw(st.one_of(st.just(agreed_cell), st.just(seen), CELLS))
    was = draw(st.one_of(st.none(), st.lists(CELLS, max_size=2, unique=True)))
    now = draw(st.one_of(st.none(), st.just(seen), CELLS))
    if draw(st.booleans()) and was is not None and seen is not None:
        was = [*was, seen]
    unread = was is None and draw(st.integers(0, 3)) == 0
    return Row(
        system,
        seen,
        sent,
        None if unread else now,
        was,
        aside=was is not None and draw(st.integers(0, 4)) == 0,
        deaf=system == "till",
        unread=unread,
        counted=counted,
    )


@given(st.data(), st.one_of(st.none(), CELLS), st.sampled_from([None, *THREE]), st.sampled_from([None, "union", *THREE[:2]]))
@settings(max_examples=settings().max_examples // 2)
def test_the_columnar_rebase_agrees_with_the_naive_one(data: st.DataObject, cell: str | None, origin: str | None, how: str | None) -> None:
    counted = how == "union"
    owner = None if counted else how
    every = [data.draw(rows(system, cell, counted=counted)) for system in THREE]
    field = Field(name="name", source_of_truth=owner, conflict="union" if counted else "manual")
    shape = entity(field, systems=THREE, writes=["till"])
    facts = known(
        shape,
        [golden(shape, 1, {"name": cell, "email": "x"}, origin_system=origin)],
        [shadow(1, row.system, seen=_delta(row.seen, cell), sent=_delta(row.sent, cell)) for row in every],
    )
    for row in every:
        if not row.unread:
            facts = shows(facts, **{row.system: {1: {"name": row.now}}})
        if row.was is not None:
            facts = read_before(facts, **{row.system: {1: {"name": row.was}}})
            facts = set_aside(facts, row.system, *([1] if row.aside else []))
        if row.unread:
            facts = replace(facts, reread={**facts.reread, row.system: frozenset({"name"})}, unread=facts.unread | {row.system})
    after, standing = tell_otherwise(cell, every, THREE, origin=origin, owner=owner)
    found = rebase(facts).facts
    assert found.golden.height == 1
    golden_now = reconcile(replace(found, observed={})).records
    assert golden_now["name"].item() == after
    for row in every:
        shadows = found.shadows.filter(pl.col("system") == row.system)
        told_as = tuple(decode_delta(shadows[column].item()).get("name", after) for column in ("seen", "sent"))
        assert told_as == standing[row.system], row
    assert set(found.observed) == {row.system for row in every if not row.unread}


def _delta(cell: str | None, agreed_cell: str | None) -> dict[str, str | None]:
    return {} if cell == agreed_cell else {"name": cell}


def test_nothing_is_told_otherwise_where_no_mapping_changed():
    facts = shows(agreed(SHAPE), crm={1: {"name": "Bob"}})
    assert rebase(facts).facts is facts


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_systems_and_rows_says_nothing(seed: int) -> None:
    facts = lowered("crm", "till", shape=entity(systems=THREE))
    facts = read_before(shows(facts, shop={1: {"name": "bob"}}), shop={1: {"name": ["BOB"]}})
    assert plain(reconcile(facts)) == plain(reconcile(shuffled(facts, Random(seed))))
