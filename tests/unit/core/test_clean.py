"""Cleaning: what each step makes of a value, that it is stable, and that nothing is lost."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.cells import NULL
from trueup.core.clean import STEPS, clean_column, step_problem, uncleaned
from trueup.model import CleanStep

ARGUMENTS = {"phone": "GB"}
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=16),
    st.sampled_from([
        "", " ", "İSTANBUL", "ŉ", "ß", "ﬁn", "ǆ", "e\u0301", "\uff21", "o'neil", "van der berg", "MCDONALD",
        "O’NEIL-SMITH jr", "dr. jane doe", "Smith, Bob",
        "Anna@Example.COM", "020 7946 0958", "+1 650 253 0000", "0044 20 7946 0958 ext. 5", "germany", "UK",
        "GB82 WEST 1234 5698 7654 32",
        "Ω\u0345", "\u0345", "ͅa", "\u1e9e", "ᾳ", "i\u0307", "½", "²",
    ]),
)  # fmt: skip


def step(name: str) -> CleanStep:
    return CleanStep(name, ARGUMENTS.get(name))


def clean(value: str | None, *names: str) -> str | None:
    found: str | None = clean_column(pl.Series([value], dtype=pl.String), [step(name) for name in names], "text")[0]
    return found


@pytest.mark.parametrize("name", sorted(STEPS))
@given(value=TEXT)
def test_twice_is_once(name, value):
    once = clean(value, name)
    assert clean(once, name) == once


@pytest.mark.parametrize("name", sorted(STEPS))
def test_absent_and_null_stay(name):
    assert clean(None, name) is None
    assert clean(NULL, name) == NULL


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("trim", " \tBob \n", "Bob"),
        ("collapse", "a \t\n b", "a b"),
        ("lower", "ÉLAN", "élan"),
        ("upper", "straße", "STRASSE"),
        ("title", "ann o'neil", "Ann O'Neil"),
        ("nfkc", "Ａﬁ", "Afi"),
        ("strip_accents", "Ångström é", "Angstrom e"),
        ("digits", "+44 (0)20", "44020"),
        ("digits", "none", "none"),
        ("alnum", "AB-12 é", "AB12é"),
        ("empty_to_null", "", NULL),
        ("empty_to_null", " ", " "),
        ("email", " Ann@EXAMPLE.com ", "Ann@example.com"),
        ("email", "not an address", "not an address"),
        ("phone", "020 7946 0958", "+442079460958"),
        ("phone", "(01632) 960001", "+441632960001"),
        ("phone", "+1 650-253-0000", "+16502530000"),
        ("phone", "020 7946 0958 ext 5", "020 7946 0958 ext 5"),
        ("phone", "ask for Ann on 020 7946 0958", "ask for Ann on 020 7946 0958"),
        ("phone", "12", "12"),
        ("country", "germany", "DE"),
        ("country", "UK", "GB"),
        ("country", "usa", "US"),
        ("country", "Atlantis", "Atlantis"),
        ("name", "ann MCDONALD", "ann MCDONALD"),
        ("name", "ANN MCDONALD", "Ann McDonald"),
        ("name", "juan de la vega", "Juan de la Vega"),
        ("name", "SMITH, BOB", "SMITH, BOB"),
        ("iban", "gb82 west 1234 5698 7654 32", "GB82WEST12345698765432"),
        ("iban", "GB83 WEST 1234 5698 7654 32", "GB83 WEST 1234 5698 7654 32"),
    ],
)
def test_each_step(name, value, expected):
    assert clean(value, name) == expected


def test_steps_run_in_their_order():
    assert clean("  Ann@EXAMPLE.com ", "trim", "email", "lower") == "ann@example.com"
    assert clean("   ", "trim", "empty_to_null") == NULL


def test_a_column_keeps_its_rows():
    column = pl.Series("phone", ["020 7946 0958", None, "x", NULL, "020 7946 0958", ""])
    assert clean_column(column, [step("phone")], "text").to_list() == ["+442079460958", None, "x", NULL, "+442079460958", ""]


def test_lists_are_cleaned_item_by_item():
    column = pl.Series(['["A","b "]', '["B"," "]', NULL, None, "[]"])
    assert clean_column(column, [step("trim"), step("lower")], "list").to_list() == ['["a","b"]', '["b"]', NULL, None, "[]"]


@given(st.lists(st.sampled_from(["trim", "lower", "collapse", "nfkc", "email"]), min_size=1, max_size=3), st.lists(TEXT, max_size=5))
def test_cleaned_text_is_nfc(names, values):
    done = clean_column(pl.Series(values, dtype=pl.String), [step(name) for name in names], "text")
    assert done.equals(done.str.normalize("NFC"))


def test_what_no_step_understood_is_told():
    column = pl.Series(["020 7946 0958", "call me", "", NULL, None])
    cleaned = clean_column(column, [step("trim"), step("phone")], "text")
    assert uncleaned(cleaned, [step("trim"), step("phone")]).to_list() == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("wrong", "kind", "problem"),
    [
        (CleanStep("lowr"), "text", "did you mean 'lower'"),
        (CleanStep("phone"), "text", "needs an argument"),
        (CleanStep("phone", "UK"), "text", "two-letter country code"),
        (CleanStep("trim", "x"), "text", "takes no argument"),
        (CleanStep("trim"), "integer", "does not apply to fields of type integer"),
    ],
)
def test_steps_that_cannot_work_are_named(wrong, kind, problem):
    assert problem in str(step_problem(wrong, kind))
    assert step_problem(CleanStep("phone", "GB"), "text") is None
