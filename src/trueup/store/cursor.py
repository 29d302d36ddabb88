"""Where each lane stands: cursor and mark of its readings, the last whole one, the newest golden version considered, the mapping used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trueup.store import lanes
from trueup.store.moments import from_micros
from trueup.store.prepared import Prepared, given
from trueup.store.schema import cursor as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db

_NAMES = frozenset({"cursor", "full_at", "full_rows", "considered_version", "mapping_version", "mark"})


@dataclass(frozen=True, slots=True)
class Cursor:
    """A lane's standing; None: not known, never done."""

    cursor: str | None = None
    full_at: datetime | None = None
    full_rows: int | None = None
    considered_version: int = 0
    mapping_version: int | None = None
    mark: str | None = None


_GET = Prepared(
    lambda _backend: sa.select(
        table.c.cursor, table.c.full_at, table.c.full_rows, table.c.considered_version, table.c.mapping_version, table.c.mark
    ).where(table.c.entity == given("entity"), table.c.system == given("system"))
)


def get(db: Db, entity: str, system: str) -> Cursor:
    """The lane's standing; the defaults for one never seen."""
    row = _GET.first(db, entity=db.entity(entity), system=db.system(system))
    if row is None:
        return Cursor()
    read_to, full_at, *rest = row
    return Cursor(read_to, None if full_at is None else from_micros(full_at), *rest)


def set_(tx: Db, entity: str, system: str, **changes: Any) -> None:
    """Change parts of a lane's standing, named as in `Cursor`; the others stay. Raises ValueError for other names."""
    if not changes.keys() <= _NAMES:
        message = f"a cursor has no {', '.join(sorted(changes.keys() - _NAMES))}"
        raise ValueError(message)
    lane = lanes.within(tx, table, entity, system)
    if not changes:
        return
    if tx.execute(table.update().where(*lane).values(**changes)).rowcount == 0:
        tx.execute(table.insert().values(entity=tx.entity(entity), system=tx.system(system), **changes))
