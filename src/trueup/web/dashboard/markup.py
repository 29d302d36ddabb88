"""Pieces of HTML for the pages. Whatever comes from a system or a person is escaped here, shortened, and keeps its direction to itself."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trueup.reports.page import Safe
from trueup.reports.page import table as _table
from trueup.reports.table import show, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

LONGEST = 300
"""So many characters of a value are shown."""
EMPTY = Safe('<i class="quiet">no value</i>')


def words(said: str) -> Safe:
    """A sentence of ours, in which names of others may stand."""
    return Safe(f"<bdi>{escape(visible(said))}</bdi>")


def value(given: Any) -> Safe:
    """A value of a record."""
    if given is None:
        return EMPTY
    if given == "":
        return Safe('<i class="quiet">empty text</i>')
    text = show(given[: LONGEST + 1] if isinstance(given, str) else given)
    if len(text) <= LONGEST:
        return Safe(f"<bdi><code>{escape(text)}</code></bdi>")
    length = len(given) if isinstance(given, str) else len(text)
    return Safe(f'<bdi><code>{escape(text[:LONGEST])}</code></bdi> <span class="quiet">… {number(length)} characters</span>')


def number(given: int) -> Safe:
    """A whole number, which the browser shows as its reader writes numbers."""
    return Safe(f'<data value="{given}">{given:,}</data>')


def counted(given: int, one: str, several: str | None = None) -> Safe:
    """`1 record`, `1,042 records`."""
    return Safe(f"{number(given)} {escape(one if given == 1 else several or one + 's')}")


def when(given: datetime | None) -> Safe:
    """A moment, which the browser shows in its reader's own zone and manner; None is a dash."""
    if given is None:
        return Safe("–")
    return Safe(f'<time datetime="{given:%Y-%m-%dT%H:%M:%SZ}">{given:%Y-%m-%d %H:%M} UTC</time>')


def link(label: str, *path: object) -> Safe:
    """A link to one of our pages, by the parts of its path."""
    place = "/" + "/".join(quote(str(part), safe="") for part in path)
    return Safe(f'<a href="{escape(place, quote=True)}">{label if isinstance(label, Safe) else escape(visible(label))}</a>')


def pill(said: str, kind: str = "") -> Safe:
    """A word that tells a state; `kind` good, warn or bad."""
    return Safe(f'<span class="pill {kind}">{escape(said)}</span>')


def quiet(said: str) -> Safe:
    """Words of less weight."""
    return Safe(f'<span class="quiet">{said if isinstance(said, Safe) else escape(said)}</span>')


def joined(parts: Iterable[str], between: str = " ") -> Safe:
    """Pieces beside each other; those that are no HTML are escaped."""
    return Safe(between.join(part if isinstance(part, Safe) else escape(part) for part in parts if part))


def title(said: str, *more: str) -> str:
    """The heading of a page, and what stands beside it."""
    return f'<div class="title"><h1 tabindex="-1">{said if isinstance(said, Safe) else escape(visible(said))}</h1>{joined(more)}</div>'


def section(head: str, *body: str) -> str:
    """A part of a page under its heading."""
    return f"<section><h2>{escape(head)}</h2>{''.join(body)}</section>"


def table(about: str, head: Sequence[str], rows: Sequence[Sequence[Any]], none: str = "") -> str:
    """A table, cards on a phone; where it has no rows, the words for that."""
    return _table("", head, rows, about=about) if rows else f'<p class="quiet">{escape(none)}</p>'


def figures(boxes: Iterable[tuple[str, str]]) -> str:
    """Figures with what each counts."""
    inside = "".join(f'<div class="number"><b>{given}</b><span>{escape(label)}</span></div>' for given, label in boxes)
    return f'<div class="numbers">{inside}</div>'
