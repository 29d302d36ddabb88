"""Many rows at once, by one form on both back ends: frames in, the table's own columns as names.

SQLite takes tuples through one prepared statement; values that are the same in every row stand in the statement instead of being bound
row by row. PostgreSQL takes a COPY into a temporary table and one statement from there; a few rows go without that detour.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core import quick
from trueup.core.frames import last_of_each
from trueup.store.db import no_gc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from trueup.store.db import Db
    from trueup.store.engine import Backend

FEW_ROWS = 100
_STATEMENT_ROWS = (1_000, 100)
_STATEMENT_VALUES = 32_000  # SQLite takes 32,766
_PIECE_ROWS = 20_000  # so many rows are Python objects at once
_LITERAL_ROWS = 64  # from here on it pays to look for columns of one value
AHEAD_ROWS = 1_000
"""From so many rows on it pays to make them ready before the state's turn is taken (`ahead`)."""
Constant = int | str | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """New rows that were made ready before the state's turn was taken, in which nobody else can write.

    `frame` is what they were made of; `same` are its columns of one value; `steps` what SQLite takes: how many rows a statement has, and
    the values of each statement. PostgreSQL takes the frame. `names` are names of which only a transaction knows the codes.
    """

    frame: pl.DataFrame
    columns: tuple[str, ...]
    same: Mapping[str, Constant]
    steps: Sequence[tuple[int, list[tuple[Any, ...]]]]
    names: Mapping[str, str]


def ahead(frame: pl.DataFrame, backend: Backend, *, names: Mapping[str, str] | None = None) -> Ahead:
    """Make new rows ready for `insert`; as Python objects they take some hundred bytes each."""
    frame = stored(frame)
    if backend == "postgresql":
        return Ahead(frame, tuple(frame.columns), {}, (), names or {})
    varying, same = _split_same(frame)
    return Ahead(frame, tuple(varying.columns), same, list(_steps(varying)), names or {})


def insert(tx: Db, table: sa.Table, rows: pl.DataFrame | Ahead, constants: Mapping[str, Constant] | None = None) -> None:
    """Add rows. A row that is there already is a StateError of the transaction; nothing of it stays."""
    if isinstance(rows, pl.DataFrame) or not rows.steps:
        _insert(tx, table, rows if isinstance(rows, pl.DataFrame) else rows.frame, constants or {}, "")
        return
    _check_columns(table, rows.frame)
    tx.grown[table.name] = tx.grown.get(table.name, 0) + rows.frame.height
    _insert_steps(tx, table, rows.columns, {**(constants or {}), **rows.same}, rows.steps)


def add_missing(tx: Db, table: sa.Table, frame: pl.DataFrame, constants: Mapping[str, Constant] | None = None) -> None:
    """Add the rows that are not there yet; leave the others as they are."""
    _insert(tx, table, frame, constants or {}, "ON CONFLICT DO NOTHING")


def upsert(
    tx: Db,
    table: sa.Table,
    frame: pl.DataFrame,
    constants: Mapping[str, Constant] | None = None,
    *,
    keys: Sequence[str],
    update: Sequence[str] | None = None,
    where: str = "",
    more: Mapping[str, str] | None = None,
) -> None:
    """Add rows, or change the columns `update` (all that are given, by default) of those with the same `keys`.

    `where` repeats the condition of a partial unique index; `more` sets further columns to SQL texts. Of two rows of the frame with
    the same keys, the last counts.
    """
    fixed = constants or {}
    identity = [name for name in keys if name in frame.columns]
    frame = last_of_each(frame, identity) if identity else frame
    names = [name for name in (*fixed, *frame.columns) if name not in keys] if update is None else list(update)
    changes = [f"{_q(name)} = excluded.{_q(name)}" for name in names] + [f"{_q(name)} = {text}" for name, text in (more or {}).items()]
    action = f"DO UPDATE SET {', '.join(changes)}" if changes else "DO NOTHING"
    condition = f" WHERE {where}" if where else ""
    _insert(tx, table, frame, fixed, f"ON CONFLICT ({', '.join(map(_q, keys))}){condition} {action}")


def update(tx: Db, table: sa.Table, frame: pl.DataFrame, constants: Mapping[str, Constant] | None = None, *, keys: Sequence[str]) -> int:
    """Change the columns of `frame` other than `keys` in the rows that have these keys and constants; others are left out silently.

    Gives how many rows were changed.
    """
    fixed = constants or {}
    if frame.is_empty():
        return 0
    frame = stored(frame)
    values, same = frame.drop(keys), dict[str, Constant]()
    if frame.height >= _LITERAL_ROWS and values.width:
        values, same = _split_same(values)
    names = values.columns
    frame = values.hstack(frame.select(keys))
    scope = [f"{table.name}.{_q(name)} = {_literal(value)}" for name, value in fixed.items()]
    told = [f"{_q(name)} = {_literal(value)}" for name, value in same.items()]
    if tx.backend == "postgresql" and frame.height > FEW_ROWS:
        _stage(tx, table, frame)
        pairs = [f"{table.name}.{_q(name)} = staged.{_q(name)}" for name in keys]
        changes = ", ".join([*told, *(f"{_q(name)} = staged.{_q(name)}" for name in names)])
        statement = f"UPDATE {table.name} SET {changes} FROM staged WHERE {' AND '.join(scope + pairs)}"
        return int(tx.connection.exec_driver_sql(statement).rowcount)
    mark = _mark(tx)
    changes = ", ".join([*told, *(f"{_q(name)} = {mark}" for name in names)])
    pairs = [f"{_q(name)} = {mark}" for name in keys]
    return _many(tx, f"UPDATE {table.name} SET {changes} WHERE {' AND '.join(scope + pairs)}", frame)


def stored(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as the tables hold it: times as microseconds. Raises ValueError for a naive time."""
    columns = frame.get_columns()
    for place, column in enumerate(columns):
        kind = column.dtype
        if isinstance(kind, pl.Datetime):
            if kind.time_zone is None:
                message = f"column {column.name} holds times without a zone"
                raise ValueError(message)
            columns[place] = column.cast(pl.Datetime("us", kind.time_zone)).cast(pl.Int64)
        elif kind == pl.Null:
            columns[place] = column.cast(pl.Int64)
    return quick.frame(columns)


def _insert(tx: Db, table: sa.Table, frame: pl.DataFrame, constants: Mapping[str, Constant], conflict: str) -> None:
    if frame.is_empty():
        return
    _check_columns(table, frame)
    frame = stored(frame)
    tx.grown[table.name] = tx.grown.get(table.name, 0) + frame.height
    fixed = dict(constants)
    if frame.height >= _LITERAL_ROWS:
        frame, same = _split_same(frame)
        fixed.update(same)
    if tx.backend == "postgresql" and frame.height > FEW_ROWS:
        _copy(tx, table, frame, fixed, conflict)
        return
    if tx.backend == "sqlite" and not conflict:
        _insert_steps(tx, table, tuple(frame.columns), fixed, _steps(frame))
        return
    names = ", ".join(map(_q, (*fixed, *frame.columns)))
    row = ", ".join([*map(_literal, fixed.values()), *[_mark(tx)] * frame.width])
    _many(tx, f"INSERT INTO {table.name} ({names}) VALUES ({row}) {conflict}", frame)


def _check_columns(table: sa.Table, frame: pl.DataFrame) -> None:
    unknown = set(frame.columns) - set(table.c.keys())
    if unknown:
        message = f"{table.name} has no column {', '.join(sorted(unknown))}"
        raise ValueError(message)


def _steps(frame: pl.DataFrame) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
    """The values that SQLite takes, by statements of so many rows each.

    Each step into SQLite takes several rows: it costs more than a small row does, and lets go of Python and waits for it again (measured:
    slower with ON CONFLICT).
    """
    for rows in (*_STATEMENT_ROWS, 1):
        whole = frame.height - frame.height % rows
        if whole and (rows == 1 or rows * frame.width <= _STATEMENT_VALUES):
            for piece in frame.head(whole).iter_slices(_PIECE_ROWS - _PIECE_ROWS % rows):
                yield rows, _bound(piece, rows)
            frame = frame.slice(whole)


def _bound(piece: pl.DataFrame, rows: int) -> list[tuple[Any, ...]]:
    """The values of a frame whose height is a multiple of `rows`, so many rows to a tuple."""
    with no_gc():
        values = zip(*(column.to_list() for column in piece.get_columns()), strict=True)
        if rows == 1:
            return list(values)
        flat, step = tuple(chain.from_iterable(values)), rows * piece.width
        return [flat[start : start + step] for start in range(0, len(flat), step)]


def _insert_steps(
    tx: Db,
    table: sa.Table,
    columns: tuple[str, ...],
    fixed: Mapping[str, Constant],
    steps: Iterable[tuple[int, list[tuple[Any, ...]]]],
) -> None:
    row = f"({', '.join([*map(_literal, fixed.values()), *['?'] * len(columns)])})"
    # OR FAIL spares SQLite its statement journal, a copy of every page touched: the transaction as a whole is undone on any error.
    head = f"INSERT OR FAIL INTO {table.name} ({', '.join(map(_q, (*fixed, *columns)))}) VALUES "
    for rows, values in steps:
        tx.change(head + ", ".join([row] * rows), values)


def _split_same(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Constant]]:
    """Columns that are null throughout, or one whole number throughout, become constants; at least one column stays."""
    same: dict[str, Constant] = {}
    for column in frame.get_columns():
        if len(same) == frame.width - 1:
            break
        if column.null_count() == frame.height:
            same[column.name] = None
        elif column.dtype.is_integer() and column.null_count() == 0 and column.min() == column.max():
            same[column.name] = int(column[0])
    return frame.drop(same.keys()), same


def _copy(tx: Db, table: sa.Table, frame: pl.DataFrame, fixed: Mapping[str, Constant], conflict: str) -> None:
    """COPY straight into the table where no row can be there already, else through `staged`."""
    if not conflict:
        constants = [pl.lit(value).alias(name) for name, value in fixed.items() if value is not None]
        _copy_csv(tx, table.name, frame.with_columns(constants))
        return
    _stage(tx, table, frame)
    columns = ", ".join(map(_q, (*fixed, *frame.columns)))
    source = ", ".join([*map(_literal, fixed.values()), *map(_q, frame.columns)])
    tx.connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) SELECT {source} FROM staged {conflict}")


def _stage(tx: Db, table: sa.Table, frame: pl.DataFrame) -> None:
    """Put the frame into the temporary table `staged`, typed like `table`'s columns; it lives until it is staged again or the commit."""
    names = ", ".join(map(_q, frame.columns))
    tx.connection.exec_driver_sql("DROP TABLE IF EXISTS pg_temp.staged")
    tx.connection.exec_driver_sql(f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {names} FROM {table.name} WITH NO DATA")
    _copy_csv(tx, "pg_temp.staged", frame)


def _copy_csv(tx: Db, into: str, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    # Unquoted nothing is null to COPY, quoted nothing the empty text.
    frame.write_csv(buffer, include_header=False, quote_style="non_numeric", null_value="")
    driver: Any = tx.connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {into} ({', '.join(map(_q, frame.columns))}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(buffer.getbuffer())


def _many(tx: Db, statement: str, frame: pl.DataFrame) -> int:
    """Run a statement once per row of the frame; how many rows it changed."""
    return sum(tx.change(statement, _bound(piece, 1)) for piece in frame.iter_slices(_PIECE_ROWS))


def _mark(tx: Db) -> str:
    return "?" if tx.backend == "sqlite" else "%s"


def _q(name: str) -> str:
    return f'"{name}"'


def _literal(value: Constant) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''").replace("%", "%%") + "'"
