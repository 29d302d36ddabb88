"""Keys: which pairs of records are looked at. Two records are compared where they agree in at least one key.

The keys are chosen from the data: each field's value, and where many records share one, its beginning together with that of another field.
A value that too many records share brings nobody together in that key, so that their number stays within a budget, whatever the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import NULL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import Entity
    from trueup.setup.linkage.kinds import Compared

PAIRS_PER_RECORD = 20
LEAST_PAIRS = 2_000_000
"""Pairs that are looked at in any case, where there are that many."""
MOST_KEYS = 14
PREFIX = 4
ENOUGH = 0.98
"""A key that leaves out fewer of the records that share a value than this needs no help from a pair of fields."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its column, the compared columns it is made of, the largest group that it brings together, and the pairs that makes.

    `left_out` is how many records share a value that too many share.
    """

    column: str
    of: tuple[str, ...]
    largest: int
    pairs: int
    left_out: int


def chosen_keys(rows: pl.DataFrame, fields: Sequence[Compared], rules: Sequence[str] = ()) -> tuple[pl.DataFrame, list[Key]]:
    """The rows with a column per key (null: no key), and the keys. `rules` are columns of the rows that are keys in any case."""
    budget = max(LEAST_PAIRS, PAIRS_PER_RECORD * rows.height)
    telling = [one for one in fields if one.kind not in {"category", "number"}] or list(fields)
    telling = sorted(telling, key=lambda one: -one.filled * one.distinct)
    share = budget // max(1, min(MOST_KEYS, len(telling) + 4))
    found: list[Key] = []
    columns: list[pl.Series] = []

    def add(of: tuple[str, ...], values: pl.Series, most: int = 0) -> Key | None:
        key, series = _bounded(values, of, f"b{len(found)}", max(share, most))
        if key.pairs == 0 or len(found) >= MOST_KEYS:
            return None
        found.append(key)
        columns.append(series)
        return key

    for name in rules:
        add((name,), rows[name])
    crowded = []
    for one in telling:
        key = add((one.column,), rows[one.column])
        shared = key.left_out if key is not None else rows.height
        if shared > (1 - ENOUGH) * rows.height:
            crowded.append(one)
    for one, other in combinations(telling, 2):
        if one in crowded or other in crowded:
            left = budget - sum(key.pairs for key in found)
            add((one.column, other.column), _together(rows, one, other), left // 2)
    return rows.drop(rules).with_columns(columns), found


def _together(rows: pl.DataFrame, one: Compared, other: Compared) -> pl.Series:
    """The beginnings of two fields, of records that have both."""
    parts = [pl.col(item.column).str.head(PREFIX if item.kind not in {"date", "code", "phone"} else 16) for item in (one, other)]
    return rows.select(pl.concat_str(parts, separator="\x1f")).to_series()


def _bounded(values: pl.Series, of: tuple[str, ...], name: str, share: int) -> tuple[Key, pl.Series]:
    """A key whose pairs stay within a share of the budget: the largest groups are left out until they do."""
    counted = values.drop_nulls().value_counts(name="many").filter(pl.col("many") > 1)
    sizes = counted.group_by("many").len("groups").sort("many")
    sizes = sizes.with_columns(pairs=(pl.col("groups").cast(pl.Float64) * pl.col("many") * (pl.col("many") - 1) / 2).cum_sum())
    within = sizes.filter(pl.col("pairs") <= share)
    largest = int(within["many"].max() or 1)  # type: ignore[arg-type]
    too_many = counted.filter(pl.col("many") > largest)
    pairs = int(within["pairs"].max() or 0)  # type: ignore[arg-type]
    usable = counted.filter(pl.col("many") <= largest)[values.name]
    kept = pl.select(pl.when(values.is_in(usable.implode())).then(values)).to_series().alias(name)
    return Key(name, of, largest, pairs, int(too_many["many"].sum())), kept


@dataclass(frozen=True, slots=True)
class RuleKeys:
    """The match rules as keys: a column per rule, and the pairs of rows that agree in one, with its number."""

    columns: dict[str, pl.Series]
    pairs: dict[tuple[int, int], int]


LARGEST_BY_RULE = 30
"""A value that more records share is no sign of one and the same record, whatever the match rules say."""


def rule_keys(entity: Entity, cells: pl.DataFrame) -> RuleKeys:
    """Which rows agree in a match rule, and differ in no stronger one; null never agrees."""
    columns: dict[str, pl.Series] = {}
    found: dict[tuple[int, int], int] = {}
    for number, rule in enumerate(entity.match):
        given = [pl.when(pl.col(name) != NULL).then(pl.col(name)) for name in rule]
        values = cells.select(pl.concat_str(given, separator="\x1f")).to_series().alias(f"rule{number}")
        columns[f"rule{number}"] = values
        groups = values.to_frame("value").with_row_index("row").drop_nulls().group_by("value").agg(pl.col("row").sort())
        groups = groups.filter(pl.col("row").list.len().is_between(2, LARGEST_BY_RULE))
        for rows in groups["row"].to_list():
            for left, right in combinations(rows, 2):
                stronger = [columns[f"rule{before}"] for before in range(number)]
                differ = any(said[left] is not None and said[right] is not None and said[left] != said[right] for said in stronger)
                if not differ:
                    found.setdefault((left, right), number)
    return RuleKeys(columns, found)
