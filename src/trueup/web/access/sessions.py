"""Logging in and out, and whose session or key a request shows."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from trueup.store import api_key, audit, person, session
from trueup.store.audit import Actor
from trueup.web.access import keys
from trueup.web.access.passwords import digest, hashed, is_old, matches, token
from trueup.web.access.people import LONGEST_NAME
from trueup.web.access.user import User

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store import Store

IDLE = timedelta(hours=12)
"""A session that was not used for so long is over."""
LONGEST = timedelta(days=7)
WINDOW = timedelta(minutes=15)
PER_NAME_AND_ADDRESS = 5
PER_ADDRESS = 20
PER_NAME = 50
"""So many logins may fail in the window: of one name from one address, from one address, and of one name from wherever."""
KEPT = timedelta(days=1)
NOTED = timedelta(minutes=1)
"""That a session or key was used is written down so often."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A session that was begun; `token` goes into the cookie, and nowhere else."""

    user: User
    token: str


@dataclass(frozen=True, slots=True)
class NotLoggedIn:
    """Why not: `wait_s` is None where name or password are wrong, else after so many seconds it may be tried again."""

    wait_s: int | None = None


def log_in(store: Store, name: str, password: str, address: str, now: datetime) -> LoggedIn | NotLoggedIn:
    """Begin a session. Who is unknown, disabled or has no password is told the same as who types a wrong one, after the same time."""
    shaped = name.strip().casefold()[:LONGEST_NAME]
    subject = digest(shaped)
    since = now - WINDOW
    with store.read() as db:
        found = person.named(db, shaped)
        too_many = (
            session.failures_since(db, since, subject=subject, address=address) >= PER_NAME_AND_ADDRESS
            or session.failures_since(db, since, address=address) >= PER_ADDRESS
            or session.failures_since(db, since, subject=subject) >= PER_NAME
        )
    if too_many:
        return NotLoggedIn(int(WINDOW.total_seconds()))
    usable = found is not None and found.disabled_at is None
    right = matches(found.password if found is not None and usable else None, password)
    if not right or found is None:
        with store.write() as tx:
            session.failed(tx, subject, address, now, now - KEPT)
            what = {"event": "login refused", "address": address} | ({"person": found.name} if found is not None else {})
            audit.tell(tx, "access", what, at=now)
        return NotLoggedIn()
    made = token()
    user = User(found.id, found.name, found.role, session=digest(made))
    fresh = hashed(password) if found.password is not None and is_old(found.password) else None
    with audit.acting(Actor(found.name, "dashboard")), store.write() as tx:
        again = person.get(tx, found.id)
        if again is None or again.disabled_at is not None or again.password != found.password:
            return NotLoggedIn()  # changed while the password was looked at
        session.begin(tx, session.Session(digest(made), found.id, address, now, now, now + LONGEST))
        session.succeeded(tx, subject)
        person.seen(tx, found.id, now)
        if fresh is not None:
            person.rehash(tx, found.id, fresh)
        audit.tell(tx, "access", {"event": "logged in", "address": address}, at=now)
    return LoggedIn(user, made)


def log_out(store: Store, user: User, now: datetime) -> None:
    """End the session of this user."""
    if user.session is None:
        return
    with audit.acting(user.actor), store.write() as tx:
        session.end(tx, user.session)
        audit.tell(tx, "access", {"event": "logged out"}, at=now)


def of_session(store: Store, given: str, now: datetime) -> User | None:
    """Whose session this is; None where it is unknown or over, or its person may not enter any more."""
    with store.read() as db:
        found = session.get(db, digest(given))
        if found is None or now >= found.expires_at or now - found.seen_at > IDLE:
            return None
        who = person.get(db, found.person)
    if who is None or who.disabled_at is not None:
        return None
    if now - found.seen_at > NOTED:
        with store.write() as tx:
            session.seen(tx, found.hash, now)
    return User(who.id, who.name, who.role, session=found.hash)


def of_key(store: Store, given: str, address: str, now: datetime) -> User | None:
    """Whose key this is; None where it is unknown, revoked or has run out, or its person may not enter any more."""
    parts = keys.parts_of(given)
    if parts is None:
        return None
    with store.read() as db:
        found = api_key.get(db, parts[0])
        who = None if found is None else person.get(db, found.person)
    if found is None or who is None or who.disabled_at is not None or found.revoked_at is not None or now >= found.expires_at:
        return None
    shown = digest(parts[1])
    old = found.old_hash if found.old_until is not None and now < found.old_until else None
    if not (hmac.compare_digest(shown, found.hash) or (old is not None and hmac.compare_digest(shown, old))):
        return None
    if found.used_at is None or now - found.used_at > NOTED or found.used_from != address:
        with store.write() as tx:
            api_key.used(tx, found.id, now, address)
    return User(who.id, who.name, who.role, key=found.id, scopes=frozenset(found.scopes))
