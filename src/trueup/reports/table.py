"""Tables as text: aligned in any script, one line per row, and the same bytes whenever nobody watches a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from rich.cells import cell_len, set_cell_size

GAP = "  "
WIDEST = 60
"""Cells of a value that are shown where no terminal says how many there are room for."""
NARROWEST = 8
"""A column is not made narrower than this to fit a terminal; the line wraps instead."""

_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_BOLD, _DIM, _RED, _YELLOW, _GREEN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
_COLOURS = {"bold": _BOLD, "dim": _DIM, "bad": _RED, "warn": _YELLOW, "good": _GREEN}


@dataclass(frozen=True, slots=True)
class Style:
    """How to print: `colour` for terminals, `width` cells to fit a table into (None: as wide as it is)."""

    colour: bool = False
    width: int | None = None

    def paint(self, text: str, kind: str) -> str:
        """The text in a colour (`bold`, `dim`, `bad`, `warn`, `good`), or as it is."""
        return f"{_COLOURS[kind]}{text}{_PLAIN}" if self.colour and text else text


PLAIN = Style()


def show(value: Any) -> str:
    """A value for people, on one line: null is ∅, control characters are made visible, so that no value can steer a terminal."""
    match value:
        case None:
            return "∅"
        case bool():
            return "yes" if value else "no"
        case str():
            return visible(value)
        case datetime():
            return moment(value)
        case date() | Decimal() | int() | float():
            return str(value)
        case list() | tuple():
            return "; ".join(show(item) for item in value)
        case Mapping():
            return visible(orjson.dumps(value, default=str).decode())
    return visible(str(value))


def visible(text: str) -> str:
    """The text without line ends and control characters, which become visible signs."""
    if text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    if char == "\n":
        return "⏎"
    if char == "\t":
        return " "
    kind = unicodedata.category(char)
    if kind == "Cf" and char not in _STEERING:
        return char
    return char if kind not in {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"} else f"\\u{ord(char):04x}"


# Signs that turn the direction of what follows: one left open in a value would turn the rest of the line.
_STEERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def moment(value: datetime | None) -> str:
    """A time for people, in UTC and to the second; None is a dash."""
    return "–" if value is None else value.strftime("%Y-%m-%d %H:%M:%SZ")


def second(value: datetime | None) -> str | None:
    """A time for programs, in UTC and to the second; None stays None."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float | None) -> str:
    """A length of time for people: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`; None is a dash."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def clip(text: str, width: int) -> str:
    """At most `width` cells of a text, ended by … where it is longer."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], style: Style = PLAIN, *, indent: str = "", open_end: bool = False) -> str:
    """Rows under a head, columns aligned: numbers to the right, everything else to the left. No rows: the empty text.

    `open_end`: the last column is shown whole, however long; a terminal wraps it.
    """
    if not rows:
        return ""
    cells = [[show(value) if not isinstance(value, str) else visible(value) for value in row] for row in rows]
    right = [all(_is_number(row[number]) for row in rows) and any(row[number] != "" for row in rows) for number in range(len(head))]
    widths = _fit([[cell_len(row[number]) for row in [head, *cells]] for number in range(len(head))], style.width, len(indent))
    if open_end:
        widths[-1] = max(cell_len(row[-1]) for row in [head, *cells])
    lines = [indent + style.paint(_line(head, widths, right, style), "bold")]
    lines += [indent + _line(row, widths, right, style) for row in cells]
    return "\n".join(lines)


def _is_number(value: Any) -> bool:
    return value == "" or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _fit(lengths: Sequence[Sequence[int]], room: int | None, indent: int) -> list[int]:
    """Widths of the columns: as wide as needed, the widest made narrower until the line fits into a terminal."""
    widths = [min(max(column), WIDEST) if room is None else max(column) for column in lengths]
    if room is None:
        return widths
    while indent + sum(widths) + len(GAP) * (len(widths) - 1) > room and max(widths) > NARROWEST:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool], style: Style) -> str:
    parts = []
    for text, width, to_the_right in zip(row, widths, right, strict=True):
        short = clip(text, width)
        room = " " * (width - cell_len(short))
        # An isolate keeps right-to-left text from reordering its neighbours; it has no width, and only a terminal needs it.
        shown = f"{_ISOLATE}{short}{_END_ISOLATE}" if style.colour and _turns(short) else short
        parts.append(room + shown if to_the_right else shown + room)
    return GAP.join(parts).rstrip()


def _turns(text: str) -> bool:
    return not text.isascii() and any(unicodedata.bidirectional(char) in {"R", "AL", "AN"} for char in text)


def all_of(number: int, several: str) -> str:
    """`both systems`, `all 3 systems`."""
    return f"both {several}" if number == 2 else f"all {number:,} {several}"


def counted(number: int, one: str, several: str | None = None) -> str:
    """`1 record`, `1,042 records`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
