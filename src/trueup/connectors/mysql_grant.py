"""Rights in MySQL and MariaDB: who may change what in a table, and exchanging such rights, statement by statement.

A right on a database or on everything covers each table, and cannot be taken for one of them: where another account has one on the
database, nothing is locked; those with rights on everything are the server's administrators. Which rights there are stands in the tables of
the database `mysql`. https://mariadb.com/kb/en/grant/, https://dev.mysql.com/doc/refman/8.0/en/grant-tables.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql

from trueup.connectors import locking
from trueup.connectors.mysql_lock import LockingConnector, names_of
from trueup.connectors.mysql_needs import permissions
from trueup.connectors.mysql_tables import quoted
from trueup.core.rights import UPDATE, Right, Rights, statements
from trueup.errors import AccessRefusedError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from trueup.connectors.mysql_session import Row, Session
    from trueup.connectors.needing import Need, Permissions
    from trueup.connectors.sql_read import Table
    from trueup.model import Lock, ObjectSpec

_ROWS = ("INSERT", "DELETE", "DROP")
"""What adds and removes rows: TRUNCATE needs the right to drop the table."""


class GrantingConnector(LockingConnector):
    """The part of the connector that has to do with rights; see locking.Granting."""

    def permissions(self, needs: Sequence[Need]) -> Permissions:
        """See needing.KnowsPermissions."""
        tables = [(need, self._table(need.obj, fresh=True)) for need in needs]
        session = self._session()
        try:
            return permissions(session, tables)
        except pymysql.Error as error:
            raise self._trouble(error) from error

    def rights(self, obj: ObjectSpec, lock: Lock) -> Rights:
        """See locking.Granting."""
        table, session = self._table(obj, fresh=True), self._session()
        lock = locking.lockable(table, lock)
        try:
            return self._rights(session, table, lock)
        except pymysql.Error as error:
            known = self._trouble(error)
            if isinstance(known, AccessRefusedError):
                raise AccessRefusedError(
                    f"who may change {table.info.name} cannot be seen: {known.message}",
                    hint="grant SELECT on mysql.* to this user; or lock by triggers",
                    system=self.name,
                ) from error
            raise known from error

    def rights_statements(self, now: Collection[Right], then: Collection[Right]) -> list[str]:
        """See locking.Granting."""
        return statements(now, then, _statement)

    def exchange_rights(self, obj: ObjectSpec, now: Collection[Right], then: Collection[Right]) -> None:
        """See locking.Granting; statement by statement."""
        session = self._session()
        for statement in self.rights_statements(now, then):
            try:
                session.run(statement)
            except pymysql.Error as error:
                known = self._trouble(error)
                if isinstance(known, AccessRefusedError):
                    raise AccessRefusedError(
                        f"rights on {self._table(obj).info.name} cannot be exchanged: {known.message}",
                        hint="give this user these rights on the table WITH GRANT OPTION, or let an administrator run what --show shows",
                        system=self.name,
                    ) from error
                raise known from error

    def _rights(self, session: Session, table: Table, lock: Lock) -> Rights:
        schema, name = names_of(table)
        here = f"Db = {session.text(schema)} AND Table_name = {session.text(name)}"
        me = _account(*str(session.rows("SELECT CURRENT_USER()")[0][0]).rpartition("@")[::2])
        asked = ([UPDATE] if lock.columns else []) + (list(_ROWS) if lock.rows else [])
        there = {
            Right(table.source, _account(user, host), right)
            for user, host, given in session.rows(f"SELECT User, Host, Table_priv FROM mysql.tables_priv WHERE {here}")
            for right in _named(given)
        }
        there |= {
            Right(table.source, _account(user, host), right, str(column))
            for user, host, given, column in session.rows(
                f"SELECT User, Host, Column_priv, Column_name FROM mysql.columns_priv WHERE {here}"
            )
            for right in _named(given)
        }
        held = " OR ".join(f"{right.capitalize()}_priv = 'Y'" for right in asked)
        everywhere = _accounts(session.rows(f"SELECT User, Host FROM mysql.user WHERE {held}"))
        database = _accounts(session.rows(f"SELECT User, Host FROM mysql.db WHERE {session.text(schema)} LIKE Db AND ({held})"))
        roles = _accounts(session.rows("SELECT ROLE_NAME, '' FROM information_schema.APPLICABLE_ROLES")) if session.is_mariadb else []
        mine = {me, *roles} & {*everywhere, *database}
        if others := [who for who in database if who != me]:
            raise WriteRefusedError(
                f"{', '.join(others)} may change all of {quoted(schema)}, of which nothing can be taken for one table alone",
                hint="give it rights table by table; or lock by triggers",
                system=self.name,
            )
        direct = {(one.right, one.column) for one in there if one.who == me}
        needed = {Right(table.source, me, one.right, one.column) for one in there if one.who in {*roles, "PUBLIC"}}
        needed = {one for one in needed if (one.right, one.column) not in direct}
        kept = [f"administrators, by rights on everything: {', '.join(everywhere)}"] if everywhere else []
        kept += [] if me in everywhere else [f"{me}, as whom trueup writes"]
        kept.append("whoever may use a view, routine or trigger that has the rights of one of these")
        columns = {table.source: tuple(table.info.columns)}
        people = {"PUBLIC", *_accounts(session.rows("SELECT User, Host FROM mysql.user"))}
        return Rights(
            frozenset(there), columns, frozenset(people), frozenset({me}), tuple(kept), frozenset() if mine else frozenset(needed)
        )


def _accounts(rows: Iterable[Row]) -> list[str]:
    return sorted({_account(*row[:2]) for row in rows})


def _account(user: str | None, host: str | None) -> str:
    """An account as statements name it; a role has no host."""
    if not host:
        return "PUBLIC" if user == "PUBLIC" else quoted(user or "")
    return f"{quoted(user or '')}@{quoted(host)}"


def _named(given: str | None) -> list[str]:
    """Those rights of a set that can change rows."""
    return [right for one in (given or "").split(",") if (right := one.strip().upper()) in {UPDATE, *_ROWS}]


def _statement(verb: str, rights: Sequence[Right]) -> str:
    one = rights[0]
    columns = f" ({', '.join(quoted(right.column) for right in rights)})" if one.column else ""
    return f"{verb} {one.right}{columns} ON {one.table} {'TO' if verb == 'GRANT' else 'FROM'} {one.who}"
