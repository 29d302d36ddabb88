"""When passes are due by the clock: moments of `when`, exact across both clock changes, missed ones caught up once.

A wall-clock time that a clock change leaves out (02:30 on the day that jumps from 02:00 to 03:00) is met when the gap ends; one that
comes twice is met the first time. That is the rule of Debian's cron, which `cronsim` follows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim

from trueup.model import Entity, When

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SWEEP = When(kind="every", every_s=900.0)
"""How often everything is looked at for an entity that is kept in agreement at once and has no schedule of its own."""
LOOKED_AHEAD = timedelta(days=35)
MOMENTS = 5_000
WRONG_CLOCK = timedelta(days=1)
"""What was met so far in the future was met under a clock that was wrong; what is nearer, under one that was put back a little since."""


def is_realtime(entity: Entity) -> bool:
    """Whether changes are to cross at once."""
    return any(item.kind == "realtime" for item in entity.when)


def terms_of(entity: Entity) -> tuple[When, ...]:
    """The items of `when` that the clock decides. An entity that is realtime is swept as well, whether it says so or not."""
    terms = tuple(dict.fromkeys(item for item in entity.when if item.kind != "realtime"))
    return terms or ((SWEEP,) if is_realtime(entity) else ())


def name_of(term: When) -> str:
    """A text that stays the same as long as the item of `when` does: under it the state keeps when it was met."""
    if term.kind == "every":
        return f"every {term.every_s:g}s"
    if term.kind == "cron":
        return f"cron {term.cron} {term.timezone}"
    return f"at {term.at} {','.join(map(str, term.days))} {term.timezone}"


def due_at(term: When, met: datetime | None, now: datetime) -> datetime | None:
    """When this item is due next, in UTC: not after `now` where it is due already. None where it never will be.

    `met` is when it was met last (a pass for it began; aware; None: never yet). Where several moments have passed since, one pass meets all
    of them. A span (`every`) is due at once where it was never met, a time of day at its next occurrence.
    """
    if met is not None and met > now + WRONG_CLOCK:
        met = now
    if term.kind != "every":
        return next_after(term, met or now)
    if met is None:
        return now
    return min(met, now) + timedelta(seconds=term.every_s or 0.0)  # a clock that was put back makes nobody wait for longer than a span


def next_after(term: When, moment: datetime) -> datetime | None:
    """The first occurrence of a time of day (`at`, `cron`) after a moment, in UTC; None where there is none in the next decades."""
    for found in CronSim(_expression(term), moment.astimezone(ZoneInfo(term.timezone))):
        at = found.astimezone(UTC)
        if at > moment:  # begun within an hour that comes twice, it tells the first of the two again
            return at
    return None


def longest_wait_s(terms: Sequence[When], now: datetime) -> float | None:
    """How long it takes at most from one moment that these items name to the next, in the 35 days after `now`; None where none is named."""
    spans = [term.every_s or 0.0 for term in terms if term.kind == "every"]
    moments = sorted({moment for term in terms if term.kind != "every" for moment in _moments(term, now)})
    spans += [max((then - before).total_seconds() for before, then in pairwise(moments))] if len(moments) > 1 else []
    return min(spans) if spans else None


def _moments(term: When, now: datetime) -> Iterator[datetime]:
    moment = next_after(term, now)
    for _number in range(MOMENTS):
        if moment is None or moment > now + LOOKED_AHEAD:
            return
        yield moment
        moment = next_after(term, moment)


def _expression(term: When) -> str:
    if term.kind == "cron":
        return str(term.cron)
    hour, minute = str(term.at).split(":")
    days = ",".join(str((day + 1) % 7) for day in term.days)  # Monday is 0 here, and 1 in cron
    return f"{int(minute)} {int(hour)} * * {days or '*'}"
