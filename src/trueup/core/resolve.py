"""Resolve: a person's word about one field of one record. The golden value is set; every system's shadow follows as after any change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import AT, GID, SYSTEM, cell_from_python, json_to_records
from trueup.core.checks import check_cells, field_checks
from trueup.core.clean import clean_column
from trueup.core.merge import CHANGE_SCHEMA, HISTORY_SCHEMA, Merged
from trueup.core.reconcile import reconcile

if TYPE_CHECKING:
    from trueup.core.facts import Decision, Facts
    from trueup.model import Entity, Field

SETTLED = "settled by a person"


@dataclass(frozen=True, slots=True)
class Ruling:
    """`cell` is the value from now on; `system` whose value that is, None where the person gave it; `rule` says so in words."""

    gid: int
    field: str
    cell: str
    system: str | None
    rule: str


def resolve(facts: Facts, ruling: Ruling) -> Decision:
    """Set one golden field and close what stood open about it; `facts` has the record, all its shadows, and nothing observed.

    Edits that nobody has observed yet are not lost: the next pass meets them as edits that did not know the new value.
    """
    if any(not rows.is_empty() for rows in facts.observed.values()) or not facts.gone.is_empty():
        message = "a person's word is carried out on what is known, not together with new observations"
        raise ValueError(message)
    before = _golden_cell(facts, ruling)
    line = (ruling.gid, ruling.field, before, ruling.cell, ruling.system, facts.now, ruling.rule)
    change = pl.DataFrame([line], schema=CHANGE_SCHEMA, orient="row")
    told = pl.DataFrame([(*line, "resolved")], schema=HISTORY_SCHEMA, orient="row")
    merged = Merged(
        changes=change.filter(pl.col("after").ne_missing(pl.col("before"))),
        history=pl.concat([told, _losers(facts, ruling, before)]),
        thawed=pl.DataFrame([(ruling.gid, ruling.field)], schema={GID: pl.Int64(), "field": pl.String()}, orient="row"),
    )
    return reconcile(facts, merged)


def settled_cell(value: object, entity: Entity, name: str) -> str:
    """The cell of a value that a person gives for a field: typed, cleaned and checked; None is null. Raises ValueError with a reason."""
    field = entity.fields[name]
    cells = clean_column(pl.Series(name, [cell_from_python(_parsed(value, field), field)], dtype=pl.String), field.clean, field.type)
    broken = check_cells(cells.to_frame(), field_checks(field))
    if not broken.is_empty():
        raise ValueError(str(broken["reason"][0]))
    return str(cells[0])


def _parsed(value: object, field: Field) -> object:
    """A list may be given as one text, its items separated by semicolons."""
    if field.type == "list" and isinstance(value, str) and not value.lstrip().startswith("["):
        return [item.strip() for item in value.split(";") if item.strip()]
    return value


def _golden_cell(facts: Facts, ruling: Ruling) -> str | None:
    row = facts.golden.filter(pl.col("id") == ruling.gid)
    if row.is_empty():
        message = f"there is no golden record {ruling.gid}"
        raise ValueError(message)
    cell: str | None = json_to_records(row["data"], {ruling.field: facts.entity.fields[ruling.field]})[ruling.field][0]
    return cell


def _losers(facts: Facts, ruling: Ruling, before: str | None) -> pl.DataFrame:
    """One line of history per system whose value was not taken."""
    mine = (pl.col(GID) == ruling.gid) & (pl.col("field") == ruling.field)
    lost = facts.frozen.filter(mine & pl.col(SYSTEM).is_not_null() & pl.col("value").ne_missing(pl.lit(ruling.cell)))
    return lost.select(
        GID,
        "field",
        pl.lit(before, dtype=pl.String).alias("before"),
        pl.col("value").alias("after"),
        SYSTEM,
        AT,
        pl.lit(SETTLED).alias("rule"),
        pl.lit("lost").alias("kind"),
    ).cast(HISTORY_SCHEMA)
