"""`Db`: one connection inside one transaction, which also knows the numbers that stand for entities and systems.

Every noun module takes it as its first argument. `db.writable` is True inside `Store.write()`.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import sqlalchemy as sa

from trueup.core import quick
from trueup.core.frames import constant
from trueup.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.store.audit import Kind
    from trueup.store.engine import Backend

MOMENT = pl.Datetime("us", "UTC")
FEW = 64
"""Up to so many values are turned one by one: that is faster than setting up the work on whole columns."""
UNKNOWN = -1
"""The code of a name that the state has never seen: it matches no row."""


class Names:
    """Names of entities and systems with their codes, shared by all connections of a store.

    A code made in a transaction that is undone is forgotten with it.
    """

    def __init__(self) -> None:
        """Start knowing nothing; the tables are read when first needed."""
        self._codes: dict[str, dict[str, int]] = {"entity_name": {}, "system_name": {}}
        self._lock = Lock()

    def forget(self) -> None:
        """Read the tables again when next asked."""
        with self._lock:
            for codes in self._codes.values():
                codes.clear()

    def known(self, table: str) -> dict[str, int]:
        """A copy of the codes known so far."""
        with self._lock:
            return dict(self._codes[table])

    def learn(self, table: str, codes: Mapping[str, int]) -> None:
        """Remember names with their codes."""
        with self._lock:
            self._codes[table].update(codes)


@contextmanager
def no_gc() -> Iterator[None]:
    """Keep the garbage collector from walking the tuples of a bulk transfer again and again: they hold no cycles, and it takes a third."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Db:
    """A transaction on the state."""

    def __init__(
        self,
        connection: sa.Connection,
        names: Names,
        backend: Backend,
        *,
        writable: bool,
        runs: set[int] | None = None,
    ) -> None:
        """Wrap a connection that is already inside its transaction; `runs` are the numbers of the store's own running runs."""
        self.matters: frozenset[str] | None = None  # those of OPEN_MATTERS that hold any row in this snapshot; None: to be asked one by one
        self.connection = connection
        self.backend: Backend = backend
        self.writable = writable
        self.runs = set() if runs is None else runs
        self.grown: dict[str, int] = {}  # rows added in this transaction, by table
        self.told: list[tuple[Kind, Mapping[str, Any], datetime]] = []  # what `audit.tell` writes at its end
        self._names = names
        self._driver: Any = connection.connection.driver_connection if backend == "sqlite" else None

    # ------------------------------------------------------------ names

    def entity(self, name: str) -> int:
        """The code of an entity: a new one inside a write, `UNKNOWN` inside a read where the state has never seen it."""
        return self._code(schema.entity_name, name)

    def system(self, name: str) -> int:
        """The code of a system: a new one inside a write, `UNKNOWN` inside a read where the state has never seen it."""
        return self._code(schema.system_name, name)

    def _code(self, table: sa.Table, name: str) -> int:
        code = self._names.known(table.name).get(name)
        if code is None:
            code = self._load(table).get(name)
        if code is None and self.writable:
            newest = self.connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
            code = int(newest) + 1
            self.connection.execute(table.insert().values(id=code, name=name))
            self._names.learn(table.name, {name: code})
        return UNKNOWN if code is None else code

    def _load(self, table: sa.Table) -> dict[str, int]:
        codes = {name: int(code) for code, name in self.connection.execute(sa.select(table.c.id, table.c.name))}
        self._names.learn(table.name, codes)
        return codes

    def forget_names(self) -> None:
        """Read the names again when next asked, as after a change to their tables."""
        self._names.forget()

    def encode(self, kind: str, names: pl.Series) -> pl.Series:
        """Codes (Int64) of a String series of `entity` or `system` names; null stays null."""
        distinct = set((names if names.len() <= FEW else names.unique()).to_list()) - {None}
        lookup = {name: (self.entity if kind == "entity" else self.system)(name) for name in sorted(distinct)}
        if names.len() <= FEW:
            return quick.series(names.name, [lookup.get(name) for name in names.to_list()], pl.Int64())
        return names.cast(pl.String).replace_strict(lookup, default=None, return_dtype=pl.Int64)

    def decode(self, kind: str, codes: pl.Series) -> pl.Series:
        """Names (String) of a series of `entity` or `system` codes; null stays null."""
        table = schema.entity_name if kind == "entity" else schema.system_name
        wanted = set((codes if codes.len() <= FEW else codes.unique()).to_list()) - {None}
        known = {code: name for name, code in self._names.known(table.name).items()}
        if not wanted <= known.keys():
            known = {code: name for name, code in self._load(table).items()}
        if codes.len() <= FEW:
            return quick.series(codes.name, [known.get(code) for code in codes.to_list()], pl.String())
        return codes.cast(pl.Int64).replace_strict(known, default=None, return_dtype=pl.String)

    # ------------------------------------------------------------ statements

    def holds(self, table: sa.Table) -> bool:
        """Whether one of the `OPEN_MATTERS` has any row. Most of the time they are empty, and asking them one by one would cost more."""
        if self.matters is not None:
            return table.name in self.matters
        return bool(self.rows(_any_row(table))[0][0])

    @property
    def _direct(self) -> Any:
        """SQLite's own connection, unless somebody listens to statements: nine tenths of a small statement would be SQLAlchemy's."""
        return None if self._driver is None or self.connection.dispatch.before_cursor_execute else self._driver

    def rows(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement in the database's own words, as the driver gives them."""
        if (direct := self._direct) is not None:
            found: list[tuple[Any, ...]] = direct.execute(sql, values).fetchall()
            return found
        result = self.connection.exec_driver_sql(sql, values or None)
        cursor: Any = result.cursor
        found = cursor.fetchall()
        result.close()
        return found

    def change(self, sql: str, values: Any = ()) -> int:
        """Run a statement in the database's own words that gives no rows; how many it changed. A list of values: once for each of them."""
        if (direct := self._direct) is None:
            return int(self.connection.exec_driver_sql(sql, values or None).rowcount)
        return int((direct.executemany if isinstance(values, list) else direct.execute)(sql, values).rowcount)

    def execute(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> sa.CursorResult[Any]:
        """Run one Core statement."""
        return self.connection.execute(statement, values or {})

    def each(self, values: pl.Series) -> sa.Select[Any]:
        """The values of an Int64 or String series as a sub-select, for `column.in_(…)`: one parameter however many there are."""
        if self.backend == "sqlite":
            text = orjson.dumps(values.to_list()).decode()
            return sa.select(sa.func.json_each(sa.literal(text)).table_valued("value").c.value)
        kind = sa.ARRAY(sa.BigInteger() if values.dtype.is_integer() else sa.Text())
        return sa.select(sa.func.unnest(sa.literal(values.to_list(), kind)).column_valued("value"))

    def frame(self, statement: sa.Select[Any]) -> pl.DataFrame:
        """All rows of a select, typed by its columns: times as Datetime("us", "UTC"), every whole number as Int64."""
        columns = tuple(statement.selected_columns)
        with no_gc():
            result = self.connection.execute(statement)
            raw: Any = result.cursor
            rows: Sequence[tuple[Any, ...]] = raw.fetchall()
            result.close()
            return framed(rows, columns, self.backend)


def framed(rows: Sequence[tuple[Any, ...]], columns: Sequence[Any], backend: Backend) -> pl.DataFrame:
    """Rows as the driver gives them, as `Db.frame` tells them."""
    if not rows:
        return no_rows(columns)
    names = [column.key or "" for column in columns]
    if len(rows) <= FEW:
        each = zip(names, zip(*rows, strict=True), columns, strict=True)
        return quick.frame([_shown(quick.series(name, told, _stored(column.type, backend)), column.type) for name, told, column in each])
    stored = {name: _stored(column.type, backend) for name, column in zip(names, columns, strict=True)}
    frame = pl.DataFrame(rows, schema=stored, orient="row", strict=True)
    return quick.frame([_shown(series, column.type) for series, column in zip(frame.get_columns(), columns, strict=True)])


def shown_columns(height: int, told: Sequence[list[Any] | None], columns: Sequence[Any]) -> pl.DataFrame:
    """As `framed`, for values as SQLite gives them, column by column; None: a column that is null throughout."""
    series = []
    for values, column in zip(told, columns, strict=True):
        kind, name = _stored(column.type, "sqlite"), column.key or ""
        whole = constant(name, None, height, kind) if values is None else quick.series(name, values, kind)
        series.append(_shown(whole, column.type))
    return quick.frame(series)


def _stored(kind: sa.types.TypeEngine[Any], backend: Backend) -> pl.DataType:
    """The type in which a driver gives a column: SQLite knows no booleans."""
    return pl.Int64() if backend == "sqlite" and isinstance(kind, sa.Boolean) else dtype_of(kind)


OPEN_MATTERS = (
    schema.conflict,
    schema.failure,
    schema.former_key,
    schema.hold,
    schema.outsider,
    schema.parked,
    schema.sending,
    schema.unsettled_key,
)
"""Tables of what is unfinished or waits for a person."""


def _any_row(table: sa.Table) -> str:
    only_open = " WHERE closed_at IS NULL" if table is schema.conflict else ""
    return f"SELECT EXISTS (SELECT 1 FROM {table.name}{only_open})"


WHICH_MATTERS = f"SELECT {', '.join(f'({_any_row(table)})' for table in OPEN_MATTERS)}"


def with_matters(db: Db) -> Db:
    """Look which of the open matters hold any row; as the first statement of a reading transaction that takes the snapshot as well."""
    row = db.rows(WHICH_MATTERS)[0]
    db.matters = frozenset(table.name for table, any_row in zip(OPEN_MATTERS, row, strict=True) if any_row)
    return db


@lru_cache(maxsize=512)
def _nothing(columns: tuple[tuple[str, pl.DataType], ...]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(columns))


def no_rows(columns: Iterable[Any]) -> pl.DataFrame:
    """The empty frame that a select of these columns gives."""
    return _nothing(tuple((column.key or "", _seen(column.type)) for column in columns)).clone()


def dtype_of(kind: sa.types.TypeEngine[Any]) -> pl.DataType:
    """The type of a column as the tables hold it: times are whole numbers."""
    if isinstance(kind, schema.Moment | sa.Integer):
        return pl.Int64()
    if isinstance(kind, sa.Float):
        return pl.Float64()
    if isinstance(kind, sa.Boolean):
        return pl.Boolean()
    return pl.Binary() if isinstance(kind, sa.LargeBinary) else pl.String()


def _seen(kind: sa.types.TypeEngine[Any]) -> pl.DataType:
    """The type under which a column leaves this module."""
    return MOMENT if isinstance(kind, schema.Moment) else dtype_of(kind)


def _shown(column: pl.Series, kind: sa.types.TypeEngine[Any]) -> pl.Series:
    if isinstance(kind, schema.Moment):
        return column.cast(MOMENT)
    return column.cast(pl.Boolean) if isinstance(kind, sa.Boolean) else column
