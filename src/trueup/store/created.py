"""Created: which rows a run made in which system, so that it can be undone. What a run changed otherwise is in the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store.arrow import from_arrow, to_arrow
from trueup.store.schema import created as table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows as they are kept. Packing takes a while for many of them, in which nobody needs to have the state for himself."""

    rows: int
    payload: bytes


def packed(frame: pl.DataFrame) -> Packed:
    """Pack the `gid` and `key` of rows that a run created."""
    # Numbers that follow each other are small as differences, and take next to no room then.
    return Packed(frame.height, to_arrow(frame.select(pl.col("gid") - pl.col("gid").shift(fill_value=0), "key")))


def add(tx: Db, entity: str, system: str, run: int, created: Packed) -> None:
    """Keep what a run created; nothing for no rows."""
    if created.rows:
        values = {"run": run, "entity": tx.entity(entity), "system": tx.system(system)}
        tx.execute(table.insert().values(**values, rows=created.rows, payload=created.payload))


def of_run(db: Db, run: int) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """What a run created, batch by batch: the entity, the system, and a frame of gid Int64 and key String."""
    for row in db.execute(sa.select(table).where(table.c.run == run).order_by(table.c.id)):
        frame = from_arrow(row.payload).with_columns(pl.col("gid").cum_sum())
        yield _name(db, "entity", row.entity), _name(db, "system", row.system), frame


def _name(db: Db, kind: str, code: int) -> str:
    return str(db.decode(kind, pl.Series([code], dtype=pl.Int64))[0])
