"""Births: records that only one system shows, met for the first time. The golden record is what that row says; nothing to settle.

The same decision as `reconcile` would reach, without comparing cell by cell: a first load is made of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import AT, DIRTY, GID, KEY, VERSION, records_to_json
from trueup.core.facts import FINGERPRINT, GOLDEN_SCHEMA, GONE_SCHEMA, KHASH, NO_FIELDS, NOBODY, SHADOW_SCHEMA, Decision
from trueup.core.fingerprint import match_hash
from trueup.core.frames import kept
from trueup.core.merge import FREEZE_SCHEMA, HISTORY_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from trueup.model import Entity


_NO_GONE = pl.DataFrame(schema=GONE_SCHEMA)
_NO_HISTORY = pl.DataFrame(schema=HISTORY_SCHEMA)
_NO_FROZEN = pl.DataFrame(schema=FREEZE_SCHEMA)


def born_alone(rows: Mapping[str, pl.DataFrame], is_born: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The new records (`is_born`, per golden id) that a single row shows."""
    parts = [born for frame in rows.values() if (born := kept(frame[GID], is_born(frame[GID]))).len()]
    if not parts:
        return NOBODY
    gids = pl.concat(parts)
    return kept(gids, gids.is_unique())


def births(entity: Entity, system: str, rows: pl.DataFrame, now: datetime) -> Decision:
    """Decide about new rows of one system (as in `Facts.observed`), each the only one of its record."""
    shown = set(rows.columns)
    records = rows.select(GID, *[pl.col(name) if name in shown else pl.lit(None, dtype=pl.String).alias(name) for name in entity.fields])
    moment = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    golden = rows.select(
        pl.col(GID).alias("id"),
        records_to_json(records, entity.fields).alias("data"),
        pl.lit(system).alias("origin_system"),
        pl.min_horizontal(pl.col(AT).fill_null(moment), moment).alias("origin_at"),
        *[pl.lit(None, dtype=GOLDEN_SCHEMA[name]).alias(name) for name in ("origins", "version", "deleted_at", "alias_of")],
    )
    shadows = rows.select(
        pl.col(GID).alias("gid"),
        pl.lit(system).alias("system"),
        pl.col(KEY).alias("key"),
        pl.col(KHASH).alias("khash"),
        pl.col(FINGERPRINT).alias("fingerprint"),
        pl.lit(None, dtype=pl.String).alias("seen"),
        (pl.col(DIRTY) if DIRTY in shown else pl.lit(None, dtype=pl.String)).alias("sent"),
        *[pl.lit(None, dtype=SHADOW_SCHEMA[name]).alias(name) for name in ("before", "written_at")],
        pl.col(AT).alias("modified"),
        (pl.col(VERSION) if VERSION in shown else pl.lit(None, dtype=pl.String)).alias("native_version"),
        pl.lit(0, dtype=pl.Int64).alias("state"),
    )
    index = [
        records.select(pl.lit(number, dtype=pl.Int64).alias("rule"), match_hash(records, rule, number).alias("hash"), GID).drop_nulls(
            "hash"
        )
        for number, rule in enumerate(entity.match)
    ]
    return Decision(
        records=records,
        golden=golden,
        born=rows[GID],
        shadows=shadows,
        removed=_NO_GONE,
        after=shadows,
        deleted=pl.Series(GID, [], dtype=pl.Int64),
        index=pl.concat(index) if index else pl.DataFrame(schema={"rule": pl.Int64(), "hash": pl.Int64(), GID: pl.Int64()}),
        indexed=pl.Series(GID, [], dtype=pl.Int64),
        history=_NO_HISTORY,
        frozen=_NO_FROZEN,
        thawed=NO_FIELDS,
    )


def no_births(entity: Entity, now: datetime) -> Decision:
    """The decision about no rows at all."""
    texts = dict.fromkeys([KEY, *entity.fields], pl.String())
    rows = pl.DataFrame(schema={GID: pl.Int64(), KHASH: pl.Int64(), FINGERPRINT: pl.Int64(), AT: pl.Datetime("us", "UTC"), **texts})
    return births(entity, entity.precedence[0], rows, now)
