"""What the modules of open matters share: the scope of an (entity, system) lane, and names in place of codes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.store.db import no_rows

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trueup.store.db import Db


def within(db: Db, table: sa.Table, entity: str | None, system: str | None) -> list[sa.ColumnElement[bool]]:
    """Conditions for an entity and a system; None means every one."""
    conditions = []
    if entity is not None:
        conditions.append(table.c.entity == db.entity(entity))
    if system is not None:
        conditions.append(table.c.system == db.system(system))
    return conditions


def columns(table: sa.Table, *, without: tuple[str, ...] = ()) -> list[Any]:
    """A table's columns as frames name them: `golden_id` is `gid`."""
    return [column.label("gid") if column.name == "golden_id" else column for column in table.c if column.name not in without]


def nothing(table: sa.Table, *, without: tuple[str, ...] = ()) -> pl.DataFrame:
    """What `named` gives of no rows of a table."""
    return _named_nothing(table, without).clone()


@lru_cache(maxsize=64)
def _named_nothing(table: sa.Table, without: tuple[str, ...]) -> pl.DataFrame:
    empty = no_rows(columns(table, without=without))
    return empty.cast({name: pl.String() for name in ("entity", "system") if name in empty.columns})


def named(db: Db, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with names in its `entity` and `system` columns, where it has them."""
    if frame.is_empty():
        return frame.cast({name: pl.String() for name in ("entity", "system") if name in frame.columns})
    return frame.with_columns(db.decode(kind, frame[kind]) for kind in ("entity", "system") if kind in frame.columns)


def coded(tx: Db, frame: pl.DataFrame) -> pl.DataFrame:
    """The reverse of `named`, and `gid` under the table's own name."""
    frame = frame.with_columns(tx.encode(kind, frame[kind]) for kind in ("entity", "system") if kind in frame.columns)
    return frame.rename({"gid": "golden_id"}, strict=False)


def one(db: Db, statement: sa.Select[Any]) -> dict[str, Any] | None:
    """The single row of a select as a dict with names in place of codes; None where there is none."""
    frame = named(db, db.frame(statement))
    return None if frame.is_empty() else frame.row(0, named=True)
