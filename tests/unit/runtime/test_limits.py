"""Limits: hours at which a system is left alone, so many rows a second, so many connections at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import polars as pl
import pytest

from trueup.connectors.base import WriteBatch
from trueup.connectors.memory import MemoryConnector, MemoryWorld
from trueup.errors import SystemUnreachableError
from trueup.model import ColumnInfo, ObjectInfo, ObjectSpec, System
from trueup.runtime.limits import Limits, longest_rest_s, resting_until

PEOPLE = ObjectSpec(name="people", key=("id",))
PATIENCE_S = 30.0
WORKDAYS = (0, 1, 2, 3, 4)


def system(zone: str | None = None, **limits: object) -> System:
    """A system with limits."""
    return System(name="crm", connector="memory", timezone=zone, limits=limits)


def at(text: str) -> datetime:
    """A moment in UTC; the 2nd of March 2026 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFICE = system(not_between=(("09:00", "17:00"),))
NIGHT = system(not_between=(("22:00", "06:00"),), days=WORKDAYS)
BERLIN = system("Europe/Berlin", not_between=(("02:00", "03:30"),))
WEEKEND = system(days=(5, 6))


@pytest.mark.parametrize(
    ("what", "now", "until"),
    [
        (OFFICE, "2026-03-02 08:59:59", None),
        (OFFICE, "2026-03-02 09:00", "2026-03-02 17:00"),
        (OFFICE, "2026-03-02 17:00", None),
        (NIGHT, "2026-03-02 05:00", None),  # that night began on a Sunday
        (NIGHT, "2026-03-07 05:00", "2026-03-07 06:00"),  # and this one on a Friday
        (NIGHT, "2026-03-07 22:30", None),
        (WEEKEND, "2026-03-06 23:59", None),
        (WEEKEND, "2026-03-07 00:00", "2026-03-09 00:00"),
        (system("Europe/Berlin", not_between=(("09:00", "10:00"),)), "2026-07-01 07:30", "2026-07-01 08:00"),
        (system("Europe/Berlin", not_between=(("09:00", "10:00"),), timezone="UTC"), "2026-07-01 09:30", "2026-07-01 10:00"),
        (BERLIN, "2026-03-29 01:15", "2026-03-29 01:30"),  # from 02:00, which there is not on this day, to 03:30
        (BERLIN, "2026-10-25 00:30", "2026-10-25 02:30"),  # 02:30 comes twice, and both are within
        (BERLIN, "2026-10-25 01:30", "2026-10-25 02:30"),
        (system(rows_per_s=5), "2026-03-02 12:00", None),
        (system(not_between=(("08:00", "12:00"), ("12:00", "16:00"))), "2026-03-02 09:00", "2026-03-02 16:00"),
    ],
)
def test_hours_and_days_to_leave_alone(what: System, now: str, until: str | None) -> None:
    assert resting_until(what, at(now)) == (at(until) if until else None)


def test_a_system_that_is_always_left_alone_has_an_answer() -> None:
    until = resting_until(system(days=tuple(range(7))), at("2026-03-02 12:00"))
    assert until is not None
    assert until > at("2026-03-08 00:00")


def test_the_longest_rest() -> None:
    assert longest_rest_s(WEEKEND, at("2026-03-02 12:00")) == timedelta(days=2).total_seconds()
    assert longest_rest_s(OFFICE, at("2026-03-02 12:00")) == timedelta(hours=8).total_seconds()
    assert longest_rest_s(system(), at("2026-03-02 12:00")) == 0


class Watched(MemoryConnector):
    """A connector that notes what is asked of it."""

    closed = 0
    written: list[int]
    within: Event | None = None
    go: Event | None = None

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Note how much is written."""
        self.written = [*getattr(self, "written", []), batch.rows.height]
        return super().write(obj, batch)

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """Wait until the test lets it through."""
        if self.within is not None and self.go is not None:
            self.within.set()
            assert self.go.wait(PATIENCE_S)
        return super().describe(obj)

    def close(self) -> None:
        """Note it."""
        self.closed += 1


@pytest.fixture
def world() -> MemoryWorld:
    world = MemoryWorld()
    table = world.add_table("people", [ColumnInfo(name="id", type="text"), ColumnInfo(name="name", type="text")], ["id"])
    for number in range(25):
        table.insert({"id": f"{number}", "name": "x"})
    return world


class Time:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now(self) -> float:
        """The moment."""
        return self.now_s

    def wait(self, seconds: float) -> None:
        """It passes."""
        self.now_s += seconds


def test_no_more_rows_a_second_than_allowed(world: MemoryWorld) -> None:
    time = Time()
    limits = Limits({"crm": system(rows_per_s=10.0)}, now=time.now, wait=time.wait)
    inner = Watched("crm", world)
    connector, other = limits.around("crm", inner), limits.around("crm", MemoryConnector("crm", world))
    pages = list(connector.read(PEOPLE, ["name"]))
    assert max(page.rows.height for page in pages) <= 10
    assert sum(page.rows.height for page in pages) == 25
    assert time.now_s <= 102.5  # the last rows are paid for by whoever comes next
    creates = pl.DataFrame({"__op": range(20), "__key": [f"new {number}" for number in range(20)], "name": "y"})
    outcomes = other.write(PEOPLE, WriteBatch(kind="create", rows=creates))
    assert outcomes["__status"].to_list() == ["done"] * 20
    assert sorted(outcomes["__op"].to_list()) == list(range(20))
    connector.read(PEOPLE, ["name"], keys=["1"]).__next__()
    assert time.now_s == pytest.approx(100.0 + (25 + 20) / 10.0)
    assert not connector.caps.atomic


def test_writes_go_in_parts_with_their_preconditions(world: MemoryWorld) -> None:
    limits, inner = Limits({"crm": system(rows_per_s=4.0)}, wait=lambda _s: None), Watched("crm", world)
    rows = pl.DataFrame({"__op": range(10), "__key": [f"{number}" for number in range(10)], "name": "new", "__write": [["name"]] * 10})
    expected = pl.DataFrame(
        {"__op": range(10), "__version": [None] * 10, "name": ["x"] * 9 + ["other"]}, schema_overrides={"__version": pl.String}
    )
    outcomes = limits.around("crm", inner).write(PEOPLE, WriteBatch(kind="update", rows=rows, expected=expected))
    assert inner.written == [4, 4, 2]
    assert dict(outcomes.select("__op", "__status").rows()) == dict.fromkeys(range(9), "done") | {9: "stale"}


def test_who_waits_is_broken_off_at_the_end(world: MemoryWorld) -> None:
    limits = Limits({"crm": system(rows_per_s=0.001)})
    connector = limits.around("crm", MemoryConnector("crm", world))
    list(connector.read(PEOPLE, ["name"], keys=["1"]))
    limits.stop()
    with pytest.raises(SystemUnreachableError, match="stopped"):
        list(connector.read(PEOPLE, ["name"], keys=["2"]))


def test_no_more_connections_than_allowed(world: MemoryWorld) -> None:
    limits = Limits({"crm": system(connections=1)})
    first, second = Watched("crm", world), Watched("crm", world)
    one, other = limits.around("crm", first), limits.around("crm", second)
    one.describe(PEOPLE)
    one.describe(PEOPLE)
    assert first.closed == 0
    first.within, first.go = Event(), Event()
    busy = Thread(target=lambda: one.describe(PEOPLE))
    busy.start()
    assert first.within.wait(PATIENCE_S)
    waiting = Thread(target=lambda: other.describe(PEOPLE))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    assert first.closed == 0
    first.go.set()
    waiting.join(PATIENCE_S)
    busy.join(PATIENCE_S)
    assert (waiting.is_alive(), first.closed, second.closed) == (False, 1, 0)
    other.close()
    one.describe(PEOPLE)


def test_without_limits_a_connector_is_itself(world: MemoryWorld) -> None:
    connector = MemoryConnector("crm", world)
    assert Limits({"crm": system(not_between=(("09:00", "17:00"),))}).around("crm", connector) is connector
