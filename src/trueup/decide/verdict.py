"""What is recommended for one kind of record, and everything that the recommendation rests on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from trueup.decide import advice
from trueup.decide.advice import NAMES
from trueup.decide.answers import QUESTIONS, Answers, contradiction
from trueup.decide.rules import COSTLY, DUPLICATED, MESSY, QUICK, UNTENDED, rule_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.decide.rules import Approach

MANY_SYSTEMS = 4


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """What would be next: why it is not first, and what it would cost to take it all the same."""

    approach: Approach
    why_not: str
    price: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer that, were it one of `instead`, would give another verdict."""

    question: str
    answer: str
    instead: tuple[str, ...]
    approach: Approach


@dataclass(frozen=True, slots=True)
class Verdict:
    """The recommendation for one kind of record. `because`: the answers that its rule looked at."""

    approach: Approach
    pace: str
    flags: tuple[str, ...]
    because: tuple[str, ...]
    reasons: tuple[str, ...]
    runner_up: RunnerUp
    turns: tuple[Turn, ...]
    risks: tuple[str, ...]
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The verdict for each kind of record; `mix` says in one sentence how they go together, None where one approach serves all."""

    verdicts: Mapping[str, Verdict]
    mix: str | None


def recommend(records: Mapping[str, Answers]) -> Recommendation:
    """A verdict for each kind of record."""
    verdicts = {name: judge(answers) for name, answers in records.items()}
    return Recommendation(verdicts, _mix(verdicts))


def judge(answers: Answers) -> Verdict:
    """The verdict for one kind of record."""
    rule = rule_for(answers)
    return Verdict(
        approach=rule.approach,
        pace=pace(answers),
        flags=tuple(_flags(answers)),
        because=tuple(dict.fromkeys(name for condition in rule.conditions for name in condition.of)),
        reasons=tuple(_reasons(answers)),
        runner_up=RunnerUp(rule.runner_up, advice.why_not(answers, rule.approach, rule.runner_up), advice.PRICES[rule.runner_up]),
        turns=tuple(_turns(answers, rule.approach)),
        risks=tuple(advice.risks(answers, rule.approach)),
        next_steps=tuple(advice.next_steps(answers, rule.approach, pace(answers))),
    )


def pace(answers: Answers) -> str:
    """How soon a change has to cross, whatever the approach: `at once`, `every hour`, `every night` or `by hand`."""
    if rule_for(answers).approach == "manual-process":
        return "by hand"
    if QUICK.holds(answers):
        return "at once"
    return "every hour" if answers.frequency == "hourly" else "every night"


def _flags(answers: Answers) -> Iterator[str]:
    marks = (
        (QUICK, "real-time required"),
        (COSTLY, "high cost of error"),
        (UNTENDED, "no maintenance capacity"),
        (DUPLICATED, "no single owner"),
        (MESSY, "clean first"),
    )
    yield from (flag for condition, flag in marks if condition.holds(answers))
    if answers.systems >= MANY_SYSTEMS:
        yield "many systems"
    if answers.regulated:
        yield "regulated data"


def _reasons(answers: Answers) -> Iterator[str]:
    """Why: what made the rule hold, then what else speaks for it."""
    rule = rule_for(answers)
    yield from (condition.because(answers) for condition in rule.conditions)
    yield from advice.more_reasons(answers, rule.approach)


def _turns(answers: Answers, approach: Approach) -> Iterator[Turn]:
    """Each answer that would give another verdict if it were changed alone."""
    for question in QUESTIONS:
        given = getattr(answers, question.name)
        if question.least is not None:
            continue
        others: tuple[Any, ...] = tuple(choice.word for choice in question.choices) or (True, False)
        instead: dict[Approach, list[str]] = {}
        for other in others:
            changed = replace(answers, **{question.name: other})
            found = rule_for(changed).approach
            if found != approach and not contradiction(changed.frequency, changed.delay):
                instead.setdefault(found, []).append(said(other))
        yield from (Turn(question.name, said(given), tuple(words), found) for found, words in instead.items())


def said(answer: Any) -> str:
    """An answer as a person gives it."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return ", ".join(map(str, answer)) if isinstance(answer, tuple) else str(answer)


def given(answers: Answers) -> dict[str, str]:
    """The answers that were given, in the words of people."""
    every = {field.name: getattr(answers, field.name) for field in fields(answers)}
    return {name: said(value) for name, value in every.items() if value not in (None, ())}


def _mix(verdicts: Mapping[str, Verdict]) -> str | None:
    by_approach: dict[Approach, list[str]] = {}
    for name, verdict in verdicts.items():
        by_approach.setdefault(verdict.approach, []).append(name)
    if len(by_approach) < 2:
        return None
    parts = [f"{NAMES[approach]} for {_listed(names)}" for approach, names in by_approach.items()]
    return f"A mix: {_listed(parts)}. One configuration holds them all; each kind of record has a pace of its own."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
