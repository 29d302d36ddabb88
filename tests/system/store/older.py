"""States as older versions of trueup made them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trueup.store import engine, migrate

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_state_of(target: str, revision: str, statements: Sequence[str] = ()) -> None:
    """Make a state with the tables of an older revision, filled by plain SQL."""
    if engine.backend_of(target) == "sqlite":
        engine.create_sqlite(Path(target), create=True, shown_as=target)
        writer = engine.sqlite_engine(Path(target), writer=True, read_only=False)
    else:
        writer, name = engine.postgres_engine(target, read_only=False)
        migrate.create_schema(writer, name, create=True, shown="the state")
    with writer.connect() as connection, connection.begin():
        migrate.upgrade(connection, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
    writer.dispose()
