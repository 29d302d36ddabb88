"""One connection to MySQL or MariaDB, set up so that values arrive exactly: strict, in UTC, everything as text."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import polars as pl
import pymysql
from pymysql.constants import CLIENT, FIELD_TYPE, FLAG
from pymysql.cursors import SSCursor

from trueup.connectors.mysql_tables import Native

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.sql_read import Select

Row = tuple[str | None, ...]

# NO_AUTO_VALUE_ON_ZERO: a key of 0 is a key. Zero dates stay readable and are rejected row by row.
_SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
_BINARY_CHARSET = 63
_SLOW_READER_S = 3600  # how long the server waits while pages are worked on

_FIELD_NAMES = {
    FIELD_TYPE.DECIMAL: "decimal",
    FIELD_TYPE.NEWDECIMAL: "decimal",
    FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint",
    FIELD_TYPE.INT24: "mediumint",
    FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint",
    FIELD_TYPE.YEAR: "year",
    FIELD_TYPE.FLOAT: "float",
    FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.NEWDATE: "date",
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.TIMESTAMP: "timestamp",
    FIELD_TYPE.TIME: "time",
    FIELD_TYPE.BIT: "bit",
    FIELD_TYPE.JSON: "json",
    FIELD_TYPE.GEOMETRY: "geometry",
}


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach the server. `options` are PyMySQL's own (tls, socket, time limits)."""

    host: str
    port: int
    user: str
    password: str
    database: str | None
    options: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Host and port for messages."""
        return f"{self.host}:{self.port}"


class Session:
    """A connection in autocommit mode. Driver errors leave as they are: the connector puts them into words."""

    def __init__(self, address: Address, *, lock_timeout_s: float, statement_timeout_s: float) -> None:
        """Connect. Raises pymysql.Error."""
        self.connection: pymysql.Connection[Any] = pymysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=address.database,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            conv={},
            **address.options,
        )
        version = str(self.connection.get_server_info())  # type: ignore[no-untyped-call]
        self.is_mariadb = "mariadb" in version.lower()
        self.version = _numbers(version)
        # The variable says to locks that what is written here is ours.
        self.run(f"SET SESSION sql_mode = '{_SQL_MODE}', time_zone = '+00:00', net_write_timeout = {_SLOW_READER_S}, @trueup_writes = 1")
        wait_s = max(1, round(lock_timeout_s))
        self.run(f"SET SESSION innodb_lock_wait_timeout = {wait_s}, lock_wait_timeout = {wait_s}")
        if statement_timeout_s:
            limit = (
                f"max_statement_time = {statement_timeout_s}"
                if self.is_mariadb
                else f"max_execution_time = {round(statement_timeout_s * 1000)}"
            )
            self.run(f"SET SESSION {limit}")

    @property
    def returns_rows(self) -> bool:
        """Whether INSERT … RETURNING exists (MariaDB from 10.5, https://mariadb.com/kb/en/insertreturning/)."""
        return self.is_mariadb and self.version >= (10, 5)

    @property
    def has_json_table(self) -> bool:
        """Whether JSON_TABLE exists: MySQL from 8.0.4, MariaDB from 10.6."""
        return self.version >= ((10, 6) if self.is_mariadb else (8, 0, 4))

    @property
    def is_open(self) -> bool:
        """Whether the connection was neither closed nor found broken."""
        return bool(self.connection.open)

    def text(self, value: str) -> str:
        """A text as SQL."""
        return str(self.connection.escape(value))

    def run(self, sql: str) -> int:
        """Execute a statement without a result. Returns the rows met."""
        with self.connection.cursor() as cursor:
            return int(cursor.execute(sql))

    def rows(self, sql: str) -> Sequence[Row]:
        """All rows of a query, every value as text."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            found: Sequence[Row] = cursor.fetchall()
            return found

    def pages(self, sql: str, page_rows: int) -> Iterator[Sequence[Row]]:
        """Rows of a query, page by page as the server sends them."""
        cursor = self.connection.cursor(SSCursor)
        cursor.execute(sql)
        while page := cursor.fetchmany(page_rows):
            yield page
        cursor.close()

    def described(self, sql: str) -> list[tuple[str, Native, bool]]:
        """Name, type and nullability of a query's columns."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            fields = cursor._result.fields  # noqa: SLF001 - flags are nowhere else
        return [(item.name, _native_of(item), not item.flags & FLAG.NOT_NULL) for item in fields]

    def abandon(self) -> None:
        """Drop the connection without reading what the server still wants to send."""
        result = self.connection._result  # type: ignore[attr-defined]  # noqa: SLF001 - closing would read all rows that are left
        if result is not None:
            result.unbuffered_active = False
            result.connection = None
        with suppress(pymysql.Error, OSError):
            self.connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 - as above

    def close(self) -> None:
        """Say goodbye."""
        with suppress(pymysql.Error, OSError):
            self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()


def _numbers(version: str) -> tuple[int, ...]:
    """`5.5.5-10.11.6-MariaDB` -> (10, 11, 6); `8.0.36-ubuntu` -> (8, 0, 36)."""
    plain = version.removeprefix("5.5.5-").split("-")[0]
    return tuple(int(part) for part in plain.split(".") if part.isdigit())


def _native_of(item: Any) -> Native:
    name = _FIELD_NAMES.get(item.type_code)
    unsigned = " unsigned" if item.flags & FLAG.UNSIGNED else ""
    if name is None:
        is_text = item.charsetnr != _BINARY_CHARSET
        return Native("varchar" if is_text else "varbinary", "text" if is_text else "binary")
    if name == "tinyint" and item.length == 1:
        return Native(name, "tinyint(1)")
    return Native(name, name + unsigned, precision=item.length if name == "bit" else 0)


# ---------------------------------------------------------------- frames


def frame_of(select: Select, rows: Sequence[Row], *, with_op: bool = False) -> pl.DataFrame:
    """Rows of a query (texts) as a raw frame; with `op` in front where the query gives it."""
    schema = {"op": pl.Int64(), **select.schema} if with_op else select.schema
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    natives = {f"c{index}": column.info.native_type.lower() for index, column in enumerate(select.columns)}
    return pl.DataFrame(
        [
            _typed(pl.Series(name, values, dtype=pl.String()), dtype, natives.get(name, ""))
            for (name, dtype), values in zip(schema.items(), columns, strict=True)
        ]
    )


def _typed(texts: pl.Series, dtype: pl.DataType, native: str) -> pl.Series:
    """Texts in the contract's type. A zero date becomes null here; its row is marked by the query and rejected."""
    if dtype == pl.String():
        return texts
    if dtype == pl.Boolean():
        return texts == "1"
    if dtype == pl.Date():
        return texts.str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Datetime):
        moments = texts.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        return moments.dt.replace_time_zone(dtype.time_zone)
    numbers = texts.cast(dtype)
    if native.startswith("float"):  # 1.100000023841858 is what a FLOAT holds for 1.1: its shortest text names it as exactly
        return numbers.cast(pl.Float32()).cast(pl.String()).cast(dtype)
    return numbers


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Values in the form in which statements take them: text."""
    return frame.select(_text_of(name, dtype).alias(name) for name, dtype in frame.schema.items())


def _text_of(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Boolean():
        return column.cast(pl.Int8()).cast(pl.String())
    if isinstance(dtype, pl.Datetime):
        return column.dt.to_string("%Y-%m-%d %H:%M:%S%.6f")
    if isinstance(dtype, pl.List):
        return column.list.join(";")
    return column.cast(pl.String())
