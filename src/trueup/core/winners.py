"""Winners: of several values for one field of one record, the one that the field's rule prefers."""

from __future__ import annotations

import polars as pl

from trueup.core.cells import AT, GID, NULL
from trueup.core.combine import sort_keys
from trueup.core.frames import keep

LONG_AGO = pl.datetime(1, 1, 1, time_unit="us", time_zone="UTC")
RECORD_FIELD = [GID, "field"]


def only_ones(candidates: pl.DataFrame) -> pl.DataFrame:
    """Those that stand alone for their field: there is nothing to settle."""
    if candidates.height == 1:
        return candidates
    return keep(candidates, ~candidates.select(pl.struct(RECORD_FIELD).is_duplicated()).to_series()).sort(RECORD_FIELD)


def winners(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row per (record, field): the candidate that its rule prefers; ties by precedence, then by value."""
    rule = pl.col("conflict")
    time = pl.col(AT).fill_null(LONG_AGO).dt.epoch("us")
    numeric = pl.col("type").is_in(["integer", "decimal", "float"])
    exact, rough = sort_keys(pl.col("value"))
    text = pl.col("value").fill_null("").rank("dense").cast(pl.Int64)
    extreme = rule.is_in(["max", "min"])
    sign = pl.when(rule == "max").then(-1).otherwise(1)
    ordered = candidates.with_columns(
        _null_last=extreme & (pl.col("value").fill_null(NULL) == NULL),
        _time=pl.when(rule == "last_write_wins").then(-time).when(rule == "first_write_wins").then(time).otherwise(0),
        _exact=pl.when(numeric & extreme).then(exact * sign),
        _rough=pl.when(numeric & extreme).then(rough * sign),
        _text_order=pl.when(~numeric & extreme).then(text * sign).otherwise(0),
        _text=text,
    ).sort([*RECORD_FIELD, "_null_last", "_time", "_exact", "_rough", "_text_order", "rank", "_text"], nulls_last=True)
    return ordered.unique(RECORD_FIELD, keep="first", maintain_order=True).select(candidates.columns)
