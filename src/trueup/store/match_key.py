"""The index of golden values by match rule. Frames: rule Int64, hash Int64, gid Int64.

It is kept twice: by hash (`match_key`), to find records, and by record (`match_golden`), to know what is indexed of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk
from trueup.store.schema import match_golden
from trueup.store.schema import match_key as table

if TYPE_CHECKING:
    from trueup.store.db import Db
    from trueup.store.engine import Backend

_ASKED_ROWS = 50_000  # so many hashes are asked for at once
_SCHEMA = {"rule": pl.Int64, "hash": pl.Int64, "gid": pl.Int64}


def any_(db: Db, entity: str) -> bool:
    """Whether anything is indexed of this entity."""
    return db.execute(sa.select(table.c.golden_id).where(table.c.entity == db.entity(entity)).limit(1)).first() is not None


def lookup(db: Db, entity: str, frame: pl.DataFrame) -> pl.DataFrame:
    """`rule`, `hash`, `gid` of every golden record with one of the (rule, hash) pairs of `frame`; pairs without one are left out."""
    found = [pl.DataFrame(schema=_SCHEMA)]
    for rule in frame["rule"].unique().sort().to_list():
        for some in frame.filter(pl.col("rule") == rule).select("hash").unique().iter_slices(_ASKED_ROWS):
            statement = sa.select(table.c.rule, table.c.hash, table.c.golden_id.label("gid")).where(
                table.c.entity == db.entity(entity), table.c.rule == rule, table.c.hash.in_(db.each(some["hash"]))
            )
            found.append(db.frame(statement))
    return pl.concat(found)


def of(db: Db, entity: str, gids: pl.Series) -> pl.DataFrame:
    """Everything that is indexed of these golden records."""
    mine = match_golden.c
    statement = sa.select(mine.rule, mine.hash, mine.golden_id.label("gid")).where(*_of(db, entity, gids))
    return pl.concat([pl.DataFrame(schema=_SCHEMA), db.frame(statement)])


def add(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Add `rule`, `hash`, `gid`; what is there already stays."""
    rows, constants = frame.select("rule", "hash", golden_id="gid"), {"entity": tx.entity(entity)}
    bulk.add_missing(tx, table, rows.sort("rule", "hash", "golden_id"), constants)
    bulk.add_missing(tx, match_golden, rows.sort("golden_id", "rule", "hash"), constants)


def by_record(tx: Db, entity: str, rows: pl.DataFrame | bulk.Ahead) -> None:
    """Add `rule`, `hash`, `gid` of new records, to be found by record only: `by_hash` must follow. They may have been made ready (`ahead`).

    Raises StateError, undoing the transaction, where any of it is there.
    """
    bulk.insert(tx, match_golden, rows if isinstance(rows, bulk.Ahead) else _by_golden(rows), {"entity": tx.entity(entity)})


def ahead(frame: pl.DataFrame, backend: Backend) -> pl.DataFrame | bulk.Ahead:
    """Rows made ready for `by_record` before the state's turn is taken, where they are many; else as they are."""
    return frame if frame.height < bulk.AHEAD_ROWS else bulk.ahead(_by_golden(frame), backend)


def _by_golden(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("rule", "hash", golden_id="gid").sort("golden_id", "rule", "hash")


def by_hash(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Add what `by_record` added before to the index by hash. A first load gives it all at once: sorted, it is appended.

    Raises StateError, undoing the transaction, where any of it is there.
    """
    bulk.insert(tx, table, frame.select("rule", "hash", golden_id="gid").sort("rule", "hash", "golden_id"), {"entity": tx.entity(entity)})


def remove(tx: Db, entity: str, gids: pl.Series) -> None:
    """Remove everything of these golden records."""
    mine = match_golden.c
    indexed = sa.select(mine.entity, mine.rule, mine.hash, mine.golden_id).where(*_of(tx, entity, gids))
    tx.execute(table.delete().where(sa.tuple_(table.c.entity, table.c.rule, table.c.hash, table.c.golden_id).in_(indexed)))
    tx.execute(match_golden.delete().where(*_of(tx, entity, gids)))


def replace(tx: Db, entity: str, gids: pl.Series, frame: pl.DataFrame) -> None:
    """Make `frame` all that is indexed of these golden records."""
    remove(tx, entity, gids)
    add(tx, entity, frame)


def clear(tx: Db, entity: str) -> None:
    """Remove everything of an entity, as when its match rules changed."""
    for one in (table, match_golden):
        tx.execute(one.delete().where(one.c.entity == tx.entity(entity)))


def _of(db: Db, entity: str, gids: pl.Series) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return match_golden.c.entity == db.entity(entity), match_golden.c.golden_id.in_(db.each(gids.cast(pl.Int64)))
