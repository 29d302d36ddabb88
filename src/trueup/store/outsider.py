"""Rows outside of a mapping's filter in whose place records would have theirs: none is made for as long as they stand there.

Frames: gid, key, fingerprint Int64 (of the row, as it was when it was found there; null: not known).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import outsider as table

if TYPE_CHECKING:
    import polars as pl

    from trueup.store.db import Db


def put(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> None:
    """Note rows, one for each record: a later one takes the place of an earlier one."""
    scope = {"entity": tx.entity(entity), "system": tx.system(system)}
    bulk.upsert(tx, table, frame.rename({"gid": "golden_id"}), scope, keys=["entity", "system", "golden_id"])


def remove(tx: Db, entity: str, system: str, gids: pl.Series) -> None:
    """Forget what stood in the place of these records."""
    if gids.is_empty() or not tx.holds(table):
        return
    tx.execute(table.delete().where(*lanes.within(tx, table, entity, system), table.c.golden_id.in_(tx.each(gids))))


def key_in_place_of(db: Db, entity: str, system: str, gid: int) -> str | None:
    """The key of what stands in the place of one record; None for nothing."""
    if not db.holds(table):
        return None
    scope = lanes.within(db, table, entity, system)
    key: str | None = db.execute(sa.select(table.c.key).where(*scope, table.c.golden_id == gid)).scalar()
    return key


def of(db: Db, entity: str, system: str) -> pl.DataFrame:
    """What stands in the place of records in a system, by record."""
    if not db.holds(table):
        return lanes.nothing(table, without=("entity", "system"))
    statement = sa.select(*lanes.columns(table, without=("entity", "system"))).where(*lanes.within(db, table, entity, system))
    return db.frame(statement.order_by(table.c.golden_id))
