"""Single facts about the state as a whole: key -> text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.schema import meta as table

if TYPE_CHECKING:
    from trueup.store.db import Db


def get(db: Db, key: str) -> str | None:
    """The text; None where there is none."""
    return db.execute(sa.select(table.c.value).where(table.c.key == key)).scalar_one_or_none()


def set_(tx: Db, key: str, value: str | None) -> None:
    """Keep a text; None removes it."""
    tx.execute(table.delete().where(table.c.key == key))
    if value is not None:
        tx.execute(table.insert().values(key=key, value=value))
