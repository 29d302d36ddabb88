"""One numbered run for many small passes: each change that crosses at once would otherwise be a run of its own."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Lock
from typing import TYPE_CHECKING

from trueup.model import Delivered, EntitySummary, Observed, RunSummary, SystemSummary
from trueup.runtime.workspace import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.runtime.workspace import Workspace

LONGEST_S = 60.0
IDLE_S = 5.0


@dataclass
class Passing:
    """A pass in work. `begin` gives the run's number; `summary` is set by whoever runs the pass."""

    begin: Callable[[], int]
    used: bool = False
    summary: EntitySummary | None = None

    def number(self) -> int:
        """The run's number: something of this pass is to be kept."""
        self.used = True
        return self.begin()


class RollingRun:
    """The run under which immediate passes are kept: begun with the first, over after a minute, or a few seconds without any."""

    def __init__(self, workspace: Workspace) -> None:
        """Nothing is begun yet."""
        self._workspace = workspace
        self._turn = Lock()
        self._open: RunSummary | None = None
        self._begun = 0.0
        self._last = 0.0
        self._passes = 0
        self._spoilt = False  # a pass was broken off: perhaps with the transaction that began the run

    @contextmanager
    def passing(self, entity: str) -> Iterator[Passing]:
        """One pass, of which nothing need be kept: its run begins with the first thing that is. The state must be held."""
        with self._turn:
            self._passes += 1
        work = Passing(self.number)
        broken = True
        try:
            yield work
            broken = False
        finally:
            with self._turn:
                self._passes -= 1
                self._last = time.monotonic()
                if broken:
                    self._spoilt = True
                elif self._open is not None and work.summary is not None and work.used:
                    add_up(self._open.entities.setdefault(entity, EntitySummary()), work.summary)

    def number(self) -> int:
        """The number of the run that is open; begins one where none is. The state must be held."""
        with self._turn:
            if self._open is None:
                at = self._workspace.clock()
                number = self._workspace.begin_run("serve", list(self._workspace.config.entities))
                self._open = RunSummary(run=number, status="done", started_at=at, seconds=0.0)
                self._begun = time.monotonic()
            assert self._open.run is not None
            return self._open.run

    def deliver_late(self, entity: str, system: str, counts: Delivered) -> None:
        """A lane that was left to itself is done: counted where the run is still open."""
        with self._turn:
            if self._open is not None:
                part = self._open.entities.setdefault(entity, EntitySummary()).systems.setdefault(system, SystemSummary())
                _add(part.delivered, counts)

    def over(self, *, now: bool = False) -> bool:
        """End the run where it is time (`now`: in any case, once no pass is in work). True where none is open afterwards."""
        with self._turn:
            if self._open is None:
                return True
            moment = time.monotonic()
            if self._passes or not (now or self._spoilt or moment - self._begun > LONGEST_S or moment - self._last > IDLE_S):
                return False
            result, self._open, self._spoilt = self._open, None, False
            result.seconds = moment - self._begun
            result.status = status_of(result)
            assert result.run is not None
            self._workspace.end_run(result.run, result.status, result.started_at, result, None)
            return True


def add_up(known: EntitySummary, summary: EntitySummary) -> None:
    """Add a pass to what others of its run counted. What is open is as the last one says."""
    for name in ("created", "updated", "reread", "deleted", "conflicts_opened", "overruled", "parked", "missing", "held"):
        setattr(known, name, getattr(known, name) + getattr(summary, name))
    for name in ("total", "conflicts_open", "failures_open"):
        setattr(known, name, getattr(summary, name))
    for system, part in summary.systems.items():
        mine = known.systems.setdefault(system, SystemSummary())
        _add(mine.observed, part.observed)
        _add(mine.delivered, part.delivered)
        mine.error = part.error


def _add(known: Observed | Delivered, more: Observed | Delivered) -> None:
    for item in fields(known):
        setattr(known, item.name, getattr(known, item.name) + getattr(more, item.name))
