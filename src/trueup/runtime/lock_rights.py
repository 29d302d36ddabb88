"""Locks by rights: how one stands, and making and undoing it. The state keeps what was taken and given before anything is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trueup.connectors.locking import digest
from trueup.core.rights import Exchange, exchange, losses
from trueup.errors import AccessRefusedError

if TYPE_CHECKING:
    from trueup.connectors.locking import Granting
    from trueup.core.locks import Place
    from trueup.core.rights import Rights
    from trueup.model import Lock, ObjectSpec
    from trueup.reports.lock_facts import LockFinding, Standing
    from trueup.store.write_lock import WriteLock

GRANTS, TRIGGERS = "grants", "triggers"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the system says, and what a lock would exchange."""

    found: Rights
    exchange: Exchange

    @classmethod
    def of(cls, connector: Granting, obj: ObjectSpec, lock: Lock, known: WriteLock | None) -> Asked:
        """Raises as Granting.rights."""
        found = connector.rights(obj, lock)
        return cls(found, exchange(found, lock, known.rights if known is not None else None))


def finding(connector: Granting, place: Place, known: WriteLock | None, shown: LockFinding) -> LockFinding:
    """How a lock by rights stands, and the statements that make and undo it. Raises the connector's errors."""
    asked = Asked.of(connector, place.object, place.lock, known)
    there, opened = asked.found.there, asked.exchange.undone(asked.found)
    locked = asked.exchange.done(opened)
    standing = _standing(asked.found, place, known)
    return replace(
        shown,
        standing=standing,
        by=GRANTS,
        make=() if standing == "locked" else tuple(connector.rights_statements(there, locked)),
        remove=tuple(connector.rights_statements(locked, opened)),
        passes=asked.found.kept,
        loses=tuple(losses(asked.exchange.taken, place.lock)),
    )


def _standing(found: Rights, place: Place, known: WriteLock | None) -> Standing:
    if known is None:
        return "open"
    if known.digest is None:
        return "unfinished"
    if known.rights is not None and known.rights.taken and found.there.issuperset(known.rights.taken):
        return "missing"
    if known.digest != _digest(found, known.lock):
        return "altered"
    return "locked" if known.lock == place.lock else "outdated"


def _digest(found: Rights, lock: Lock) -> str:
    """Of the rights by which others may still change what is locked: usually of none."""
    return digest([one.table, one.who, one.right, one.column] for one in found.breaking(lock))


def make(connector: Granting, obj: ObjectSpec, asked: Asked, lock: Lock) -> str:
    """Exchange the rights; returns the digest. Raises AccessRefusedError where they could not be exchanged."""
    connector.exchange_rights(obj, asked.found.there, asked.exchange.done(asked.exchange.undone(asked.found)))
    after = connector.rights(obj, lock)
    if left := after.breaking(lock):
        who = ", ".join(sorted({one.who for one in left}))
        raise AccessRefusedError(f"{who} may still change what was to be locked")
    return _digest(after, lock)


def is_there(connector: Granting, known: WriteLock) -> bool:
    """Whether anything of a lock is there: something that it took is missing, or something that it gave is not."""
    found = connector.rights(known.object, known.lock)
    return (known.rights or Exchange()).undone(found) != found.there


def undo(connector: Granting, known: WriteLock) -> None:
    """Give back what a lock took, and take what it gave."""
    found = connector.rights(known.object, known.lock)
    connector.exchange_rights(known.object, found.there, (known.rights or Exchange()).undone(found))
