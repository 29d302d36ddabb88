"""What the server counts while it runs, for `/metrics` and alerts. Counters begin at nought with each start."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from trueup.reports.picture import Moved
from trueup.runtime.tally import settled_by_rule

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from trueup.core.facts import Decision
    from trueup.model import Delivered, EntitySummary

OBSERVED = ("created", "updated", "deleted", "rejected")
DELIVERED = ("created", "updated", "deleted", "failed", "stale")
ARRIVED = ("created", "updated", "deleted")


def _nobody() -> None:
    pass


class Figures:
    """All entities' figures; any thread may add to them."""

    def __init__(self, max_delay_s: dict[str, float | None] | None = None) -> None:
        """Nothing was counted yet. `max_delay_s`: the wait that each entity tolerates."""
        self._entities: dict[str, Moved] = defaultdict(Moved)
        self._tolerated = max_delay_s or {}
        # Deliveries that went on alone: when their oldest change was made, None where nobody waits for them; and those that were over
        # before their pass was: when.
        self._under_way: dict[tuple[str, str], datetime | None] = {}
        self._over: dict[tuple[str, str], datetime] = {}
        self._turn = Lock()
        self.heard: Callable[[], None] = _nobody  # called when a pass is over

    def passed(
        self,
        entity: str,
        summary: EntitySummary,
        seconds: float,
        *,
        at: datetime,
        changed_at: datetime | None = None,
        alone: Iterable[str] = (),
    ) -> None:
        """A pass ended at `at`; the oldest change that it looked at was made at `changed_at`, where that is known.

        `alone` are the systems whose deliveries go on without it.
        """
        self.heard()
        with self._turn:
            mine = self._entities[entity]
            mine.passes += 1
            mine.seconds.add(seconds)
            mine.overruled += summary.overruled
            edits = arrived = 0
            for system, part in summary.systems.items():
                for kind in OBSERVED:
                    if count := getattr(part.observed, kind):
                        mine.observed[system, kind] += count
                        edits += count if kind != "rejected" else 0
                arrived += self._count(mine, system, part.delivered)
            waited = changed_at if edits else None  # for our own writes, seen again, nobody waits
            over = {lane: self._over.pop(lane) for lane in list(self._over) if lane[0] == entity}
            self._under_way |= {(entity, system): waited for system in alone}
            if waited is None:
                return
            if arrived:
                self._arrived(entity, mine, waited, at)
            for moment in over.values():
                self._arrived(entity, mine, waited, moment)

    def delivered_late(self, entity: str, system: str, counts: Delivered, at: datetime) -> None:
        """Deliveries that went on without their pass are over."""
        with self._turn:
            mine = self._entities[entity]
            arrived = self._count(mine, system, counts)
            if (entity, system) not in self._under_way:
                if arrived:
                    self._over[entity, system] = at
                return
            changed_at = self._under_way.pop((entity, system))
            if changed_at is not None and arrived:
                self._arrived(entity, mine, changed_at, at)

    def _count(self, mine: Moved, system: str, counts: Delivered) -> int:
        for kind in DELIVERED:
            if count := getattr(counts, kind):
                mine.delivered[system, kind] += count
        return sum(getattr(counts, kind) for kind in ARRIVED)

    def _arrived(self, entity: str, mine: Moved, changed_at: datetime, at: datetime) -> None:
        seconds = max(0.0, (at - changed_at).total_seconds())
        mine.delays.add(seconds)
        tolerated = self._tolerated.get(entity)
        if tolerated is not None and seconds > tolerated:
            mine.late += 1
            mine.late_at, mine.latest_s = at, seconds

    def trouble(self, entity: str) -> None:
        """A pass could not be run."""
        with self._turn:
            self._entities[entity].troubles += 1

    def decided(self, entity: str, decision: Decision) -> None:
        """What a pass decided: conflicts that a rule settled at once, and whose value won."""
        self.settled(entity, settled_by_rule(decision))

    def settled(self, entity: str, counts: Counter[tuple[str, str]]) -> None:
        """The same, counted already: by rule and winner."""
        if not counts:
            return
        with self._turn:
            self._entities[entity].decided.update(counts)

    def recovered(self, entity: str, rows: dict[str, int], at: datetime) -> None:
        """A sweep found changes that nothing had told: rows by system."""
        found = sum(rows.values())
        if not found:
            return
        with self._turn:
            mine = self._entities[entity]
            mine.recovered.update(rows)
            mine.recovered_at, mine.recovered_lately = at, found

    def of(self, entity: str) -> Moved:
        """One entity's figures, as they stand."""
        with self._turn:
            mine = self._entities[entity]
            return replace(
                mine,
                seconds=mine.seconds.copy(),
                delays=mine.delays.copy(),
                observed=mine.observed.copy(),
                delivered=mine.delivered.copy(),
                decided=mine.decided.copy(),
                recovered=mine.recovered.copy(),
            )
