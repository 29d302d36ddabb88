"""One reading of a CSV file: its records, found exactly, and their cells; the reverse, cells put into records, for writing."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from trueup.connectors.base import Reject, join_key
from trueup.connectors.csv_text import UTF8
from trueup.connectors.filebase import BLOCK_BYTES
from trueup.connectors.filerows import MAX_RECORD_BYTES, CellRefusedError, CellReject, Chunk, Piece, Reading
from trueup.core.cells import KEY
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.csv_dialect import Dialect
    from trueup.connectors.csv_grammar import RawField, Record


class _Trouble(NamedTuple):
    """Why a record is no row; `cut_off` when the file seems to end in the middle of it."""

    reason: str
    cut_off: bool = False


@dataclass(slots=True, kw_only=True)
class CsvReading(Reading):
    """One reading of a CSV file; every column is text, an empty cell (quoted or not) is null, or the empty text with `empty_is_text`."""

    dialect: Dialect
    empty_is_text: bool = False
    _index: dict[str, int] = field(init=False)
    _width: int = field(init=False)

    def __post_init__(self) -> None:
        """Find all records and keys."""
        self._index = {name: position for position, name in enumerate(self.dialect.header)}
        self._width = len(self.dialect.header)
        self._scan()

    # ---------------------------------------------------------------- finding records

    def _scan(self) -> None:
        position, line, row, need = self.dialect.body, self.dialect.body_line, 0, BLOCK_BYTES
        self.end = position
        found: list[pl.Series] = []
        self.source.seek(position - 1 if position else 0)
        self.open_end = self.source.read(1) not in {b"\n", b"\r"}
        while True:
            self.source.seek(position)
            data = self.source.read(need)
            if not data:
                break
            final = len(data) < need
            chunk, keys = self._fast_chunk(data, position, line, row, final=final)
            if chunk is None:
                chunk, keys = self._exact_chunk(data, position, line, row, final=final)
            if not chunk.size:  # not one whole record in so many bytes
                need = self._more(need, line)
                continue
            self.chunks.append(chunk)
            found.append(keys)
            position, line, row, need = position + chunk.size, line + chunk.lines, row + chunk.rows, BLOCK_BYTES
        if found:
            self.keys = pl.concat(found)
        self.settle_keys()

    def _more(self, bytes_read: int, line: int) -> int:
        if bytes_read >= MAX_RECORD_BYTES:
            raise ObjectUnreadableError(
                f"line {line} of {self.path} starts a record of more than {MAX_RECORD_BYTES >> 20} MiB",
                hint="a quote there is probably never closed: mend that line, or say the right `quote` for this system",
                system=self.system,
            )
        return bytes_read * 2

    def _fast_chunk(self, data: bytes, start: int, line: int, row: int, *, final: bool) -> tuple[Chunk | None, pl.Series]:
        """The next chunk when Polars provably reads it as the exact way does, else None."""
        nothing = pl.Series(KEY, [], dtype=pl.String)
        size, rows = self.dialect.grammar.whole_records(data, self._width, final=final)
        if not size:
            return None, nothing
        stretch = data[:size]
        try:
            frame = self._polars(stretch, range(self._width))
        except (pl.exceptions.PolarsError, UnicodeDecodeError):  # which record is too long, or no text, the exact way tells
            return None, nothing
        if frame.height != rows:
            return None, nothing
        self.end = start + size
        self.open_end = not stretch.endswith(b"\n")
        lines = stretch.count(b"\n") + self.open_end
        chunk = Chunk(start, size, line, lines, row, rows, plain=True)
        if not self.key_columns:
            return chunk, pl.repeat(None, rows, dtype=pl.String, eager=True).alias(KEY)
        parts = frame.select(self._position(name) for name in self.key_columns)
        return chunk, _key_series(parts)

    def _polars(self, data: bytes, positions: Sequence[int]) -> pl.DataFrame:
        """Columns, by position in ascending order and named by it, of proven records."""
        if self.dialect.encoding.codec != UTF8:
            data = data.decode(self.dialect.encoding.codec).encode(UTF8)
        if not data.endswith(b"\n"):  # or a last record that is too long by an empty field is not noticed
            data += b"\n"
        rules = self.dialect.grammar
        return pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            schema={str(position): pl.String() for position in range(self._width)},
            columns=list(positions),
            separator=rules.delimiter.decode("latin-1"),
            quote_char=rules.quote.decode("latin-1") or None,
            empty_string_is_null=not self.empty_is_text,
            infer_schema=False,
        )

    def _exact_chunk(self, data: bytes, start: int, line: int, row: int, *, final: bool) -> tuple[Chunk, pl.Series]:
        """The next chunk, read record by record; what cannot be read is put into `rejected`."""
        size, lines, keys = 0, 0, []
        for record in self.dialect.grammar.records(data, final=final):
            if not record.blank:
                self.end = start + size + len(record.raw)
                self.open_end = not record.raw.endswith((b"\n", b"\r"))
                trouble = self._trouble(record)
                self.shows_absent |= trouble is None and len(self.dialect.grammar.fields(record.raw)[0]) < self._width
                if trouble is None:
                    keys.append(self.key_text(self.cells(record.raw, self.key_columns)))
                else:
                    self.lost = True
                    self.rejected.append(Reject(None, trouble.reason, f"line {line + lines}"))
                    self.broken = f"line {line + lines}: {trouble.reason}" if trouble.cut_off else self.broken
            size += len(record.raw)
            lines += record.lines
        return Chunk(start, size, line, lines, row, len(keys), plain=False), pl.Series(KEY, keys, dtype=pl.String)

    def _trouble(self, record: Record) -> _Trouble | None:
        """Why a record (not an empty line) is no row; None when it is one."""
        if record.trouble == "open":
            return _Trouble("a quoted field is never closed; the file may be cut off", cut_off=True)
        if record.trouble:
            return _Trouble("there is text after a closing quote")
        fields, line_end = self.dialect.grammar.fields(record.raw)
        if len(fields) > self._width:
            return _Trouble(f"it has {len(fields)} fields, the header has {self._width}")
        if len(fields) < self._width and not line_end:
            return _Trouble(f"it has {len(fields)} of {self._width} fields and no line end; the file may be cut off", cut_off=True)
        try:
            self.cells(record.raw, self.key_columns)
        except CellRefusedError as error:
            return _Trouble(error.reason)
        return None

    def _text(self, raw: RawField) -> str:
        return self.dialect.grammar.text(raw, self.dialect.encoding.codec)

    def _position(self, name: str) -> str:
        return str(self._index[name])

    # ---------------------------------------------------------------- values

    def types(self, columns: Sequence[str]) -> dict[str, pl.DataType]:
        """All text."""
        return dict.fromkeys(columns, pl.String())

    def frame(self, chunk: Chunk, data: bytes, columns: Sequence[str]) -> tuple[pl.DataFrame, list[CellReject]]:
        """See the base class."""
        if not (columns and chunk.plain):
            return Reading.frame(self, chunk, data, columns)  # super() does not know a class that `slots` made anew
        frame = self._polars(data, sorted({self._index[name] for name in columns}))
        if not self.empty_is_text and self.dialect.grammar.quote and self.dialect.grammar.quote * 2 in data:
            frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))  # quoted empty cells; the reader has seen to the others
        return frame.select(pl.col(self._position(name)).alias(name) for name in columns), []

    def pieces(self, chunk: Chunk, data: bytes) -> Iterator[Piece]:
        """See the base class."""
        line, row = chunk.line, chunk.row
        for record in self.dialect.grammar.records(data, final=True):
            is_row = chunk.plain or not (record.blank or self._trouble(record))
            yield Piece(record.raw, line, row if is_row else None)
            line += record.lines
            row += is_row

    def cells(self, raw: bytes, columns: Sequence[str]) -> dict[str, str | None]:
        """See the base class."""
        fields = self.dialect.grammar.fields(raw)[0]
        found: dict[str, str | None] = {}
        for name in columns:
            position = self._index[name]
            if position >= len(fields):
                continue
            try:
                found[name] = self._text(fields[position]) or ("" if self.empty_is_text else None)
            except UnicodeDecodeError as error:
                wrong = error.object[error.start : error.end]
                raise CellRefusedError(f"it has bytes that are no {self.dialect.encoding.label} ({wrong!r})", name) from None
        return found

    def same(self, one: Any, other: Any) -> bool:
        """An empty cell and none are the same: a CSV file has no other way to say null."""
        return bool((one or "") == (other or ""))

    def key_text(self, values: Mapping[str, Any]) -> str | None:
        """See the base class."""
        parts = [values.get(name) or "" for name in self.key_columns]
        return join_key(parts) if parts and all(parts) else None

    # ---------------------------------------------------------------- writing

    @property
    def prefix(self) -> bytes:
        """See the base class."""
        return self.dialect.encoding.bom if self.dialect.encoding.wide else b""

    @property
    def line_end(self) -> bytes:
        """See the base class."""
        return self.dialect.line_end

    def to_file(self, working: bytes) -> bytes:
        """See the base class."""
        return self.dialect.encoding.to_file(working)

    def edited(self, raw: bytes, changes: Mapping[str, Any]) -> bytes:
        """See the base class; fields that are not in `changes` keep their bytes, missing ones before a written one become empty."""
        rules = self.dialect.grammar
        fields, line_end = rules.fields(raw)
        parts = [_as_it_stands(item, rules.quote) for item in fields]
        for name, value in changes.items():
            position = self._index[name]
            while position >= len(parts):
                parts.append(self._field(self.dialect.header[len(parts)], ""))
            quoted = position < len(fields) and fields[position].quoted
            parts[position] = self._field(name, value, quoted=quoted)
        return self._joined(parts) + line_end

    def made(self, values: Mapping[str, Any]) -> bytes:
        """See the base class."""
        return self._joined([self._field(name, values.get(name)) for name in self.dialect.header]) + self.line_end

    def _joined(self, parts: list[bytes]) -> bytes:
        if parts == [b""]:  # an empty line would be no record
            return self.dialect.grammar.quote * 2
        return self.dialect.grammar.delimiter.join(parts)

    def _field(self, name: str, value: Any, *, quoted: bool = False) -> bytes:
        text = "" if value is None else str(value)
        encoding = self.dialect.encoding
        try:
            data = text.encode(encoding.codec)
        except UnicodeEncodeError as error:
            wrong = error.object[error.start : error.end]
            raise CellRefusedError(f"the character {wrong!r} does not exist in this file's encoding ({encoding.label})", name) from None
        usual = self.dialect.quoted[self._index[name]] if text else self.dialect.quotes_empty
        try:
            return self.dialect.grammar.quote_field(data, always=quoted or usual)
        except ValueError as error:
            raise CellRefusedError(str(error), name) from None


def _as_it_stands(item: RawField, quote: bytes) -> bytes:
    return quote + item.inner + quote if item.quoted else item.inner


def _key_series(parts: pl.DataFrame) -> pl.Series:
    """Key text per row; null where a part is empty."""
    texts = [pl.col(name).replace("", None) for name in parts.columns]
    if len(texts) > 1:
        escaped = [text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True) for text in texts]
        return parts.select(pl.concat_str(escaped, separator="|").alias(KEY))[KEY]
    return parts.select(texts[0].alias(KEY))[KEY]
