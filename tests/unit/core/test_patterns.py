"""What many edits have in common: the limits below which nothing is said, and values of which nothing can be said."""

from __future__ import annotations

import pytest

from trueup.core.cells import NULL
from trueup.core.patterns import Edits, Pattern
from trueup.model import Entity, Field

ENTITY = Entity(name="product", fields={"price": Field(name="price", type="decimal"), "note": Field(name="note")}, mappings={})
Edit = tuple[str, str | None, str | None, bool]


def seen(*edits: Edit, rows: int = 100, at_least: int = 20) -> Pattern | None:
    counted = Edits(ENTITY)
    counted.add(edits)
    return counted.pattern(rows, at_least)


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
