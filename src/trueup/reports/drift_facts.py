"""How far systems disagree: the facts, and their public JSON form. Counted before anything is connected for writing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SAMPLES = 5
"""How many examples are kept per finding."""


@dataclass(slots=True)
class SystemDrift:
    """One system's rows of one entity.

    rows      rows that take part (inside the mapping's `where`), refused ones included
    outside   rows outside of `where`
    refused   rows that a sync would set aside: unreadable, or breaking a check
    unkeyed   among them, rows without a usable key, or that cannot be read at all
    """

    rows: int = 0
    outside: int = 0
    refused: int = 0
    unkeyed: int = 0
    duplicates: int = 0
    ambiguous: int = 0


@dataclass(frozen=True, slots=True)
class Pairing:
    """A row that could not be matched with certainty. `like`: keys of the rows of `like_system` that it looks like, by a match rule."""

    key: str
    like_system: str
    like: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Presence:
    """Records that exactly these systems hold. `samples` is a key per system, and the match values."""

    systems: tuple[str, ...]
    records: int
    samples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One matched record of which two systems show different values: key and value per system."""

    keys: Mapping[str, str]
    values: Mapping[str, Any]


@dataclass(slots=True)
class PairDrift:
    """One field in two systems, over the records that both hold.

    agree counts equal values, both empty included; differ: two values that are not the same; `in_form` of them only in capitals,
    spaces or punctuation; missing: system -> records where this one shows nothing and the other one does.
    """

    systems: tuple[str, str]
    agree: int = 0
    differ: int = 0
    in_form: int = 0
    missing: dict[str, int] = dataclasses.field(default_factory=dict)
    samples: list[Difference] = dataclasses.field(default_factory=list)

    @property
    def compared(self) -> int:
        """How many records both systems hold."""
        return self.agree + self.differ + sum(self.missing.values())


@dataclass(slots=True)
class FieldDrift:
    """One field. `decided_by` says what a sync would do where systems differ, in words; None: a person would have to decide.

    `differing` counts the records of which at least two systems show different values.
    """

    decided_by: str | None
    pairs: list[PairDrift] = dataclasses.field(default_factory=list)
    differing: int = 0

    @property
    def to_decide(self) -> int:
        """How many records a sync would have to ask a person about."""
        return self.differing if self.decided_by is None else 0


@dataclass(slots=True)
class Dirty:
    """Values of one field in one system that are not as they should be; `kind` as in `core.quality.FindingKind`, `reference` besides.

    `samples`: {"key", "value", "becomes", "reason"}.
    """

    system: str
    field: str
    kind: str
    count: int = 0
    samples: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@dataclass(slots=True)
class EntityDrift:
    """One entity. `left_out` is system -> why it could not take part."""

    name: str
    systems: dict[str, SystemDrift] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    presence: list[Presence] = dataclasses.field(default_factory=list)
    duplicates: dict[str, list[Pairing]] = dataclasses.field(default_factory=dict)
    ambiguous: dict[str, list[Pairing]] = dataclasses.field(default_factory=dict)
    fields: dict[str, FieldDrift] = dataclasses.field(default_factory=dict)
    dirty: list[Dirty] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def records(self) -> int:
        """How many different records there are, as far as the match rules tell."""
        return sum(item.records for item in self.presence)

    @property
    def in_all(self) -> int:
        """How many records every system holds that took part."""
        return sum(item.records for item in self.presence if len(item.systems) == len(self.systems))

    @property
    def compared(self) -> int:
        """How many pairs of values were compared."""
        return sum(pair.compared for drift in self.fields.values() for pair in drift.pairs)

    @property
    def agreeing(self) -> int:
        """How many of them agree."""
        return sum(pair.agree for drift in self.fields.values() for pair in drift.pairs)

    @property
    def agreement(self) -> float | None:
        """The share of compared values that agree, 0..1; None where there was nothing to compare."""
        return self.agreeing / self.compared if self.compared else None

    @property
    def to_decide(self) -> int:
        """How many values a sync would have to ask a person about."""
        return sum(drift.to_decide for drift in self.fields.values())

    def only_in(self, system: str) -> Presence:
        """The records that only this system holds."""
        return next((item for item in self.presence if item.systems == (system,)), Presence((system,), 0))


@dataclass(slots=True)
class DriftReport:
    """How far the systems of a configuration disagree."""

    measured_at: datetime
    seconds: float = 0.0
    entities: dict[str, EntityDrift] = dataclasses.field(default_factory=dict)

    @property
    def comparable(self) -> bool:
        """Whether any entity had two systems to compare."""
        return any(len(entity.systems) > 1 for entity in self.entities.values())


def drift_dict(report: DriftReport) -> dict[str, Any]:
    """The public form; documented in docs/reference."""
    return {
        "measured_at": report.measured_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(report.seconds, 3),
        "entities": {name: _entity(entity) for name, entity in report.entities.items()},
    }


def _entity(entity: EntityDrift) -> dict[str, Any]:
    return {
        "records": entity.records,
        "in_all": entity.in_all,
        "compared": entity.compared,
        "agreeing": entity.agreeing,
        "agreement": None if entity.agreement is None else round(entity.agreement, 6),
        "to_decide": entity.to_decide,
        "systems": {name: _system(entity, name, system) for name, system in entity.systems.items()},
        "left_out": dict(entity.left_out),
        "presence": [
            {"systems": list(item.systems), "records": item.records, "samples": [dict(sample) for sample in item.samples]}
            for item in entity.presence
        ],
        "duplicates": _pairings(entity.duplicates, {name: system.duplicates for name, system in entity.systems.items()}),
        "ambiguous": _pairings(entity.ambiguous, {name: system.ambiguous for name, system in entity.systems.items()}),
        "fields": {
            name: {
                "decided_by": drift.decided_by,
                "differing": drift.differing,
                "to_decide": drift.to_decide,
                "pairs": [_pair(pair) for pair in drift.pairs],
            }
            for name, drift in entity.fields.items()
        },
        "dirty": [
            {"system": item.system, "field": item.field, "kind": item.kind, "count": item.count, "samples": item.samples}
            for item in entity.dirty
        ],
        "notes": list(entity.notes),
    }


def _system(entity: EntityDrift, name: str, system: SystemDrift) -> dict[str, Any]:
    return {
        "rows": system.rows,
        "outside": system.outside,
        "rejected": system.refused,
        "only_here": entity.only_in(name).records,
        "duplicates": system.duplicates,
        "ambiguous": system.ambiguous,
        "dirty": sum(item.count for item in entity.dirty if item.system == name),
    }


def _pairings(found: Mapping[str, list[Pairing]], counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "system": name,
            "count": counts[name],
            "samples": [{"key": item.key, "like": {"system": item.like_system, "keys": list(item.like)}} for item in items],
        }
        for name, items in found.items()
        if counts[name]
    ]


def _pair(pair: PairDrift) -> dict[str, Any]:
    return {
        "systems": list(pair.systems),
        "compared": pair.compared,
        "agree": pair.agree,
        "differ": pair.differ,
        "differ_in_form": pair.in_form,
        "missing": dict(pair.missing),
        "samples": [{"keys": dict(sample.keys), "values": dict(sample.values)} for sample in pair.samples],
    }
