"""Held parts of a run: a guard stopped them, and a person approves up to a ceiling or refuses.

Frames: id Int64, entity, system, kind String, counts / limit_ String (JSON), since,
decision `approved` | `refused` (null: none yet), ceiling Int64, decided_at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from trueup.store import lanes
from trueup.store.schema import hold as table

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from trueup.store.db import Db


def put(tx: Db, entity: str, system: str, kind: str, *, counts: str, limit: str, since: datetime) -> int:
    """Hold a part and give the id. While one of this entity, system and kind is undecided, it takes the new counts and keeps its time."""
    lane = lanes.within(tx, table, entity, system)
    found = tx.execute(sa.select(table.c.id).where(*lane, table.c.kind == kind, table.c.decision.is_(None))).scalar_one_or_none()
    if found is not None:
        tx.execute(table.update().where(table.c.id == found).values(counts=counts, limit_=limit))
        return int(found)
    values = {"entity": tx.entity(entity), "system": tx.system(system), "kind": kind, "counts": counts, "limit_": limit, "since": since}
    return int(tx.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())


def of(db: Db, entity: str | None = None, system: str | None = None, *, decided: bool | None = None) -> pl.DataFrame:
    """Holds of an entity and system (None: of all), oldest first; only decided or undecided ones, or (None) both."""
    if not db.holds(table):
        return lanes.nothing(table)
    statement = sa.select(*lanes.columns(table)).where(*lanes.within(db, table, entity, system)).order_by(table.c.id)
    if decided is not None:
        statement = statement.where(table.c.decision.is_not(None) if decided else table.c.decision.is_(None))
    return lanes.named(db, db.frame(statement))


def any_(db: Db) -> bool:
    """Whether there is any at all, decided or not."""
    return db.holds(table)


def get(db: Db, id_: int) -> dict[str, Any] | None:
    """One hold as a dict; None where there is none."""
    return lanes.one(db, sa.select(*lanes.columns(table)).where(table.c.id == id_))


def decide(tx: Db, id_: int, decision: Literal["approved", "refused"], *, at: datetime, ceiling: int | None = None) -> bool:
    """Record a person's decision; False where there is no undecided hold of this id."""
    statement = table.update().where(table.c.id == id_, table.c.decision.is_(None))
    return tx.execute(statement.values(decision=decision, ceiling=ceiling, decided_at=at)).rowcount > 0


def clear(tx: Db, entity: str, system: str, kind: str | None = None) -> None:
    """Forget the holds of a lane, of one kind or (None) of all, decided or not: the run that they stopped has passed."""
    if not tx.holds(table):
        return
    statement = table.delete().where(*lanes.within(tx, table, entity, system))
    tx.execute(statement if kind is None else statement.where(table.c.kind == kind))
