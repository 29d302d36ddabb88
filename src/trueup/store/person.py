"""The people who use the dashboard and the API, and the links by which they choose a password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from trueup.store.schema_people import invitation
from trueup.store.schema_people import person as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store.db import Db

Role = Literal["viewer", "reviewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "reviewer", "operator", "admin")
"""Each may do what those before it may."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person. `password` (argon2id) is None until it was chosen, `seen_at` before the first login, `disabled_at` in office."""

    id: int
    name: str
    role: Role
    password: str | None
    password_at: datetime | None
    created_at: datetime
    created_by: str
    seen_at: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link that was handed out. `person` None: for the first admin."""

    person: int | None
    created_at: datetime
    expires_at: datetime


def list_(db: Db) -> list[Person]:
    """All of them, by name."""
    return [_person(row) for row in db.execute(sa.select(table).order_by(table.c.name))]


def get(db: Db, id_: int) -> Person | None:
    """One by number."""
    return _one(db, table.c.id == id_)


def named(db: Db, name: str) -> Person | None:
    """One by name; names are kept in lower case."""
    return _one(db, table.c.name == name)


def any_(db: Db) -> bool:
    """Whether anybody could log in: somebody in office has a password."""
    wanted = sa.select(table.c.id).where(table.c.password.is_not(None), table.c.disabled_at.is_(None)).limit(1)
    return db.execute(wanted).first() is not None


def admins(db: Db) -> int:
    """How many admins are in office and have a password."""
    mine = (table.c.role == "admin", table.c.disabled_at.is_(None), table.c.password.is_not(None))
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(*mine)).scalar_one())


def add(tx: Db, name: str, role: Role, *, by: str, at: datetime) -> int:
    """A new person without a password; the number."""
    values = {"name": name, "role": role, "created_by": by, "created_at": at}
    return int(tx.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())


def set_role(tx: Db, id_: int, role: Role) -> None:
    """What the person may do from now on."""
    tx.execute(table.update().where(table.c.id == id_).values(role=role))


def set_password(tx: Db, id_: int, password: str, at: datetime) -> None:
    """Keep the hash of a password that was chosen."""
    tx.execute(table.update().where(table.c.id == id_).values(password=password, password_at=at))


def rehash(tx: Db, id_: int, password: str) -> None:
    """The same password under newer parameters."""
    tx.execute(table.update().where(table.c.id == id_).values(password=password))


def seen(tx: Db, id_: int, at: datetime) -> None:
    """The person logged in."""
    tx.execute(table.update().where(table.c.id == id_).values(seen_at=at))


def set_disabled(tx: Db, id_: int, at: datetime | None) -> None:
    """The person may not enter any more since then; None: may again."""
    tx.execute(table.update().where(table.c.id == id_).values(disabled_at=at))


# ---------------------------------------------------------------- invitations


def invite(tx: Db, hash_: str, person: int | None, *, at: datetime, expires_at: datetime) -> None:
    """Hand out a link, in the place of those before it for the same person; those that ran out go with them."""
    old = invitation.c.person.is_(None) if person is None else invitation.c.person == person
    tx.execute(invitation.delete().where(sa.or_(old, invitation.c.expires_at <= at)))
    tx.execute(invitation.insert().values(hash=hash_, person=person, created_at=at, expires_at=expires_at))


def invited(db: Db, hash_: str, now: datetime) -> Invitation | None:
    """What a link is for; None where it is unknown, used, or has run out."""
    row = db.execute(sa.select(invitation).where(invitation.c.hash == hash_, invitation.c.expires_at > now)).one_or_none()
    return None if row is None else Invitation(row.person, row.created_at, row.expires_at)


def used(tx: Db, hash_: str) -> bool:
    """Take a link back; False where somebody else has just used it."""
    return tx.execute(invitation.delete().where(invitation.c.hash == hash_)).rowcount > 0


def uninvite(tx: Db, person: int | None) -> None:
    """Take back the links of a person (None: of the first admin)."""
    tx.execute(invitation.delete().where(invitation.c.person.is_(None) if person is None else invitation.c.person == person))


def _one(db: Db, is_it: sa.ColumnElement[bool]) -> Person | None:
    row = db.execute(sa.select(table).where(is_it)).one_or_none()
    return None if row is None else _person(row)


def _person(row: sa.Row[tuple[object, ...]]) -> Person:
    return Person(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's own name for it
