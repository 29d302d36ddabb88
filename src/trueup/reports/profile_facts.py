"""What systems hold, column by column: the facts of a profile, and their public JSON form."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SAMPLES = 5
"""How many examples are kept of anything."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a system's clock is from ours: `seconds` ahead of it (negative: behind), give or take `within_s`.

    asked     the system told its time
    modified  it cannot tell; a row was modified in the future, so that the clock is ahead by at least so much
    nothing   it cannot tell, and no row shows that it is ahead; `seconds` is None
    same      it runs on this machine and has no other clock
    """

    by: Literal["asked", "modified", "nothing", "same"]
    seconds: float | None = None
    within_s: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Some values of a column that have something in common: how many (rows), and examples."""

    name: str
    words: str
    count: int
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """The numbers or days of a column.

    All are floats, or ISO texts where the column holds days. `low` and `high` are the bounds beyond which a value is far out (None: there
    are none, because the middle half is all the same), `outliers` counts rows beyond, `bins` are rows between equally wide steps from
    `bins_from` to `bins_to`.
    """

    least: Any
    quarter: Any
    median: Any
    three_quarters: Any
    most: Any
    mean: float | None = None
    low: Any = None
    high: Any = None
    outliers: int = 0
    outlier_samples: tuple[Any, ...] = ()
    bins: tuple[int, ...] = ()
    bins_from: Any = None
    bins_to: Any = None


@dataclass(frozen=True, slots=True)
class Doubled:
    """Values that several rows share: how many values, how many rows have one, examples with their rows.

    `in_form`: more values would be the same but for capitals, spaces and punctuation.
    """

    values: int
    rows: int
    samples: tuple[tuple[str, int], ...] = ()
    in_form: int = 0
    in_form_samples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Steps of `clean:` for a column, why, and what they do: of `tried` rows `changed` change, `unclear` mean nothing to a step.

    `clean` is as it stands in the configuration; empty: there is only advice. `samples` are values before and after (None: null).
    """

    clean: tuple[str, ...]
    why: str
    tried: int = 0
    changed: int = 0
    unclear: int = 0
    samples: tuple[tuple[str, str | None], ...] = ()
    unclear_samples: tuple[str, ...] = ()
    advice: str = ""


@dataclass(slots=True)
class ColumnProfile:
    """One column. Rows are `filled + empty + blank`; a placeholder is filled.

    declared    what the system says of its type
    empty       null, `blank` a text that shows nothing
    distinct    different values among the filled ones
    kinds       what the values look like, the most frequent first; empty for columns with a type of their own
    patterns    how texts are written (A, a, 9 for letters and digits), the most frequent first
    notes       remarks on the column as a whole
    """

    name: str
    declared: str
    filled: int = 0
    empty: int = 0
    blank: int = 0
    distinct: int = 0
    shortest: int | None = None
    longest: int | None = None
    kinds: list[Found] = dataclasses.field(default_factory=list)
    patterns: list[Found] = dataclasses.field(default_factory=list)
    frequent: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    placeholders: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    dirt: list[Found] = dataclasses.field(default_factory=list)
    doubled: Doubled | None = None
    spread: Spread | None = None
    proposal: Proposal | None = None
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return self.filled + self.empty + self.blank

    @property
    def dirty(self) -> int:
        """How many findings of dirt; a value with two kinds of dirt counts twice."""
        return sum(found.count for found in self.dirt) + sum(count for _word, count in self.placeholders) + self.blank


@dataclass(frozen=True, slots=True)
class Orphans:
    """A column that refers to records of another object: how many rows point to one that is not there.

    `configured`: the configuration says so; else it looks so, because most of its values are keys there.
    """

    column: str
    refers_to: str
    rows: int
    values: int
    samples: tuple[str, ...] = ()
    configured: bool = False


@dataclass(frozen=True, slots=True)
class MatchDoubles:
    """Rows of one system that a match rule takes for one record, after cleaning."""

    entity: str
    fields: tuple[str, ...]
    records: int
    rows: int
    samples: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class ObjectProfile:
    """One object. `rows` were looked at (`whole`: those are all), `outside` are left out by a filter, `refused` cannot be read: why."""

    name: str
    kind: str
    entity: str | None = None
    key: tuple[str, ...] = ()
    rows: int = 0
    whole: bool = True
    outside: int = 0
    refused: int = 0
    reasons: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    columns: dict[str, ColumnProfile] = dataclasses.field(default_factory=dict)
    orphans: list[Orphans] = dataclasses.field(default_factory=list)
    doubles: list[MatchDoubles] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclass(slots=True)
class SystemProfile:
    """One system. `left_out`: objects that could not be looked at, with the reason; `error`: why the whole system could not."""

    name: str
    connector: str
    clock: Clock | None = None
    objects: list[ObjectProfile] = dataclasses.field(default_factory=list)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True)
class ProfileReport:
    """All of it."""

    measured_at: datetime
    seconds: float = 0.0
    systems: dict[str, SystemProfile] = dataclasses.field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything asked for could be looked at."""
        return not any(system.error or system.left_out for system in self.systems.values())

    @property
    def nothing(self) -> bool:
        """Whether no object at all could be looked at."""
        return not any(system.objects for system in self.systems.values())


def profile_dict(report: ProfileReport) -> dict[str, Any]:
    """The public form; documented in docs/reference."""
    return {
        "measured_at": report.measured_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(report.seconds, 3),
        "systems": {name: _system(system) for name, system in report.systems.items()},
    }


def _system(system: SystemProfile) -> dict[str, Any]:
    clock = system.clock
    return {
        "connector": system.connector,
        "error": system.error,
        "clock": None if clock is None else {"by": clock.by, "seconds": _short(clock.seconds), "within_s": _short(clock.within_s)},
        "left_out": dict(system.left_out),
        "objects": [_object(item) for item in system.objects],
    }


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _object(item: ObjectProfile) -> dict[str, Any]:
    return {
        "object": item.name,
        "kind": item.kind,
        "entity": item.entity,
        "key": list(item.key),
        "rows": item.rows,
        "whole": item.whole,
        "outside": item.outside,
        "refused": item.refused,
        "reasons": [{"reason": reason, "rows": count} for reason, count in item.reasons],
        "columns": [_column(column) for column in item.columns.values()],
        "duplicates": [
            {
                "entity": found.entity,
                "fields": list(found.fields),
                "records": found.records,
                "rows": found.rows,
                "samples": [list(sample) for sample in found.samples],
            }
            for found in item.doubles
        ],
        "orphans": [
            {
                "column": found.column,
                "refers_to": found.refers_to,
                "rows": found.rows,
                "values": found.values,
                "samples": list(found.samples),
                "configured": found.configured,
            }
            for found in item.orphans
        ],
        "notes": list(item.notes),
    }


def _column(column: ColumnProfile) -> dict[str, Any]:
    return {
        "column": column.name,
        "declared": column.declared,
        "filled": column.filled,
        "empty": column.empty,
        "blank": column.blank,
        "distinct": column.distinct,
        "length": None if column.longest is None else [column.shortest, column.longest],
        "kinds": [_found(found) for found in column.kinds],
        "patterns": [{"pattern": found.name, "rows": found.count, "samples": list(found.samples)} for found in column.patterns],
        "frequent": [{"value": value, "rows": count} for value, count in column.frequent],
        "placeholders": [{"value": value, "rows": count} for value, count in column.placeholders],
        "dirt": [_found(found) for found in column.dirt],
        "duplicates": None if column.doubled is None else _doubled(column.doubled),
        "spread": None if column.spread is None else _spread(column.spread),
        "proposal": None if column.proposal is None else _proposal(column.proposal),
        "notes": list(column.notes),
    }


def _found(found: Found) -> dict[str, Any]:
    return {"kind": found.name, "means": found.words, "rows": found.count, "samples": list(found.samples)}


def _doubled(doubled: Doubled) -> dict[str, Any]:
    return {
        "values": doubled.values,
        "rows": doubled.rows,
        "samples": [{"value": value, "rows": count} for value, count in doubled.samples],
        "in_form": doubled.in_form,
        "in_form_samples": [list(sample) for sample in doubled.in_form_samples],
    }


def _spread(spread: Spread) -> Mapping[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(spread).items()}


def _proposal(proposal: Proposal) -> dict[str, Any]:
    return {
        "clean": list(proposal.clean),
        "why": proposal.why,
        "tried": proposal.tried,
        "changed": proposal.changed,
        "unclear": proposal.unclear,
        "samples": [{"before": before, "after": after} for before, after in proposal.samples],
        "unclear_samples": list(proposal.unclear_samples),
        "advice": proposal.advice,
    }
