"""The reference connector: tables in this process's memory, and the smallest code that passes the whole conformance suite.

A `MemoryWorld` is the system. It stays while connectors to it come and go, and whoever holds it sees and edits its tables from outside,
as an application would. What the world can do (`caps`), when its clock ticks, what its columns do to values they store (truncate, round,
re-case), which values it refuses, and whether a listing lags or ends early, can all be set: the simulator plays other systems with it.

Cells are plain Python values: str, int, float, bool, date, datetime (aware UTC for `datetime`, naive for `timestamp`), list[str], and
str for decimal, json, time, binary and other. A column missing from a row's values is absent from that row.
"""

from __future__ import annotations

import re
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, PAGE_ROWS, Page, Reject, join_key, split_key
from trueup.connectors.sql_types import dtype_of
from trueup.errors import ObjectMissingError, ObjectUnreadableError, SystemUnreachableError, UsageError, WriteRefusedError
from trueup.model import Caps, ColumnInfo, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trueup.connectors.base import WriteBatch
    from trueup.model import ColumnType, ObjectSpec

Values = dict[str, Any]

FULL_CAPS = Caps(
    kind="memory", precondition="native", stored_row=True, incremental=True, tombstones=True, find=True, assigns_keys=True
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
        self._world = world
        self._writes = 0
        self._assigned = 0
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
        greatest = 0
        for row in self.rows.values():
            value = row.values.get(self.key[0])
            if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
                greatest = max(greatest, int(value))
        if sequence:
            return greatest + 1
        self._assigned = max(self._assigned, greatest) + 1
        return self._assigned

    def store(self, key: str, values: Values, given: Values) -> MemoryRow:
        """Put a row in place under `key`; `given` are the columns that the writer named."""
        row = self._row(self._stamped(values, values, given=given))
        self._put(key, row)
        return row

    def _put(self, key: str, row: MemoryRow) -> None:
        self.rows[key] = row
        self.tombstones.pop(key, None)

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

    @classmethod
    def named(cls, name: str) -> MemoryWorld:
        """The world of this name, made when it is first asked for."""
        return cls._by_name.setdefault(name, cls())

    @classmethod
    def forget(cls, name: str) -> None:
        """Let go of a world; the next one of this name is new."""
        cls._by_name.pop(name, None)

    def add_table(
        self, name: str, columns: Iterable[MemoryColumn | ColumnInfo], key: Sequence[str], *, modified: str | None = None
    ) -> MemoryTable:
        """Make (or replace) a table."""
        self.tables[name] = MemoryTable(name, columns, key, world=self, modified=modified)
        return self.tables[name]


# ---------------------------------------------------------------- the connector


class MemoryConnector:
    """Reads and writes a `MemoryWorld`. Its `caps` are the world's; `world.down` makes every call raise SystemUnreachableError."""

    def __init__(self, name: str, world: MemoryWorld) -> None:
        """Connect the system called `name` to a world at hand."""
        self.name = name
        self.world = world

    @property
    def caps(self) -> Caps:
        """What the world can do at present."""
        return self.world.caps

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector; `directory` has no meaning here."""
        del directory
        unknown = sorted(settings.keys() - {"world"})
        if unknown:
            message = f"unknown setting {unknown[0]!r} of a memory system"
            raise UsageError(message, hint="it knows `world`", system=name)
        if not isinstance(settings.get("world"), str):
            message = "the setting `world` is missing"
            raise UsageError(message, hint="name the world in memory", system=name)
        return cls(name, MemoryWorld.named(settings["world"]))

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        world = {"type": "string", "title": "World", "description": "Name of the world in this process's memory"}
        return {"type": "object", "properties": {"world": world}, "required": ["world"], "additionalProperties": False}

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        self._check_up()
        return [self._info(table) for table in self.world.tables.values()]

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        table = self._table(obj)
        self._check_columns(table, obj.key)
        return self._info(table)

    def _info(self, table: MemoryTable) -> ObjectInfo:
        columns = {name: column.info for name, column in table.columns.items()}
        return ObjectInfo(
            name=table.name, columns=columns, key=table.key, assigns_key=self.caps.assigns_keys, rows=len(table.rows) + len(table.stray)
        )

    def _check_up(self) -> None:
        if self.world.down is not None:
            raise SystemUnreachableError(self.world.down, hint="wait until it is up again", system=self.name)

    def _table(self, obj: ObjectSpec) -> MemoryTable:
        self._check_up()
        try:
            return self.world.tables[obj.name or ""]
        except KeyError:
            message = f"there is no object {obj.label!r}"
            raise ObjectMissingError(message, hint=f"there are {', '.join(self.world.tables) or 'none'}", system=self.name) from None

    def _check_columns(self, table: MemoryTable, names: Iterable[str]) -> None:
        for name in names:
            if name not in table.columns:
                message = f"{table.name} has no column {name!r}"
                raise ObjectMissingError(message, hint=f"its columns are {', '.join(table.columns)}", system=self.name)

    # ------------------------------------------------------------ reading

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector. Everything is read at the call. A full listing and one since a cursor tell every tombstone there is."""
        table = self._table(obj)
        self._check_columns(table, (*columns, *obj.key, *((obj.modified,) if obj.modified else ())))
        modified = obj.modified if self.caps.incremental else None
        if since is not None and modified is None:
            message = f"{table.name} cannot be read from a cursor"
            raise ObjectUnreadableError(message, hint="name its `modified` column, or read everything", system=self.name)
        with self.world.lock:
            view = table.view(listing=keys is None)
            rejected = self._rejects(table, view, keys)
            rows = self._visible(table, view, keys, rejected)
            gone = self._gone(table, keys)
        times = _Times(table, modified, since)
        if modified is not None and since is not None:
            rows = times.after(rows)
        frame = self._frame(table, rows, columns)
        last = Page(frame[:0], complete=view.complete, rejected=tuple(rejected.values()), gone=gone)
        return iter(_pages(frame, times.cursors(rows, page_rows), page_rows, last))

    def _rejects(self, table: MemoryTable, view: View, keys: Sequence[str] | None) -> dict[Any, Reject]:
        """Rows that cannot be shown, by key text (by their number where even the key is missing)."""
        found: dict[Any, Reject] = {}
        key_columns = ", ".join(table.key)
        for number, row in enumerate(view.stray):
            key = table.key_of(row.values)
            if key is None and keys is None:
                found[number] = Reject(None, f"the key ({key_columns}) is NULL", column=key_columns)
            elif key is not None:
                found[key] = Reject(key, f"the key {key} stands for several rows of {table.name}", column=key_columns)
        for key, row in view.rows.items():
            if row.misfit is not None and key not in found:
                found[key] = Reject(key, f"the value in {row.misfit} does not fit its type", column=row.misfit)
        if keys is not None and found:
            wanted = set(keys)
            return {key: reject for key, reject in found.items() if key in wanted}
        return found

    @staticmethod
    def _visible(
        table: MemoryTable, view: View, keys: Sequence[str] | None, rejected: Mapping[Any, Reject]
    ) -> list[tuple[str, MemoryRow]]:
        del table
        if keys is None:
            return [item for item in view.rows.items() if item[0] not in rejected] if rejected else list(view.rows.items())
        return [(key, view.rows[key]) for key in dict.fromkeys(keys) if key in view.rows and key not in rejected]

    def _gone(self, table: MemoryTable, keys: Sequence[str] | None) -> tuple[str, ...]:
        if not self.caps.tombstones or not table.tombstones:
            return ()
        return tuple(table.tombstones) if keys is None else tuple(key for key in keys if key in table.tombstones)

    def _frame(self, table: MemoryTable, rows: list[tuple[str, MemoryRow]], columns: Sequence[str]) -> pl.DataFrame:
        """Rows in the form of a page."""
        values = [row.values for _, row in rows]
        series = [pl.Series("__key", [key for key, _ in rows], dtype=pl.String)]
        series += [
            pl.Series(name, [row.get(name) for row in values], dtype=dtype_of(table.columns[name].info.type)) for name in columns
        ]
        if self.world.versions:
            series.append(pl.Series("__version", [str(row.version) for _, row in rows], dtype=pl.String))
        if self.world.absent:
            series.append(
                pl.Series("__absent", [[name for name in columns if name not in row] for row in values], dtype=pl.List(pl.String))
            )
        return pl.DataFrame(series)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector. Rows that are rejects are not shown."""
        table = self._table(obj)
        names = values.columns
        self._check_columns(table, (*columns, *names))
        wanted = [_comparable(table, row) for row in values.iter_rows(named=True)]
        with self.world.lock:
            view = table.view(listing=False)
            shown = self._visible(table, view, None, self._rejects(table, view, None))
            rows = [(key, row) for key, row in shown if _comparable(table, {name: row.values.get(name) for name in names}) in wanted]
        return self._frame(table, rows, columns)

    # ------------------------------------------------------------ writing

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        table = self._table(obj)
        self._check_columns(table, (*batch.columns, *batch.returning))
        for name in batch.columns:
            if not table.columns[name].info.writable:
                message = f"{table.name}.{name} cannot be written"
                raise WriteRefusedError(message, hint="map it for reading only", system=self.name)
        expected = {} if batch.expected is None else {row["__op"]: row for row in batch.expected.to_dicts()}
        results = _Results(batch.returning, self.caps.stored_row, self.world.versions)
        with self.world.lock:
            for given in batch.rows.to_dicts():
                op, key, chosen = given.pop("__op"), given.pop("__key"), given.pop("__write", None)
                if batch.kind == "create":
                    self._create(table, obj, op, key, given, results)
                    continue
                written = given if chosen is None else {name: given[name] for name in chosen}
                self._change(table, op, key, None if batch.kind == "delete" else written, expected.get(op), results)
        return results.frame(table)

    def _create(self, table: MemoryTable, obj: ObjectSpec, op: int, key: str | None, given: Values, results: _Results) -> None:
        try:
            values = {**self._new_key(table, obj, key, given), **given}
        except ValueError as error:
            results.add(op, "rejected", key, reason=f"the key cannot be stored: {error}", column=table.key[0])
            return
        taken = table.key_of(values)
        if taken is None:
            results.add(op, "rejected", None, reason="a new row needs a key here", column=table.key[0])
        elif taken in table.rows:
            results.add(op, "rejected", taken, reason=f"a row with the key {taken} exists", column=table.key[0])
        elif refused := table.refusal(values, None):
            results.add(op, "rejected", key, reason=refused[0], column=refused[1])
        else:
            results.add(op, "done", taken, row=table.store(taken, values, values))

    def _new_key(self, table: MemoryTable, obj: ObjectSpec, key: str | None, given: Values) -> Values:
        """Key values that the row does not bring itself. Raises ValueError for a key text that can name no row."""
        if key is not None:
            return table.key_values(key)
        if not self.caps.assigns_keys or all(given.get(name) is not None for name in table.key):
            return {}
        if obj.assign == "uuid":
            return {name: self.world.new_id() for name in table.key}
        number = table.next_number(sequence=obj.assign == "sequence")
        name = table.key[0]
        return {name: number if table.columns[name].info.type == "integer" else str(number)}

    def _change(
        self, table: MemoryTable, op: int, key: str, written: Values | None, expected: Values | None, results: _Results
    ) -> None:
        """One update, or one delete where `written` is None."""
        row = table.rows.get(key)
        if row is None:
            results.add(op, "gone", key, reason="there is no row with this key")
            return
        if key in table.doubled():
            results.add(op, "rejected", key, reason=f"the key {key} stands for several rows", column=table.key[0])
            return
        if expected is not None and self.caps.precondition != "none" and not self._as_expected(row, expected, written):
            results.add(op, "stale", key, reason="the row changed since it was read")
            return
        if self.world.in_window is not None and self.caps.precondition != "native":
            self.world.in_window()
            row = table.rows.get(key)
            if row is None:
                results.add(op, "gone", key, reason="there is no row with this key")
                return
        if written is None:
            table.remove(key)
            results.add(op, "done", key)
        elif refused := table.refusal(written, key):
            results.add(op, "rejected", key, reason=refused[0], column=refused[1])
        else:
            self._apply(table, op, key, row, written, results)

    @staticmethod
    def _apply(table: MemoryTable, op: int, key: str, row: MemoryRow, written: Values, results: _Results) -> None:
        values = {**row.values, **written}
        renamed = table.key_of(values)
        if renamed is None or (renamed != key and renamed in table.rows):
            results.add(op, "rejected", key, reason=f"a row with the key {renamed} exists", column=table.key[0])
            return
        if renamed != key:
            table.remove(key)
        results.add(op, "done", renamed, row=table.store(renamed, values, written))

    def _as_expected(self, row: MemoryRow, expected: Values, written: Values | None) -> bool:
        """Whether the row still has the version and the values last read, null-safely."""
        version = expected.get("__version")
        if self.world.versions and version is not None and version != str(row.version):
            return False
        return all(
            row.values.get(name) == value
            for name, value in expected.items()
            if not name.startswith("__") and (written is None or name in written)
        )

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector."""
        self._check_up()
        if obj.name is None or not obj.create or obj.name in self.world.tables:
            return
        infos = [ColumnInfo(name=name, type=column_type) for name, column_type in columns.items()]  # type: ignore[arg-type]
        self.world.add_table(obj.name, infos, obj.key, modified=obj.modified)

    def close(self) -> None:
        """See base.Connector; the world stays."""


# ---------------------------------------------------------------- small helpers


def _comparable(table: MemoryTable, row: Values) -> tuple[Any, ...]:
    """Values in a form in which equal means equal: decimals by value."""
    return tuple(
        cell_text(value, "decimal") if value is not None and table.columns[name].info.type == "decimal" else value
        for name, value in row.items()
    )


class _Times:
    """What the modified column says in one read. `modified` None: the read is not incremental, and there are no cursors."""

    def __init__(self, table: MemoryTable, modified: str | None, since: str | None) -> None:
        self._name = modified
        self._type: ColumnType = table.columns[modified].info.type if modified is not None else "text"
        self._since = None if since is None or modified is None else native_value(since, self._type)

    def after(self, rows: list[tuple[str, MemoryRow]]) -> list[tuple[str, MemoryRow]]:
        """Rows modified at or after the cursor, in the order of modified, then key; rows without a time are not among them."""
        name = self._name or ""
        found = [(key, row) for key, row in rows if (at := row.values.get(name)) is not None and at >= self._since]
        return sorted(found, key=lambda item: (item[1].values[name], item[0]))

    def cursors(self, rows: list[tuple[str, MemoryRow]], page_rows: int) -> list[str | None]:
        """One cursor a page. A full listing is in no order of time: only its last page knows the newest of all."""
        pages = max(1, -(-len(rows) // page_rows))
        if self._name is None:
            return [None] * pages
        found: list[str | None] = []
        newest = self._since
        for number in range(pages):
            for _, row in rows[number * page_rows : (number + 1) * page_rows]:
                at = row.values.get(self._name)
                newest = at if newest is None or (at is not None and at > newest) else newest
            tells = newest is not None and (self._since is not None or number == pages - 1)
            found.append(cell_text(newest, self._type) if tells else None)
        return found


def _pages(frame: pl.DataFrame, cursors: list[str | None], page_rows: int, last: Page) -> list[Page]:
    """The frame in pages, one for each cursor; `last` brings what is said once: complete, rejected, gone."""
    if len(cursors) == 1:
        return [Page(frame, cursors[0], last.complete, last.rejected, last.gone)]
    pages = [Page(frame.slice(number * page_rows, page_rows), cursor) for number, cursor in enumerate(cursors)]
    return [*pages[:-1], Page(pages[-1].rows, cursors[-1], last.complete, last.rejected, last.gone)]


class _Results:
    """Outcomes column by column, which makes the frame in one go."""

    def __init__(self, returning: tuple[str, ...], stored_row: bool, versions: bool) -> None:  # noqa: FBT001: two facts of the world
        self.returning = returning
        self.stored_row = stored_row
        self.versions = versions
        self.rows: list[tuple[Any, ...]] = []
        self.stored: list[Values | None] = []

    def add(
        self,
        op: int,
        status: str,
        key: str | None,
        *,
        reason: str | None = None,
        column: str | None = None,
        row: MemoryRow | None = None,
    ) -> None:
        """Add one outcome; `row` is the row as stored."""
        version = str(row.version) if row is not None and self.versions else None
        kept = row.values if row is not None and self.stored_row else None
        self.rows.append((op, status, key, version, reason, column, None, kept is not None))
        self.stored.append(kept)

    def frame(self, table: MemoryTable) -> pl.DataFrame:
        """The outcomes in the contract's form."""
        cells = zip(*self.rows, strict=True) if self.rows else ([] for _ in OUTCOME_SCHEMA)
        series = [pl.Series(name, list(part), dtype=dtype) for (name, dtype), part in zip(OUTCOME_SCHEMA.items(), cells, strict=True)]
        series += [
            pl.Series(name, [kept.get(name) if kept else None for kept in self.stored], dtype=dtype_of(table.columns[name].info.type))
            for name in self.returning
        ]
        return pl.DataFrame(series)
