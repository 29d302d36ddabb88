"""Locks in PostgreSQL: triggers after the fact, of which each refuses what others did to the columns of one owner, and says whose they are.

They are called after a change so that they judge what will really be stored, after all other triggers, and so that `INSERT … ON CONFLICT`
is judged by what it does. Their conditions stand in WHEN: for trueup's own writes, and where no locked column changed, nothing is queued.
Values are compared as they are stored, to the byte, whatever a collation takes for equal; numbers as numbers.
https://www.postgresql.org/docs/current/sql-createtrigger.html

A trigger on a partitioned table is made on all of its partitions by the server, but for that of TRUNCATE, which each needs of its own; so
do tables that inherit in the old way. Triggers are not called where `session_replication_role` is `replica`: for what logical replication
brings, and by a superuser who says so.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from trueup.connectors import locking
from trueup.connectors.locking import NAME, LockPlan
from trueup.connectors.postgres_fence import FencedConnector
from trueup.connectors.postgres_tables import PgFacts, literal, quoted
from trueup.errors import AccessRefusedError, ObjectMissingError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psycopg

    from trueup.connectors.sql_read import Table
    from trueup.model import Lock, ObjectSpec

WRITES = "trueup.writes"
"""The setting by which a transaction of ours says what it is; for that transaction alone."""
_PLAIN = {"int2", "int4", "int8", "numeric", "money", "float4", "float8", "bool", "uuid", "date", "timestamptz", "timestamp"}
_BODY = "BEGIN\n    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'insufficient_privilege', HINT = TG_ARGV[1];\nEND"
_PLACE = re.compile(r" ON .*? FOR EACH ", re.DOTALL)
_MARK = "made by trueup: refuses what is changed elsewhere"
_HINT = "change it there: trueup brings it here"

TREE = """
    WITH RECURSIVE tree(oid, place) AS (
        SELECT %s::regclass::oid, ARRAY[0::bigint]
        UNION ALL
        SELECT i.inhrelid, tree.place || i.inhrelid::bigint FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
    )
    SELECT c.oid::bigint, format('%%I.%%I', n.nspname, c.relname), c.relkind, c.relispartition
    FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY tree.place
"""
_MADE = """
    SELECT format('%%I.%%I', n.nspname, c.relname), t.tgname, t.tgenabled, pg_get_triggerdef(t.oid), f.prosrc, t.tgparentid <> 0,
        format('%%I.%%I', fn.nspname, f.proname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace fn ON fn.oid = f.pronamespace
    WHERE t.tgrelid = ANY(%s::oid[]) AND starts_with(t.tgname, %s) AND NOT t.tgisinternal ORDER BY 1, 2
"""


class LockingConnector(FencedConnector):
    """The part of the connector that has to do with locks; see locking.Locking."""

    @abstractmethod
    def _limits(self) -> str:
        """Timeouts for the transaction that has just begun, as SQL."""

    def _held(self) -> str:
        """The transaction in hand says that it is ours, as SQL; see also FencedConnector."""
        return f"SET LOCAL {WRITES} = 'on'; {super()._held()}"

    def lock_plan(self, obj: ObjectSpec, lock: Lock) -> LockPlan:
        """See locking.Locking."""
        table = self._table(obj, fresh=True)
        lock = locking.lockable(table, lock)
        session = self._session()
        with self._errors(), self._read_only(session):
            tree = session.execute(TREE, [table.source]).fetchall()
            login = str(session.execute("SELECT session_user").fetchall()[0][0])
            made = [Made(*row) for row in session.execute(_MADE, [[row[0] for row in tree], NAME])]
            function = f"{_schema_of(table.source)}.{quoted(NAME)}"
            body = session.execute("SELECT prosrc FROM pg_proc WHERE oid = to_regproc(%s)", [function]).fetchone()
        if any(kind == "f" for _oid, _source, kind, _part in tree):
            raise WriteRefusedError(
                f"{table.info.name} has rows on another server, where nothing can be locked from here", system=self.name
            )
        # That of another lock in this schema may be another user's, who alone could replace it.
        make = [*_removal(made), *(_function(function) if body is None or body[0] != _BODY else ())]
        names: list[str] = []
        for _oid, source, _kind, is_partition in tree:
            for name, text in _triggers(table, lock, source, function, login, truncate_only=is_partition):
                names.append(f"DROP TRIGGER IF EXISTS {quoted(name)} ON {source}")
                make.append(text)
        passes = ["what logical replication brings, and whoever turns triggers off (ALTER TABLE, session_replication_role)"]
        return LockPlan(tuple(make), (*names, f"DROP FUNCTION IF EXISTS {function}()"), tuple(passes))

    def lock(self, obj: ObjectSpec, lock: Lock) -> str:
        """See locking.Locking; one transaction."""
        plan = self.lock_plan(obj, lock)
        table, session = self._table(obj), self._session()
        try:
            with self._errors(), session.transaction():
                session.execute(self._limits().encode())
                for statement in plan.make:
                    session.execute(statement.encode())
                found = self._made(session, table)
        except AccessRefusedError as error:
            raise AccessRefusedError(
                f"the lock on {table.info.name} cannot be made: {error.message}",
                hint="grant TRIGGER on the table and CREATE on its schema to this user; or let its owner run what --show shows",
                system=self.name,
            ) from error
        self._tables.clear()
        return _digest(found)

    def locked(self, obj: ObjectSpec) -> str | None:
        """See locking.Locking."""
        table, session = self._table(obj, fresh=True), self._session()
        with self._errors(), self._read_only(session):
            found = self._made(session, table)
        return _digest(found) if found else None

    def unlock(self, obj: ObjectSpec) -> bool:
        """See locking.Locking; one transaction. The function goes with the last lock that uses it."""
        table, session = self._table(obj, fresh=True), self._session()
        with self._errors(), session.transaction():
            session.execute(self._limits().encode())
            found = self._made(session, table)
            for statement in _removal(found):
                session.execute(statement.encode())
            for function in dict.fromkeys(one.function for one in found if one.function):
                used = session.execute("SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgfoid = %s::regproc)", [function]).fetchall()
                if not used[0][0]:
                    session.execute(f"DROP FUNCTION {function}()".encode())
        self._tables.clear()
        return bool(found)

    @staticmethod
    def _made(session: psycopg.Connection[Any], table: Table) -> list[Made]:
        """What there is of a lock, on the table and all that belongs to it; a line without a trigger for each that has none."""
        tree = session.execute(TREE, [table.source]).fetchall()
        found = [Made(*row) for row in session.execute(_MADE, [[row[0] for row in tree], NAME])]
        bare = {str(row[1]) for row in tree} - {one.source for one in found}
        return [*found, *(Made(source) for source in sorted(bare))] if found else []


class Made(NamedTuple):
    """One trigger of a lock as the server shows it; `inherited` goes with that of the table above it."""

    source: str
    name: str = ""
    enabled: str = ""
    text: str = ""
    body: str = ""
    inherited: bool = False
    function: str = ""


def _removal(made: Iterable[Made]) -> list[str]:
    """What removes these triggers."""
    return [f"DROP TRIGGER {quoted(one.name)} ON {one.source}" for one in made if one.name and not one.inherited]


def _digest(made: Iterable[Made]) -> str:
    """What counts: that each trigger fires, when, under which condition, and what it calls.

    Tables of the tree that have the same as most are not named, so that a lock that goes over to a new partition by itself is the same.
    """
    by_source: dict[str, list[tuple[str, ...]]] = {}
    for one in made:
        by_source.setdefault(one.source, []).append((one.name, one.enabled, _PLACE.sub(" ", one.text), one.body))
    kinds: dict[str, list[str]] = {}
    for source, triggers in by_source.items():
        kinds.setdefault(json.dumps(sorted(triggers)), []).append(source)
    usual = max(kinds, key=lambda kind: (len(kinds[kind]), kind))
    return locking.digest((kind, [] if kind == usual else sorted(sources)) for kind, sources in sorted(kinds.items()))


def _schema_of(source: str) -> str:
    """The quoted schema of a quoted name."""
    return source[: source.index('".') + 1]


def _function(function: str) -> list[str]:
    """What refuses, with the words that each trigger brings."""
    return [
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $trueup${_BODY}$trueup$",
        f"COMMENT ON FUNCTION {function}() IS {literal(_MARK)}",
    ]


def _triggers(table: Table, lock: Lock, source: str, function: str, login: str, *, truncate_only: bool) -> Iterator[tuple[str, str]]:
    """Names and texts of the triggers of one table of the tree."""
    others = f"(session_user <> {literal(login)} OR coalesce(current_setting({literal(WRITES)}, true), '') <> 'on')"
    for number, (place, names) in enumerate(lock.by_place().items() if not truncate_only else (), 1):
        changed = " OR ".join(_changed(table, name) for name in names)
        call = f"{function}({literal(locking.refused(names, place))}, {literal(_HINT)})"
        name, when = f"{NAME}_update_{number}", f"FOR EACH ROW WHEN ({others} AND ({changed}))"
        yield (
            name,
            f"CREATE TRIGGER {quoted(name)} AFTER UPDATE ON {source} FOR EACH ROW WHEN ({others} AND ({changed})) EXECUTE FUNCTION {call}",
        )
    if not lock.rows:
        return
    call = f"{function}({literal(locking.rows_refused(lock.rows))}, {literal(_HINT)})"
    if not truncate_only:
        name = f"{NAME}_rows"
        when = f"FOR EACH ROW WHEN ({others})"
        yield name, f"CREATE TRIGGER {quoted(name)} AFTER INSERT OR DELETE ON {source} {when} EXECUTE FUNCTION {call}"
    name = f"{NAME}_truncate"
    when = f"FOR EACH STATEMENT WHEN ({others})"
    yield name, f"CREATE TRIGGER {quoted(name)} BEFORE TRUNCATE ON {source} {when} EXECUTE FUNCTION {call}"


def _changed(table: Table, name: str) -> str:
    facts = table.extra["postgres"]
    if not isinstance(facts, PgFacts):
        raise ObjectMissingError(f"{table.info.name} is a table of another connector")
    old, new = f"OLD.{quoted(name)}", f"NEW.{quoted(name)}"
    if facts.types[name].name in _PLAIN:
        return f"{old} IS DISTINCT FROM {new}"
    return f"record_image_ne(ROW({old}), ROW({new}))"
