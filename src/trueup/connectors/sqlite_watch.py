"""How a SQLite database is watched: by its files, which tell that something was written, or by triggers that note each key.

The library's own `data_version` tells less than the files and needs a connection that stays open, with the locks that come with it (see
sqlite_turns). A transaction in WAL mode may write before it commits: then looking finds nothing yet, and the commit writes again.

Triggers note keys in a table of the database, in the same transaction as the change itself, so that nothing is missed while nobody
watches. What was confirmed is deleted from it. Only with `PRAGMA recursive_triggers` does SQLite call the triggers of a row that INSERT OR
REPLACE pushes out because of another column than its key; otherwise a sweep finds that.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueup.connectors.file_watch import FileWatch, Watched, file_way
from trueup.connectors.sql_read import Select, shape
from trueup.connectors.sql_write import BusyError
from trueup.connectors.sqlite_marks import MarkingConnector
from trueup.connectors.sqlite_rows import PlainRows
from trueup.connectors.sqlite_tables import literal, quoted
from trueup.connectors.sqlite_turns import turn
from trueup.connectors.watching import HINT_KEYS, Hints, Lag, Way, made_name
from trueup.errors import ObjectMissingError, PositionLostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from trueup.connectors.sql_read import Table
    from trueup.connectors.watching import Watch
    from trueup.model import ObjectSpec

SETTING = {
    "type": "string",
    "title": "Watch",
    "description": (
        "how changes are noticed as they happen: events (of the operating system, when the file is written), look (at the file every"
        " second: for network drives), triggers (that are made in the database, and tell which rows), poll (on a schedule only), off; left"
        " out: look on a network drive, else events"
    ),
    "enum": ["events", "look", "triggers", "poll", "off"],
}
_QUIET_S, _LONGEST_S = 0.03, 0.25


@dataclass(frozen=True, slots=True)
class Noted:
    """A table whose changes are noted: what its notes are called, and the objects that it is."""

    tag: str
    table: Table
    objects: tuple[int, ...]


class WatchingConnector(MarkingConnector):
    """The part of the connector that watches; see watching.Watching."""

    watch_setting: str | None = None
    path: Path

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        return self._way(self._resolved(objects)[1])[0]

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching."""
        resolved, unwatched = self._resolved(objects)
        way, events = self._way(unwatched)
        if not way.pushes:
            raise UsageError(f"this system is not watched: {way.why}", hint="set `watch` for it", system=self.name)
        self.unwatch_others(made_name(name), keep=way.how == "triggers")
        paths = (self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-journal"))
        watched = Watched(paths=paths, objects=tuple(resolved))
        files = FileWatch(self.name, way, [watched], events=events, quiet_s=_QUIET_S, longest_s=_LONGEST_S)
        return TriggerWatch(self, made_name(name), way, files, _noted(resolved), since) if way.how == "triggers" else files

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching."""
        self.unwatch_others(made_name(name), keep=False)

    def unwatch_others(self, made: str, *, keep: bool) -> None:
        """Remove the triggers and the table of notes of this name, unless they are to be kept."""
        if keep or not self.path.exists():
            return
        names = [name for name, _ in self.triggers_of(made)]
        if names or self.asked("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", [made]):
            self.run([*(f"DROP TRIGGER {quoted(name)}" for name in names), f"DROP TABLE IF EXISTS {quoted(made)}"])

    def _way(self, unwatched: Mapping[int, str]) -> tuple[Way, bool]:
        if self.watch_setting != "triggers":
            way, events = file_way(self.watch_setting, [self.path])
            return Way(way.how, way.why, unwatched=unwatched), events
        _, events = file_way(None, [self.path])
        return Way("triggers", "the settings say so", durable=True, unwatched=unwatched), events

    def _resolved(self, objects: Sequence[ObjectSpec]) -> tuple[dict[int, Table], dict[int, str]]:
        found: dict[int, Table] = {}
        unwatched: dict[int, str] = {}
        for index, obj in enumerate(objects):
            try:
                table = self._table(obj, fresh=True)
            except ObjectMissingError as error:
                unwatched[index] = f"{error.message}: {error.hint}" if error.hint else error.message
                continue
            if self.watch_setting == "triggers" and (table.info.kind != "table" or not table.key):
                unwatched[index] = f"{table.info.name} is no table with a key, and has no triggers; it is read on a schedule"
                continue
            found[index] = table
        return found, unwatched

    # ------------------------------------------------------------ for the watch by triggers

    def asked(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with turn(self.path, self), self._errors():
            rows: list[tuple[Any, ...]] = self._reader().execute(sql, values).fetchall()
            return rows

    def keys_of(self, noted: Noted, notes: str) -> list[str] | None:
        """The key texts of the notes that a query gives, under the names of the key columns; None where one cannot be told."""
        select = Select(noted.table, ())
        with turn(self.path, self), self._errors():
            shaped = shape(select, PlainRows.of(select, self._reader(), f"SELECT DISTINCT {select.outputs} FROM ({notes}) AS t"))
        return None if shaped.rejected else shaped.rows.get_column("__key").to_list()

    def run(self, statements: Sequence[str]) -> None:
        """Carry out statements in one transaction."""
        with turn(self.path, self), self._transaction():
            for statement in statements:
                self._writer().execute(statement)

    def triggers_of(self, made: str) -> list[tuple[str, str]]:
        """Names and texts of the triggers of a watch."""
        rows = self.asked(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?", [len(made) + 1, f"{made}_"]
        )
        return [(str(name), str(text)) for name, text in rows]

    @abstractmethod
    def _reader(self) -> Any:
        """The connection that reads."""

    @abstractmethod
    def _writer(self) -> Any:
        """The connection that writes."""

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]:
        """The driver's errors as ours."""

    @abstractmethod
    def rest(self) -> None:
        """See sqlite_turns.Guest."""


def _noted(resolved: Mapping[int, Table]) -> list[Noted]:
    """The tables and keys to note; objects that are the same share their notes."""
    by_tag: dict[str, Noted] = {}
    for index, table in resolved.items():
        tag = hashlib.sha256(json.dumps([table.source, *table.key]).encode()).hexdigest()[:12]
        others = by_tag[tag].objects if tag in by_tag else ()
        by_tag[tag] = Noted(tag, table, (*others, index))
    return list(by_tag.values())


class TriggerWatch:
    """See watching.Watch. A position is `[number of the last note, tag of each table …]`."""

    def __init__(
        self, connector: WatchingConnector, made: str, way: Way, files: FileWatch, noted: Sequence[Noted], since: str | None
    ) -> None:
        """Make what is missing. Raises SystemError_'s children."""
        self.way = way
        self._connector = connector
        self._made = made
        self._files = files
        self._noted = list(noted)
        self._lock = threading.Lock()
        self._unconfirmed_since: float | None = None
        try:
            self._begin(since)
        except BaseException:
            files.close()
            raise

    def _begin(self, since: str | None) -> None:
        there = self._connector.asked("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", [self._made])
        kept, *known = json.loads(since) if since is not None else [0]
        if since is not None and (not there or self._last() < kept):
            raise PositionLostError(
                f"the notes {self._made} of what changed are gone, or the file is older than it was",
                hint="everything is looked at once, and watched from then on",
                system=self._connector.name,
            )
        made_now = self._make(has_notes=bool(there))
        self._told = self._confirmed = self._deleted = int(kept) if since is not None else self._last()
        self._dirty = True
        self.fresh = frozenset(index for one in self._noted if one.tag not in known or one.tag in made_now for index in one.objects)
        self.position: str | None = self._place(self._told)

    def _last(self) -> int:
        """The number of the newest note that ever was."""
        rows = self._connector.asked("SELECT seq FROM sqlite_sequence WHERE name = ?", [self._made]) if self._has_sequences() else []
        return int(rows[0][0]) if rows else 0

    def _has_sequences(self) -> bool:
        return bool(self._connector.asked("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"))

    def _place(self, number: int) -> str:
        return json.dumps([number, *(one.tag for one in self._noted)])

    def _make(self, *, has_notes: bool) -> set[str]:
        """Make the table of notes and the triggers, remove those that are not wanted any more; the tags of those made now."""
        wanted = {name: (one.tag, text) for one in self._noted for name, text in self._triggers(one)}
        there = dict(self._connector.triggers_of(self._made))
        width = max((len(one.table.key) for one in self._noted), default=1)
        statements = [f"DROP TRIGGER {quoted(name)}" for name, text in there.items() if wanted.get(name, ("", ""))[1] != text]
        columns = {row[1] for row in self._connector.asked(f"PRAGMA table_info({quoted(self._made)})")}
        if not has_notes:
            listed = ", ".join(f"k{number}" for number in range(width))
            statements.append(f"CREATE TABLE {quoted(self._made)} (id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL, {listed})")
        else:
            missing = [f"k{number}" for number in range(width) if f"k{number}" not in columns]
            statements.extend(f"ALTER TABLE {quoted(self._made)} ADD COLUMN {name}" for name in missing)
        statements.extend(text for name, (_tag, text) in wanted.items() if there.get(name) != text)
        if statements:
            self._connector.run(statements)
        return {tag for name, (tag, text) in wanted.items() if there.get(name) != text}

    def _triggers(self, noted: Noted) -> Iterator[tuple[str, str]]:
        """Names and texts of the triggers of one table."""
        names = [quoted(name) for name in noted.table.key]
        into = f"INSERT INTO {quoted(self._made)} (tag, {', '.join(f'k{number}' for number in range(len(names)))})"
        new, old = (f"SELECT {literal(noted.tag)}, {', '.join(f'{row}.{name}' for name in names)}" for row in ("NEW", "OLD"))
        moved = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in names)
        bodies = {"INSERT": f"{into} {new};", "DELETE": f"{into} {old};", "UPDATE": f"{into} {old} WHERE {moved}; {into} {new};"}
        table = (noted.table.target or "").rpartition('".')[2] or noted.table.target
        for event, body in bodies.items():
            name = f"{self._made}_{noted.tag}_{event.lower()}"
            yield name, f"CREATE TRIGGER {quoted(name)} AFTER {event} ON {table} FOR EACH ROW BEGIN {body} END"

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        until_s = time.monotonic() + timeout_s
        while True:
            self._forget()
            hints = self._read() if self._dirty else None
            left_s = until_s - time.monotonic()
            if hints is not None or left_s <= 0:
                return hints
            if self._files.wait(min(left_s, _LONGEST_S) if self._dirty else left_s) is not None:
                self._dirty = True
            elif time.monotonic() < until_s and not self._dirty:
                return None  # somebody woke us

    def _read(self) -> Hints | None:
        """The notes that were not told yet, as many as are told at once."""
        notes = quoted(self._made)
        try:
            asked = f"SELECT max(id) FROM (SELECT id FROM {notes} WHERE id > ? ORDER BY id LIMIT {HINT_KEYS})"
            last = self._connector.asked(asked, [self._told])[0][0]
            if last is None:
                self._dirty = False
                return None
            keys: dict[int, tuple[str, ...] | None] = {}
            for one in self._noted:
                cells = ", ".join(f"k{number} AS {quoted(name)}" for number, name in enumerate(one.table.key))
                picked = f"SELECT {cells} FROM {notes} WHERE tag = {literal(one.tag)} AND id > {self._told} AND id <= {last}"
                found = self._connector.keys_of(one, picked)
                if found is None or found:
                    keys.update(dict.fromkeys(one.objects, None if found is None else tuple(found)))
        except BusyError:
            return None  # a large write has the file; it is looked at again
        self._told = int(last)
        if keys and self._unconfirmed_since is None:
            self._unconfirmed_since = time.monotonic()
        return Hints(keys, self._place(self._told))

    def confirm(self, position: str) -> None:
        """See watching.Watch. The notes are deleted by the next wait, or at the close."""
        with self._lock:
            self._confirmed = max(self._confirmed, int(json.loads(position)[0]))
            if self._confirmed >= self._told:
                self._unconfirmed_since = None

    def _forget(self) -> None:
        """Delete the notes that were confirmed; later, where the file is just being written."""
        if self._confirmed > self._deleted:
            confirmed = self._confirmed
            with suppress(BusyError):
                self._connector.run([f"DELETE FROM {quoted(self._made)} WHERE id <= {confirmed}"])
                self._deleted = confirmed

    def lag(self) -> Lag:
        """See watching.Watch."""
        since = self._unconfirmed_since
        return Lag(seconds=None if since is None else time.monotonic() - since)

    def wake(self) -> None:
        """See watching.Watch."""
        self._files.wake()

    def close(self) -> None:
        """See watching.Watch."""
        self._forget()
        self._files.close()
