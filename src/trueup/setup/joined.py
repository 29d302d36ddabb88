"""A name that one system keeps in two columns and another one in one: both columns together, as a column that can be compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trueup.model import ColumnInfo
from trueup.setup import words
from trueup.setup.kinds import Column, column_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MEANING = "name"
"""What both together stand for."""
_PARTS = ("first name", "last name")
_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def joined(columns: Mapping[str, Column], about: tuple[str, ...]) -> Column | None:
    """First and last name together, None where an object has no such two columns. `about` are the words for what it holds."""
    found: list[Column] = []
    for part in _PARTS:
        named = [column for column in columns.values() if column.kind == "text" and words.meaning(column.name, about) == part]
        if len(named) != 1:
            return None
        found += named
    first, last = found
    texts = [
        None if one is None and other is None else " ".join(text.strip() for text in (one, other) if text is not None)
        for one, other in zip(first.texts, last.texts, strict=True)
    ]
    return column_of(ColumnInfo(name=f"{first.name} + {last.name}", type="text"), texts, parts=(first.name, last.name))


def reading(parts: tuple[str, ...]) -> str:
    """The expression that makes one text of two columns."""
    return f"concat_ws(' ', {', '.join(_named(part) for part in parts)})"


def writing(field: str, parts: tuple[str, ...]) -> dict[str, str]:
    """Per column, the expression that takes its part out of the field: all but the first word is the last name."""
    first, last = parts
    name = _named(field)
    return {
        first: f"split_part({name}, ' ', 1)",
        last: f"CASE WHEN strpos({name}, ' ') > 0 THEN substr({name}, strpos({name}, ' ') + 1) END",
    }


def _named(column: str) -> str:
    """A column as an expression names it."""
    return column if _PLAIN.fullmatch(column) else '"' + column.replace('"', '""') + '"'
