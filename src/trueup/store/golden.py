"""Golden records.

Frames: id Int64, data String (JSON object of the known fields; null for a record without any), origin_system String
and origin_at (whose edit the record's values are, unless `origins` says otherwise), origins String (JSON {field: [system, time]}; null:
no field differs), version Int64, deleted_at (null: alive), alias_of Int64 (null: not an alias). Ids are unique across entities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from trueup.core.frames import dropped, exchanged, is_given, keep, last_of_each
from trueup.store import bulk
from trueup.store.prepared import Prepared, given, given_many
from trueup.store.schema import counter
from trueup.store.schema import golden as table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.store.db import Db
    from trueup.store.engine import Backend

ALIVE = sa.and_(table.c.deleted_at.is_(None), table.c.alias_of.is_(None))
_MAX_ALIAS_STEPS = 64
_MORE_THAN_ANYBODY_MADE = 1_000_000_000  # since a backup; JavaScript still counts exactly after nine million restores
_COUNTER = Prepared(lambda _backend: sa.select(counter.c.value).where(counter.c.name == given("name")))
_FETCH = Prepared(
    lambda backend: (
        sa.select(*[column for column in table.c if column.name != "entity"])
        .where(table.c.entity == given("entity"), table.c.id.in_(given_many("ids", backend, sa.BigInteger)))
        .order_by(table.c.id)
    )
)
# With the entity asked for, SQLite would walk all of its records in both of these.
_TOLD = Prepared(
    lambda backend: (
        sa.select(table.c.id, table.c.data).where(ALIVE, table.c.id.in_(given_many("ids", backend, sa.BigInteger))).order_by(table.c.id)
    )
)
_ALIVE_AMONG = Prepared(
    lambda backend: sa.select(sa.func.count()).select_from(table).where(ALIVE, table.c.id.in_(given_many("ids", backend, sa.BigInteger)))
)
_ADVANCE = Prepared(
    lambda _backend: sa.text(
        "INSERT INTO counter (name, value) VALUES (:name, :n) ON CONFLICT (name) DO UPDATE SET value = counter.value + :n RETURNING value"
    )
)
_COUNT_MORE = Prepared(
    lambda _backend: counter.update().where(counter.c.name == given("its_name")).values(value=counter.c.value + given("more"))
)


def allocate(tx: Db, entity: str, n: int) -> int:
    """The first of `n` fresh ids in a row; given out again only where the transaction was undone. Raises ValueError for n < 1."""
    tx.entity(entity)
    return _advance(tx, "golden", n) - n + 1


def next_version(tx: Db) -> int:
    """The next number of the global sequence of changes; larger than every one before."""
    return _advance(tx, "version", 1)


def skip_versions(tx: Db) -> None:
    """Give only versions from now on that are larger than any that was given by a later state, in whose place this one is put."""
    _advance(tx, "version", _MORE_THAN_ANYBODY_MADE)


def current_version(db: Db) -> int:
    """The newest version given out; 0 where there is none."""
    known = _COUNTER.first(db, name="version")
    return 0 if known is None else int(known[0])


def _advance(tx: Db, name: str, n: int) -> int:
    if n < 1:
        message = f"a counter moves forward: {n}"
        raise ValueError(message)
    return int(_ADVANCE.rows(tx, name=name, n=n)[0][0])


def upsert(tx: Db, entity: str, rows: pl.DataFrame | bulk.Ahead, *, new: bool = False, version: int | None = None) -> None:
    """Store records by `id`; columns that the frame lacks stay as they are (null in a new record).

    `version` is that of all of them; None: it is a column. `new=True` says that none of the ids is stored yet, which is faster; an id that
    is raises StateError. New ones may have been made ready (`ahead`).
    """
    constants = {"entity": tx.entity(entity)} | ({} if version is None else {"version": version})
    if isinstance(rows, bulk.Ahead):
        bulk.insert(tx, table, rows, {**constants, **{column: tx.system(name) for column, name in rows.names.items()}})
        _keep_count(tx, entity, _living(rows.frame))
        return
    frame = rows if version is None else dropped(rows, ["version"])
    if "origin_system" in frame.columns:
        frame = exchanged(frame, tx.encode("system", frame["origin_system"]))
    if new:
        bulk.insert(tx, table, _by_id(frame), constants)
        _keep_count(tx, entity, _living(frame))
        return
    lived = _alive_among(tx, frame["id"])
    bulk.upsert(tx, table, frame, constants, keys=["id"])
    _keep_count(tx, entity, _alive_in(tx, frame) - lived)


def ahead(frame: pl.DataFrame, backend: Backend) -> pl.DataFrame | bulk.Ahead:
    """New records made ready for `upsert` before the state's turn is taken, where they are many and of one origin; else as they are.

    Their version is that of the transaction.
    """
    if frame.height < bulk.AHEAD_ROWS or frame["origin_system"].n_unique() > 1:
        return frame
    origin = frame["origin_system"][0]
    names = {} if origin is None else {"origin_system": origin}
    return bulk.ahead(_by_id(dropped(frame, ["origin_system", "version"])), backend, names=names)


def _by_id(frame: pl.DataFrame) -> pl.DataFrame:
    """In order: SQLite then fills one page after the other, and splits none."""
    return frame if frame["id"].is_sorted() else frame.sort("id")


def fetch(db: Db, entity: str, ids: pl.Series) -> pl.DataFrame:
    """The records with these ids, deleted ones and aliases too, by id; ids that do not exist are left out."""
    return _named(db, _FETCH.frame(db, entity=db.entity(entity), ids=ids.cast(pl.Int64)))


def told(db: Db, ids: pl.Series) -> pl.DataFrame:
    """`id` and `data` of the living ones among these records, by id."""
    return _TOLD.frame(db, ids=ids.cast(pl.Int64))


def retell(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Change `data` and `version` of living records by `id`."""
    bulk.update(tx, table, frame.select("data", "version", "id"), {"entity": tx.entity(entity)}, keys=["id"])


def count(db: Db, entity: str) -> int:
    """How many living records the entity has: neither deleted nor an alias. `upsert` keeps it: counting takes longer with every record."""
    kept = _COUNTER.first(db, name=_count_name(db, entity))
    return _counted(db, table.c.entity == db.entity(entity)) if kept is None else int(kept[0])


def _count_name(db: Db, entity: str) -> str:
    return f"alive:{db.entity(entity)}"


def _counted(db: Db, *only: sa.ColumnElement[bool]) -> int:
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(ALIVE, *only)).scalar_one())


def _alive_among(db: Db, ids: pl.Series) -> int:
    return int(_ALIVE_AMONG.rows(db, ids=ids.cast(pl.Int64))[0][0])


def _alive_in(tx: Db, frame: pl.DataFrame) -> int:
    """How many of the records that were just stored are living."""
    if not {"deleted_at", "alias_of"} <= set(frame.columns):
        return _alive_among(tx, frame["id"])
    return _living(last_of_each(frame, ("id",)))


def _living(rows: pl.DataFrame) -> int:
    for name in {"deleted_at", "alias_of"} & set(rows.columns):
        rows = keep(rows, ~is_given(rows[name]))
    return rows.height


def _keep_count(tx: Db, entity: str, more: int) -> None:
    """Count records that were added; all of them where they were never counted."""
    name = _count_name(tx, entity)
    if not _COUNT_MORE.change(tx, its_name=name, more=more):
        tx.execute(counter.insert().values(name=name, value=_counted(tx, table.c.entity == tx.entity(entity))))


def since(db: Db, entity: str, version: int) -> pl.Series:
    """Ids of the living records that moved after `version`, ascending."""
    statement = sa.select(table.c.id).where(table.c.entity == db.entity(entity), table.c.version > version, ALIVE)
    return db.frame(statement)["id"].sort()


def resolve_alias(db: Db, entity: str, ids: pl.Series) -> pl.DataFrame:
    """Frame `id`, `gid`: each distinct id asked for and the record that it stands for now (itself where it is no alias)."""
    found = pl.DataFrame({"id": ids.unique().drop_nulls().cast(pl.Int64)}).with_columns(gid=pl.col("id"))
    code = db.entity(entity)
    for _ in range(_MAX_ALIAS_STEPS):
        statement = sa.select(table.c.id.label("gid"), table.c.alias_of).where(
            table.c.entity == code, table.c.id.in_(db.each(found["gid"].unique())), table.c.alias_of.is_not(None)
        )
        steps = db.frame(statement)
        if steps.is_empty():
            return found
        found = found.join(steps, on="gid", how="left", maintain_order="left").select("id", gid=pl.coalesce("alias_of", "gid"))
    return found


def stream(db: Db, entity: str, chunk_rows: int = 50_000) -> Iterator[pl.DataFrame]:
    """All records in chunks by id, deleted ones and aliases too; the frames are as those of `fetch`. Nothing at all for no records."""
    last = 0
    # Walk the rows themselves: an index would have to be sorted first.
    of_entity = (table.c.entity + 0 if db.backend == "sqlite" else table.c.entity) == db.entity(entity)
    columns = [column for column in table.c if column.name != "entity"]
    while True:
        frame = db.frame(sa.select(*columns).where(of_entity, table.c.id > last).order_by(table.c.id).limit(chunk_rows))
        if frame.is_empty():
            return
        last = int(frame["id"][-1])
        yield _named(db, frame)


def _named(db: Db, frame: pl.DataFrame) -> pl.DataFrame:
    return exchanged(frame, db.decode("system", frame["origin_system"]))
