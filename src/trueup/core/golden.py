"""Golden records after a merge: their values, where each came from, and the hashes by which new rows will find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core import quick
from trueup.core.cells import AT, GID, SYSTEM, records_to_json
from trueup.core.facts import GOLDEN_SCHEMA, NOBODY
from trueup.core.fingerprint import match_hash
from trueup.core.frames import (
    FEW_ROWS,
    constant,
    differ,
    distinct,
    exchanged,
    found,
    is_given,
    keep,
    kept,
    looked_up,
    one_of,
    renamed,
    stacked,
    sure,
    typed,
    united,
)
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
    names = distinct(changes["field"]).to_list()
    for name in names:
        rows = keep(changes, changes["field"] == name) if len(names) > 1 else changes
        moved = {GID: rows[GID], "_after": rows["after"], "_moved": constant("_moved", value=True, rows=rows.height, dtype=pl.Boolean())}
        told = found(quick.chosen(golden, [GID]), quick.table(moved), [GID])
        golden = exchanged(golden, told["_after"].zip_with(sure(told["_moved"]), golden[name]).alias(name))
    return golden


def golden_rows(
    facts: Facts, records: pl.DataFrame, changes: pl.DataFrame, deleted: pl.Series, revived: pl.Series, restored: pl.Series
) -> tuple[pl.DataFrame, pl.Series]:
    """The golden rows to write, with the origin of every value, and the ids among them that are new.

    A record of which a row is to be made again is written as it is: its new version makes sure that every later run considers it, too.
    """
    known = facts.golden
    born = kept(records[GID], ~one_of(records[GID], known["id"]))
    touched = united([changes[GID], deleted, revived, restored, born])
    if touched.is_empty():
        return _NO_GOLDEN, born
    rows = keep(records, one_of(records[GID], touched))
    data = records_to_json(rows, facts.entity.fields)
    before = quick.chosen(known, ["id", "origin_system", "origin_at", "origins", "version", "deleted_at", "alias_of"])
    written = found(quick.table({"id": rows[GID], "data": data}), before, ["id"])
    written = found(written, _origins(known, changes), ["id"])
    named = sure(written["_named"])
    own = is_given(written["origin_system"])
    written = exchanged(
        written,
        written["origin_system"].zip_with(own, written["_system"]).alias("origin_system"),
        written["origin_at"].zip_with(own, written["_at"]).alias("origin_at"),
        written["_origins"].zip_with(named, written["origins"]).alias("origins"),
    )
    if not deleted.is_empty() or not revived.is_empty():
        written = written.with_columns(
            deleted_at=pl.when(pl.col("id").is_in(deleted.implode()))
            .then(pl.lit(facts.now))
            .when(pl.col("id").is_in(revived.implode()))
            .then(None)
            .otherwise("deleted_at")
        )
    return typed(written, GOLDEN_SCHEMA), born


_NO_GOLDEN = pl.DataFrame(schema=GOLDEN_SCHEMA)


def _origins(known: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Per changed record: the system and time of the row as a whole, and of the fields that came from elsewhere."""
    if changes.height <= FEW_ROWS:
        return _origins_one_by_one(known, changes)
    # One change of a record of which all other values came from one system, as nearly all are, needs no JSON to be read.
    plain = quick.chosen(keep(known, is_given(known["origin_system"])), ["id", "origin_system", "origin_at", "origins"])
    rows = found(quick.chosen(changes, [GID, "field"]), renamed(plain, "id", GID), [GID])
    names = {name: f"{{{orjson.dumps(name).decode()}:[" for name in distinct(changes["field"]).to_list()}
    begin = looked_up("begin", changes["field"], names, pl.String())
    origins = pl.col("origins")
    alone = rows.select(origins.str.starts_with(pl.lit(begin)) & (origins.str.count_matches("[", literal=True) == 1))["origins"]
    simple = changes[GID].is_unique() & is_given(rows["origin_system"]) & (~is_given(rows["origins"]) | sure(alone))
    parts = [_origins_of_one_change(keep(rows, simple), keep(changes, simple))]
    if not simple.all():
        rest = keep(changes, ~simple)
        parts.append(_origins_one_by_one(keep(known, one_of(known["id"], rest[GID])), rest))
    return stacked(parts)


def _origins_of_one_change(rows: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """As `_origins`, of records with one change each, of which every other value came from one system: `rows`, side by side with these."""
    stays = ~differ(changes[SYSTEM], rows["origin_system"]) & ~differ(changes[AT], rows["origin_at"])
    names = {
        text: orjson.dumps(text).decode()
        for column in ("field", SYSTEM)
        for text in distinct(changes[column]).to_list()
        if text is not None
    }
    name, by = (pl.col(column).replace_strict(names, default=None, return_dtype=pl.String()) for column in ("field", SYSTEM))
    at = pl.col(AT).dt.strftime('"%Y-%m-%dT%H:%M:%S%.6fZ"')
    null = pl.lit("null")
    text = pl.concat_str(pl.lit("{"), name, pl.lit(":["), by.fill_null(null), pl.lit(","), at.fill_null(null), pl.lit("]}"))
    told = quick.chosen(changes, ["field", SYSTEM, AT]).select(text.alias("text"))["text"]
    nothing = constant("text", None, changes.height, pl.String())
    return pl.DataFrame(
        {
            "id": changes[GID],
            "_system": rows["origin_system"],
            "_at": rows["origin_at"],
            "_origins": nothing.zip_with(stays, told),
            "_named": constant("_named", value=True, rows=changes.height, dtype=pl.Boolean()),
        },
        schema=_ORIGIN_SCHEMA,
    )


def _origins_one_by_one(known: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    base = {
        gid: (system, at, text) for gid, system, at, text in quick.chosen(known, ["id", "origin_system", "origin_at", "origins"]).rows()
    }
    stamped = quick.chosen(changes, [GID, "field", SYSTEM, AT]).rows()
    grouped: dict[int, list[tuple[str, str | None, datetime | None]]] = {}
    for gid, name, system, at in stamped:
        grouped.setdefault(gid, []).append((name, system, at))
    rows = []
    for gid, items in grouped.items():
        system, at, text = base.get(gid, (None, None, None))
        if system is None:
            system, at = items[0][1], items[0][2]
        named = orjson.loads(text) if text else {}
        for name, by, when in items:
            if by == system and when == at:
                named.pop(name, None)
            else:
                named[name] = [by, None if when is None else _stamp(when)]
        rows.append((gid, system, at, orjson.dumps(named).decode() if named else None, True))
    if not rows:
        return _NO_ORIGINS
    return quick.frame(
        [quick.series(name, told, kind) for (name, kind), told in zip(_ORIGIN_SCHEMA.items(), zip(*rows, strict=True), strict=True)]
    )


_ORIGIN_SCHEMA = {
    "id": pl.Int64(),
    "_system": pl.String(),
    "_at": pl.Datetime("us", "UTC"),
    "_origins": pl.String(),
    "_named": pl.Boolean(),
}
_NO_ORIGINS = pl.DataFrame(schema=_ORIGIN_SCHEMA)


def _stamp(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


_NO_INDEX = pl.DataFrame(schema={"rule": pl.Int64(), "hash": pl.Int64(), GID: pl.Int64()})


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
    if not entity.match:
        return _NO_INDEX, NOBODY
    names = pl.Series([name for rule in entity.match for name in rule])
    moved = [kept(frame[GID], one_of(frame["field"], names)) for frame in (changes, merged.updates)]
    indexed = united([*moved, born, deleted])
    if indexed.is_empty():
        return _NO_INDEX, indexed
    alive = indexed.filter(~indexed.is_in(deleted.implode()))
    rows = records.filter(pl.col(GID).is_in(alive.implode()))
    variants = [rows]
    shown = long_deltas(after.filter(pl.col("gid").is_in(alive.implode()) & pl.col("seen").is_not_null()), "seen")
    shown = shown.filter(pl.col("field").is_in(names.implode()))
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
