"""What a person paused: an entity, a system, or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from trueup.store.prepared import Prepared
from trueup.store.schema import paused as table

if TYPE_CHECKING:
    from trueup.store.db import Db

Kind = Literal["entity", "system", "all"]
_ALL = Prepared(lambda _backend: sa.select(table.c.kind, table.c.name))


def set_(tx: Db, kind: Kind, name: str = "") -> None:
    """Pause; pausing twice is pausing once. `name` is empty for `all`."""
    unset(tx, kind, name)
    tx.execute(table.insert().values(kind=kind, name=name))


def unset(tx: Db, kind: Kind, name: str = "") -> bool:
    """Resume; False where it was not paused."""
    return tx.execute(table.delete().where(table.c.kind == kind, table.c.name == name)).rowcount > 0


def list_(db: Db) -> list[tuple[str, str]]:
    """All (kind, name) that are paused, sorted."""
    return sorted((str(kind), str(name)) for kind, name in _ALL.rows(db))
