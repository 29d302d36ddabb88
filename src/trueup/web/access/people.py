"""People: who may enter, as what, and how they choose their password. Every change is a line of the audit trail."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trueup.errors import UsageError
from trueup.store import audit, person, session
from trueup.web.access.passwords import checked, digest, hashed, token

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store import Db, Store
    from trueup.store.person import Person, Role

INVITED = timedelta(hours=72)
"""So long a link is good. The first admin's is made anew each time `serve` starts."""
LONGEST_NAME = 100
_NAME = re.compile(r"[\w][\w.@+' -]*")
LAST_ADMIN = "nobody could manage people any more"


def shaped_name(name: str) -> str:
    """A name as it is kept. Raises UsageError for one that cannot be."""
    shaped = unicodedata.normalize("NFKC", name).strip().casefold()
    if len(shaped) > LONGEST_NAME or not _NAME.fullmatch(shaped):
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} cannot be a name to log in with", hint="letters, digits, and . _ - + @ ' and spaces within"
        )
    return shaped


def add(store: Store, name: str, role: Role, now: datetime) -> tuple[Person, str]:
    """A new person, and the token of the link with which they choose their password. Raises UsageError for a name that is taken."""
    shaped = shaped_name(name)
    with store.write() as tx:
        known = person.named(tx, shaped)
        if known is not None:
            what = "was disabled" if known.disabled_at is not None else f"is {known.role} already"
            hint = f"`trueup users enable {shaped}`" if known.disabled_at is not None else f"`trueup users role {shaped} ROLE` changes that"
            raise UsageError(f"{shaped} {what}", hint=hint)
        number = person.add(tx, shaped, role, by=audit.me(), at=now)
        made = _invite(tx, number, now)
        _tell(tx, "added", shaped, now, role=role)
        return _known(tx, shaped), made


def invite(store: Store, name: str, now: datetime) -> tuple[Person, str]:
    """Another link for somebody who lost theirs, or the password; what they have stays good until they choose a new one."""
    with store.write() as tx:
        found = _known(tx, shaped_name(name))
        if found.disabled_at is not None:
            raise UsageError(f"{found.name} is disabled", hint=f"`trueup users enable {found.name}` first")
        made = _invite(tx, found.id, now)
        _tell(tx, "invited", found.name, now)
        return found, made


def first_link(store: Store, now: datetime) -> str | None:
    """The token of the link for the first admin, made anew; None where somebody can log in already."""
    with store.read() as db:
        if person.any_(db):
            return None
    with store.write() as tx:
        return None if person.any_(tx) else _invite(tx, None, now)


def invited(db: Db, given: str, now: datetime) -> tuple[str | None, Role] | None:
    """Whom a link is for: the name (None: they choose it) and the role; None where the link is good for nothing."""
    found = person.invited(db, digest(given), now)
    if found is None:
        return None
    if found.person is None:
        return None if person.any_(db) else (None, "admin")
    who = person.get(db, found.person)
    return None if who is None or who.disabled_at is not None else (who.name, who.role)


def accept(store: Store, given: str, name: str | None, password: str, now: datetime) -> Person:
    """Use a link: the password counts from now on, and every session that there was is over.

    `name` is that of the first admin, ignored elsewhere. Raises UsageError for a link that is used or has run out, or a bad password.
    """
    gone = UsageError("this link was used, or has run out", hint="an admin makes another one: `trueup users invite NAME`")
    with store.read() as db:
        found = invited(db, given, now)
    if found is None:
        raise gone
    shaped = found[0] or shaped_name(name or "")
    kept = hashed(checked(password, shaped))
    with store.write() as tx:
        again = invited(tx, given, now)
        if again is None or not person.used(tx, digest(given)):
            raise gone
        known = person.named(tx, shaped)
        if known is None:
            person.add(tx, shaped, again[1], by="the set-up link", at=now)
            _tell(tx, "added", shaped, now, role=again[1], by="the set-up link")
            known = _known(tx, shaped)
        elif found[0] is None:
            person.set_role(tx, known.id, "admin")
            person.set_disabled(tx, known.id, None)
            _tell(tx, "role", shaped, now, role="admin", by="the set-up link")
        person.set_password(tx, known.id, kept, now)
        person.uninvite(tx, known.id)
        session.end_all(tx, known.id)
        _tell(tx, "password", shaped, now)
        return _known(tx, shaped)


def set_password(store: Store, name: str, password: str, now: datetime) -> Person:
    """Give somebody a password at the command line; every session that there was is over. Raises UsageError."""
    shaped = shaped_name(name)
    kept = hashed(checked(password, shaped))
    with store.write() as tx:
        found = _known(tx, shaped)
        person.set_password(tx, found.id, kept, now)
        person.uninvite(tx, found.id)
        session.end_all(tx, found.id)
        _tell(tx, "password", shaped, now)
        return found


def set_role(store: Store, name: str, role: Role, now: datetime) -> Person:
    """Change what somebody may do, at once. Raises UsageError, also for the last admin."""
    with store.write() as tx:
        found = _known(tx, shaped_name(name))
        if found.role != role:
            person.set_role(tx, found.id, role)
            _needs_admin(tx, found)
            _tell(tx, "role", found.name, now, role=role)
        return _known(tx, found.name)


def disable(store: Store, name: str, now: datetime) -> Person:
    """Let somebody in no more: sessions, links and keys are over at once. Raises UsageError, also for the last admin."""
    with store.write() as tx:
        found = _known(tx, shaped_name(name))
        if found.disabled_at is None:
            person.set_disabled(tx, found.id, now)
            _needs_admin(tx, found)
            session.end_all(tx, found.id)
            person.uninvite(tx, found.id)
            _tell(tx, "disabled", found.name, now)
        return _known(tx, found.name)


def enable(store: Store, name: str, now: datetime) -> Person:
    """Let somebody in again, with the role and the password of before. Keys that were not revoked work again. Raises UsageError."""
    with store.write() as tx:
        found = _known(tx, shaped_name(name))
        if found.disabled_at is not None:
            person.set_disabled(tx, found.id, None)
            _tell(tx, "enabled", found.name, now)
        return _known(tx, found.name)


def log_out(store: Store, name: str | None, now: datetime) -> int:
    """End every session of somebody (None: of everybody); how many."""
    with store.write() as tx:
        found = None if name is None else _known(tx, shaped_name(name))
        count = session.end_all(tx, None if found is None else found.id)
        _tell(tx, "logged out", "everybody" if found is None else found.name, now)
        return count


def _needs_admin(tx: Db, before: Person) -> None:
    """Raises UsageError where the change at hand takes the last admin who can log in away."""
    if before.role == "admin" and before.password is not None and before.disabled_at is None and person.admins(tx) == 0:
        raise UsageError(f"{before.name} is the only admin: {LAST_ADMIN}", hint="make somebody else admin first")


def _known(db: Db, name: str) -> Person:
    found = person.named(db, name)
    if found is None:
        raise UsageError(f"there is nobody named {name!r}", hint="`trueup users list` shows who there is")
    return found


def _invite(tx: Db, number: int | None, now: datetime) -> str:
    made = token()
    person.invite(tx, digest(made), number, at=now, expires_at=now + INVITED)
    return made


def _tell(tx: Db, event: str, name: str, now: datetime, **more: Any) -> None:
    audit.tell(tx, "access", {"event": event, "person": name} | more, at=now)


def person_dict(one: Person) -> dict[str, Any]:
    """A person in the public form."""
    state = "disabled" if one.disabled_at is not None else ("invited" if one.password is None else "active")
    moments = {name: getattr(one, name) for name in ("created_at", "seen_at", "disabled_at")}
    return {"name": one.name, "role": one.role, "state": state, "created_by": one.created_by} | {
        name: None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ") for name, at in moments.items()
    }
