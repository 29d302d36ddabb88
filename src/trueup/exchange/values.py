"""Values of a package as cells (core/cells.py): their forms, strictly, and their control totals, exactly."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import NULL
from trueup.exchange.statement import COUNTED, ID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trueup.exchange.statement import Column
    from trueup.model import FieldType

_NUMBER = r"-?(?:0|[1-9][0-9]*)"
_FORMS: dict[FieldType, str] = {
    "integer": rf"\A{_NUMBER}\z",
    "reference": rf"\A{_NUMBER}\z",
    "decimal": rf"\A{_NUMBER}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{{1,3}})?\z",
    "float": rf"\A{_NUMBER}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{{1,3}})?\z",
    "boolean": r"\A(?:true|false)\z",
    "date": r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z",
    "datetime": r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z\z",
}
_EXACT = Context(prec=2_000)
"""More digits than a sum of all numbers that there are here can have: it is never rounded."""


def said(cells: pl.Series) -> pl.Series:
    """The values among cells: what is neither absent nor null."""
    return cells.drop_nulls().filter(cells.drop_nulls() != NULL)


def first_bad(cells: pl.Series, kind: FieldType) -> int | None:
    """The place of the first cell that is not written as its type is; None where all are."""
    good = _good(cells, kind)
    return None if good is None else next(iter((~good & cells.is_not_null() & (cells != NULL)).fill_null(value=False).arg_true()), None)


def _good(cells: pl.Series, kind: FieldType) -> pl.Series | None:
    """Which cells are well formed; None where any text is."""
    if kind == "text":
        return None
    if kind in {"list", "json"}:
        return pl.Series([_is_json(text, of_texts=kind == "list") for text in cells.to_list()], dtype=pl.Boolean)
    good = cells.str.contains(_FORMS[kind])
    match kind:
        case "integer" | "reference":
            return good & cells.cast(pl.Int64, strict=False).is_not_null()
        case "date":
            return good & cells.str.to_date("%Y-%m-%d", strict=False).is_not_null()
        case "datetime":
            return good & cells.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False).is_not_null()
        case _:
            return good


def _is_json(text: str | None, *, of_texts: bool) -> bool:
    if text is None or text == NULL:
        return True
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return not of_texts or (isinstance(value, list) and all(isinstance(item, str) for item in value))


class Totals:
    """The control totals of all columns of numbers but the key's, added up part by part."""

    def __init__(self, columns: Iterable[Column]) -> None:
        """All nought."""
        self._sums = {column.name: Decimal(0) for column in columns if column.type in COUNTED and column.name != ID}

    def add(self, rows: pl.DataFrame) -> None:
        """Add the rows, given as cells."""
        with localcontext(_EXACT):
            for name in self._sums:
                self._sums[name] += sum(map(Decimal, said(rows[name]).to_list()), Decimal(0))

    @property
    def texts(self) -> dict[str, str]:
        """By column, as plain decimal text."""
        with localcontext(_EXACT):
            return {name: plain(total) for name, total in self._sums.items()}


def plain(number: Decimal) -> str:
    """A decimal without exponent and without noughts at its end."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def same_number(one: str, other: str) -> bool:
    """Whether two decimal texts are one number."""
    with localcontext(_EXACT):
        return Decimal(one) == Decimal(other)
