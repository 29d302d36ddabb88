"""Rights in PostgreSQL: who may change what in a table, its partitions and what inherits from it, and exchanging such rights.

Rights on a table include those on all of its columns, and taking the one takes the others; a right is taken by whoever gave it. A server
that is asked to take what one may not take says so in a notice at most, so what came of it is looked at before it is committed.
https://www.postgresql.org/docs/current/ddl-priv.html, https://www.postgresql.org/docs/current/sql-revoke.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from trueup.connectors import locking
from trueup.connectors.postgres_lock import TREE, LockingConnector
from trueup.connectors.postgres_needs import permissions
from trueup.connectors.postgres_tables import quoted
from trueup.core.rights import ROWS, UPDATE, Right, Rights, statements
from trueup.errors import AccessRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import psycopg

    from trueup.connectors.needing import Need, Permissions
    from trueup.connectors.sql_read import Table
    from trueup.model import Lock, ObjectSpec

_GIVEN = """
    WITH given(oid, owner, attname, acl) AS (
        SELECT c.oid, c.relowner, '', coalesce(c.relacl, acldefault('r', c.relowner)) FROM pg_class c WHERE c.oid = ANY(%(tables)s::oid[])
        UNION ALL
        SELECT c.oid, c.relowner, a.attname, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.oid = ANY(%(tables)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL
    )
    SELECT format('%%I.%%I', n.nspname, c.relname), CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
        x.privilege_type, given.attname, CASE x.grantor WHEN given.owner THEN '' ELSE quote_ident(pg_get_userbyid(x.grantor)) END,
        x.is_grantable, x.grantee = 0 OR pg_has_role(session_user, x.grantee, 'USAGE')
    FROM given JOIN pg_class c ON c.oid = given.oid JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(given.acl) x
    WHERE x.grantee <> given.owner AND x.privilege_type = ANY(%(rights)s)
"""
_COLUMNS = """
    SELECT format('%%I.%%I', n.nspname, c.relname), a.attname FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_POWERS = """
    SELECT quote_ident(session_user), ARRAY(SELECT quote_ident(rolname) FROM pg_roles),
        (SELECT rolsuper FROM pg_roles WHERE rolname = session_user),
        ARRAY(SELECT DISTINCT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = ANY(%(tables)s::oid[]) ORDER BY 1),
        (SELECT bool_and(pg_has_role(session_user, relowner, 'USAGE')) FROM pg_class WHERE oid = ANY(%(tables)s::oid[])),
        ARRAY(SELECT quote_ident(rolname) FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY 1),
        ARRAY(SELECT quote_ident(m.rolname) FROM pg_roles m JOIN pg_auth_members am ON am.member = m.oid
            JOIN pg_roles r ON r.oid = am.roleid WHERE r.rolname = 'pg_write_all_data' ORDER BY 1)
"""


class GrantingConnector(LockingConnector):
    """The part of the connector that has to do with rights; see locking.Granting."""

    def permissions(self, needs: Sequence[Need]) -> Permissions:
        """See needing.KnowsPermissions."""
        tables = [(need, self._table(need.obj, fresh=True)) for need in needs]
        session = self._session()
        with self._errors(), self._read_only(session):
            return permissions(session, tables)

    def rights(self, obj: ObjectSpec, lock: Lock) -> Rights:
        """See locking.Granting."""
        table = self._table(obj, fresh=True)
        locking.lockable(table, lock)
        session = self._session()
        with self._errors(), self._read_only(session):
            return self._rights(session, table)

    def rights_statements(self, now: Collection[Right], then: Collection[Right]) -> list[str]:
        """See locking.Granting."""
        return statements(now, then, _statement)

    def exchange_rights(self, obj: ObjectSpec, now: Collection[Right], then: Collection[Right]) -> None:
        """See locking.Granting; one transaction."""
        table, session = self._table(obj), self._session()
        less, more = frozenset(now) - frozenset(then), frozenset(then) - frozenset(now)
        try:
            with self._errors(), session.transaction():
                session.execute(self._limits().encode())
                before = self._rights(session, table).there
                for statement in self.rights_statements(now, then):
                    session.execute(statement.encode())
                if self._rights(session, table).there != before - less | more:
                    _refuse("this login may not take or give all of them")
        except AccessRefusedError as error:
            raise AccessRefusedError(
                f"rights on {table.info.name} cannot be exchanged: {error.message}",
                hint=f"let {' or '.join(self._owners(session, table))}, who owns it, run what --show shows",
                system=self.name,
            ) from error
        self._tables.clear()

    def _rights(self, session: psycopg.Connection[Any], table: Table) -> Rights:
        tables = [row[0] for row in session.execute(TREE, [table.source]).fetchall()]
        asked = {"tables": tables, "rights": [UPDATE, *sorted(ROWS)]}
        login, people, is_super, owners, owns, supers, writers = session.execute(_POWERS, asked).fetchall()[0]
        there, through = set(), set()
        for source, who, right, column, by, passed_on, ours in session.execute(_GIVEN, asked).fetchall():
            there.add(Right(source, who, right, column, by, passed_on))
            if ours and who != login:
                through.add(Right(source, login, right, column))
        mine = {(one.table, one.right, one.column) for one in there if one.who == login}
        needed = frozenset(one for one in through if (one.table, one.right, one.column) not in mine)
        columns: dict[str, tuple[str, ...]] = {}
        for source, name in session.execute(_COLUMNS, [tables]).fetchall():
            columns[source] = (*columns.get(source, ()), name)
        kept = [f"{' and '.join(owners)}, who owns it", *([f"superusers: {', '.join(supers)}"] if supers else ())]
        kept += [f"members of pg_write_all_data: {', '.join(writers)}"] if writers else []
        kept += [] if login in (*owners, *supers) else [f"{login}, as whom trueup writes"]
        kept.append("whoever may use a view or function that has the rights of one of these")
        return Rights(
            frozenset(there),
            columns,
            frozenset({"PUBLIC", *people}),
            frozenset({login}),
            tuple(kept),
            frozenset() if is_super or owns else needed,
        )

    def _owners(self, session: psycopg.Connection[Any], table: Table) -> list[str]:
        with self._errors(), self._read_only(session):
            tables = [row[0] for row in session.execute(TREE, [table.source]).fetchall()]
            return list(session.execute(_POWERS, {"tables": tables}).fetchall()[0][3])


def _refuse(why: str) -> NoReturn:
    raise AccessRefusedError(why)


def _statement(verb: str, rights: Sequence[Right]) -> str:
    """One statement; of a right that somebody else than the owner gave, in the name of whoever did."""
    one = rights[0]
    columns = f" ({', '.join(quoted(right.column) for right in rights)})" if one.column else ""
    option = " WITH GRANT OPTION" if verb == "GRANT" and one.passed_on else ""
    text = f"{verb} {one.right}{columns} ON {one.table} {'TO' if verb == 'GRANT' else 'FROM'} {one.who}{option}"
    return f"SET LOCAL ROLE {one.by}; {text}; RESET ROLE" if one.by else text
