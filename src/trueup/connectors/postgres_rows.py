"""Rows out of PostgreSQL as Polars frames, through ADBC (large) or psycopg (small): one raw form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import psycopg
from adbc_driver_manager import Error as AdbcError
from nanoarrow._utils import NanoarrowException

from trueup.connectors.arrow_stream import arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.sql_read import Select

_UTC = pl.Datetime("us", "UTC")


def raw_schema(select: Select) -> dict[str, pl.DataType]:
    """Names and types as the query gives them: moments as the clock in UTC."""
    return {name: pl.Datetime("us") if dtype == _UTC else dtype for name, dtype in select.schema.items()}


def typed_frame(select: Select, frame: pl.DataFrame) -> pl.DataFrame:
    """A raw result in the contract's types."""
    aware = [name for name, dtype in select.schema.items() if dtype == _UTC and name in frame.columns]
    frame = frame.with_columns(pl.col(aware).dt.replace_time_zone("UTC")) if aware else frame
    return frame.cast({name: dtype for name, dtype in select.schema.items() if name in frame.columns and frame.schema[name] != dtype})


def adbc_frames(conninfo: str, settings: Sequence[str], queries: Sequence[tuple[Select, str]]) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of queries, each frame with its query's number from 0, all in one read-only snapshot.

    Driver errors leave as psycopg's, so that one place names them for users.
    """
    import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]

    try:
        with adbc.connect(conninfo) as connection, connection.cursor() as cursor:
            for statement in ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", *settings):
                cursor.execute(statement)
            for number, (select, sql) in enumerate(queries):
                cursor.execute(sql)
                for array in arrays(cursor.fetch_arrow()):
                    frame = typed_frame(select, pl.DataFrame(array))
                    if frame.height:
                        yield number, frame
    except AdbcError as error:
        raise _as_psycopg(error, error.sqlstate) from error
    except NanoarrowException as error:  # the server or the connection failed half-way through the rows
        raise psycopg.OperationalError(str(error)) from error


def _as_psycopg(error: Exception, sqlstate: str | None) -> psycopg.Error:
    kind = psycopg.errors.lookup(sqlstate) if sqlstate else psycopg.OperationalError
    return kind(str(error))
