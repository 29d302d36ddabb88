"""Golden records after a merge: their values, where each came from, and the hashes by which new rows will find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import AT, GID, SYSTEM, beside, records_to_json
from trueup.core.facts import GOLDEN_SCHEMA
from trueup.core.fingerprint import match_hash
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.core.facts import Facts
    from trueup.core.merge import Merged
    from trueup.model import Entity


def apply_changes(golden: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """The golden cells with the changes put in."""
    if changes.is_empty():
        return golden
    for (name,), rows in changes.partition_by("field", as_dict=True, maintain_order=True).items():
        moved = rows.select(GID, pl.col("after").alias("_after"), pl.lit(value=True).alias("_moved"))
        golden = (
            golden.join(moved, on=GID, how="left", maintain_order="left")
            .with_columns(pl.when("_moved").then("_after").otherwise(pl.col(str(name))).alias(str(name)))
            .drop("_after", "_moved")
        )
    return golden


def golden_rows(
    facts: Facts, records: pl.DataFrame, changes: pl.DataFrame, deleted: pl.Series, revived: pl.Series, restored: pl.Series
) -> tuple[pl.DataFrame, pl.Series]:
    """The golden rows to write, with the origin of every value, and the ids among them that are new.

    A record of which a row is to be made again is written as it is: its new version makes sure that every later run considers it, too.
    """
    known = facts.golden
    born = records.join(known.select(pl.col("id").alias(GID)), on=GID, how="anti", maintain_order="left")[GID]
    touched = pl.concat([changes[GID], deleted, revived, restored, born]).unique(maintain_order=True)
    if touched.is_empty():
        return pl.DataFrame(schema=GOLDEN_SCHEMA), born
    rows = records.filter(pl.col(GID).is_in(touched.implode()))
    data = records_to_json(rows, facts.entity.fields)
    origins = _origins(known, changes)
    before = known.select(pl.col("id").alias(GID), "origin_system", "origin_at", "origins", "version", "deleted_at", "alias_of")
    written = (
        beside(rows.select(pl.col(GID), data.alias("data")), before, GID)
        .join(origins, on=GID, how="left", maintain_order="left")
        .with_columns(
            id=pl.col(GID),
            origin_system=pl.coalesce("origin_system", "_system"),
            origin_at=pl.when(pl.col("origin_system").is_null()).then("_at").otherwise("origin_at"),
            origins=pl.when(pl.col("_named").is_not_null()).then("_origins").otherwise("origins"),
        )
    )
    if not deleted.is_empty() or not revived.is_empty():
        written = written.with_columns(
            deleted_at=pl.when(pl.col(GID).is_in(deleted.implode()))
            .then(pl.lit(facts.now))
            .when(pl.col(GID).is_in(revived.implode()))
            .then(None)
            .otherwise("deleted_at")
        )
    return written.select(list(GOLDEN_SCHEMA)).cast(GOLDEN_SCHEMA), born


def _origins(known: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Per changed record: the system and time of the row as a whole, and of the fields that came from elsewhere."""
    base = {gid: (system, at, text) for gid, system, at, text in known.select("id", "origin_system", "origin_at", "origins").rows()}
    stamped = changes.select(GID, "field", SYSTEM, AT, pl.col(AT).dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ").alias("text")).rows()
    grouped: dict[int, list[tuple[str, str | None, datetime | None, str | None]]] = {}
    for gid, name, system, at, text in stamped:
        grouped.setdefault(gid, []).append((name, system, at, text))
    rows = []
    for gid, items in grouped.items():
        system, at, text = base.get(gid, (None, None, None))
        if system is None:
            system, at = items[0][1], items[0][2]
        named = orjson.loads(text) if text else {}
        for name, by, when, stamp in items:
            if by == system and when == at:
                named.pop(name, None)
            else:
                named[name] = [by, stamp]
        rows.append((gid, system, at, orjson.dumps(named).decode() if named else None, True))
    schema = {
        GID: pl.Int64(),
        "_system": pl.String(),
        "_at": pl.Datetime("us", "UTC"),
        "_origins": pl.String(),
        "_named": pl.Boolean(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def match_index(
    entity: Entity,
    records: pl.DataFrame,
    changes: pl.DataFrame,
    merged: Merged,
    after: pl.DataFrame,
    born: pl.Series,
    deleted: pl.Series,
) -> tuple[pl.DataFrame, pl.Series]:
    """The match hashes of records whose match values moved: of the golden values, and of what linked systems show instead."""
    schema = {"rule": pl.Int64(), "hash": pl.Int64(), GID: pl.Int64()}
    if not entity.match:
        return pl.DataFrame(schema=schema), pl.Series(dtype=pl.Int64)
    names = {name for rule in entity.match for name in rule}
    moved = pl.concat([frame.filter(pl.col("field").is_in(list(names)))[GID] for frame in (changes, merged.updates)])
    indexed = pl.concat([moved, born, deleted]).unique(maintain_order=True)
    if indexed.is_empty():
        return pl.DataFrame(schema=schema), indexed
    alive = indexed.filter(~indexed.is_in(deleted.implode()))
    rows = records.filter(pl.col(GID).is_in(alive.implode()))
    variants = [rows]
    shown = long_deltas(after.filter(pl.col("gid").is_in(alive.implode()) & pl.col("seen").is_not_null()), "seen")
    shown = shown.filter(pl.col("field").is_in(list(names)))
    for cells in shown.partition_by(SYSTEM, maintain_order=True):
        variant = rows.filter(pl.col(GID).is_in(cells[GID].unique().implode()))
        named = cells.select(GID, "field", pl.col("cell").alias("after"))
        variants.append(apply_changes(variant, named))
    every = pl.concat(variants)
    parts = [
        pl.DataFrame({"rule": [number], GID: [0]}, schema={"rule": pl.Int64(), GID: pl.Int64()}).clear()
        if every.is_empty()
        else every.select(pl.lit(number, dtype=pl.Int64).alias("rule"), match_hash(every, rule, number).alias("hash"), GID)
        for number, rule in enumerate(entity.match)
    ]
    return pl.concat(parts, how="diagonal").select(
        "rule", pl.col("hash") if not every.is_empty() else pl.lit(None, dtype=pl.Int64).alias("hash"), GID
    ).drop_nulls("hash").unique(), indexed
