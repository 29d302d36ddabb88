"""Statements whose text is made once. To put one together and compile it takes ten times as long as SQLite takes to find a few rows.

A `Prepared` is a module's constant: a function that gives the statement, with `given` and `given_many` for what differs from call to call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import sqlalchemy as sa

from trueup.store.db import framed, no_gc, shown_columns
from trueup.store.schema import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.store.db import Db
    from trueup.store.engine import Backend

Value = int | float | str | bytes | pl.Series | None
MANY = 1_000
"""From so many values asked for on, SQLite gives each column as one text of JSON: a Python object per cell takes longer than to find it."""


@dataclass(frozen=True)
class _Text:
    """A statement as one database takes it: its text, the values that stand in it anyway, their order (None: by name), and its columns.

    `as_columns` gives the same rows as a single one: how many they are, and an array of JSON for each column that is not null throughout.
    """

    sql: str
    fixed: dict[str, Any]
    order: Sequence[str] | None
    columns: Sequence[Any]
    as_columns: str | None = None


@dataclass(eq=False)
class Prepared:
    """A statement by the values that differ, as the tables hold them: times are whole numbers. `make` is given the kind of database."""

    make: Callable[[Backend], Any]
    _texts: dict[str, _Text] = field(default_factory=dict)

    def frame(self, db: Db, **values: Value) -> pl.DataFrame:
        """All rows, as `Db.frame` gives them."""
        if any(isinstance(value, pl.Series) and value.len() >= MANY for value in values.values()):
            return self.many(db, **values)
        return framed(self.rows(db, **values), self._text(db).columns, db.backend)

    def many(self, db: Db, **values: Value) -> pl.DataFrame:
        """As `frame`, where the rows are known to be many, however few values are asked for."""
        text = self._text(db)
        if text.as_columns is None:
            return framed(self.rows(db, **values), text.columns, db.backend)
        return _columns(db.rows(text.as_columns, self._bound(text, db, values))[0], text.columns)

    def rows(self, db: Db, **values: Value) -> list[tuple[Any, ...]]:
        """All rows, as the driver gives them: times and booleans are whole numbers where the tables hold them so."""
        text = self._text(db)
        return db.rows(text.sql, self._bound(text, db, values))

    def first(self, db: Db, **values: Value) -> tuple[Any, ...] | None:
        """The first row; None where there is none."""
        return next(iter(self.rows(db, **values)), None)

    def change(self, tx: Db, **values: Value) -> int:
        """Run a statement that gives no rows; how many it changed."""
        text = self._text(tx)
        return tx.change(text.sql, self._bound(text, tx, values))

    @staticmethod
    def _bound(text: _Text, db: Db, values: dict[str, Value]) -> Any:
        told = text.fixed | {name: _as_bound(value, db.backend) for name, value in values.items()}
        return told if text.order is None else tuple(told[name] for name in text.order)

    def _text(self, db: Db) -> _Text:
        known = self._texts.get(db.backend)
        if known is None:
            statement = self.make(db.backend)
            compiled: Any = statement.compile(dialect=db.connection.dialect)
            order = tuple(compiled.positiontup) if compiled.positional else None
            columns, sql = tuple(getattr(statement, "selected_columns", ())), str(compiled)
            as_columns = _as_columns(sql, columns) if db.backend == "sqlite" else None
            known = self._texts[db.backend] = _Text(sql, dict(compiled.params), order, columns, as_columns)
        return known


def _as_columns(sql: str, columns: Sequence[Any]) -> str | None:
    """The statement that gives a select's rows column by column; None where JSON does not hold some value of it exactly."""
    if not columns or not all(isinstance(column.type, (sa.Integer, sa.Text, Moment)) for column in columns):
        return None
    names = [f"c{place}" for place in range(len(columns))]
    arrays = ", ".join(f"CASE WHEN count({name}) THEN json_group_array({name}) END" for name in names)
    return f"WITH told({', '.join(names)}) AS ({sql}) SELECT count(*), {arrays} FROM told"


def _columns(row: Sequence[Any], columns: Sequence[Any]) -> pl.DataFrame:
    """The frame of what such a statement gives."""
    height, *texts = row
    with no_gc():
        told = [None if text is None else orjson.loads(text) for text in texts]
        return shown_columns(height, told, columns)


def given(name: str) -> sa.BindParameter[Any]:
    """A value that is told with every call."""
    return sa.bindparam(name)


def given_many(name: str, backend: Backend, kind: type[sa.types.TypeEngine[Any]]) -> sa.Select[Any]:
    """Values that are told as a column, for `column.in_(…)`: one parameter however many there are."""
    if backend == "sqlite":
        return sa.select(sa.func.json_each(sa.bindparam(name)).table_valued("value").c.value)
    return sa.select(sa.func.unnest(sa.bindparam(name, type_=sa.ARRAY(kind()))).column_valued("value"))


def _as_bound(value: Value, backend: Backend) -> Any:
    if not isinstance(value, pl.Series):
        return value
    return orjson.dumps(value.to_list()).decode() if backend == "sqlite" else value.to_list()
