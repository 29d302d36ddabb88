"""How all configured packages stand, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.exchange.signing import public_key
from trueup.runtime.packages.chosen import shown
from trueup.runtime.packages.standing import Received, Sent, Trouble, overdue, received, sent
from trueup.sealing import parse_keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Config, Package
    from trueup.store import Db, Store


def listed(config: Config, store: Store | None, now: datetime) -> list[dict[str, Any]]:
    """One value per packages, in the order of the configuration; without a state none was ever sent or received."""
    if store is None:
        return [_one(config, one, None, now) for one in config.packages.values()]
    with store.read() as db:
        return [_one(config, one, db, now) for one in config.packages.values()]


def _one(config: Config, package: Package, db: Db | None, now: datetime) -> dict[str, Any]:
    place = shown(config, package.place)
    known: Sent | Received
    if package.direction == "out":
        known = Sent() if db is None else sent(db, package, place)
        last = known.name or None
    else:
        known = Received(since=now) if db is None else received(db, package) or Received(since=now)
        last = known.name or None
    return {
        "name": package.name,
        "direction": package.direction,
        "entity": package.entity,
        "system": package.system,
        "place": place,
        "sequence": known.sequence,
        "last": last,
        "at": known.at,
        "cutoff": known.cutoff,
        "rows": known.rows,
        "status": known.status or None if isinstance(known, Received) else None,
        "answer": known.answer if isinstance(known, Sent) else None,
        "late": late_dict(package, known, now) if isinstance(known, Received) else None,
        "trouble": trouble_dict(known.trouble),
        "public_key": None if package.sign is None else public_key(parse_keys(package.sign, "`sign`")[0]),
    }


def trouble_dict(trouble: Trouble | None) -> Mapping[str, Any] | None:
    """What is wrong now; None: nothing."""
    return None if trouble is None else {"kind": trouble.kind, "package": trouble.name, "why": trouble.why, "since": trouble.since}


def late_dict(package: Package, known: Received, now: datetime) -> Mapping[str, Any] | None:
    """Since when a package should have come; None: none is lacking."""
    lacking = overdue(package, known, now)
    return None if lacking is None else {"since": lacking.since, "missing": lacking.missing}
