"""What is done by hand, as values: which processes are due, and which of their steps cost most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, counted, duration, moment, second, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trueup.reports.table import Style

MONTH_DAYS = 30.0
WORTH_MINUTES = 60.0
"""A step that takes so long in thirty days is worth automating, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Due:
    """A process. `due_at`: when it is due next, or was; None: never. `last_at` None: it was never done."""

    name: str
    owner: str | None
    stand_in: str | None
    due_at: datetime | None
    last_at: datetime | None
    late_s: float | None
    minutes: float | None
    steps: tuple[str, ...] = ()

    @property
    def is_due(self) -> bool:
        """Whether it is due now."""
        return self.late_s is not None


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step over the time of a review: `minutes` in all, and of thirty days. `told`: somebody wrote its minutes down each time.

    None: neither told nor expected.
    """

    process: str
    number: int
    do: str
    times: int
    minutes: float | None
    monthly: float | None
    told: bool
    worth: bool


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """One process over that time. `expected` times, as often as it was due; `minutes` None: nobody knows."""

    name: str
    owner: str | None
    times: int
    expected: int
    minutes: float | None
    monthly: float | None
    notes: int
    steps: tuple[StepCost, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """What was done by hand from `since` to `at`, and the steps worth automating, the dearest first. `worth_minutes`: from when on."""

    since: datetime
    at: datetime
    worth_minutes: float
    processes: tuple[ProcessCost, ...] = field(default=())

    @property
    def worth(self) -> list[StepCost]:
        """The steps worth automating, the dearest first."""
        found = [step for process in self.processes for step in process.steps if step.worth]
        return sorted(found, key=lambda step: (-(step.monthly or 0.0), step.process, step.number))

    @property
    def minutes(self) -> float:
        """All minutes of thirty days, as far as they are known."""
        return sum(process.monthly or 0.0 for process in self.processes)


# ---------------------------------------------------------------- for programs


def due_dict(one: Due) -> dict[str, Any]:
    """One process of `trueup manual due --json`."""
    return {
        "process": one.name,
        "owner": one.owner,
        "stand_in": one.stand_in,
        "due": one.is_due,
        "due_at": second(one.due_at),
        "last_at": second(one.last_at),
        "late": None if one.late_s is None else round(one.late_s),
        "minutes": one.minutes,
        "steps": list(one.steps),
    }


def review_dict(found: Review) -> dict[str, Any]:
    """What `trueup manual review --json` prints."""
    return {
        "since": second(found.since),
        "at": second(found.at),
        "worth_minutes": found.worth_minutes,
        "minutes_a_month": round(found.minutes, 1),
        "processes": [
            {
                "process": one.name,
                "owner": one.owner,
                "times": one.times,
                "expected": one.expected,
                "minutes": _rounded(one.minutes),
                "minutes_a_month": _rounded(one.monthly),
                "steps": [_step(step) for step in one.steps],
            }
            for one in found.processes
        ],
        "worth_automating": [_step(step) | {"process": step.process} for step in found.worth],
    }


def _step(step: StepCost) -> dict[str, Any]:
    return {
        "step": step.number,
        "do": step.do,
        "minutes": _rounded(step.minutes),
        "minutes_a_month": _rounded(step.monthly),
        "told": step.told,
        "worth_automating": step.worth,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


# ---------------------------------------------------------------- for people


def due_text(found: Sequence[Due], style: Style = PLAIN) -> str:
    """What is due, and when the rest will be."""
    due = [one for one in found if one.is_due]
    rows = [
        ["due" if one.is_due else "", one.name, one.owner or "", _when(one), moment(one.last_at), minutes_text(one.minutes)]
        for one in sorted(found, key=lambda one: (not one.is_due, one.due_at.timestamp() if one.due_at else 0.0, one.name))
    ]
    listed = table(["", "process", "who", "due", "last done", "takes"], rows, style)
    if not due:
        return f"Nothing is due.\n\n{listed}"
    steps = "\n\n".join("\n".join(_steps(one, style)) for one in due)
    return f"{counted(len(due), 'process', 'processes')} due\n\n{listed}\n\n{steps}"


def _when(one: Due) -> str:
    if one.last_at is None and one.is_due:
        return "now: never done yet"
    return moment(one.due_at) + (f" ({duration(one.late_s)} ago)" if one.late_s else "")


def _steps(one: Due, style: Style) -> Iterator[str]:
    yield style.paint(one.name, "bold")
    yield from (f"  {number}. {step}" for number, step in enumerate(one.steps, 1))


def review_text(found: Review, style: Style = PLAIN) -> str:
    """The review: how often, how long, and which steps are worth automating."""
    rows = [
        [one.name, one.owner or "", one.times, one.expected, minutes_text(one.minutes), minutes_text(one.monthly)]
        for one in found.processes
    ]
    head = ["process", "who", "times", "expected", "minutes", "a month"]
    text = f"By hand from {moment(found.since)} to {moment(found.at)}\n\n{table(head, rows, style)}"
    return "\n\n".join([text, *worth_lines(found, style)])


def worth_lines(found: Review, style: Style = PLAIN) -> Iterator[str]:
    """The steps worth automating, with their sum; or that there are none."""
    worth = found.worth
    limit = f"{found.worth_minutes:g} minutes a month"
    if not worth:
        yield f"No step takes {limit}: nothing is worth automating yet."
        return
    total = sum(step.monthly or 0.0 for step in worth)
    yield f"Worth automating ({limit} or more), {total:,.0f} minutes a month together:"
    rows = [
        [f"{step.process}, step {step.number}", step.do, f"{step.monthly or 0.0:,.0f}", "written down" if step.told else "estimated"]
        for step in worth
    ]
    yield table(["step", "what", "minutes a month", ""], rows, style)
    yield "Answer the six questions again for these records: `trueup decide`."


def minutes_text(value: float | None) -> str:
    """Minutes for people."""
    return "–" if value is None else f"{value:,.0f} min" if value >= 1 else "less than 1 min"
