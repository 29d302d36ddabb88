"""Shadows: what each system was last known to hold.

Frames: key String, gid Int64 (null: not linked), khash Int64, fingerprint Int64
(null: not known), seen / sent / before String (JSON; null: no difference from the golden record), written_at, modified (times, null:
unknown), native_version String, state Int64.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import polars.selectors as cs
import sqlalchemy as sa

from trueup.core.frames import FEW_ROWS, exchanged, keep, one_of, renamed, sorted_by
from trueup.store import bulk
from trueup.store.prepared import Prepared, given, given_many
from trueup.store.schema import shadow as table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.store.db import Db
    from trueup.store.engine import Backend

PRESENT, MISSING, OUTSIDE, UNREADABLE, WITHDRAWN = 0, 1, 2, 3, 4
SETTLED_STATES = (PRESENT, OUTSIDE, WITHDRAWN)
INDEX_SCHEMA = {"khash": pl.Int64, "fingerprint": pl.Int64, "gid": pl.Int64, "state": pl.Int8}
_INDEX_PAGE_ROWS = 200_000
_COLUMNS = [
    table.c.golden_id.label("gid") if column.name == "golden_id" else column
    for column in table.c
    if column.name not in {"entity", "system"}
]
_LANE = (table.c.entity == given("entity"), table.c.system == given("system"))
_ANY = Prepared(lambda _backend: sa.select(table.c.state).where(*_LANE).limit(sa.literal_column("1")))
_BY_KEY = Prepared(
    lambda backend: sa.select(*_COLUMNS).where(*_LANE, table.c.key.in_(given_many("keys", backend, sa.Text))).order_by(table.c.key)
)
_LINKS = Prepared(
    lambda backend: sa.select(table.c.key, table.c.golden_id).where(*_LANE, table.c.key.in_(given_many("keys", backend, sa.Text)))
)
_LINK = Prepared(lambda _backend: sa.select(table.c.golden_id).where(*_LANE, table.c.key == given("key")))
_KEYS = Prepared(
    lambda _backend: (
        sa.select(table.c.system, table.c.key)
        .where(table.c.entity == given("entity"), table.c.golden_id == given("gid"))
        .order_by(table.c.system, table.c.key)
    )
)
_HELD = Prepared(
    lambda backend: (
        sa.select(table.c.key, table.c.khash, table.c.seen, table.c.sent, table.c.before, table.c.native_version)
        .where(*_LANE, table.c.key.in_(given_many("keys", backend, sa.Text)))
        .order_by(table.c.key)
    )
)
_STANDING = Prepared(
    lambda backend: sa.select(
        table.c.system, table.c.key, table.c.golden_id.label("gid"), table.c.fingerprint, table.c.state, table.c.sent
    ).where(table.c.entity == given("entity"), table.c.golden_id.in_(given_many("gids", backend, sa.BigInteger)))
)
_BY_GOLDEN = Prepared(
    lambda backend: sa.select(table.c.system, *_COLUMNS).where(
        table.c.entity == given("entity"), table.c.golden_id.in_(given_many("gids", backend, sa.BigInteger))
    )
)


def index(db: Db, entity: str, system: str, *, part: tuple[int, int] | None = None) -> pl.DataFrame:
    """The whole shadow of a system as `khash`, `fingerprint`, `gid` (Int64) and `state` (Int8): 25 bytes a row, in no promised order.

    `part=(i, n)` gives the i-th (from 0) of n parts by khash, `khash mod n` being i (mathematical, never negative).
    """
    scope = (db.entity(entity), db.system(system))
    if part is not None and not (part[1] >= 1 and 0 <= part[0] < part[1]):
        message = f"part {part} is not one of its own"
        raise ValueError(message)
    return _index_sqlite(db, scope, part) if db.backend == "sqlite" else _index_postgres(db, scope, part)


@dataclass(frozen=True, slots=True)
class Census:
    """A system's rows, counted and added up.

    known     rows that are there, as far as is known
    settled   those of them that are present, outside of the filter or withdrawn, with a fingerprint
    high, low sums of the upper and the lower halves of the settled rows' key hashes: two sets of keys with equal sums are the same set,
              but for a chance of about 2**-64
    """

    known: int
    settled: int
    high: int
    low: int


_SETTLED = sa.and_(table.c.state.in_(SETTLED_STATES), table.c.fingerprint.is_not(None))


def settled(state: pl.Expr, fingerprint: pl.Expr) -> pl.Expr:
    """Whether a row of the index is as it was last read: `Census.settled`."""
    return state.is_in(SETTLED_STATES) & fingerprint.is_not_null()


def census(db: Db, entity: str, system: str) -> Census:
    """Count the shadow of a system, in one scan."""
    known = table.c.state != MISSING
    halves = (table.c.khash.op(">>")(sa.literal_column("32")), table.c.khash.op("&")(sa.literal_column("4294967295")))
    statement = sa.select(
        sa.func.count().filter(known),
        sa.func.count().filter(_SETTLED),
        *(sa.func.coalesce(sa.func.sum(half).filter(_SETTLED), 0) for half in halves),
    ).where(*_where(db, entity, system))
    return Census(*(int(number) for number in db.execute(statement).one()))


def unsettled(db: Db, entity: str, system: str, counted: Census) -> list[str]:
    """Keys of rows that are there and not settled; nothing is looked for where a census says that there are none."""
    if counted.known == counted.settled:
        return []
    known_open = sa.and_(table.c.state != MISSING, sa.not_(_SETTLED))
    return list(db.execute(sa.select(table.c.key).where(*_where(db, entity, system), known_open).order_by(table.c.key)).scalars())


def missing(db: Db, entity: str, system: str) -> pl.DataFrame:
    """`key` and `khash` of the rows that are gone."""
    # The constant lets the small index of rows that are not present answer.
    gone = sa.and_(table.c.state != sa.literal_column("0"), table.c.state == MISSING)
    return db.frame(sa.select(table.c.key, table.c.khash).where(*_where(db, entity, system), gone))


def key_sums(hashes: pl.Series) -> tuple[int, int]:
    """What these key hashes add to `high` and `low` of a census."""
    low = hashes & 0xFFFF_FFFF
    return int(((hashes - low) // (1 << 32)).sum()), int(low.sum())


def _index_sqlite(db: Db, scope: tuple[int, int], part: tuple[int, int] | None) -> pl.DataFrame:
    # One text per column and page instead of four Python objects per row: SQLite writes the digits, Polars reads them. A second,
    # faster driver on the same file is out of the question: another copy of SQLite in this process would undo this one's locks
    # (https://www.sqlite.org/howtocorrupt.html, section 2.2.1).
    lane = f"entity = {scope[0]} AND system = {scope[1]}"
    only = "" if part is None else f" AND (khash % {part[1]} + {part[1]}) % {part[1]} = {part[0]}"
    page = (
        "SELECT group_concat(khash, x'0a'), group_concat(coalesce(fingerprint, '-'), x'0a'), group_concat(coalesce(golden_id, '-'), x'0a'),"
        f" group_concat(state, x'0a') FROM shadow WHERE {lane}{only}"
    )
    driver: Any = db.connection.connection.driver_connection
    frames: list[pl.DataFrame] = [pl.DataFrame(schema=INDEX_SCHEMA)]
    after, done = "", cast("tuple[str, ...]", ())  # the first page has no lower end: an empty text is a key as well
    while True:
        step = f"SELECT key FROM shadow WHERE {lane}{after} ORDER BY key LIMIT 1 OFFSET {_INDEX_PAGE_ROWS - 1}"
        end = driver.execute(step, done).fetchone()
        columns = driver.execute(f"{page}{after}{' AND key <= ?' if end else ''}", (*done, *(end or ()))).fetchone()
        if columns[0] is not None:
            frames.append(pl.DataFrame([_digits(text, name) for text, name in zip(columns, INDEX_SCHEMA, strict=True)]))
        if end is None:
            return pl.concat(frames, rechunk=True)
        after, done = " AND key > ?", end


def _digits(text: str, name: str) -> pl.Series:
    lines = text.encode()
    return pl.read_csv(io.BytesIO(lines), has_header=False, schema={name: INDEX_SCHEMA[name]}, null_values="-").to_series()


def _index_postgres(db: Db, scope: tuple[int, int], part: tuple[int, int] | None) -> pl.DataFrame:
    only = "" if part is None else f" AND mod(mod(khash, {part[1]}) + {part[1]}, {part[1]}) = {part[0]}"
    statement = (
        f"COPY (SELECT khash, fingerprint, golden_id, state FROM shadow WHERE entity = {scope[0]} AND system = {scope[1]}{only})"
        " TO STDOUT (FORMAT csv)"
    )
    driver: Any = db.connection.connection.driver_connection
    buffer = io.BytesIO()
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            buffer.write(block)
    if buffer.tell() == 0:
        return pl.DataFrame(schema=INDEX_SCHEMA)
    buffer.seek(0)
    return pl.read_csv(buffer, has_header=False, schema=INDEX_SCHEMA)


def by_key(db: Db, entity: str, system: str, keys: pl.Series) -> pl.DataFrame:
    """The shadows with these keys, all columns, by key; keys that are not known are left out."""
    return _BY_KEY.frame(db, entity=db.entity(entity), system=db.system(system), keys=keys.cast(pl.String))


def link_of(db: Db, entity: str, system: str, key: str) -> tuple[int | None] | None:
    """The golden id that a row is linked to (None: to none yet); None where the row is not known."""
    row = _LINK.first(db, entity=db.entity(entity), system=db.system(system), key=key)
    return None if row is None else (row[0],)


def keys_of(db: Db, entity: str, gid: int) -> dict[str, list[str]]:
    """The keys of a golden record's rows, by system."""
    keys: dict[str, list[str]] = {}
    rows = _KEYS.rows(db, entity=db.entity(entity), gid=gid)
    names = db.decode("system", pl.Series([system for system, _key in rows], dtype=pl.Int64))
    for name, (_system, key) in zip(names, rows, strict=True):
        keys.setdefault(name, []).append(key)
    return keys


def held(db: Db, entity: str, system: str, keys: pl.Series) -> pl.DataFrame:
    """As `by_key`, but only what the rows hold and stand for: `key`, `khash`, `seen`, `sent`, `before` and `native_version`."""
    return _HELD.frame(db, entity=db.entity(entity), system=db.system(system), keys=keys.cast(pl.String))


def by_golden(db: Db, entity: str, gids: pl.Series, systems: Sequence[str] | None = None) -> pl.DataFrame:
    """The shadows linked to these golden records in the given systems (None: all), with the system's name in `system`."""
    frame = _BY_GOLDEN.frame(db, entity=db.entity(entity), gids=gids.cast(pl.Int64))
    if systems is not None:
        frame = keep(frame, one_of(frame["system"], pl.Series([db.system(name) for name in systems], dtype=pl.Int64)))
    return sorted_by(exchanged(frame, db.decode("system", frame["system"])), ("gid", "system"))


def standing(db: Db, entity: str, gids: pl.Series) -> pl.DataFrame:
    """As `by_golden`, in no order, and only `system`, `key`, `gid`, `fingerprint`, `state` and `sent`."""
    frame = _STANDING.frame(db, entity=db.entity(entity), gids=gids.cast(pl.Int64))
    return exchanged(frame, db.decode("system", frame["system"]))


def odd(db: Db, entity: str, systems: Sequence[str]) -> pl.Series:
    """Golden ids of rows that are not there, or that hold or stand for something else than the golden record; and of all other systems'.

    In one scan; an id may be named several times.
    """
    # SQLite walks the table itself: by golden id it would look up each row.
    of_entity = (table.c.entity + 0 if db.backend == "sqlite" else table.c.entity) == db.entity(entity)
    other = table.c.system.not_in([db.system(name) for name in systems])
    differs = sa.or_(table.c.state != PRESENT, table.c.seen.is_not(None), table.c.sent.is_not(None), other)
    return db.frame(sa.select(table.c.golden_id.label("gid")).where(of_entity, table.c.golden_id.is_not(None), differs))["gid"]


def deltas(db: Db, entity: str, first: int, last: int) -> pl.DataFrame:
    """`system`, `gid`, `seen` and `sent` of those shadows of golden ids `first` to `last` that have either."""
    statement = sa.select(table.c.system, table.c.golden_id.label("gid"), table.c.seen, table.c.sent).where(
        table.c.entity == db.entity(entity),
        table.c.golden_id.between(first, last),
        sa.or_(table.c.seen.is_not(None), table.c.sent.is_not(None)),
    )
    frame = db.frame(statement)
    return frame.with_columns(system=db.decode("system", frame["system"])).sort("gid", "system")


def upsert(tx: Db, entity: str, system: str, rows: pl.DataFrame | bulk.Ahead, *, new: bool = False) -> None:
    """Store shadows by `key`; columns that the frame lacks stay as they are (null, or present, in a new row).

    `khash` is always needed; `update` changes known rows without it.

    `new=True` says that none of the keys is stored yet, which is faster; they may have been made ready (`ahead`). Raises StateError,
    undoing the transaction, where two keys of a system would be linked to one golden record.
    """
    if isinstance(rows, bulk.Ahead):
        bulk.insert(tx, table, rows, _scope(tx, entity, system))
        return
    frame = _by_key(rows)
    if new:
        bulk.insert(tx, table, frame, _scope(tx, entity, system))
        return
    if tx.backend == "sqlite" and frame.height > FEW_ROWS and {"golden_id", "khash"} < set(frame.columns):
        # Nearly always all of them are known, under these links. SQLite writes the entry of an index anew where a column of it is set at
        # all, to the same value, too: of rows that are spread over the table these were a third of all pages written.
        known = bulk.update(tx, table, frame.drop("khash"), _scope(tx, entity, system), keys=["key", "golden_id"])
        if known == frame.height:
            return
    for part, columns in _by_link(tx, entity, system, frame):
        bulk.upsert(tx, table, part, _scope(tx, entity, system), keys=["entity", "system", "key"], update=columns)


def ahead(frame: pl.DataFrame, backend: Backend) -> pl.DataFrame | bulk.Ahead:
    """New shadows made ready for `upsert` before the state's turn is taken, where they are many; else as they are."""
    return frame if frame.height < bulk.AHEAD_ROWS else bulk.ahead(_by_key(frame), backend)


def _by_key(frame: pl.DataFrame) -> pl.DataFrame:
    return sorted_by(_physical(frame), ("key",))


def _by_link(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """The rows and the columns to change in them: the link only where it is another than the one that is known; see `upsert`.

    For a few rows it is not worth asking.
    """
    names = [name for name in frame.columns if name != "key"]
    if tx.backend != "sqlite" or frame.height <= FEW_ROWS or "golden_id" not in names:
        yield frame, names
        return
    known = _LINKS.frame(tx, entity=tx.entity(entity), system=tx.system(system), keys=frame["key"].cast(pl.String))
    pairs = frame.select("key", "golden_id")
    same = pairs.join(known, on=["key", "golden_id"], how="semi", maintain_order="left")["key"]
    linked = one_of(frame["key"], same)
    yield keep(frame, linked), [name for name in names if name != "golden_id"]
    yield keep(frame, ~linked), names


def set_fingerprint(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> None:
    """Change fingerprint, modified and native_version (those that the frame has) by `key`; unknown keys are left out."""
    update(tx, entity, system, frame.select("key", cs.by_name("fingerprint", "modified", "native_version", require_all=False)))


def update(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> None:
    """Change the columns that the frame has, by `key`; unknown keys are left out. A link may not move this way: see `link`."""
    bulk.update(tx, table, _physical(frame), _scope(tx, entity, system), keys=["key"])


def set_state(tx: Db, entity: str, system: str, keys: pl.Series, state: int) -> None:
    """Change the state of these keys; unknown ones are left out."""
    tx.execute(table.update().where(*_where(tx, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String)))).values(state=state))


def link(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> None:
    """Change the link of keys: frame `key`, `gid` (null: release it). Links are released first, so that one may move to another key."""
    scope = _scope(tx, entity, system)
    bulk.update(tx, table, frame.select("key", golden_id=pl.lit(None, pl.Int64)), scope, keys=["key"])
    bulk.update(tx, table, frame.filter(pl.col("gid").is_not_null()).select("key", golden_id="gid"), scope, keys=["key"])


def delete(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Forget these keys, their links with them."""
    tx.execute(table.delete().where(*_where(tx, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String)))))


def keep_withdrawn(tx: Db, entity: str, system: str, keys: pl.Series) -> bool:
    """Take in that these rows were deleted as wanted: keep those that were withdrawn, as missing. Whether that were all of them."""
    mine = (*_where(tx, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String).sort())))
    withdrawn = tx.execute(table.update().where(*mine, table.c.state == WITHDRAWN).values(state=MISSING, fingerprint=None, sent=None))
    return bool(withdrawn.rowcount == keys.len())


def forget_deleted(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Forget those of these rows that are not kept as missing: whatever else was to be deleted is owed that."""
    mine = (*_where(tx, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String).sort())))
    tx.execute(table.delete().where(*mine, sa.or_(table.c.state != MISSING, table.c.sent.is_not(None))))


def withdraw(tx: Db, entity: str, system: str, keys: pl.Series) -> None:
    """Mark rows that are as their records say, and are to be deleted although these live."""
    mine = (*_where(tx, entity, system), table.c.key.in_(tx.each(keys.cast(pl.String).sort())))
    tx.execute(table.update().where(*mine).values(state=WITHDRAWN, sent="{}"))


def rekey(tx: Db, entity: str, system: str, frame: pl.DataFrame) -> None:
    """Give rows another key: frame `old_key`, `new_key`, `khash` (of the new one). Keys may be exchanged; the rest of a row stays.

    Raises StateError, undoing the transaction, where a new key belongs to a row that keeps it.
    """
    rows = by_key(tx, entity, system, frame["old_key"])
    delete(tx, entity, system, frame["old_key"])
    moved = rows.drop("khash").join(frame.select(key="old_key", new_key="new_key", khash="khash"), on="key", how="inner")
    upsert(tx, entity, system, moved.drop("key").rename({"new_key": "key"}), new=True)


def pending(db: Db, entity: str, system: str) -> pl.Series:
    """Golden ids, ascending, of present rows that stand for something else than the golden record (`sent` is not null), or that go."""
    statement = sa.select(table.c.golden_id.label("gid")).where(
        *_where(db, entity, system), table.c.sent.is_not(None), table.c.state.in_([PRESENT, WITHDRAWN]), table.c.golden_id.is_not(None)
    )
    return db.frame(statement)["gid"].sort()


def any_(db: Db, entity: str, system: str) -> bool:
    """Whether any row is known."""
    return _ANY.first(db, entity=db.entity(entity), system=db.system(system)) is not None


def count(db: Db, entity: str, system: str, state: int | None = None) -> int:
    """How many rows are known, in one state or (None) in any."""
    statement = sa.select(sa.func.count()).select_from(table).where(*_where(db, entity, system))
    if state == PRESENT:
        return count(db, entity, system) - int(db.execute(statement.where(table.c.state != sa.literal_column("0"))).scalar_one())
    if state is not None:
        # The constant lets the small index of rows that are not present answer.
        statement = statement.where(table.c.state != sa.literal_column("0"), table.c.state == state)
    return int(db.execute(statement).scalar_one())


def keys(db: Db, entity: str, system: str, chunk_rows: int = 50_000) -> Iterator[pl.DataFrame]:
    """All known keys in chunks by key: frames `key`, `gid`, `khash`, `state`. Nothing at all for no rows."""
    columns = (table.c.key, table.c.golden_id.label("gid"), table.c.khash, table.c.state)
    yield from _by_key_order(db, sa.select(*columns).where(*_where(db, entity, system)), chunk_rows)


def differing(db: Db, entity: str, system: str, chunk_rows: int = 50_000) -> Iterator[pl.DataFrame]:
    """The rows that show something else than the golden record, in chunks by key: frames `key`, `gid`, `seen`, `sent`, `state`."""
    columns = (table.c.key, table.c.golden_id.label("gid"), table.c.seen, table.c.sent, table.c.state)
    statement = sa.select(*columns).where(*_where(db, entity, system), table.c.seen.is_not(None))
    yield from _by_key_order(db, statement, chunk_rows)


def _by_key_order(db: Db, statement: sa.Select[Any], chunk_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a select that has `key`, in chunks by key."""
    page = statement
    while True:
        frame = db.frame(page.order_by(table.c.key).limit(chunk_rows))
        if frame.is_empty():
            return
        page = statement.where(table.c.key > str(frame["key"][-1]))
        yield frame


def _scope(tx: Db, entity: str, system: str) -> dict[str, bulk.Constant]:
    return {"entity": tx.entity(entity), "system": tx.system(system)}


def _where(db: Db, entity: str, system: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.entity == db.entity(entity), table.c.system == db.system(system)


def _select(db: Db, entity: str, system: str) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(*_where(db, entity, system))


def _physical(frame: pl.DataFrame) -> pl.DataFrame:
    return renamed(frame, "gid", "golden_id")


def linked(db: Db, entity: str) -> tuple[dict[str, int], dict[str, int]]:
    """Per system how many rows are linked, and how many of them are the only row of their record."""
    mine = sa.and_(table.c.entity == db.entity(entity), table.c.golden_id.is_not(None), table.c.state != MISSING)
    rows = sa.select(table.c.system, sa.func.count().label("rows")).where(mine).group_by(table.c.system)
    single = sa.select(table.c.golden_id, sa.func.min(table.c.system).label("system")).where(mine).group_by(table.c.golden_id)
    one = single.having(sa.func.count() == 1).subquery()
    alone = sa.select(one.c.system, sa.func.count().label("rows")).group_by(one.c.system)
    found = []
    for statement in (rows, alone):
        frame = db.frame(statement)
        found.append(dict(zip(db.decode("system", frame["system"]).to_list(), frame["rows"].to_list(), strict=True)))
    return found[0], found[1]
