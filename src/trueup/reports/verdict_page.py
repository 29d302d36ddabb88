"""The recommendation of the checklist on one page of HTML: no other file, no script, readable on a phone and on paper."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from trueup.decide.advice import MEANS, NAMES
from trueup.decide.verdict import given
from trueup.reports.verdict_text import asked, turned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trueup.decide.answers import Answers
    from trueup.decide.verdict import Recommendation, Verdict

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 48rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2rem 0 .2rem; border-top: 2px solid #d8dee8; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1rem 0 .2rem; }
p, ul, ol { margin: .2rem 0; } ul, ol { padding-left: 1.4rem; } .quiet { color: #5b6675; }
.verdict { font-size: 1.15rem; } .verdict b { color: #22684a; }
.flag { display: inline-block; border: 1px solid #d8dee8; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem;
  margin: .15rem .2rem .15rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .4rem 0; }
td { border-bottom: 1px solid #e8ecf2; padding: .2rem .5rem .2rem 0; vertical-align: top; overflow-wrap: anywhere; }
code { font: inherit; background: #f2f4f8; border-radius: .2rem; padding: 0 .25rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; line-height: 1.35; } h2 { margin-top: 1rem; padding-top: .5rem; }
  h3, tr, li { break-inside: avoid; } }
"""
_CODE = re.compile(r"`([^`]+)`")


def verdict_page(records: Mapping[str, Answers], found: Recommendation) -> str:
    """The page, whole."""
    body = ["<h1>How to keep these records together</h1>", '<p class="quiet">Six questions, answered for each kind of record.</p>']
    for name, verdict in found.verdicts.items():
        body += _one(name, records[name], verdict)
    if found.mix:
        body.append(f"<h2>Together</h2><p>{escape(found.mix)}</p>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>How to keep these records together</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _one(name: str, answers: Answers, verdict: Verdict) -> Iterator[str]:
    yield f"<h2>{escape(name)}</h2>"
    yield f'<p class="verdict"><b>{escape(NAMES[verdict.approach].capitalize())}.</b> {escape(MEANS[verdict.approach])}</p>'
    if verdict.flags:
        yield f"<p>{''.join(f'<span class=flag>{escape(flag)}</span>' for flag in verdict.flags)}</p>"
    yield from _list("Because", verdict.reasons)
    yield "<h3>What was answered</h3><table>"
    yield from (f"<tr><td>{escape(asked(question))}</td><td>{escape(answer)}</td></tr>" for question, answer in given(answers).items())
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
