"""What a field's values must satisfy: required, pattern, min, max, one_of.

`unique` needs all records, so it is checked where they are.

`min` and `max` compare numbers, dates and times; of a text they limit the number of characters, of a list the number of items. Nothing
but `required` looks at a value that is not there: absent, null, or an empty text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.cells import NULL, cell_from_python, from_cells
from trueup.core.types import Target, coerce_value, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.model import Field

_NOTHING = (NULL, "", "[]")
_COUNTED = frozenset({"text", "list"})
_ORDERED = frozenset({"integer", "decimal", "float", "date", "datetime"})


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of one field. `failing` is true where a cell breaks it; `rule` says it in words that follow the value."""

    field: str
    failing: pl.Expr
    rule: str
    shows_value: bool = True

    def reason(self, cell: str) -> str:
        """What is wrong with this cell, for people."""
        return f"{self.field}: {show(cell)} {self.rule}" if self.shows_value else f"{self.field} {self.rule}"


def field_checks(field: Field) -> list[Check]:
    """All checks of a field. Raises ValueError with a reason where one of them makes no sense."""
    cell = pl.col(field.name)
    checks = []
    if field.required:
        checks.append(Check(field.name, cell.is_in(_NOTHING), "is required, but empty", shows_value=False))
    there = cell.is_not_null() & ~cell.is_in(_NOTHING)
    if field.pattern is not None:
        checks.append(Check(field.name, there & ~_full_match(cell, field.pattern), f"does not match the pattern {field.pattern}"))
    for limit, smaller, word in ((field.minimum, True, "below the minimum"), (field.maximum, False, "above the maximum")):
        if limit is not None:
            checks.append(_limit(field, cell, there, limit, smaller=smaller, word=word))
    if field.one_of:
        checks.append(Check(field.name, there & ~_among(field, cell), f"is not one of {', '.join(map(str, field.one_of))}"))
    return checks


_NOTHING_BROKEN = pl.DataFrame(schema={"row": pl.UInt32, "field": pl.String, "reason": pl.String})


def check_cells(frame: pl.DataFrame, checks: Sequence[Check]) -> pl.DataFrame:
    """The broken rules of a frame of cells: row UInt32, field, reason; empty when all is well."""
    if not checks or frame.is_empty():
        return _NOTHING_BROKEN.clone()
    found = frame.select([check.failing.any().alias(str(number)) for number, check in enumerate(checks)]).row(0)
    broken = []
    for check, any_fails in zip(checks, found, strict=True):
        if any_fails:
            rows = frame.select(check.failing.fill_null(value=False)).to_series().arg_true()
            cells = frame[check.field].gather(rows)
            reasons = pl.Series([check.reason(cell) for cell in cells], dtype=pl.String)
            broken.append(pl.DataFrame({"row": rows.cast(pl.UInt32), "field": [check.field] * len(rows), "reason": reasons}))
    return pl.concat(broken) if broken else _NOTHING_BROKEN.clone()


def _limit(field: Field, cell: pl.Expr, there: pl.Expr, limit: Any, *, smaller: bool, word: str) -> Check:
    if field.type in _COUNTED:
        value: Any = coerce_value(limit, Target("integer"))
        size = cell.str.len_chars() if field.type == "text" else from_cells(cell, field).list.len()
        unit = "characters" if field.type == "text" else "items"
        return Check(field.name, there & (size < value if smaller else size > value), f"is {word} of {limit} {unit}")
    if field.type not in _ORDERED:
        message = f"min and max mean nothing for a {field.type} field"
        raise ValueError(message)
    value = pl.lit(coerce_value(limit, Target(field.type, scale=field.scale)), dtype=Target(field.type, scale=field.scale).dtype)
    typed = from_cells(cell, field)
    return Check(field.name, there & (typed < value if smaller else typed > value), f"is {word} of {limit}")


def _among(field: Field, cell: pl.Expr) -> pl.Expr:
    if field.type == "list":
        outside = ~pl.element().is_in([str(item) for item in field.one_of])
        return ~from_cells(cell, field).list.eval(outside).list.any()
    return cell.is_in([cell_from_python(value, field) for value in field.one_of])


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[pl.Expr], pl.Expr]:
    whole = rf"\A(?:{pattern})\z"
    try:
        pl.select(pl.lit("").str.contains(whole))
    except pl.exceptions.PolarsError:
        pass
    else:
        return lambda cell: cell.str.contains(whole)
    try:
        compiled = re.compile(pattern)  # looks ahead or behind, which the fast engine does not
    except re.error as error:
        message = f"the pattern {pattern!r} cannot be read: {error}"
        raise ValueError(message) from None
    return lambda cell: cell.map_elements(lambda text: compiled.fullmatch(text) is not None, return_dtype=pl.Boolean)


def _full_match(cell: pl.Expr, pattern: str) -> pl.Expr:
    return _matcher(pattern)(cell)
