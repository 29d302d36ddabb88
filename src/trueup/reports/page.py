"""What the pages of HTML have in common: one file, no script, readable on a phone and on paper; tables, and small plots as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trueup.reports.table import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 68rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .25rem; border-top: 2px solid #d8dee8; padding-top: 1.25rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; } .quiet { color: #5b6675; } .warn { color: #9a3412; }
.numbers { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.number { border: 1px solid #d8dee8; border-radius: .5rem; padding: .6rem 1rem; min-width: 8.5rem; }
.number b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.number span { color: #5b6675; font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; border-bottom: 2px solid #d8dee8; padding: .3rem .6rem; vertical-align: bottom; }
td { border-bottom: 1px solid #e8ecf2; padding: .3rem .6rem; vertical-align: top; overflow-wrap: anywhere; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: inline-block; width: 5rem; height: .6rem; background: #f3d6cd; border-radius: .3rem; overflow: hidden;
  margin-right: .5rem; }
.bar i { display: block; height: 100%; background: #3a7d5d; }
code { font: inherit; background: #f2f4f8; border-radius: .2rem; padding: 0 .25rem; white-space: pre-wrap; }
svg { display: block; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-before: page; } h2.first { break-before: auto; }
  tr { break-inside: avoid; }
  .bar, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


class Safe(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(title: str, body: Iterable[str]) -> str:
    """A page, whole."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def numbers(boxes: Iterable[tuple[str, str]]) -> str:
    """Figures in boxes, each with what it counts."""
    inside = "".join(f'<div class="number"><b>{escape(value)}</b><span>{escape(label)}</span></div>' for value, label in boxes)
    return f'<div class="numbers">{inside}</div>'


def value(given: Any) -> Safe:
    """A value of a record."""
    return Safe("<i>empty</i>" if given is None else f"<code>{escape(show(given))}</code>")


def lines(items: Iterable[str]) -> Safe:
    """Several texts that are HTML already, one per line."""
    return Safe("<br>".join(items))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table under a heading; nothing where there are no rows. Columns of numbers stand to the right."""
    if not rows:
        return ""
    numeric = [all(isinstance(row[number], int) for row in rows) for number in range(len(head))]
    heads = "".join(f"<th{' class=n' if right else ''}>{escape(name)}</th>" for name, right in zip(head, numeric, strict=True))
    inside = "".join(
        "<tr>" + "".join(_cell(given, right=right) for given, right in zip(row, numeric, strict=True)) + "</tr>" for row in rows
    )
    said = f"<h3>{escape(title)}</h3>\n" if title else ""
    return f'{said}<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{inside}</tbody></table></div>'


def _cell(given: Any, *, right: bool) -> str:
    if isinstance(given, Safe):
        return f"<td>{given}</td>"
    if isinstance(given, int):
        return f"<td{' class=n' if right else ''}>{given:,}</td>"
    return f"<td>{escape(show(given))}</td>"


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
