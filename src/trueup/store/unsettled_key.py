"""Keys to be read again by key because their last reading settled nothing. Frames: key, why String, since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import unsettled_key as table

if TYPE_CHECKING:
    from trueup.store.db import Db


def put(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> None:
    """Remember keys: frame `key`, `why`, `since`. One that is known keeps its time and takes the new reason."""
    scope = {"entity": tx.entity(entity), "system": tx.system(system)}
    bulk.upsert(tx, table, frame, scope, keys=["entity", "system", "key"], update=["why"])


def remove(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Forget keys that have settled."""
    if keys.is_empty() or not tx.holds(table):
        return
    tx.execute(table.delete().where(*lanes.within(tx, table, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String)))))


def of(db: Db, entity: str, system: str) -> pl.DataFrame:
    """The keys of a lane, by key."""
    if not db.holds(table):
        return lanes.nothing(table, without=("entity", "system"))
    statement = sa.select(*lanes.columns(table, without=("entity", "system"))).where(*lanes.within(db, table, entity, system))
    return db.frame(statement.order_by(table.c.key))


def why(db: Db, entity: str, system: str, key: str) -> str | None:
    """Why one key is to be read again; None where it is not."""
    if not db.holds(table):
        return None
    found: str | None = db.execute(sa.select(table.c.why).where(*lanes.within(db, table, entity, system), table.c.key == key)).scalar()
    return found
