"""Expressions that judge: what an incoming edit becomes, and which golden changes wait for a person."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.unit.core.tools import NOW, THEN, edit, edits, entity, hours
from trueup.core.cells import AT, GID, NULL, SYSTEM
from trueup.core.judge import held_changes, judge_edits
from trueup.core.merge import CHANGE_SCHEMA
from trueup.model import Entity, Field


def shape(rule: str | None = None, hold_if: str | None = None) -> Entity:
    points = Field(name="points", type="integer", conflict="rule" if rule else "manual", rule=rule, hold_if=hold_if)
    return entity(points, Field(name="limit", type="decimal", scale=2), systems=("crm", "shop", "till"))


def records(points: str | None = "10", limit: str | None = "12.5") -> pl.DataFrame:
    row = {GID: 1, "name": "Ada", "email": None, "points": points, "limit": limit}
    return pl.DataFrame([row], schema={GID: pl.Int64()} | dict.fromkeys(list(row)[1:], pl.String()))


def judged(rule: str, *rows: dict[str, Any]) -> tuple[Any, ...]:
    """The value that stands, whose it is and since when."""
    verdict = judge_edits(shape(rule), edits(*rows), records())
    found: tuple[Any, ...] = verdict.select("value", SYSTEM, AT).row(0)
    return found


# ---------------------------------------------------------------- rule


def test_the_rule_says_what_stands():
    assert judged("least(incoming, golden)", edit("shop", "8", "10", "10"))[0] == "8"
    assert judged("least(incoming, golden)", edit("shop", "12", "10", "10"))[0] == "10"


def test_the_rule_may_say_a_value_that_nobody_said():
    assert judged("incoming + golden", edit("shop", "12", "10", "10"))[0] == "22"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("base = 9", True),
        ("golden = 10", True),
        ("incoming = 12", True),
        ("incoming_system = 'shop'", True),
        ("golden_system = 'crm'", True),
        ("incoming_at > golden_at", True),
        ('"limit" = 12.5', True),
        ("name = 'Ada'", True),
        ("email is null", True),
        ("incoming_system = 'crm'", False),
    ],
)
def test_a_rule_sees_both_sides_and_the_record(question: str, answer: bool) -> None:
    value = judged(f"case when {question} then incoming else golden end", edit("shop", "12", "9", "10"))[0]
    assert value == ("12" if answer else "10")


def test_edits_are_judged_in_the_order_of_their_times():
    """Each may only raise the value that stands so far by five."""
    rule = "case when incoming <= golden + 5 then incoming else golden end"
    early, late = {AT: hours(-2)}, {AT: hours(-1)}
    assert judged(rule, edit("crm", "15", "10", "10", **early), edit("shop", "20", "10", "10", **late))[0] == "20"
    assert judged(rule, edit("crm", "15", "10", "10", **late), edit("shop", "20", "10", "10", **early))[0] == "15"


def test_of_two_edits_at_one_time_the_first_in_precedence_is_judged_last():
    assert judged("incoming", edit("shop", "7", "10", "10"), edit("crm", "8", "10", "10"))[:2] == ("8", "crm")
    assert judged("incoming", edit("crm", "8", "10", "10"), edit("shop", "7", "10", "10"))[:2] == ("8", "crm")


def test_a_value_bears_the_name_and_time_of_whose_edit_it_is():
    assert judged("incoming", edit("shop", "12", "10", "10", **{AT: hours(-1)})) == ("12", "shop", hours(-1))
    assert judged("golden", edit("shop", "12", "10", "10")) == ("10", "crm", THEN)


def test_a_later_judgement_knows_whose_value_stands():
    """The shop's edit came first; the till's is judged against it."""
    rule = "case when golden_system = 'shop' then golden else incoming end"
    assert judged(rule, edit("shop", "7", "10", "10", **{AT: hours(-2)}), edit("till", "8", "10", "10"))[:2] == ("7", "shop")


def test_where_the_rule_fails_the_golden_value_stands():
    rule = "cast(1 / cast(incoming as decimal(38, 2)) as decimal(38, 2)) * 0 + incoming"
    assert judged(rule, edit("shop", "0", "10", "10"))[0] == "10"
    assert judged(rule, edit("shop", "5", "10", "10"))[0] == "5"


def test_a_rule_that_fails_on_one_record_judges_the_others():
    rows = edits(edit("shop", "0", "10", "10"), edit("shop", "5", "10", "10", **{GID: 2}))
    rule = "cast(1 / cast(incoming as decimal(38, 2)) as decimal(38, 2)) * 0 + incoming"
    verdict = judge_edits(shape(rule), rows, pl.concat([records(), records().with_columns(pl.lit(2, pl.Int64()).alias(GID))]))
    assert dict(verdict.select(GID, "value").rows()) == {1: "10", 2: "5"}


def test_a_first_value_needs_no_judgement():
    assert judged("golden", edit("shop", "12", NULL, NULL))[0] == "12"
    assert judged("golden", edit("shop", "12", None, None))[0] == "12"


def test_a_rule_may_answer_null():
    assert judged("nullif(incoming, 12)", edit("shop", "12", "10", "10"))[0] == NULL


def test_the_answer_is_of_the_fields_type():
    assert judged("incoming * 2.0", edit("shop", "5", "10", "10"))[0] == "10"
    assert judged("cast(incoming as varchar)", edit("shop", "5", "10", "10"))[0] == "5"


def test_an_answer_between_whole_numbers_is_rounded_half_away_from_zero():
    assert [judged("incoming * 1.5", edit("shop", number, "10", "10"))[0] for number in ("5", "-5", "3")] == ["8", "-8", "5"]


# ---------------------------------------------------------------- hold_if


def held(hold_if: str, *changes: tuple[str | None, str], **record: str) -> list[bool]:
    """Which changes (before, after) of records 1, 2, … wait."""
    rows = [(gid, "points", before, after, "shop", NOW, "accepted") for gid, (before, after) in enumerate(changes, 1)]
    every = [
        records(points=before, **record).with_columns(pl.lit(gid, pl.Int64()).alias(GID)) for gid, (before, _after) in enumerate(changes, 1)
    ]
    found = held_changes(shape(hold_if=hold_if), pl.DataFrame(rows, schema=CHANGE_SCHEMA, orient="row"), pl.concat(every))
    stopped = set(found.rows())
    return [(gid, "points") in stopped for gid, *_rest in rows]


def test_a_change_for_which_the_condition_is_true_waits():
    assert held("incoming < base * 0.5", ("20", "8"), ("20", "12")) == [True, False]


def test_a_condition_that_cannot_be_judged_stops_the_change():
    assert held("1 / cast(incoming as decimal(38, 2)) > 5", ("20", "0"), ("20", "10")) == [True, False]


def test_a_condition_that_answers_null_stops_nothing():
    assert held("incoming < base", ("20", NULL)) == [False]


def test_a_change_to_null_can_be_held():
    assert held("incoming is null", ("20", NULL), ("20", "0")) == [True, False]


def test_a_condition_sees_the_record_and_who_changes_it():
    assert held("incoming_system = 'shop' and golden = 20 and incoming > \"limit\"", ("20", "30"), limit="25") == [True]
    assert held("incoming_system = 'shop' and golden = 20 and incoming > \"limit\"", ("20", "30"), limit="35") == [False]


def test_a_value_in_the_place_of_null_is_a_change():
    assert held("incoming > 100", (NULL, "5000"), (NULL, "50")) == [True, False]


def test_the_first_value_of_a_new_record_is_no_change():
    assert held("true", (None, "5")) == [False]


def test_fields_without_a_condition_pass():
    rows = pl.DataFrame([(1, "name", "Ada", "Ann", "shop", NOW, "accepted")], schema=CHANGE_SCHEMA, orient="row")
    assert held_changes(shape(hold_if="true"), rows, records()).is_empty()
