"""Locks that were made in systems: of which object, what they keep others from, and what they were like when they were made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.core.rights import Exchange, Right
from trueup.model import Lock, ObjectSpec
from trueup.store.schema import system_name
from trueup.store.schema import write_lock as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class WriteLock:
    """One lock. `digest` is None where it was begun, and nothing is known of its end; `who` is None where nobody is known.

    `rights` is what a lock by rights took and gave; None: the lock is one of triggers.
    """

    system: str
    object: ObjectSpec
    lock: Lock
    digest: str | None
    at: datetime
    who: str | None = None
    rights: Exchange | None = None


def keep(tx: Db, found: WriteLock) -> None:
    """Keep a lock, in the place of one on the same object."""
    forget(tx, found.system, found.object.label)
    rights = {"rights": asdict(found.rights)} if found.rights is not None else {}
    spec = {"object": asdict(found.object), "columns": dict(found.lock.columns), "rows": list(found.lock.rows), **rights}
    tx.execute(
        table.insert().values(
            system=tx.system(found.system),
            object=found.object.label,
            spec=json.dumps(spec, default=str),
            digest=found.digest,
            at=found.at,
            who=found.who,
        )
    )


def forget(tx: Db, system: str, label: str) -> None:
    """There is no lock on this object any more."""
    tx.execute(table.delete().where(table.c.system == tx.system(system), table.c.object == label))


def list_(db: Db) -> list[WriteLock]:
    """All of them, by system and object."""
    statement = sa.select(table, system_name.c.name.label("name")).join(system_name, system_name.c.id == table.c.system)
    found = []
    for row in db.execute(statement.order_by(system_name.c.name, table.c.object)):
        spec = json.loads(row.spec)
        obj = ObjectSpec(**{**spec["object"], "key": tuple(spec["object"]["key"])})
        rights = spec.get("rights")
        exchange = None if rights is None else Exchange(*(tuple(Right(**one) for one in rights[name]) for name in ("taken", "given")))
        found.append(WriteLock(row.name, obj, Lock(spec["columns"], tuple(spec["rows"])), row.digest, row.at, row.who, exchange))
    return found
