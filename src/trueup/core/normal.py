"""Normal forms: whether a value that a system shows may be what it made of a value that it was given.

Systems cut, round, re-case, trim and re-format what they store. Where the write itself told the stored row, this is not asked; it decides
only where the answer was lost, or where a system never tells. A different value that a person typed is hardly ever of this kind.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from trueup.core.cells import NULL

if TYPE_CHECKING:
    from trueup.model import FieldType

_NUMBERS: frozenset[FieldType] = frozenset({"integer", "decimal", "float"})
_SECOND_S = 1.0


def may_be_stored_as(given: str | None, shown: str | None, kind: FieldType) -> bool:
    """Whether `shown` is the cell `given` itself, or cut, rounded, re-cased, trimmed or otherwise formatted."""
    if given == shown:
        return True
    if given is None or shown is None:
        return False
    if NULL in (given, shown):
        return given in ("", "[]") or shown in ("", "[]")
    try:
        if kind in _NUMBERS:
            return _rounded(Decimal(given), Decimal(shown))
        if kind == "datetime":
            return abs((datetime.fromisoformat(given) - datetime.fromisoformat(shown)).total_seconds()) < _SECOND_S
    except (ValueError, InvalidOperation):  # a cell of before the field had this type
        return False
    return kind == "text" and _reformatted(given, shown)


def _rounded(given: Decimal, shown: Decimal) -> bool:
    """Whether a number was rounded or cut to the places of `shown`."""
    places, before = int(shown.as_tuple().exponent), int(given.as_tuple().exponent)
    return places > before and abs(given - shown) < Decimal(1).scaleb(places)


def _reformatted(given: str, shown: str) -> bool:
    """Whether only case, spaces and punctuation differ, or the end is missing."""
    before, after = letters(given), letters(shown)
    return before == after or (bool(after) and before.startswith(after) and len(shown) < len(given))


def letters(text: str) -> str:
    """The letters and digits of a text, without regard to case."""
    return "".join(char for char in text.casefold() if char.isalnum())
