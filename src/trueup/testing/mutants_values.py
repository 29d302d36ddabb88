"""Lies about values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.testing.mutants_base import Lie, each_text, lie, native

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.base import Page, WriteBatch
    from trueup.model import ObjectSpec


@lie("text_survives")
class StripsLeadingZeros(Lie):
    """007 becomes 7."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.String)).str.strip_chars_start("0"))


@lie("text_survives")
class TrimsText(Lie):
    """Spaces around text are lost on the way in."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, rows=batch.rows.with_columns(pl.col(native(batch.rows, pl.String)).str.strip_chars()))


@lie("text_survives")
class ComposesText(Lie):
    """Combining characters are composed."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.String)).str.normalize("NFC"))


@lie("long_text_survives")
class CutsText(Lie):
    """Text ends after 255 characters."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, rows=batch.rows.with_columns(pl.col(native(batch.rows, pl.String)).str.slice(0, 255)))


@lie("empty_is_not_null")
class EmptyIsNull(Lie):
    """The empty text is read as null."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.String)).replace("", None))


@lie("null_survives")
class NullIsEmpty(Lie):
    """Null is read as the empty text."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.String)).fill_null(""))


@lie("null_survives")
class NullIsNotWritten(Lie):
    """A column set to null keeps its value."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        if batch.kind != "update" or batch.rows.is_empty():
            return batch
        written = [[name for name in row["__write"] if row[name] is not None] for row in batch.rows.to_dicts()]
        return replace(batch, rows=batch.rows.with_columns(pl.Series("__write", written, dtype=pl.List(pl.String))))


@lie("whole_numbers_survive")
class NumbersOf32Bits(Lie):
    """Whole numbers end at 32 bits."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.Int64)).clip(-(2**31), 2**31 - 1))


@lie("decimals_survive", applies=lambda world: world.traits.decimal_digits > 17)
class DecimalsThroughFloat(Lie):
    """Decimals pass through a float."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return each_text(rows, lambda exact: pl.coalesce(exact.cast(pl.Float64, strict=False).cast(pl.String), exact))


@lie("decimals_survive")
class DecimalsOfTwoPlaces(Lie):
    """Decimals are rounded to two places on the way in."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        two_places = r"^(-?\d+\.\d\d)\d+$"
        return replace(batch, rows=each_text(batch.rows, lambda text: pl.coalesce(text.str.extract(two_places), text)))


@lie("ways_of_reading_agree")
class ListsOtherwise(Lie):
    """A listing shows text with a space at its end, and a read by key shows it without."""

    def read(self, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> Iterator[Page]:
        """See base.Connector."""
        for page in self.inner.read(obj, columns, **how):
            yield page if how.get("keys") is not None else replace(page, rows=each_text(page.rows, lambda text: text + " "))


@lie("floats_survive")
class SingleFloats(Lie):
    """Floats have 32 bits."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.Float64)).cast(pl.Float32).cast(pl.Float64))


@lie("booleans_survive")
class NullIsFalse(Lie):
    """Null is false."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.Boolean)).fill_null(value=False))


def _moved(time: pl.Expr, by: str) -> pl.Expr:
    """Times of this century moved; the others are near the ends of what can be said."""
    return pl.when(time.dt.year().is_between(1950, 2100)).then(time.dt.offset_by(by)).otherwise(time)


@lie("dates_survive")
class DatesMoveADay(Lie):
    """A date of this century is a day early, as after a careless conversion between zones."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(_moved(pl.col(name), "-1d").alias(name) for name in native(rows, pl.Date))


@lie("moments_survive", "wall_clock_readings_survive")
class TimesMoveAnHour(Lie):
    """A time of this century is an hour early."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(_moved(pl.col(name), "-1h").alias(name) for name in native(rows, pl.Datetime))


@lie("lists_survive")
class SortsLists(Lie):
    """The items of a list are sorted."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col(native(rows, pl.List)).list.sort())


@lie("json_survives")
class NullsOfJson(Lie):
    """JSON's own null is the column's."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return each_text(rows, lambda text: text.replace("null", None))


@lie("binary_survives")
class BinaryEndsAtZero(Lie):
    """Binary values end at the first zero byte."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return each_text(rows, lambda text: text.str.replace(r"^((?:..)*?)00.*$", "$1"))


@lie("absent_is_not_null")
class AbsentIsNull(Lie):
    """Nothing is ever absent."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.drop("__absent", strict=False)


@lie("misfits_are_rejects", "null_keys_are_rejects")
class HidesRejects(Lie):
    """What cannot be read is silently left out."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, rejected=()) for page in pages]
