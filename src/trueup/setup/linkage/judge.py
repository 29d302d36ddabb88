"""Judge the records of one entity: from their cells to the groups that are the same, and the pairs that a person is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trueup.setup.linkage.keys import chosen_keys, rule_keys
from trueup.setup.linkage.kinds import comparable, compared_fields
from trueup.setup.linkage.model import copies, nothing, score
from trueup.setup.linkage.verdicts import verdicts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trueup.model import Entity
    from trueup.setup.linkage.kinds import Compared
    from trueup.setup.linkage.model import Scored
    from trueup.setup.linkage.verdicts import Verdicts

THRESHOLD, REVIEW = 0.99, 0.5
TWINS = 2
"""So many records of those that are the same in every field are compared; the others go with the first of them."""


@dataclass(frozen=True)
class Judged:
    """What was compared, what the model says of each pair, and what follows. Rows are numbers, in the order of the cells."""

    fields: list[Compared]
    left_out: Mapping[str, str]
    scored: Scored
    verdicts: Verdicts


def judge(
    entity: Entity,
    cells: pl.DataFrame,
    apart: Collection[tuple[int, int]] = (),
    *,
    threshold: float = THRESHOLD,
    review: float = REVIEW,
) -> Judged:
    """Judge records by their cells, a column per field; `apart` are pairs of rows that are known to be two."""
    fields, left_out = compared_fields(entity, cells)
    by_rule = rule_keys(entity, cells)
    scored = _scored(cells, fields, by_rule.columns)
    found = verdicts(scored, by_rule.pairs, frozenset(apart), threshold=threshold, review=review)
    return Judged(fields, left_out, scored, found)


def _scored(cells: pl.DataFrame, fields: list[Compared], rules: Mapping[str, pl.Series]) -> Scored:
    """All pairs that are compared, with what the model says of them."""
    if cells.height < 2 or not fields:
        return nothing()
    columns = [one.column for one in fields]
    rows = comparable(cells, fields).with_columns(rules.values()).with_row_index("id").with_columns(pl.col("id").cast(pl.Int64))
    rows = rows.with_columns(pl.int_range(pl.len()).over(columns).alias("_nth"), pl.col("id").first().over(columns).alias("_first"))
    said = ~pl.all_horizontal(pl.col(name).is_null() for name in columns)
    few, more = rows.filter((pl.col("_nth") < TWINS) & said), rows.filter((pl.col("_nth") >= TWINS) & said)
    keyed, keys = chosen_keys(few.drop("_nth", "_first"), fields, list(rules))
    scored = score(keyed, fields, keys)
    return copies(scored, few, more.select(pl.col("_first").alias("left"), pl.col("id").alias("right")))
