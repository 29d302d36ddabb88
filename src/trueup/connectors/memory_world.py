"""The system behind the memory connector: tables in this process's memory, with the manners that the simulator gives them.

A `MemoryWorld` stays while connectors to it come and go, and whoever holds it sees and edits its tables from outside, as an application
would. What the world can do (`caps`), when its clock ticks, what its columns do to values they store (truncate, round, re-case), which
values it refuses, and whether a listing lags or ends early, can all be set.

Cells are plain Python values: str, int, float, bool, date, datetime (aware UTC for `datetime`, naive for `timestamp`), list[str], and
str for decimal, json, time, binary and other. A column missing from a row's values is absent from that row.
"""

from __future__ import annotations

import re
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING, Any, ClassVar

from trueup.connectors.base import join_key, split_key
from trueup.errors import SystemUnreachableError
from trueup.model import Caps, ColumnInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from trueup.model import ColumnType

Values = dict[str, Any]

FULL_CAPS = Caps(
    kind="memory",
    precondition="native",
    stored_row=True,
    incremental=True,
    marks=True,
    parts=True,
    tombstones=True,
    find=True,
    assigns_keys=True,
    takes_keys=True,
    atomic=True,
    fences=True,
    watch=True,
    browses=True,
    clock=True,
)
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_CLASSES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "float": (float, int),
    "boolean": bool,
    "date": date,
    "datetime": datetime,
    "timestamp": datetime,
    "list": list,
}


# ---------------------------------------------------------------- cells and keys


def cell_text(value: Any, column_type: ColumnType) -> str:
    """The canonical text of a cell that is not null: the form of key parts and cursors."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds").rstrip("0").removesuffix(".")
        return f"{text}Z" if column_type == "datetime" else text
    if isinstance(value, date):
        return value.isoformat()
    if column_type == "decimal":
        text = str(value)
        return (text.rstrip("0").removesuffix(".") or "0") if "." in text else text
    return ";".join(value) if isinstance(value, list) else str(value)


def native_value(text: str, column_type: ColumnType) -> Any:
    """The cell that a canonical text stands for. Raises ValueError where it cannot be the text of such a cell."""
    match column_type:
        case "integer":
            if _INTEGER.fullmatch(text):
                return int(text)
            message = f"{text!r} is no whole number"
            raise ValueError(message)
        case "float":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text] if text in {"true", "false"} else _no(text)
        case "date":
            return date.fromisoformat(text)
        case "datetime":
            return datetime.fromisoformat(text).astimezone(UTC)
        case "timestamp":
            return datetime.fromisoformat(text)
        case _:
            return text


def _no(text: str) -> Any:
    message = f"{text!r} is neither true nor false"
    raise ValueError(message)


def _whole(value: Any) -> int:
    """A key's number; 0 where it is none."""
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else 0


def _fits(value: Any, column_type: ColumnType) -> bool:
    """Whether a cell has the type that its column declares; null and absent always fit."""
    if value is None:
        return True
    if column_type == "decimal":
        return isinstance(value, str) and _DECIMAL.fullmatch(value) is not None
    wanted = _CLASSES.get(column_type, str)
    return isinstance(value, wanted) and (column_type == "boolean") == isinstance(value, bool)


# ---------------------------------------------------------------- what a column may do to what it stores


def truncated(length: int) -> Callable[[Any], Any]:
    """Keeps the first `length` characters."""
    return lambda value: value[:length] if isinstance(value, str) else value


def rounded(places: int) -> Callable[[Any], Any]:
    """Rounds decimals and floats to `places`, half-even."""

    def store(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, places)
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            with localcontext(prec=60):
                return f"{Decimal(value).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN):f}"
        return value

    return store


def recased(value: Any) -> Any:
    """Stores text in upper case."""
    return value.upper() if isinstance(value, str) else value


def stripped(value: Any) -> Any:
    """Drops spaces around text."""
    return value.strip() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryColumn:
    """A column and its manners.

    `stores` gives the value that is kept for one that was given; `refuses` says why a value is not taken (None: it is). `unique` refuses
    a value that another row has. `info.nullable`, `info.max_length` and `info.writable` are enforced.
    """

    info: ColumnInfo
    unique: bool = False
    stores: Callable[[Any], Any] | None = None
    refuses: Callable[[Any], str | None] | None = None

    def refusal(self, value: Any) -> str | None:
        """Why this column does not take `value`; None when it does."""
        if value is None:
            return None if self.info.nullable else f"{self.info.name} must not be null"
        if not _fits(value, self.info.type):
            return f"{self.info.name} takes {self.info.type} only"
        if self.info.max_length is not None and isinstance(value, str) and len(value) > self.info.max_length:
            return f"{self.info.name} takes at most {self.info.max_length} characters"
        return self.refuses(value) if self.refuses else None


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One stored row, never changed in place. `misfit` names a column whose value has not the declared type; None: all fit."""

    values: Values
    version: int
    misfit: str | None = None


@dataclass(slots=True)
class View:
    """What one read sees. `complete` is False where rows were held back."""

    rows: dict[str, MemoryRow]
    stray: list[MemoryRow]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Moment:
    """What a shared reading shows, however long it takes: the rows, and the keys told to be deleted."""

    view: View
    gone: tuple[str, ...]


class MemoryTable:
    """One object. `rows` is key text -> row; `stray` holds rows whose key is NULL, and further rows of a key that exists already."""

    def __init__(
        self,
        name: str,
        columns: Iterable[MemoryColumn | ColumnInfo],
        key: Sequence[str],
        *,
        world: MemoryWorld,
        modified: str | None = None,
    ) -> None:
        """Make an empty table; `modified` names the column that every write stamps with the world's clock."""
        wrapped = (column if isinstance(column, MemoryColumn) else MemoryColumn(info=column) for column in columns)
        self.columns = {column.info.name: column for column in wrapped}
        self.name = name
        self.key = tuple(key)
        self.modified = modified
        self.rows: dict[str, MemoryRow] = {}
        self.stray: list[MemoryRow] = []
        self.tombstones: dict[str, None] = {}
        self.stamps: Callable[[datetime], Any] | None = None
        """What the modified column keeps of a moment, where it is neither a `datetime` nor a `timestamp` in UTC."""
        self._world = world
        self._made = uuid.uuid4().hex
        self._writes = 0
        self._assigned = 0
        self._greatest: int | None = None
        self._lag: tuple[int, View] | None = None
        self._held_back: tuple[int, int] | None = None

    # ------------------------------------------------------------ from outside, as an application or a person edits

    def insert(self, values: Values) -> str | None:
        """Add a row as it is, whatever its key; returns the key text, None for a NULL key."""
        with self._world.lock:
            key = self.key_of(values)
            row = self._row(self._stamped(values, {}))
            if key is None or key in self.rows:
                self.stray.append(row)
            else:
                self._put(key, row)
            return key

    def edit(self, key: str, values: Values) -> None:
        """Change columns of a row; a changed key column renames it. Raises KeyError when it is not there."""
        with self._world.lock:
            old = self.rows[key].values
            row = self._row(self._stamped({**old, **values}, old, given=values))
            renamed = self.key_of(row.values)
            if renamed != key:
                self.remove(key)
                if renamed is None or renamed in self.rows:
                    self.stray.append(row)
                    return
            self._put(str(renamed), row)

    def remove(self, key: str) -> None:
        """Delete a row, leaving a tombstone; of a doubled key one row remains. Raises KeyError when it is not there."""
        with self._world.lock:
            del self.rows[key]
            self._greatest = None
            self._world.tell(self.name, key)
            for row in self.stray:
                if self.key_of(row.values) == key:
                    self.stray.remove(row)
                    self.rows[key] = row
                    return
            self.tombstones[key] = None

    def values(self) -> dict[str, Values]:
        """A copy of all rows with a proper key: key text -> values."""
        with self._world.lock:
            return {key: dict(row.values) for key, row in self.rows.items()}

    def touch(self, keys: Iterable[str] | None = None) -> None:
        """Stamp rows (all, or those named) as modified now without changing a value, as a bulk job of an application does."""
        for key in list(self.rows) if keys is None else keys:
            self.edit(key, {})

    def lag(self, reads: int) -> None:
        """The next `reads` reads, listings and reads by key alike, show the table as it is now. Writes are not delayed."""
        with self._world.lock:
            self._lag = (reads, View(dict(self.rows), list(self.stray))) if reads else None

    def hold_back(self, rows: int, listings: int = 1) -> None:
        """The next `listings` listings end `rows` rows early and say that they are not complete."""
        self._held_back = (listings, rows) if listings else None

    # ------------------------------------------------------------ for the connector

    @property
    def lagging(self) -> bool:
        """Whether reads show an earlier time."""
        return self._lag is not None

    @property
    def mark(self) -> str:
        """This table and how many rows were ever put into it."""
        return f"{self._made}:{self._writes}"

    def knows(self, mark: str) -> bool:
        """Whether a mark is of this table."""
        return mark.startswith(f"{self._made}:")

    def touched_since(self, mark: str) -> list[str]:
        """Keys of the rows that were put in place after a mark, but for those whose numbers it names."""
        number, _, own = mark.partition(":")[2].partition(":")
        named = set(own.split(","))
        return [key for key, row in self.rows.items() if row.version > int(number) and str(row.version) not in named]

    def key_of(self, values: Values) -> str | None:
        """The key text of a row's values; None where a key column is null or absent."""
        parts = []
        for name in self.key:
            value = values.get(name)
            if value is None:
                return None
            parts.append(cell_text(value, self.columns[name].info.type))
        return join_key(parts)

    def key_values(self, key: str) -> Values:
        """The native key values of a key text. Raises ValueError where it can name no row."""
        parts = split_key(key, len(self.key))
        return {name: native_value(part, self.columns[name].info.type) for name, part in zip(self.key, parts, strict=True)}

    def view(self, *, listing: bool) -> View:
        """What a read sees now."""
        view = View(self.rows, self.stray)
        if self._lag:
            left, view = self._lag
            self._lag = (left - 1, view) if left > 1 else None
        if listing and self._held_back:
            left, rows = self._held_back
            self._held_back = (left - 1, rows) if left > 1 else None
            kept = list(view.rows.items())[: max(0, len(view.rows) - rows)]
            return View(dict(kept), view.stray, complete=False)
        return view

    def doubled(self) -> set[str]:
        """Key texts that stand for several rows."""
        return {key for row in self.stray if (key := self.key_of(row.values)) is not None} if self.stray else set()

    def refusal(self, given: Values, key: str | None) -> tuple[str, str] | None:
        """Why the row `key` (None: a new one) does not take these values, and the column at fault; None when it does."""
        for name, value in given.items():
            column = self.columns[name]
            reason = column.refusal(value)
            if reason is None and column.unique and value is not None:
                stored = self._kept(name, value)
                taken = any(row.values.get(name) == stored for other, row in self.rows.items() if other != key)
                reason = f"{name} must be unique, and another row has this value" if taken else None
            if reason:
                return reason, name
        if key is not None:
            return None
        for name, column in self.columns.items():
            if not column.info.nullable and not column.info.has_default and given.get(name) is None:
                return f"{name} must not be null", name
        return None

    def next_number(self, *, sequence: bool) -> int:
        """A key for a new row: one more than the greatest (sequence), or the next of a counter that never goes back."""
        greatest = self._greatest_key()
        if sequence:
            return greatest + 1
        self._assigned = max(self._assigned, greatest) + 1
        return self._assigned

    def _greatest_key(self) -> int:
        """The greatest number among the keys, 0 where there is none. It is looked for anew only after a row has gone."""
        if self._greatest is None:
            self._greatest = max((_whole(row.values.get(self.key[0])) for row in self.rows.values()), default=0)
        return self._greatest

    def store(self, key: str, values: Values, given: Values) -> MemoryRow:
        """Put a row in place under `key`; `given` are the columns that the writer named."""
        row = self._row(self._stamped(values, values, given=given))
        self._put(key, row)
        return row

    def _put(self, key: str, row: MemoryRow) -> None:
        if self._greatest is not None:
            self._greatest = max(self._greatest, _whole(row.values.get(self.key[0])))
        self.rows[key] = row
        self.tombstones.pop(key, None)
        self._world.tell(self.name, key)

    def _row(self, values: Values) -> MemoryRow:
        self._writes += 1
        misfit = next((name for name, value in values.items() if not _fits(value, self.columns[name].info.type)), None)
        return MemoryRow(values, self._writes, misfit)

    def _kept(self, name: str, value: Any) -> Any:
        stores = self.columns[name].stores
        return stores(value) if stores and value is not None else value

    def _stamped(self, values: Values, old: Values, given: Values | None = None) -> Values:
        """Values as the columns keep them, with the modified column set by the clock unless it was given."""
        kept = {name: self._kept(name, value) for name, value in values.items()}
        name = self.modified
        if name is not None and name not in (values if given is None else given):
            now = self._world.clock()
            if self.stamps is not None:
                kept[name] = self.stamps(now)
            else:
                kept[name] = now if self.columns[name].info.type == "datetime" else now.replace(tzinfo=None)
        for name_, column in self.columns.items():
            if name_ not in kept and name_ not in old and not self._world.absent:
                kept[column.info.name] = None
        return kept


class MemoryWorld:
    """One system in memory, found by name in this process for as long as it is not forgotten."""

    _by_name: ClassVar[dict[str, MemoryWorld]] = {}

    def __init__(self, caps: Caps = FULL_CAPS, *, clock: Callable[[], datetime] | None = None) -> None:
        """Make a world that no name leads to; `named` makes one that connectors can open.

        `clock` gives aware UTC times, `new_id` the keys of `assign: uuid`. `versions`: rows carry a native version. `absent`: columns not
        given to a new row are absent from it instead of null. `down`: every call fails with this text. `in_window` runs between the
        comparison and the write of a world whose precondition is not native, so that somebody can edit just then.
        """
        self.caps = caps
        self.clock = clock or (lambda: datetime.now(UTC))
        self.new_id: Callable[[], str] = lambda: str(uuid.uuid4())
        self.versions = True
        self.absent = False
        self.down: str | None = None
        self.in_window: Callable[[], None] | None = None
        self.tables: dict[str, MemoryTable] = {}
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.watched: dict[str, list[tuple[int, str, str, datetime]]] = {}
        """By the name of a watch: number, table, key and time of each change that it has not confirmed."""
        self.begun: dict[object, str] = {}
        """Writes that are not over, each with its lane; one that was ended is not among them any more."""
        self.moments: dict[str, Moment] = {}
        """By name, what readings that are shared show."""
        self._changes = 0
        self._held: list[tuple[str, str]] | None = None

    @classmethod
    def named(cls, name: str) -> MemoryWorld:
        """The world of this name, made when it is first asked for."""
        return cls._by_name.setdefault(name, cls())

    @classmethod
    def forget(cls, name: str) -> None:
        """Let go of a world; the next one of this name is new."""
        cls._by_name.pop(name, None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done in the block is told to watches at its end. Readers see it at once, other than in a database."""
        self._held = []
        try:
            yield
        finally:
            with self.lock:
                held, self._held = self._held or [], None
                for table, key in held:
                    self.tell(table, key)

    @contextmanager
    def writing(self, lane: str, may_land: Callable[[], None] | None, system: str) -> Iterator[None]:
        """Change the tables in a block, unless that was ended meanwhile, or `may_land` raises."""
        write = object()
        with self.lock:
            self.begun[write] = lane
        try:
            if may_land is not None:
                may_land()
            with self.lock:
                if write not in self.begun:
                    raise SystemUnreachableError(
                        "somebody ended this write before it was done", hint="nothing is to be done", system=system
                    )
                yield
        finally:
            with self.lock:
                self.begun.pop(write, None)

    def keep(self, moment: Moment) -> str:
        """A name for what a shared reading shows, good until it is taken out of `moments`."""
        name = uuid.uuid4().hex
        self.moments[name] = moment
        return name

    def end_writes(self, lane: str) -> None:
        """No write of this lane that has begun changes anything any more."""
        with self.lock:
            self.begun = {write: name for write, name in self.begun.items() if name != lane}

    def tell(self, table: str, key: str) -> None:
        """Note a change for every watch."""
        with self.lock:
            if self._held is not None:
                self._held.append((table, key))
            elif self.watched:
                self._changes += 1
                now = datetime.now(UTC)
                for waiting in self.watched.values():
                    waiting.append((self._changes, table, key, now))
                self.changed.notify_all()

    def add_table(
        self, name: str, columns: Iterable[MemoryColumn | ColumnInfo], key: Sequence[str], *, modified: str | None = None
    ) -> MemoryTable:
        """Make (or replace) a table."""
        self.tables[name] = MemoryTable(name, columns, key, world=self, modified=modified)
        return self.tables[name]
