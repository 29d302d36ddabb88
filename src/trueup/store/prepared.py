"""Statements whose text is made once. To put one together and compile it takes ten times as long as SQLite takes to find a few rows.

A `Prepared` is a module's constant: a function that gives the statement, with `given` and `given_many` for what differs from call to call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import sqlalchemy as sa

from trueup.store.db import framed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.store.db import Db
    from trueup.store.engine import Backend

Value = int | float | str | bytes | pl.Series | None


@dataclass(frozen=True)
class _Text:
    """A statement as one database takes it: its text, the values that stand in it anyway, their order (None: by name), and its columns."""

    sql: str
    fixed: dict[str, Any]
    order: Sequence[str] | None
    columns: Sequence[Any]


@dataclass(eq=False)
class Prepared:
    """A statement by the values that differ, as the tables hold them: times are whole numbers. `make` is given the kind of database."""

    make: Callable[[Backend], Any]
    _texts: dict[str, _Text] = field(default_factory=dict)

    def frame(self, db: Db, **values: Value) -> pl.DataFrame:
        """All rows, as `Db.frame` gives them."""
        return framed(self.rows(db, **values), self._text(db).columns, db.backend)

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
            known = self._texts[db.backend] = _Text(
                str(compiled), dict(compiled.params), order, tuple(getattr(statement, "selected_columns", ()))
            )
        return known


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
