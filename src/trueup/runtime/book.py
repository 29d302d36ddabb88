"""What one lane of a pass did, and what is left when it outlasts the pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from trueup.model import Delivered

if TYPE_CHECKING:
    from trueup.model import PlannedChange


@dataclass
class Book:
    """What one lane did so far."""

    counts: Delivered = field(default_factory=Delivered)
    wake: dict[str, None] = field(default_factory=dict)
    changes: list[PlannedChange] = field(default_factory=list)
    error: str | None = None
    failed: set[int] = field(default_factory=set)
    sent: int = 0
    limited: bool = False
    left_creates: bool = False
    outsiders: set[int] = field(default_factory=set)  # records in whose place a row outside of the filter stands
    _turn: Lock = field(default_factory=Lock)  # rows are sent in one thread while those before them are recorded in another

    def owe(self, rows: int) -> None:
        """Count rows as due, or (below 0) as done."""
        with self._turn:
            self.counts.pending += rows


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What came of a lane that was left to itself: keys to look at again, what was delivered, and what kept it from going on."""

    wake: list[str]
    counts: Delivered
    error: str | None
