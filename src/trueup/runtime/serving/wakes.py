"""What woke one entity and was not looked at yet: rows by key, systems as a whole, records, sweeps; all of it coalesced into batches."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

KEYS_PER_BATCH = 20_000
KEYS_REMEMBERED = 200_000
"""Of a system of which more keys wait, everything is looked at: that costs less, and the memory stays bounded."""


@dataclass
class _Told:
    """Hints of one watch: their position (None: nothing to confirm), and how many looks at them are not over."""

    position: str | None
    looks: int


class Confirmations:
    """Positions of one watch, in the order told: one is confirmed when it and all before it were looked at."""

    def __init__(self, confirm: Callable[[str], None]) -> None:
        """`confirm(position)` is called in the thread that looked last; never for an older position than before."""
        self._confirm = confirm
        self._open: deque[_Told] = deque()
        self._turn = Lock()

    def told(self, position: str | None, looks: int) -> Callable[[], None]:
        """Hints were told that make so many looks; call what this returns once for each that is over. Without any, it is over at once."""
        entry = _Told(position, looks)
        with self._turn:
            self._open.append(entry)
        if looks == 0:
            self._advance()

        def over() -> None:
            with self._turn:
                entry.looks -= 1
            self._advance()

        return over

    @property
    def waiting(self) -> int:
        """How many positions are told and not confirmed."""
        with self._turn:
            return len(self._open)

    def _advance(self) -> None:
        with self._turn:
            newest = None
            while self._open and self._open[0].looks == 0:
                newest = self._open.popleft().position or newest
            if newest is not None:
                self._confirm(newest)


@dataclass
class Look:
    """Rows of a system to be looked at: their keys, or None for whatever moved there.

    `over` are called when they were looked at; `at` is when the oldest of these changes was made, None where nobody said.
    """

    system: str
    keys: dict[str, None] | None
    over: list[Callable[[], None]] = field(default_factory=list)
    at: datetime | None = None
    not_before: float = 0.0  # time.monotonic
    put_off: bool = False  # it has been waiting on purpose


@dataclass
class Batch:
    """What one pass is to look at. A sweep stands alone."""

    looks: dict[str, Look] = field(default_factory=dict)
    catch_up: bool = False  # nothing is read; what waits to be delivered is considered
    sweep: tuple[str, ...] = ()  # why
    conclude: bool = False  # a sweep that has read everything is to be concluded

    @property
    def whole(self) -> frozenset[str]:
        """Systems of which everything that moved is to be read."""
        return frozenset(name for name, look in self.looks.items() if look.keys is None)

    def over(self, but: Iterable[str] = ()) -> None:
        """Everything was looked at, but for these systems."""
        for name, look in self.looks.items():
            if name not in but:
                for call in look.over:
                    call()


class Wakes:
    """The waiting room of one entity. Any thread puts something in; one takes it out."""

    def __init__(self) -> None:
        """Nothing waits."""
        self.heard: Callable[[str, Iterable[str] | None], None] | None = None  # hears of every look as it is asked for
        self._changed = Condition()
        self._looks: dict[str, Look] = {}
        self._later: list[Look] = []
        self._catch_up = False
        self._turn = 0  # the kind whose turn it is
        self._sweeps: dict[str, None] = {}
        self._concluding = False
        self._stopped = False
        self._since: float | None = None
        self.called: Callable[[], None] = lambda: None  # hears that there may be something to do now

    def look(
        self,
        system: str,
        keys: Iterable[str] | None,
        *,
        over: Callable[[], None] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Rows of a system (None: whatever moved there) are to be looked at; `over` is called when they were."""
        wanted = None if keys is None else dict.fromkeys(keys)
        if self.heard is not None:
            self.heard(system, wanted)
        self.put_back([Look(system, wanted, [] if over is None else [over], at)])

    def later(self, look: Look, wait_s: float) -> None:
        """The same, but so many seconds from now."""
        look.put_off, look.not_before = True, time.monotonic() + wait_s
        with self._changed:
            self._later.append(look)
            self._changed.notify_all()

    def put_back(self, looks: Iterable[Look]) -> None:
        """What could not be looked at now."""
        with self._changed:
            for entry in looks:
                self._add(entry)
            self._changed.notify_all()
        self.called()

    def catch_up(self) -> None:
        """Deliveries that wait are to be considered, although nothing moved."""
        with self._changed:
            self._catch_up = True
            self._begin_waiting()
            self._changed.notify_all()
        self.called()

    def sweep(self, why: str) -> None:
        """Every system is to be read. Asked for twice before it is begun, it is made once."""
        with self._changed:
            self._sweeps[why] = None
            self._begin_waiting()
            self._changed.notify_all()
        self.called()

    def conclude(self) -> None:
        """A sweep has read everything."""
        with self._changed:
            self._concluding = True
            self._changed.notify_all()
        self.called()

    def nudge(self) -> None:
        """Something else changed: whoever waits looks around."""
        with self._changed:
            self._changed.notify_all()
        self.called()

    def stop(self) -> None:
        """Nothing is taken out any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def waiting(self) -> list[tuple[str, list[str] | None]]:
        """The rows that wait, by system; None: whatever moved there."""
        with self._changed:
            return [(look.system, None if look.keys is None else list(look.keys)) for look in (*self._looks.values(), *self._later)]

    @property
    def any(self) -> bool:
        """Whether something waits that need not wait any longer."""
        with self._changed:
            now = time.monotonic()
            ripe = any(entry.not_before <= now for entry in self._later)
            return bool(self._looks or self._catch_up or self._sweeps or self._concluding or ripe)

    @property
    def length(self) -> int:
        """How many rows, systems and sweeps wait."""
        with self._changed:
            rows = sum(1 if look.keys is None else len(look.keys) for look in (*self._looks.values(), *self._later))
            return rows + len(self._sweeps)

    @property
    def age_s(self) -> float:
        """How long the oldest of it has been waiting."""
        with self._changed:
            return 0.0 if self._since is None else time.monotonic() - self._since

    def take(
        self,
        timeout_s: float,
        ready: Callable[[], bool],
        away: Callable[[], frozenset[str]],
        whole: Callable[[], bool] = lambda: True,
        sweeping: Callable[[], bool] = lambda: False,
    ) -> Batch | None:
        """What is to be done next: rows, systems that told nothing more, what waits to be delivered, a sweep: in turns.

        None where there is nothing within that time, or at the end. Nothing is taken while not `ready()`; looks at systems that are
        `away()` stay, and sweeps while not `whole()`. While one is `sweeping()`, no other one begins.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            while not self._stopped:
                wait_s = self._ripen(until)
                if ready():
                    batch = self._next(away(), may_sweep=whole(), sweeping=sweeping())
                    if batch is not None:
                        self._since = self._since if self._looks or self._catch_up or self._sweeps else None
                        return batch
                if wait_s <= 0:
                    return None
                self._changed.wait(wait_s)
        return None

    def _ripen(self, until: float) -> float:
        """Take in what was to wait and has; gives how long to wait at most."""
        now = time.monotonic()
        for entry in [entry for entry in self._later if entry.not_before <= now]:
            self._later.remove(entry)
            self._add(entry)
        return min([until, *(entry.not_before for entry in self._later)]) - now if until > now else 0.0

    def _next(self, away: frozenset[str], *, may_sweep: bool, sweeping: bool) -> Batch | None:
        """The next batch: each kind in its turn, so that none waits for ever while another one never ends."""
        kinds = (self._rows, self._systems, self._deliveries, self._end_of_sweep, self._whole_sweep)
        put_off = [
            *([self._whole_sweep] if sweeping else []),
            *([self._whole_sweep, self._end_of_sweep] if not may_sweep else []),
        ]
        for number in range(self._turn, self._turn + len(kinds)):
            if kinds[number % len(kinds)] in put_off:
                continue
            batch = kinds[number % len(kinds)](away)
            if batch is not None:
                self._turn = (number + 1) % len(kinds)
                return batch
        return None

    def _rows(self, away: frozenset[str]) -> Batch | None:
        names = [name for name, look in self._looks.items() if look.keys is not None and name not in away]
        return Batch({name: self._part(name) for name in names}) if names else None

    def _systems(self, away: frozenset[str]) -> Batch | None:
        names = [name for name, look in self._looks.items() if look.keys is None and name not in away]
        return Batch({name: self._looks.pop(name) for name in names}) if names else None

    def _deliveries(self, _away: frozenset[str]) -> Batch | None:
        wanted, self._catch_up = self._catch_up, False
        return Batch(catch_up=True) if wanted else None

    def _end_of_sweep(self, _away: frozenset[str]) -> Batch | None:
        wanted, self._concluding = self._concluding, False
        return Batch(conclude=True) if wanted else None

    def _whole_sweep(self, _away: frozenset[str]) -> Batch | None:
        why = tuple(self._sweeps)
        self._sweeps.clear()
        return Batch(sweep=why) if why else None

    def _part(self, name: str) -> Look:
        """As many keys of a system as one pass takes; what is left is over only when all of it is."""
        entry = self._looks[name]
        keys = list(entry.keys or ())
        if len(keys) <= KEYS_PER_BATCH:
            del self._looks[name]
            return entry
        entry.keys = dict.fromkeys(keys[KEYS_PER_BATCH:])
        return Look(name, dict.fromkeys(keys[:KEYS_PER_BATCH]), [], entry.at)

    def _add(self, entry: Look) -> None:
        self._begin_waiting()
        known = self._looks.get(entry.system)
        if known is None:
            self._looks[entry.system] = entry
            return
        known.over += entry.over
        known.put_off = known.put_off and entry.put_off
        known.at = min((at for at in (known.at, entry.at) if at is not None), default=None)
        if known.keys is None or entry.keys is None:
            known.keys = None
            return
        known.keys.update(entry.keys)
        if len(known.keys) > KEYS_REMEMBERED:
            known.keys = None

    def _begin_waiting(self) -> None:
        if self._since is None:
            self._since = time.monotonic()
