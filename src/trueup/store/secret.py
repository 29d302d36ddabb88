"""Secrets as they are kept: sealed values by name, and the sealed data keys. `vault` seals and opens them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trueup.store.schema import data_key as keys_table
from trueup.store.schema import secret as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is kept. `data_key` and `sealed` are None where it was removed."""

    name: str
    version: int
    data_key: str | None
    sealed: bytes | None
    at: datetime


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A data key, sealed under the master key with the id `master`."""

    id: str
    master: str
    sealed: bytes
    at: datetime


def rows(db: Db) -> dict[str, Sealed]:
    """Every name that ever held a secret, sorted."""
    found = db.execute(sa.select(table.c.name, table.c.version, table.c.data_key, table.c.sealed, table.c.at))
    return {
        row.name: Sealed(row.name, row.version, row.data_key, _bytes(row.sealed), row.at) for row in sorted(found, key=lambda row: row.name)
    }


def put(tx: Db, secret: Sealed) -> None:
    """Keep a secret in place of the one with this name."""
    tx.execute(table.delete().where(table.c.name == secret.name))
    values = {"name": secret.name, "version": secret.version, "data_key": secret.data_key, "sealed": secret.sealed, "at": secret.at}
    tx.execute(table.insert().values(**values))


def keys(db: Db) -> list[SealedKey]:
    """The data keys, the newest first."""
    order = (keys_table.c.at.desc(), keys_table.c.id)
    found = db.execute(sa.select(keys_table.c.id, keys_table.c.master, keys_table.c.sealed, keys_table.c.at).order_by(*order))
    return [SealedKey(row.id, row.master, bytes(row.sealed), row.at) for row in found]


def put_key(tx: Db, key: SealedKey) -> None:
    """Keep a data key in place of the one with this id."""
    drop_key(tx, key.id)
    tx.execute(keys_table.insert().values(id=key.id, master=key.master, sealed=key.sealed, at=key.at))


def drop_key(tx: Db, key_id: str) -> None:
    """Forget a data key."""
    tx.execute(keys_table.delete().where(keys_table.c.id == key_id))


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
