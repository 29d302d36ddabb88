"""A recommendation of the checklist as JSON, and as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.decide.advice import MEANS, NAMES
from trueup.decide.answers import QUESTIONS, Answers
from trueup.decide.verdict import given
from trueup.reports.table import PLAIN, Style, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.decide.verdict import Recommendation, Turn, Verdict

_ASKS = {question.name: question.asks for question in QUESTIONS}


def verdict_dict(records: Mapping[str, Answers], found: Recommendation) -> dict[str, Any]:
    """What `trueup decide --json` prints."""
    return {"records": {name: _one(records[name], verdict) for name, verdict in found.verdicts.items()}, "mix": found.mix}


def _one(answers: Answers, verdict: Verdict) -> dict[str, Any]:
    return {
        "approach": verdict.approach,
        "pace": verdict.pace,
        "flags": list(verdict.flags),
        "answers": given(answers),
        "because": list(verdict.because),
        "reasons": list(verdict.reasons),
        "runner_up": {
            "approach": verdict.runner_up.approach,
            "why_not": verdict.runner_up.why_not,
            "price": verdict.runner_up.price,
        },
        "would_change": [
            {"question": turn.question, "answer": turn.answer, "instead": list(turn.instead), "approach": turn.approach}
            for turn in verdict.turns
        ],
        "risks": list(verdict.risks),
        "next_steps": list(verdict.next_steps),
    }


def verdict_text(found: Recommendation, style: Style = PLAIN) -> str:
    """The recommendation for people, kind by kind."""
    parts = ["\n".join(_told(name, verdict, style)) for name, verdict in found.verdicts.items()]
    return "\n\n".join([*parts, *([found.mix] if found.mix else [])])


def _told(name: str, verdict: Verdict, style: Style) -> Iterator[str]:
    yield f"{style.paint(visible(name), 'bold')}: {style.paint(NAMES[verdict.approach], 'good')}"
    yield f"  {MEANS[verdict.approach]}"
    if verdict.flags:
        yield f"  {style.paint('Flags', 'bold')}: {', '.join(verdict.flags)}"
    yield from _listed("Because", verdict.reasons, style)
    yield f"  {style.paint('Next best', 'bold')}: {NAMES[verdict.runner_up.approach]}"
    yield f"    not first: {verdict.runner_up.why_not}"
    yield f"    its price: {verdict.runner_up.price}"
    yield from _listed("Another answer would change this", [turned(turn) for turn in verdict.turns], style)
    yield from _listed("Mind", verdict.risks, style)
    yield f"  {style.paint('Now', 'bold')}:"
    yield from (f"    {number}. {step}" for number, step in enumerate(verdict.next_steps, 1))


def turned(turn: Turn) -> str:
    """An answer that would change the verdict, in words."""
    return f"{turn.question}: {' or '.join(turn.instead)} instead of {turn.answer} would give: {NAMES[turn.approach]}"


def _listed(title: str, lines: tuple[str, ...] | list[str], style: Style) -> Iterator[str]:
    if lines:
        yield f"  {style.paint(title, 'bold')}:"
        yield from (f"    - {line}" for line in lines)


def asked(name: str) -> str:
    """The question behind an answer; the name itself for an optional one."""
    return _ASKS.get(name, name.replace("_", " "))
