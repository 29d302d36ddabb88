"""Rows out of SQLite as Polars frames, and values into it: two drivers, one form.

Text is taken as bytes and decoded in whole columns; a cell that is not UTF-8 makes its row a reject, never an error of the page.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import adbc_driver_sqlite
import polars as pl
import polars.selectors as cs

from trueup.connectors.adbc import Error, NanoarrowException, Reader
from trueup.connectors.sql_read import BAD, Select
from trueup.connectors.sqlite_tables import REAL_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trueup.connectors.sql_read import SqlColumn

_BATCH_ROWS = 16_384
_FIRST_VALUES: dict[pl.DataType, str] = {pl.Int64(): "0", pl.Float64(): "0.0", pl.String(): "''"}


def frame_of(select: Select, positions: int = 0) -> dict[str, pl.DataType]:
    """Names and types of a raw frame: as `select.schema`, but booleans as SQLite has them, and `p0`, `p1` for positions.

    The last position is the row's number; one before it is a value as SQL writes it.
    """
    schema = {name: pl.Int64() if dtype == pl.Boolean() else dtype for name, dtype in select.schema.items()}
    schema.setdefault(BAD, pl.Int64())
    return schema | {f"p{index}": pl.Int64() if index == positions - 1 else pl.String() for index in range(positions)}


def _ordered(select: Select, positions: int) -> dict[str, pl.DataType]:
    """`frame_of` in the order in which the query gives its columns."""
    schema = frame_of(select, positions)
    if BAD not in select.schema:
        schema.pop(BAD)
    return schema


def decoded(frame: pl.DataFrame, select: Select, positions: int = 0) -> pl.DataFrame:
    """Bytes to text. Where a cell is not UTF-8 it becomes null and its row is marked in `bad`."""
    schema = frame_of(select, positions)
    frame = frame if BAD in frame.columns else frame.with_columns(pl.lit(None, dtype=pl.Int64()).alias(BAD))
    texts = [name for name, dtype in schema.items() if dtype == pl.String()]
    binary = frame.with_columns(pl.col(texts).cast(pl.Binary()))
    try:
        plain = binary.with_columns(pl.col(texts).cast(pl.String()))
    except pl.exceptions.ComputeError:
        plain = _decoded_one_by_one(binary, texts)
    return plain.with_columns(_one_form(f"c{index}") for index in _decimals(select) if f"c{index}" in texts).select(list(schema))


def _decimals(select: Select) -> list[int]:
    return [index for index, column in enumerate(select.columns) if column.info.type == "decimal"]


def _one_form(name: str) -> pl.Expr:
    """Numbers stored as REAL by the fewest digits that mean the same number; everything else as it is."""
    cell = pl.col(name)
    number = cell.str.strip_prefix(REAL_MARK).cast(pl.Float64, strict=False).cast(pl.String)
    return pl.when(cell.str.starts_with(REAL_MARK)).then(number.str.strip_suffix(".0")).otherwise(cell)


def _decoded_one_by_one(frame: pl.DataFrame, texts: list[str]) -> pl.DataFrame:
    for name in texts:
        cells = frame.get_column(name).to_list()
        values = [_text(cell) for cell in cells]
        broken = [value is None and cell is not None for value, cell in zip(values, cells, strict=True)]
        column = int(name[1:]) if name.startswith("c") else None
        frame = frame.with_columns(
            pl.Series(name, values, dtype=pl.String()),
            pl.when(pl.Series(broken)).then(pl.lit(column, dtype=pl.Int64())).otherwise(pl.col(BAD)).alias(BAD),
        )
    return frame


def _text(cell: bytes | None) -> str | None:
    if cell is None:
        return None
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return None


class AdbcRows:
    """Reads through ADBC: whole columns, no Python object per value."""

    def __init__(self, uri: str, lock_timeout_s: float) -> None:
        """Open a read-only connection of its own."""
        with _as_sqlite_errors():
            self._reader = Reader(adbc_driver_sqlite.connect(uri), autocommit=True)
            self._reader.set_options({"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
        self.run(f"PRAGMA busy_timeout={int(lock_timeout_s * 1000)}")

    def run(self, sql: str) -> None:
        """Carry out a statement without looking at its result."""
        with _as_sqlite_errors():
            self._reader.run(sql)

    def row(self, sql: str) -> tuple[Any, ...] | None:
        """The first row of a query, None where it gives none."""
        with _as_sqlite_errors():
            frames = [pl.DataFrame(array) for array in self._reader.arrays(sql)]
        return next((frame.row(0) for frame in frames if frame.height), None)

    def frames(self, select: Select, sql: str, page_rows: int, positions: int = 0) -> Iterator[pl.DataFrame]:
        """The query's rows, in raw frames of at most `page_rows`. A first row of the right types goes ahead and is dropped."""
        del page_rows  # the driver's own batches are smaller
        schema = _ordered(select, positions)
        first = ", ".join(f"{_FIRST_VALUES[dtype]} AS {name}" for name, dtype in schema.items())
        with _as_sqlite_errors():
            skip = 1
            for array in self._reader.arrays(f"SELECT {first} UNION ALL SELECT * FROM ({sql})"):
                frame = pl.DataFrame(array).slice(skip)
                skip = 0
                if frame.height:
                    yield decoded(frame, select, positions)

    def close(self) -> None:
        """Give the connection back; an unfinished read ends."""
        self._reader.close()


class _as_sqlite_errors:  # noqa: N801  used as a word in `with`
    """ADBC's errors as sqlite3's, so that one place names them for users."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise sqlite3.OperationalError in place of the driver's own errors, also of those that end a stream half-way."""
        if isinstance(error, (Error, NanoarrowException)):
            raise sqlite3.OperationalError(str(error)) from error


class PlainRows:
    """Reads through Python's own driver; the same frames."""

    def __init__(self, uri: str, lock_timeout_s: float) -> None:
        """Open a read-only connection of its own."""
        self._connection = sqlite3.connect(uri, uri=True, timeout=lock_timeout_s, isolation_level=None, check_same_thread=False)

    def run(self, sql: str) -> None:
        """Carry out a statement without looking at its result."""
        self._connection.execute(sql).fetchall()

    def row(self, sql: str) -> tuple[Any, ...] | None:
        """The first row of a query, None where it gives none."""
        row: tuple[Any, ...] | None = self._connection.execute(sql).fetchone()
        return row

    def frames(self, select: Select, sql: str, page_rows: int, positions: int = 0) -> Iterator[pl.DataFrame]:
        """The query's rows, in raw frames of at most `page_rows`."""
        cursor = self._connection.cursor()
        yield from _plain_frames(self._connection, cursor, select, sql, min(page_rows, _BATCH_ROWS), positions)

    @staticmethod
    def of(select: Select, connection: sqlite3.Connection, sql: str) -> pl.DataFrame:
        """All rows of a statement at once (a lookup, or what a write returned)."""
        frames = list(_plain_frames(connection, connection.cursor(), select, sql, _BATCH_ROWS, 0))
        return pl.concat(frames) if frames else pl.DataFrame(schema=frame_of(select))

    def close(self) -> None:
        """Give the connection back; an unfinished read ends."""
        self._connection.close()


def _plain_frames(
    connection: sqlite3.Connection, cursor: sqlite3.Cursor, select: Select, sql: str, rows: int, positions: int
) -> Iterator[pl.DataFrame]:
    schema = {name: pl.Binary() if dtype == pl.String() else dtype for name, dtype in _ordered(select, positions).items()}
    for chunk in _chunks(connection, cursor, sql, rows):
        yield decoded(pl.DataFrame(chunk, schema=schema, orient="row"), select, positions)


def _chunks(connection: sqlite3.Connection, cursor: sqlite3.Cursor, sql: str, rows: int) -> Iterator[list[tuple[Any, ...]]]:
    """Rows with text as bytes; the connection's own text form is put back for others."""
    cursor.execute(sql)
    while True:
        connection.text_factory = bytes
        try:
            chunk = cursor.fetchmany(rows)
        finally:
            connection.text_factory = str
        if not chunk:
            return
        yield chunk


def values_of(rows: pl.DataFrame, columns: Mapping[str, SqlColumn]) -> Iterable[tuple[Any, ...]]:
    """A frame's rows as the driver binds them: booleans as 0 and 1, dates as ISO text, binary columns' new values (`n…`) as bytes."""
    frame = rows.with_columns(pl.col(pl.Boolean()).cast(pl.Int8()), cs.temporal().cast(pl.String()))
    binary = [name for name, column in columns.items() if column.info.type == "binary" and name.startswith("n")]
    return frame.with_columns(pl.col(binary).str.decode("hex")).iter_rows()
