"""Dates and times by table read exactly as by the format, whatever the column."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.core.clock_texts import date_text, moment_text

MANY = 6_000
FIRST, LAST = datetime.fromisoformat("1677-10-01"), datetime.fromisoformat("2262-01-01")
"""What fits into nanoseconds."""


def of(column: pl.Series, text: pl.Expr) -> list[str | None]:
    return column.to_frame("t").select(text.alias("t")).to_series().to_list()


@given(st.lists(st.dates(), min_size=1, max_size=20), st.booleans())
def test_dates(days: list[date], some_missing: bool) -> None:
    told: list[date | None] = [*days, None] if some_missing else list(days)
    column = pl.Series("t", (told * MANY)[:MANY], dtype=pl.Date)
    assert of(column, date_text(pl.col("t"))) == of(column, pl.col("t").dt.strftime("%Y-%m-%d"))


@given(
    st.lists(st.datetimes(min_value=FIRST, max_value=LAST), min_size=1, max_size=10),
    st.sampled_from(["ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Europe/Berlin"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=settings().max_examples // 2)
def test_moments(moments: list[datetime], unit: Literal["ms", "us", "ns"], zone: str | None, plain: bool, fraction: bool) -> None:
    told = [moment.replace(microsecond=0) for moment in moments] if plain else moments
    naive = pl.Series("t", (told * MANY)[:MANY], dtype=pl.Datetime("us")).dt.cast_time_unit(unit)
    column = naive if zone is None else naive.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    texts = of(column, moment_text(pl.col("t"), "T", "Z", fraction=fraction))
    formatted = of(naive, pl.col("t").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    assert texts == [text if fraction or text is None else text.replace(".000000Z", "Z") for text in formatted]


@pytest.mark.parametrize("rows", [0, 1, MANY])
def test_nothing_stays_nothing(rows: int) -> None:
    assert of(pl.Series("t", [None] * rows, dtype=pl.Date), date_text(pl.col("t"))) == [None] * rows
    moments = pl.Series("t", [None] * rows, dtype=pl.Datetime("us", "UTC"))
    assert of(moments, moment_text(pl.col("t"), " ", "", fraction=False)) == [None] * rows


def test_before_1970_and_the_last_second_of_a_day() -> None:
    moments = [datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC) - timedelta(days=day) for day in range(MANY)]
    column = pl.Series("t", moments, dtype=pl.Datetime("us", "UTC"))
    texts = of(column, moment_text(pl.col("t"), " ", "+00", fraction=True))
    assert texts[:2] == [
        "1969-12-31 23:59:59.000000+00",
        "1969-12-30 23:59:59.000000+00",
    ]
