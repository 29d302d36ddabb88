"""One object of a connector file made ready: its columns, its key, and the way from a record to the contract's rows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import Reject, join_key
from trueup.connectors.jsonl_text import ABSENT, COMPACT, NumberText, dump
from trueup.connectors.rest.paging import Listing
from trueup.connectors.rest.pointer import at, last_name, parse, place, text_of
from trueup.connectors.rest.schema import ColumnShape
from trueup.connectors.rest.tables import ROW
from trueup.connectors.rest.template import places
from trueup.connectors.rest.values import MisfitError, RestColumn, cells, common
from trueup.connectors.sql_types import cell_text, key_text, key_values
from trueup.errors import ObjectMissingError
from trueup.model import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.pointer import Path
    from trueup.connectors.rest.schema import ObjectShape, WriteShape

SAMPLE_ROWS = 200
MAX_DEPTH = 4


@dataclass(slots=True)
class RestObject:
    """One object of one application. `columns` are known once it was described; `declared` are those that the configuration knows.

    `asked` are the columns that anybody has asked for so far: `${columns}`, for applications that show only what is named. `header`: the
    columns of a table in their order, as it was last seen.
    """

    system: str
    name: str
    shape: ObjectShape
    given: Mapping[str, Any]
    declared: Mapping[str, ColumnShape] = field(default_factory=dict)
    columns: dict[str, RestColumn] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    header: list[str | None] = field(default_factory=list)
    _scope: dict[str, Any] | None = None

    # ---------------------------------------------------------------- facts

    @property
    def scope(self) -> dict[str, Any]:
        """What every request may use: `${secrets.…}`, `${values.…}`, `${object}`, `${columns}`, `${modified}`, `${key_name}`."""
        if self._scope is None:
            names = [last_name(self.columns[name].path) for name in self.asked if name in self.columns and self._is_inside(name)]
            dated = last_name(parse(self.shape.modified)) if self.shape.modified else None
            keyed = last_name(parse(self.shape.key[0]))
            self._scope = {**self.given, "object": self.name, "columns": names or None, "modified": dated, "key_name": keyed}
        return self._scope

    def _is_inside(self, name: str) -> bool:
        """Whether a column stands below the envelope, where the members are that can be asked for by name."""
        path = self.columns[name].path
        return path[: len(self.envelope)] == self.envelope and len(path) > len(self.envelope)

    @property
    def is_table(self) -> bool:
        """Whether rows are lists of cells."""
        return self.shape.read.full.header

    @property
    def envelope(self) -> Path:
        """Where the members of a record stand."""
        return parse(self.shape.envelope)

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key's columns."""
        return tuple(self.name_of(parse(pointer)) for pointer in self.shape.key)

    @property
    def modified(self) -> str | None:
        """The column that dates a row."""
        cursor = self.shape.read.changed.cursor if self.shape.read.changed is not None else None
        pointer = (cursor.field if cursor is not None else None) or self.shape.modified
        return None if pointer is None else self.name_of(parse(pointer))

    @property
    def version(self) -> str | Path | None:
        """Where a row's version stands: `etag` (a header), a path, None where there is none."""
        for write in (self.shape.write.update, self.shape.write.delete):
            if write is not None and write.precondition is not None and not isinstance(write.precondition, str):
                return "etag" if write.precondition.from_ == "etag" else parse(write.precondition.from_)
        return None

    def name_of(self, path: Path) -> str:
        """The column that stands at a path of the record."""
        for name, column in self.shape.columns.items():
            if self._path(name, column.at) == path:
                return name
        if path[: len(self.envelope)] == self.envelope:
            inner = path[len(self.envelope) :]
            return inner[0] if len(inner) == 1 and not inner[0].startswith("/") else text_of(inner)
        return last_name(path) if len(path) == 1 else text_of(path)

    def _path(self, name: str, pointer: str | None) -> Path:
        return parse(pointer) if pointer is not None else (*self.envelope, *(parse(name) if name.startswith("/") else (name,)))

    # ---------------------------------------------------------------- columns

    def learn(self, client: Client) -> None:
        """Find out which columns there are: those of the file, those that the application lists, or those of its first rows."""
        if self.columns:
            return
        found: dict[str, RestColumn] = {}
        for path in (*map(parse, self.shape.key), *([parse(self.shape.modified)] if self.shape.modified else [])):
            name = self.name_of(path)
            is_key = path in map(parse, self.shape.key)
            kind = "text" if is_key else "datetime"
            found[name] = RestColumn(name=name, type=kind, path=path, writable=self._reaches(path))  # type: ignore[arg-type]
        if self.shape.discover is not None:
            found |= self._listed(client)
        elif not self.shape.columns:
            found = self._sampled(client, found)
        said = {**self.shape.columns, **self.declared}
        found |= {name: self._declared(name, shape) for name, shape in said.items()}
        self.columns = {name: found[name] for name in [*(key for key in self.key if key not in said), *said, *found]}

    def _declared(self, name: str, said: ColumnShape) -> RestColumn:
        path = self._path(name, said.at)
        return RestColumn(
            name=name,
            type=said.type,
            path=path,
            format=said.format,
            writable=not said.read_only and self._reaches(path),
            required=said.required,
            clear=said.clear if said.clear is not None else self.shape.clear,
            max_length=said.max_length,
        )

    def _reaches(self, path: Path) -> bool:
        """Whether a write can carry what stands at this path: below the envelope, or where requests hold the whole record or the key."""
        if path[: len(self.envelope)] == self.envelope:
            return True
        used = {found.name.partition(".")[0] for write in self._bodies() for found in places(write)}
        return "record" in used or "row" in used or (path in map(parse, self.shape.key) and bool({"id", "key"} & used))

    def _bodies(self) -> Iterable[Any]:
        write = self.shape.write
        for shape in (write.create, write.update, write.upsert):
            if shape is not None:
                yield from (shape.body, shape.path)
        yield from (bulk.item for bulk in write.bulk.values())

    def _listed(self, client: Client) -> dict[str, RestColumn]:
        shape = self.shape.discover
        assert shape is not None
        found = {}
        for records in Listing(client, shape, self.scope, f"the fields of {self.name} ({shape.method} {shape.path})"):
            for record in records:
                name = at(record, parse(shape.name))
                if not isinstance(name, str):
                    continue
                told = at(record, parse(shape.type)) if shape.type is not None else None
                kind = shape.types.get(str(told), ColumnShape())
                locked = shape.read_only is not None and bool(at(record, parse(shape.read_only)) not in (ABSENT, None, False))
                column = self._declared(name, kind.model_copy(update={"read_only": locked or kind.read_only}))
                found[self.name_of(column.path)] = column
        return found

    def _sampled(self, client: Client, found: dict[str, RestColumn]) -> dict[str, RestColumn]:
        seen: dict[Path, list[Any]] = {}
        rows = 0
        full = self.shape.read.full
        listing = Listing(client, full, self.scope, f"{self.name} ({full.method} {full.path})")
        for records in listing:
            self.header = listing.header
            for record in records[:SAMPLE_ROWS]:
                rows += 1
                for path in map(parse, self.shape.key):
                    seen.setdefault(path, []).append(at(record, path))
                _note(at(record, self.envelope), self.envelope, seen)
            break
        for name in listing.header:
            if name is not None:
                seen.setdefault((*self.envelope, name), [])
        keys = [parse(pointer) for pointer in self.shape.key]
        for path, values in seen.items():
            name = self.name_of(path)
            kind = common([value for value in values if value != self.shape.clear] if self.shape.clear is not None else values)
            if name == self.modified and kind == "text":
                kind = "datetime"
            if path in keys and kind not in {"text", "integer"}:
                kind = "text"
            found[name] = RestColumn(name=name, type=kind, path=path, writable=self._reaches(path), clear=self.shape.clear)
        return found

    def info(self) -> ObjectInfo:
        """The object as the contract tells it."""
        return ObjectInfo(
            name=self.name,
            columns={name: column.info for name, column in self.columns.items()},
            key=self.key,
            kind="resource",
            assigns_key=self.shape.assigns_key,
        )

    def need(self, names: Iterable[str]) -> None:
        """Raises ObjectMissingError for a column that is not there."""
        for name in names:
            if name in self.columns:
                if name not in self.asked:
                    self.asked[name] = None
                    self._scope = None
            else:
                near = difflib.get_close_matches(name, self.columns, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(list(self.columns)[:30])}"
                raise ObjectMissingError(f"{self.name} has no column {name!r}", hint=hint, system=self.system)

    # ---------------------------------------------------------------- keys

    def key_of(self, record: Any) -> str | None:
        """The key text of one record; None where it has none, or one that is no key."""
        parts = []
        for name in self.key:
            column = self.columns[name]
            try:
                value = column.read(at(record, column.path))
            except MisfitError:
                return None
            if value is None:
                return None
            parts.append(self.key_part(name, value))
        return parts[0] if len(parts) == 1 else join_key(parts)

    def key_part(self, name: str, value: Any) -> str:
        """The text of one part of a key; a frame is made only where the text is not plain."""
        kind = self.columns[name].type
        if kind in {"text", "integer"}:
            return str(value)
        return str(pl.select(cell_text(pl.lit(value), kind).cast(pl.String)).item())

    def keys_of(self, records: Sequence[Any], misfits: dict[int, tuple[str, str]]) -> list[str | None]:
        """The key texts of records."""
        if len(self.key) == 1:
            column = self.columns[self.key[0]]
            texts = cells(column, records, misfits)
            return texts.to_list() if column.type == "text" else self._key_texts([texts])
        return self._key_texts([cells(self.columns[name], records, misfits) for name in self.key])

    def _key_texts(self, parts: list[pl.Series]) -> list[str | None]:
        frame = pl.DataFrame({f"k{number}": part for number, part in enumerate(parts)})
        typed = [(f"k{number}", self.columns[name].type) for number, name in enumerate(self.key)]
        return frame.select(key_text(typed)).to_series().to_list()

    def doubled(self, records: Sequence[Any], keys: Sequence[str | None], *, moments: bool = False) -> frozenset[str]:
        """Keys that several different records of one answer have; a record that stands in it twice, the same each time, is one record.

        `moments`: the answer may show a record as it was at several moments, so that records differ where their keys do in JSON. Rows of
        a table are never the same: each has its number.
        """
        if len(set(keys)) == len(keys):
            return frozenset()
        first: dict[str, Any] = {}
        differ = self._differ_in_key if moments else _differ
        return frozenset(
            key for record, key in zip(records, keys, strict=True) if key is not None and differ(first.setdefault(key, record), record)
        )

    @staticmethod
    def is_another(record: Any, others: Sequence[Any]) -> bool:
        """Whether a record is none of those."""
        return all(_differ(record, other) for other in others)

    def _differ_in_key(self, one: Any, other: Any) -> bool:
        return self.kinds_of(one) != self.kinds_of(other)

    def kinds_of(self, record: Any) -> tuple[type, ...]:
        """What JSON has where the key stands, part by part: 1 and "1" are the keys of two records, though both have the text `1`."""
        return tuple([_kind(at(record, self.columns[name].path)) for name in self.key])

    def shown_key(self, record: Any) -> str:
        """The key of a record as it stands there: `id "1"`; in a table its row."""
        if self.is_table:
            return f"row {record.get(ROW)}"
        return ", ".join(f"{name} {dump(at(record, self.columns[name].path), COMPACT)}" for name in self.key)

    def key_parts(self, keys: Sequence[str]) -> list[dict[str, Any] | None]:
        """Key texts as native values by column; None for a text that can name no row here."""
        if len(self.key) == 1 and self.columns[self.key[0]].type == "text":
            return [{self.key[0]: key} if key else None for key in keys]
        types = [self.columns[name].type for name in self.key]
        rows = key_values(pl.Series("key", list(keys), dtype=pl.String), types).rows()
        return [dict(zip(self.key, row, strict=True)) if all(part is not None and part != "" for part in row) else None for row in rows]

    def scope_of(self, key: str, parts: Mapping[str, Any]) -> dict[str, Any]:
        """What requests about one row may use: `${id}`, `${key.NAME}`."""
        spelled = {name: self.columns[name].write(value) for name, value in parts.items()}
        spelled = {name: str(value) if isinstance(value, NumberText) else value for name, value in spelled.items()}
        return {**self.scope, "id": next(iter(spelled.values())) if len(spelled) == 1 else key, "key": spelled}

    # ---------------------------------------------------------------- rows

    def frame(
        self, records: Sequence[Any], columns: Sequence[str], versions: Sequence[str | None] | None
    ) -> tuple[pl.DataFrame, list[Reject]]:
        """Records as rows of a page, and those that are none. Records are objects, each of another key."""
        misfits: dict[int, tuple[str, str]] = {}
        keys = self.keys_of(records, misfits)
        found = {"__key": pl.Series("__key", keys, dtype=pl.String)}
        for name in columns:
            found[name] = cells(self.columns[name], records, misfits)
        if versions is not None:
            found["__version"] = pl.Series("__version", list(versions), dtype=pl.String)
        absent = self._absent(records, columns)
        if absent is not None:
            found["__absent"] = pl.Series("__absent", absent, dtype=pl.List(pl.String))
        rows = pl.DataFrame(found)
        bad = {number for number, key in enumerate(keys) if key is None} | misfits.keys()
        if not bad:
            return rows, []
        return rows.filter(pl.Series([number not in bad for number in range(len(keys))])), [
            self._reject(keys[number], misfits.get(number), records[number]) for number in sorted(bad)
        ]

    def _reject(self, key: str | None, misfit: tuple[str, str] | None, record: Any) -> Reject:
        if key is None:
            names = ", ".join(self.key)
            told = f": {misfit[1]}" if misfit is not None else ""
            members = ", ".join(list(record)[:8]) if isinstance(record, dict) else "none"
            where = f"row {record[ROW]}" if self.is_table else f"record with {members}"
            return Reject(None, f"a record has no key ({names}){told}", where=where, column=names)
        assert misfit is not None
        return Reject(key, f"the value of {misfit[0]} does not fit: {misfit[1]}", column=misfit[0])

    def _absent(self, records: Sequence[Any], columns: Sequence[str]) -> list[list[str]] | None:
        paths = [(name, self.columns[name].path) for name in columns]
        found = [[name for name, path in paths if at(record, path) is ABSENT] for record in records]
        return found if any(found) else None

    def version_of(self, record: Any, etag: str | None = None) -> str | None:
        """A row's version, as a write is told to find it."""
        where = self.version
        if where is None:
            return None
        if where == "etag":
            return etag
        found = at(record, where)  # type: ignore[arg-type]
        return None if found is ABSENT or found is None else str(found)

    def is_gone(self, record: Any) -> bool:
        """Whether a record says of itself that it is deleted."""
        rule = self.shape.gone
        if rule is None:
            return False
        value = at(record, parse(rule.at))
        if rule.equals is not None:
            return value in rule.equals
        return value is not ABSENT and value not in (None, False, "", [], {})

    # ---------------------------------------------------------------- writing

    def members(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Cells as the application spells them: below the envelope (`${fields}`), and from the top of the record (`${record}`).

        Raises MisfitError.
        """
        inside: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        if self.envelope:
            place(whole, self.envelope, inside)
        depth = len(self.envelope)
        for name, value in values.items():
            column = self.columns[name]
            spelled = column.write(value)
            if column.path[:depth] == self.envelope and len(column.path) > depth:
                place(inside, column.path[depth:], spelled)
                if not depth:
                    place(whole, column.path, spelled)
            else:
                place(whole, column.path, spelled)
        return inside, whole

    def write_precondition(self, shape: WriteShape) -> str:
        """`native`, `read_compare` or `none`, as a write declares it; nothing said is read_compare, where rows can be read one by one."""
        if shape.precondition is None:
            return "read_compare"
        return shape.precondition if isinstance(shape.precondition, str) else "native"


def canonical(column: RestColumn, value: Any) -> Any:
    """A cell in a form in which equal means equal."""
    if value is None or column.type != "decimal":
        return value
    return pl.select(cell_text(pl.lit(str(value)), "decimal")).item()


def _kind(value: Any) -> type:
    """Numbers are of one kind, however they are spelled."""
    return float if isinstance(value, NumberText) or type(value) is int else type(value)


def _differ(one: Any, other: Any) -> bool:
    """Whether two JSON values differ; Python takes 1 and true for equal, as well as a number that is kept as text and that text."""
    if one is other:
        return False
    if _kind(one) is not _kind(other):
        return True
    if isinstance(one, dict):
        return one.keys() != other.keys() or any(_differ(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) != len(other) or any(map(_differ, one, other))
    return bool(one != other)


def _note(value: Any, path: Path, seen: dict[Path, list[Any]]) -> None:
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        inner = (*path, str(name))
        if name == ROW:
            continue
        if isinstance(item, dict) and item and len(inner) < MAX_DEPTH:
            _note(item, inner, seen)
        else:
            seen.setdefault(inner, []).append(item)
