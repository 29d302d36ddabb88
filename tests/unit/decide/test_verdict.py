"""The checklist over every set of answers: one verdict, its reasons, and never less safety for dearer mistakes."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest

from trueup.cli.main import app
from trueup.decide.answers import QUESTIONS, Answers, contradiction
from trueup.decide.rules import QUICK, RULES, Approach, rule_for
from trueup.decide.verdict import judge, pace, recommend

CHOICES: dict[str, tuple[Any, ...]] = {
    question.name: tuple(choice.word for choice in question.choices)
    or ((True, False) if question.least is None else (question.least, question.least + 10))
    for question in QUESTIONS
}
EVERY = [
    answers
    for answers in (Answers(**dict(zip(CHOICES, values, strict=True))) for values in product(*CHOICES.values()))
    if contradiction(answers.frequency, answers.delay) is None
]
SAFETY: dict[Approach, int] = {
    "manual-process": 0,
    "light-connector": 1,
    "immediate-sync": 2,
    "nightly-batch": 2,
    "single-source-of-truth": 3,
}
DEARER: dict[str, Any] = {"low": "medium", "medium": "high"}
SOONER: dict[str, Any] = {"days": "hours", "hours": "minutes", "minutes": "seconds"}
PACES = ["by hand", "every night", "every hour", "at once"]
COMMANDS = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}


def answered(**given: Any) -> Answers:
    """Answers of a company that could do anything, but for what is given."""
    usual: dict[str, Any] = {
        "frequency": "nightly",
        "delay": "hours",
        "error_cost": "medium",
        "people": 12,
        "systems": 2,
        "ownership": "clear",
        "quality": "clean",
        "maintenance": True,
    }
    return Answers(**{**usual, **given})


@pytest.mark.parametrize(
    ("given", "approach"),
    [
        ({"frequency": "real-time", "delay": "seconds", "error_cost": "high"}, "immediate-sync"),
        ({"frequency": "real-time", "delay": "minutes", "error_cost": "high", "maintenance": False}, "light-connector"),
        ({"delay": "hours", "error_cost": "medium"}, "nightly-batch"),
        ({"ownership": "duplicated", "quality": "messy"}, "single-source-of-truth"),
        ({"frequency": "real-time", "delay": "seconds", "error_cost": "low", "maintenance": False}, "light-connector"),
        ({"frequency": "less-often", "delay": "days", "error_cost": "low", "maintenance": False}, "manual-process"),
    ],
)
def test_the_rules_of_the_checklist(given: dict[str, Any], approach: str) -> None:
    assert judge(answered(**given)).approach == approach


def test_every_rule_is_needed_and_every_approach_is_reached() -> None:
    assert {id(rule_for(answers)) for answers in EVERY} == {id(rule) for rule in RULES}
    assert {judge(answers).approach for answers in EVERY} == set(get_args(Approach))


def test_each_verdict_is_explained_by_the_answers_that_caused_it() -> None:
    for answers in EVERY:
        verdict = judge(answers)
        assert verdict.because, answers
        assert all(condition.holds(answers) for condition in rule_for(answers).conditions)
        assert len(verdict.reasons) >= len(rule_for(answers).conditions)
        assert verdict.runner_up.approach != verdict.approach
        assert verdict.runner_up.why_not, answers
        assert verdict.risks, answers
        assert verdict.next_steps, answers
        changed = {name for name in CHOICES if any(turn.question == name for turn in verdict.turns)}
        assert changed <= set(CHOICES) - {"people", "systems"}


def test_answers_that_did_not_cause_it_do_not_matter() -> None:
    """What no condition of the rule looked at can only matter by way of a rule that stands before it."""
    for answers in EVERY:
        verdict = judge(answers)
        for turn in verdict.turns:
            other = judge(replace(answers, **{turn.question: _meant(turn.question, turn.instead[0])}))
            assert turn.question in {*verdict.because, *other.because}, (answers, turn)


def _meant(question: str, word: str) -> Any:
    return next(value for value in CHOICES[question] if word in {value, {True: "yes", False: "no"}.get(value)})


def test_dearer_mistakes_never_get_less_safety() -> None:
    for answers in EVERY:
        if answers.error_cost != "high":
            dearer = replace(answers, error_cost=DEARER[answers.error_cost])
            assert SAFETY[judge(dearer).approach] >= SAFETY[judge(answers).approach], answers


def test_who_can_wait_less_never_waits_longer() -> None:
    for answers in EVERY:
        sooner = replace(answers, delay=SOONER.get(answers.delay, "seconds"))
        if contradiction(sooner.frequency, sooner.delay) is None:
            assert PACES.index(pace(sooner)) >= PACES.index(pace(answers)), answers


def test_nothing_slow_where_it_must_be_quick_and_nothing_to_look_after_where_nobody_does() -> None:
    for answers in EVERY:
        approach = judge(answers).approach
        if QUICK.holds(answers):
            assert approach not in {"nightly-batch", "manual-process"}, answers
        if not answers.maintenance:
            assert approach != "immediate-sync", answers
        if answers.ownership == "duplicated" and answers.quality == "messy":
            assert approach in {"single-source-of-truth", "manual-process"}, answers


def test_the_flags_of_the_checklist() -> None:
    given = answered(frequency="real-time", delay="seconds", error_cost="high")
    assert judge(given).flags == ("real-time required", "high cost of error")
    assert judge(answered(maintenance=False)).flags == ("no maintenance capacity",)
    other = answered(systems=5, ownership="duplicated", quality="messy", regulated=True)
    assert judge(other).flags == ("no single owner", "clean first", "many systems", "regulated data")


def test_every_command_that_is_named_exists() -> None:
    """The next steps of no verdict send anybody to a command that is not there."""
    said = {step for answers in EVERY for step in judge(answers).next_steps}
    named = {word for step in said for word in re.findall(r"`trueup (\w+)", step)}
    assert named
    assert named <= COMMANDS


def test_what_was_answered_beyond_the_six_questions_sharpens_the_risks() -> None:
    plain = judge(answered(frequency="real-time", delay="seconds"))
    more = judge(
        answered(
            frequency="real-time",
            delay="seconds",
            abilities=("exports",),
            regulated=True,
            volume=1000,
            volume_in_two_years=20_000,
            budget="none",
        )
    )
    assert more.approach == plain.approach
    assert len(more.risks) == len(plain.risks) + 4
    asked = judge(answered(frequency="real-time", delay="seconds", abilities=("api",)))
    assert any("asked again and again" in risk for risk in asked.risks)


def test_kinds_of_record_may_mix() -> None:
    leads, invoices = answered(frequency="real-time", delay="seconds"), answered()
    assert recommend({"leads": leads}).mix is None
    assert recommend({"leads": leads, "orders": leads}).mix is None
    said = recommend({"leads": leads, "invoices": invoices, "orders": invoices}).mix
    assert said is not None
    assert said.startswith("A mix: immediate sync for leads and nightly batch for invoices and orders.")
