"""Locks in SQLite: triggers after the fact, of which each refuses what others did to the columns of one owner, and says whose they are.

SQLite knows no users and no settings of a session that a trigger can see. So trueup's own transactions open a gate: the one row of the
table `trueup_lock` says so from their first statement to their last. As nobody sees into another's transaction, it is shut for all others,
always, and shut again by whatever ends a transaction half-way.

They are called after a change so that `INSERT … ON CONFLICT` is judged by what it does. SQLite calls no trigger for rows that `INSERT OR
REPLACE` pushes out, unless `PRAGMA recursive_triggers` says so: where rows may be added here, that way around stays open, and what it
changes is overruled. https://www.sqlite.org/lang_createtrigger.html
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from trueup.connectors import locking
from trueup.connectors.locking import NAME, LockPlan
from trueup.connectors.sqlite_tables import SqliteFacts, quoted
from trueup.connectors.sqlite_turns import turn
from trueup.connectors.sqlite_watch import WatchingConnector
from trueup.errors import WriteRefusedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from trueup.connectors.sql_read import Table
    from trueup.model import Lock, ObjectSpec

GATE = f"CREATE TABLE IF NOT EXISTS {quoted(NAME)} (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), open INTEGER NOT NULL)"
SHUT = f"INSERT OR IGNORE INTO {quoted(NAME)} VALUES (1, 0)"
_HAS_GATE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
_TRIGGERS = (
    "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND substr(name, 1, ?) = ? ORDER BY 1"
)


class LockingConnector(WatchingConnector):
    """The part of the connector that has to do with locks; see locking.Locking."""

    def lock_plan(self, obj: ObjectSpec, lock: Lock) -> LockPlan:
        """See locking.Locking."""
        table = self._table(obj, fresh=True)
        lock = locking.lockable(table, lock)
        facts = table.extra["sqlite"]
        if not table.source.startswith('"main".') or (isinstance(facts, SqliteFacts) and self._is_virtual(table)):
            raise WriteRefusedError(f"{table.info.name} is a table that can have no triggers", system=self.name)
        there = self._there_of(table)
        wanted = list(_triggers(table, lock))
        make = [GATE, SHUT, *(f"DROP TRIGGER {quoted(name)}" for name, _text in there), *(text for _name, text in wanted)]
        remove = [f"DROP TRIGGER IF EXISTS {quoted(name)}" for name, _text in wanted]
        passes = [] if lock.rows else ["INSERT OR REPLACE of a row that is there"]
        return LockPlan(tuple(make), tuple(remove), tuple(passes))

    def lock(self, obj: ObjectSpec, lock: Lock) -> str:
        """See locking.Locking; one transaction."""
        self.run(self.lock_plan(obj, lock).make)
        return self.locked(obj) or ""

    def locked(self, obj: ObjectSpec) -> str | None:
        """See locking.Locking."""
        there = self._there_of(self._table(obj, fresh=True))
        if not there:
            return None
        gate = self.asked("SELECT sql FROM sqlite_schema WHERE name = ?", [NAME])
        shut = bool(gate) and self.asked(f"SELECT only_row, open FROM {quoted(NAME)}") == [(1, 0)]
        return locking.digest([*there, gate, shut])

    def unlock(self, obj: ObjectSpec) -> bool:
        """See locking.Locking; one transaction. The gate goes with the last lock."""
        there = self._there_of(self._table(obj, fresh=True))
        with turn(self.path, self), self._transaction():
            writer: sqlite3.Connection = self._writer()
            for name, _text in there:
                writer.execute(f"DROP TRIGGER {quoted(name)}")
            left = writer.execute(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?", _named()
            ).fetchone()
            if not left[0]:
                writer.execute(f"DROP TABLE IF EXISTS {quoted(NAME)}")
        self._tables.clear()
        return bool(there)

    @staticmethod
    def _open_gate(writer: sqlite3.Connection) -> None:
        """At the beginning of a transaction of ours: others do not see it."""
        if writer.execute(_HAS_GATE, (NAME,)).fetchone():
            writer.execute(f"UPDATE {quoted(NAME)} SET open = 1")

    @staticmethod
    def _shut_gate(writer: sqlite3.Connection) -> None:
        """At its end."""
        if writer.execute(_HAS_GATE, (NAME,)).fetchone():
            writer.execute(f"UPDATE {quoted(NAME)} SET open = 0")

    def _there_of(self, table: Table) -> list[tuple[Any, ...]]:
        return self.asked(_TRIGGERS, [_name_of(table), *_named()])

    def _is_virtual(self, table: Table) -> bool:
        return bool(self.asked("SELECT 1 FROM sqlite_schema WHERE name = ? AND sql LIKE 'CREATE VIRTUAL %'", [_name_of(table)]))


def _named() -> tuple[int, str]:
    """How names of a lock's triggers begin: how many characters, and which."""
    return len(NAME) + 1, f"{NAME}_"


def _name_of(table: Table) -> str:
    """The plain name of a table of the main database."""
    return table.source.removeprefix('"main".')[1:-1].replace('""', '"')


def _triggers(table: Table, lock: Lock) -> Iterator[tuple[str, str]]:
    """Names and texts of the triggers of a lock."""
    name = _name_of(table)
    tag = hashlib.sha256(name.encode()).hexdigest()[:8]
    shut = f"NOT EXISTS (SELECT 1 FROM {quoted(NAME)} WHERE open = 1)"
    for number, (place, names) in enumerate(lock.by_place().items(), 1):
        # The stored values themselves: a column's collation may take different texts for the same, and 1 is not '1'.
        changed = " OR ".join(
            f"{old} IS NOT {new} COLLATE BINARY OR typeof({old}) <> typeof({new})"
            for old, new in ((f"OLD.{quoted(column)}", f"NEW.{quoted(column)}") for column in names)
        )
        yield _trigger(f"{NAME}_{tag}_update_{number}", "UPDATE", name, f"({changed}) AND {shut}", locking.refused(names, place))
    for event in ("INSERT", "DELETE") if lock.rows else ():
        yield _trigger(f"{NAME}_{tag}_{event.lower()}", event, name, shut, locking.rows_refused(lock.rows))


def _trigger(name: str, event: str, table: str, when: str, says: str) -> tuple[str, str]:
    words = says.replace("'", "''")
    refuses = f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
    return name, f"CREATE TRIGGER {quoted(name)} AFTER {event} ON {quoted(table)} FOR EACH ROW WHEN {when} {refuses}"
