"""Held parts of a run: a guard stopped them, and a person approves up to a ceiling, refuses, or leaves both sides as they are.

Frames: id Int64, entity, system, kind String, counts / limit_ String (JSON), since,
decision `approved` | `refused` | `left` (null: none yet), ceiling Int64, decided_at, decided_by String.
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


Decision = Literal["approved", "refused", "left"]


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


def decide(tx: Db, id_: int, decision: Decision, *, at: datetime, ceiling: int | None = None, who: str | None = None) -> bool:
    """Record the decision of a person (`who`: user@host); False where there is no undecided hold of this id."""
    statement = table.update().where(table.c.id == id_, table.c.decision.is_(None))
    return tx.execute(statement.values(decision=decision, ceiling=ceiling, decided_at=at, decided_by=who)).rowcount > 0


def clear(tx: Db, entity: str, system: str, kind: str, *, decided: bool) -> None:
    """Forget the holds of one kind in a lane: those that nobody decided, or those of which the decision was carried out."""
    if not tx.holds(table):
        return
    open_ = table.c.decision.is_not(None) if decided else table.c.decision.is_(None)
    tx.execute(table.delete().where(*lanes.within(tx, table, entity, system), table.c.kind == kind, open_))
