"""The mappings behind the shadows, kept so that a changed configuration can be told from changed data.

A lane's standing (`cursor`) names the one under which it was last read whole. Later ones were begun: a run under them may have been
interrupted, so that any of them may be behind some of the shadows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store import cursor, lanes
from trueup.store.moments import from_micros
from trueup.store.prepared import Prepared, given
from trueup.store.schema import mapping_version as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class MappingVersion:
    """One version of a mapping; `spec` is the text given to `put`."""

    id: int
    spec: str
    at: datetime


def put(tx: Db, entity: str, system: str, spec: str, *, at: datetime) -> int:
    """Keep a mapping and give its id; the id of the newest one where that is the same text."""
    newest = latest(tx, entity, system)
    if newest is not None and newest.spec == spec:
        return newest.id
    values = {"entity": tx.entity(entity), "system": tx.system(system), "spec": spec, "at": at}
    return int(tx.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())


def amend(tx: Db, id_: int, spec: str) -> None:
    """Change what a kept mapping says."""
    tx.execute(table.update().where(table.c.id == id_).values(spec=spec))


_SINCE = Prepared(
    lambda _backend: (
        sa.select(table.c.id, table.c.spec, table.c.at)
        .where(table.c.entity == given("entity"), table.c.system == given("system"), table.c.id >= given("whole"))
        .order_by(table.c.id)
    )
)


def behind(db: Db, entity: str, system: str) -> list[MappingVersion]:
    """The mappings that may be behind a lane's shadows, oldest first: that of its last whole reading, and those begun since."""
    whole = cursor.get(db, entity, system).mapping_version
    if whole is None:
        newest = latest(db, entity, system)
        return [] if newest is None else [newest]
    rows = _SINCE.rows(db, entity=db.entity(entity), system=db.system(system), whole=whole)
    return [MappingVersion(id_, spec, from_micros(at)) for id_, spec, at in rows]


def latest(db: Db, entity: str, system: str) -> MappingVersion | None:
    """The newest mapping of a lane; None where there is none."""
    statement = sa.select(table).where(*lanes.within(db, table, entity, system)).order_by(table.c.id.desc()).limit(1)
    row = db.execute(statement).one_or_none()
    return None if row is None else MappingVersion(row.id, row.spec, row.at)


def get(db: Db, id_: int) -> MappingVersion | None:
    """One mapping by id; None where there is none."""
    row = db.execute(sa.select(table).where(table.c.id == id_)).one_or_none()
    return None if row is None else MappingVersion(row.id, row.spec, row.at)
