"""How far a system's clock is from ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from trueup.errors import TrueupError
from trueup.reports.profile_facts import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.connectors.base import Connector, Timed

ASKED = 3
SAME_MACHINE = frozenset({"sqlite"})
SKEW_S = 1.0
"""What is no longer than this is no skew worth a word."""


def clock_of(connector: Connector, kind: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Clock | None:
    """Ask for the time, some times over; the quickest answer tells best. None where the system cannot tell."""
    if not connector.caps.clock:
        return None
    if kind in SAME_MACHINE:
        return Clock("same", 0.0, 0.0)
    answers = []
    for _ in range(ASKED):
        before = now()
        try:
            told = cast("Timed", connector).clock()
        except TrueupError:
            return None
        after = now()
        half = (after - before) / 2
        answers.append((half.total_seconds(), (told - (before + half)).total_seconds()))
    within_s, seconds = min(answers)
    return Clock("asked", seconds, within_s)


def clock_by_modified(newest: datetime | None, now: datetime) -> Clock:
    """What the newest time of modification tells of the clock that set it: it is ahead where that lies in the future."""
    if newest is None or (newest - now).total_seconds() <= SKEW_S:
        return Clock("nothing")
    return Clock("modified", (newest - now).total_seconds())
