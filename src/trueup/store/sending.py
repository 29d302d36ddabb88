"""Intents: what is about to be written to a system, recorded before the first write of a batch and removed with its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store import lanes
from trueup.store.arrow import from_arrow, to_arrow
from trueup.store.moments import to_micros
from trueup.store.prepared import Prepared, given
from trueup.store.schema import sending as table

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from trueup.store.db import Db
    from trueup.store.prepared import Value


@dataclass(frozen=True, slots=True)
class Sending:
    """One recorded intent. `owner` names the process that sends (None: not told); `frame` is as it was packed."""

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


_ADD = Prepared(
    lambda _backend: (
        table.insert()
        .values({name: given(f"its_{name}") for name in ("entity", "system", "kind", "run", "at", "owner", "payload")})
        .returning(table.c.id)
    )
)


_REMOVE = Prepared(lambda _backend: table.delete().where(table.c.id == given("id_")).returning(table.c.id, table.c.kind, table.c.run))


def packed(frame: pl.DataFrame) -> bytes:
    """The frame of an intent as it is kept. It takes a while for many rows, in which nobody needs to have the state for himself."""
    return to_arrow(frame, quickly=True)


def add(tx: Db, entity: str, system: str, kind: str, payload: bytes, *, run: int | None, at: datetime, owner: str | None = None) -> int:
    """Record an intent, whose frame is `packed`, and give its id."""
    values: dict[str, Value] = {"its_entity": tx.entity(entity), "its_system": tx.system(system), "its_kind": kind, "its_run": run}
    values |= {"its_at": to_micros(at), "its_owner": owner, "its_payload": payload}
    return int(_ADD.rows(tx, **values)[0][0])


def outstanding(db: Db, entity: str, system: str) -> list[Sending]:
    """Intents without an outcome, oldest first: after a crash, what may or may not have been written."""
    if not db.holds(table):
        return []
    rows = db.execute(sa.select(table).where(*lanes.within(db, table, entity, system)).order_by(table.c.id))
    return [Sending(row.id, row.kind, row.run, row.at, row.owner, from_arrow(row.payload)) for row in rows]


def remove(tx: Db, *ids: int) -> list[Intended]:
    """Forget intents whose outcome is recorded, and say what they were; unknown ids are left out."""
    return [Intended(*row) for id_ in ids for row in _REMOVE.rows(tx, id_=id_)]
