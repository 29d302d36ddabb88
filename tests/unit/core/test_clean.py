"""Cleaning: what each step makes of a value, that it is stable, and that nothing is lost."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.cells import NULL
from trueup.core.clean import STEPS, clean_column, clean_native, step_problem, uncleaned
from trueup.core.clean_forms import POSTCODES
from trueup.model import CleanStep

ARGUMENTS = {"phone": "GB", "postcode": "GB", "date": "dmy", "money": "1.234,56 EUR", "null_if": "n/a|-"}
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=16),
    st.sampled_from([
        "", " ", "İSTANBUL", "ŉ", "ß", "ﬁn", "ǆ", "e\u0301", "\uff21", "o'neil", "van der berg", "MCDONALD",
        "O’NEIL-SMITH jr", "dr. jane doe", "Smith, Bob",
        "Anna@Example.COM", "020 7946 0958", "+1 650 253 0000", "0044 20 7946 0958 ext. 5", "germany", "UK",
        "GB82 WEST 1234 5698 7654 32",
        "sw1a 1aa", "EC1A-1BB", "20.11.2026", "11/20/2026", "3rd March 2020", "2026-11-20 00:00", "1.234,50 €", "1,234", "1.234", "12.50-",
        "N/A", " - ", "an\u200bn", "\ufeffx", "e\u200b\u0301", "no\u00adbreak",
        "Ω\u0345", "\u0345", "ͅa", "\u1e9e", "ᾳ", "i\u0307", "½", "²",
    ]),
)  # fmt: skip


def step(name: str) -> CleanStep:
    """A step by its name, with its usual argument; `postcode:NL` has another one."""
    name, _, argument = name.partition(":")
    return CleanStep(name, argument or ARGUMENTS.get(name))


def clean(value: str | None, *names: str) -> str | None:
    found: str | None = clean_column(pl.Series([value], dtype=pl.String), [step(name) for name in names], "text")[0]
    return found


EVERY = sorted({*STEPS, "date:mdy", "date:ymd", "money:1,234.56", "money:£1234", "postcode:IE", "postcode:LV"})
NUMBERS = st.from_regex(r"\A[-(]?[€$£]? ?[0-9]{1,4}([.,' ][0-9]{1,3}){0,3} ?(EUR|-)?\)?\Z", fullmatch=True)
DATES = st.from_regex(r"\A([0-3]?[0-9][./-][01]?[0-9][./-](19|20)[0-9]{2}|[1-3][0-9] (Jan|Nov|sept|June)\.? 2026)\Z", fullmatch=True)


@pytest.mark.parametrize("name", EVERY)
@given(value=st.one_of(TEXT, NUMBERS, DATES))
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
        ("visible", "An\u200bn\ufeff\x07", "Ann"),
        ("visible", "\u0645\u06cc\u200c\u062e 👩\u200d🔧", "\u0645\u06cc\u200c\u062e 👩\u200d🔧"),
        ("null_if", " N/A ", NULL),
        ("null_if", "-", NULL),
        ("null_if", "none", "none"),
        ("postcode", "ec1a-1bb", "EC1A 1BB"),
        ("postcode", "GB-M1 1AE", "M1 1AE"),
        ("postcode", "12345", "12345"),
        ("postcode:NL", "1012ab", "1012 AB"),
        ("postcode:IE", "d6wx285", "D6W X285"),
        ("postcode:LV", "lv1010", "LV-1010"),
        ("postcode:US", "123456789", "12345-6789"),
        ("postcode:US", "2134", "2134"),
        ("date", "20.11.2026", "2026-11-20"),
        ("date", "20. 11. 2026", "2026-11-20"),
        ("date", "2026/1/2", "2026-01-02"),
        ("date", "20 Nov 2026", "2026-11-20"),
        ("date", "November 20th, 2026", "2026-11-20"),
        ("date", "20.11.2026 00:00:00", "2026-11-20"),
        ("date", "20.11.2026 10:00", "20.11.2026 10:00"),
        ("date", "11/20/2026", "11/20/2026"),
        ("date", "31.2.2026", "31.2.2026"),
        ("date", "20.11.26", "20.11.26"),
        ("date", "20-11.2026", "20-11.2026"),
        ("date:mdy", "11/20/2026", "2026-11-20"),
        ("date:ymd", "11/12/2026", "11/12/2026"),
        ("money", "€ 1.234,50", "1234.50"),
        ("money", "(1.234,50 eur)", "-1234.50"),
        ("money", "12,50-", "-12.50"),
        ("money", "1\u202f234,5", "1234.5"),
        ("money", "1.234", "1234"),
        ("money", "12.50", "12.50"),
        ("money", "$ 12", "$ 12"),
        ("money", "1,234", "1,234"),  # 1.234 would be read as 1234 the next time
        ("money", "1-2", "1-2"),
        ("money", "(5", "(5"),
        ("money:1,234.56", "1,234", "1234"),
        ("money:1,234.56", "1.234", "1.234"),
        ("money:1,234.56", "1.234,50", "1234.50"),
        ("money:1,234.56", "€5", "€5"),
        ("money:£1234", "5 GBP", "5"),
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
        (CleanStep("date", "dym"), "text", "dmy, mdy or ymd"),
        (CleanStep("date"), "date", "{date: dmy}"),
        (CleanStep("date", "dmy"), "decimal", "does not apply to fields of type decimal"),
        (CleanStep("money", "lots"), "decimal", "cannot read the number format"),
        (CleanStep("postcode", "XX"), "text", "does not know the postcodes of 'XX'"),
        (CleanStep("null_if"), "date", '{null_if: [n/a, "-"]}'),
    ],
)
def test_steps_that_cannot_work_are_named(wrong, kind, problem):
    assert problem in str(step_problem(wrong, kind))
    assert step_problem(CleanStep("phone", "GB"), "text") is None


@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_example_of_each_step_is_what_it_does(name):
    before, after = STEPS[name].example
    assert clean(before, name) == (NULL if after is None else after)


def test_postcodes_of_every_country_stay_as_its_post_writes_them():
    for country, masks in POSTCODES.items():
        for mask in masks:
            written = mask.replace("9", "7").replace("A", "K") if country != "IE" else "K77 K7K7"
            assert clean(written.replace(" ", "").replace("-", "").lower(), f"postcode:{country}") == written


def test_native_texts_are_cleaned_before_they_are_read():
    steps = [CleanStep("null_if", "n/a"), CleanStep("money", "1.234,56")]
    assert clean_native(pl.Series("x", ["1.234,5", None, "N/A", "?"]), steps, "decimal").to_list() == ["1234.5", None, None, "?"]
    assert clean_native(pl.Series("x", ["1.234", "n/a", "5"]), steps, "decimal", is_number=True).to_list() == ["1.234", None, "5"]
    assert clean_column(pl.Series(["1.234"]), steps, "decimal").to_list() == ["1.234"]  # a decimal of the core is clean


@pytest.mark.parametrize(
    ("values", "words", "expected"),
    [
        (pl.Series("x", ["1900-01-01", "2026-11-20"]).str.to_date(), "1900-01-01", [None, True]),
        (pl.Series("x", ["1900-01-01 00:00", "1900-01-01 10:00"]).str.to_datetime("%Y-%m-%d %H:%M"), "1900-01-01", [None, True]),
        (pl.Series("x", [-1, 0, 1]), "-1|0", [None, None, True]),
        (pl.Series("x", [999.0, 9.5]), "999", [None, True]),
        (pl.Series("x", [True, False, None]), "no", [True, True, None]),
    ],
)
def test_typed_values_that_stand_for_nothing_are_null(values, words, expected):
    done = clean_native(values, [CleanStep("null_if", words)], "date")
    assert done.dtype == values.dtype
    assert [None if value is None else True for value in done] == expected
