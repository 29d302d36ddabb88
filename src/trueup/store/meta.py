"""Single facts about the state as a whole: key -> text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.prepared import Prepared, given
from trueup.store.schema import meta as table

if TYPE_CHECKING:
    from trueup.store.db import Db

_GET = Prepared(lambda _backend: sa.select(table.c.value).where(table.c.key == given("key")))


def get(db: Db, key: str) -> str | None:
    """The text; None where there is none."""
    found = _GET.first(db, key=key)
    return None if found is None else str(found[0])


def set_(tx: Db, key: str, value: str | None) -> None:
    """Keep a text; None removes it."""
    tx.execute(table.delete().where(table.c.key == key))
    if value is not None:
        tx.execute(table.insert().values(key=key, value=value))
