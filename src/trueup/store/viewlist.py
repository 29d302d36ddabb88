"""The views that trueup made in the state, as kept in `meta`: name -> definition."""

from __future__ import annotations

import orjson
import sqlalchemy as sa

from trueup.store import schema

META_KEY = "views"


def made(connection: sa.Connection) -> dict[str, str]:
    """The views made so far with their definitions; empty in a state without tables."""
    if not sa.inspect(connection).has_table(schema.meta.name):
        return {}
    text = connection.execute(sa.select(schema.meta.c.value).where(schema.meta.c.key == META_KEY)).scalar_one_or_none()
    return {} if text is None else dict(orjson.loads(text))


def keep(connection: sa.Connection, views: dict[str, str]) -> None:
    """Remember the views."""
    connection.execute(schema.meta.delete().where(schema.meta.c.key == META_KEY))
    connection.execute(schema.meta.insert().values(key=META_KEY, value=orjson.dumps(views).decode()))


def drop(connection: sa.Connection, name: str) -> None:
    """Drop one view; nothing where it is not there."""
    _run(connection, f"DROP VIEW IF EXISTS {quoted(name)}")


def create(connection: sa.Connection, name: str, definition: str) -> None:
    """Make one view of a SELECT, in the place of one of that name."""
    drop(connection, name)
    _run(connection, f"CREATE VIEW {quoted(name)} AS {definition}")


def quoted(name: str) -> str:
    """A name as it may stand in SQL, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _run(connection: sa.Connection, statement: str) -> None:
    # text() would take a colon for a parameter, and psycopg a per cent sign.
    connection.exec_driver_sql(statement.replace("%", "%%") if connection.dialect.name == "postgresql" else statement)


def drop_all(connection: sa.Connection) -> None:
    """Drop every view made by trueup: a migration may then change the tables beneath; the next run makes them again."""
    views = made(connection)
    for name in views:
        drop(connection, name)
    if views:
        keep(connection, {})
