"""What people do by hand: what is due by the configuration and what was done, and what it costs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trueup.errors import UsageError
from trueup.reports.by_hand_facts import MONTH_DAYS, WORTH_MINUTES, Due, ProcessCost, Review, StepCost
from trueup.runtime.schedule import due_at, next_after
from trueup.store import audit, by_hand
from trueup.store.by_hand import Done

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.model import Config, Manual, When
    from trueup.store import Db, Store

REVIEWED = timedelta(days=MONTH_DAYS)
LONGEST_MINUTES = 100_000.0
LONGEST_NOTE = 2_000


def due(config: Config, last: Mapping[str, datetime], now: datetime) -> list[Due]:
    """All processes of the configuration, due or not. `last`: when each was done last. One that was never done is due."""
    return [_due(process, last.get(process.name), now) for process in config.manual.values()]


def _due(process: Manual, last_at: datetime | None, now: datetime) -> Due:
    at = now if last_at is None else due_at(process.every, last_at, now)
    late_s = (now - at).total_seconds() if at is not None and at <= now else None
    steps = tuple(step.do + (f" → {step.paste}" if step.paste else "") for step in process.steps)
    return Due(process.name, process.owner, process.stand_in, at, last_at, late_s, process.expected_minutes, steps)


def done(
    store: Store,
    config: Config,
    name: str,
    *,
    now: datetime,
    minutes: float | None = None,
    steps: Mapping[int, float] | None = None,
    note: str | None = None,
    at: datetime | None = None,
) -> Done:
    """Note that a process was carried out. The trail tells that it was, never the note. Raises UsageError, StateError.

    Where only minutes of steps are given, and all of them are, they are the whole.
    """
    process = config.manual.get(name)
    if process is None:
        known = ", ".join(config.manual) or "none: add them under `manual:`"
        raise UsageError(f"there is no manual process {name!r}", hint=f"configured: {known}")
    given = dict(steps or {})
    for number in given:
        if not 1 <= number <= len(process.steps):
            raise UsageError(f"{name} has no step {number}", hint=f"it has {len(process.steps)}")
    if any(not 0 <= value <= LONGEST_MINUTES for value in [*given.values(), *([] if minutes is None else [minutes])]):
        raise UsageError("these are no minutes", hint="write a number such as 20 or 2.5")
    if at is not None and at > now:
        raise UsageError("what is done lies in the past", hint="leave --at out: it is now")
    if note is not None and len(note) > LONGEST_NOTE:
        raise UsageError(f"a note has at most {LONGEST_NOTE:,} signs", hint="write the rest where the records are")
    total = sum(given.values()) if minutes is None and len(given) == len(process.steps) else minutes
    if total is not None and total + 1e-9 < sum(given.values()):
        raise UsageError(f"its steps took {sum(given.values()):g} minutes, and all of it {total:g}", hint="correct one of them")
    entry = Done(name, at or now, audit.me(), total, given, note)
    with store.write() as tx:
        number = by_hand.add(tx, entry)
        audit.tell(tx, "decision", {"about": "manual", "process": name, "done": number}, at=now)
    return entry


def review(config: Config, db: Db, now: datetime, *, since: datetime | None = None, worth_minutes: float = WORTH_MINUTES) -> Review:
    """What was done since a moment (None: thirty days ago), and which steps are worth automating. Raises UsageError: it is to come."""
    start = now - REVIEWED if since is None else since
    if start >= now:
        raise UsageError("a review looks back", hint="name a moment that has passed")
    entries = by_hand.since(db, start)
    days = (now - start).total_seconds() / 86_400
    costs = [
        _cost(process, [one for one in entries if one.process == process.name], start, now, days, worth_minutes)
        for process in config.manual.values()
    ]
    return Review(start, now, worth_minutes, tuple(costs))


def _cost(process: Manual, entries: Sequence[Done], start: datetime, now: datetime, days: float, worth: float) -> ProcessCost:
    scale = MONTH_DAYS / days
    each = [_minutes(process, one) for one in entries]
    steps = []
    for number, step in enumerate(process.steps, 1):
        known = [found for found in (_of_step(process, one, number) for one in entries) if found is not None]
        minutes = sum(known) if known else None
        monthly = None if minutes is None else minutes * scale * len(entries) / len(known)
        told = bool(entries) and all(number in one.steps for one in entries)
        steps.append(
            StepCost(
                process.name, number, step.do, len(entries), minutes, monthly, told, worth=monthly is not None and monthly + 1e-9 >= worth
            )
        )
    sums = [minutes for minutes in each if minutes is not None]
    total = sum(sums) if sums else None
    monthly = None if total is None else total * scale * len(entries) / len(sums)
    expected = _times(process.every, start, now)
    return ProcessCost(
        process.name,
        process.owner,
        len(entries),
        expected,
        total,
        monthly,
        sum(one.note is not None for one in entries),
        tuple(steps),
    )


def _minutes(process: Manual, one: Done) -> float | None:
    """How long it took: as told, else as expected."""
    return one.minutes if one.minutes is not None else process.expected_minutes


def _of_step(process: Manual, one: Done, number: int) -> float | None:
    """The minutes of one step: as told; else its part of what is left of the whole, by what is expected of it; None: nobody knows."""
    if number in one.steps:
        return one.steps[number]
    untold = [place for place in range(1, len(process.steps) + 1) if place not in one.steps]
    whole = _minutes(process, one)
    left = None if whole is None else max(0.0, whole - sum(one.steps.values()))
    expected = {place: process.steps[place - 1].minutes for place in untold}
    if untold == [number]:
        return left if left is not None else expected[number]
    known = {place: minutes for place, minutes in expected.items() if minutes is not None}
    if len(known) < len(untold):
        return expected[number]
    return known[number] if left is None else left * known[number] / sum(known.values())


def _times(every: When, start: datetime, now: datetime) -> int:
    """How often it was due in a time."""
    if every.kind == "every":
        return int((now - start).total_seconds() // (every.every_s or 1.0))
    count, moment = 0, next_after(every, start)
    while moment is not None and moment <= now:
        count, moment = count + 1, next_after(every, moment)
    return count
