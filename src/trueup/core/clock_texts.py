"""Texts of many dates and times by looking them up: a day has 86,400 seconds, and a column of dates rarely more than some thousand days.

Writing each value out by a format takes four to ten times as long.
"""

from __future__ import annotations

from functools import cache, partial

import polars as pl

_FROM_ROWS = 5_000
"""Below this the format is as quick as making the table of days."""
_MOST_DAYS = 200_000
_DAY_US = 86_400_000_000
_SECOND_US = 1_000_000


def date_text(column: pl.Expr) -> pl.Expr:
    """`2026-11-20` of a Date column; null stays null."""
    return column.map_batches(_dates, return_dtype=pl.String())


def moment_text(column: pl.Expr, between: str, end: str, *, fraction: bool) -> pl.Expr:
    """Date and time of a Datetime column in UTC, or as they stand where it has no zone: `2026-11-20`, `between`, `02:00:00`, `end`.

    Six digits of a fraction stand before `end`; where `fraction` is False, only of the values that have one. Null stays null.
    """
    return column.map_batches(partial(_moments, between=between, end=end, fraction=fraction), return_dtype=pl.String())


def _dates(column: pl.Series) -> pl.Series:
    days = column.to_physical()
    return _by_day(days, "%Y-%m-%d") if _pays(days) else column.dt.strftime("%Y-%m-%d")


def _moments(column: pl.Series, *, between: str, end: str, fraction: bool) -> pl.Series:
    micros = column.dt.cast_time_unit("us").to_physical()
    days = micros // _DAY_US
    whole = None
    if _pays(days):
        within = micros - days * _DAY_US
        seconds = within // _SECOND_US
        if (within == seconds * _SECOND_US).all():
            whole = pl.select(
                pl.concat_str(_by_day(days, f"%Y-%m-%d{between}"), _clock().gather(seconds), pl.lit(f".000000{end}" if fraction else end))
            )
    if whole is not None:
        return whole.to_series().alias(column.name)
    zoned = column.dt.convert_time_zone("UTC") if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone else column
    text = zoned.dt.strftime(f"%Y-%m-%d{between}%H:%M:%S%.6f{end}")
    return text if fraction else text.str.replace(rf"\.000000{end}$", end)


def _pays(days: pl.Series) -> bool:
    low, high = days.min(), days.max()
    return days.len() >= _FROM_ROWS and isinstance(low, int) and isinstance(high, int) and high - low < _MOST_DAYS


def _by_day(days: pl.Series, form: str) -> pl.Series:
    """The text of each day (days since 1970), of which there are few."""
    low, high = days.min(), days.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    texts = pl.int_range(low, high + 1, eager=True, dtype=pl.Int32()).cast(pl.Date()).dt.strftime(form)
    return texts.gather(days - low).alias(days.name)


@cache
def _clock() -> pl.Series:
    """Every second of a day."""
    seconds = pl.int_range(0, 86_400, eager=True, dtype=pl.Int64()) * _SECOND_US
    return seconds.cast(pl.Datetime("us")).dt.strftime("%H:%M:%S")
