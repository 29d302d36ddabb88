"""How hard systems may be worked: rows a second, connections at once, and the hours at which they are left alone (`limits`)."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from threading import Condition, Event, Lock
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import polars as pl

from trueup.connectors.base import PAGE_ROWS
from trueup.errors import SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trueup.connectors.base import Browsing, Connector, Fenced, Marking, Page, Timed, WriteBatch
    from trueup.model import Caps, ObjectInfo, ObjectSpec, System

WHOLE_DAY = (("00:00", "00:00"),)
LONGEST_REST = timedelta(days=8)


def resting_until(system: System, now: datetime) -> datetime | None:
    """Until when a system is left alone, in UTC; None where it may be worked now. Hours over midnight belong to the day they begin."""
    until = _rest_at(system, now)
    if until is None:
        return None
    while until - now < LONGEST_REST and (more := _rest_at(system, until)) is not None:
        until = more
    return until


def _rest_at(system: System, now: datetime) -> datetime | None:
    limits = system.limits
    days = limits.get("days")
    ranges = limits.get("not_between") or (WHOLE_DAY if days else ())
    if not ranges:
        return None
    zone = ZoneInfo(limits.get("timezone") or system.timezone or "UTC")
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        if days and day.weekday() not in days:
            continue
        for start, end in ranges:
            begin = datetime.combine(day, clock_time.fromisoformat(start), zone).astimezone(UTC)
            last = day if end > start else day + timedelta(days=1)
            finish = datetime.combine(last, clock_time.fromisoformat(end), zone).astimezone(UTC)
            if begin <= now < finish:
                return finish
    return None


def longest_rest_s(system: System, now: datetime) -> float:
    """For how long a system is left alone at most in the week after `now`, to the quarter of an hour."""
    longest = timedelta()
    for number in range(7 * 96):
        moment = now + number * timedelta(minutes=15)
        until = resting_until(system, moment)
        longest = max(longest, until - moment if until is not None else longest)
    return longest.total_seconds()


class Pace:
    """So many rows a second at most, over all who ask: whoever has read or written some waits, the next time, until these are paid for."""

    def __init__(self, rows_per_s: float, *, now: Callable[[], float], wait: Callable[[float], None]) -> None:
        """`wait(seconds)` lets time pass."""
        self.rows_per_s = rows_per_s
        self._now = now
        self._wait = wait
        self._free_at = now()
        self._turn = Lock()

    @property
    def portion(self) -> int:
        """How many rows make about a second's work: no more are asked for, or written, at once."""
        return max(1, int(self.rows_per_s))

    def take(self, rows: int) -> None:
        """Wait for one's turn to work so many rows."""
        with self._turn:
            now = self._now()
            wait_s = self._free_at - now
            self._free_at = max(self._free_at, now) + rows / self.rows_per_s
        if wait_s > 0:
            self._wait(wait_s)


class Doors:
    """So many connectors of a system at most have connections open at once: one that is not in use gives its own back to another."""

    def __init__(self, count: int) -> None:
        """Nobody is in."""
        self._count = count
        self._changed = Condition()
        self._inside: dict[Connector, int] = {}  # how many calls of it are under way

    @contextmanager
    def inside(self, connector: Connector) -> Iterator[None]:
        """One call of a connector."""
        with self._changed:
            while connector not in self._inside:
                idle = next((other for other, calls in self._inside.items() if not calls), None)
                if len(self._inside) < self._count:
                    self._inside[connector] = 0
                elif idle is not None:
                    del self._inside[idle]
                    idle.close()
                else:
                    self._changed.wait()
            self._inside[connector] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[connector] -= 1
                self._changed.notify_all()

    def left(self, connector: Connector) -> None:
        """A connector was closed."""
        with self._changed:
            if not self._inside.get(connector, 1):
                del self._inside[connector]
            self._changed.notify_all()


class Limits:
    """What the `limits` of all systems ask for: one for everybody who works on a configuration in this process."""

    def __init__(
        self,
        systems: Mapping[str, System],
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        """`now` and `wait(seconds)` are the time of the paces (tests put theirs in)."""
        self._systems = systems
        self._stopped = Event()
        self._paces: dict[str, Pace] = {}
        self._doors: dict[str, Doors] = {}
        for name, system in systems.items():
            if (rows_per_s := system.limits.get("rows_per_s")) is not None:
                self._paces[name] = Pace(rows_per_s, now=now, wait=wait or self._wait)
            if (count := system.limits.get("connections")) is not None:
                self._doors[name] = Doors(count)

    def around(self, name: str, connector: Connector) -> Connector:
        """A connector that keeps to the limits of its system."""
        pace, doors = self._paces.get(name), self._doors.get(name)
        return connector if pace is None and doors is None else cast("Connector", LimitedConnector(connector, pace, doors))

    def resting(self, names: Iterable[str], now: datetime) -> dict[str, datetime]:
        """Which of these systems are left alone now, and until when."""
        found = {name: resting_until(self._systems[name], now) for name in names if name in self._systems}
        return {name: until for name, until in found.items() if until is not None}

    def stop(self) -> None:
        """Nobody waits any more: what waits for its turn is broken off, as if its system did not answer."""
        self._stopped.set()

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise SystemUnreachableError("trueup is being stopped", hint="what is left is done after the next start")


class LimitedConnector:
    """A connector behind its system's pace and doors; everything else is the connector's own."""

    def __init__(self, inner: Connector, pace: Pace | None, doors: Doors | None) -> None:
        """Either may be None."""
        self._inner = inner
        self._pace = pace
        self._doors = doors

    @property
    def caps(self) -> Caps:
        """See base.Connector. What is written in parts is not there whole or not at all; only one process can keep count."""
        caps = replace(self._inner.caps, parts=False)
        return caps if self._writes_whole else replace(caps, atomic=False)

    @property
    def _writes_whole(self) -> bool:
        return self._pace is None or self._inner.caps.kind == "file"

    def __getattr__(self, name: str) -> Any:
        """What is not limited."""
        return getattr(self._inner, name)

    @contextmanager
    def _call(self) -> Iterator[Connector]:
        if self._doors is None:
            yield self._inner
            return
        with self._doors.inside(self._inner):
            yield self._inner

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        with self._call() as inner:
            return inner.discover()

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        with self._call() as inner:
            return inner.describe(obj)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector."""
        with self._call() as inner:
            inner.prepare(obj, columns)

    def end_writes(self, lane: str) -> None:
        """See base.Fenced. It takes no part in the limits: what it ends may be what fills them."""
        cast("Fenced", self._inner).end_writes(lane)

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking."""
        with self._call() as inner:
            return cast("Marking", inner).mark(obj)

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking."""
        with self._call() as inner:
            return cast("Marking", inner).own(obj, mark)

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking. Keys alone are not counted as rows."""
        with ExitStack() as call:
            pages = cast("Marking", call.enter_context(self._call())).moved(obj, columns, mark)
            return None if pages is None else self._paced(pages, call.pop_all())

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        rows = page_rows if self._pace is None else min(page_rows, self._pace.portion)
        with self._call() as inner:
            yield from self._paced(inner.read(obj, columns, since=since, keys=keys, page_rows=rows), ExitStack())

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        rows = page_rows if self._pace is None else min(page_rows, self._pace.portion)
        with self._call() as inner:
            yield from self._paced(cast("Browsing", inner).browse(obj, columns, page_rows=rows), ExitStack())

    def clock(self) -> datetime:
        """See base.Timed."""
        with self._call() as inner:
            return cast("Timed", inner).clock()

    def _paced(self, pages: Iterator[Page], call: ExitStack) -> Iterator[Page]:
        with call:
            for page in pages:
                if self._pace is not None:
                    self._pace.take(page.rows.height + len(page.rejected))
                yield page

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        with self._call() as inner:
            found = inner.find(obj, columns, values)
        if self._pace is not None:
            self._pace.take(found.height)
        return found

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector. A file is written whole, and a database about a second's work at once."""
        with self._call() as inner:
            if self._pace is None:
                return inner.write(obj, batch)
            outcomes = []
            for part in _parts(batch, batch.rows.height if self._writes_whole else self._pace.portion):
                self._pace.take(part.rows.height)
                outcomes.append(inner.write(obj, part))
            return outcomes[0] if len(outcomes) == 1 else pl.concat(outcomes, how="diagonal_relaxed")

    def close(self) -> None:
        """See base.Connector."""
        self._inner.close()
        if self._doors is not None:
            self._doors.left(self._inner)


def _parts(batch: WriteBatch, rows: int) -> Iterator[WriteBatch]:
    """A batch in parts of so many operations."""
    if batch.rows.height <= rows:
        yield batch
        return
    for some in batch.rows.iter_slices(rows):
        expected = None if batch.expected is None else batch.expected.filter(pl.col("__op").is_in(some["__op"].implode()))
        yield replace(batch, rows=some, expected=expected)
