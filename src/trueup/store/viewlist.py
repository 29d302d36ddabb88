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
    """Drop one view."""
    quoted = '"' + name.replace('"', '""') + '"'
    connection.exec_driver_sql("DROP VIEW IF EXISTS " + quoted.replace("%", "%%"))


def drop_all(connection: sa.Connection) -> None:
    """Drop every view made by trueup: a migration may then change the tables beneath; the next run makes them again."""
    views = made(connection)
    for name in views:
        drop(connection, name)
    if views:
        keep(connection, {})
