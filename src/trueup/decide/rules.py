"""The checklist's rules: one table, read from the top; the first rule of which all conditions hold gives the approach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.decide.answers import Answers

Approach = Literal["immediate-sync", "nightly-batch", "single-source-of-truth", "light-connector", "manual-process"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What may be true of answers. `because` says it of answers of which it is true; `of` names the answers that it looks at."""

    of: tuple[str, ...]
    holds: Callable[[Answers], bool]
    because: Callable[[Answers], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """If all conditions hold: this approach, and the one that would be next."""

    conditions: tuple[Condition, ...]
    approach: Approach
    runner_up: Approach


_COSTS = {"high": "customers or money", "medium": "work that has to be done again", "low": "convenience"}


def _waiting(answers: Answers) -> str:
    if answers.delay in {"seconds", "minutes"}:
        return f"a changed record may be missing elsewhere for {answers.delay} at most"
    return "records have to move as they happen"


def _rhythm(answers: Answers) -> str:
    often = {"real-time": "as they happen", "hourly": "every few hours", "nightly": "once a day", "less-often": "now and then"}
    return f"they move {often[answers.frequency]}, and a changed one may wait for {answers.delay}"


QUICK = Condition(("frequency", "delay"), lambda it: it.frequency == "real-time" or it.delay in {"seconds", "minutes"}, _waiting)
PATIENT = Condition(("frequency", "delay"), lambda it: not QUICK.holds(it), _rhythm)
RARE = Condition(("frequency",), lambda it: it.frequency == "less-often", lambda _: "they move seldom")
COSTLY = Condition(("error_cost",), lambda it: it.error_cost == "high", lambda it: f"a wrong or lost record costs {_COSTS[it.error_cost]}")
CHEAP = Condition(
    ("error_cost",), lambda it: it.error_cost == "low", lambda it: f"a wrong or lost record costs no more than {_COSTS[it.error_cost]}"
)
UNTENDED = Condition(("maintenance",), lambda it: not it.maintenance, lambda _: "nobody looks after integrations")
TENDED = Condition(("maintenance",), lambda it: it.maintenance, lambda _: "somebody looks after integrations")
TWO_MASTERS = Condition(
    ("ownership", "quality"),
    lambda it: it.ownership == "duplicated" and it.quality == "messy",
    lambda it: f"in {it.systems} systems each has a version of its own, and the records are messy: one of them has to be the truth",
)
DUPLICATED = Condition(("ownership",), lambda it: it.ownership == "duplicated", lambda it: f"{it.systems} systems each have a version")
MESSY = Condition(("quality",), lambda it: it.quality == "messy", lambda _: "the records have to be cleaned on their way")

RULES = (
    # By hand: little moves, little is lost, and nobody is there to look after anything better.
    Rule((PATIENT, RARE, CHEAP, UNTENDED, TWO_MASTERS), "manual-process", "single-source-of-truth"),
    Rule((PATIENT, RARE, CHEAP, UNTENDED), "manual-process", "nightly-batch"),
    # Whoever copies between two masters in disorder copies the disorder: first one truth, whatever the pace.
    Rule((TWO_MASTERS, QUICK, UNTENDED), "single-source-of-truth", "light-connector"),
    Rule((TWO_MASTERS, QUICK), "single-source-of-truth", "immediate-sync"),
    Rule((TWO_MASTERS,), "single-source-of-truth", "nightly-batch"),
    # Quick: as much as there is somebody to look after.
    Rule((QUICK, UNTENDED), "light-connector", "immediate-sync"),
    Rule((QUICK, COSTLY, TENDED), "immediate-sync", "light-connector"),
    Rule((QUICK, TENDED), "immediate-sync", "light-connector"),
    # Hours will do.
    Rule((PATIENT, RARE, CHEAP), "nightly-batch", "manual-process"),
    Rule((PATIENT, DUPLICATED), "nightly-batch", "single-source-of-truth"),
    Rule((PATIENT, MESSY), "nightly-batch", "single-source-of-truth"),
    Rule((PATIENT, UNTENDED), "nightly-batch", "light-connector"),
    Rule((PATIENT,), "nightly-batch", "immediate-sync"),
)
"""Every set of answers meets one: the table ends with a rule for all that is quick, and one for all that is not."""


def rule_for(answers: Answers) -> Rule:
    """The first rule that holds."""
    return next(rule for rule in RULES if all(condition.holds(answers) for condition in rule.conditions))
