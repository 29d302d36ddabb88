"""Rows out of PostgreSQL as Polars frames, through ADBC (many) or psycopg (few): one raw form.

ADBC hands over whole columns, but it connects anew, and its libraries take longer to load than a few rows take to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.sql_read import Select

FEW_ROWS = 2_000
"""Up to so many rows go through psycopg, as Python objects."""
_UTC = pl.Datetime("us", "UTC")


def raw_schema(select: Select) -> dict[str, pl.DataType]:
    """Names and types as the query gives them: moments as the clock in UTC."""
    return {name: pl.Datetime("us") if dtype == _UTC else dtype for name, dtype in select.schema.items()}


def typed_frame(select: Select, frame: pl.DataFrame) -> pl.DataFrame:
    """A raw result in the contract's types."""
    wanted = select.schema
    columns = frame.get_columns()
    for place, column in enumerate(columns):
        dtype = wanted.get(column.name, column.dtype)
        if dtype == _UTC and isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None:
            columns[place] = column.cast(pl.Datetime("us")).cast(_UTC)  # the clock in UTC
        elif column.dtype != dtype:
            columns[place] = column.cast(dtype)
    return pl.DataFrame(columns)


def few_frames(
    session: psycopg.Connection[Any], settings: Sequence[str], queries: Sequence[tuple[Select, str]]
) -> list[tuple[int, pl.DataFrame]] | None:
    """What `many_frames` gives, through a connection that is open, where no query has many rows; None: one has.

    The last query is tried first: of the rows that moved and the keys of all others, the keys tell a large table at once.
    """
    found: list[tuple[int, pl.DataFrame]] = []
    session.execute("; ".join(("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", *settings)).encode())
    try:
        for number in reversed(range(len(queries))):
            select, sql = queries[number]
            rows = session.execute(f"{sql} LIMIT {FEW_ROWS + 1}".encode(), binary=True).fetchall()
            if len(rows) > FEW_ROWS:
                return None
            if rows:
                found.append((number, typed_frame(select, pl.DataFrame(rows, schema=raw_schema(select), orient="row"))))
    finally:
        if not session.closed:
            session.execute("ROLLBACK")
    return found[::-1]


def many_frames(conninfo: str, settings: Sequence[str], queries: Sequence[tuple[Select, str]]) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of queries, each frame with its query's number from 0, all in one read-only snapshot.

    Driver errors leave as psycopg's, so that one place names them for users.
    """
    import adbc_driver_postgresql  # type: ignore[import-untyped]

    from trueup.connectors.adbc import Error, NanoarrowException, Reader

    try:
        with Reader(adbc_driver_postgresql.connect(conninfo), autocommit=False) as reader:
            for statement in ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", *settings):
                reader.run(statement)
            for number, (select, sql) in enumerate(queries):
                for array in reader.arrays(sql):
                    frame = typed_frame(select, pl.DataFrame(array))
                    if frame.height:
                        yield number, frame
    except Error as error:
        raise _as_psycopg(error, error.sqlstate) from error
    except NanoarrowException as error:  # the server or the connection failed half-way through the rows
        raise psycopg.OperationalError(str(error)) from error


def _as_psycopg(error: Exception, sqlstate: str | None) -> psycopg.Error:
    kind = psycopg.errors.lookup(sqlstate) if sqlstate else psycopg.OperationalError
    return kind(str(error))
