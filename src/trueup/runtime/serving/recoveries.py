"""What only a sweep found: changes in systems that tell of changes, of which nothing was told.

A change that is made while a sweep reads, or a moment before, is found by the sweep and told as well, a little later. So what a sweep found
is compared with what was waiting when it began, and with what was told until a while after its end; the rest was recovered. Our own writes
are no changes, for the pass knows them. A system counts only if it told without a break since the sweep before this one; one that is asked
again and again tells nothing, and is never counted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from trueup.core.cells import GID, KEY, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trueup.core.facts import Decision

GRACE_S = 60.0
"""So long a system may take to tell: a sender of webhooks first has to send them."""
MOST = 100_000
"""More rows than that are not compared one by one: then nothing is said of that system."""
KINDS = frozenset({"edit", "lost", "overruled", "candidate"})


@dataclass
class _Sweep:
    """What one sweep found, and what was told around it, by system; None: everything, or too much to say."""

    telling: frozenset[str]
    found: dict[str, set[str] | None] = field(default_factory=dict)
    told: dict[str, set[str] | None] = field(default_factory=dict)
    over_at: float | None = None


class Recoveries:
    """One entity's. `told` and `found` may be called by any thread."""

    def __init__(
        self, telling: Callable[[], frozenset[str]], recovered: Callable[[dict[str, int]], None], *, grace_s: float = GRACE_S
    ) -> None:
        """`telling()`: the systems that tell of changes and have done so without a break for a while; `recovered` hears what was."""
        self._telling = telling
        self._recovered = recovered
        self._grace_s = grace_s
        self._sweeps: list[_Sweep] = []
        self._turn = Lock()

    def begin(self, waiting: Iterable[tuple[str, Iterable[str] | None]]) -> None:
        """A sweep begins; these rows wait to be looked at (None: anything in that system)."""
        sweep = _Sweep(self._telling())
        for system, keys in waiting:
            _add(sweep.told, system, keys)
        with self._turn:
            self._sweeps.append(sweep)

    def told(self, system: str, keys: Iterable[str] | None) -> None:
        """A system tells of rows (None: of anything)."""
        if not self._sweeps:
            return
        with self._turn:
            for sweep in self._sweeps:
                _add(sweep.told, system, keys)

    def decided(self, decision: Decision) -> None:
        """The sweep in work has decided about some records."""
        with self._turn:
            sweep = self._sweeps[-1] if self._sweeps and self._sweeps[-1].over_at is None else None
        if sweep is None or not sweep.telling:
            return
        lines = decision.history
        moved = {
            (gid, system) for gid, system, kind in lines.select(GID, SYSTEM, "kind").rows() if kind in KINDS and system in sweep.telling
        }
        born = set(decision.born.to_list())
        if not (moved or born or decision.removed.height):
            return
        rows = [(gid, system, key) for gid, system, key in decision.after.select("gid", "system", "key").rows() if system in sweep.telling]
        keys: dict[str, list[str]] = {}
        for gid, system, key in rows:
            if gid in born or (gid, system) in moved:
                keys.setdefault(system, []).append(key)
        for system, key in decision.removed.select(SYSTEM, KEY).rows():
            if system in sweep.telling:
                keys.setdefault(system, []).append(key)
        with self._turn:
            for system, mine in keys.items():
                _add(sweep.found, system, mine)

    def over(self, *, done: bool) -> None:
        """The sweep is over; not `done`: it was broken off, and the next one finds the rest."""
        with self._turn:
            sweep = self._sweeps[-1]
            sweep.over_at = time.monotonic()
            still = self._telling()
            sweep.found = {system: keys for system, keys in sweep.found.items() if done and system in still}
            if not any(sweep.found.values()):
                self._sweeps.remove(sweep)

    def settle(self) -> None:
        """Count what was told by nobody in time. To be called now and then."""
        if not self._sweeps:
            return
        with self._turn:
            now = time.monotonic()
            ripe = [sweep for sweep in self._sweeps if sweep.over_at is not None and now - sweep.over_at >= self._grace_s]
            self._sweeps = [sweep for sweep in self._sweeps if sweep not in ripe]
        for sweep in ripe:
            self._recovered({system: count for system in sweep.found if (count := _left(sweep, system))})


def _left(sweep: _Sweep, system: str) -> int:
    found, told = sweep.found[system], sweep.told.get(system, set())
    return 0 if found is None or told is None else len(found - told)


def _add(known: dict[str, set[str] | None], system: str, keys: Iterable[str] | None) -> None:
    mine = known.setdefault(system, set())
    if mine is None:
        return
    if keys is None:
        known[system] = None
        return
    mine.update(keys)
    if len(mine) > MOST:
        known[system] = None
