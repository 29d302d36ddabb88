"""The lock contract: what a connector offers besides `base.Connector` where its `caps.locks` says so.

A lock keeps everybody but trueup from changing columns that are changed in another system, and says where that is. It is made of triggers,
which bind owners and superusers as well; whoever takes them away on purpose is not kept from it, and `locked` tells that they are gone.

    plan = connector.lock_plan(obj, lock)            the statements, to be shown; nothing is changed
    digest = connector.lock(obj, lock)               kept by the caller
    connector.locked(obj) == digest                  it is there, and as it was made
    connector.unlock(obj)                            nothing of it is left

Trueup's own writes pass: each of its transactions says so in a way that no other transaction sees, and on a server it must have the login
with which the lock was made, too. There is one lock on an object, whoever made it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trueup.connectors.base import Connector
from trueup.errors import WriteRefusedError
from trueup.model import Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from trueup.connectors.sql_read import Table
    from trueup.core.rights import Right, Rights
    from trueup.model import ObjectSpec

NAME = "trueup_lock"
"""What is made for a lock has a name that begins so."""


@dataclass(frozen=True, slots=True)
class LockPlan:
    """The statements that make a lock, those that remove it, and what it cannot keep out, in words."""

    make: tuple[str, ...]
    remove: tuple[str, ...]
    passes: tuple[str, ...] = ()


class Locking(Connector, Protocol):
    """A connector that can lock."""

    def lock_plan(self, obj: ObjectSpec, lock: Lock) -> LockPlan:
        """What `lock` would do, and what removes it again. Asks the system and changes nothing.

        Raises ObjectMissingError where the object or a column is not there, WriteRefusedError where such an object cannot be locked.
        """
        ...

    def lock(self, obj: ObjectSpec, lock: Lock) -> str:
        """Make the lock, in the place of one that is there; returns its digest. In one transaction where the system can.

        Where it cannot, and it is broken off, a part of the lock may be there: locking again completes it, `unlock` removes it.
        Raises as `lock_plan`, and AccessRefusedError where the rights are missing.
        """
        ...

    def locked(self, obj: ObjectSpec) -> str | None:
        """The digest of the lock as it is there now; None: nothing of one is. Whatever was altered gives another digest."""
        ...

    def unlock(self, obj: ObjectSpec) -> bool:
        """Remove the lock, or what is left of it; False where there was nothing."""
        ...


class Granting(Connector, Protocol):
    """A connector that can lock by rights, where its `caps.grants` says so. What is taken and given is worked out by core/rights.py."""

    def rights(self, obj: ObjectSpec, lock: Lock) -> Rights:
        """Who may change what in an object, as far as the lock is concerned. Asks the system and changes nothing.

        Raises as `Locking.lock_plan`, and AccessRefusedError where it cannot be seen.
        """
        ...

    def rights_statements(self, now: Collection[Right], then: Collection[Right]) -> list[str]:
        """The statements that make of the rights of `now` those of `then`."""
        ...

    def exchange_rights(self, obj: ObjectSpec, now: Collection[Right], then: Collection[Right]) -> None:
        """Carry these statements out: in one transaction where the system can. Raises AccessRefusedError where they are refused."""
        ...


def refused(names: Sequence[str], where: str) -> str:
    """What somebody is told who tries to change locked columns."""
    listed = ", ".join(sorted(names))
    return f"{listed} {'is' if len(names) == 1 else 'are'} changed in {where}, not here (locked by trueup)"


def rows_refused(where: Sequence[str]) -> str:
    """What somebody is told who tries to add or remove rows."""
    return f"rows are added and removed in {' and '.join(where)}, not here (locked by trueup)"


def digest(parts: Iterable[object]) -> str:
    """A digest of what is there of a lock."""
    return hashlib.sha256(json.dumps(list(parts), ensure_ascii=False, default=str).encode()).hexdigest()[:32]


def lockable(table: Table, lock: Lock) -> Lock:
    """The lock without columns that nobody can write.

    Raises WriteRefusedError where the object is no table or nothing is left to lock, ObjectMissingError for a column that is missing.
    """
    if table.target is None or table.info.kind != "table":
        raise WriteRefusedError(
            f"{table.info.name} is a {table.info.kind} and cannot be locked", hint="lock the tables behind it by hand, or map one of them"
        )
    columns = {name: where for name, where in lock.columns.items() if table.column(name).info.writable}
    if not columns and not lock.rows:
        raise WriteRefusedError(f"nobody can write the columns of {table.info.name} that would be locked")
    return Lock(columns, lock.rows)
