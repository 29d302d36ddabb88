"""Brakes: what passes, what waits for a person, and what a person's word is worth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.guard import Day, GuardedKind, Verdict, drip, judge
from trueup.core.patterns import Pattern
from trueup.model import Guard

GUARD = Guard(deletes=0.05, updates=0.30, at_least=20)


def judged(kind: GuardedKind, count: int, guard: Guard | None = GUARD, **how: Any) -> Verdict | None:
    """A system of a thousand rows, nothing in the past hour, nothing approved."""
    usual = {"rows": 1000, "recent": 0, "emptied": False, "ceiling": None}
    return judge(guard, kind, count, **(usual | how))


@pytest.mark.parametrize(("kind", "limit"), [("deletes", 50), ("updates", 300)])
def test_each_kind_of_change_has_its_own_share(kind: GuardedKind, limit: int) -> None:
    assert judged(kind, limit) is None
    assert judged(kind, limit + 1) == Verdict(kind, limit + 1, 1000, limit)


def test_a_share_alone_holds_nothing():
    """In a small table a few rows are a large share: the count must be exceeded as well."""
    assert judged("deletes", 20, rows=30) is None
    assert judged("deletes", 21, rows=30) == Verdict("deletes", 21, 30, 20)


def test_a_count_alone_holds_nothing():
    assert judged("deletes", 5_000, rows=100_000) is None


def test_the_past_hour_counts_with_it():
    assert judged("deletes", 25, recent=25) is None
    assert judged("deletes", 25, recent=26) is not None


def test_the_past_hour_counts_for_both_limits():
    assert judged("deletes", 15, rows=30, recent=5) is None
    assert judged("deletes", 15, rows=30, recent=6) is not None


def test_nothing_to_do_is_never_held():
    assert judged("deletes", 0, recent=500, emptied=True) is None


def test_a_source_that_is_suddenly_empty_is_held_whatever_the_numbers():
    assert judged("deletes", 3, rows=3, emptied=True) == Verdict("deletes", 3, 3, 20, emptied=True)


def test_a_source_that_is_suddenly_empty_is_held_even_where_deletes_have_no_share():
    assert judged("deletes", 3, Guard(deletes=None), rows=3, emptied=True) is not None


def test_an_empty_source_says_nothing_about_edits():
    assert judged("updates", 3, emptied=True) is None


def test_what_a_person_approved_passes_up_to_that_number():
    assert judged("deletes", 400, ceiling=400) is None
    assert judged("deletes", 401, ceiling=400) is not None


def test_an_approval_opens_an_emptied_source_too():
    assert judged("deletes", 400, emptied=True, ceiling=400) is None
    assert judged("deletes", 401, emptied=True, ceiling=400) is not None


def test_an_approval_is_no_limit_of_its_own():
    """A ceiling below what would pass anyway holds nothing back."""
    assert judged("deletes", 50, ceiling=10) is None


def test_a_guard_that_is_off_holds_nothing():
    assert judged("deletes", 1000, None, emptied=True) is None
    assert judged("deletes", 1000, Guard(deletes=None)) is None
    assert judged("updates", 1000, Guard(deletes=None)) is not None


@given(st.sampled_from(["deletes", "updates"]), st.integers(0, 5_000), st.integers(1, 500), st.integers(1, 6_000))
def test_the_limit_told_is_the_largest_number_that_passes(kind: GuardedKind, rows: int, at_least: int, count: int) -> None:
    guard = Guard(deletes=0.05, updates=0.30, at_least=at_least)
    verdict = judged(kind, count, guard, rows=rows)
    if verdict is not None:
        assert judged(kind, verdict.limit, guard, rows=rows) is None
        assert judged(kind, verdict.limit + 1, guard, rows=rows) is not None


@given(st.integers(0, 5_000), st.integers(1, 6_000), st.integers(0, 100))
def test_more_is_never_let_through_where_less_is_held(rows: int, count: int, recent: int) -> None:
    if judged("deletes", count, rows=rows, recent=recent) is not None:
        assert judged("deletes", count + 1, rows=rows, recent=recent) is not None


def dripped(count: int, day: Day, guard: Guard = GUARD) -> Verdict | None:
    """A system that held a thousand rows before the last 24 hours."""
    return drip(guard, count, day, rows=1000 - day.rows, ceiling=None)


def test_many_small_deletes_are_as_much_as_a_large_one() -> None:
    held = dripped(11, Day(90, 3))
    assert held is not None
    assert held.pattern == Pattern("drip", None, 101, 1000, usual=0, passes=4)
    assert dripped(10, Day(90, 3)) is None
    assert dripped(140, Day()) is None
    assert drip(GUARD, 11, Day(90, 3), rows=910, ceiling=11) is None


def test_a_day_like_others_is_no_drip() -> None:
    assert dripped(11, Day(90, 3, busiest=50)) is not None
    assert dripped(11, Day(90, 3, busiest=51)) is None


def test_the_share_of_a_day_is_never_below_that_of_a_pass_and_may_be_off() -> None:
    assert dripped(11, Day(90, 3), Guard(deletes=0.2)) is None
    assert dripped(45, Day(160, 3), Guard(deletes=0.2)) is not None
    assert dripped(11, Day(90, 3), Guard(deletes_a_day=None)) is None
    assert dripped(11, Day(90, 3), Guard(deletes=None)) is None
