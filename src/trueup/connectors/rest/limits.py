"""How often an application may be asked: one budget for everybody in this process who works with the same system.

A place in a window is free again so many seconds after its answer came, not after it was asked for: the application may count it at any
moment in between, and whoever keeps to that is never told to slow down.
"""

from __future__ import annotations

import fnmatch
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trueup.errors import SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trueup.connectors.rest.schema import LimitShape


class BudgetSpentError(SystemUnreachableError):
    """Nothing may be asked of the system for longer than anybody wants to wait."""


class _Window:
    """So many requests in any so many seconds."""

    def __init__(self, limit: LimitShape) -> None:
        self.match = limit.match
        self.most = limit.requests or 0
        self.per_s = limit.per_s
        self.cost = min(limit.cost, self.most)
        self.under_way = 0
        self.used: deque[tuple[float, int]] = deque()  # when each is free again, and how much it was
        self.spent = 0

    def free_at(self, now: float) -> float | None:
        """When there is room: now or earlier means at once; None: when one that is under way has ended."""
        while self.used and self.used[0][0] <= now:
            self.spent -= self.used.popleft()[1]
        room = self.most - self.spent - self.under_way - self.cost
        if room >= 0:
            return now
        for moment, cost in self.used:
            room += cost
            if room >= 0:
                return moment
        return None


class _Crowd:
    """So many at once."""

    def __init__(self, limit: LimitShape) -> None:
        self.match = limit.match
        self.most = limit.concurrency or 1
        self.under_way = 0


class Budget:
    """The limits of one system. `now` and `wait` are the time (tests put theirs in)."""

    def __init__(
        self,
        limits: Sequence[LimitShape],
        *,
        most_wait_s: float,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] | None = None,
    ) -> None:
        """Nothing is spent yet. A wait of more than `most_wait_s` is not waited for: it raises SystemUnreachableError."""
        self._now = now
        self._wait = wait or (lambda turn, seconds: turn.wait(seconds))
        self._most_wait_s = most_wait_s
        self._turn = threading.Condition()
        self._windows = [_Window(limit) for limit in limits if limit.requests is not None]
        self._crowds = [_Crowd(limit) for limit in limits if limit.concurrency is not None]
        self._rest_until = 0.0
        self._rest_why = ""

    @contextmanager
    def slot(self, path: str, system: str) -> Iterator[None]:
        """One request. Raises SystemUnreachableError where it would have to wait for too long."""
        windows = [window for window in self._windows if window.match is None or fnmatch.fnmatch(path, window.match)]
        crowds = [crowd for crowd in self._crowds if crowd.match is None or fnmatch.fnmatch(path, crowd.match)]
        with self._turn:
            self._enter(windows, crowds, system)
        try:
            yield
        finally:
            with self._turn:
                now = self._now()
                for window in windows:
                    window.under_way -= window.cost
                    window.used.append((now + window.per_s, window.cost))
                    window.spent += window.cost
                for crowd in crowds:
                    crowd.under_way -= 1
                self._turn.notify_all()

    def _enter(self, windows: list[_Window], crowds: list[_Crowd], system: str) -> None:
        while True:
            now = self._now()
            moments = [window.free_at(now) for window in windows]
            moments += [None for crowd in crowds if crowd.under_way >= crowd.most]
            moments.append(max(now, self._rest_until))
            latest = max(moment for moment in moments if moment is not None)
            if latest - now > self._most_wait_s:
                why = self._rest_why if self._rest_until >= latest else "its limit of requests is used up"
                raise BudgetSpentError(
                    why,
                    hint=f"what is left is done afterwards, in {_span(latest - now)}",
                    system=system,
                )
            if None not in moments and latest <= now:
                for window in windows:
                    window.under_way += window.cost
                for crowd in crowds:
                    crowd.under_way += 1
                return
            self._wait(self._turn, None if None in moments and latest <= now else latest - now)

    def rest(self, seconds: float, why: str) -> None:
        """Nobody asks for so many seconds; what is further away is kept."""
        with self._turn:
            until = self._now() + seconds
            if until > self._rest_until:
                self._rest_until, self._rest_why = until, why
            self._turn.notify_all()


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"


_shared: weakref.WeakValueDictionary[tuple[object, ...], Budget] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def shared_budget(place: tuple[object, ...], limits: Sequence[LimitShape], *, most_wait_s: float) -> Budget:
    """The budget of everybody in this process who names the same place."""
    with _sharing:
        found = _shared.get(place)
        if found is None:
            found = _shared[place] = Budget(limits, most_wait_s=most_wait_s)
        return found
