"""Identify: give every newly seen row its golden record, from the links, people's decisions and the match rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import GONE_SCHEMA, KHASH, MISSING
from trueup.core.match import INDEX_SCHEMA, LINK_SCHEMA, PARKED_SCHEMA, match, rule_columns
from trueup.store import match_key, parked
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import Entity
    from trueup.runtime.observe import Observation
    from trueup.store import Db

PROVISIONAL = 1 << 40
"""Golden ids from here on are provisional: no record was written under them yet."""

RELINK_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "old_key": pl.String(), "new_key": pl.String(), "khash": pl.Int64()})


@dataclass
class Identified:
    """links: __system, __key, page, __gid (born ones provisional), born. relinked: rows whose key changed. gone: what stays gone.

    parked: rows for a person (PARKED_SCHEMA); `freed` golden ids that were candidates of rows which are not parked any more.
    `answered` are keys per system of parked rows that a person's decision settled now.
    """

    links: pl.DataFrame
    relinked: pl.DataFrame
    gone: pl.DataFrame
    parked: pl.DataFrame
    freed: set[int]
    resolved: dict[str, list[str]]


def identify(db: Db, entity: Entity, observations: Mapping[str, Observation]) -> Identified:
    """Match what was newly seen. Links of rows confirmed to be gone are released first, so that a renamed row is linked again."""
    gone = pl.concat([pl.DataFrame(schema=GONE_SCHEMA), *[item.gone for item in observations.values()]])
    fresh = [frame for item in observations.values() for frame in item.new_rows]
    waiting = parked.of(db, entity.name)
    if not fresh:
        nothing = Identified(
            pl.DataFrame(schema=LINK_SCHEMA),
            pl.DataFrame(schema=RELINK_SCHEMA),
            gone,
            pl.DataFrame(schema=PARKED_SCHEMA),
            set(),
            {},
        )
        _settle_parked(waiting, observations, nothing)
        return nothing
    rows = pl.concat(fresh)
    rows, told = _decided(rows, waiting)
    count = len(entity.match)
    index = pl.concat(
        [
            rows.select(pl.lit(number, dtype=pl.Int64).alias("rule"), pl.col(name).alias("hash")).drop_nulls()
            for number, name in enumerate(rule_columns(count))
        ]
        or [pl.DataFrame(schema={"rule": pl.Int64(), "hash": pl.Int64()})]
    ).unique()
    found = match_key.lookup(db, entity.name, index).select("rule", "hash", pl.col("gid").alias(GID))
    known = match_key.of(db, entity.name, found[GID].unique()).select("rule", "hash", pl.col("gid").alias(GID)) if found.height else found
    shadows = shadow_table.by_golden(db, entity.name, pl.concat([known[GID], told[GID]]).unique())
    links_now = shadows.filter(pl.col("state") != MISSING).select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    taken = links_now.join(gone.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
    taken = pl.concat([taken, told.filter(~pl.col("born")).select(GID, SYSTEM)])
    barren = [name for name, mapping in entity.mappings.items() if mapping.direction == "write"]
    result = match(rows.drop(KHASH), entity.precedence, count, known.cast(INDEX_SCHEMA), taken, PROVISIONAL + told.height, barren)
    links = pl.concat([told.cast(LINK_SCHEMA), result.links])
    hashes = pl.concat(fresh).select(SYSTEM, KEY, KHASH)
    relinked = (
        links.filter(~pl.col("born"))
        .join(shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias("old_key")), on=[GID, SYSTEM])
        .join(hashes, on=[SYSTEM, KEY], how="left")
        .select(GID, SYSTEM, "old_key", pl.col(KEY).alias("new_key"), pl.col(KHASH).alias("khash"))
    )
    gone = gone.join(relinked.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
    identified = Identified(links, relinked.cast(RELINK_SCHEMA), gone, result.parked, set(), {})
    _settle_parked(waiting, observations, identified)
    return identified


def _decided(rows: pl.DataFrame, waiting: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take out the rows that a person decided about; their links are certain."""
    answers = [
        (system, key, orjson.loads(decision)) for system, key, decision in waiting.select("system", "key", "decision").rows() if decision
    ]
    links = [
        (system, key, answer.get("to", PROVISIONAL + number), answer.get("to") is None)
        for number, (system, key, answer) in enumerate(answers)
    ]
    told = pl.DataFrame(links, schema={SYSTEM: pl.String(), KEY: pl.String(), GID: pl.Int64(), "born": pl.Boolean()}, orient="row")
    told = rows.select(SYSTEM, KEY, "page").join(told, on=[SYSTEM, KEY]).select(list(LINK_SCHEMA))
    return rows.join(told.select(SYSTEM, KEY), on=[SYSTEM, KEY], how="anti"), told


def _settle_parked(waiting: pl.DataFrame, observations: Mapping[str, Observation], identified: Identified) -> None:
    """Find the rows that were parked, were looked at, and are not parked any more; their candidates may be created there again."""
    still = set(identified.parked.select(SYSTEM, KEY).rows())
    for system, key, candidates in waiting.select("system", "key", "candidates").rows():
        seen = observations.get(system)
        if seen is None or (system, key) in still or not (seen.complete or key in seen.asked):
            continue
        identified.resolved.setdefault(system, []).append(key)
        identified.freed.update(orjson.loads(candidates))
