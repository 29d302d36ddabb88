"""Parked rows: nobody but a person can say which golden record they are.

Frames: id Int64, entity, system, key String, candidates String
(JSON list of golden ids), why String, run Int64, since, decision String (JSON; null: none yet), decided_at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import parked as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


def put(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Park rows by (system, key): frame `system`, `key`, `candidates`, `why`, `run`, `since`.

    A row that is parked already keeps its id, run, time and decision and takes the new candidates and reason.
    """
    bulk.upsert(
        tx, table, lanes.coded(tx, frame), {"entity": tx.entity(entity)}, keys=["entity", "system", "key"], update=["candidates", "why"]
    )


def remove(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Take rows out; keys that are not parked are left out."""
    tx.execute(table.delete().where(*lanes.within(tx, table, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String)))))


def forget_question(tx: Db, entity: str, system: str, key: str, beginning: str) -> None:
    """Take a row out, if it is still parked for the reason that begins like this."""
    mine = (*lanes.within(tx, table, entity, system), table.c.key == key, table.c.why.startswith(beginning, autoescape=True))
    tx.execute(table.delete().where(*mine))


def of(db: Db, entity: str | None = None, system: str | None = None) -> pl.DataFrame:
    """Parked rows of an entity and system (None: of all), oldest first."""
    if not db.holds(table):
        return lanes.nothing(table)
    return lanes.named(db, db.frame(sa.select(*lanes.columns(table)).where(*lanes.within(db, table, entity, system)).order_by(table.c.id)))


def at(db: Db, entity: str, system: str, key: str) -> dict[str, Any] | None:
    """The parked row under one key; None where there is none."""
    if not db.holds(table):
        return None
    return lanes.one(db, sa.select(*lanes.columns(table)).where(*lanes.within(db, table, entity, system), table.c.key == key))


def perhaps(db: Db, entity: str, system: str, gid: int) -> pl.DataFrame:
    """The rows of one system that may be this golden record, as far as anybody knows; oldest first."""
    if not db.holds(table):
        return lanes.nothing(table)
    number = f",{gid},"
    listed = sa.literal(",") + sa.func.replace(sa.func.replace(table.c.candidates, "[", ""), "]", "") + sa.literal(",")
    wanted = (*lanes.within(db, table, entity, system), listed.contains(number, autoescape=True))
    return lanes.named(db, db.frame(sa.select(*lanes.columns(table)).where(*wanted).order_by(table.c.id)))


def get(db: Db, id_: int) -> dict[str, Any] | None:
    """One parked row as a dict; None where there is none."""
    return lanes.one(db, sa.select(*lanes.columns(table)).where(table.c.id == id_))


def decide(tx: Db, id_: int, decision: str, at: datetime) -> bool:
    """Record a person's decision (JSON), which the next run carries out; False where nothing is parked under this id."""
    return tx.execute(table.update().where(table.c.id == id_).values(decision=decision, decided_at=at)).rowcount > 0


def count(db: Db, entity: str | None = None, system: str | None = None) -> int:
    """How many rows are parked."""
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(*lanes.within(db, table, entity, system))).scalar_one())
