"""Systems that do not answer are left alone for a while: the others go on, and nobody waits for a dead server again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

FIRST_S = 1.0
LONGEST_S = 60.0


@dataclass
class _Breaker:
    failures: int = 0
    until: float = 0.0
    why: str = ""
    since: float = 0.0
    probing: str | None = None


class Breakers:
    """One per system, shared by all entities. After a failure a system is away for 1, 2, 4 … 60 seconds; then one entity tries it."""

    def __init__(self) -> None:
        """Every system answers, as far as is known."""
        self._systems: dict[str, _Breaker] = {}
        self._turn = Lock()

    def failed(self, system: str, why: str) -> bool:
        """A system did not answer. True where it did until now."""
        with self._turn:
            entry = self._systems.setdefault(system, _Breaker())
            now = time.monotonic()
            fresh = entry.failures == 0
            if fresh:
                entry.since = now
            entry.failures += 1
            entry.why = why
            entry.probing = None
            entry.until = now + min(LONGEST_S, FIRST_S * 2.0 ** min(entry.failures - 1, 10))
            return fresh

    def worked(self, system: str) -> bool:
        """A system answered. True where it did not until now."""
        with self._turn:
            return self._systems.pop(system, None) is not None

    def away(self, entity: str) -> frozenset[str]:
        """Systems that this entity would have to leave alone now."""
        with self._turn:
            return self._away(entity)

    def leave_out(self, entity: str) -> frozenset[str]:
        """The same, by an entity that begins a pass. Of a system whose time has come, one entity is let through to try it."""
        with self._turn:
            out = self._away(entity)
            for name, entry in self._systems.items():
                if name not in out:
                    entry.probing = entity
            return out

    def _away(self, entity: str) -> frozenset[str]:
        now = time.monotonic()
        return frozenset(name for name, entry in self._systems.items() if entry.until > now or entry.probing not in {None, entity})

    def give_up_trying(self, entity: str) -> None:
        """An entity ended a pass: what it did not get to try, another one may."""
        with self._turn:
            for entry in self._systems.values():
                if entry.probing == entity:
                    entry.probing = None

    @property
    def open(self) -> dict[str, tuple[str, float]]:
        """Systems that are away, each with the reason and for how many seconds."""
        now = time.monotonic()
        with self._turn:
            return {name: (entry.why, now - entry.since) for name, entry in self._systems.items()}

    @property
    def next_s(self) -> float | None:
        """In how many seconds the next of them may be tried; None where all answer."""
        now = time.monotonic()
        with self._turn:
            return min((max(0.0, entry.until - now) for entry in self._systems.values()), default=None)
