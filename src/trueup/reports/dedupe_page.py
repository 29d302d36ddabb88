"""Which records are the same, on one page of HTML: no other file, no script, readable on a phone and on paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trueup.reports.dedupe_text import because
from trueup.reports.page import Safe, apart, page, table
from trueup.reports.table import counted, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.reports.dedupe_facts import Duplicates, Group, Known, Likeness, Question

_STYLE = """
main { max-width: 60rem; } section { margin: 1rem 0 1.6rem; } .for { color: #22684a; } .against { color: #9a3b1f; }
"""


def duplicates_page(found: Duplicates) -> str:
    """The page, whole."""
    title = f"Which {found.entity} records are the same"
    body = [f"<h1>{escape(title)}</h1>", *_head(found)]
    if found.groups:
        body.append(f"<h2>{counted(len(found.groups), 'group')} without asking</h2>")
        body += [part for group in found.groups for part in _group(group)]
    if found.questions:
        body.append(f"<h2>{counted(len(found.questions), 'pair')} for a person</h2>")
        body += [part for question in found.questions for part in _question(question)]
    if not found.groups and not found.questions:
        body.append("<p>No duplicates were found.</p>")
    return page(title, body, _STYLE)


def _head(found: Duplicates) -> Iterator[str]:
    yield f'<p class="quiet">{counted(found.records, "record")} in {escape(", ".join(found.systems))}, '
    yield f"{counted(found.looked_at, 'pair')} compared; without asking from {found.threshold:g} on, asked from {found.review:g} on.</p>"
    if found.compared:
        yield f"<p>Compared by {escape(', '.join(f'{name} ({kind})' for name, kind in found.compared.items()))}.</p>"
    if found.left_out:
        yield f"<p>Not compared: {escape('; '.join(f'{name} {why}' for name, why in found.left_out.items()))}.</p>"
    if found.run is not None:
        yield f"<p>Carried out as run {found.run}.</p>"


def _group(group: Group) -> Iterator[str]:
    yield "<section>"
    yield _records(group.records)
    yield from (_because(pair) for pair in group.pairs)
    for one in group.values:
        instead = ", ".join(apart(show(value)) for value in one.beaten)
        yield f"<p>{escape(one.field)}: <b>{apart(show(one.value))}</b> stands ({escape(one.why)}), not {instead}</p>"
    if group.doubles:
        rows = ", ".join(f"{system}:{key}" for system, key in group.doubles)
        yield f"<p>Left alone and parked, as duplicates there: {escape(rows)}</p>"
    yield "</section>"


def _question(question: Question) -> Iterator[str]:
    yield f"<section>{_records(question.records)}{_because(question.pair)}"
    if question.pair.why:
        yield f"<p>A person is asked because {escape(question.pair.why)}.</p>"
    yield "</section>"


def _records(records: Sequence[Known]) -> str:
    names = [name for name in records[0].values if any(one.values.get(name) is not None for one in records)]
    rows: list[list[str]] = []
    for place, one in enumerate(records):
        keys = ", ".join(f"{system}:{key}" for system, key in one.keys.items())
        cells = [str(one.record), keys, *("" if one.values.get(name) is None else show(one.values[name]) for name in names)]
        rows.append([Safe(f"<b>{apart(text)}</b>") if place == 0 and text else text for text in cells])
    return table("", ["record", "rows", *names], rows, about="the records beside each other, the one that stays first")


def _because(pair: Likeness) -> str:
    kind = "for" if pair.probability >= 0.5 else "against"
    return f'<p class="quiet"><span class="{kind}">{pair.records[0]} and {pair.records[1]}</span>: {escape(because(pair))}</p>'
