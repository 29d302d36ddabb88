"""How many rows were deleted or changed lately: for the rolling hour and day of the guards, and what is usual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from trueup.core import quick
from trueup.store import bulk, lanes
from trueup.store.moments import to_micros
from trueup.store.prepared import Prepared, given
from trueup.store.schema import activity as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db

import polars as pl

Kind = Literal["deletes", "updates"]
_NEVER = (1 << 63) - 1
_LANE = (table.c.entity == given("entity"), table.c.system == given("system"), table.c.kind == given("kind"))
_AT = sa.type_coerce(table.c.at, sa.BigInteger)
_FORGET = Prepared(lambda _backend: table.delete().where(*_LANE, given("first") <= _AT, given("end") > _AT))


def add(tx: Db, entity: str, system: str, kind: Kind, *, at: datetime, rows: int) -> None:
    """Count rows at a moment; several at the same moment add up. Zero rows leave no trace."""
    if rows == 0:
        return
    scope = {"entity": tx.entity(entity), "system": tx.system(system), "kind": kind}
    frame = quick.table({"at": quick.series("at", [to_micros(at)], pl.Int64()), "rows": quick.series("rows", [rows], pl.Int64())})
    bulk.upsert(tx, table, frame, scope, keys=["entity", "system", "kind", "at"], update=[], more={"rows": "activity.rows + excluded.rows"})


def since(db: Db, entity: str, system: str, kind: Kind, moment: datetime) -> int:
    """How many rows were counted at or after `moment`."""
    statement = sa.select(sa.func.coalesce(sa.func.sum(table.c.rows), 0))
    return int(
        db.execute(statement.where(*lanes.within(db, table, entity, system), table.c.kind == kind, table.c.at >= moment)).scalar_one()
    )


def lately(db: Db, entity: str, system: str, kind: Kind, moment: datetime) -> pl.DataFrame:
    """What was counted at or after `moment`, oldest first: at, rows."""
    statement = sa.select(table.c.at, table.c.rows).where(
        *lanes.within(db, table, entity, system), table.c.kind == kind, table.c.at >= moment
    )
    return db.frame(statement.order_by(table.c.at))


def forget(tx: Db, entity: str, system: str, kind: Kind, *, since: datetime | None = None, before: datetime | None = None) -> None:
    """Drop what was counted from a moment on, or before one."""
    first = 0 if since is None else to_micros(since)
    end = _NEVER if before is None else to_micros(before)
    _FORGET.change(tx, entity=tx.entity(entity), system=tx.system(system), kind=kind, first=first, end=end)
