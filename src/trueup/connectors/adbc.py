"""A reading connection of an ADBC driver.

The driver's own DB-API loads pyarrow wherever that is installed, which takes longer than a small run does: its first layer is used here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from adbc_driver_manager import AdbcConnection, AdbcStatement, Error
from nanoarrow._utils import NanoarrowException

from trueup.connectors.arrow_stream import arrays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from adbc_driver_manager import AdbcDatabase
    from nanoarrow._array import CArray

__all__ = ["Error", "NanoarrowException", "Reader"]


class Reader:
    """One connection with one statement after the other. Errors are `Error`, and `NanoarrowException` half-way through the rows."""

    def __init__(self, database: AdbcDatabase, *, autocommit: bool) -> None:
        """Connect; the database is closed with this."""
        self._parts: list[AdbcDatabase | AdbcConnection | AdbcStatement] = [database]
        try:
            connection = AdbcConnection(database)
            self._parts.append(connection)
            connection.set_autocommit(autocommit)
            self._statement = AdbcStatement(connection)
            self._parts.append(self._statement)
        except BaseException:
            self.close()
            raise

    def set_options(self, options: dict[str, str]) -> None:
        """Options of the statements that follow."""
        self._statement.set_options(**options)

    def run(self, sql: str) -> None:
        """Carry out a statement without looking at its result."""
        for _array in self.arrays(sql):
            continue

    def arrays(self, sql: str) -> Iterator[CArray]:
        """The rows of a query, array by array; the query is run when the first one is asked for."""
        self._statement.set_sql_query(sql)
        stream, _rows = self._statement.execute_query()
        yield from arrays(stream)

    def close(self) -> None:
        """Give the connection back; an unfinished query ends. May be called twice."""
        while self._parts:
            self._parts.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
