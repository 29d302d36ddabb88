"""Patterns of damage: many edits of one system at once that look like one mistake rather than like the work of people.

    blanked      a field is emptied in many rows (a column that was lost in an import)
    scaled       numbers of a field are all changed by the same factor (a wrong currency, unit or decimal point)
    went back    values return to what they were earlier (a restored backup, an old file saved over a new one)
    re-typed     values of a field are written anew in a form that loses something (a file that a spreadsheet saved), or read
                 otherwise while their column got another type
    one value    a field that told records apart says the same in many rows
    surge        edits of one field by the thousand, from a system that makes few (a script that touches everything)

They are looked for below the limits of a guard as well: edits by the thousand in one field may be a small share of a large table.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trueup.core import retyped
from trueup.core.cells import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.model import Entity, Guard

LOOKED_AT_SHARE = 0.02
"""From this share of a system's rows on, edits are looked at for patterns (and not below a guard's `at_least`)."""
VARIED = 0.5
"""Of values that one and the same value replaced, so many must have differed: a flag that is set in many rows loses nothing."""
SURGE_ROWS = 1_000
SURGE_TIMES = 10
SURGE_DAYS = 14
"""A surge is of so many rows, so many times those of the busiest day before, of a system that is known for so many days."""
EXAMPLES = 3
MOST = 0.8
"""Of the edits of a field (of all edits, for those that go back), so many must follow the pattern."""
FACTOR_APART = 0.01
"""How far a number may be from old value times factor, by rounding."""
LEAST_FACTOR = 1.5
"""A smaller factor, up or down, is a price rise or a sale."""
NUMBERS = ("integer", "decimal", "float")

PatternKind = Literal["blanked", "scaled", "went back", "re-typed", "one value", "surge", "drip"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of damage: in which field (None: in all), how many edits follow it of how many, and what tells it.

    factor    of numbers that were scaled
    form      what became of values that were re-typed
    value     the one value that replaced many
    usual     of a surge: rows of the busiest day before; of a drip: deletes of the busiest day before
    passes    of a drip: in how many runs; `count` is then of all of them, and `of` the rows
    column    whose type changed in the system itself: what its values became is told by `form`
    examples  some of the edits: value before, value after (cells)
    """

    kind: PatternKind
    field: str | None
    count: int
    of: int
    factor: float | None = None
    form: str | None = None
    value: str | None = None
    usual: int | None = None
    passes: int | None = None
    column: str | None = None
    examples: tuple[tuple[str | None, str | None], ...] = dataclasses.field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Usual:
    """What a system did before today: rows of its busiest day, and for how many days it is known."""

    busiest: int = 0
    days: int = 0


@dataclass
class Edits:
    """The edits of one system in one pass, counted as they come.

    `retyped`: field -> (column, what became of it), for columns that are of another type than when they were last read.
    """

    entity: Entity
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rows: int = 0
    _edits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _blanked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _logs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _forms: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    _said: dict[str, dict[str | None, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    _replaced: dict[tuple[str, str | None], set[str]] = field(default_factory=lambda: defaultdict(set))
    _shown: dict[tuple[str, str], list[tuple[str | None, str | None]]] = field(default_factory=lambda: defaultdict(list))
    _back: int = 0

    def add(self, edits: Iterable[tuple[str, str | None, str | None, bool]]) -> None:
        """Count edits: field, golden cell before, cell that the system shows now, and whether the record once had that value."""
        for name, before, after, back in edits:
            self._edits[name] += 1
            self._back += back
            if name in self.retyped:
                self._show(name, "another type", before, after)
            if before in (None, NULL):
                continue
            if after == NULL:
                self._blanked[name] += 1
                self._show(name, "blanked", before, after)
                continue
            self._say(name, before, after)
            kind = self.entity.fields[name].type if name in self.entity.fields else None
            if kind in NUMBERS:
                factor = _factor(before, after)
                if factor is not None:
                    self._logs[name].append(factor)
                    self._show(name, "scaled", before, after)
            form = retyped.form(kind or "", before, after)
            if form is not None:
                self._forms[name, form] += 1
                self._show(name, form, before, after)

    def _say(self, name: str, before: str | None, after: str | None) -> None:
        self._said[name][after] += 1
        self._replaced[name, after].add(before or "")
        self._show(name, f"={after}", before, after)

    def _show(self, name: str, why: str, before: str | None, after: str | None) -> None:
        shown = self._shown[name, why]
        if len(shown) < EXAMPLES:
            shown.append((before, after))

    def pattern(self, held_rows: int, guard: Guard, usual: Usual = Usual()) -> Pattern | None:
        """The pattern that most of the edits follow, in a system of so many rows; None where there is none.

        Where a column has another type, a single value that reads otherwise is enough: nobody can tell it from what the change did.
        """
        for name, (column, form) in self.retyped.items():
            if count := self._edits[name]:
                return Pattern("re-typed", name, count, count, form=form, column=column, examples=self._examples(name, "another type"))
        if guard.one_mistake is not None:
            few = max(guard.at_least, math.ceil(LOOKED_AT_SHARE * held_rows))
            enough = max(guard.at_least, math.ceil(guard.one_mistake * held_rows))
            found = self._blank(enough) or self._retyped(few) or self._scaled(enough) or self._one_value(enough) or self._went_back(few)
            if found is not None:
                return found
        return self._surge(held_rows, guard.surge, usual) if guard.surge is not None else None

    def _most(self, name: str, count: int, enough: int) -> bool:
        return count >= enough and count >= MOST * self._edits[name]

    def _examples(self, name: str, why: str) -> tuple[tuple[str | None, str | None], ...]:
        return tuple(self._shown[name, why])

    def _blank(self, enough: int) -> Pattern | None:
        for name, count in self._blanked.items():
            if self._most(name, count, enough):
                return Pattern("blanked", name, count, self._edits[name], examples=self._examples(name, "blanked"))
        return None

    def _retyped(self, enough: int) -> Pattern | None:
        for (name, form), count in self._forms.items():
            if self._most(name, count, enough):
                return Pattern("re-typed", name, count, self._edits[name], form=form, examples=self._examples(name, form))
        return None

    def _scaled(self, enough: int) -> Pattern | None:
        for name, logs in self._logs.items():
            if len(logs) < enough:
                continue
            middle = sorted(logs)[len(logs) // 2]
            count = sum(abs(item - middle) <= FACTOR_APART for item in logs)
            if abs(middle) >= math.log(LEAST_FACTOR) and self._most(name, count, enough):
                shown = self._examples(name, "scaled")
                return Pattern("scaled", name, count, self._edits[name], factor=math.exp(middle), examples=shown)
        return None

    def _one_value(self, enough: int) -> Pattern | None:
        for name, said in self._said.items():
            value, count = max(said.items(), key=lambda item: item[1])
            if self._most(name, count, enough) and len(self._replaced[name, value]) >= VARIED * count:
                return Pattern("one value", name, count, self._edits[name], value=value, examples=self._examples(name, f"={value}"))
        return None

    def _went_back(self, enough: int) -> Pattern | None:
        every = sum(self._edits.values())
        return Pattern("went back", None, self._back, every) if self._back >= enough and self._back >= MOST * every else None

    def _surge(self, held_rows: int, share: float, usual: Usual) -> Pattern | None:
        every = sum(self._edits.values())
        for name, count in self._edits.items():
            many = count >= max(SURGE_ROWS, share * held_rows, SURGE_TIMES * usual.busiest)
            if many and count >= MOST * every and usual.days >= SURGE_DAYS:
                return Pattern("surge", name, count, every, usual=usual.busiest)
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
