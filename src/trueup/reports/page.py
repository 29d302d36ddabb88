"""What the pages of HTML have in common: one file, no script, readable on a phone and on paper; tables, and small plots as SVG.

On a phone the rows of a table become cards. Words are broken only where they are too long for their column, dates and times never.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from trueup.reports.table import show, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = """
:root { color-scheme: light; font-size: 15px; } * { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; margin: 0; }
main { display: block; max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2rem 0 .3rem; border-top: 2px solid #d8dee8; padding-top: 1rem; }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .4rem; }
p { margin: .3rem 0; } p, li, h1, h2, h3, footer { overflow-wrap: anywhere; } .quiet { color: #5b6675; } .warn { color: #9a3412; }
.numbers { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.number { border: 1px solid #d8dee8; border-radius: .5rem; padding: .6rem 1rem; min-width: 8.5rem; }
.number b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.number span { color: #5b6675; font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: start; border-bottom: 2px solid #d8dee8; padding: .3rem .6rem; vertical-align: bottom; }
td, tbody th { border-bottom: 1px solid #e8ecf2; padding: .3rem .6rem; vertical-align: top; font-weight: inherit; }
.n { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
.x { overflow-wrap: anywhere; min-width: 7rem; } .t { white-space: nowrap; }
.bar { display: inline-block; width: 5rem; height: .6rem; background: #f3d6cd; border-radius: .3rem; overflow: hidden;
  margin-right: .5rem; }
.bar i { display: block; height: 100%; background: #3a7d5d; }
code { font: inherit; background: #f2f4f8; border-radius: .2rem; padding: 0 .25rem; white-space: pre-wrap; overflow-wrap: anywhere; }
svg { display: block; }
@media screen and (max-width: 40rem) {
  main { padding: 1rem; } h1 { font-size: 1.4rem; } .numbers { gap: .5rem; margin: .7rem 0; }
  .number { flex: 1 1 8rem; min-width: 0; padding: .4rem .7rem; } .number b { font-size: 1.3rem; }
  .cards, .cards tbody { display: block; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .cards tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .35rem .9rem;
    border: 1px solid #d8dee8; border-radius: .4rem; margin: .5rem 0; padding: .45rem .7rem; }
  .cards td { display: block; border: 0; padding: 0; text-align: start; min-width: 0; overflow-wrap: anywhere; }
  .cards td.l { grid-column: 1 / -1; } .cards td:empty { display: none; }
  .cards td::before { content: attr(data-h); display: block; color: #5b6675; font-size: .78rem; line-height: 1.3; }
}
@page { margin: 14mm; }
@media print {
  :root { font-size: 11px; } body { line-height: 1.35; } main { max-width: none; padding: 0; } h2 { margin-top: 1rem; padding-top: .5rem; }
  .numbers { gap: .4rem; } .number { padding: .3rem .6rem; min-width: 6rem; } .scroll { overflow: visible; }
  th, td { padding: .2rem .4rem; } td svg { width: 6rem; height: auto; }
  tr, li, figure, section, .number { break-inside: avoid; } h1, h2, h3 { break-after: avoid; } thead { display: table-header-group; }
  .bar, .bar i, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } a { color: inherit; text-decoration: none; }
}
"""
_TAG = re.compile(r"<[^>]*>")
_MOMENT = re.compile(r"(?<![\w-])(\d{4}-\d\d-\d\d|\d\d:\d\d:\d\dZ?)(?![\w-])")
_NUMBER = re.compile(r"[\d,]+")
_LONG = 26
"""From so many characters on, a value has a line of its own on a card."""
_LINE = 100
"""So many characters fit beside each other on paper; what a word may have is its column's share of it."""
_SHORTEST = 10


class Safe(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """A page, whole. `style` is what this page has of its own."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def numbers(boxes: Iterable[tuple[str, str]]) -> str:
    """Figures in boxes, each with what it counts."""
    inside = "".join(f'<div class="number"><b>{escape(value)}</b><span>{escape(label)}</span></div>' for value, label in boxes)
    return f'<div class="numbers">{inside}</div>'


def value(given: Any) -> Safe:
    """A value of a record, which may run from right to left."""
    return Safe("<i>empty</i>" if given is None else f"<bdi><code>{escape(show(given))}</code></bdi>")


def apart(text: str) -> Safe:
    """A text as HTML that keeps its direction to itself."""
    return Safe(f"<bdi>{escape(text)}</bdi>")


def lines(items: Iterable[str]) -> Safe:
    """Several texts that are HTML already, one per line."""
    return Safe("<br>".join(items))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], total: int | None = None, *, about: str = "") -> str:
    """A table under a heading; nothing where there are no rows. Columns of numbers stand to the right.

    `total` is how many rows there are in all, where not all of them are shown; `about` names a table without a heading.
    """
    if not rows:
        return ""
    numeric = [_is_numeric([row[number] for row in rows]) for number in range(len(head))]
    longest = max(_SHORTEST, _LINE // len(head))
    heads = "".join(
        f'<th scope="col" role="columnheader"{" class=n" if right else ""}>{escape(name)}</th>'
        for name, right in zip(head, numeric, strict=True)
    )
    inside = "".join(
        '<tr role="row">' + "".join(_cell(name, given, longest) for name, given in zip(head, row, strict=True)) + "</tr>" for row in rows
    )
    said = f"<h3>{escape(title)}</h3>\n" if title else ""
    more = f'<p class="quiet">… and {total - len(rows):,} more.</p>' if total is not None and total > len(rows) else ""
    return (
        f'{said}<div class="scroll" role="group" tabindex="0" aria-label="{escape(title or about or "table", quote=True)}">'
        f'<table class="cards" role="table"><thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{inside}</tbody></table></div>{more}'
    )


def _cell(name: str, given: Any, longest: int) -> str:
    label = f' role="cell" data-h="{escape(name, quote=True)}"'
    if given is None or given == "":
        return f"<td{label}></td>"
    if isinstance(given, int) and not isinstance(given, bool):
        return f'<td class="n"{label}>{given:,}</td>'
    html = given if isinstance(given, Safe) else f"<bdi>{escape(visible(given) if isinstance(given, str) else show(given))}</bdi>"
    plain = _TAG.sub(" ", html.replace("<br>", "\n"))
    if _NUMBER.fullmatch(plain.strip()) and isinstance(given, Safe):
        return f'<td class="n"{label}>{html}</td>'
    kinds = ["x"] if any(len(word) > longest for word in plain.split()) else ["t"] if len(plain.strip()) <= _SHORTEST else []
    kinds += ["l"] if len(plain.strip()) > _LONG or "\n" in plain.strip() or "<svg" in html else []
    return f"<td{_class(kinds)}{label}>{_unbroken(html)}</td>"


def _is_numeric(given: Sequence[Any]) -> bool:
    """Whether a column holds numbers and nothing else; marked ones, which are HTML, are numbers too."""
    there = [one for one in given if one is not None and one != ""]
    return bool(there) and all(isinstance(one, int) or (isinstance(one, Safe) and _NUMBER.fullmatch(_TAG.sub("", one))) for one in there)


def _class(kinds: Sequence[str]) -> str:
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _unbroken(html: str) -> str:
    """Dates and times that are not broken at their hyphens; what stands inside of tags is left alone."""
    parts = re.split(r"(<[^>]*>)", html)
    return "".join(part if part.startswith("<") else _MOMENT.sub(r'<span class="t">\1</span>', part) for part in parts)


# ---------------------------------------------------------------- small plots

_WIDTH, _HEIGHT = 120, 26
_COLOURS = ("#3a7d5d", "#c9803a", "#e3e7ee")


def histogram(counts: Sequence[int], said: str) -> Safe:
    """Bars of equal width, the highest as high as the plot; `said` describes it to those who do not see it."""
    most = max(counts, default=0)
    if not most:
        return Safe("")
    step = _WIDTH / len(counts)
    bars = ""
    for number, count in enumerate(counts):
        if count:
            high = max(1.0, _HEIGHT * count / most)
            bars += f'<rect x="{number * step:.1f}" y="{_HEIGHT - high:.1f}" width="{step - 0.6:.1f}" height="{high:.1f}"/>'
    return _svg(f'<g fill="{_COLOURS[0]}">{bars}</g>', said, _HEIGHT)


def shares(counts: Sequence[int], said: str) -> Safe:
    """One bar in parts, first what is good, then what is doubtful, then what is missing."""
    every = sum(counts)
    if not every:
        return Safe("")
    parts, at = [], 0.0
    for count, colour in zip(counts, _COLOURS, strict=True):
        width = _WIDTH * count / every
        if count:
            parts.append(f'<rect x="{at:.1f}" y="0" width="{max(width, 0.8):.1f}" height="10" fill="{colour}"/>')
        at += width
    return _svg("".join(parts), said, 10)


def _svg(inside: str, said: str, height: int) -> Safe:
    label = escape(said, quote=True)
    return Safe(
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
        f"<title>{escape(said)}</title>{inside}</svg>"
    )
