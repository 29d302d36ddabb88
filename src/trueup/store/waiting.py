"""What waits for a person or another try, counted for all entities and systems at once; and what became of conflicts lately.

Nothing here grows with the number of records: open matters are few, and what is new is found by number or moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from trueup.store import golden
from trueup.store.schema import conflict, failure, hold, parked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from trueup.store.db import Db

Lane = tuple[str, str]


@dataclass
class Counts:
    """By entity. Failures are by (system, stage), holds by (system, kind) with their beginning, parked rows by system."""

    records: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    failures: dict[str, dict[Lane, int]] = field(default_factory=dict)
    holds: dict[str, dict[Lane, datetime]] = field(default_factory=dict)
    parked: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """A conflict that was settled: of which entity, how, and how long it had been open."""

    entity: str
    resolution: str
    at: datetime
    seconds: float


def counted(db: Db, entities: Iterable[str]) -> Counts:
    """How much waits in these entities."""
    found = Counts(records={name: golden.count(db, name) for name in entities})
    number, oldest = sa.func.count().label("number"), sa.func.min(conflict.c.opened_at, type_=conflict.c.opened_at.type).label("oldest")
    if db.holds(conflict):
        statement = sa.select(conflict.c.entity, number, oldest).where(conflict.c.closed_at.is_(None)).group_by(conflict.c.entity)
        for row in _rows(db, statement):
            found.conflicts[row["entity"]] = (row["number"], row["oldest"])
    if db.holds(failure):
        lane = (failure.c.entity, failure.c.system, failure.c.stage)
        for row in _rows(db, sa.select(*lane, number).select_from(failure).group_by(*lane)):
            found.failures.setdefault(row["entity"], {})[row["system"], row["stage"]] = row["number"]
    if db.holds(hold):
        for row in _rows(db, sa.select(hold.c.entity, hold.c.system, hold.c.kind, hold.c.since).where(hold.c.decision.is_(None))):
            found.holds.setdefault(row["entity"], {})[row["system"], row["kind"]] = row["since"]
    if db.holds(parked):
        for row in _rows(db, sa.select(parked.c.entity, parked.c.system, number).group_by(parked.c.entity, parked.c.system)):
            found.parked.setdefault(row["entity"], {})[row["system"]] = row["number"]
    return found


def newest_conflict(db: Db) -> int:
    """The number of the newest conflict, open or not; 0 where there was none."""
    return int(db.execute(sa.select(sa.func.coalesce(sa.func.max(conflict.c.id), 0))).scalar_one())


def opened_since(db: Db, number: int) -> dict[str, int]:
    """How many conflicts were opened after that one, by entity."""
    statement = sa.select(conflict.c.entity, sa.func.count().label("number")).where(conflict.c.id > number).group_by(conflict.c.entity)
    return {row["entity"]: row["number"] for row in _rows(db, statement)}


def settled_since(db: Db, moment: datetime) -> list[Settled]:
    """Conflicts that were settled after a moment, the earliest first."""
    columns = (conflict.c.entity, conflict.c.resolution, conflict.c.opened_at, conflict.c.closed_at)
    rows = _rows(db, sa.select(*columns).where(conflict.c.closed_at > moment).order_by(conflict.c.closed_at))
    return [
        Settled(row["entity"], row["resolution"] or "", row["closed_at"], (row["closed_at"] - row["opened_at"]).total_seconds())
        for row in rows
    ]


def _rows(db: Db, statement: sa.Select[Any]) -> list[dict[str, Any]]:
    """The rows as dicts, with names in place of codes."""
    rows = [dict(row._mapping) for row in db.execute(statement)]  # noqa: SLF001 - the documented way
    for kind in ("entity", "system"):
        if rows and kind in rows[0]:
            names = db.decode(kind, pl.Series([row[kind] for row in rows])).to_list()
            for row, name in zip(rows, names, strict=True):
                row[kind] = name
    return rows
