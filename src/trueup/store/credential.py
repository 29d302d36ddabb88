"""What is known of the tokens of systems without opening one. The tokens themselves are secrets (`vault`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.schema import credential as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db

PREFIX = "connect."
"""Secrets with such a name are tokens, which nobody types."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One token. `version` is that of its secret; None stands for what nobody knows. `asked_at`: see `schema`."""

    system: str
    secret: str
    version: int
    kind: str
    connected_at: datetime
    obtained_at: datetime
    expires_at: datetime | None = None
    renew_by: datetime | None = None
    scopes: tuple[str, ...] | None = None
    asked_at: datetime | None = None
    trouble: str | None = None
    trouble_at: datetime | None = None


def rows(db: Db) -> dict[str, Credential]:
    """All of them by system, sorted; none where the state was made by a trueup that knew none."""
    if not sa.inspect(db.connection).has_table(table.name):
        return {}
    return {row.system: _credential(row) for row in db.execute(sa.select(table).order_by(table.c.system))}


def get(db: Db, system: str) -> Credential | None:
    """That of one system."""
    row = db.execute(sa.select(table).where(table.c.system == system)).one_or_none()
    return None if row is None else _credential(row)


def put(tx: Db, one: Credential) -> None:
    """Keep it, in the place of the one before."""
    forget(tx, one.system)
    scopes = None if one.scopes is None else " ".join(one.scopes)
    values = {name: getattr(one, name) for name in Credential.__slots__}
    tx.execute(table.insert().values(**{**values, "scopes": scopes}))


def asked(tx: Db, system: str, at: datetime) -> None:
    """Somebody is about to renew it."""
    tx.execute(table.update().where(table.c.system == system).values(asked_at=at))


def ended(tx: Db, system: str, why: str, at: datetime) -> None:
    """It is not renewed any more: a person has to connect the system again."""
    tx.execute(table.update().where(table.c.system == system).values(trouble=why, trouble_at=at, asked_at=None))


def forget(tx: Db, system: str) -> None:
    """There is none."""
    tx.execute(table.delete().where(table.c.system == system))


def _credential(row: sa.Row[tuple[object, ...]]) -> Credential:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's own name for it
    scopes = values.pop("scopes")
    return Credential(**values, scopes=None if scopes is None else tuple(str(scopes).split()))
