"""Locks in MySQL and MariaDB: triggers that refuse what others did to the columns of another owner, and say whose they are.

Trueup's own sessions say so by a variable, and must have the login with which the lock was made. Triggers are called after a change, so
that `INSERT … ON DUPLICATE KEY UPDATE` is judged by what it does; in a table without transactions (MyISAM) before it, where what is refused
later would stay. The server calls no triggers for TRUNCATE, which needs the right to DROP, and for what foreign keys do by themselves.
Each statement is committed for itself: a lock that was broken off is completed by making it again.
https://dev.mysql.com/doc/refman/8.0/en/create-trigger.html, https://mariadb.com/kb/en/create-trigger/
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pymysql

from trueup.connectors import locking
from trueup.connectors.locking import NAME, LockPlan
from trueup.connectors.mysql_fence import FencedConnector
from trueup.connectors.mysql_tables import MyFacts, quoted, sql_column
from trueup.errors import AccessRefusedError, ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.connectors.mysql_session import Row
    from trueup.connectors.sql_read import Table
    from trueup.model import Lock, ObjectSpec

_MOST_WORDS = 128  # characters of MESSAGE_TEXT
_NEEDS_TRUST = 1419  # the binary log is on, and the user is no administrator
_OTHERS = "NOT (@trueup_writes <=> 1 AND LEFT(USER(), CHAR_LENGTH(USER()) - LOCATE('@', REVERSE(USER()))) = {login})"


class LockingConnector(FencedConnector):
    """The part of the connector that has to do with locks; see locking.Locking."""

    def lock_plan(self, obj: ObjectSpec, lock: Lock) -> LockPlan:
        """See locking.Locking."""
        table = self._table(obj, fresh=True)
        lock = locking.lockable(table, lock)
        wanted = list(self._triggers(table, lock))
        there = [str(row[0]) for row in self._made(table)]
        schema = table.source.partition("`.")[0] + "`"
        make = (*(f"DROP TRIGGER {schema}.{quoted(name)}" for name in there), *(text for _name, text in wanted))
        remove = tuple(f"DROP TRIGGER IF EXISTS {schema}.{quoted(name)}" for name, _text in wanted)
        passes = ["TRUNCATE, which needs the right to DROP the table", "what foreign keys change by themselves (CASCADE, SET NULL)"]
        return LockPlan(make, remove, tuple(passes if lock.rows else ["REPLACE of a row that is there", *passes[1:]]))

    def lock(self, obj: ObjectSpec, lock: Lock) -> str:
        """See locking.Locking; statement by statement."""
        plan, session = self.lock_plan(obj, lock), self._session()
        for statement in plan.make:
            try:
                session.run(statement)
            except pymysql.Error as error:
                known = self._trouble(error)
                if isinstance(known, AccessRefusedError) or error.args[:1] == (_NEEDS_TRUST,):
                    raise AccessRefusedError(
                        f"the lock on {self._table(obj).info.name} cannot be made: {known.message}",
                        hint="grant TRIGGER on the table to this user (where the server keeps a binary log: set"
                        " log_bin_trust_function_creators); or let an administrator run what --show shows",
                        system=self.name,
                    ) from error
                raise known from error
        return self.locked(obj) or ""

    def locked(self, obj: ObjectSpec) -> str | None:
        """See locking.Locking."""
        there = self._made(self._table(obj, fresh=True))
        return locking.digest(there) if there else None

    def unlock(self, obj: ObjectSpec) -> bool:
        """See locking.Locking; statement by statement."""
        table, session = self._table(obj, fresh=True), self._session()
        there = self._made(table)
        schema = table.source.partition("`.")[0] + "`"
        with self._errors():
            for row in there:
                session.run(f"DROP TRIGGER IF EXISTS {schema}.{quoted(str(row[0]))}")
        return bool(there)

    def _made(self, table: Table) -> list[Row]:
        """What there is of a lock: name, event, timing, definer and text of each trigger."""
        session = self._session()
        schema, name = names_of(table)
        with self._errors():
            return list(
                session.rows(
                    "SELECT TRIGGER_NAME, EVENT_MANIPULATION, ACTION_TIMING, ACTION_STATEMENT FROM information_schema.TRIGGERS"
                    f" WHERE EVENT_OBJECT_SCHEMA = {session.text(schema)} AND EVENT_OBJECT_TABLE = {session.text(name)}"
                    f" AND LEFT(TRIGGER_NAME, {len(NAME) + 1}) = '{NAME}_' ORDER BY 1"
                )
            )

    def _triggers(self, table: Table, lock: Lock) -> Iterator[tuple[str, str]]:
        """Names and texts of the triggers of a lock."""
        session = self._session()
        schema, name = names_of(table)
        with self._errors():
            login = str(session.rows("SELECT LEFT(USER(), CHAR_LENGTH(USER()) - LOCATE('@', REVERSE(USER())))")[0][0])
            engines = session.rows(
                "SELECT e.TRANSACTIONS FROM information_schema.TABLES t JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE"
                f" WHERE t.TABLE_SCHEMA = {session.text(schema)} AND t.TABLE_NAME = {session.text(name)}"
            )
        timing = "AFTER" if engines and engines[0][0] == "YES" else "BEFORE"
        others = _OTHERS.format(login=session.text(login))
        begin = f"{quoted(schema)}.{quoted(f'{NAME}_{hashlib.sha256(name.encode()).hexdigest()[:12]}')}"
        cases = []
        for place, names in lock.by_place().items():
            changed = " OR ".join(_changed(table, column) for column in names)
            cases.append(f"IF {changed} THEN {self._refusal(locking.refused(names, place))} END IF;")
        events = {"update": " ".join(cases)} if cases else {}
        if lock.rows:
            refusal = self._refusal(locking.rows_refused(lock.rows))
            events |= {"insert": refusal, "delete": refusal}
        for event, body in events.items():
            trigger = f"{begin[:-1]}_{event}`"
            text = (
                f"CREATE TRIGGER {trigger} {timing} {event.upper()} ON {table.target} FOR EACH ROW"
                f" BEGIN IF {others} THEN {body} END IF; END"
            )
            yield trigger.rpartition("`.`")[2].rstrip("`"), text

    def _refusal(self, words: str) -> str:
        said = words if len(words) <= _MOST_WORDS else f"{words[: _MOST_WORDS - 1]}…"
        return f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {self._session().text(said)};"


def names_of(table: Table) -> tuple[str, str]:
    """Schema and name of a table, plain."""
    schema, _, name = table.source.partition("`.`")
    return schema[1:].replace("``", "`"), name[:-1].replace("``", "`")


def _changed(table: Table, name: str) -> str:
    """Whether a column was changed, text to the byte."""
    facts: Any = table.extra["mysql"]
    if not isinstance(facts, MyFacts):
        raise ObjectMissingError(f"{table.info.name} is a table of another connector")
    info = table.column(name).info
    old, new = (sql_column(info, facts.natives[name], row=row).compare for row in ("OLD.", "NEW."))
    return f"NOT ({old} <=> {new})"
