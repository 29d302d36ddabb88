"""How numbers and days are spread, and which of them are far out.

A value is far out where it lies more than three times the middle half's width beyond that half (Tukey's outer fences), and its distance
from the median is more than 3.5 times what the median of all distances would make one expect (Iglewicz and Hoaglin, How to Detect and
Handle Outliers, 1993). Both stand firm however wild the outliers are. Where the middle half is all the same, no value is called far out.
"""

from __future__ import annotations

import math
import sys
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.reports.profile_facts import SAMPLES, Spread

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTHS = 3.0
DISTANCES = 3.5
NORMAL = 0.6745
"""The median of distances of a normal distribution, in standard deviations."""
BINS = 20
FEWEST = 20
"""Of fewer values, none is called far out."""
_EPOCH = date(1970, 1, 1)


def spread_of(values: pl.Series) -> Spread | None:
    """The spread of finite numbers; None where there are none."""
    numbers = values.cast(pl.Float64, strict=False).drop_nulls()
    return _spread(numbers.filter(numbers.is_finite()), _plain)


def spread_of_days(values: pl.Series) -> Spread | None:
    """The spread of dates, as ISO texts."""
    days = values.cast(pl.Date, strict=False).drop_nulls()
    return _spread(days.cast(pl.Int32).cast(pl.Float64), _day)


def _plain(value: float) -> float | int:
    value = max(-sys.float_info.max, min(value, sys.float_info.max))  # what is made of the largest numbers may be beyond them
    return int(value) if value == int(value) and abs(value) < 2**53 else float(f"{value:.6g}")


def _day(value: float) -> str:
    try:
        return (_EPOCH + timedelta(days=round(value))).isoformat()
    except OverflowError:
        return "0001-01-01" if value < 0 else "9999-12-31"


def _spread(numbers: pl.Series, said: Callable[[float], Any]) -> Spread | None:
    if numbers.is_empty():
        return None
    frame = numbers.alias("n").to_frame()
    number = pl.col("n")
    at = frame.select(
        least=number.min(), quarter=number.quantile(0.25, "linear"), median=number.median(), upper=number.quantile(0.75, "linear"),
        most=number.max(), mean=(number / pl.len()).sum(),
    ).row(0, named=True)  # fmt: skip
    width = at["upper"] - at["quarter"]
    low, high = (at["quarter"] - WIDTHS * width, at["upper"] + WIDTHS * width) if width > 0 and numbers.len() >= FEWEST else (None, None)
    out = frame.clear()["n"]
    if low is not None:
        distance = (number - at["median"]).abs()
        usual = frame.select(distance.median()).item()
        far = ((number < low) | (number > high)) & ((NORMAL * distance > DISTANCES * usual) if usual > 0 else pl.lit(value=True))
        out = frame.filter(far)["n"]
    begin = max(at["least"], low) if low is not None else at["least"]
    end = min(at["most"], high) if high is not None else at["most"]
    return Spread(
        least=said(at["least"]),
        quarter=said(at["quarter"]),
        median=said(at["median"]),
        three_quarters=said(at["upper"]),
        most=said(at["most"]),
        mean=_plain(at["mean"]) if said is _plain else None,
        low=None if low is None else said(low),
        high=None if high is None else said(high),
        outliers=out.len(),
        outlier_samples=tuple(said(value) for value in _ends(out)),
        bins=_bins(numbers, begin, end),
        bins_from=said(begin),
        bins_to=said(end),
    )


def _ends(out: pl.Series) -> list[float]:
    """The most extreme of them, from below and from above."""
    distinct = out.unique().sort().to_list()
    return distinct if len(distinct) <= SAMPLES else [*distinct[:2], *distinct[-(SAMPLES - 2) :]]


def _bins(numbers: pl.Series, begin: float, end: float) -> tuple[int, ...]:
    """How many lie in each of equally wide steps; what is far out is in none."""
    if end - begin < sys.float_info.min:
        return ()
    inside = numbers.filter((numbers >= begin) & (numbers <= end))
    part = 1.0 if math.isfinite(end - begin) else 0.5  # the whole distance may be beyond the largest number
    steps = ((inside * part - begin * part) / (end * part - begin * part) * BINS).floor().clip(0, BINS - 1).cast(pl.Int64)
    counts = dict(steps.alias("n").value_counts().iter_rows())
    return tuple(int(counts.get(step, 0)) for step in range(BINS))
