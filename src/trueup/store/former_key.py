"""Keys under which rows stood that are gone from there, and whose they were: other rows may still name them.

Frames: key, gid; `due` ones are of records that have a row under another key since, and whoever names them has not been told yet. Of a row
that was deleted the run is kept in which it went: its record gets that key back where it is made again, if nobody else has it by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import former_key as table
from trueup.store.schema import shadow as shadows

if TYPE_CHECKING:
    from trueup.store.db import Db


def note(tx: Db, entity: str, system: str, keys: pl.Series, *, deleted_in: int | None = None) -> None:
    """Remember whose rows stand under these keys now; to be called before they are forgotten.

    `deleted_in`: the run in which these rows are deleted; None: their records have them under other keys from now on.
    """
    here = (*lanes.within(tx, shadows, entity, system), shadows.c.key.in_(tx.each(keys.cast(pl.String))))
    rows = tx.frame(sa.select(shadows.c.key, shadows.c.golden_id).where(*here)).drop_nulls()
    rows = rows.with_columns(due=pl.lit(value=False), run=pl.lit(deleted_in, dtype=pl.Int64))
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


def of_deleted(db: Db, entity: str, system: str, gids: pl.Series) -> pl.DataFrame:
    """Under which key (gid, key) each of these records had its row there when that was last deleted; the others are left out."""
    if gids.is_empty() or not db.holds(table):
        return pl.DataFrame(schema={"gid": pl.Int64(), "key": pl.String()})
    mine = (*lanes.within(db, table, entity, system), table.c.golden_id.in_(db.each(gids)), table.c.run.is_not(None))
    rows = db.frame(sa.select(table.c.golden_id.label("gid"), table.c.key, table.c.run).where(*mine))
    return rows.sort("run", "key").unique("gid", keep="last").select("gid", "key")


def not_again(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Give none of these keys back to its record: the system did not take it."""
    tx.execute(table.update().where(*lanes.within(tx, table, entity, system), table.c.key.in_(tx.each(keys))).values(run=None))
