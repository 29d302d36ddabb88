"""Compares the systems for a report, and keeps since when each record is known to differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.reports.morning_facts import Differing
from trueup.reports.picture import Verified
from trueup.reports.verify_facts import NOTED, SystemAgreement
from trueup.runtime.serving.knowing import VERIFIED, verified_from, verified_text
from trueup.store import difference, meta

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from trueup.reports.verify_facts import EntityAgreement
    from trueup.store import Db

COUNTS = ("rows", "differ", "missing", "extra", "waiting")
Since = dict[str, dict[str, "datetime"]]


@dataclass(slots=True)
class Compared:
    """What a comparison of one entity found. `since`: system -> subject -> since when it is known to differ."""

    at: datetime
    systems: dict[str, SystemAgreement] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    differing: list[Differing] = field(default_factory=list)
    since: Since = field(default_factory=dict)

    @property
    def oldest(self) -> dict[str, datetime]:
        """Of each system that differs, since when."""
        return {system: min(known.values()) for system, known in self.since.items() if known}


def keep(tx: Db, entity: str, found: EntityAgreement, at: datetime) -> Since:
    """Keep a comparison: its counts, and since when what differs does. A system that could not be read stays as it is known."""
    counts = {name: {kind: getattr(side, kind) for kind in COUNTS} for name, side in found.systems.items()}
    meta.set_(tx, VERIFIED + entity, verified_text(Verified(at, counts, tuple(found.left_out))))
    return {system: difference.note(tx, entity, system, _subjects(found, system), at) for system in found.systems}


def fresh(db: Db, entity: str, found: EntityAgreement, at: datetime) -> Compared:
    """A comparison that was made just now, with what is known of since when; what is new differs since now."""
    since: Since = {}
    for system in found.systems:
        known = difference.of(db, entity, system)
        since[system] = {subject: known.get(subject, at) for subject in _subjects(found, system)}
    for system in found.left_out:
        since[system] = difference.of(db, entity, system)
    return Compared(at, dict(found.systems), dict(found.left_out), _differing(found, since), since)


def kept(db: Db, entity: str, systems: Collection[str]) -> Compared | None:
    """The last comparison that the state knows of; None where there was none."""
    text = meta.get(db, VERIFIED + entity)
    if text is None:
        return None
    told = verified_from(text)
    counted = {name: _agreement(counts) for name, counts in told.systems.items() if name in systems}
    left_out = dict.fromkeys((name for name in told.left_out if name in systems), "it could not be compared then")
    return Compared(told.at, counted, left_out, [], {name: difference.of(db, entity, name) for name in systems})


def _agreement(counts: Mapping[str, int]) -> SystemAgreement:
    return SystemAgreement(**{kind: counts.get(kind, 0) for kind in COUNTS})


def _subjects(found: EntityAgreement, system: str) -> list[str]:
    places = found.places.get(system, [])
    return [difference.TOO_MANY] if len(places) >= NOTED else places


def _differing(found: EntityAgreement, since: Since) -> list[Differing]:
    """The first ones in detail; of fields their names alone."""
    listed = []
    for one in found.examples:
        subject = f"k{one.key}" if one.record is None else f"g{one.record}"
        at = since.get(one.system, {}).get(subject)
        listed.append(Differing(one.system, one.kind, one.record, one.key, tuple(one.fields), at))
    return listed
