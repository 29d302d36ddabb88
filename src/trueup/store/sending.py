"""Intents: what is about to be written to a system, recorded before the first write of a batch and removed with its outcome."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import lanes
from trueup.store.schema import sending as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Sending:
    """One recorded intent. `owner` names the process that sends (None: not told); `frame` is as it was given to `add`."""

    id: int
    kind: str
    run: int | None
    at: datetime
    owner: str | None
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Intended:
    """An intent of which the outcome is known."""

    id: int
    kind: str
    run: int | None


def add(
    tx: Db, entity: str, system: str, kind: str, frame: pl.DataFrame, *, run: int | None, at: datetime, owner: str | None = None
) -> int:
    """Record an intent and give its id. The frame is kept as compressed Arrow, types and all."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    values = {"entity": tx.entity(entity), "system": tx.system(system), "kind": kind, "run": run, "at": at, "owner": owner}
    return int(tx.execute(table.insert().values(**values, payload=buffer.getvalue()).returning(table.c.id)).scalar_one())


def outstanding(db: Db, entity: str, system: str) -> list[Sending]:
    """Intents without an outcome, oldest first: after a crash, what may or may not have been written."""
    if not db.holds(table):
        return []
    rows = db.execute(sa.select(table).where(*lanes.within(db, table, entity, system)).order_by(table.c.id))
    return [Sending(row.id, row.kind, row.run, row.at, row.owner, pl.read_ipc(io.BytesIO(row.payload))) for row in rows]


def remove(tx: Db, *ids: int) -> list[Intended]:
    """Forget intents whose outcome is recorded, and say what they were; unknown ids are left out."""
    rows = tx.execute(table.delete().where(table.c.id.in_(ids)).returning(table.c.id, table.c.kind, table.c.run))
    return [Intended(row.id, row.kind, row.run) for row in rows]
