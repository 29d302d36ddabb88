"""The recommendation of the checklist on one page of HTML: no other file, no script, readable on a phone and on paper."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from trueup.decide.advice import MEANS, NAMES
from trueup.decide.verdict import given
from trueup.reports.page import page
from trueup.reports.verdict_text import asked, turned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trueup.decide.answers import Answers
    from trueup.decide.verdict import Recommendation, Verdict

_STYLE = """
main { max-width: 48rem; } ul, ol { margin: .2rem 0; padding-left: 1.4rem; } .plain th { border-bottom-width: 1px; }
.verdict { font-size: 1.15rem; } .verdict b { color: #22684a; }
.flag { display: inline-block; border: 1px solid #d8dee8; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem;
  margin: .15rem .2rem .15rem 0; }
"""
_CODE = re.compile(r"`([^`]+)`")


def verdict_page(records: Mapping[str, Answers], found: Recommendation) -> str:
    """The page, whole."""
    body = ["<h1>How to keep these records together</h1>", '<p class="quiet">Six questions, answered for each kind of record.</p>']
    for name, verdict in found.verdicts.items():
        body += _one(name, records[name], verdict)
    if found.mix:
        body.append(f"<h2>Together</h2><p>{escape(found.mix)}</p>")
    return page("How to keep these records together", body, _STYLE)


def verdict_html(name: str, answers: Answers, verdict: Verdict) -> str:
    """What is recommended for one kind of record, as a part of a page on which the answers stand already."""
    return "".join(_one(name, answers, verdict, answered=False))


def _one(name: str, answers: Answers, verdict: Verdict, *, answered: bool = True) -> Iterator[str]:
    yield f"<h2><bdi>{escape(name)}</bdi></h2>"
    yield f'<p class="verdict"><b>{escape(NAMES[verdict.approach].capitalize())}.</b> {escape(MEANS[verdict.approach])}</p>'
    if verdict.flags:
        yield f"<p>{''.join(f'<span class=flag>{escape(flag)}</span>' for flag in verdict.flags)}</p>"
    yield from _list("Because", verdict.reasons)
    if answered:
        yield "<h3>What was answered</h3><table class=plain>"
        for question, answer in given(answers).items():
            yield f'<tr><th scope="row">{escape(asked(question))}</th><td class="t">{escape(answer)}</td></tr>'
        yield "</table>"
    other = verdict.runner_up
    yield f"<h3>Next best: {escape(NAMES[other.approach])}</h3>"
    yield f"<p>Not first: {escape(other.why_not)}. Its price: {escape(other.price)}.</p>"
    yield from _list("Another answer would change this", [turned(turn) for turn in verdict.turns])
    yield from _list("Mind", verdict.risks)
    yield from _list("Now", verdict.next_steps, "ol")


def _list(title: str, lines: Iterable[str], kind: str = "ul") -> Iterator[str]:
    items = "".join(f"<li>{_marked(line)}</li>" for line in lines)
    if items:
        yield f"<h3>{escape(title)}</h3><{kind}>{items}</{kind}>"


def _marked(line: str) -> str:
    """A line as HTML, what stands between backquotes as code."""
    return _CODE.sub(r"<code>\1</code>", escape(line, quote=False))
