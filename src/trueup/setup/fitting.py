"""Which sampled values of a column do not fit the type that a field is to have."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from trueup.setup.kinds import comparable

if TYPE_CHECKING:
    from trueup.setup.kinds import Column

TYPES = ("text", "integer", "decimal", "boolean", "date", "datetime", "list")
"""Types that a field may be given here."""
_INTEGER = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?\d+([.,]\d+)*")
_BOOLEAN = frozenset({"true", "false", "yes", "no", "y", "n", "ja", "nein", "on", "off", "1", "0"})


def unfit(column: Column, type_: str) -> list[str]:
    """The sampled values, each once and as they stand there, that are none of this type."""
    given = dict.fromkeys(text for text in column.texts if text is not None and text.strip())
    return [text for text in given if not _fits(text.strip(), type_, column)]


def _fits(text: str, type_: str, column: Column) -> bool:
    match type_:
        case "integer":
            return _INTEGER.fullmatch(text) is not None
        case "decimal":
            return _DECIMAL.fullmatch(text) is not None
        case "boolean":
            return text.casefold() in _BOOLEAN
        case "date" | "datetime":
            return _is_moment(comparable("date", text, column.format) if type_ == "date" else text, type_)
        case _:
            return True


def _is_moment(text: str, type_: str) -> bool:
    try:
        (date if type_ == "date" else datetime).fromisoformat(text)
    except ValueError:
        return False
    return True
