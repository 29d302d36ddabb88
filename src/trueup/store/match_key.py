"""The index of golden values by match rule. Frames: rule Int64, hash Int64, gid Int64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk
from trueup.store.schema import match_key as table

if TYPE_CHECKING:
    from trueup.store.db import Db

_ASKED_ROWS = 50_000  # so many hashes are asked for at once
_ANEW_ROWS = 50_000
_BY_GOLDEN = next(index for index in table.indexes if index.name == "match_key_golden")
_SCHEMA = {"rule": pl.Int64, "hash": pl.Int64, "gid": pl.Int64}


def any_(db: Db, entity: str) -> bool:
    """Whether anything is indexed of this entity."""
    return db.execute(sa.select(table.c.golden_id).where(table.c.entity == db.entity(entity)).limit(1)).first() is not None


def lookup(db: Db, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
    """`rule`, `hash`, `gid` of every golden record with one of the (rule, hash) pairs of `frame`; pairs without one are left out."""
    found = [pl.DataFrame(schema=_SCHEMA)]
    for rule in frame["rule"].unique().sort().to_list():
        for some in frame.filter(pl.col("rule") == rule).select("hash").unique().iter_slices(_ASKED_ROWS):
            statement = sa.select(table.c.rule, table.c.hash, table.c.golden_id.label("gid")).where(
                table.c.entity == db.entity(entity), table.c.rule == rule, table.c.hash.in_(db.each(some["hash"]))
            )
            found.append(db.frame(statement))
    return pl.concat(found)


def of(db: Db, entity: str, gids: pl.Series) -> pl.DataFrame:
    """Everything that is indexed of these golden records."""
    statement = sa.select(table.c.rule, table.c.hash, table.c.golden_id.label("gid")).where(
        table.c.entity == db.entity(entity), table.c.golden_id.in_(db.each(gids.cast(pl.Int64)))
    )
    return pl.concat([pl.DataFrame(schema=_SCHEMA), db.frame(statement)])


def add(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Add `rule`, `hash`, `gid`; what is there already stays."""
    rows = frame.select("rule", "hash", golden_id="gid").sort("rule", "hash", "golden_id")
    bulk.add_missing(tx, table, rows, {"entity": tx.entity(entity)})


def add_new(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Add `rule`, `hash`, `gid` of records of which nothing is indexed yet. Raises StateError, undoing the transaction, where it is."""
    # By hash, golden ids come in no order at all: where these are most of all rows, sorting them once into an index is far cheaper.
    anew = frame.height >= _ANEW_ROWS and frame.height > tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    if anew:
        _BY_GOLDEN.drop(tx.connection)
    bulk.insert(tx, table, frame.select("rule", "hash", golden_id="gid").sort("hash"), {"entity": tx.entity(entity)})
    if anew:
        _BY_GOLDEN.create(tx.connection)


def remove(tx: Db, entity: str, gids: pl.Series) -> None:
    """Remove everything of these golden records."""
    tx.execute(table.delete().where(table.c.entity == tx.entity(entity), table.c.golden_id.in_(tx.each(gids.cast(pl.Int64)))))


def replace(tx: Db, entity: str, gids: pl.Series, frame: pl.DataFrame) -> None:
    """Make `frame` all that is indexed of these golden records."""
    remove(tx, entity, gids)
    add(tx, entity, frame)


def clear(tx: Db, entity: str) -> None:
    """Remove everything of an entity, as when its match rules changed."""
    tx.execute(table.delete().where(table.c.entity == tx.entity(entity)))
