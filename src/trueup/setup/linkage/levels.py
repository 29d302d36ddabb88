"""Levels: how alike two values of a field can be, from the same to something else, and what is expected of each before anything is known.

Of a level, `m` is the share of pairs of the same record that reach it, `u` that of pairs of different ones. Both are learned from the data;
what stands here is where learning begins, and what holds where there is too little to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.setup.linkage.kinds import Compared, FieldKind


@dataclass(frozen=True, slots=True)
class Level:
    """One level: its condition over `{0}` (the column of the left record is `{0}_l`), the words for a person, and its expected `m`."""

    condition: str
    words: str
    m: float
    exact: bool = False


SAME = Level('"{0}_l" = "{0}_r"', "the same", 0.8, exact=True)
OTHER = Level("ELSE", "different", 0.05)
_TYPING = 'damerau_levenshtein("{0}_l", "{0}_r") <= {1}'
_ALIKE = 'jaro_winkler_similarity("{0}_l", "{0}_r") >= {1}'


def _typing(errors: int, words: str, m: float) -> Level:
    return Level(_TYPING.replace("{1}", str(errors)), words, m)


def _alike(share: float, words: str, m: float) -> Level:
    return Level(_ALIKE.replace("{1}", str(share)), words, m)


_INITIAL = Level('least(length("{0}_l"), length("{0}_r")) = 1 AND left("{0}_l", 1) = left("{0}_r", 1)', "the initial of the other", 0.02)
_AT_ANOTHER = Level(
    "length(split_part(\"{0}_l\", '@', 1)) >= 4 AND split_part(\"{0}_l\", '@', 1) = split_part(\"{0}_r\", '@', 1)",
    "the same name at another address",
    0.05,
)
_DAY_AND_MONTH = Level(
    'length("{0}_l") = 8 AND "{0}_l" = left("{0}_r", 4) || right("{0}_r", 2) || substr("{0}_r", 5, 2)', "day and month exchanged", 0.02
)
_SAME_YEAR = Level('length("{0}_l") = 8 AND left("{0}_l", 4) = left("{0}_r", 4)', "in the same year", 0.03)
_SAME_BEGINNING = Level('left("{0}_l", 2) = left("{0}_r", 2)', "the same beginning", 0.03)

_LEVELS: dict[FieldKind, tuple[Level, ...]] = {
    "name": (SAME, _alike(0.92, "nearly the same", 0.08), _INITIAL, _alike(0.8, "alike", 0.04)),
    "email": (SAME, _typing(1, "one letter otherwise", 0.06), _AT_ANOTHER),
    "phone": (SAME, _typing(1, "one digit otherwise", 0.06)),
    "date": (SAME, _DAY_AND_MONTH, _typing(1, "one digit otherwise", 0.06), _SAME_YEAR),
    "code": (SAME, _typing(1, "one sign otherwise", 0.06), _typing(2, "two signs otherwise", 0.02)),
    "postcode": (SAME, _typing(1, "one sign otherwise", 0.06), _SAME_BEGINNING),
    "text": (SAME, _alike(0.92, "nearly the same", 0.08), _alike(0.8, "alike", 0.04)),
    "number": (SAME, _typing(1, "one digit otherwise", 0.05)),
    "category": (SAME,),
}


BY_CHANCE: dict[FieldKind, float] = {
    "name": 0.004, "email": 1e-6, "phone": 1e-6, "date": 1e-4, "code": 1e-6, "postcode": 1e-3, "text": 1e-3, "number": 0.02,
    "category": 0.3,
}  # fmt: skip
"""How often two different records have the same value, where there are too few records to tell."""


def levels_of(field: Compared, partner: str | None) -> list[Level]:
    """The levels of a field, the strongest first; `partner` is the column of the other name, with which this one may be exchanged."""
    levels = list(_LEVELS[field.kind])
    if partner is not None:
        swapped = f'"{field.column}_l" = "{partner}_r" AND "{field.column}_r" = "{partner}_l"'
        levels.insert(1, Level(swapped, "exchanged with the other name", 0.01))
    return [*levels, OTHER]


def partners(fields: Sequence[Compared]) -> dict[str, str]:
    """The columns of first and last names, each with the other."""
    from trueup.setup import words

    said = {words.meaning(one.field): one.column for one in fields if one.kind == "name"}
    first, last = said.get("first name"), said.get("last name")
    return {first: last, last: first} if first is not None and last is not None else {}


def comparison(
    field: Compared, levels: Sequence[Level], m: Sequence[float | None], u: Sequence[float | None], *, by_value: bool
) -> dict[str, Any]:
    """The field as a comparison of splink. A None probability is not known yet; `by_value`: a rare value says more than a frequent one."""
    null = {
        "sql_condition": f'"{field.column}_l" IS NULL OR "{field.column}_r" IS NULL',
        "label_for_charts": "missing",
        "is_null_level": True,
    }
    told: list[dict[str, Any]] = [null]
    for level, expected, by_chance in zip(levels, m, u, strict=True):
        one: dict[str, Any] = {"sql_condition": level.condition.format(field.column), "label_for_charts": level.words}
        if expected is not None:
            one["m_probability"] = expected
        if by_chance is not None:
            one["u_probability"] = by_chance
        if level.exact and by_value:
            one |= {"tf_adjustment_column": field.column, "tf_adjustment_weight": 1.0}
        told.append(one)
    return {"output_column_name": field.column, "comparison_levels": told}
