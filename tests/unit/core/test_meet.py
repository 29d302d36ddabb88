"""A state that is older than the systems meets them: nothing is taken from one and given to another, and nothing is counted twice."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from tests.unit.core.tools import ADA, agreed, entity, holds, known, shadow, shows, stands, value
from trueup.core.cells import GID, KEY, NULL, SYSTEM
from trueup.core.facts import MISSING, Decision, Facts, Meeting
from trueup.core.reconcile import reconcile
from trueup.model import ConflictRule, Entity, Field

SYSTEMS = ("crm", "shop", "till")
COUNTER = entity(Field(name="points", type="integer", conflict="add"), systems=SYSTEMS, match=(("email",),))
TEN = ADA | {"points": "10"}
STRANGER = {"name": "Bob", "email": "bob@example.com", "points": "99"}
NOBODY = pl.DataFrame(schema={SYSTEM: pl.String(), KEY: pl.String()})


def met(facts: Facts, away: pl.DataFrame = NOBODY) -> Decision:
    """What the first look after a restore says; nobody knows what was agreed since the backup."""
    return reconcile(replace(facts, meeting=Meeting(away=away, moved=None)))


def test_what_all_systems_show_is_agreed_and_nobody_is_told_of_it() -> None:
    decision = met(shows(agreed(COUNTER, {1: TEN}), crm={1: {"points": "12"}}, shop={1: {"points": "12"}}, till={1: {"points": "12"}}))
    assert value(decision, "points") == "12"
    assert all(holds(decision, name) == stands(decision, name) == {} for name in SYSTEMS)


def test_a_row_that_is_another_records_now_does_not_keep_the_others_from_agreeing() -> None:
    facts = shows(agreed(COUNTER, {1: TEN}), crm={1: STRANGER}, shop={1: {"points": "12"}}, till={1: {"points": "12"}})
    decision = met(facts)
    assert value(decision, "points") == "12"
    assert value(decision, "email") == ADA["email"]
    for name in ("shop", "till"):
        assert holds(decision, name) == stands(decision, name) == {}, "counted no second time"
    assert holds(decision, "crm") == {"points": "10"}, "as it was last seen: the next look asks whose row it is"


@pytest.mark.parametrize("how", ["gone", "missing", "unreadable"])
def test_what_was_due_in_a_row_that_is_not_there_says_nothing_when_it_is_back(how: str) -> None:
    """The delivery may have arrived since, and the row may have been made again under another key: what it shows then is no edit."""
    due = shadow(1, "crm", seen={"points": "7"}, sent={"points": "7"}, state=MISSING if how == "missing" else 0)
    facts = agreed(COUNTER, {1: TEN}, deltas=[due], gone=[(1, "crm")] if how == "gone" else [])
    away = pl.DataFrame([("crm", "k1")], schema=NOBODY.schema, orient="row") if how == "unreadable" else NOBODY
    decision = met(facts, away)
    assert value(decision, "points") == "10"
    assert holds(decision, "crm") == ({"points": None} if how == "unreadable" else dict.fromkeys(TEN)), (
        "of a row that is gone nothing is known"
    )
    assert stands(decision, "crm") == {}


def test_what_is_due_in_a_row_that_is_there_stays_due() -> None:
    facts = agreed(COUNTER, {1: TEN}, deltas=[shadow(1, "crm", seen={"points": "7"}, sent={"points": "7"})])
    assert met(facts).shadows.is_empty()


def test_of_a_row_that_is_gone_what_moved_since_is_forgotten_where_that_is_known() -> None:
    facts = agreed(COUNTER, {1: TEN}, gone=[(1, "crm")])
    moved = pl.DataFrame({GID: [1], "field": ["points"]})
    decision = reconcile(replace(facts, meeting=Meeting(away=NOBODY, moved=moved)))
    assert holds(decision, "crm") == {"points": None}
    assert decision.missing_keys.is_empty(), "whether it is missing is for the next look: it may be there under another key"


@pytest.mark.parametrize(("shown", "asked"), [("One", True), ("One\nTw", False)])
def test_a_text_without_its_last_lines_is_no_form_of_the_whole_one(shown: str, asked: bool) -> None:
    """The CRM is known to cut texts off; but of lines that are not there at all, nobody can say that it was told them."""
    notes = entity(Field(name="notes", conflict="text"), systems=SYSTEMS, match=(("email",),))
    facts = shows(
        agreed(notes, {1: ADA | {"notes": NULL}}),
        **{name: {1: {"notes": "One\nTwo"}} for name in ("shop", "till")},
        crm={1: {"notes": shown}},
    )
    decision = reconcile(replace(facts, meeting=Meeting(away=NOBODY, moved=None, forms=frozenset({("crm", "notes")}))))
    assert (SYSTEMS[0], shown) in decision.frozen.select(SYSTEM, "value").rows() if asked else value(decision, "notes") == "One\nTwo"
    assert decision.frozen.is_empty() is not asked


# ---------------------------------------------------------------- the look after it


def back(shape: Entity, *systems: str, record: dict[str, str] = TEN) -> Facts:
    """The first ordinary look; of the rows of these systems nothing is known any more."""
    forgotten = [shadow(1, system, seen=dict.fromkeys(record), sent=record) for system in systems]
    return replace(agreed(shape, {1: record}, deltas=forgotten), older=True)


@pytest.mark.parametrize("said", ["12", NULL])
@pytest.mark.parametrize("rule", ["add", "max", "manual", "last_write_wins"])
def test_what_all_rows_show_that_are_back_is_agreed_whatever_was(rule: ConflictRule, said: str) -> None:
    shape = entity(Field(name="points", type="integer", conflict=rule), systems=("crm", "shop"), match=(("email",),))
    decision = reconcile(shows(back(shape, "crm", "shop"), crm={1: TEN | {"points": said}}, shop={1: TEN | {"points": said}}))
    assert value(decision, "points") == said
    assert decision.frozen.is_empty()
    assert all(holds(decision, name) == stands(decision, name) == {} for name in ("crm", "shop"))
    assert decision.history.select("field", "before", "after").rows() == [("points", "10", said)], "told against what was agreed"


def test_items_that_are_in_no_row_any_more_stay_out_of_a_list() -> None:
    shape = entity(Field(name="tags", type="list", conflict="union"), systems=("crm", "shop"), match=(("email",),))
    tagged = ADA | {"tags": '["a","b"]'}
    now = {1: tagged | {"tags": '["b","c"]'}}
    assert value(reconcile(shows(back(shape, "crm", "shop", record=tagged), crm=now, shop=now)), "tags") == '["b","c"]'


def test_where_the_rows_that_are_back_differ_a_person_is_asked() -> None:
    facts = shows(back(COUNTER, "crm", "shop", "till"), crm={1: TEN | {"points": "12"}}, shop={1: TEN | {"points": "15"}}, till={1: TEN})
    decision = reconcile(facts)
    assert set(decision.frozen.select(SYSTEM, "value").rows()) == {("crm", "12"), ("shop", "15"), ("till", "10")}


def test_a_change_that_one_system_made_in_its_place_is_not_counted_again_by_those_that_are_back() -> None:
    facts = shows(
        back(COUNTER, "crm", "shop"), till={1: {"points": "12"}}, crm={1: TEN | {"points": "12"}}, shop={1: TEN | {"points": "12"}}
    )
    decision = reconcile(facts)
    assert value(decision, "points") == "12"
    assert all(holds(decision, name) == stands(decision, name) == {} for name in SYSTEMS)


def test_what_is_agreed_is_a_side_where_somebody_stands_for_it_and_a_person_is_asked() -> None:
    facts = shows(back(COUNTER, "crm", "shop"), crm={1: TEN | {"points": "12"}}, shop={1: TEN | {"points": "12"}})
    decision = reconcile(facts)  # the till shows 10, as it did
    assert set(decision.frozen.select(SYSTEM, "value").rows()) == {("crm", "12"), ("shop", "12"), (None, "10")}


def test_records_without_rows_are_no_matter() -> None:
    assert met(known(COUNTER)).golden.is_empty()
