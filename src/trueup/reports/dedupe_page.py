"""Which records are the same, on one page of HTML: no other file, no script, readable on a phone and on paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trueup.reports.dedupe_text import because
from trueup.reports.table import counted, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.reports.dedupe_facts import Duplicates, Group, Known, Likeness, Question

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2rem 0 .4rem; border-top: 2px solid #d8dee8; padding-top: 1rem; }
p { margin: .2rem 0; } .quiet { color: #5b6675; } section { margin: 1rem 0 1.6rem; break-inside: avoid; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .3rem 0; min-width: 50%; }
th, td { text-align: start; border-bottom: 1px solid #e8ecf2; padding: .2rem .7rem .2rem 0; vertical-align: top; overflow-wrap: anywhere; }
.stays { font-weight: 600; } .for { color: #22684a; } .against { color: #9a3b1f; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } }
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
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


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
        instead = ", ".join(show(value) for value in one.beaten)
        yield f"<p>{escape(one.field)}: <b>{escape(show(one.value))}</b> stands ({escape(one.why)}), not {escape(instead)}</p>"
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
    head = "".join(f"<th>{escape(name)}</th>" for name in ("record", "rows", *names))
    rows = []
    for place, one in enumerate(records):
        keys = ", ".join(f"{system}:{key}" for system, key in one.keys.items())
        values = ["" if one.values.get(name) is None else show(one.values[name]) for name in names]
        cells = "".join(f"<td><bdi>{escape(text)}</bdi></td>" for text in (str(one.record), keys, *values))
        rows.append(f"<tr{' class=stays' if place == 0 else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _because(pair: Likeness) -> str:
    kind = "for" if pair.probability >= 0.5 else "against"
    return f'<p class="quiet"><span class="{kind}">{pair.records[0]} and {pair.records[1]}</span>: {escape(because(pair))}</p>'
