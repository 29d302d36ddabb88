"""Brings a state's tables up to date. Alembic is loaded only where something is to be done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.errors import StateError, StateMissingError
from trueup.store import fresh, schema, viewlist
from trueup.store.before_upgrade import keep_copy

if TYPE_CHECKING:
    from alembic.config import Config

PREPARING = 0x74727570
"""The number of the advisory lock under which a state in PostgreSQL is prepared."""

MIGRATIONS = Path(__file__).parent / "migrations"


def bring_up_to_date(reader: sa.Engine, writer: sa.Engine | None, *, shown: str, older: bool = False) -> None:
    """Run the migrations that the state lacks, in one transaction. Without a `writer` an older state is refused, unless `older` will do.

    A state in a file is copied first, as it is. Raises StateError where it was made by a newer trueup, holds no tables and may not be
    changed, or cannot be copied.
    """
    with reader.connect() as connection:
        found = current_revision(connection)
    if found == schema.REVISION:
        return
    if found is not None and found not in known_revisions():
        raise StateError(
            f"the state {shown} was made by a newer trueup (its tables are at {found}, this one knows {schema.REVISION})",
            hint="install the newer version; nothing was changed",
        )
    if writer is None:
        if found is None:
            raise StateMissingError(f"the state {shown} holds no tables yet", hint="run `trueup sync` first")
        if older:
            return
        raise StateError(f"the state {shown} has the tables of an older trueup", hint="run `trueup sync`, which brings it up to date")
    with writer.connect() as connection, connection.begin():
        one_at_a_time(connection)
        # Another process may have done it while this one waited for its turn.
        standing = current_revision(connection)
        if standing != schema.REVISION:
            if found is not None:
                keep_copy(reader, found, schema.REVISION)
            viewlist.drop_all(connection)
            if standing is not None or not fresh.make(connection):
                upgrade(connection)
    for pool in {reader, writer}:
        pool.dispose()  # a connection knows the statistics of the tables as they were when it was opened


def create_schema(pool: sa.Engine, name: str, *, create: bool, shown: str) -> None:
    """Make the schema of a PostgreSQL state where it is missing and `create` says so; else raises StateError."""
    exists = sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    with pool.begin() as connection:
        if connection.execute(exists, {"name": name}).scalar_one_or_none():
            return
        if not create:
            raise StateMissingError(
                f"there is no state at {shown} yet", hint="run `trueup sync` first, or check `state:` in the configuration"
            )
        one_at_a_time(connection)
        connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{name}"')


def one_at_a_time(connection: sa.Connection) -> None:
    """Wait until no other process prepares this state; it holds to the end of the transaction. SQLite's BEGIN IMMEDIATE has done it."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(PREPARING)))


def current_revision(connection: sa.Connection) -> str | None:
    """The revision of the tables; None where there are none."""
    if not sa.inspect(connection).has_table(schema.VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {schema.VERSION_TABLE}")).scalar_one_or_none()


def known_revisions() -> set[str]:
    """The revisions of all migrations shipped with this version."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def upgrade(connection: sa.Connection, to: str = "head") -> None:
    """Run migrations on a connection that is inside a transaction."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
