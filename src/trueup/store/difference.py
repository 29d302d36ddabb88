"""Since when records are known not to be as agreed in a system: one line for each, from the comparison that first found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.moments import to_micros
from trueup.store.schema import difference as table

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from trueup.store.db import Db

TOO_MANY = "*"
"""Stands for all of a system's differences, where they are too many to note each."""


def of(db: Db, entity: str, system: str) -> dict[str, datetime]:
    """Subject -> since when; see `schema.difference`."""
    rows = db.execute(sa.select(table.c.subject, table.c.since).where(*lanes.within(db, table, entity, system)))
    return {row.subject: row.since for row in rows}


def note(tx: Db, entity: str, system: str, subjects: Collection[str], at: datetime) -> dict[str, datetime]:
    """A comparison at a moment found these, and no others: those that are known keep their time. Subject -> since when."""
    known = of(tx, entity, system)
    over = known.keys() - set(subjects)
    fresh = [subject for subject in dict.fromkeys(subjects) if subject not in known]
    lane = lanes.within(tx, table, entity, system)
    if over:
        tx.execute(table.delete().where(*lane, table.c.subject.in_(tx.each(pl.Series(sorted(over), dtype=pl.String)))))
    if fresh:
        frame = pl.DataFrame({"subject": fresh}, schema={"subject": pl.String()})
        bulk.insert(tx, table, frame, {"entity": tx.entity(entity), "system": tx.system(system), "since": to_micros(at)})
    return {subject: known.get(subject, at) for subject in subjects}
