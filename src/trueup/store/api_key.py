"""Keys of programs that use the API for a person. Of a key only a hash is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.schema_people import api_key as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. `old_hash` is good until `old_until`, after a rotation; None elsewhere: it never happened."""

    id: str
    person: int
    name: str
    scopes: tuple[str, ...]
    hash: str
    created_at: datetime
    expires_at: datetime
    old_hash: str | None = None
    old_until: datetime | None = None
    rotated_at: datetime | None = None
    used_at: datetime | None = None
    used_from: str | None = None
    revoked_at: datetime | None = None


def list_(db: Db, person: int | None = None) -> list[ApiKey]:
    """All of them, or those of one person, the newest first."""
    mine = [] if person is None else [table.c.person == person]
    return [_key(row) for row in db.execute(sa.select(table).where(*mine).order_by(table.c.created_at.desc(), table.c.id))]


def get(db: Db, id_: str) -> ApiKey | None:
    """One, whether or not it is still good."""
    row = db.execute(sa.select(table).where(table.c.id == id_)).one_or_none()
    return None if row is None else _key(row)


def add(tx: Db, one: ApiKey) -> None:
    """Keep a new key."""
    tx.execute(table.insert().values(**{name: getattr(one, name) for name in ApiKey.__slots__} | {"scopes": " ".join(one.scopes)}))


def rotate(tx: Db, id_: str, hash_: str, *, at: datetime, old_until: datetime, expires_at: datetime) -> None:
    """Another secret from now on; the one before is good until `old_until`."""
    values = {"old_hash": table.c.hash, "hash": hash_, "old_until": old_until, "rotated_at": at, "expires_at": expires_at}
    tx.execute(table.update().where(table.c.id == id_).values(values))


def revoke(tx: Db, id_: str, at: datetime) -> None:
    """It opens nothing any more."""
    tx.execute(table.update().where(table.c.id == id_, table.c.revoked_at.is_(None)).values(revoked_at=at))


def used(tx: Db, id_: str, at: datetime, address: str) -> None:
    """Somebody used it."""
    tx.execute(table.update().where(table.c.id == id_).values(used_at=at, used_from=address))


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's own name for it
    return ApiKey(**values | {"scopes": tuple(str(values["scopes"]).split())})
