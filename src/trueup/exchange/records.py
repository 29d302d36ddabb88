"""Golden records as they were agreed at a moment, for a package: what is agreed now, with later history taken back.

An edit belongs to the time at which it was made, where its system tells (`modified`), else to the time at which it was seen. A delete
belongs to the time at which it was believed. So the same cut-off gives the same records whenever it is asked, but for an edit from before
it that is seen only now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import NULL, json_to_records
from trueup.core.coerce import datetime_cell_text
from trueup.core.undo import DELETED, REVIVED, SETTING
from trueup.exchange.statement import GONE_COLUMNS, ID
from trueup.store import golden, history
from trueup.store.retention import refuse_past

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.model import Entity, Field
    from trueup.store import Db

_GONE = pl.DataFrame(schema=dict.fromkeys((name for name, _kind in GONE_COLUMNS), pl.String))


class RecordsAsOf:
    """The records of one entity at a moment. `frames` may be asked more than once; `gone` tells what the last time came upon."""

    def __init__(self, db: Db, entity: Entity, names: Sequence[str], moment: datetime) -> None:
        """Only these fields. Raises StateError where the history of then was taken out."""
        refuse_past(db, moment)
        self._db = db
        self._entity = entity
        self._moment = moment
        self._fields: dict[str, Field] = {name: entity.fields[name] for name in names}
        lines = history.since(db, entity.name, moment)
        self._earlier = _earlier(lines, moment)
        turns = lines.filter(pl.col("kind").is_in([DELETED, REVIVED])).group_by("gid").agg(pl.col("kind").sort_by("id").first())
        self._dead_then = turns.filter(pl.col("kind") == REVIVED)["gid"]
        self._gone: list[pl.DataFrame] = []

    def frames(self) -> Iterator[pl.DataFrame]:
        """The living records by id: the id, and a column of cells per field."""
        self._gone = []
        for chunk in golden.stream(self._db, self._entity.name):
            dead = chunk["deleted_at"].is_not_null() & (chunk["deleted_at"] <= self._moment) | chunk["id"].is_in(self._dead_then.implode())
            merged = chunk["alias_of"].is_not_null()
            self._note_gone(chunk.filter(dead | merged))
            born = chunk["origin_at"].is_null() | (chunk["origin_at"] <= self._moment)
            there = chunk.filter(born & ~dead & ~merged)
            if there.height:
                cells = json_to_records(there["data"], self._fields)
                yield pl.DataFrame([there["id"].alias(ID), *(self._then(there["id"], cells[name]) for name in self._fields)])

    def gone(self) -> pl.DataFrame:
        """The records that are gone: when they were deleted (null: unknown), and into which one they went (null: into none)."""
        return pl.concat([_GONE, *self._gone])

    def _note_gone(self, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        into = golden.resolve_alias(self._db, self._entity.name, rows["alias_of"].drop_nulls())
        joined = rows.select("id", "deleted_at", "alias_of").join(
            into, left_on="alias_of", right_on="id", how="left", maintain_order="left"
        )
        self._gone.append(
            joined.select(
                pl.col("id").cast(pl.String).alias(ID),
                datetime_cell_text(pl.col("deleted_at").cast(pl.Datetime("us", "UTC"))).fill_null(NULL).alias("at"),
                pl.col("gid").cast(pl.String).fill_null(NULL).alias("into"),
            )
        )

    def _then(self, ids: pl.Series, cells: pl.Series) -> pl.Series:
        """A column as it was at the moment."""
        told = self._earlier.get(cells.name)
        if told is None:
            return cells
        field = {cells.name: self._fields[cells.name]}
        changed = {gid: at for at, gid in enumerate(ids.to_list()) if gid in told}
        if not changed:
            return cells
        objects = [None if told[gid] is None else f'{{"{cells.name}":{told[gid]}}}' for gid in changed]
        before = json_to_records(pl.Series(objects, dtype=pl.String), field)[cells.name]
        return cells.scatter(list(changed.values()), before)


def _earlier(lines: pl.DataFrame, moment: datetime) -> Mapping[str, dict[int, str | None]]:
    """Per field, the records that had another value at the moment, and that value as JSON (None: none)."""
    found: dict[str, dict[int, str | None]] = {}
    lines = lines.filter(pl.col("kind").is_in(SETTING) & pl.col("field").is_not_null()).sort("id")
    for (gid, name), mine in lines.group_by(["gid", "field"], maintain_order=True):
        late = pl.Series(mine.select(pl.min_horizontal(pl.col("at").fill_null(pl.col("recorded_at")), "recorded_at")).to_series() > moment)
        if not late[-1]:
            continue  # whoever spoke last spoke before the moment, and was heard after it
        in_time = mine.filter(~late)
        value = mine["before"][0] if in_time.is_empty() else in_time["after"][-1]
        found.setdefault(str(name), {})[int(str(gid))] = value
    return found
