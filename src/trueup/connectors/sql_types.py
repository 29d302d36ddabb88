"""What the SQL connectors share about types: the frame form of a column type, and key text to native values and back.

Everything here works on whole Polars columns; nothing talks to a database.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import split_key
from trueup.core.frames import constant, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import ColumnType

DECIMAL_TEXT = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
PLAIN_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
DECIMAL_KEY_TEXT = r"^-?\d+(?:\.\d+)?$"
INTEGER_KEY_TEXT = r"^-?\d{1,19}$"

_DTYPES: dict[ColumnType, pl.DataType] = {
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us", "UTC"),
    "timestamp": pl.Datetime("us"),
    "list": pl.List(pl.String()),
}


def dtype_of(column_type: ColumnType) -> pl.DataType:
    """The Polars type in which a page shows a column: String for everything without a type of its own (decimal, json, time, binary …)."""
    return _DTYPES.get(column_type, pl.String())


def plain_decimal(text: pl.Expr) -> pl.Expr:
    """The same number without exponent, plus sign or trailing zeros: `1.50` -> `1.5`, `-0` -> `0`, `1e3` -> `1000`."""
    unsigned = text.str.strip_prefix("+")
    trimmed = (
        pl.when(unsigned.str.contains(".", literal=True)).then(unsigned.str.strip_chars_end("0").str.strip_suffix(".")).otherwise(unsigned)
    )
    nonzero = pl.when(trimmed.is_in(["-0", "", "-"])).then(pl.lit("0")).otherwise(trimmed)
    return pl.when(text.str.contains("[eE]")).then(expand_exponent(text)).otherwise(nonzero)


def expand_exponent(text: pl.Expr) -> pl.Expr:
    """`1.0e+20` as plain digits; text without an exponent, or that is no number, stays as it is."""
    return text.map_batches(_expand_exponents, return_dtype=pl.String())


def _expand_exponents(column: pl.Series) -> pl.Series:
    if not column.str.contains("[eE]").any():
        return column
    return pl.Series(column.name, [_without_exponent(text) for text in column.to_list()], dtype=pl.String())


def _without_exponent(text: str | None) -> str | None:
    """Plain digits of one number; exponents beyond any sensible column (more than 4 digits) stay, so that no text explodes in length."""
    if text is None or not re.fullmatch(r"[+-]?(?:\d+\.?\d*|\.\d+)[eE][+-]?\d{1,4}", text):
        return text
    mantissa, _, exponent = text.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent)
    if point <= 0:
        digits, point = "0" * (1 - point) + digits, 1
    digits = digits.ljust(point, "0")
    whole, fraction = digits[:point].lstrip("0") or "0", digits[point:].rstrip("0")
    plain = f"{whole}.{fraction}" if fraction else whole
    return plain if plain == "0" else sign + plain


def cell_text(column: pl.Expr, column_type: ColumnType) -> pl.Expr:
    """One column of a page as canonical text: the form of key parts and of cursors. Null stays null."""
    match column_type:
        case "decimal":
            return plain_decimal(column)
        case "datetime" | "timestamp":
            text = column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f").str.strip_chars_end("0").str.strip_suffix(".")
            return text + "Z" if column_type == "datetime" else text
        case "integer" | "float" | "boolean" | "date":
            return column.cast(pl.String())
        case "list":
            return column.list.join(";")
        case _:
            return column


def typed(column: pl.Expr, column_type: ColumnType) -> pl.Expr:
    """Canonical text back to the native value of a column; null where the text is no such value.

    An integer's or decimal's text must be canonical (`7`, not `007`): another spelling names no row.
    """
    match column_type:
        case "integer":
            value = column.cast(pl.Int64(), strict=False)
            return pl.when(value.cast(pl.String()) == column).then(value)
        case "decimal":
            return pl.when(column.str.contains(DECIMAL_KEY_TEXT)).then(column)
        case "float":
            return column.cast(pl.Float64(), strict=False)
        case "boolean":
            return pl.when(column.is_in(["true", "false"])).then(column == "true")
        case "date":
            return column.str.to_date("%Y-%m-%d", strict=False)
        case "datetime":
            return (
                column.str.strip_suffix("Z")
                .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
                .dt.replace_time_zone("UTC")
            )
        case "timestamp":
            return column.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        case _:
            return column


def key_text(parts: Sequence[tuple[str, ColumnType]]) -> pl.Expr:
    """The key text of rows whose key columns are `parts` (name in the frame, type); null where any part is null."""
    texts = [cell_text(pl.col(name), column_type) for name, column_type in parts]
    if len(texts) == 1:
        return texts[0]
    escaped = [text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True) for text in texts]
    return pl.concat_str(escaped, separator="|", ignore_nulls=False)


def key_texts(parts: Sequence[tuple[pl.Series, ColumnType]]) -> pl.Series:
    """As `key_text`, of columns."""
    if len(parts) == 1 and parts[0][1] in _CAST_TO_TEXT:
        return parts[0][0].cast(pl.String()).alias("__key")
    frame = pl.DataFrame({f"k{index}": column for index, (column, _type) in enumerate(parts)})
    named = [(f"k{index}", column_type) for index, (_column, column_type) in enumerate(parts)]
    return frame.select(key_text(named).alias("__key")).to_series()


_CAST_TO_TEXT = frozenset({"integer", "float", "boolean", "date", "text", "other"})


def key_values(keys: pl.Series, types: Sequence[ColumnType]) -> pl.DataFrame:
    """Native key values of key texts: columns `k0`, `k1`, … A text that cannot be such a key has a null part (and so names no row)."""
    if len(types) == 1 and types[0] == "integer":
        numbers = keys.cast(pl.Int64(), strict=False)
        return pl.DataFrame({"k0": numbers.zip_with(sure(numbers.cast(pl.String()) == keys), constant("k0", None, keys.len(), pl.Int64()))})
    if len(types) == 1:
        return pl.DataFrame({"k0": keys}).select(typed(pl.col("k0"), types[0]))
    rows = [_parts(key, len(types)) for key in keys.to_list()]
    schema = {f"k{index}": pl.String() for index in range(len(types))}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.select([typed(pl.col(f"k{index}"), column_type) for index, column_type in enumerate(types)])


def _parts(key: str | None, width: int) -> tuple[str | None, ...]:
    if key is None:
        return (None,) * width
    try:
        return split_key(key, width)
    except ValueError:
        return (None,) * width


def instant_of(text: str) -> datetime | None:
    """The moment that a cursor or a stored ISO text names; naive without a zone, UTC with one; None when it is no such text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment
