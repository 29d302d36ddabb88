"""The reference connector: reads and writes a `MemoryWorld`, and is the smallest code that passes the whole conformance suite."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, PAGE_ROWS, PART_BYTES, Page, Part, Reject
from trueup.connectors.memory_marks import ContentMarks
from trueup.connectors.memory_watch import MemoryWatch
from trueup.connectors.memory_world import (
    FULL_CAPS,
    MemoryColumn,
    MemoryRow,
    MemoryTable,
    MemoryWorld,
    Moment,
    Values,
    View,
    cell_text,
    native_value,
    recased,
    rounded,
    stripped,
    truncated,
)
from trueup.connectors.sql_types import dtype_of
from trueup.connectors.watching import Way
from trueup.errors import ObjectMissingError, ObjectUnreadableError, SystemUnreachableError, UsageError, WriteRefusedError
from trueup.model import ColumnInfo, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trueup.connectors.base import WriteBatch
    from trueup.model import Caps, ColumnType, ObjectSpec

__all__ = [
    "FULL_CAPS",
    "MemoryColumn",
    "MemoryConnector",
    "MemoryRow",
    "MemoryTable",
    "MemoryWorld",
    "recased",
    "rounded",
    "stripped",
    "truncated",
]

_ROW_BYTES = 100  # what a row is taken to weigh
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = _EPOCH.replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)


class MemoryConnector:
    """Reads and writes a `MemoryWorld`. Its `caps` are the world's; `world.down` makes every call raise SystemUnreachableError."""

    def __init__(self, name: str, world: MemoryWorld) -> None:
        """Connect the system called `name` to a world at hand."""
        self.name = name
        self.world = world
        self._written: dict[str, list[int]] = {}  # by table, the numbers of the rows written and told since its last mark
        self._contents = ContentMarks()

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
            if keys is not None:
                self._contents.ask(table.name, keys)
            elif since is None:
                self._contents.listed(table, view.rows)
            rejected = self._rejects(table, view, keys, columns)
            rows = self._visible(view, keys, rejected)
            gone = self._gone(table, keys)
        times = _Times(table, modified, since)
        if modified is not None and since is not None:
            rows = times.after(rows)
        frame = self._frame(table, rows, columns)
        last = Page(frame, complete=view.complete, rejected=tuple(rejected.values()), gone=gone)
        return iter(_pages(times.cursors(rows, page_rows), page_rows, last))

    @contextmanager
    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> Iterator[Sequence[Part]]:
        """See base.Parted."""
        table = self._table(obj)
        with self.world.lock:
            view = table.view(listing=True)
            kept = Moment(View(dict(view.rows), list(view.stray), view.complete), self._gone(table, None))
            moment = self.world.keep(kept)
        step = max(1, min(part_bytes // _ROW_BYTES, -(-len(kept.view.rows) // count)))
        try:
            yield [Part(moment, f"{start}-{start + step}") for start in range(0, max(len(kept.view.rows), 1), step)]
        finally:
            self.world.moments.pop(moment, None)

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted. A reject is in the part of the row whose key it has, or else in the first."""
        table = self._table(obj)
        self._check_columns(table, (*columns, *obj.key, *((obj.modified,) if obj.modified else ())))
        kept = self.world.moments.get(part.moment)
        if kept is None:
            raise ObjectUnreadableError("what this part was to show is not kept any more", hint="read anew", system=self.name)
        start, _, end = part.place.partition("-")
        rows = dict(islice(kept.view.rows.items(), int(start), int(end)))
        left = [(row, table.key_of(row.values)) for row in kept.view.stray]
        stray = [row for row, key in left if key in rows or (start == "0" and key not in kept.view.rows)]
        view = View(rows, stray, kept.view.complete)
        rejected = self._rejects(table, view, None, columns)
        shown = self._visible(view, None, rejected)
        gone = kept.gone if start == "0" else ()
        last = Page(self._frame(table, shown, columns), complete=view.complete, rejected=tuple(rejected.values()), gone=gone)
        times = _Times(table, obj.modified if self.caps.incremental else None, None)
        return iter(_pages(times.cursors(shown, page_rows), page_rows, last))

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        table = self._table(obj)
        self._check_columns(table, columns)
        with self.world.lock:
            view = table.view(listing=True)
            rows = [*view.rows.values(), *view.stray]
        rejected = tuple(
            Reject(None, f"the value in {row.misfit} does not fit its type", column=row.misfit) for row in rows if row.misfit in columns
        )
        shown = [("", row) for row in rows if row.misfit not in columns]
        frame = self._frame(table, shown, columns).select(columns)
        pages = [Page(part) for part in frame.iter_slices(page_rows)] or [Page(frame)]
        return iter([*pages[:-1], replace(pages[-1], complete=view.complete, rejected=rejected)])

    def clock(self) -> datetime:
        """See base.Timed."""
        self._check_up()
        return self.world.clock()

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking: the number of the newest row of this very table. None while readings lag behind."""
        table = self._table(obj)
        self._written[table.name] = []
        with self.world.lock:
            if self.caps.marks_once:
                return None if table.lagging else self._contents.announce(table.name)
            return None if table.lagging else table.mark

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking: the numbers of the rows that were put in place here."""
        if self.caps.marks_once:
            return self._contents.mark(obj.name or "", mark)
        return f"{mark}:{','.join(map(str, self._written.get(obj.name or '', [])))}"

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking. A lagging reading promises nothing."""
        table = self._table(obj)
        with self.world.lock:
            if table.lagging:
                return None
            if self.caps.marks_once:
                known = self._contents.same(table, mark)
                still = frozenset(known or ())
                touched = None if known is None else [key for key in table.rows if key not in still]
            else:
                touched = table.touched_since(mark) if table.knows(mark) else None
            if touched is None:
                return None
            pages = list(self.read(obj, columns))
        same = pl.concat([page.rows.get_column("__key") for page in pages])
        same = same.filter(~same.is_in(touched))
        rest = [replace(page, rows=page.rows.filter(pl.col("__key").is_in(touched))) for page in pages]
        return iter([*rest[:-1], replace(rest[-1], same=same)])

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        self._check_up()
        unwatched = {number: f"there is no object {obj.label!r}" for number, obj in enumerate(objects) if obj.name not in self.world.tables}
        return Way("memory", "memory tells every change", durable=True, unwatched=unwatched)

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> MemoryWatch:
        """See watching.Watching."""
        return MemoryWatch(self.name, self.world, self.way(objects), [obj.name or "" for obj in objects], name, since)

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching."""
        self._check_up()
        with self.world.lock:
            self.world.watched.pop(name, None)

    def _rejects(self, table: MemoryTable, view: View, keys: Sequence[str] | None, columns: Sequence[str]) -> dict[Any, Reject]:
        """Rows of which these columns cannot be shown, by key text (by their number where even the key is missing)."""
        found: dict[Any, Reject] = {}
        key_columns = ", ".join(table.key)
        for number, row in enumerate(view.stray):
            key = table.key_of(row.values)
            if key is None and keys is None:
                found[number] = Reject(None, f"the key ({key_columns}) is NULL", column=key_columns)
            elif key is not None:
                found[key] = Reject(key, f"the key {key} stands for several rows of {table.name}", column=key_columns)
        for key, row in view.rows.items():
            if row.misfit in columns and key not in found:
                found[key] = Reject(key, f"the value in {row.misfit} does not fit its type", column=row.misfit)
        if keys is not None and found:
            wanted = set(keys)
            return {key: reject for key, reject in found.items() if key in wanted}
        return found

    @staticmethod
    def _visible(view: View, keys: Sequence[str] | None, rejected: Mapping[Any, Reject]) -> list[tuple[str, MemoryRow]]:
        if keys is None:
            return [item for item in view.rows.items() if item[0] not in rejected] if rejected else list(view.rows.items())
        return [(key, view.rows[key]) for key in dict.fromkeys(keys) if key in view.rows and key not in rejected]

    def _gone(self, table: MemoryTable, keys: Sequence[str] | None) -> tuple[str, ...]:
        if not self.caps.tombstones or not table.tombstones:
            return ()
        return tuple(table.tombstones) if keys is None else tuple(key for key in keys if key in table.tombstones)

    def _frame(self, table: MemoryTable, rows: list[tuple[str, MemoryRow]], columns: Sequence[str]) -> pl.DataFrame:
        """Rows in the form of a page; `__absent` only where something is absent."""
        values = [row.values for _, row in rows]
        series = [pl.Series("__key", [key for key, _ in rows], dtype=pl.String)]
        series += [_column(name, [row.get(name) for row in values], table.columns[name].info.type) for name in columns]
        if self.world.versions:
            series.append(pl.Series("__version", [str(row.version) for _, row in rows], dtype=pl.String))
        absent = [[name for name in columns if name not in row] for row in values] if self.world.absent else []
        if any(absent):
            series.append(pl.Series("__absent", absent, dtype=pl.List(pl.String)))
        return pl.DataFrame(series)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector. Rows that are rejects are not shown."""
        table = self._table(obj)
        names = values.columns
        self._check_columns(table, (*columns, *names))
        wanted = {_comparable(table, row) for row in values.to_dicts()}
        with self.world.lock:
            view = table.view(listing=False)
            shown = self._visible(view, None, self._rejects(table, view, None, columns))
            rows = [(key, row) for key, row in shown if _comparable(table, {name: row.values.get(name) for name in names}) in wanted]
            self._contents.ask(table.name, [key for key, _row in rows])
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
        results = _Results(batch.returning, stored_row=self.caps.stored_row, versions=self.world.versions)
        with self.world.writing(batch.lane, batch.may_land, self.name):
            for given in batch.rows.to_dicts():
                op, key, chosen = given.pop("__op"), given.pop("__key"), given.pop("__write", None)
                if batch.kind == "create":
                    self._create(table, obj, op, key, given, results)
                    continue
                written = given if chosen is None else {name: given[name] for name in chosen}
                self._change(table, op, key, None if batch.kind == "delete" else written, expected.get(op), results)
        self._written.get(table.name, []).extend(results.numbers)
        outcomes = results.frame(table)
        self._contents.ask(table.name, [*batch.rows["__key"].drop_nulls(), *outcomes["__key"].drop_nulls()])
        return outcomes

    def end_writes(self, lane: str) -> None:
        """See base.Fenced."""
        self.world.end_writes(lane)

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

    def _change(self, table: MemoryTable, op: int, key: str, written: Values | None, expected: Values | None, results: _Results) -> None:
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
        cell_text(value, "decimal")
        if value is not None and table.columns[name].info.type == "decimal"
        else tuple(value)
        if isinstance(value, list)
        else value
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


def _pages(cursors: list[str | None], page_rows: int, whole: Page) -> list[Page]:
    """The whole read in pages, one for each cursor; the last brings what is said once: complete, rejected, gone."""
    if len(cursors) == 1:
        return [Page(whole.rows, cursors[0], whole.complete, whole.rejected, whole.gone)]
    pages = [Page(whole.rows.slice(number * page_rows, page_rows), cursor) for number, cursor in enumerate(cursors)]
    return [*pages[:-1], Page(pages[-1].rows, cursors[-1], whole.complete, whole.rejected, whole.gone)]


def _column(name: str, values: list[Any], column_type: ColumnType) -> pl.Series:
    """A column of cells. Times go in as numbers: Polars takes 20 times as long to look at datetime objects."""
    if column_type not in {"datetime", "timestamp"}:
        return pl.Series(name, values, dtype=dtype_of(column_type))
    start = _EPOCH if column_type == "datetime" else _EPOCH_NAIVE
    microseconds = [None if value is None else (value - start) // _MICROSECOND for value in values]
    return pl.Series(name, microseconds, dtype=pl.Int64).cast(dtype_of(column_type))


class _Results:
    """Outcomes column by column, which makes the frame in one go."""

    def __init__(self, returning: tuple[str, ...], *, stored_row: bool, versions: bool) -> None:
        self.returning = returning
        self.stored_row = stored_row
        self.versions = versions
        self.rows: list[tuple[Any, ...]] = []
        self.stored: list[Values | None] = []
        self.numbers: list[int] = []  # of the rows told as stored

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
        self.numbers += [row.version] if row is not None and kept is not None else []

    def frame(self, table: MemoryTable) -> pl.DataFrame:
        """The outcomes in the contract's form."""
        cells = zip(*self.rows, strict=True) if self.rows else ([] for _ in OUTCOME_SCHEMA)
        series = [pl.Series(name, list(part), dtype=dtype) for (name, dtype), part in zip(OUTCOME_SCHEMA.items(), cells, strict=True)]
        series += [
            _column(name, [kept.get(name) if kept else None for kept in self.stored], table.columns[name].info.type)
            for name in self.returning
        ]
        return pl.DataFrame(series)
