"""Brakes: how much may change at once before a person is asked. Counts in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trueup.core.patterns import Pattern

if TYPE_CHECKING:
    from trueup.model import Guard

GuardedKind = Literal["deletes", "updates"]
DRIP_TIMES = 2
"""A system that deletes as much on other days is left alone: a drip is of more than so many times its busiest day before."""


@dataclass(frozen=True, slots=True)
class Day:
    """Deletes that passed in the last 24 hours, in how many runs, and those of the busiest day before these."""

    rows: int = 0
    passes: int = 0
    busiest: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a part of a pass is held: what was counted, and the number that would have passed without asking."""

    kind: GuardedKind
    count: int
    held_rows: int
    limit: int
    emptied: bool = False
    pattern: Pattern | None = None


def judge(
    guard: Guard | None,
    kind: GuardedKind,
    count: int,
    *,
    rows: int,
    recent: float,
    emptied: bool,
    ceiling: int | None,
    pattern: Pattern | None = None,
) -> Verdict | None:
    """Whether `count` changes of this kind must wait for a person; None lets them pass.

    rows     what the system held at its last complete pass
    recent   the same kind of change from this system in the past hour, added to the count for both limits
    emptied  a complete listing showed nothing where rows were known: held whatever the limits
    ceiling  a number that a person approved; up to it everything passes
    pattern  what most of the changes have in common, where that looks like one mistake: held whatever the limits
    """
    if guard is None or count == 0:
        return None
    share = guard.deletes if kind == "deletes" else guard.updates
    total = count + recent
    limit = guard.at_least if share is None else max(guard.at_least, int(share * rows))
    if ceiling is not None and count <= ceiling:
        return None
    if emptied and kind == "deletes":
        return Verdict(kind, count, rows, limit, emptied=True)
    if pattern is not None and share is not None:
        return Verdict(kind, count, rows, limit, pattern=pattern)
    if share is None or total <= guard.at_least or total <= share * rows:
        return None
    return Verdict(kind, count, rows, limit)


def drip(guard: Guard | None, count: int, day: Day, *, rows: int, ceiling: int | None) -> Verdict | None:
    """Whether `count` deletes, with those that passed in the last 24 hours, are too many, and far more than on any day before.

    Many small deletes are as much as a large one. `rows` and `ceiling` as for `judge`.
    """
    if guard is None or guard.deletes is None or guard.deletes_a_day is None or count == 0 or day.rows == 0:
        return None
    if ceiling is not None and count <= ceiling:
        return None
    total, before = count + day.rows, rows + day.rows
    limit = max(guard.at_least, int(max(guard.deletes_a_day, guard.deletes) * before))
    if total <= limit or total <= DRIP_TIMES * day.busiest:
        return None
    return Verdict("deletes", count, rows, limit, pattern=Pattern("drip", None, total, before, usual=day.busiest, passes=day.passes + 1))
