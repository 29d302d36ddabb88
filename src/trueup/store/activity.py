"""How many rows were deleted or changed lately, for the rolling hour of the guards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import activity as table
from trueup.store.schema import to_micros

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db

import polars as pl

Kind = Literal["deletes", "updates"]


def add(tx: Db, entity: str, system: str, kind: Kind, *, at: datetime, rows: int) -> None:
    """Count rows at a moment; several at the same moment add up. Zero rows leave no trace."""
    if rows == 0:
        return
    scope = {"entity": tx.entity(entity), "system": tx.system(system), "kind": kind}
    frame = pl.DataFrame({"at": [to_micros(at)], "rows": [rows]})
    bulk.upsert(tx, table, frame, scope, keys=["entity", "system", "kind", "at"], update=[], more={"rows": "activity.rows + excluded.rows"})


def since(db: Db, entity: str, system: str, kind: Kind, moment: datetime) -> int:
    """How many rows were counted at or after `moment`."""
    statement = sa.select(sa.func.coalesce(sa.func.sum(table.c.rows), 0))
    return int(
        db.execute(statement.where(*lanes.within(db, table, entity, system), table.c.kind == kind, table.c.at >= moment)).scalar_one()
    )


def forget(tx: Db, before: datetime) -> None:
    """Drop what is older than `before`."""
    tx.execute(table.delete().where(table.c.at < before))
