"""Schedules: every moment is met exactly once, across both clock changes, downtime and clocks that are put back."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.model import Entity, When
from trueup.runtime.schedule import SWEEP, due_at, longest_wait_s, name_of, next_after, terms_of

ALL_DAYS = tuple(range(7))
BERLIN = "Europe/Berlin"
SPRING = datetime(2026, 3, 29, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, tzinfo=UTC)


def daily(at: str, zone: str = BERLIN, days: tuple[int, ...] = ALL_DAYS) -> When:
    """A time of day."""
    return When(kind="at", at=at, days=days, timezone=zone)


def met_moments(term: When, start: datetime, end: datetime, steps: list[timedelta]) -> list[datetime]:
    """When a program that looks at its clock every now and then (`steps`, again and again) begins a pass."""
    now, met, begun, number = start, None, [], 0
    if term.kind != "every":
        met = start
    while now < end:
        at = due_at(term, met, now)
        if at is not None and at <= now:
            begun.append(now)
            met = now
        now += steps[number % len(steps)]
        number += 1
    return begun


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@pytest.mark.parametrize("at", ["00:00", "01:59", "02:00", "02:30", "02:59", "03:00", "03:30"])
def test_a_time_of_day_is_met_once_a_day_across_a_clock_change(change: datetime, at: str) -> None:
    begun = met_moments(daily(at), change - timedelta(hours=36), change + timedelta(hours=60), [timedelta(seconds=421)])
    days = Counter(moment.astimezone(ZoneInfo(BERLIN)).date() for moment in begun)
    assert set(days.values()) == {1}
    assert len(days) == 4


@pytest.mark.parametrize("minute", range(0, 180, 7))
def test_begun_at_any_minute_of_the_night_of_a_clock_change(minute: int) -> None:
    """A program that is started within the hour that comes twice meets 02:30 at most once more, and never in the past."""
    start = AUTUMN + timedelta(minutes=minute - 30)
    at = due_at(daily("02:30"), None, start)
    assert at is not None
    assert at > start
    assert next_after(daily("02:30"), at) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC) or at > AUTUMN + timedelta(hours=12)


def test_an_hourly_schedule_runs_every_hour_of_both_nights() -> None:
    term = When(kind="cron", cron="30 * * * *", timezone=BERLIN)
    for change in (SPRING, AUTUMN):
        begun = met_moments(term, change - timedelta(hours=3), change + timedelta(hours=6), [timedelta(seconds=30)])
        gaps = {later - earlier for earlier, later in pairwise(begun)}
        assert gaps == {timedelta(hours=1)}


def test_days_of_the_week() -> None:
    begun = met_moments(daily("07:00", "UTC", (0, 6)), SPRING, SPRING + timedelta(days=14), [timedelta(minutes=1)])
    assert [moment.weekday() for moment in begun] == [6, 0, 6, 0]


def test_missed_moments_are_caught_up_once() -> None:
    for term in (daily("02:30"), When(kind="every", every_s=600.0), When(kind="cron", cron="*/5 * * * *", timezone="UTC")):
        met = SPRING
        back = SPRING + timedelta(days=10, minutes=2)
        at = due_at(term, met, back)
        assert at is not None
        assert at <= back, name_of(term)
        following = due_at(term, back, back)
        assert following is not None
        assert following > back, name_of(term)


def test_a_clock_put_back_an_hour_repeats_nothing() -> None:
    met = datetime(2026, 6, 1, 0, 30, tzinfo=UTC)
    assert due_at(daily("02:30"), met, met - timedelta(hours=1)) == datetime(2026, 6, 2, 0, 30, tzinfo=UTC)


def test_a_clock_that_was_a_year_ahead_stops_nothing() -> None:
    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    assert due_at(daily("02:30"), now + timedelta(days=365), now) == datetime(2026, 6, 2, 0, 30, tzinfo=UTC)
    span = due_at(When(kind="every", every_s=60.0), now + timedelta(hours=3), now)
    assert span == now + timedelta(seconds=60)


def test_a_span_is_due_at_once_and_then_after_each_span() -> None:
    term = When(kind="every", every_s=60.0)
    assert due_at(term, None, SPRING) == SPRING
    assert due_at(term, SPRING, SPRING + timedelta(seconds=59)) == SPRING + timedelta(seconds=60)


def test_realtime_is_swept_as_well() -> None:
    plain = Entity(name="order", fields={}, mappings={}, when=(When(kind="realtime"),))
    assert terms_of(plain) == (SWEEP,)
    own = Entity(name="order", fields={}, mappings={}, when=(When(kind="realtime"), daily("02:00")))
    assert terms_of(own) == (daily("02:00"),)
    assert terms_of(Entity(name="order", fields={}, mappings={})) == ()


@given(
    start=st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 1, 1)),  # noqa: DTZ001  made aware below
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    steps=st.lists(st.integers(900, 7_000), min_size=1, max_size=5),
)
@settings(max_examples=settings().max_examples // 2)
def test_no_two_moments_of_one_day_and_none_before_its_time(start: datetime, minute: int, hour: int, zone: str, steps: list[int]) -> None:
    begin = start.replace(tzinfo=UTC)
    term = daily(f"{hour:02}:{minute:02}", zone)
    at = begin
    previous = None
    for _ in range(4):
        following = next_after(term, at)
        assert following is not None
        assert following > at
        if previous is not None:
            assert timedelta(hours=22) <= following - previous <= timedelta(hours=26)
        at = previous = following
    begun = met_moments(term, begin, begin + timedelta(days=3), [timedelta(seconds=step) for step in steps])
    days = Counter(moment.astimezone(ZoneInfo(zone)).date() for moment in begun)
    assert len(begun) in {2, 3}
    assert max(days.values()) <= 2  # two only where one was met after midnight


@pytest.mark.parametrize(
    ("terms", "hours"),
    [
        ([When(kind="every", every_s=900.0)], 0.25),
        ([daily("02:00", "UTC")], 24),
        ([daily("02:00", "UTC"), daily("14:00", "UTC")], 12),
        ([daily("02:00", "UTC", days=(0, 1, 2, 3, 4))], 72),
        ([daily("02:00", BERLIN)], 25),  # the night in which clocks are put back
        ([daily("02:00", "UTC"), When(kind="every", every_s=3600.0)], 1),
        ([When(kind="cron", cron="0 6 * * *")], 24),
    ],
)
def test_how_long_a_schedule_lets_wait(terms: list[When], hours: float) -> None:
    assert longest_wait_s(terms, AUTUMN - timedelta(days=7)) == hours * 3600


def test_a_schedule_that_names_no_moment_says_nothing() -> None:
    assert longest_wait_s([], AUTUMN) is None
    assert longest_wait_s([When(kind="cron", cron="0 0 1 1 *")], AUTUMN) is None
