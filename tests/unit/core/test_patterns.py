"""What many edits have in common: the limits below which nothing is said, and values of which nothing can be said."""

from __future__ import annotations

import pytest

from trueup.core import retyped
from trueup.core.cells import NULL
from trueup.core.patterns import Edits, Pattern, Usual
from trueup.model import Entity, Field, Guard

ENTITY = Entity(name="product", fields={"price": Field(name="price", type="decimal"), "note": Field(name="note")}, mappings={})
Edit = tuple[str, str | None, str | None, bool]


def seen(*edits: Edit, rows: int = 100, at_least: int = 20) -> Pattern | None:
    counted = Edits(ENTITY)
    counted.add(edits)
    return counted.pattern(rows, Guard(at_least=at_least))


def blank(count: int) -> list[Edit]:
    return [("note", f"text {number}", NULL, False) for number in range(count)]


def scaled(count: int, factor: float) -> list[Edit]:
    return [("price", str(number), str(number * factor), False) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("rows", "least", "count", "found"), [(100, 20, 20, True), (100, 20, 19, False), (1000, 20, 50, True), (1000, 20, 49, False)]
)
def test_a_field_that_is_emptied_counts_from_the_share_and_the_number_on(rows: int, least: int, count: int, found: bool) -> None:
    assert (seen(*blank(count), rows=rows, at_least=least) is not None) == found


def test_most_edits_of_the_field_must_empty_it() -> None:
    others: list[Edit] = [("note", "a", "b", False)] * 6
    assert seen(*blank(24), *others) == Pattern("blanked", "note", 24, 30)
    assert seen(*blank(24), *others, ("note", "a", "b", False)) is None


def test_what_was_empty_before_was_not_emptied() -> None:
    assert seen(*[("note", NULL, NULL, False)] * 30) is None
    assert seen(*[("note", None, NULL, False)] * 30) is None


@pytest.mark.parametrize(("factor", "found"), [(100, True), (0.01, True), (1.5, True), (1.49, False), (0.67, False), (1.1, False)])
def test_numbers_that_change_by_one_factor(factor: float, found: bool) -> None:
    pattern = seen(*scaled(30, factor))
    assert (pattern is not None) == found
    if pattern is not None:
        assert pattern.factor == pytest.approx(factor, rel=0.01)


def test_numbers_that_have_no_factor_are_not_counted() -> None:
    odd = ["0", NULL, None, "-5", "no number"]
    assert seen(*[("price", before, "7", False) for before in odd * 10]) is None


def test_values_that_go_back_count_over_all_fields() -> None:
    back: list[Edit] = [*[("note", "new", "old", True)] * 15, *[("price", "2", "1", True)] * 9]
    forth: list[Edit] = [("note", "a", "b", False)] * 6
    assert seen(*back, *forth) == Pattern("went back", None, 24, 30)
    assert seen(*back, *forth, *forth) is None


def test_nothing_was_edited() -> None:
    assert seen() is None


RETYPED: dict[tuple[str, str | None, str | None], str | None] = {
    ("text", "00123", "123"): "leading zeros or a plus sign are gone",
    ("text", "+44 20 7946 0018", "442079460018"): "leading zeros or a plus sign are gone",
    ("text", "1.50", "1.5"): "zeros behind the decimal point are gone",
    ("text", "12.0", "12"): "zeros behind the decimal point are gone",
    ("text", "4006381333931", "4.00638E+12"): "long numbers became powers of ten",
    ("text", "4006381333931234567", "4006381333931230000"): "the last digits of long numbers became zeros",
    ("text", "3-4", "2026-04-03"): "what was no date became one",
    ("text", "MARCH1", "1-Mar"): None,
    ("text", "MAR1", "1-Mar"): "what was no date became one",
    ("text", "2026-03-14", "14/03/2026"): "dates are written in another form",
    ("text", "14.03.26", "2026-03-14"): "dates are written in another form",
    ("text", "Zoë", "ZoÃ«"): "letters are garbled by an encoding",
    ("text", "Zoë Müller", "Zo? M?ller"): "letters are garbled by an encoding",
    ("date", "2026-03-04", "2026-04-03"): "days and months have changed places",
    ("decimal", "12.75", "13"): "decimals are gone",
    ("decimal", "-12.75", "-12"): "decimals are gone",
    # What people do.
    ("text", "00123", "00124"): None,
    ("text", "0171-555", "0171555"): None,
    ("text", "12", "13"): None,
    ("text", "Zoe", "Zoë"): None,
    ("text", "2026-03-14", "2026-03-15"): None,
    ("text", "note 1", "note 2"): None,
    ("text", NULL, "1"): None,
    ("text", None, "1"): None,
    ("text", "0", NULL): None,
    ("text", "000", "0"): None,
    ("date", "2026-03-04", "2026-03-05"): None,
    ("date", "2026-03-03", "2026-03-04"): None,
    ("decimal", "12.75", "12.5"): None,
    ("decimal", "12", "13"): None,
    ("decimal", "12.75", "14"): None,
    ("boolean", "true", "false"): None,
}


@pytest.mark.parametrize("case", RETYPED, ids=str)
def test_a_value_that_was_written_anew_is_told_from_an_edit(case: tuple[str, str | None, str | None]) -> None:
    assert retyped.form(*case) == RETYPED[case]


def test_a_column_that_lost_its_zeros_is_noticed_from_two_in_a_hundred_rows_on() -> None:
    edits: list[Edit] = [("note", f"00{number}", str(number), False) for number in range(1, 25)]
    found = seen(*edits, rows=1_000)
    assert found == Pattern("re-typed", "note", 24, 24, form="leading zeros or a plus sign are gone")
    assert found.examples == (("001", "1"), ("002", "2"), ("003", "3"))
    assert seen(*edits, rows=2_000) is None
    assert seen(*edits, *[("note", "a", "b", False)] * 7, rows=1_000) is None


def test_one_value_over_many_that_differed() -> None:
    edits: list[Edit] = [("note", f"text {number}", "TEST", False) for number in range(60)]
    assert seen(*edits, rows=1_000) == Pattern("one value", "note", 60, 60, value="TEST")
    assert seen(*edits[:49], rows=1_000) is None
    flags: list[Edit] = [("note", ("yes", "no", "maybe")[number % 3], "TEST", False) for number in range(60)]
    assert seen(*flags, rows=1_000) is None


def test_a_surge_is_measured_against_what_is_usual() -> None:
    counted = Edits(ENTITY)
    counted.add([("note", ("a", "b")[number % 2], ("b", "a")[number % 2], False) for number in range(1_500)])
    guard = Guard()
    assert counted.pattern(7_000, guard, Usual(150, 14)) == Pattern("surge", "note", 1_500, 1_500, usual=150)
    assert counted.pattern(7_000, guard, Usual(151, 14)) is None
    assert counted.pattern(7_000, guard, Usual(150, 13)) is None
    assert counted.pattern(7_501, guard, Usual(150, 14)) is None
    assert counted.pattern(7_000, Guard(surge=None), Usual(150, 14)) is None


def test_patterns_may_be_switched_off() -> None:
    counted = Edits(ENTITY)
    counted.add(blank(100))
    assert counted.pattern(100, Guard(one_mistake=None)) is None
    assert counted.pattern(100, Guard(one_mistake=1.0)) is not None
