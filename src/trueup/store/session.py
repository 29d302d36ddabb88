"""Sessions of people who logged in, and logins that failed. Of a session's token only a hash is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.schema_people import login_failure as failures
from trueup.store.schema_people import session as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Session:
    """One browser of one person; `address` is where it logged in from."""

    hash: str
    person: int
    address: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def begin(tx: Db, one: Session) -> None:
    """Somebody logged in; sessions that ran out are forgotten."""
    tx.execute(table.delete().where(table.c.expires_at <= one.created_at))
    tx.execute(table.insert().values({name: getattr(one, name) for name in Session.__slots__}))


def get(db: Db, hash_: str) -> Session | None:
    """One, whether or not it has run out."""
    row = db.execute(sa.select(table).where(table.c.hash == hash_)).one_or_none()
    return None if row is None else Session(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's own name for it


def seen(tx: Db, hash_: str, at: datetime) -> None:
    """It was used."""
    tx.execute(table.update().where(table.c.hash == hash_).values(seen_at=at))


def end(tx: Db, hash_: str) -> None:
    """Somebody logged out."""
    tx.execute(table.delete().where(table.c.hash == hash_))


def end_all(tx: Db, person: int | None = None, *, but: str | None = None) -> int:
    """End every session of a person (None: of everybody), but one; how many."""
    mine = [] if person is None else [table.c.person == person]
    return int(tx.execute(table.delete().where(*mine, table.c.hash != (but or ""))).rowcount)


def failed(tx: Db, subject: str, address: str, at: datetime, forget_before: datetime) -> None:
    """A login failed; those before `forget_before` are forgotten."""
    tx.execute(failures.delete().where(failures.c.at < forget_before))
    tx.execute(failures.insert().values(at=at, subject=subject, address=address))


def succeeded(tx: Db, subject: str) -> None:
    """Whoever has this name got in: what failed before counts no more against the name."""
    tx.execute(failures.update().where(failures.c.subject == subject).values(subject=""))


def failures_since(db: Db, at: datetime, *, subject: str | None = None, address: str | None = None) -> int:
    """How many logins have failed since then: of a name, from an address, or (both None) at all."""
    wanted = [failures.c.at > at]
    if subject is not None:
        wanted.append(failures.c.subject == subject)
    if address is not None:
        wanted.append(failures.c.address == address)
    return int(db.execute(sa.select(sa.func.count()).select_from(failures).where(*wanted)).scalar_one())


def failures_began(db: Db, since: datetime) -> tuple[int, datetime | None]:
    """How many logins have failed since a moment, and when the first of them did."""
    wanted = sa.select(sa.func.count().label("number"), sa.func.min(failures.c.at).label("began")).where(failures.c.at > since)
    row = db.execute(wanted).one()
    return int(row.number), row.began
