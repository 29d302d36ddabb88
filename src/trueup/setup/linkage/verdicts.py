"""Verdicts: which pairs are the same without asking, which ones a person is asked about, and the groups that follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from trueup.setup.linkage.model import Scored

OWN_BITS = 8.0
"""What the fields that are somebody's own (no address, no house number) must say for a pair to be made one without asking, in bits."""
LARGEST_GROUP = 30
"""A larger group is put before a person."""
DENSE = 0.5
"""In a group without asking, at least so many of all its pairs are sure."""

HOUSEHOLD = "only what several people share agrees"
AGAINST = "a match rule says so, and the other fields do not"
CHAIN = "each is like another one of the group, but not all are like each other"
CROWD = "so many at once are rather a value that stands for nothing"


@dataclass(frozen=True)
class Pair:
    """Two rows (numbers, the smaller one first) and how sure it is that they are the same; `place` is their place in `Scored.pairs`.

    `rule` is the number of the match rule in which they agree, None: none. `why` says why a person is asked, empty where nobody is.
    """

    left: int
    right: int
    probability: float
    place: int | None
    rule: int | None = None
    why: str = ""


@dataclass
class Verdicts:
    """`groups` are sets of rows that are the same, with the pairs that make them so; `asked` are the pairs for a person, surest first."""

    groups: list[tuple[tuple[int, ...], tuple[Pair, ...]]] = field(default_factory=list)
    asked: list[Pair] = field(default_factory=list)


def verdicts(
    scored: Scored, by_rule: Mapping[tuple[int, int], int], apart: Collection[tuple[int, int]], *, threshold: float, review: float
) -> Verdicts:
    """Judge all pairs. `by_rule` are pairs that agree in a match rule, `apart` those of which a person said that they are two."""
    sure, asked = _sorted_out(scored, by_rule, apart, threshold=threshold, review=review)
    found = Verdicts()
    for rows, pairs in components(sure):
        why = _doubt(rows, pairs, apart, scored.copies)
        if why:
            asked += [Pair(one.left, one.right, one.probability, one.place, one.rule, why) for one in pairs]
        else:
            found.groups.append((rows, pairs))
    inside = {row: place for place, (rows, _pairs) in enumerate(found.groups) for row in rows}
    found.asked = [one for one in asked if one.left not in inside or inside[one.left] != inside.get(one.right)]
    found.asked.sort(key=lambda one: (-one.probability, one.left, one.right))
    return found


def _sorted_out(
    scored: Scored, by_rule: Mapping[tuple[int, int], int], apart: Collection[tuple[int, int]], *, threshold: float, review: float
) -> tuple[list[Pair], list[Pair]]:
    shared = [one.field.column for one in scored.learned if one.field.shared]
    own = [one.field.column for one in scored.learned if not one.field.shared]
    candidates = scored.pairs.with_row_index("place").filter(pl.col("probability") >= review)
    said_by_own = pl.sum_horizontal([pl.lit(0.0), *(pl.col(f"w_{name}") for name in own)]) if shared else pl.lit(OWN_BITS)
    told = candidates.select("left", "right", "probability", "place", said_by_own.alias("own"))
    sure: list[Pair] = []
    asked: list[Pair] = []
    seen = set()
    for left, right, probability, place, said in told.rows():
        if (left, right) in apart:
            continue
        seen.add((left, right))
        rule = by_rule.get((left, right))
        if rule is not None or (probability >= threshold and said >= OWN_BITS):
            sure.append(Pair(left, right, probability, place, rule))
        else:
            asked.append(Pair(left, right, probability, place, None, HOUSEHOLD if probability >= threshold else ""))
    known = {pair: place for place, pair in enumerate(scored.pairs.select("left", "right").rows())} if by_rule.keys() - seen else {}
    for (left, right), rule in by_rule.items():
        if (left, right) in seen or (left, right) in apart:
            continue
        place = known.get((left, right))
        probability = float(scored.pairs["probability"][place]) if place is not None else 0.0 if scored.learned else 1.0
        pair = Pair(left, right, probability, place, rule, AGAINST if scored.learned else "")
        (asked if scored.learned else sure).append(pair)
    return sure, asked


def components(pairs: Iterable[Pair]) -> list[tuple[tuple[int, ...], tuple[Pair, ...]]]:
    """The groups that hang together by these pairs, each with its rows in order and its pairs."""
    head: dict[int, int] = {}

    def top(row: int) -> int:
        while (above := head.setdefault(row, row)) != row:
            head[row] = head.setdefault(above, above)
            row = above
        return row

    every = list(pairs)
    for one in every:
        low, high = sorted((top(one.left), top(one.right)))
        head[high] = low
    rows: dict[int, list[int]] = {}
    for row in sorted(head):
        rows.setdefault(top(row), []).append(row)
    links: dict[int, list[Pair]] = {}
    for one in every:
        links.setdefault(top(one.left), []).append(one)
    return [(tuple(members), tuple(links[number])) for number, members in rows.items()]


def _doubt(rows: Sequence[int], pairs: Sequence[Pair], apart: Collection[tuple[int, int]], copies: Collection[int]) -> str:
    """Why a group is not made one without asking; empty where it is. Copies of a row are neither more nor less than that row."""
    inside = set(rows)
    rows = [row for row in rows if row not in copies]
    pairs = [one for one in pairs if one.right not in copies]
    if len(rows) > LARGEST_GROUP:
        return CROWD
    if any(left in inside and right in inside for left, right in apart):
        return "a person said that two of them are not the same"
    every = len(rows) * (len(rows) - 1) / 2
    return CHAIN if len(pairs) < DENSE * every else ""
