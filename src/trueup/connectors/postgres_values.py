"""Values on their way into PostgreSQL: whole columns as text, COPY data, and what a table will have stored of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.clock_texts import date_text, moment_text

if TYPE_CHECKING:
    from trueup.connectors.postgres_tables import PgType
    from trueup.connectors.sql_read import SqlColumn

_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
"""https://www.postgresql.org/docs/current/sql-copy.html, text format."""


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column in the text that PostgreSQL reads back exactly; null stays null."""
    others = [
        _text(pl.col(name), dtype).alias(name) for name, dtype in frame.schema.items() if isinstance(dtype, pl.Date | pl.Datetime | pl.List)
    ]
    made = {column.name: column for column in frame.select(others).get_columns()} if others else {}
    return pl.DataFrame([made[column.name] if column.name in made else column.cast(pl.String()) for column in frame.get_columns()])


def _text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return moment_text(column, " ", "+00" if dtype.time_zone else "", fraction=True)
    if dtype == pl.Date:
        return date_text(column)
    if isinstance(dtype, pl.List):
        item = pl.element().str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
        quoted = column.cast(pl.List(pl.String())).list.eval(pl.lit('"') + item + pl.lit('"')).list.eval(pl.element().fill_null("NULL"))
        return pl.lit("{") + quoted.list.join(",") + pl.lit("}")
    return column.cast(pl.String())


def copy_data(frame: pl.DataFrame) -> bytes:
    r"""A frame of text columns in COPY's text format, where `\\N` is null and nothing else is."""
    # To look through all texts of a column as one is far quicker than to replace what is not there.
    texts = frame.select(pl.col(pl.String()).str.join()).row(0)
    marked = [name for name, text in zip(frame.columns, texts, strict=True) if any(mark in text for mark in _ESCAPED)]
    escaped = frame.with_columns(pl.col(marked).str.replace_many(_ESCAPED)) if marked else frame
    buffer = io.BytesIO()
    escaped.write_csv(buffer, include_header=False, separator="\t", quote_style="never", null_value="\\N")
    return buffer.getvalue()


def kept(column: SqlColumn, pg: PgType, sent: pl.Series) -> pl.Series | None:
    """What a page will show of values that the column stores as they were sent.

    None when that cannot be told from the type alone (rounding, padding, normalising types), so that the database has to be asked.
    """
    if pg.is_domain:
        return None
    if pg.is_enum or (pg.name in {"text", "varchar"}):
        shown = sent.cast(pl.String())
        longest = None if pg.max_length is None else shown.str.len_chars().max()
        return shown if not isinstance(longest, int) or longest <= (pg.max_length or 0) else None
    if pg.name == "uuid":
        plain = sent.str.to_lowercase()
        return plain if plain.str.contains(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$").all() else None
    if pg.name == "numeric":
        return _kept_numeric(pg.scale, sent.cast(pl.String()))
    if pg.name in {"timestamp", "timestamptz"} and pg.typmod >= 0:
        return None
    exact = {"int2", "int4", "int8", "bool", "date", "float8", "timestamp", "timestamptz"}
    return sent.cast(column.dtype) if pg.name in exact else None


def _kept_numeric(scale: int | None, sent: pl.Series) -> pl.Series | None:
    """Plain numbers that no rounding touches, padded to the column's scale as PostgreSQL shows them."""
    if not sent.str.contains(r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$").all():
        return None
    if sent.filter(sent.str.starts_with("-")).str.contains(r"^-[0.]+$").any():
        return None
    if scale is None:
        return sent
    places = (sent.str.len_bytes() - sent.str.find(".", literal=True) - 1).fill_null(0)
    longest = places.max()
    if scale < 0 or (isinstance(longest, int) and longest > scale):
        return None
    if scale == 0:
        return sent
    ends = pl.Series([f".{'0' * scale}", *("0" * (scale - given) for given in range(1, scale + 1))])
    return pl.DataFrame({"sent": sent, "end": ends.gather(places)}).select(pl.concat_str("sent", "end")).to_series()
