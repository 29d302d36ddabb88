"""What a login may do with tables in PostgreSQL: its own rights, those of its roles and those of everybody, as the server decides them.

https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-ACCESS
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.connectors.needing import Permission, Permissions
from trueup.connectors.postgres_tables import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from trueup.connectors.needing import Need
    from trueup.connectors.sql_read import Table

_COLUMNS = """
    SELECT name FROM unnest(%(columns)s::text[]) AS wanted(name)
    WHERE NOT has_column_privilege(%(table)s::regclass, name, %(right)s)
"""
_TABLE = "SELECT has_table_privilege(%(table)s::regclass, %(right)s)"
_SCHEMA = """
    SELECT n.nspname, has_schema_privilege(n.oid, 'USAGE') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = %(table)s::regclass
"""
_SEQUENCE = """
    SELECT s, has_sequence_privilege(s::regclass, 'USAGE') FROM pg_get_serial_sequence(%(table)s, %(column)s) AS s WHERE s IS NOT NULL
"""
_POWERS = "SELECT quote_ident(current_user), rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
_WRITES = (("INSERT", "makes"), ("UPDATE", "sets"), ("DELETE", "deletes"), ("TRUNCATE", ""))


def permissions(session: psycopg.Connection[Any], tables: Sequence[tuple[Need, Table]]) -> Permissions:
    """What is needed, and given, for all of these."""
    login, is_super, makes_roles, makes_databases = session.execute(_POWERS).fetchall()[0]
    needed = [one for need, table in tables for one in _of_table(session, login, need, table)]
    beyond = [one for need, table in tables for one in _beyond(session, need, table)]
    if is_super:
        beyond = [f"{login} is a superuser: it may do anything in every database of the server"]
    else:
        powers = (("make roles", makes_roles), ("make databases", makes_databases))
        beyond += [f"{login} may {what}" for what, given in powers if given]
    return Permissions(tuple(needed), tuple(beyond))


def _of_table(session: psycopg.Connection[Any], login: str, need: Need, table: Table) -> Iterator[Permission]:
    name = table.target or table.source
    if table.target is None:  # a query: that it can be read shows when it is read
        yield Permission("SELECT", need.obj.label, "its rows cannot be read")
        return
    schema, may_use = session.execute(_SCHEMA, {"table": name}).fetchall()[0]
    if not may_use:
        yield Permission("USAGE", f"schema {schema}", f"nothing of {need.obj.label} can be read or written", given=False,
                         remedy=f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {login}")  # fmt: skip
    wanted = (
        ("SELECT", need.reads, "its rows cannot be read"),
        ("UPDATE", need.sets, "changes are not delivered to it"),
        ("INSERT", need.makes, "no row can be made there"),
    )
    for right, columns, without in wanted:
        there = [column for column in columns if column in table.columns]
        if not there:
            continue
        lacking = [row[0] for row in session.execute(_COLUMNS, {"table": name, "columns": there, "right": right}).fetchall()]
        shown = ", ".join(quoted(column) for column in there)
        place = f"{need.obj.label} ({', '.join(lacking or there)})"
        remedy = f"GRANT {right} ({shown}) ON {name} TO {login}" if lacking else ""
        yield Permission(right, place, without, given=not lacking, remedy=remedy)
    if need.makes and need.obj.assign == "system":
        for column in table.key:
            for sequence, given in session.execute(_SEQUENCE, {"table": name, "column": column}).fetchall():
                remedy = "" if given else f"GRANT USAGE ON SEQUENCE {sequence} TO {login}"
                yield Permission("USAGE", f"sequence {sequence}", "no row can be made there", given=given, remedy=remedy)
    if need.deletes:
        given = session.execute(_TABLE, {"table": name, "right": "DELETE"}).fetchall()[0][0]
        remedy = "" if given else f"GRANT DELETE ON {name} TO {login}"
        yield Permission("DELETE", need.obj.label, "rows that are deleted elsewhere stay there", given=given, remedy=remedy)


def _beyond(session: psycopg.Connection[Any], need: Need, table: Table) -> Iterator[str]:
    """Rights to change the table that no mapping uses."""
    if table.target is None:
        return
    for right, use in _WRITES:
        if use and getattr(need, use):
            continue
        if session.execute(_TABLE, {"table": table.target, "right": right}).fetchall()[0][0]:
            yield f"{right} on {need.obj.label} is allowed, and nothing here needs it"
