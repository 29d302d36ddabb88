"""Patterns of damage: many edits of one system at once that look like one mistake rather than like the work of people.

    blanked      a field is emptied in many rows (a column that was lost in an import)
    scaled       numbers of a field are all changed by the same factor (a wrong currency, unit or decimal point)
    went back    values return to what they were earlier (a restored backup, an old file saved over a new one)

They are looked for below the limits of a guard as well: edits by the thousand in one field may be a small share of a large table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trueup.core.cells import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trueup.model import Entity

LOOKED_AT_SHARE = 0.02
"""From this share of a system's rows on, edits are looked at for patterns (and not below a guard's `at_least`)."""
SHARE_OF_ROWS = 0.05
"""A field that is blanked or scaled in fewer of the rows than this is nobody's concern."""
MOST = 0.8
"""Of the edits of a field (of all edits, for those that go back), so many must follow the pattern."""
FACTOR_APART = 0.01
"""How far a number may be from old value times factor, by rounding."""
LEAST_FACTOR = 1.5
"""A smaller factor, up or down, is a price rise or a sale."""
NUMBERS = ("integer", "decimal", "float")

PatternKind = Literal["blanked", "scaled", "went back"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of damage: in which field (None: in all), how many edits follow it of how many, and by which factor."""

    kind: PatternKind
    field: str | None
    count: int
    of: int
    factor: float | None = None


@dataclass
class Edits:
    """The edits of one system in one pass, counted as they come."""

    entity: Entity
    rows: int = 0
    _edits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _blanked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _logs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _back: int = 0

    def add(self, edits: Iterable[tuple[str, str | None, str | None, bool]]) -> None:
        """Count edits: field, golden cell before, cell that the system shows now, and whether the record once had that value."""
        for name, before, after, back in edits:
            self._edits[name] += 1
            self._back += back
            if after == NULL and before not in (None, NULL):
                self._blanked[name] += 1
            elif name in self.entity.fields and self.entity.fields[name].type in NUMBERS:
                factor = _factor(before, after)
                if factor is not None:
                    self._logs[name].append(factor)

    def pattern(self, held_rows: int, at_least: int) -> Pattern | None:
        """The pattern that most of the edits follow, in a system of so many rows; None where there is none."""
        enough = max(at_least, math.ceil(SHARE_OF_ROWS * held_rows))
        for name, count in self._blanked.items():
            if count >= enough and count >= MOST * self._edits[name]:
                return Pattern("blanked", name, count, self._edits[name])
        for name, logs in self._logs.items():
            if len(logs) < enough:
                continue
            middle = sorted(logs)[len(logs) // 2]
            count = sum(abs(item - middle) <= FACTOR_APART for item in logs)
            if abs(middle) >= math.log(LEAST_FACTOR) and count >= enough and count >= MOST * self._edits[name]:
                return Pattern("scaled", name, count, self._edits[name], math.exp(middle))
        every = sum(self._edits.values())
        if self._back >= max(at_least, math.ceil(LOOKED_AT_SHARE * held_rows)) and self._back >= MOST * every:
            return Pattern("went back", None, self._back, every)
        return None


def _factor(before: str | None, after: str | None) -> float | None:
    """The logarithm of new over old; None where there is none."""
    try:
        old, new = float(before or 0), float(after or 0)
    except ValueError:
        return None
    if old == 0 or new == 0 or (old < 0) != (new < 0):
        return None
    return math.log(new / old)
