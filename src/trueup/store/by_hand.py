"""What was done by hand: when somebody carried out a manual process, and how many minutes it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from trueup.store.schema import done_by_hand as table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Done:
    """One time. `minutes` None: not told; `steps`: minutes by number of the step, of those that were told; `note` None: none."""

    process: str
    at: datetime
    who: str
    minutes: float | None = None
    steps: Mapping[int, float] = field(default_factory=dict)
    note: str | None = None


def add(tx: Db, done: Done) -> int:
    """Note one; its number."""
    steps = orjson.dumps({str(number): minutes for number, minutes in done.steps.items()}).decode() if done.steps else None
    values = {"process": done.process, "at": done.at, "minutes": done.minutes, "steps": steps, "note": done.note, "who": done.who}
    return int(tx.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())


def last(db: Db) -> dict[str, datetime]:
    """When each process was carried out last; those that never were are left out."""
    newest = sa.func.max(table.c.at, type_=table.c.at.type).label("at")
    return {row.process: row.at for row in db.execute(sa.select(table.c.process, newest).group_by(table.c.process))}


def since(db: Db, moment: datetime) -> list[Done]:
    """All of it from a moment on, the earliest first."""
    rows = db.execute(sa.select(table).where(table.c.at >= moment).order_by(table.c.at, table.c.id))
    return [
        Done(
            row.process,
            row.at,
            row.who,
            row.minutes,
            {int(number): float(minutes) for number, minutes in orjson.loads(row.steps or "{}").items()},
            row.note,
        )
        for row in rows
    ]
