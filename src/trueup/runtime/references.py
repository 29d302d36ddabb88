"""References: native keys of another entity's rows <-> golden ids, through the links. An unresolved one is unknown, never null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, NULL
from trueup.store import golden as golden_table
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import Entity
    from trueup.store import Db


def reference_fields(entity: Entity, system: str) -> list[tuple[str, str]]:
    """The reference fields that a system maps, each with the entity it points to."""
    return [
        (name, entity.fields[name].entity or "")
        for name in entity.mapped(system)
        if entity.fields[name].type == "reference" and entity.fields[name].entity
    ]


def to_golden(db: Db, entity: Entity, system: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Replace native key cells by golden ids; returns the rows, and the keys of rows with a reference that nobody knows yet."""
    waiting: set[str] = set()
    for name, target in reference_fields(entity, system):
        if name not in rows.columns:
            continue
        said = rows[name].drop_nulls()
        keys = said.filter(said != NULL).unique()
        links = shadow_table.by_key(db, target, system, keys).select(pl.col("key").alias(name), pl.col("gid").alias("_gid"))
        alive = golden_table.resolve_alias(db, target, links["_gid"]).select(pl.col("id").alias("_gid"), pl.col("gid").alias("_alive"))
        links = links.join(alive, on="_gid", how="left").select(name, pl.col("_alive").cast(pl.String).alias("_gid"))
        rows = rows.join(links, on=name, how="left", maintain_order="left")
        unknown = pl.col(name).is_not_null() & (pl.col(name) != NULL) & pl.col("_gid").is_null()
        waiting.update(rows.filter(unknown)[KEY].to_list())
        rows = rows.with_columns(pl.when(pl.col(name) == NULL).then(pl.lit(NULL)).otherwise("_gid").alias(name)).drop("_gid")
    return rows, sorted(waiting)


def to_native(db: Db, entity: Entity, system: str, rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Replace golden ids by this system's keys in the cell columns given; returns the rows, and (__gid, field) that cannot be told yet."""
    unresolved = [pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()})]
    for name, target in reference_fields(entity, system):
        if name not in columns:
            continue
        said = rows[name].drop_nulls()
        gids = said.filter(said != NULL).cast(pl.Int64, strict=False).drop_nulls().unique()
        links = shadow_table.by_golden(db, target, gids, [system]).filter(pl.col("state") != 1)
        links = links.select(pl.col("gid").cast(pl.String).alias(name), pl.col("key").alias("_key"))
        rows = rows.join(links, on=name, how="left", maintain_order="left")
        unknown = pl.col(name).is_not_null() & (pl.col(name) != NULL) & pl.col("_key").is_null()
        unresolved.append(rows.filter(unknown).select(GID, pl.lit(name).alias("field")))
        rows = rows.with_columns(pl.when(pl.col(name) == NULL).then(pl.lit(NULL)).otherwise("_key").alias(name)).drop("_key")
    return rows, pl.concat(unresolved)
