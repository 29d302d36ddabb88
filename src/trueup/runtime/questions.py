"""Parked rows while a pass delivers: which rows are no record's yet, and which records may be there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import KEY, SYSTEM
from trueup.core.facts import MISSING
from trueup.core.match import ALIKE
from trueup.store import shadow

if TYPE_CHECKING:
    from trueup.store import Db

WAITING_SCHEMA = pl.Schema({"system": pl.String(), "key": pl.String(), "candidates": pl.List(pl.Int64()), "linked": pl.Boolean()})
_PLACES = pl.DataFrame(schema={"system": pl.String(), "gid": pl.Int64()})


def waiting_rows(standing: pl.DataFrame, now: pl.DataFrame | None = None) -> pl.DataFrame:
    """Rows that are parked, in the state (`standing`) and in this very run (`now`, PARKED_SCHEMA), with their candidates (WAITING_SCHEMA).

    `linked`: the question is about the row's record, and not about the row: it is delivered to as ever.
    """
    parts = [pl.DataFrame(schema=WAITING_SCHEMA)]
    if not standing.is_empty():
        candidates = pl.col("candidates").map_elements(orjson.loads, return_dtype=pl.List(pl.Int64)).alias("candidates")
        parts.append(standing.select("system", "key", candidates, pl.col("why").str.starts_with(ALIKE).alias("linked")))
    if now is not None:
        names = (pl.col(SYSTEM).alias("system"), pl.col(KEY).alias("key"))
        parts.append(now.select(*names, "candidates", pl.lit(value=False).alias("linked")))
    return pl.concat(parts)


def may_be_there(db: Db, entity: str, waiting: pl.DataFrame) -> pl.DataFrame:
    """(system, gid): records that may be there as another one's row. None is made there until a person has said whether they are one."""
    questions = waiting.filter("linked")
    found = [_PLACES]
    for system, key, candidates in questions.select("system", "key", "candidates").rows():
        own = shadow.by_key(db, entity, system, pl.Series([key], dtype=pl.String))["gid"].drop_nulls()
        others = shadow.by_golden(db, entity, pl.Series(candidates, dtype=pl.Int64)).filter(pl.col("state") != MISSING)
        found.append(others.select("system").unique().join(own.alias("gid").to_frame(), how="cross"))
    return pl.concat(found)
