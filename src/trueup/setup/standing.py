"""How far each system may be believed about a kind of record: how much of it the system holds, how full and tidy that is, how fresh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.setup.samples import Sample

_CLOSE = 0.85
"""A system that stands within this share of the first one is nearly as good."""
_TIDIER = 5
"""Points of hundred by which a system is clearly tidier than another."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What speaks for one system.

    `rows` are those that it holds, None: unknown; `tidy` is of hundred; `changed` is the day of its latest change, None: not told.
    `weight` is 0 to 1: the share of rows, of the system with most, times how full and tidy they are.
    """

    system: str
    rows: int | None
    tidy: int
    changed: str | None
    weight: float

    @property
    def words(self) -> str:
        """The evidence, for a person."""
        rows = "rows not counted" if self.rows is None else f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}"
        return f"{rows}, {self.tidy} % full and tidy" + (f", last change {self.changed}" if self.changed else "")


def standings(group: Sequence[Sample]) -> tuple[Standing, ...]:
    """The systems of an entity, the one that most speaks for first; of equals the fresher one, then the one that was named first."""
    most = max((_held(sample) for sample in group), default=0)
    found = []
    for sample in group:
        tidy = _tidy(sample)
        share = _held(sample) / most if most else 0.0
        found.append(Standing(sample.system, sample.rows, tidy, _changed(sample), share * tidy / 100))
    by_freshness = sorted(found, key=lambda it: it.changed or "", reverse=True)  # sorting keeps the order of equals
    return tuple(sorted(by_freshness, key=lambda it: -round(it.weight, 2)))


def doubt(ranked: Sequence[Standing]) -> str | None:
    """Why the evidence is thin for the first of these to have the last word; None where it is not."""
    if len(ranked) < 2:
        return None
    first, second = ranked[:2]
    if any(it.rows is None for it in ranked):
        return "how many rows there are is not known of all"
    for other in ranked[1:]:
        if other.tidy >= first.tidy + _TIDIER:
            return f"{other.system} is tidier, {first.system} holds more"
        if (other.rows or 0) > (first.rows or 0) and first.tidy > other.tidy:
            return f"{other.system} holds more, {first.system} is tidier"
    if second.weight >= _CLOSE * first.weight:
        return f"{second.system} is nearly as full and tidy" if second.weight < first.weight else f"{second.system} is as full and tidy"
    return None


def _held(sample: Sample) -> int:
    """The rows that a system holds; where it does not say, those that were looked at."""
    looked = max((len(column.values) for column in sample.columns.values()), default=0)
    return looked if sample.rows is None else max(sample.rows, 0)


def _tidy(sample: Sample) -> int:
    """How full and tidy an object is, of hundred."""
    columns = [column for name, column in sample.columns.items() if name not in sample.key]
    if not columns:
        return 0
    return round(100 * sum(column.filled * (1 - column.untidy) for column in columns) / len(columns))


def _changed(sample: Sample) -> str | None:
    """The newest day on which one of the rows looked at was changed."""
    column = sample.columns.get(sample.modified) if sample.modified is not None else None
    return max(column.known, default=None) if column is not None else None
