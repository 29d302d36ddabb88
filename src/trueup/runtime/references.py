"""References: native keys of another entity's rows <-> golden ids, through the links. An unresolved one is unknown, never null."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from trueup.core.cells import DIRTY, GID, KEY, NULL
from trueup.core.facts import FILTERED, PRESENT, UNREADABLE
from trueup.core.fingerprint import native_fingerprint
from trueup.core.frames import one_of
from trueup.core.match import DUPLICATE
from trueup.core.shadow import decode_delta, encode_delta
from trueup.store import former_key, parked
from trueup.store import golden as golden_table
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import Entity
    from trueup.runtime.systems import Seat
    from trueup.store import Db


def reference_fields(entity: Entity, system: str) -> list[tuple[str, str]]:
    """The reference fields that a system maps, each with the entity it points to."""
    return [
        (name, entity.fields[name].entity or "")
        for name in entity.mapped(system)
        if entity.fields[name].type == "reference" and entity.fields[name].entity
    ]


class Translated(NamedTuple):
    """Rows with golden ids for native keys; the keys of `waiting` rows have a reference that nobody knows yet.

    outdated  __key, field: references by a key that the row no longer has
    """

    rows: pl.DataFrame
    waiting: list[str]
    outdated: pl.DataFrame


def to_golden(db: Db, entity: Entity, system: str, rows: pl.DataFrame) -> Translated:
    """Replace native key cells by golden ids."""
    waiting: set[str] = set()
    outdated = [pl.DataFrame(schema={KEY: pl.String(), "field": pl.String()})]
    for name, target in reference_fields(entity, system):
        if name not in rows.columns:
            continue
        said = rows[name].drop_nulls()
        keys = said.filter(said != NULL).unique()
        links = shadow_table.by_key(db, target, system, keys).select(pl.col("key").alias(name), pl.col("gid").alias("_gid"))
        twice = _duplicates(db, target, system, keys.filter(~keys.is_in(links[name].implode()))).rename({"key": name, "gid": "_gid"})
        links = pl.concat([links, twice])
        former = _former(db, target, system, keys.filter(~keys.is_in(links[name].implode()))).rename({"key": name, "gid": "_gid"})
        if not former.is_empty():
            outdated.append(rows.join(former, on=name, how="semi").select(KEY, pl.lit(name).alias("field")))
            links = pl.concat([links, former])
        alive = golden_table.resolve_alias(db, target, links["_gid"]).select(pl.col("id").alias("_gid"), pl.col("gid").alias("_alive"))
        links = links.join(alive, on="_gid", how="left").select(name, pl.col("_alive").cast(pl.String).alias("_gid"))
        rows = rows.join(links, on=name, how="left", maintain_order="left")
        unknown = pl.col(name).is_not_null() & (pl.col(name) != NULL) & pl.col("_gid").is_null()
        waiting.update(rows.filter(unknown)[KEY].to_list())
        rows = rows.with_columns(pl.when(pl.col(name) == NULL).then(pl.lit(NULL)).otherwise("_gid").alias(name)).drop("_gid")
    return Translated(rows, sorted(waiting), pl.concat(outdated))


def _duplicates(db: Db, target: str, system: str, keys: pl.Series) -> pl.DataFrame:
    """Of which records the rows under these keys are duplicates (key, gid): whoever names one of them means its record."""
    waiting = parked.of(db, target, system) if keys.len() else pl.DataFrame()
    if waiting.is_empty():
        return pl.DataFrame(schema={"key": pl.String(), "gid": pl.Int64()})
    mine = waiting.filter((pl.col("why") == DUPLICATE) & pl.col("key").is_in(keys.implode()))
    return mine.select("key", pl.col("candidates").str.json_decode(pl.List(pl.Int64)).list.first().alias("gid"))


def _former(db: Db, target: str, system: str, keys: pl.Series) -> pl.DataFrame:
    """Whose rows stood under these keys (key, gid), of those records that have a row there under another key now."""
    former = former_key.by_key(db, target, system, keys)
    if former.is_empty():
        return former
    here = shadow_table.by_golden(db, target, former["gid"].unique(), [system])
    return former.join(here.filter(pl.col("state").is_in([PRESENT, FILTERED, UNREADABLE])), on="gid", how="semi")


def to_native(db: Db, entity: Entity, system: str, rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Replace golden ids by this system's keys in the cell columns given; returns the rows, and (__gid, field) that cannot be told yet."""
    unresolved = [pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()})]
    for name, target in reference_fields(entity, system):
        if name not in columns:
            continue
        said = rows[name].drop_nulls()
        gids = said.filter(said != NULL).cast(pl.Int64, strict=False).drop_nulls().unique()
        alive = golden_table.resolve_alias(db, target, gids)
        links = shadow_table.by_golden(db, target, alive["gid"].unique(), [system]).filter(pl.col("state") != 1)
        links = alive.join(links, on="gid").select(pl.col("id").cast(pl.String).alias(name), pl.col("key").alias("_key"))
        rows = rows.join(links, on=name, how="left", maintain_order="left")
        unknown = pl.col(name).is_not_null() & (pl.col(name) != NULL) & pl.col("_key").is_null()
        unresolved.append(rows.filter(unknown).select(GID, pl.lit(name).alias("field")))
        rows = rows.with_columns(pl.when(pl.col(name) == NULL).then(pl.lit(NULL)).otherwise("_key").alias(name)).drop("_key")
    return rows, pl.concat(unresolved)


def to_be_written(rows: pl.DataFrame, fields: pl.DataFrame) -> pl.DataFrame:
    """The rows, of which these fields (__key, field) say what is agreed and are to be written nevertheless (see `cells.DIRTY`)."""
    if fields.is_empty():
        return rows
    names = dict(fields.group_by(KEY).agg("field").rows())
    known = rows[DIRTY].to_list() if DIRTY in rows.columns else [None] * rows.height
    told = [
        encode_delta(decode_delta(dirty) | dict.fromkeys(names[key])) if key in names else dirty
        for key, dirty in zip(rows[KEY].to_list(), known, strict=True)
    ]
    return rows.with_columns(pl.Series(DIRTY, told, dtype=pl.String))


def untouched(db: Db, entity: str, seat: Seat, keys: pl.Series, native: pl.DataFrame) -> pl.Series:
    """Of each of these rows whether its values, as just read (`native`), are those that were last seen."""
    known = shadow_table.by_key(db, entity, seat.name, keys).select(pl.col("key").alias(KEY), "fingerprint")
    prints = native_fingerprint(native, seat.compiled.value_columns).alias("_now")
    same = native.select(KEY, prints).join(known, on=KEY)
    return one_of(keys, same.filter(pl.col("_now") == pl.col("fingerprint"))[KEY])
