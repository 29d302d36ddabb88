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

from trueup.runtime.tally import add_keys, rows_moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trueup.core.facts import Decision

GRACE_S = 60.0
"""So long a system may take to tell: a sender of webhooks first has to send them."""


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
            add_keys(sweep.told, system, keys)
        with self._turn:
            self._sweeps.append(sweep)

    def told(self, system: str, keys: Iterable[str] | None) -> None:
        """A system tells of rows (None: of anything)."""
        if not self._sweeps:
            return
        with self._turn:
            for sweep in self._sweeps:
                add_keys(sweep.told, system, keys)

    def decided(self, decision: Decision) -> None:
        """The sweep in work has decided about some records."""
        if systems := self.wanted:
            self.found(rows_moved(decision, systems))

    @property
    def wanted(self) -> frozenset[str]:
        """The systems of which the sweep in work is to tell the rows that moved."""
        with self._turn:
            sweep = self._sweeps[-1] if self._sweeps and self._sweeps[-1].over_at is None else None
        return frozenset() if sweep is None else sweep.telling

    def found(self, keys: Mapping[str, Iterable[str] | None]) -> None:
        """The sweep in work has found that these rows moved (None: too many to say)."""
        with self._turn:
            if self._sweeps and self._sweeps[-1].over_at is None:
                for system, mine in keys.items():
                    add_keys(self._sweeps[-1].found, system, mine)

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
