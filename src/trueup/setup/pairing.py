"""Which columns of two objects hold the same field, and which objects hold the same things: by name, by kind, and by what the rows say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

from trueup.setup import words
from trueup.setup.joined import MEANING as WHOLE_NAME
from trueup.setup.kinds import comparable, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.setup.kinds import Column, Kind
    from trueup.setup.samples import Sample

SURE = 0.75
"""From here on a pair of columns is proposed without a mark."""
DOUBTFUL = 0.4
"""From here on it is proposed with one."""
ENOUGH_ROWS = 8
"""Rows that both systems hold, from which their agreement is believed."""
MANY_ROWS, ALL_AGREE = 30, 0.97
SOME_VALUES = 5
MOST_AGREE = 0.9
ALIKE = 0.45
"""From here on two objects are taken to hold the same things."""
WIDE, SIGNS = 40_000, 20
"""Beyond so many pairs of columns, only those are looked at that share a meaning, or one of so many values."""
_AKIN: tuple[frozenset[Kind], ...] = (
    frozenset({"integer", "decimal", "boolean", "code", "phone"}),
    frozenset({"date", "datetime"}),
    frozenset({"text", "code", "url", "email", "phone"}),
)
_TECHNICAL = frozenset({"created", "modified"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Two columns that may hold the same field: how sure that is (0 to 1), and why."""

    left: str
    right: str
    confidence: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """Rows of two samples that hold the same things: their numbers, and the two columns that tell it."""

    on: tuple[str, str]
    rows: tuple[tuple[int, int], ...]
    overlap: float


@dataclass(frozen=True, slots=True)
class Match:
    """Two objects side by side: how alike they are (0 to 1), the rows that tell it, and their pairs of columns."""

    left: Sample
    right: Sample
    likeness: float
    aligned: Aligned | None
    pairs: tuple[Pair, ...] = field(default=())


def match_objects(left: Sample, right: Sample) -> Match:
    """Compare two objects of different systems."""
    aligned = _align(left, right)
    pairs = tuple(_assigned(_scored(left, right, aligned), {whole.name: whole.parts for whole in (left.joined, right.joined) if whole}))
    by_name = words.likeness(words.meaning(left.name), words.meaning(right.name))
    sure = [pair for pair in pairs if pair.confidence >= SURE]
    smaller = max(1, min(len(left.columns), len(right.columns)) - 1)  # the key is a system's own
    by_columns = min(1.0, len(sure) / smaller)
    by_rows = min(1.0, 2 * aligned.overlap) if aligned else 0.0
    return Match(left, right, 0.35 * by_name + 0.4 * by_columns + 0.25 * by_rows, aligned, pairs)


def _align(left: Sample, right: Sample) -> Aligned | None:
    """The rows that both hold, by the two columns that tell rows apart and have most in common; None where none have."""
    best: tuple[float, str, str] | None = None
    for ours in left.columns.values():
        for theirs in right.columns.values():
            if (
                not (ours.unique and theirs.unique)
                or not _may_be_one(ours.kind, theirs.kind)
                or _numbering(left, ours)
                or _numbering(right, theirs)
            ):
                continue
            shared = _overlap(ours, theirs)
            if shared >= 0.1 and (best is None or shared > best[0]):
                best = (shared, ours.name, theirs.name)
    if best is None:
        return None
    shared, ours_name, theirs_name = best
    places = {value: row for row, value in enumerate(right.columns[theirs_name].values) if value is not None}
    rows = tuple((row, places[value]) for row, value in enumerate(left.columns[ours_name].values) if value is not None and value in places)
    return Aligned((ours_name, theirs_name), rows, shared)


def _numbering(sample: Sample, column: Column) -> bool:
    """Whether a column only numbers the rows: 1, 2, 3 in two systems are no sign that the rows are the same."""
    return column.kind == "integer" and (column.name in sample.key or words.meaning(column.name) in {"id", "number", "row"})


def _each_numbers(sample: Sample, column: Column) -> bool:
    """Whether a column is the number that the system itself gives to each new row."""
    return sample.assigns_key and sample.key == (column.name,) and column.kind == "integer"


def _overlap(left: Column, right: Column) -> float:
    """How many of the values of the one with fewer stand in the other one as well, 0 to 1."""
    fewer = min(len(left.known), len(right.known))
    return len(left.known & right.known) / fewer if fewer >= SOME_VALUES else 0.0


def _scored(left: Sample, right: Sample, aligned: Aligned | None) -> Iterator[Pair]:
    ours, theirs = ({name: words.meaning(name, sample.about) for name in sample.columns} for sample in (left, right))
    for one, other in _candidates(left, right, ours, theirs):
        found = _pair(left, right, left.columns[one], right.columns[other], (ours[one], theirs[other]), aligned)
        if found is not None and found.confidence >= DOUBTFUL:
            yield found
    yield from _joined(left, right, (ours, theirs), aligned)


def _joined(left: Sample, right: Sample, meanings: tuple[Mapping[str, str], Mapping[str, str]], aligned: Aligned | None) -> Iterator[Pair]:
    """First and last name of one object beside a whole name of the other one; only what the rows say counts."""
    ours, theirs = meanings
    whole = left.joined or right.joined
    if whole is None or (left.joined is not None and right.joined is not None):
        return
    for name, said in (theirs if left.joined is not None else ours).items():
        one, other = (whole, right.columns[name]) if left.joined is not None else (left.columns[name], whole)
        agreeing = _agreement(one, other, aligned)
        if agreeing is None or agreeing[0] < MOST_AGREE:
            continue
        found = _pair(left, right, one, other, (WHOLE_NAME, said) if one is whole else (said, WHOLE_NAME), aligned)
        if found is not None and found.confidence >= SURE:
            yield replace(found, evidence=f"{' and '.join(whole.parts)} are one name there; {found.evidence}")


def _candidates(left: Sample, right: Sample, ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The pairs of columns worth a look: all, but of objects with hundreds of columns those that share their meaning or some values."""
    if len(ours) * len(theirs) <= WIDE:
        yield from product(ours, theirs)
        return
    by_sign: dict[str, list[str]] = {}
    for other, said in theirs.items():
        for sign in {f"={said}", *sorted(right.columns[other].known)[:SIGNS]}:
            by_sign.setdefault(sign, []).append(other)
    for one, said in ours.items():
        signs = {f"={said}", *sorted(left.columns[one].known)[:SIGNS]}
        yield from ((one, other) for other in dict.fromkeys(name for sign in sorted(signs) for name in by_sign.get(sign, [])[:SIGNS]))


def _pair(left: Sample, right: Sample, ours: Column, theirs: Column, meanings: tuple[str, str], aligned: Aligned | None) -> Pair | None:
    """What speaks for two columns being one field; None where their kinds cannot be."""
    if not _may_be_one(ours.kind, theirs.kind):
        return None
    by_name = words.likeness(*meanings)
    agreeing = _agreement(ours, theirs, aligned)
    keys = ours.name in left.key or theirs.name in right.key
    if aligned is not None and aligned.on == (ours.name, theirs.name):
        return Pair(ours.name, theirs.name, 0.97, f"{round(100 * aligned.overlap)} % of the values stand in both, and tell rows apart")
    if keys and (agreeing is None or agreeing[0] < MOST_AGREE):
        return None  # a system's own number
    if _TECHNICAL & set(meanings) and (agreeing is None or agreeing[0] < MOST_AGREE or not _one_clock(ours, theirs, aligned)):
        return None  # each system's own clock
    if _each_numbers(left, ours) and _each_numbers(right, theirs):
        return Pair(
            ours.name, theirs.name, DOUBTFUL, "each system numbers its new rows itself: the same numbers would mean two things there"
        )
    named = "the same name" if by_name == 1.0 and ours.name.casefold() == theirs.name.casefold() else "names that mean the same"
    said = named if by_name >= 0.95 else "names that are alike" if by_name >= 0.5 else "different names"
    if agreeing is None:
        kind = 0.0 if ours.kind == theirs.kind else 0.1
        return Pair(ours.name, theirs.name, max(0.0, 0.85 * by_name - kind), f"{said}; no rows to compare")
    share, rows, expected = agreeing
    above = max(0.0, (share - expected) / (1 - expected)) if expected < 1 else 0.0
    confidence = 0.45 * by_name + 0.6 * above if above > 0.1 or by_name < 0.95 else 0.6 * by_name
    if above >= ALL_AGREE and rows >= MANY_ROWS and len(theirs.known) >= SOME_VALUES:
        confidence = max(confidence, SURE + 0.2 * by_name)  # whatever they are called
    return Pair(ours.name, theirs.name, min(0.99, confidence), f"{said}; {round(100 * share)} % of {rows} common rows agree")


def _may_be_one(ours: Kind, theirs: Kind) -> bool:
    return ours == theirs or "empty" in {ours, theirs} or any({ours, theirs} <= group for group in _AKIN)


def _agreement(ours: Column, theirs: Column, aligned: Aligned | None) -> tuple[float, int, float] | None:
    """Over the rows that both hold and fill: the share that agrees, how many, and the share that would agree by chance."""
    if aligned is None:
        return None
    mine, others = _alike(ours, theirs), _alike(theirs, ours)
    both = [(mine[one], others[other]) for one, other in aligned.rows]
    filled = [(one, other) for one, other in both if one is not None and other is not None]
    if len(filled) < ENOUGH_ROWS:
        return None
    share = sum(one == other for one, other in filled) / len(filled)
    counts: dict[str, int] = {}
    for _one, other in filled:
        counts[other] = counts.get(other, 0) + 1
    expected = sum(counts.get(one, 0) for one, _other in filled) / len(filled) ** 2
    return share, len(filled), min(expected, 1.0)


def _one_clock(ours: Column, theirs: Column, aligned: Aligned | None) -> bool:
    """Whether two columns name the same moments in the rows that both hold, and not only the same days."""
    pairs = [(moment(ours.texts[one]), moment(theirs.texts[other])) for one, other in (aligned.rows if aligned is not None else ())]
    known = [one == other for one, other in pairs if one is not None and other is not None]
    return not known or sum(known) >= MOST_AGREE * len(known)


_YES_OR_NO = {"1": "yes", "0": "no"}


def _alike(column: Column, other: Column) -> Sequence[str | None]:
    """The values of a column, 1 and 0 as yes and no beside a column that says so, and digits as phone numbers beside such."""
    if other.kind == "phone" and column.kind in {"integer", "code", "text"}:
        return [None if value is None else comparable("phone", value) for value in column.values]
    if column.kind != "integer" or other.kind != "boolean":
        return column.values
    return [None if value is None else _YES_OR_NO.get(value, value) for value in column.values]


def _assigned(pairs: Iterator[Pair], parts: Mapping[str, tuple[str, ...]]) -> Iterator[Pair]:
    """Each column once: the surest pairs first. `parts` are the columns of those that are several together."""
    left: set[str] = set()
    right: set[str] = set()
    for pair in sorted(pairs, key=lambda item: (-item.confidence, item.left, item.right)):
        ours, theirs = parts.get(pair.left, (pair.left,)), parts.get(pair.right, (pair.right,))
        if left.isdisjoint(ours) and right.isdisjoint(theirs):
            left.update(ours)
            right.update(theirs)
            yield pair


def grouped(samples: Mapping[str, Sequence[Sample]]) -> list[tuple[list[Sample], list[Match]]]:
    """Objects of different systems that hold the same things, with what ties them; each object is in one group at most.

    The surest ties are made first; a group has one object of each system.
    """
    systems = list(samples)
    ties = [
        match_objects(left, right)
        for number, one in enumerate(systems)
        for other in systems[number + 1 :]
        for left in samples[one]
        for right in samples[other]
    ]
    groups: list[tuple[list[Sample], list[Match]]] = []
    for tie in sorted(ties, key=lambda item: -item.likeness):
        if tie.likeness < ALIKE or not tie.pairs:
            continue
        ours = next((group for group in groups if tie.left in group[0]), None)
        theirs = next((group for group in groups if tie.right in group[0]), None)
        if ours is None and theirs is None:
            groups.append(([tie.left, tie.right], [tie]))
        elif ours is theirs and ours is not None:
            ours[1].append(tie)
        elif ours is not None and theirs is not None:
            if not {sample.system for sample in ours[0]} & {sample.system for sample in theirs[0]}:
                ours[0].extend(theirs[0])
                ours[1].extend([*theirs[1], tie])
                groups.remove(theirs)
        else:
            group = ours or theirs
            assert group is not None
            new = tie.right if ours is not None else tie.left
            if new.system not in {sample.system for sample in group[0]}:
                group[0].append(new)
                group[1].append(tie)
    return groups
