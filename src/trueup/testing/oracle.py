"""The merge once more, cell by cell in plain Python: a page to read beside docs/architecture.md, and the judge of the columnar one.

`agree` takes everything that is known about one field of one record at one moment, and says what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from trueup.core.cells import NULL
from trueup.core.combine import merge_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.model import ConflictRule, FieldType

Cell = str | None
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    """What one system shows for the field now, beside what it was last seen to show and what it stands for. `first`: no base."""

    system: str
    observed: str
    seen: Cell = None
    sent: Cell = None
    at: datetime | None = None
    first: bool = False
    deaf: bool = False  # a write-only system
    refused: bool = False


@dataclass(frozen=True)
class Candidate:
    """A value that stands in the queue; `system` None is the golden value."""

    system: str | None
    value: Cell
    at: datetime | None


@dataclass(frozen=True)
class Question:
    """One field of one record. `judge` is the field's `rule` (incoming, golden) -> value; `now` dates edits of unknown time."""

    rule: ConflictRule
    kind: FieldType
    precedence: Sequence[str]
    golden: Cell
    origin: str | None
    origin_at: datetime | None
    said: Sequence[Said]
    now: datetime
    owner: str | None = None
    owner_holds: bool = False
    explicit: bool = False
    open: Sequence[Candidate] = ()
    judge: Callable[[str, str], str] = max


@dataclass
class Answer:
    """`origin`: whose value golden is. `stands`: system -> (seen, sent) afterwards.

    `open`: (system, value) pairs that wait for a person; empty: nothing does.

    `told`: (kind, system, value) of lost and overruled edits.
    """

    golden: Cell
    origin: str | None = field(default=None, compare=False)
    origin_at: datetime | None = field(default=None, compare=False)
    stands: dict[str, tuple[Cell, Cell]] = field(default_factory=dict)
    open: set[tuple[str | None, Cell]] = field(default_factory=set)
    told: set[tuple[str, str, Cell]] = field(default_factory=set)


def agree(question: Question) -> Answer:  # noqa: C901 - a whole page on purpose
    """Settle one field: ordinary edits first, then systems that meet the record for the first time."""
    answer = Answer(
        question.golden, question.origin, question.origin_at or LONG_AGO, open={(item.system, item.value) for item in question.open}
    )
    regular = [said for said in question.said if not said.first and said.observed != said.seen]
    heard = []
    for said in regular:
        answer.stands[said.system] = (said.observed, said.observed)
        if said.deaf or said.refused or (question.owner_holds and question.owner != said.system):
            answer.told.add(("overruled", said.system, said.observed))
        elif question.owner == said.system:
            _move(answer, said.observed, said)
        else:
            heard.append(said)
    if heard and question.open:
        _join(question, heard, answer)
    elif heard:
        _edits(question, heard, answer)
    first = [said for said in question.said if said.first]
    for said in first:
        answer.stands[said.system] = (said.observed, said.observed)
    hearing = [said for said in first if not said.deaf]
    if hearing and answer.open:
        _join(question, hearing, answer)
    elif hearing:
        _meet(question, hearing, answer, by_owner=question.owner_holds)
    for said in first:
        if said.deaf and said.observed not in (NULL, answer.golden):
            answer.told.add(("overruled", said.system, said.observed))
    return answer


def _edits(question: Question, heard: list[Said], answer: Answer) -> None:
    """Steps 3 to 5: edits that have a base."""
    ordered = sorted(heard, key=lambda said: (_time(question, said), -question.precedence.index(said.system)))
    match question.rule:
        case "add":
            total = _number(question.golden) + sum(_number(said.observed) - _number(said.seen) for said in heard)
            for said in heard:
                stands_for = _digits(_number(said.sent) + _number(said.observed) - _number(said.seen))
                answer.stands[said.system] = (said.observed, NULL if said.observed == NULL else stands_for)
            _move(answer, _digits(total), ordered[-1])
        case "union":
            _move(answer, _union(question.golden, [(said.observed, said.seen) for said in ordered]), ordered[-1])
        case "text":
            merged: Cell = question.golden
            for said in ordered:
                merged = _text(said.seen, merged, said.observed)
                if merged is None:
                    _conflict(question, heard, answer)
                    return
            _move(answer, merged, ordered[-1])
        case "rule":
            value: Cell = question.golden
            for said in ordered:
                judged = said.observed if value in (None, NULL) else question.judge(said.observed, str(value))
                if judged != value:
                    _move(answer, judged, said)
                value = judged
            answer.told |= {("lost", said.system, said.observed) for said in heard if said.observed != value}
        case _:
            _conflict(question, heard, answer)


def _conflict(question: Question, heard: list[Said], answer: Answer) -> None:
    """The latest value of each system that says something else than golden, and golden itself where nobody knew it."""
    sides = [Candidate(said.system, said.observed, said.at) for said in heard if said.observed != question.golden]
    if not sides:
        return
    if question.golden is not None and all(said.sent != question.golden for said in heard if said.observed != question.golden):
        sides.append(Candidate(None, question.golden, question.origin_at or LONG_AGO))
    _decide(question, sides, question.rule, answer)


def _move(answer: Answer, value: Cell, by: Said | Candidate) -> None:
    """Golden gets a value, from somebody; the same value again has the origin that it had."""
    if value != answer.golden:
        answer.golden, answer.origin, answer.origin_at = value, by.system, by.at


def _decide(question: Question, sides: list[Candidate], rule: str, answer: Answer) -> None:
    """One value left is accepted; several are settled by the rule, or wait for a person."""
    if len({side.value for side in sides}) > 1 and rule in ("manual", "text"):
        answer.open = {(side.system, side.value) for side in sides}
        return
    best = min(sides, key=lambda side: _order(question, rule, side, answer))
    won = best.value
    _move(answer, won, best)
    answer.told |= {("lost", side.system, side.value) for side in sides if side.system is not None and side.value != won}


def _order(question: Question, rule: str, side: Candidate, answer: Answer) -> tuple[Any, ...]:
    """The smallest wins: null last for max and min; then by the rule; then precedence; then the value's text."""
    system = side.system or answer.origin
    rank = question.precedence.index(system) if system in question.precedence else len(question.precedence)
    at = _time(question, side)
    by_rule: Any = 0
    if rule in ("last_write_wins", "first_write_wins"):
        by_rule = -at if rule == "last_write_wins" else at
    elif rule in ("max", "min") and side.value not in (None, NULL):
        number = question.kind in ("integer", "decimal", "float")
        by_rule = _Key(Decimal(str(side.value)) if number else str(side.value), down=rule == "max")
    absent = rule in ("max", "min") and side.value in (None, NULL)
    return (absent, _Key(0, down=False) if absent else by_rule, rank, side.value or "")


@dataclass(frozen=True)
class _Key:
    """A value that sorts upwards, or downwards."""

    value: Any
    down: bool

    def __lt__(self, other: _Key) -> bool:
        return bool(self.value > other.value if self.down else self.value < other.value)


def _join(question: Question, said: list[Said], answer: Answer) -> None:
    """A field that waits for a person: further values join the candidates; it thaws when all that is left is one value.

    A counter does not: the same number in two systems may be two changes.
    """
    mine = {item.system: item.observed for item in said}
    kept = {(system, value) for system, value in answer.open if system is not None and system not in mine}
    golden = {(system, value) for system, value in answer.open if system is None}
    if any(item.sent == question.golden and not item.first for item in said):
        golden = set()
    everyone: set[tuple[str | None, Cell]] = kept | golden | set(mine.items())
    if len({value for _system, value in everyone}) == 1 and question.rule != "add":
        answer.open = set()
        answer.golden = said[0].observed
    else:
        answer.open = everyone


def _meet(question: Question, hearing: list[Said], answer: Answer, *, by_owner: bool) -> None:
    """First contact: a missing value never beats a value; then the owner, then the rule; the others' values go to the history."""
    sides = [Candidate(said.system, said.observed, said.at) for said in hearing]
    if answer.golden is not None:
        sides.append(Candidate(None, answer.golden, answer.origin_at))
    spoken = [side for side in sides if side.value != NULL]
    if not spoken:
        answer.golden = NULL
        return
    owner = [side for side in spoken if side.system is not None and side.system == question.owner]
    golden = [side for side in spoken if side.system is None]
    if not owner and by_owner and not any(said.system == question.owner for said in hearing):
        owner = golden
    if owner or (golden and answer.origin == question.owner and question.owner is not None):
        won = (owner or golden)[0].value
        answer.golden = won
        answer.told |= {("lost", side.system, side.value) for side in spoken if side.system is not None and side.value != won}
        return
    rule: str = question.rule
    if rule == "add" or (rule in ("manual", "text") and question.explicit) or question.owner is not None:
        rule = "precedence"
    if rule == "union":
        answer.golden = _union(answer.golden, [(side.value, "[]") for side in spoken])
    elif rule == "rule":
        value: Cell = answer.golden
        newcomers = {side.system for side in spoken}
        for said in sorted(hearing, key=lambda said: (_time(question, said), -question.precedence.index(said.system))):
            if said.system in newcomers:
                value = said.observed if value in (None, NULL) else question.judge(said.observed, str(value))
        answer.golden = value
        answer.told |= {("lost", side.system, side.value) for side in spoken if side.system is not None and side.value != value}
    else:
        _decide(question, spoken, rule, answer)


# ---------------------------------------------------------------- changed mappings


@dataclass(frozen=True)
class Row:
    """One system's row, for one field, after some mapping changed.

    now    what it reads as; None: it was not read, or says nothing
    was    what it reads as under the mappings of before; None: this system's mapping is as it was
    aside  it is there, and takes no part
    counted what is compared with its values to come is what was seen (`add`, `union`)
    unread this system's mapping changed as well, and its row was not read
    """

    system: str
    seen: Cell
    sent: Cell
    now: Cell = None
    was: Sequence[str] | None = None
    aside: bool = False
    deaf: bool = False
    unread: bool = False
    counted: bool = False

    @property
    def edited(self) -> bool:
        """Somebody typed something: the row reads otherwise under every mapping."""
        return self.now not in (None, self.seen) and not self.rebased and not self.baseless

    @property
    def rebased(self) -> bool:
        """Nobody typed anything: it read as it was seen, and reads otherwise now."""
        return self.was is not None and self.now not in (None, self.seen) and self.seen in self.was

    @property
    def baseless(self) -> bool:
        """Nothing can be said about what it read as before, or about what it reads as now."""
        if self.was is None or self.now == self.seen:
            return False
        if self.now is not None:
            return not self.was and not self.aside
        return self.seen in self.was and (self.counted or not self.aside)


def tell_otherwise(
    golden: Cell, rows: Sequence[Row], precedence: Sequence[str], *, origin: str | None, owner: str | None
) -> tuple[Cell, dict[str, tuple[Cell, Cell]]]:
    """The golden value in the words of the new mappings, and (seen, sent) of every system; `owner` is one that holds the record."""
    after = golden
    if any(row.rebased and not row.aside for row in rows):
        speakers = [
            row
            for row in rows
            if not (row.deaf or row.aside or row.edited or row.baseless or row.unread)
            and row.seen == row.sent == golden is not None
            and (owner is None or owner == row.system)
        ]
        speakers.sort(key=lambda row: (row.system != origin, row.was is not None, precedence.index(row.system)))
        if speakers and speakers[0].rebased:
            after = speakers[0].now
    stands: dict[str, tuple[Cell, Cell]] = {}
    for row in rows:
        seen, sent = row.seen, row.sent
        if row.rebased:
            seen = row.now
            sent = row.now if row.sent == row.seen else row.sent
        elif row.baseless:
            seen = None
        elif row.edited and row.was is not None and row.seen == golden:
            seen = after
        stands[row.system] = (seen, after if row.sent == golden else sent)
    return after, stands


def _time(question: Question, side: Said | Candidate) -> float:
    """When a value was typed, never after it was observed."""
    return min(side.at or question.now, question.now).timestamp()


def _number(cell: Cell) -> Decimal:
    return Decimal(0) if cell is None or cell == NULL else Decimal(cell)


def _digits(number: Decimal) -> str:
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def _items(cell: Cell) -> set[str]:
    return set() if cell is None or cell == NULL else set(orjson.loads(cell))


def _union(golden: Cell, edits: list[tuple[Cell, Cell]]) -> str:
    items, added = _items(golden), set[str]()
    for observed, seen in edits:
        items -= _items(seen) - _items(observed)
        added |= _items(observed) - _items(seen)
    merged = sorted(items | added)
    empty = not merged and (edits[-1][0] == NULL or (golden in (None, NULL) and all(_items(seen) for _observed, seen in edits)))
    return NULL if empty else orjson.dumps(merged).decode()


def _text(base: Cell, golden: Cell, observed: str) -> Cell:
    if golden is None or golden in (base, observed):
        return observed
    if observed == base:
        return golden
    if base is None or NULL in (golden, observed, base):
        return None
    lines = merge_lines(base.splitlines(keepends=True), golden.splitlines(keepends=True), observed.splitlines(keepends=True))
    return None if lines is None else "".join(lines)
