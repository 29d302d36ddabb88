"""Names of entities and systems in the state, and giving one another name (`was:`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from trueup.errors import StateError
from trueup.store import schema

if TYPE_CHECKING:
    from trueup.store.db import Db

Kind = Literal["entity", "system"]


def list_(db: Db, kind: Kind) -> list[str]:
    """All names that the state has seen, sorted."""
    table = _table(kind)
    return sorted(db.execute(sa.select(table.c.name)).scalars())


def rename(tx: Db, kind: Kind, old: str, new: str) -> bool:
    """Give an entity or system another name; everything kept of it stays. False where `old` is not known.

    Raises StateError where the state already keeps something under `new`.
    """
    table = _table(kind)
    known = list_(tx, kind)
    if old not in known:
        return False
    if new in known:
        raise StateError(
            f"the {kind} {old} cannot be renamed: the state already knows a {kind} {new}", hint="remove `was:` or choose another name"
        )
    tx.execute(table.update().where(table.c.name == old).values(name=new))
    tx.forget_names()
    return True


def _table(kind: Kind) -> sa.Table:
    return schema.entity_name if kind == "entity" else schema.system_name
