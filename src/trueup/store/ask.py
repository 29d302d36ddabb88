"""Read-only SQL on the state, for `trueup sql`: whatever a person types, nothing can be changed by it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from trueup.errors import StateError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trueup.store.engine import Backend

TIMEOUT_S = 60
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_READING = {"select", "with", "values", ""}
_HINT = "one SELECT statement; the views are named as the entities, besides `links` and `changes`"

Answer = tuple[list[str], list[tuple[Any, ...]]]


def query(reader: sa.Engine, backend: Backend, sql: str, limit: int) -> Answer:
    """Column names and at most `limit` rows. Raises StateError for anything else than a read, and after `TIMEOUT_S`."""
    statement = sql.strip().rstrip(";").strip()
    if not statement:
        raise StateError("no SQL was given", hint=_HINT)
    first = statement.split(None, 1)[0]
    if first.lower().lstrip("(") not in _READING:
        raise StateError(f"only reading is allowed here, and {first[:20]} reads nothing", hint=_HINT)
    if backend == "sqlite":
        return _sqlite(reader, statement, limit)
    return _postgres(reader, statement, limit)


def _sqlite(reader: sa.Engine, sql: str, limit: int) -> Answer:
    pooled = reader.raw_connection()
    driver: Any = pooled.driver_connection
    drivers: Any = reader.dialect.loaded_dbapi
    # Taken out of the pool and closed afterwards: the authorizer stays with the connection.
    pooled.detach()
    until = time.monotonic() + TIMEOUT_S
    try:
        driver.set_progress_handler(lambda: int(time.monotonic() > until), 100_000)
        driver.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
        cursor = driver.execute(sql)
        if cursor.description is None:
            raise StateError("this is not a reading statement", hint=_HINT)
        return [column[0] for column in cursor.description], cursor.fetchmany(limit)
    except (drivers.Error, drivers.Warning) as error:
        raise _refused(error) from error
    finally:
        driver.close()


def _postgres(reader: sa.Engine, sql: str, limit: int) -> Answer:
    pooled = reader.raw_connection()
    driver: Any = pooled.driver_connection
    pooled.detach()
    driver_error: Any = reader.dialect.loaded_dbapi
    try:
        driver.rollback()
        driver.read_only = True
        driver.execute(f"SET LOCAL statement_timeout = '{TIMEOUT_S}s'")
        # DECLARE … CURSOR FOR takes a query and nothing else.
        with driver.cursor(name="asked") as cursor:
            cursor.execute(sql.replace("%", "%%"), ())
            return [column.name for column in cursor.description], cursor.fetchmany(limit)
    except driver_error.Error as error:
        raise _refused(error) from error
    finally:
        driver.close()


def _refused(error: Exception) -> StateError:
    reason = " ".join(str(error).split())
    if "not authorized" in reason or "read-only transaction" in reason or "prohibited" in reason:
        return StateError(f"only reading is allowed here: {reason}", hint=_HINT)
    if "interrupted" in reason or "statement timeout" in reason:
        return StateError(f"the statement took longer than {TIMEOUT_S} s and was stopped", hint="narrow it down")
    return StateError(f"the statement cannot be run: {reason}", hint=_HINT)
