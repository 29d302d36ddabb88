"""A state that is older than the systems meets them: nothing is taken from one and given to another, and nothing is counted twice."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from tests.unit.core.tools import ADA, agreed, entity, holds, known, shadow, shows, stands, value
from trueup.core.cells import KEY, SYSTEM
from trueup.core.facts import MISSING, Decision, Facts, Meeting
from trueup.core.reconcile import reconcile
from trueup.model import Field

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
    assert holds(decision, "crm") == {"points": None}
    assert stands(decision, "crm") == {}


def test_what_is_due_in_a_row_that_is_there_stays_due() -> None:
    facts = agreed(COUNTER, {1: TEN}, deltas=[shadow(1, "crm", seen={"points": "7"}, sent={"points": "7"})])
    assert met(facts).shadows.is_empty()


def test_records_without_rows_are_no_matter() -> None:
    assert met(known(COUNTER)).golden.is_empty()
