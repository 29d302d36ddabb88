"""How often an application may be asked: one budget for everybody who works with the same system, in whatever process.

A place in a window is free again so many seconds after its answer came, not after it was asked for: the application may count it at any
moment in between, and whoever keeps to that is never told to slow down. What is spent stands in a book, which everybody has in turns: in
memory, or where somebody hands in a `Ledger`, in a place that other processes share. Whoever died with a request under way gives its place
back when that request would have ended at the latest.
"""

from __future__ import annotations

import fnmatch
import math
import secrets
import threading
import time
import weakref
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trueup.errors import SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trueup.connectors.rest.schema_http import LimitShape

STEPS = 100
"""What is spent in a window is kept in so many steps: a place may be taken for spent for a hundredth of the window too long."""
LOOK_S = 1.0
"""Without limits of its own, a system is asked so often at most whether it is to be left alone."""
CROWD_S = 0.05
"""While others have all places that there are at once, they are looked at again after so long."""


class BudgetSpentError(SystemUnreachableError):
    """Nothing may be asked of the system for longer than anybody wants to wait."""


class Turn(Protocol):
    """The book while somebody has it. `now` is the moment by the clock of whoever keeps it; what is put into `book` is kept."""

    now: float
    book: dict[str, Any]


class Ledger(Protocol):
    """Keeps the book of one system. A book holds texts, numbers, lists and objects; the first one is empty."""

    def turn(self) -> AbstractContextManager[Turn]:
        """Have the book alone for a moment."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A connector whose budget can be shared with other processes."""

    def share_limits(self, ledger: Ledger) -> None:
        """Keep what is spent there from now on."""
        ...


@dataclass(slots=True)
class _Turn:
    now: float
    book: dict[str, Any]


@dataclass(slots=True)
class Memory:
    """A book that nobody else sees. `clock` is the time (tests put theirs in)."""

    clock: Callable[[], float] = time.monotonic
    _book: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """See Ledger."""
        with self._lock:
            yield _Turn(self.clock(), self._book)


class Budget:
    """The limits of one system. `wait` lets time pass (tests put theirs in)."""

    def __init__(
        self,
        limits: Sequence[LimitShape],
        *,
        most_wait_s: float,
        longest_s: float = 120.0,
        ledger: Ledger | None = None,
        wait: Callable[[threading.Condition, float | None], object] | None = None,
    ) -> None:
        """A wait of more than `most_wait_s` is not waited for: it raises BudgetSpentError. No request takes more than `longest_s`.

        `ledger` None: the book is kept in memory.
        """
        self._limits = tuple(limits)
        self._shared = ledger is not None
        self._ledger: Ledger = ledger or Memory()
        self._wait = wait or (lambda turn, seconds: turn.wait(seconds))
        self._most_wait_s = most_wait_s
        self._longest_s = longest_s
        self._of = "; ".join(f"{one.requests} {one.per_s:g} {one.concurrency} {one.match}" for one in limits)
        self._changed = threading.Condition()
        self._looked_at = -math.inf
        self._resting = False

    @contextmanager
    def slot(self, path: str, system: str) -> Iterator[None]:
        """One request. Raises BudgetSpentError where it would have to wait for too long."""
        mine = [number for number, limit in enumerate(self._limits) if limit.match is None or fnmatch.fnmatch(path, limit.match)]
        if not mine:
            self._enter_unlimited(system)
            yield
            return
        name = secrets.token_hex(6)
        self._enter(name, mine, system)
        try:
            yield
        finally:
            self._leave(name, mine)

    # ---------------------------------------------------------------- in and out

    def _enter_unlimited(self, system: str) -> None:
        now = time.monotonic()
        if self._resting or now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._enter(None, [], system)

    def _enter(self, name: str | None, mine: list[int], system: str) -> None:
        while True:
            with self._ledger.turn() as turn:
                book = self._book(turn)
                until, why = book["rest"] or (0.0, "")
                self._resting = until > turn.now
                moments = [self._free_at(book, number, turn.now) for number in mine]
                latest = max((moment for moment in moments if moment is not None), default=turn.now)
                if until >= latest:
                    latest = until
                elif latest - turn.now > self._most_wait_s:
                    why = "its limit of requests is used up"
                    book["rest"] = [latest, why]
                left_s = latest - turn.now
                if left_s <= 0 and None not in moments:
                    if name is not None:
                        book["under_way"][name] = [mine, turn.now + self._longest_s]
                    return
            if left_s > self._most_wait_s:
                raise BudgetSpentError(why, hint=f"what is left is done afterwards, in {_span(left_s)}", system=system)
            with self._changed:
                waits_for_others = left_s <= 0
                self._wait(self._changed, CROWD_S if waits_for_others else left_s)

    def _leave(self, name: str, mine: list[int]) -> None:
        with self._ledger.turn() as turn:
            book = self._book(turn)
            if book["under_way"].pop(name, None) is not None:
                self._spend(book, mine, turn.now)
        with self._changed:
            self._changed.notify_all()

    def _book(self, turn: Turn) -> dict[str, Any]:
        """The book in order: what is free again and who is gone is out of it; limits that are others by now begin anew."""
        book = turn.book
        if book.get("of") != self._of:
            book.update({"of": self._of, "rest": book.get("rest"), "used": {}, "under_way": {}})
        if book["rest"] is not None and book["rest"][0] <= turn.now:
            book["rest"] = None
        for name, (numbers, ends_at) in list(book["under_way"].items()):
            if ends_at <= turn.now:
                del book["under_way"][name]
                self._spend(book, numbers, ends_at)
        for number, used in book["used"].items():
            per_s = self._limits[int(number)].per_s
            # A clock that was set back must not make a window longer than it is.
            book["used"][number] = [one for one in used if turn.now < one[0] <= turn.now + per_s * (1 + 2 / STEPS) + self._longest_s]
        return book

    def _spend(self, book: dict[str, Any], numbers: list[int], at: float) -> None:
        for number in numbers:
            limit = self._limits[number]
            if limit.requests is None:
                continue
            step = limit.per_s / STEPS
            until = math.ceil((at + limit.per_s) / step) * step
            used = book["used"].setdefault(str(number), [])
            if used and used[-1][0] == until:
                used[-1][1] += self._cost(number)
            else:
                used.append([until, self._cost(number)])
                used.sort()

    def _cost(self, number: int) -> int:
        limit = self._limits[number]
        return min(limit.cost, limit.requests or 0)

    def _free_at(self, book: dict[str, Any], number: int, now: float) -> float | None:
        """When there is room: now or earlier means at once; None: when a request that is under way has ended."""
        limit = self._limits[number]
        under_way = sum(number in numbers for numbers, _ends_at in book["under_way"].values())
        if limit.requests is None:
            return now if under_way < (limit.concurrency or 1) else None
        cost = self._cost(number)
        used = book["used"].get(str(number), [])
        room = limit.requests - sum(spent for _until, spent in used) - under_way * cost - cost
        if room >= 0:
            return now
        for until, spent in used:
            room += spent
            if room >= 0:
                return float(until)
        return None

    def rest(self, seconds: float, why: str) -> None:
        """Nobody asks for so many seconds; what is further away is kept."""
        with self._ledger.turn() as turn:
            book = self._book(turn)
            until = turn.now + seconds
            if book["rest"] is None or until > book["rest"][0]:
                book["rest"] = [until, why]
            self._resting = True
        with self._changed:
            self._changed.notify_all()


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"


_shared: weakref.WeakValueDictionary[tuple[object, ...], Budget] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def shared_budget(
    place: tuple[object, ...], limits: Sequence[LimitShape], *, most_wait_s: float, longest_s: float, ledger: Ledger | None = None
) -> Budget:
    """The budget of everybody in this process who names the same place and keeps the same ledger."""
    with _sharing:
        found = _shared.get((*place, id(ledger)))
        if found is None:
            found = _shared[*place, id(ledger)] = Budget(limits, most_wait_s=most_wait_s, longest_s=longest_s, ledger=ledger)
        return found
