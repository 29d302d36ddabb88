"""Keys of programs: made, rotated and revoked. A key acts for its person, within its scopes, until it runs out."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trueup.errors import UsageError
from trueup.store import api_key, audit, person
from trueup.store.api_key import ApiKey
from trueup.web.access.passwords import digest, token
from trueup.web.access.people import shaped_name
from trueup.web.access.roles import known_scopes

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store import Db, Store

MARK = "trueup"
DAYS = 90
LONGEST_DAYS = 730
OVERLAP = timedelta(hours=24)
"""So long the secret of before a rotation is good still."""


def parts_of(given: str) -> tuple[str, str] | None:
    """The number of a key and its secret; None for what is no key."""
    mark, _, rest = given.partition("_")
    number, _, secret = rest.partition("_")
    return (number, secret) if mark == MARK and number and secret else None


def make(store: Store, owner: str, name: str, scopes: list[str], days: int, now: datetime) -> tuple[ApiKey, str]:
    """A new key for somebody, and the key itself, which is shown once. Raises UsageError."""
    label = name.strip()
    if not label or len(label) > 100 or not label.isprintable():
        raise UsageError(f"{name[:100]!r} cannot name a key", hint="say what uses it: up to 100 characters")
    with store.write() as tx:
        who = person.named(tx, shaped_name(owner))
        if who is None or who.disabled_at is not None:
            raise UsageError(f"there is nobody named {owner!r}, or they are disabled", hint="`trueup users list` shows who there is")
        number, secret = secrets.token_hex(6), token()
        one = ApiKey(number, who.id, label, known_scopes(scopes, who.role), digest(secret), now, now + _lasting(days))
        api_key.add(tx, one)
        _tell(tx, "key made", one, who.name, now, scopes=list(one.scopes))
    return one, f"{MARK}_{number}_{secret}"


def rotate(store: Store, number: str, days: int, now: datetime, *, at_once: bool = False, owner: int | None = None) -> tuple[ApiKey, str]:
    """Another secret for a key; the one before is good for a day more, or (`at_once`) no more. Raises UsageError."""
    with store.write() as tx:
        one, name = _usable(tx, number, owner)
        secret = token()
        api_key.rotate(tx, number, digest(secret), at=now, old_until=now if at_once else now + OVERLAP, expires_at=now + _lasting(days))
        _tell(tx, "key rotated", one, name, now)
        found = api_key.get(tx, number)
    assert found is not None
    return found, f"{MARK}_{number}_{secret}"


def revoke(store: Store, number: str, now: datetime, *, owner: int | None = None) -> ApiKey:
    """Let a key open nothing any more. `owner`: only if it is theirs. Raises UsageError."""
    with store.write() as tx:
        one, name = _usable(tx, number, owner)
        api_key.revoke(tx, number, now)
        _tell(tx, "key revoked", one, name, now)
    return one


def _lasting(days: int) -> timedelta:
    if not 1 <= days <= LONGEST_DAYS:
        raise UsageError(f"a key cannot last {days} days", hint=f"1 to {LONGEST_DAYS}")
    return timedelta(days=days)


def _usable(tx: Db, number: str, owner: int | None) -> tuple[ApiKey, str]:
    one = api_key.get(tx, number)
    if one is None or one.revoked_at is not None or (owner is not None and one.person != owner):
        raise UsageError(f"there is no key {number[:40]!r}, or it was revoked", hint="`trueup users key list` shows them")
    who = person.get(tx, one.person)
    assert who is not None
    return one, who.name


def _tell(tx: Db, event: str, one: ApiKey, owner: str, now: datetime, **more: Any) -> None:
    audit.tell(tx, "access", {"event": event, "key": one.id, "person": owner} | more, at=now)


def key_dict(one: ApiKey, owner: str, now: datetime) -> dict[str, Any]:
    """A key in the public form, without anything that opens."""
    state = "revoked" if one.revoked_at is not None else ("expired" if now >= one.expires_at else "active")
    moments = {name: getattr(one, name) for name in ("created_at", "expires_at", "rotated_at", "used_at", "revoked_at")}
    return {"id": one.id, "name": one.name, "person": owner, "scopes": list(one.scopes), "state": state, "used_from": one.used_from} | {
        name: None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ") for name, at in moments.items()
    }
