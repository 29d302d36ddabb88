"""Which records are the same: kinds of fields, keys within a budget, what is asked, and the measured data sets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import polars as pl
import pytest

from benchmarks.febrl import WANTED_F1, WANTED_PRECISION, people
from trueup.model import CleanStep, Entity, Field
from trueup.setup.linkage.judge import judge
from trueup.setup.linkage.keys import LEAST_PAIRS, chosen_keys, rule_keys
from trueup.setup.linkage.kinds import Compared, comparable, compared_fields, form
from trueup.setup.linkage.model import Scored, nothing
from trueup.setup.linkage.verdicts import CHAIN, HOUSEHOLD, Pair, components, verdicts

KINDS = {
    "first_name": (Field(name="first_name"), ["Ann", "Ben", "Cleo"], "name"),
    "Surname": (Field(name="Surname"), ["Ash", "Birch", "Cedar"], "name"),
    "contact": (Field(name="contact"), ["a@x.example", "b@x.example", "c@x.example"], "email"),
    "telephone": (Field(name="telephone"), ["1", "2", "3"], "phone"),
    "line": (Field(name="line", clean=(CleanStep("phone", "GB"),)), ["+441", "+442", "+443"], "phone"),
    "dob": (Field(name="dob"), ["19800131", "19810228", "19820331"], "date"),
    "since": (Field(name="since", type="date"), ["1980-01-31", "1981-02-28", "1982-03-31"], "date"),
    "zip": (Field(name="zip"), ["12345", "23456", "34567"], "postcode"),
    "member_no": (Field(name="member_no"), ["100234", "100235", "100236"], "code"),
    "house": (Field(name="house"), ["1", "12", "7"], "number"),
    "sex": (Field(name="sex"), ["f", "m"] * 30, "category"),
    "street": (Field(name="street"), [f"{n} High Street" for n in range(100)], "text"),
    "boss": (Field(name="boss", type="reference", entity="person"), ["1", "2"], "category"),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_a_field(name):
    item, values, kind = KINDS[name]
    (found,), _left_out = compared_fields(Entity(name="person", fields={name: item}, mappings={}), pl.DataFrame({name: values}))
    assert found.kind == kind


def test_what_a_record_has_is_not_what_it_is():
    fields = {
        "points": Field(name="points", type="integer", conflict="add"),
        "credit": Field(name="credit", type="decimal"),
        "notes": Field(name="notes"),
        "country": Field(name="country"),
        "fax": Field(name="fax"),
        "tags": Field(name="tags", type="list"),
    }
    cells = pl.DataFrame(
        {
            "points": ["1", "2"],
            "credit": ["1", "2"],
            "notes": ["a", "b"],
            "country": ["GB", "GB"],
            "fax": [None, None],
            "tags": ["[]", '["x"]'],
        },
        schema=dict.fromkeys(fields, pl.String()),
    )
    found, left_out = compared_fields(Entity(name="person", fields=fields, mappings={}), cells)
    assert found == []
    assert left_out["country"] == "has one value in all records"
    assert left_out["fax"] == "has no values"
    assert left_out.keys() == fields.keys()


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("name", "Smith, John", "john smith"),
        ("name", "Zoë O'Neill", "ZOE O NEILL"),
        ("name", "דנה לוי", "לוי דנה"),
        ("name", "\uff21\uff44\uff41", "ada"),  # full width
        ("email", " Ada@Example.com ", "ada@example.com"),
        ("phone", "+44 20 7946 0101", "020 7946 0101"),
        ("date", "1985-12-10", "19851210"),
        ("postcode", "sw1a 1aa", "SW1A1AA"),
        ("code", "AB-12/3", "ab123"),
        ("text", "12 High Street", "12, high st."),
    ],
)
def test_the_same_in_another_form(kind, one, other):
    assert form(kind, one) == form(kind, other)
    assert form(kind, form(kind, one) or "") == form(kind, one)


def test_nothing_is_left_of_signs_alone_and_emoji_stay():
    assert form("phone", "n/a") is None
    assert form("postcode", "--") is None
    assert form("name", "👩‍💻") == "👩‍💻"


def _word(number: int) -> str:
    """A word like no other."""
    return "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz", k=9))


def _rows(values: Sequence[str | None]) -> tuple[pl.DataFrame, list[Compared]]:
    return pl.DataFrame({"c0": values}, schema={"c0": pl.String()}), [Compared("name", "c0", "name", 1.0, len(set(values)))]


def test_a_value_that_a_million_records_share_brings_nobody_together():
    rows, fields = _rows(["x"] * 1_000_000 + ["rare", "rare"])
    keyed, (key,) = chosen_keys(rows, fields)
    assert (key.pairs, key.largest, key.left_out) == (1, 2, 1_000_000)
    assert keyed["b0"].drop_nulls().to_list() == ["rare", "rare"]


def test_pairs_stay_within_the_budget_and_crowded_fields_help_each_other():
    many = 30_000
    first, last = [f"f{n % 20}" for n in range(many)], [f"l{n % 23}" for n in range(many)]
    rows = pl.DataFrame({"c0": first, "c1": last})
    fields = [Compared("first_name", "c0", "name", 1.0, 20), Compared("surname", "c1", "name", 1.0, 23)]
    _keyed, keys = chosen_keys(rows, fields)
    assert ("c1", "c0") in [key.of for key in keys] or ("c0", "c1") in [key.of for key in keys]
    assert 0 < sum(key.pairs for key in keys) <= LEAST_PAIRS


def test_a_weaker_match_rule_says_nothing_against_a_stronger_one():
    entity = Entity(
        name="person", fields={"email": Field(name="email"), "name": Field(name="name")}, mappings={}, match=(("email",), ("name",))
    )
    cells = pl.DataFrame({"email": ["a", "b", None, "a"], "name": ["Ann", "Ann", "Ann", "Bea"]})
    assert rule_keys(entity, cells).pairs == {(0, 3): 0, (0, 2): 1, (1, 2): 1}


def test_records_that_are_the_same_in_every_field_need_no_pairs():
    """Only some of the copies are compared; the others go with the first."""
    entity = Entity(name="person", fields={name: Field(name=name) for name in ("name", "email")}, mappings={})
    others = 400
    cells = pl.DataFrame(
        {
            "name": ["Ada King"] * 20 + [f"{_word(n)} {_word(n + 1000)}" for n in range(others)],
            "email": ["ada@king.example"] * 20 + [f"{_word(n)}@{_word(n + 2000)}.example" for n in range(others)],
        }
    )
    (group,) = judge(entity, cells).verdicts.groups
    assert group[0] == tuple(range(20))


def test_fields_in_which_no_two_records_agree_teach_nothing():
    entity = Entity(name="person", fields={name: Field(name=name) for name in ("phone", "email", "city")}, mappings={})
    many = range(400)
    cells = pl.DataFrame(
        {
            "phone": [f"+4420{7946000 + n}" for n in many],
            "email": [f"{_word(n)}@{_word(n + 2000)}.example" for n in many],
            "city": [("Leeds", "York", "London")[n % 3] for n in many],
        }
    )
    assert judge(entity, cells).verdicts.groups == []


def test_when_all_records_are_equal_nobody_is_told_from_anybody():
    entity = Entity(name="person", fields={name: Field(name=name) for name in ("name", "email")}, mappings={})
    cells = pl.DataFrame({"name": ["Ada"] * 5_000, "email": ["a@b.example"] * 5_000})
    judged = judge(entity, cells)
    assert judged.verdicts.groups == []
    assert judged.left_out == dict.fromkeys(("name", "email"), "has one value in all records")


def _scored(pairs: list[tuple[int, int, float]], **weights: float) -> Scored:
    """Pairs as the model would give them."""
    told: dict[str, Any] = {
        "left": [left for left, _right, _p in pairs],
        "right": [right for _left, right, _p in pairs],
        "weight": [0.0] * len(pairs),
        "probability": [p for _left, _right, p in pairs],
    }
    del weights
    return Scored((), pl.DataFrame(told), 0.01, len(pairs), trained=True)


def test_a_chain_is_asked_about():
    pairs = [(row, row + 1, 0.999) for row in range(6)]
    found = verdicts(_scored(pairs), {}, frozenset(), threshold=0.99, review=0.5)
    assert found.groups == []
    assert {one.why for one in found.asked} == {CHAIN}
    whole = [(left, right, 0.999) for left, right in combinations(range(4), 2)]
    assert [group for group, _pairs in verdicts(_scored(whole), {}, frozenset(), threshold=0.99, review=0.5).groups] == [(0, 1, 2, 3)]


def test_what_a_person_told_apart_stays_apart():
    pairs = [(0, 1, 0.999), (1, 2, 0.999), (0, 2, 0.999)]
    found = verdicts(_scored(pairs), {}, frozenset({(0, 2)}), threshold=0.99, review=0.5)
    assert found.groups == []
    assert {(one.left, one.right) for one in found.asked} == {(0, 1), (1, 2)}


def test_a_match_rule_needs_no_model_but_loses_against_one():
    assert verdicts(nothing(), {(0, 1): 0}, frozenset(), threshold=0.99, review=0.5).groups == [((0, 1), (Pair(0, 1, 1.0, None, 0),))]
    found = verdicts(_scored([(0, 1, 0.7)]), {(0, 1): 0}, frozenset(), threshold=0.99, review=0.5)
    assert [group for group, _pairs in found.groups] == [(0, 1)]


def test_a_household_makes_nobody_the_same():
    entity = Entity(
        name="person", fields={name: Field(name=name) for name in ("first_name", "surname", "street", "postcode", "phone")}, mappings={}
    )
    rows = [(_word(n), _word(n + 100), f"{n} {_word(n + 200)} Road", _word(n + 300)[:6], str(2 * 10**9 + n * 9_777_777)) for n in range(60)]
    rows += [("John", "Okafor", "5 Mill Lane", "ZZ1234", "02071112222"), ("Mary", "Okafor", "5 Mill Lane", "ZZ1234", "02071112222")]
    cells = pl.DataFrame(rows, schema=list(entity.fields), orient="row")
    found = judge(entity, cells).verdicts
    assert found.groups == []
    assert [(one.left, one.right, one.why) for one in found.asked] == [(60, 61, HOUSEHOLD)]


def test_components_hang_together():
    pairs = [Pair(4, 5, 1.0, None), Pair(0, 9, 1.0, None), Pair(5, 9, 1.0, None), Pair(2, 3, 1.0, None)]
    assert [rows for rows, _pairs in components(pairs)] == [(0, 4, 5, 9), (2, 3)]


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_the_measured_data_sets(number):
    """What a user gets by default, against the pairs that are known to be the same."""
    entity, cells, true = people(number)
    assert comparable(cells, compared_fields(entity, cells)[0]).height == cells.height
    made_one = {pair for rows, _pairs in judge(entity, cells).verdicts.groups for pair in combinations(rows, 2)}
    right = len(made_one & true)
    precision, recall = right / len(made_one), right / len(true)
    assert precision >= WANTED_PRECISION
    assert 2 * precision * recall / (precision + recall) >= WANTED_F1[number]
