"""Settle shadows: what each system holds (`seen`) and stands for (`sent`) after a merge, as deltas against the golden record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import AT, GID, KEY, SYSTEM, VERSION
from trueup.core.facts import FINGERPRINT, KHASH, MISSING, PRESENT, SHADOW_SCHEMA
from trueup.core.merge import UPDATE_SCHEMA
from trueup.core.observe import golden_cells, long_cells
from trueup.core.shadow import DELTA_SCHEMA, encode_deltas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.core.facts import Facts
    from trueup.core.merge import Merged


def settle_shadows(
    facts: Facts,
    merged: Merged,
    changes: pl.DataFrame,
    missing: pl.DataFrame,
    removed: pl.DataFrame,
    deltas: Mapping[str, pl.DataFrame],
    records: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every shadow as it stands afterwards, and those among them to write.

    A golden change is written out into the shadows that had no delta for that field (copy on write), so that nobody who was not told
    seems to know it.
    """
    shadows = pl.concat([facts.shadows.cast(SHADOW_SCHEMA), _new_shadows(facts)])
    shadows = shadows.join(removed.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")), on=["gid", "system"], how="anti")
    cells = _touched_cells(facts, merged, changes, shadows, deltas)
    golden = long_cells(records, list(facts.entity.fields), "golden") if not cells.is_empty() else None
    if golden is not None:
        cells = cells.join(golden, on=[GID, "field"], how="left")
    fresh = {}
    for column in ("seen", "sent"):
        old = deltas[column].join(cells.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
        new = (
            cells.filter(pl.col(column).ne_missing(pl.col("golden")) & (pl.lit(column == "seen") | pl.col("writable"))).select(
                GID, SYSTEM, "field", pl.col(column).alias("cell")
            )
            if golden is not None
            else old.clear()
        )
        fresh[column] = pl.concat([old, new.cast(DELTA_SCHEMA)])
    pairs = cells.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")).unique(maintain_order=True)
    rewritten = pairs.with_columns(
        **{f"_{column}": pl.Series(encode_deltas(pairs.rows(), fresh[column]), dtype=pl.String) for column in ("seen", "sent")},
        _rewritten=pl.lit(value=True),
    )
    seen_now = _observed_rows(facts)
    gone = missing.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system"), pl.lit(MISSING).cast(pl.Int64).alias("_state"))
    after = (
        shadows.join(rewritten, on=["gid", "system"], how="left", maintain_order="left")
        .join(seen_now, on=["gid", "system"], how="left", maintain_order="left")
        .join(gone, on=["gid", "system"], how="left", maintain_order="left")
        .with_columns(
            seen=pl.when("_rewritten").then("_seen").otherwise("seen"),
            sent=pl.when("_rewritten").then("_sent").otherwise("sent"),
            fingerprint=pl.when("_here").then("_fingerprint").otherwise("fingerprint"),
            modified=pl.when("_here").then(pl.coalesce("_modified", "modified")).otherwise("modified"),
            native_version=pl.when("_here").then("_version").otherwise("native_version"),
            state=pl.coalesce("_state", pl.when("_here").then(pl.lit(PRESENT).cast(pl.Int64)).otherwise("state")),
        )
    )
    touched = after.filter(pl.col("_rewritten") | pl.col("_here") | pl.col("_state").is_not_null())
    return after.select(list(SHADOW_SCHEMA)), touched.select(list(SHADOW_SCHEMA))


def mark_doomed(after: pl.DataFrame, touched: pl.DataFrame, deleted: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the remaining rows of deleted records an empty `sent`: it names no field, but says that something is due there."""
    if deleted.is_empty():
        return after, touched
    doomed = pl.col("gid").is_in(deleted.implode())
    after = after.with_columns(sent=pl.when(doomed).then(pl.col("sent").fill_null("{}")).otherwise("sent"))
    touched = pl.concat([touched.filter(~doomed), after.filter(doomed)])
    return after, touched


def _new_shadows(facts: Facts) -> pl.DataFrame:
    """Shadows for observed rows that had none; their deltas follow from what the merge says they hold."""
    parts = [pl.DataFrame(schema=SHADOW_SCHEMA)]
    for system, rows in facts.observed.items():
        if rows.is_empty():
            continue
        known = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID))
        fresh = rows.join(known, on=GID, how="anti", maintain_order="left")
        parts.append(
            fresh.select(
                pl.col(GID).alias("gid"),
                pl.lit(system).alias("system"),
                pl.col(KEY).alias("key"),
                pl.col(KHASH).alias("khash"),
                *[pl.lit(None, dtype=SHADOW_SCHEMA[name]).alias(name) for name in list(SHADOW_SCHEMA)[4:-1]],
                pl.lit(PRESENT, dtype=pl.Int64).alias("state"),
            ).cast(SHADOW_SCHEMA)
        )
    return pl.concat(parts)


def _observed_rows(facts: Facts) -> pl.DataFrame:
    """(gid, system) of the rows read, with what the shadow keeps of the reading."""
    parts = [
        rows.select(
            pl.col(GID).alias("gid"),
            pl.lit(system).alias("system"),
            pl.col(FINGERPRINT).alias("_fingerprint"),
            pl.col(AT).alias("_modified"),
            (pl.col(VERSION) if VERSION in rows.columns else pl.lit(None, dtype=pl.String)).alias("_version"),
            pl.lit(value=True).alias("_here"),
        )
        for system, rows in facts.observed.items()
        if not rows.is_empty()
    ]
    schema = pl.Schema(
        {
            "gid": pl.Int64(),
            "system": pl.String(),
            "_fingerprint": pl.Int64(),
            "_modified": pl.Datetime("us", "UTC"),
            "_version": pl.String(),
            "_here": pl.Boolean(),
        }
    )
    return pl.concat([pl.DataFrame(schema=schema), *[part.cast(schema) for part in parts]])


def _touched_cells(
    facts: Facts, merged: Merged, changes: pl.DataFrame, shadows: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Absolute `seen` and `sent` of every cell that may change its delta: observed ones, and those whose golden value moved."""
    # A system that is not configured at present stands for what it stood for: when it comes back, it must not seem to know better.
    absent = set(shadows["system"].unique()) - facts.entity.mappings.keys()
    mapped = pl.DataFrame(
        [
            *(
                (system, name, name in facts.entity.written(system), name in facts.entity.shown(system))
                for system in facts.entity.mappings
                for name in facts.entity.mapped(system)
            ),
            *((system, name, True, True) for system in sorted(absent) for name in facts.entity.fields),
        ],
        schema={SYSTEM: pl.String(), "field": pl.String(), "writable": pl.Boolean(), "shown": pl.Boolean()},
        orient="row",
    )
    pairs = shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    told = merged.updates.select(list(UPDATE_SCHEMA)).join(mapped, on=[SYSTEM, "field"])
    moved = (
        changes.select(GID, "field", "before")
        .join(pairs, on=GID)
        .join(mapped, on=[SYSTEM, "field"])
        .join(told.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
    )
    for column in ("seen", "sent"):
        named = deltas[column].rename({"cell": f"_{column}"}).with_columns(pl.lit(value=True).alias(f"_has_{column}"))
        moved = moved.join(named, on=[GID, SYSTEM, "field"], how="left")
    moved = moved.with_columns(seen=pl.when("_has_seen").then("_seen").otherwise("before")).with_columns(
        sent=pl.when("_has_sent").then("_sent").when("writable").then("before").otherwise("seen")
    )
    unread = _unread_cells(facts, mapped, told)
    columns = [*UPDATE_SCHEMA, "writable"]
    return pl.concat([told.select(columns), moved.select(columns), unread.select(columns)]).unique(
        [GID, SYSTEM, "field"], keep="first", maintain_order=True
    )


def _unread_cells(facts: Facts, mapped: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Cells of newly linked rows that showed nothing: unknown where the field can be read, still to be sent where it cannot."""
    parts = [pl.DataFrame(schema=UPDATE_SCHEMA | {"writable": pl.Boolean(), "shown": pl.Boolean()})]
    for system, rows in facts.observed.items():
        if rows.is_empty():
            continue
        known = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID))
        fresh = rows.select(GID).join(known, on=GID, how="anti")
        if fresh.is_empty():
            continue
        cells = fresh.join(mapped.filter(pl.col(SYSTEM) == system), how="cross").join(
            told.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti"
        )
        golden = long_cells(golden_cells(facts), list(facts.entity.fields), "golden")
        parts.append(
            cells.join(golden, on=[GID, "field"], how="left").select(
                GID,
                SYSTEM,
                "field",
                pl.lit(None, dtype=pl.String).alias("seen"),
                pl.when("shown").then("golden").otherwise(None).alias("sent"),
                "writable",
                "shown",
            )
        )
    return pl.concat(parts)
