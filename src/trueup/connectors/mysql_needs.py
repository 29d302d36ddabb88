"""What a login may do with tables in MySQL and MariaDB, as the server decides it: its own rights and those of its roles.

What it may do with a column stands in information_schema; whether rows may be deleted, EXPLAIN tells, which deletes nothing.
https://mariadb.com/kb/en/information-schema-columns-table/, https://dev.mysql.com/doc/refman/8.0/en/explain.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
from pymysql.constants import ER

from trueup.connectors.mysql_lock import names_of
from trueup.connectors.mysql_tables import quoted
from trueup.connectors.needing import Permission, Permissions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.mysql_session import Session
    from trueup.connectors.needing import Need
    from trueup.connectors.sql_read import Table

_POWERS = {"SUPER": "change the server itself", "CREATE USER": "make and change logins", "FILE": "read and write files of the server"}


def permissions(session: Session, tables: Sequence[tuple[Need, Table]]) -> Permissions:
    """What is needed, and given, for all of these. Raises pymysql.Error."""
    user, _, host = str(session.rows("SELECT CURRENT_USER()")[0][0]).rpartition("@")
    login = f"{quoted(user)}@{quoted(host)}"
    needed: list[Permission] = []
    beyond: list[str] = []
    for need, table in tables:
        if table.target is None:  # a query: that it can be read shows when it is read
            needed.append(Permission("SELECT", need.obj.label, "its rows cannot be read"))
            continue
        rights = _of_columns(session, table)
        deletes = _may_delete(session, table)
        needed += _needed(login, need, table, rights, deletes=deletes)
        beyond += _beyond(need, rights, deletes=deletes)
    grantee = session.text(f"'{user}'@'{host}'")
    given = {row[0] for row in session.rows(f"SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {grantee}")}
    beyond += [f"{login} may {what} ({right})" for right, what in _POWERS.items() if right in given]
    return Permissions(tuple(needed), tuple(beyond))


def _of_columns(session: Session, table: Table) -> dict[str, frozenset[str]]:
    """What may be done with each column; one with which nothing may be done is not shown."""
    schema, name = names_of(table)
    asked = "SELECT COLUMN_NAME, PRIVILEGES FROM information_schema.COLUMNS"
    rows = session.rows(f"{asked} WHERE TABLE_SCHEMA = {session.text(schema)} AND TABLE_NAME = {session.text(name)}")
    return {str(column): frozenset((given or "").upper().split(",")) for column, given in rows}


def _may_delete(session: Session, table: Table) -> bool:
    try:
        session.rows(f"EXPLAIN DELETE FROM {table.target} WHERE FALSE")
    except pymysql.Error as error:
        if error.args and error.args[0] in {ER.TABLEACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR}:
            return False
        raise
    return True


def _needed(login: str, need: Need, table: Table, rights: dict[str, frozenset[str]], *, deletes: bool) -> Iterator[Permission]:
    wanted = (
        ("SELECT", need.reads, "its rows cannot be read"),
        ("UPDATE", need.sets, "changes are not delivered to it"),
        ("INSERT", need.makes, "no row can be made there"),
    )
    for right, columns, without in wanted:
        there = [column for column in columns if column in table.columns]
        if not there:
            continue
        lacking = [column for column in there if right not in rights.get(column, frozenset())]
        shown = ", ".join(quoted(column) for column in there)
        place = f"{need.obj.label} ({', '.join(lacking or there)})"
        remedy = f"GRANT {right} ({shown}) ON {table.target} TO {login}" if lacking else ""
        yield Permission(right, place, without, given=not lacking, remedy=remedy)
    if need.deletes:
        remedy = "" if deletes else f"GRANT DELETE ON {table.target} TO {login}"
        yield Permission("DELETE", need.obj.label, "rows that are deleted elsewhere stay there", given=deletes, remedy=remedy)


def _beyond(need: Need, rights: dict[str, frozenset[str]], *, deletes: bool) -> Iterator[str]:
    """Rights to change the table that no mapping uses."""
    for right, used in (("INSERT", need.makes), ("UPDATE", need.sets)):
        if not used and any(right in given for given in rights.values()):
            yield f"{right} on {need.obj.label} is allowed, and nothing here needs it"
    if deletes and not need.deletes:
        yield f"DELETE on {need.obj.label} is allowed, and nothing here needs it"
