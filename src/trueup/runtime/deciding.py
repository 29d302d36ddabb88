"""A person's word about what was held, has failed or is to rest: the same for the command line and for whoever else asks a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from trueup.errors import UsageError
from trueup.runtime.trail import decided
from trueup.store import audit, failure, hold, paused

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from datetime import datetime

    from trueup.store import Store
    from trueup.store.hold import Decision
    from trueup.store.paused import Kind

LARGEST = 2**63 - 2
EVERYTHING = [("all", "")]


def decide_hold(store: Store, number: int, decision: Decision, now: datetime) -> dict[str, Any]:
    """Answer a hold: entity, system, kind and `ceiling`, up to which an approved one may pass (None: it was not approved).

    Raises UsageError where there is no open hold of this number, because somebody has answered it before, too.
    """
    with store.write() as tx:
        found = hold.get(tx, number) if abs(number) <= LARGEST else None
        if found is None or found["decision"] is not None:
            said = f": {found['decided_by'] or 'somebody'} {_SAID[found['decision']]} it" if found is not None else ""
            raise UsageError(f"there is no open hold {number}{said}", hint="`trueup holds` lists them")
        ceiling = int(orjson.loads(found["counts"])["count"]) if decision == "approved" else None
        hold.decide(tx, number, decision, at=now, ceiling=ceiling, who=audit.me())
        what = {"id": number, "entity": found["entity"], "system": found["system"], "kind": found["kind"], "decision": decision}
        decided(tx, "hold", what | ({} if ceiling is None else {"ceiling": ceiling}), now)
    return {"entity": found["entity"], "system": found["system"], "kind": found["kind"], "ceiling": ceiling}


_SAID = {"approved": "approved", "refused": "refused", "left": "left"}


def retry_failures(store: Store, ids: Sequence[int] | None, now: datetime) -> list[int]:
    """Let the next run try failures again (None: all); which they are. Raises UsageError for one that does not exist."""
    with store.write() as tx:
        known = failure.of(tx)["id"].to_list()
        wanted = all_known(ids, known) if ids else known
        done = failure.retry_now(tx, wanted, now) if wanted else 0
        decided(tx, "failures", {"retry": wanted if ids else "all", "count": done}, now)
    return wanted


def drop_failures(store: Store, ids: Sequence[int], now: datetime) -> list[int]:
    """Forget failures; which they were. Raises UsageError for one that does not exist; nothing is done then."""
    with store.write() as tx:
        wanted = all_known(ids, failure.of(tx)["id"].to_list())
        failure.drop(tx, wanted)
        decided(tx, "failures", {"drop": wanted}, now)
    return wanted


def all_known(ids: Sequence[int], known: Container[int]) -> list[int]:
    """The ids, once each. Raises UsageError for one that does not exist."""
    unknown = [str(number) for number in ids if number not in known]
    if unknown:
        raise UsageError(f"there is no failure {', '.join(unknown)}", hint="`trueup failures` lists them")
    return list(dict.fromkeys(ids))


def pause(store: Store, targets: Sequence[tuple[str, str]], now: datetime, *, pausing: bool) -> list[tuple[str, str]]:
    """Pause (kind, name), or take them up again; to take up everything takes up all that was ever paused. What is paused then."""
    with store.write() as tx:
        for kind, name in targets if pausing or list(targets) != EVERYTHING else paused.list_(tx):
            if pausing:
                paused.set_(tx, cast("Kind", kind), name)
            else:
                paused.unset(tx, cast("Kind", kind), name)
        left = paused.list_(tx)
        what = [name or kind for kind, name in targets]
        decided(tx, "pause" if pausing else "resume", {"what": what}, now)
    return left


def targets_of(names: Sequence[str], systems: Container[str], entities: Container[str]) -> list[tuple[str, str]]:
    """What the names mean. Raises UsageError for one that is neither, or both."""
    found = []
    for name in names:
        if name in systems and name in entities:
            raise UsageError(f"{name} is both a system and an entity", hint=f"say system:{name} or entity:{name}")
        prefix, _, rest = name.partition(":")
        if name in systems:
            found.append(("system", name))
        elif name in entities:
            found.append(("entity", name))
        elif (prefix == "system" and rest in systems) or (prefix == "entity" and rest in entities):
            found.append((prefix, rest))
        else:
            raise UsageError(f"there is no system or entity {name!r}", hint="`trueup status` shows them")
    return found
