"""What a profile says of columns whose content is known: kinds, gaps, dirt, doubles, outliers, and what would clean them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trueup.connectors.memory import FULL_CAPS, MemoryConnector, MemoryWorld
from trueup.core.forms import KINDS, counted, in_form, kinds, shape
from trueup.errors import SystemUnreachableError
from trueup.model import ColumnInfo
from trueup.reports.profile_facts import SystemProfile
from trueup.reports.profile_words import clock_is_wrong, clock_words
from trueup.setup.profile.clocks import clock_by_modified, clock_of
from trueup.setup.profile.columns import Measured, measure_column
from trueup.setup.profile.measure import measure
from trueup.setup.profile.numbers import spread_of, spread_of_days
from trueup.setup.profile.places import places_in
from trueup.setup.profile.proposals import country_of, propose_clean

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def measured(name: str, values: list[Any], kind: Any = "text", *, is_key: bool = False) -> Measured:
    return measure_column(ColumnInfo(name=name, type=kind), pl.Series(name, values), is_key=is_key)


def dirt(found: Measured) -> dict[str, int]:
    return {item.name: item.count for item in found.profile.dirt}


def proposed(name: str, values: list[Any]) -> tuple[str, ...]:
    found = propose_clean(measured(name, values))
    return found.clean if found is not None else ()


KIND_OF = {
    "ann@example.org": "email", "ann@example": "text", "https://example.org/x": "url", "yes": "boolean", "2026-11-20": "date-iso",
    "2026-11-20T10:00:00Z": "datetime", "20.11.2026": "date-dots", "20/11/2026": "date-slashes", "2026/11/20": "date-ymd",
    "1/2/24": "date-short", "3 Nov 2026": "date-words", "November 3rd, 2026": "date-words", "12 apples 2026": "text", "12": "integer",
    "007": "code", "1.5": "decimal-point", "1,5": "decimal-comma", "1.234,50": "grouped", "€ 5": "money", "5 EUR": "money",
    "GB82 WEST 1234 5698 7654 32": "iban", "+44 20 7946 0958": "phone-code", "020 7946 0958": "phone", "AB-12": "code", "Ann Ash": "text",
    "5 Mill Lane": "text", "123e4567-e89b-12d3-a456-426614174000": "uuid", "שלום": "text", "😀": "text", "": "text",
}  # fmt: skip


@pytest.mark.parametrize("text", KIND_OF)
def test_each_text_is_of_its_kind(text: str) -> None:
    assert kinds(pl.Series([f" {text}\t"])).to_list() == [KIND_OF[text]]


@given(st.lists(st.text(max_size=12), max_size=6))
def test_every_text_has_a_kind_and_a_column_is_judged_value_by_value(texts: list[str]) -> None:
    found = kinds(pl.Series(texts, dtype=pl.String))
    assert found.to_list() == [kinds(pl.Series([text]))[0] for text in texts]
    assert set(found) <= {*KINDS, "text"}


def test_many_texts_are_of_the_same_kinds_as_few() -> None:
    few = pl.Series([text for text in KIND_OF for _ in range(3)])
    many = few.extend_constant("", 6_000)
    assert kinds(many)[: len(KIND_OF) * 3].to_list() == [KIND_OF[text] for text in KIND_OF for _ in range(3)]


@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["n/a", " ", "a@b.de", "1,5", "20.11.2026"])), max_size=12))
@settings(max_examples=settings().max_examples // 4)  # each costs what a dozen others do
def test_the_counts_of_any_column_add_up(values: list[str | None]) -> None:
    found = measured("x", pl.Series(values, dtype=pl.String).to_list() if any(values) else [None, *values])
    profile = found.profile
    assert profile.rows == len(values) + (0 if any(values) else 1)
    assert sum(item.count for item in profile.kinds) == profile.filled
    assert profile.distinct == found.texts.height
    propose_clean(found)


def test_what_is_missing_is_told_apart() -> None:
    profile = measured("note", ["x1", None, "", " ", "\u200b", "n/a", "-", "1900-01-01", "none"]).profile
    assert (profile.filled, profile.empty, profile.blank) == (5, 1, 3)
    assert dict(profile.placeholders) == {"n/a": 1, "-": 1, "1900-01-01": 1}  # `none` may be a value, and is not rare here


def test_a_word_that_may_be_a_value_counts_where_it_is_rare() -> None:
    names = [f"name {number}" for number in range(60)]
    assert dict(measured("name", [*names, "test"]).profile.placeholders) == {"test": 1}
    assert measured("size", ["x", "xx", "s", "m", "l", "xl", "xxx"]).profile.placeholders == []


def test_dirt_is_counted_by_kind() -> None:
    found = measured("note", [" a", "b  c", "d\u00a0e", "f\u200bg", "e\u0301t", "Ã¤h", "\uff21b", "h\x07i", "fine", "line\nline"])
    assert dirt(found) == dict.fromkeys(
        ("outer-space", "inner-space", "unusual-space", "invisible", "decomposed", "misread", "wide", "control"), 1
    )


def test_values_of_another_kind_or_notation_are_told() -> None:
    assert dirt(measured("email", [*(f"p{n}@x.org" for n in range(9)), "nobody", "P9@X.org"])) == {"odd": 1, "capitals": 1}
    assert dirt(measured("day", ["20.11.2026"] * 5 + ["2026-11-20", "3 Nov 2026"])) == {"notation": 2}
    assert dirt(measured("price", ["1,5", "2,5", "3", "4.5"])) == {"notation": 1}
    assert dirt(measured("status", ["active", "active", "Active", "closed", "ACTIVE "])) == {"outer-space": 1, "spelling": 2}
    assert dirt(measured("amount", ["1.5", "15", "1.50"])) == {}


def test_values_that_tell_rows_apart_are_looked_at_for_doubles() -> None:
    found = measured("email", [*(f"p{n}@x.org" for n in range(20)), "p1@x.org", "P2@x.org "]).profile.doubled
    assert found is not None
    assert (found.values, found.rows, found.samples, found.in_form) == (1, 2, (("p1@x.org", 2),), 2)
    assert measured("city", ["Ulm"] * 10 + ["Bonn"]).profile.doubled is None
    numbers = measured("id", [*range(20), 3], "integer", is_key=True).profile
    assert numbers.doubled is not None
    assert numbers.doubled.samples == (("3", 2),)
    assert numbers.spread is None


# ---------------------------------------------------------------- far from the others


def test_what_is_far_out_stands_firm_against_wild_values() -> None:
    spread = spread_of(pl.Series([*range(100), 10**9, -(10**9)]))
    assert spread is not None
    assert spread.outliers == 2
    assert spread.outlier_samples == (-(10**9), 10**9)
    assert sum(spread.bins) == 100


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
@example([8.9e307, 8.9e307])
@example([-1.7e308, 1.7e308] * 15)
@example([5e-324, 0.0])
def test_any_numbers_have_a_spread_that_adds_up(values: list[float]) -> None:
    spread = spread_of(pl.Series(values, dtype=pl.Float64))
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        assert spread is None
        return
    assert spread is not None
    assert not spread.bins or sum(spread.bins) <= len(finite)
    assert spread.outliers < len(finite)


def test_days_and_too_few_values() -> None:
    spread = spread_of_days(pl.Series([date(2020, 1, 1) + timedelta(days=number) for number in range(50)] + [date(9000, 1, 1)]))
    assert spread is not None
    assert (spread.least, spread.outlier_samples) == ("2020-01-01", ("9000-01-01",))
    few = spread_of(pl.Series([1, 2, 3, 1000]))
    assert few is not None
    assert (few.outliers, few.low) == (0, None)


# ---------------------------------------------------------------- proposals

PROPOSED: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {
    ("mail", (" Ann@X.org", "bob@x.org", "n/a", "c@x.org", "d@x.org")): ("trim", '{null_if: ["n/a"]}', "lower"),
    ("phone", ("+44 1632 960001", "01632 960002", "(01632) 960003")): ("{phone: GB}",),
    ("born", ("20.11.1980", "1981-02-03", "13/02/1982")): ("{date: dmy}",),
    ("born", ("11/20/1980", "1981-02-03")): ("{date: mdy}",),
    ("fee", ("1.234,50 €", "12,5", "7 €")): ('{money: "1.234,56 €"}',),
    ("fee", ("$1,234.50", "$12.50", "$7")): ('{money: "1,234.56 $"}',),
    ("fee", ("5", "7", "8", "9,5 €")): ('{money: "1.234,56 €"}',),
    ("postcode", ("sw1a1aa", "EC1A 1BB", "M1 1AE")): ("{postcode: GB}",),
    ("country", ("Germany", "DE", "United Kingdom")): ("country",),
    ("last_name", ("ASH", "Elm", "Fir", "Oak")): ("name",),
    ("city", ("ulm", "Bonn", "Köln", "Mainz")): ("title",),
    ("iban", ("GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432")): ("iban",),
    ("note", ("a\u200bb", "c \u00a0 d", "  ")): ("visible", "trim", "empty_to_null", "collapse"),
    ("note", ("two\nlines  here", "x")): (),
    ("note", ("fine", "as it is")): (),
    ("fee", ("5 €", "6 $", "7 £")): (),
    ("born", ("13/02/1982", "02/13/1982", "1.1.1980")): (),
}


@pytest.mark.parametrize(("name", "values"), PROPOSED)
def test_each_column_gets_the_steps_that_it_needs(name: str, values: tuple[str, ...]) -> None:
    found = proposed(name, list(values))
    assert sorted(found) == sorted(PROPOSED[name, values])


def test_what_steps_do_is_shown_and_what_they_cannot_read_is_told() -> None:
    found = propose_clean(measured("phone", ["+44 1632 960001", *(f"01632 96000{n}" for n in range(2, 6)), "0123"]))
    assert found is not None
    assert (found.tried, found.changed, found.unclear, found.unclear_samples) == (6, 5, 1, ("0123",))
    assert found.samples[0] == ("+44 1632 960001", "+441632960001")


ADVICE: dict[tuple[str, tuple[str, ...]], str] = {
    ("phone", ("01632 960001", "01632 960002")): "say whose they are",
    ("born", ("20.11.1980", "21.11.1980")): 'format: "%d.%m.%Y"',
    ("born", ("01/02/1980", "02/03/1980")): "no value tells whether the day or the month comes first",
    ("price", ("1,5", "2,5")): 'format: "1.234,56"',
    ("name", ("MÃ¼ller", "Ash")): "wrong encoding",
}


@pytest.mark.parametrize(("name", "values"), ADVICE)
def test_what_no_step_does_by_itself_is_said(name: str, values: tuple[str, ...]) -> None:
    found = propose_clean(measured(name, list(values)))
    assert found is not None
    assert found.clean == ()
    assert ADVICE[name, values] in found.advice


def test_the_country_of_a_table_says_whose_its_numbers_are() -> None:
    land = measured("country", ["DE", "Germany", "DE", "AT", "DE"])
    assert country_of([land]) == "DE"
    found = propose_clean(measured("phone", ["030 1234567", "030 7654321"]), "DE")
    assert found is not None
    assert found.clean == ("{phone: DE}",)
    assert country_of([measured("country", ["DE", "AT", "CH"])]) is None


# ---------------------------------------------------------------- clocks


class Clocked(MemoryConnector):
    """A system whose clock is ahead, and whose answer takes its time."""

    def __init__(self, ahead_s: float) -> None:
        self.ours = NOW
        super().__init__("till", MemoryWorld(FULL_CAPS, clock=lambda: self.ours + timedelta(seconds=0.2 + ahead_s)))

    def now(self) -> datetime:
        self.ours += timedelta(seconds=0.4)
        return self.ours


@pytest.mark.parametrize(("ahead_s", "wrong", "words"), [(90, True, "90 s ahead of"), (-90, True, "90 s behind"), (0, False, "agrees")])
def test_a_clock_is_asked_and_the_way_there_is_taken_out(ahead_s: float, wrong: bool, words: str) -> None:
    connector = Clocked(ahead_s)
    found = clock_of(connector, "memory", connector.now)
    assert found is not None
    assert found.seconds == pytest.approx(ahead_s)
    assert found.within_s == pytest.approx(0.2)
    assert clock_is_wrong(found) is wrong
    assert words in clock_words(found)


def test_without_a_clock_a_row_from_the_future_tells() -> None:
    assert clock_by_modified(NOW + timedelta(hours=1), NOW).seconds == 3600
    assert clock_by_modified(NOW, NOW).by == "nothing"
    assert clock_by_modified(None, NOW).by == "nothing"


def test_a_system_that_does_not_answer_has_no_clock() -> None:
    world = MemoryWorld(FULL_CAPS)
    world.down = "down"
    connector = MemoryConnector("till", world)
    with pytest.raises(SystemUnreachableError):
        connector.clock()
    assert clock_of(connector, "memory") is None


def test_small_tools() -> None:
    assert counted(pl.Series(["b", "a", "b", None])).rows() == [("b", 2), ("a", 1)]
    assert pl.select(shape(pl.lit("Ann O'Neil 12345678"))).item() == "Aaa A'Aaaa 999999+"
    assert in_form(pl.Series(["O'Neil", "oneil ", "1.5", "15", "ﬁn"])).to_list() == ["oneil", "oneil", "1\u01c15", "15", "fin"]


def test_any_connector_is_read_page_by_page_and_no_further_than_asked() -> None:
    world = MemoryWorld(FULL_CAPS, clock=lambda: NOW)
    columns = [ColumnInfo(name="id", type="text"), ColumnInfo(name="updated_at", type="datetime")]
    table = world.add_table("people", columns, ["id"])
    for number in range(1_500):
        table.insert({"id": str(number), "updated_at": NOW + timedelta(hours=2)})
    for caps in (FULL_CAPS, replace(FULL_CAPS, browses=False, clock=False)):
        world.caps = caps
        system = SystemProfile("till", "memory")
        places = list(places_in(system, MemoryConnector("till", world)))
        report = measure(places, {"till": system}, NOW, most_rows=700)
        (people,) = report.systems["till"].objects
        assert (people.rows, people.whole, people.columns["id"].distinct) == (700, False, 700)
        assert system.clock is not None
        assert system.clock.by == ("asked" if caps.clock else "modified")


def test_an_object_that_cannot_be_read_harms_no_other() -> None:
    world = MemoryWorld(FULL_CAPS)
    for name in ("one", "two"):
        world.add_table(name, [ColumnInfo(name="id", type="text")], ["id"])
    system = SystemProfile("till", "memory")
    places = list(places_in(system, MemoryConnector("till", world)))
    del world.tables["one"]
    report = measure(places, {"till": system}, NOW)
    assert [item.name for item in system.objects] == ["two"]
    assert "there is no object 'one'" in system.left_out["one"]
    assert (report.complete, report.nothing) == (False, False)
