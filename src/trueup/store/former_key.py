"""Keys under which rows stood that are gone from there, and whose they were: other rows may still name them.

Frames: key, gid; `due` ones are of records that have a row under another key since, and whoever names them has not been told yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes, shadow
from trueup.store.schema import former_key as table

if TYPE_CHECKING:
    from trueup.store.db import Db


def note(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Remember whose rows stand under these keys now; to be called before they are forgotten."""
    rows = shadow.by_key(tx, entity, system, keys).drop_nulls("gid").select("key", golden_id="gid", due=pl.lit(value=False))
    scope = {"entity": tx.entity(entity), "system": tx.system(system)}
    bulk.upsert(tx, table, rows, scope, keys=["entity", "system", "key"])


def made_again(tx: Db, entity: str, system: str, gids: pl.Series) -> None:
    """These records have a row there: whoever names an earlier one of theirs is to be told."""
    if gids.is_empty() or not tx.holds(table):
        return
    mine = (*lanes.within(tx, table, entity, system), table.c.golden_id.in_(tx.each(gids)))
    tx.execute(table.update().where(*mine).values(due=True))


def told(tx: Db, entity: str, due: pl.DataFrame) -> None:
    """Whoever names one of these (`system`, `gid`) knows."""
    for (system,), mine in due.partition_by("system", as_dict=True).items():
        here = (*lanes.within(tx, table, entity, str(system)), table.c.golden_id.in_(tx.each(mine["gid"])))
        tx.execute(table.update().where(*here).values(due=False))


def due(db: Db, entity: str) -> pl.DataFrame:
    """(system, gid) of those that are due."""
    if not db.holds(table):
        return pl.DataFrame(schema={"system": pl.String(), "gid": pl.Int64()})
    columns = (table.c.system, table.c.golden_id.label("gid"))
    return lanes.named(db, db.frame(sa.select(*columns).where(*lanes.within(db, table, entity, None), table.c.due).distinct()))


def by_key(db: Db, entity: str, system: str, keys: pl.Series) -> pl.DataFrame:
    """Whose rows stood under these keys: key, gid."""
    if keys.is_empty() or not db.holds(table):
        return pl.DataFrame(schema={"key": pl.String(), "gid": pl.Int64()})
    scope = lanes.within(db, table, entity, system)
    return db.frame(sa.select(table.c.key, table.c.golden_id.label("gid")).where(*scope, table.c.key.in_(db.each(keys))))
