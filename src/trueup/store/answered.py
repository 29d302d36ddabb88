"""What was answered to requests that may come twice: the same one again is answered the same, and does nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.schema_people import answered as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Answered:
    """One request. `request` is a hash of it; `status` and `body` are None while it is at work, or where it was cut off."""

    request: str
    at: datetime
    status: int | None
    body: str | None


def begin(tx: Db, who: str, key: str, request: str, *, at: datetime, forget_before: datetime) -> Answered | None:
    """Note that a request is being answered; the one that has this key already, where there is one."""
    tx.execute(table.delete().where(table.c.at < forget_before))
    row = tx.execute(sa.select(table).where(table.c.who == who, table.c.key == key)).one_or_none()
    if row is not None:
        return Answered(row.request, row.at, row.status, row.body)
    tx.execute(table.insert().values(who=who, key=key, request=request, at=at))
    return None


def ended(tx: Db, who: str, key: str, status: int, body: str) -> None:
    """Keep the answer."""
    tx.execute(table.update().where(table.c.who == who, table.c.key == key).values(status=status, body=body))


def forget(tx: Db, who: str, key: str) -> None:
    """It was not answered: it may be tried again."""
    tx.execute(table.delete().where(table.c.who == who, table.c.key == key))
