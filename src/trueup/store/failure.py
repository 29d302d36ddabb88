"""Failures: what could not be read, mapped, matched or written, why, and when it is tried again.

Frames: id Int64, entity, system String,
key String, gid Int64 (either may be null; both null: the whole mapping), stage `read` | `map` | `match` | `write`, field String (null: the
whole row), reason String, attempts Int64, first_at, last_at, next_try_at (null: at the next run that sees it), told Boolean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes
from trueup.store.schema import failure as table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.store.db import Db

_KEYS = ["entity", "system", "subject", "stage", "field"]


def put(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Record failures: frame `system`, `key`, `gid`, `stage`, `field`, `reason`, `at`, `next_try_at`.

    One failure is known by (system, key or else gid, stage, field): it keeps its id and first time, and counts one more attempt.
    `gid` and `next_try_at` may be missing, `field` null.
    """
    missing = [pl.lit(None, kind).alias(name) for name, kind in _OPTIONAL.items() if name not in frame.columns]
    rows = frame.with_columns(missing).select(
        "system",
        "key",
        "gid",
        "stage",
        "reason",
        "next_try_at",
        subject=pl.when(pl.col("key").is_not_null())
        .then(pl.lit("k") + pl.col("key"))
        .when(pl.col("gid").is_not_null())
        .then(pl.lit("g") + pl.col("gid").cast(pl.String))
        .otherwise(pl.lit("")),
        field=pl.col("field").fill_null(""),
        attempts=pl.lit(1, pl.Int64),
        first_at="at",
        last_at="at",
    )
    bulk.upsert(
        tx,
        table,
        lanes.coded(tx, rows),
        {"entity": tx.entity(entity)},
        keys=_KEYS,
        update=["key", "reason", "last_at", "next_try_at"],
        more={"attempts": "failure.attempts + 1", "golden_id": "coalesce(excluded.golden_id, failure.golden_id)"},
    )


_OPTIONAL: dict[str, pl.DataType] = {"key": pl.String(), "gid": pl.Int64(), "field": pl.String(), "next_try_at": pl.Datetime("us", "UTC")}


def clear(
    tx: Db,
    entity: str,
    system: str,
    *,
    keys: pl.Series | None = None,
    gids: pl.Series | None = None,
    stage: str | Sequence[str] | None = None,
    field: str | None = None,
) -> None:
    """Forget failures that are over: of these keys, or of these golden records (both None: of the mapping as a whole).

    `stage` is one stage or several (None: any), `field` one field (None: any).
    """
    if not tx.holds(table):
        return
    statement = table.delete().where(*lanes.within(tx, table, entity, system))
    if keys is None and gids is None:
        statement = statement.where(table.c.subject == "")
    if keys is not None:
        statement = statement.where(table.c.subject.in_(tx.each("k" + keys.cast(pl.String))))
    if gids is not None:
        statement = statement.where(table.c.golden_id.in_(tx.each(gids.cast(pl.Int64))))
    if stage is not None:
        statement = statement.where(table.c.stage.in_([stage] if isinstance(stage, str) else list(stage)))
    if field is not None:
        statement = statement.where(table.c.field == field)
    tx.execute(statement)


def of(db: Db, entity: str | None = None, system: str | None = None) -> pl.DataFrame:
    """Failures of an entity and system (None: of all), oldest first."""
    if not db.holds(table):
        return lanes.nothing(table, without=("subject",))
    return _frame(db, _select().where(*lanes.within(db, table, entity, system)))


def about(db: Db, entity: str, gid: int, keys: Mapping[str, str | None]) -> pl.DataFrame:
    """Failures of one golden record, oldest first: under its number or its key, by system; those of a whole mapping among them."""
    if not db.holds(table) or not keys:
        return lanes.nothing(table, without=("subject",))
    subjects = ["", f"g{gid}", *(f"k{key}" for key in keys.values() if key is not None)]
    wanted = (table.c.entity == db.entity(entity), table.c.system.in_([db.system(name) for name in keys]), table.c.subject.in_(subjects))
    found = _frame(db, _select().where(*wanted))
    mine = pl.col("key").is_null() | (pl.col("key") == pl.col("system").replace_strict(dict(keys), default=None, return_dtype=pl.String()))
    return found.filter(mine)


def due(db: Db, entity: str, system: str, now: datetime) -> pl.DataFrame:
    """Failures whose time to try again has come; those without a time are left out."""
    if not db.holds(table):
        return lanes.nothing(table, without=("subject",))
    return _frame(db, _select().where(*lanes.within(db, table, entity, system), table.c.next_try_at <= now))


def drop(tx: Db, ids: Sequence[int]) -> int:
    """Forget failures by id, as a person asked; how many there were."""
    return int(tx.execute(table.delete().where(table.c.id.in_(tx.each(pl.Series(ids, dtype=pl.Int64))))).rowcount)


def retry_now(tx: Db, ids: Sequence[int], now: datetime) -> int:
    """Make failures due at `now`; how many there were."""
    statement = table.update().where(table.c.id.in_(tx.each(pl.Series(ids, dtype=pl.Int64)))).values(next_try_at=now)
    return int(tx.execute(statement).rowcount)


def tell(tx: Db, ids: Sequence[int]) -> None:
    """Mark failures as told to a person."""
    tx.execute(table.update().where(table.c.id.in_(tx.each(pl.Series(ids, dtype=pl.Int64)))).values(told=True))


def any_(db: Db) -> bool:
    """Whether there is any at all."""
    return db.holds(table)


def count(db: Db, entity: str | None = None, system: str | None = None) -> int:
    """How many there are."""
    if not db.holds(table):
        return 0
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(*lanes.within(db, table, entity, system))).scalar_one())


def _select() -> sa.Select[tuple[object, ...]]:
    return sa.select(*lanes.columns(table, without=("subject",))).order_by(table.c.id)


def _frame(db: Db, statement: sa.Select[tuple[object, ...]]) -> pl.DataFrame:
    field = pl.col("field")
    return lanes.named(db, db.frame(statement)).with_columns(field=pl.when(field != "").then(field))
