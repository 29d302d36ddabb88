"""One reading of a JSON Lines file: typed columns from its objects; the reverse, values put into their text, for writing.

A file declares no types, so a column's type is what all of its values have in common:

    text      only texts; or a mixture of texts, numbers and booleans (each then shown as its text); or no value at all
    integer   only whole numbers of at most 64 bits      decimal   only numbers, else      boolean   only true and false
    list      only arrays of texts                       json      anything else
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import Reject, join_key
from trueup.connectors.filebase import BLOCK_BYTES
from trueup.connectors.filerows import MAX_RECORD_BYTES, CellRefusedError, Chunk, Piece, Reading
from trueup.connectors.jsonl_text import (
    ABSENT,
    COMPACT,
    DEFAULT,
    NumberText,
    Style,
    column_name,
    dump,
    is_number,
    look_up,
    parse_line,
    parse_text,
    plain_digits,
    pointer,
    put,
    style_of,
)
from trueup.core.cells import KEY
from trueup.errors import ObjectUnreadableError
from trueup.model import ColumnInfo, ColumnType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BOM = b"\xef\xbb\xbf"
MAX_DEPTH = 8
DECLARABLE: tuple[ColumnType, ...] = ("text", "integer", "decimal", "boolean", "list", "json")

_ESCAPED = re.compile(rb"\\u(?!00[0-7])")
_SCALARS = {str, int, bool, NumberText}
_POLARS: dict[ColumnType, pl.DataType] = {"integer": pl.Int64(), "boolean": pl.Boolean(), "list": pl.List(pl.String())}


def _kind(value: Any) -> type:
    """The kind of a value that is not null: its type, with `dict` for arrays that hold more than texts."""
    if type(value) is list:
        return list if all(type(item) is str for item in value) else dict
    return type(value)


def _fits(kind: type, declared: ColumnType) -> bool:
    """Whether a value of this kind belongs in a column of a declared type."""
    if declared == "text":
        return kind in _SCALARS
    usual: dict[str, set[type]] = {"integer": {int}, "decimal": {int, NumberText}, "boolean": {bool}, "list": {list}}
    return declared == "json" or kind in usual[declared]


def common_type(kinds: set[type]) -> ColumnType:
    """The type of a column that holds values of these kinds (see the module's text)."""
    if kinds == {int}:
        return "integer"
    if kinds and kinds <= {int, NumberText}:
        return "decimal"
    if kinds == {bool}:
        return "boolean"
    if kinds == {list}:
        return "list"
    return "text" if kinds <= _SCALARS else "json"


@dataclass(slots=True, kw_only=True)
class JsonlReading(Reading):
    """One reading of a JSON Lines file."""

    declared: Mapping[str, ColumnType] = field(default_factory=dict)
    style: Style = DEFAULT
    _end_of_line: bytes = b"\n"
    _kinds: dict[tuple[str, ...], set[type]] = field(default_factory=dict)
    _bad_lines: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Find all records and keys, and what type each column has."""
        self.shows_absent = True
        self.columns = {name: ColumnInfo(name=name, type=kind) for name, kind in self.declared.items()}
        self._scan()
        found = {column_name(path): common_type(kinds) for path, kinds in self._kinds.items()}
        self.columns = {  # in the order in which the file has them, those that are only declared last
            name: ColumnInfo(name=name, type=kind) for name, kind in {**found, **self.declared}.items()
        }

    # ---------------------------------------------------------------- finding records

    def _scan(self) -> None:
        self.source.seek(0)
        start = len(BOM) if self.source.read(len(BOM)) == BOM else 0
        position, line, row, need = start, 1, 0, BLOCK_BYTES
        self.end = position
        keys: list[str | None] = []
        shapes: dict[tuple[tuple[str, ...], tuple[type, ...]], None] = {}
        escaped, beyond_ascii = False, False
        while True:
            self.source.seek(position)
            data = self.source.read(need)
            if not data:
                break
            size = len(data) if len(data) < need else data.rfind(b"\n") + 1
            if not size:
                need = self._more(need, line)
                continue
            data = data[:size]
            escaped = escaped or _ESCAPED.search(data) is not None
            beyond_ascii = beyond_ascii or not data.isascii()
            if position == start:
                self._end_of_line = b"\r\n" if data.count(b"\r\n") * 2 > data.count(b"\n") else b"\n"
            before = len(keys)
            lines = self._scan_chunk(data, position, line, keys, shapes)
            self.chunks.append(Chunk(position, size, line, lines, row, len(keys) - before, plain=False))
            position, line, row, need = position + size, line + lines, len(keys), BLOCK_BYTES
        for names, types in shapes:
            for name, kind in zip(names, types, strict=True):
                self._note((name,), kind)
        self._find_style(ascii_only=escaped and not beyond_ascii)
        self.keys = pl.Series(KEY, keys, dtype=pl.String)
        self.settle_keys()

    def _more(self, bytes_read: int, line: int) -> int:
        if bytes_read >= MAX_RECORD_BYTES:
            raise ObjectUnreadableError(
                f"line {line} of {self.path} has more than {MAX_RECORD_BYTES >> 20} MiB",
                hint="JSON Lines have one object on each line",
                system=self.system,
            )
        return bytes_read * 2

    def _scan_chunk(
        self,
        data: bytes,
        start: int,
        first_line: int,
        keys: list[str | None],
        shapes: dict[tuple[tuple[str, ...], tuple[type, ...]], None],
    ) -> int:
        position, lines = start, _split(data)
        for line, raw in enumerate(lines, first_line):
            position += len(raw)
            if not raw.strip():
                continue
            self.end, self.open_end = position, not raw.endswith(b"\n")
            try:
                value = self._object(raw)
                keys.append(self._key_of(value))
            except CellRefusedError as error:
                self._reject(line, error.reason, cut_off=self.open_end)
                continue
            types = tuple(map(type, value.values()))
            if list in types or dict in types:
                for name, item in value.items():
                    self._note_deep((name,), item)
            else:
                shapes[tuple(value), types] = None
        return len(lines)

    def _reject(self, line: int, reason: str, *, cut_off: bool) -> None:
        self.lost = True
        self._bad_lines.add(line)
        if cut_off:
            reason = f"{reason}; it is the last line and has no line end: the file may be cut off"
            self.broken = f"line {line}: {reason}"
        self.rejected.append(Reject(None, reason, f"line {line}"))

    def _object(self, raw: bytes) -> dict[str, Any]:
        try:
            value = parse_line(raw)
        except UnicodeDecodeError as error:
            wrong = error.object[error.start : error.end]
            raise CellRefusedError(f"it has bytes that are no UTF-8 ({wrong!r})") from None
        except (ValueError, RecursionError) as error:
            raise CellRefusedError(f"it is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise CellRefusedError("it is JSON, but not an object")
        return value

    def _key_of(self, value: dict[str, Any]) -> str | None:
        parts = {}
        for name in self.key_columns:
            part = look_up(value, pointer(name))
            if part is ABSENT or part is None:
                continue
            if type(part) not in {str, int, NumberText}:
                raise CellRefusedError(f"its key {name!r} is neither text nor number", name)
            parts[name] = part
        return self.key_text(parts)

    def _note(self, path: tuple[str, ...], kind: type) -> None:
        kinds = self._kinds.setdefault(path, set())
        if kind is not type(None):
            kinds.add(kind)

    def _note_deep(self, path: tuple[str, ...], value: Any) -> None:
        self._note(path, type(value) if value is None else _kind(value))
        if isinstance(value, dict) and len(path) < MAX_DEPTH:
            for name, item in value.items():
                self._note_deep((*path, name), item)

    def _find_style(self, *, ascii_only: bool) -> None:
        for chunk in self.chunks:
            for piece in self.pieces(chunk, self.data(chunk)):
                if piece.row is not None:
                    self.style = style_of(piece.raw.decode(), ascii_only=ascii_only)
                    return

    # ---------------------------------------------------------------- records that come one by one

    def learn(self, raw: bytes) -> str | None:
        """Note the types of another record's values; returns its key text, None where it has none. Raises CellRefusedError."""
        value = self._object(raw)
        for name, item in value.items():
            self._note_deep((name,), item)
        return self._key_of(value)

    def learned(self) -> dict[str, ColumnType]:
        """The columns of all that was learned."""
        return {column_name(path): common_type(kinds) for path, kinds in self._kinds.items()}

    # ---------------------------------------------------------------- values

    def types(self, columns: Sequence[str]) -> dict[str, pl.DataType]:
        """See the base class; a column that no row has is text."""
        return {name: _POLARS.get(self._type(name), pl.String()) for name in columns}

    def _type(self, column: str) -> ColumnType:
        """The column's type; paths deeper than `discover` shows, or into arrays, are json-like and shown as text."""
        info = self.columns.get(column)
        return info.type if info else "text"

    def pieces(self, chunk: Chunk, data: bytes) -> Iterator[Piece]:
        """See the base class."""
        row = chunk.row
        for line, raw in enumerate(_split(data), chunk.line):
            is_row = bool(raw.strip()) and line not in self._bad_lines
            yield Piece(raw, line, row if is_row else None)
            row += is_row

    def cells(self, raw: bytes, columns: Sequence[str]) -> dict[str, Any]:
        """See the base class."""
        value = self._object(raw)
        found = {}
        for name in columns:
            item = look_up(value, pointer(name))
            if item is not ABSENT:
                kind = self._type(name)
                if name in self.declared and item is not None and not _fits(_kind(item), kind):
                    raise CellRefusedError(f"its value does not fit the declared type {kind}", name)
                found[name] = None if item is None else self._shown(item, kind)
        return found

    def _shown(self, value: Any, kind: ColumnType) -> Any:
        if kind == "json":
            return dump(value, COMPACT)
        if kind in {"integer", "boolean", "list"}:
            return value
        return _text(value)

    def same(self, one: Any, other: Any) -> bool:
        """See the base class. Compared by text: a column may have been of another type when the expected value was read."""
        if one is None or other is None:
            return one is other
        return _text(one) == _text(other)

    def key_values(self, key: str) -> dict[str, Any]:
        """See the base class; whole numbers in columns that hold them are numbers."""
        parts = Reading.key_values(self, key)  # super() does not know a class that `slots` made anew
        return {name: self._key_part(name, part) for name, part in parts.items()}

    def _key_part(self, name: str, part: str) -> str | int:
        return int(part) if self._type(name) == "integer" and re.fullmatch(r"-?[0-9]+", part) else part

    def key_text(self, values: Mapping[str, Any]) -> str | None:
        """See the base class."""
        parts = []
        for name in self.key_columns:
            part = values.get(name)
            if part is None or part == "":
                return None
            text = plain_digits(part) if isinstance(part, (int, NumberText)) else str(part)
            is_decimal = isinstance(part, NumberText) or self._type(name) == "decimal"
            parts.append(text.rstrip("0").rstrip(".") if is_decimal and "." in text else text)
        return join_key(parts) if parts else None

    # ---------------------------------------------------------------- writing

    @property
    def line_end(self) -> bytes:
        """See the base class."""
        return self._end_of_line

    def to_file(self, working: bytes) -> bytes:
        """See the base class; a JSON Lines file is worked on as it is."""
        return working

    def edited(self, raw: bytes, changes: Mapping[str, Any]) -> bytes:
        """See the base class; members that are not in `changes` keep their characters and their order."""
        body = raw.rstrip(b"\r\n")
        text = body.decode("utf-8")
        before = self._object(raw)
        for name, value in changes.items():
            path = pointer(name)
            old = look_up(before, path)
            new = self._json(name, value, old)
            if old is not ABSENT and new == self._json(name, self._shown_or_none(old, name), old):
                continue
            text = self._put(text, name, new)
        return text.encode("utf-8") + raw[len(body) :]

    def _shown_or_none(self, value: Any, column: str) -> Any:
        return None if value is None else self._shown(value, self._type(column))

    def made(self, values: Mapping[str, Any]) -> bytes:
        """See the base class; members stand in the order in which the file has them, new ones last."""
        in_order = dict.fromkeys([*self.columns, *self.key_columns, *values])
        text = "{}"
        for name in (name for name in in_order if name in values):
            text = self._put(text, name, self._json(name, values[name], ABSENT))
        return text.encode("utf-8") + self.line_end

    def _put(self, text: str, column: str, value: str) -> str:
        try:
            return put(text, pointer(column), value, self.style)
        except ValueError as error:
            raise CellRefusedError(str(error), column) from None

    def _json(self, column: str, value: Any, old: Any) -> str:
        """A value as JSON text: a number stays a number, true and false stay booleans, an array stays an array."""
        if value is None:
            return "null"
        kind = self._type(column)
        try:
            text = self._as(kind, value, old)
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise CellRefusedError("it is no valid Unicode text", column) from None
        except ValueError as error:
            raise CellRefusedError(str(error), column) from None
        return text

    def _as(self, kind: ColumnType, value: Any, old: Any) -> str:
        if kind == "json":
            return dump(parse_text(str(value)), self.style)
        if isinstance(value, (list, bool, int)):
            return dump(value, self.style)
        text = str(value)
        if kind in {"decimal", "integer"}:
            if not is_number(text):
                raise ValueError(f"this column holds numbers, and {text!r} is none")
            return text
        if isinstance(old, bool) and text in {"true", "false"}:
            return text
        if isinstance(old, (int, NumberText)) and not isinstance(old, bool) and is_number(text):
            return text
        return json.dumps(text, ensure_ascii=self.style.ascii)


def _split(data: bytes) -> list[bytes]:
    """Lines with their ends; unlike `splitlines`, only LF ends one."""
    lines = data.split(b"\n")
    last = lines.pop()
    found = [line + b"\n" for line in lines]
    return [*found, last] if last else found


def _text(value: Any) -> str:
    """The canonical text of a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, NumberText)):
        return plain_digits(value)
    return value if isinstance(value, str) else dump(value, COMPACT)
