"""The review queue.

Frames: id Int64, gid Int64, field String, kind `conflict` | `hold`, base / golden String (cells; null: none),
candidates String (JSON), run Int64, opened_at, closed_at (null: open), resolution String.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import conflict as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db

OPEN = table.c.closed_at.is_(None)


def open_(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Open conflicts by (gid, field): frame `gid`, `field`, `kind`, `base`, `golden`, `candidates`, `run`, `opened_at`.

    One that is open already keeps its id, run and time and takes the new kind, base, golden and candidates.
    """
    bulk.upsert(
        tx,
        table,
        lanes.coded(tx, frame),
        {"entity": tx.entity(entity)},
        keys=["entity", "golden_id", "field"],
        update=[name for name in ("kind", "base", "golden", "candidates") if name in frame.columns],
        where="closed_at IS NULL",
    )


def close(tx: Db, ids: pl.Series, at: datetime, resolution: str) -> None:
    """Close open conflicts, saying how they were settled; closed or unknown ones stay as they are."""
    tx.execute(table.update().where(table.c.id.in_(tx.each(ids.cast(pl.Int64))), OPEN).values(closed_at=at, resolution=resolution))


def open_of(db: Db, entity: str | None, gids: pl.Series | None = None) -> pl.DataFrame:
    """Open conflicts of an entity (None: of all), or only of these golden records, oldest first; with `entity`."""
    if not db.holds(table):
        return lanes.nothing(table)
    statement = sa.select(*lanes.columns(table)).where(OPEN, *lanes.within(db, table, entity, None)).order_by(table.c.id)
    if gids is not None:
        statement = statement.where(table.c.golden_id.in_(db.each(gids.cast(pl.Int64))))
    return lanes.named(db, db.frame(statement))


def get(db: Db, id_: int) -> dict[str, Any] | None:
    """One conflict, open or closed, as a dict; None where there is none."""
    return lanes.one(db, sa.select(*lanes.columns(table)).where(table.c.id == id_))


def count(db: Db, entity: str | None = None) -> int:
    """How many are open."""
    if not db.holds(table):
        return 0
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(OPEN, *lanes.within(db, table, entity, None))).scalar_one())
