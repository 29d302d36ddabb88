"""Brakes: how much may change at once before a person is asked. Counts in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from trueup.core.patterns import Pattern
    from trueup.model import Guard

GuardedKind = Literal["deletes", "updates"]


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
    recent: int,
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
