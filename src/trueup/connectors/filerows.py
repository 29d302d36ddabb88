"""One reading of a file of records: where each record stands, its key, and what could not be read. CSV and JSON Lines fill in the format.

A file is read twice at most: once to find records and keys (so that a doubled key is known before its first row is shown), once for the
values of the columns asked for. Both go through it in chunks of whole records; memory holds one chunk and the keys.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from copy import copy
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

import polars as pl

from trueup.connectors.base import Page, Reject, split_key
from trueup.connectors.filebase import Stamp, check_untouched
from trueup.core.cells import ABSENT, KEY
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.filebase import FilePath
    from trueup.model import ColumnInfo

MAX_RECORD_BYTES = 1 << 26
MANY_UNUSABLE = 10_000


class CellRefusedError(Exception):
    """A value cannot stand in this file. `column` is the one at fault, None when it is the record as a whole."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole records, one after the other: `size` bytes from `start`, first physical line `line`, `rows` rows from number `row`.

    `plain`: a fast reader provably sees what the exact one sees. `lines`: physical lines in it.
    """

    start: int
    size: int
    line: int
    lines: int
    row: int
    rows: int
    plain: bool


class Piece(NamedTuple):
    """One stretch of a chunk: its bytes, its physical line, and the number of the row that it is (None: no row, kept as it is)."""

    raw: bytes
    line: int
    row: int | None


class CellReject(NamedTuple):
    """A row of a chunk (by its number in the file) of which a wanted column cannot be read."""

    row: int
    reason: str
    column: str | None


@dataclass(slots=True)
class Reading(ABC):
    """One reading of a file.

    stamp      which content was read
    source     the open file in its working form
    keys       key text per row number; null: not usable (rejected)
    lost       a record's key could not be read, so that the listing cannot be complete
    broken     why rows must not be written to this file at all, None: they may
    shows_absent  pages have `__absent`, because a row may lack a column
    end        byte at which new rows are put in (after the last record); `open_end`: the last record has no line end
    """

    system: str
    path: FilePath
    stamp: Stamp
    file: IO[bytes]
    source: IO[bytes]
    columns: Mapping[str, ColumnInfo]
    key_columns: tuple[str, ...]
    chunks: list[Chunk] = field(default_factory=list)
    keys: pl.Series = field(default_factory=lambda: pl.Series(KEY, [], dtype=pl.String))
    rejected: list[Reject] = field(default_factory=list)
    lost: bool = False
    broken: str | None = None
    shows_absent: bool = False
    end: int = 0
    open_end: bool = False

    # ---------------------------------------------------------------- the format's part

    @abstractmethod
    def types(self, columns: Sequence[str]) -> dict[str, pl.DataType]:
        """The Polars type of each column."""

    @abstractmethod
    def pieces(self, chunk: Chunk, data: bytes) -> Iterator[Piece]:
        """All of the chunk's bytes, cut into records."""

    @abstractmethod
    def cells(self, raw: bytes, columns: Sequence[str]) -> dict[str, Any]:
        """Values of one record, as `frame` gives them; columns that it does not have are left out. Raises CellRefusedError."""

    @abstractmethod
    def edited(self, raw: bytes, changes: Mapping[str, Any]) -> bytes:
        """A record with some values replaced. Raises CellRefusedError."""

    @abstractmethod
    def made(self, values: Mapping[str, Any]) -> bytes:
        """A new record, with its line end. Raises CellRefusedError."""

    @abstractmethod
    def same(self, one: Any, other: Any) -> bool:
        """Whether two values of one column are the same; absent ones are None."""

    @abstractmethod
    def key_text(self, values: Mapping[str, Any]) -> str | None:
        """The key text of a record's values; None where one is missing or empty."""

    def frame(self, chunk: Chunk, data: bytes, columns: Sequence[str]) -> tuple[pl.DataFrame, list[CellReject]]:
        """The chunk's rows, `chunk.rows` of them, with these columns (and `__absent` where one is lacking); rejected ones hold nulls.

        Record by record; a format that has a faster way for plain chunks takes that first.
        """
        if not columns:
            return pl.DataFrame(height=chunk.rows), []
        values: dict[str, list[Any]] = {name: [] for name in columns}
        absent: list[list[str]] = []
        rejects = []
        for piece in self.pieces(chunk, data):
            if piece.row is None:
                continue
            try:
                cells = self.cells(piece.raw, columns)
            except CellRefusedError as error:
                rejects.append(CellReject(piece.row, error.reason, error.column))
                cells = {}
            for name in columns:
                values[name].append(cells.get(name))
            absent.append([name for name in columns if name not in cells])
        return _aligned_frame(values, self.types(columns), absent), rejects

    def key_values(self, key: str) -> dict[str, Any]:
        """The key columns' values for a key text: texts, where the format knows nothing else. Raises CellRefusedError."""
        try:
            parts = split_key(key, len(self.key_columns))
        except ValueError:
            raise CellRefusedError(f"the key {key!r} does not have {len(self.key_columns)} parts") from None
        return dict(zip(self.key_columns, parts, strict=True))

    @property
    def prefix(self) -> bytes:
        """Bytes of the file that stand before its working form."""
        return b""

    @property
    @abstractmethod
    def line_end(self) -> bytes:
        """The line end that new rows take."""

    @abstractmethod
    def to_file(self, working: bytes) -> bytes:
        """Whole records in the working form, as they stand in the file."""

    # ---------------------------------------------------------------- common to all formats

    @property
    def size(self) -> int:
        """Bytes of the working form."""
        return os.fstat(self.source.fileno()).st_size

    def on(self, file: IO[bytes], source: IO[bytes]) -> Self:
        """The same reading on another opening of the same content."""
        again = copy(self)
        again.file, again.source = file, source
        return again

    def data(self, chunk: Chunk) -> bytes:
        """The chunk's bytes."""
        self.source.seek(chunk.start)
        return self.source.read(chunk.size)

    def chunk_of(self, row: int) -> Chunk:
        """The chunk in which a row number lies."""
        filled = [chunk for chunk in self.chunks if chunk.rows]
        return filled[bisect_right([chunk.row for chunk in filled], row) - 1]

    def settle_keys(self) -> None:
        """Take rows with an empty or doubled key out of `keys` and into `rejected`. Raises ObjectUnreadableError when most are such."""
        if not self.key_columns:
            return
        usable = pl.DataFrame({KEY: self.keys}).with_row_index("row")
        empty = usable.filter(pl.col(KEY).is_null())["row"].to_list()
        doubled = usable.filter(pl.col(KEY).is_not_null() & pl.col(KEY).is_duplicated())
        self._refuse_useless_key(len(empty), doubled.height)
        lines = self._lines({*empty, *doubled["row"]})
        names = ", ".join(self.key_columns)
        self.rejected += [Reject(None, f"the key ({names}) is empty", f"line {lines[row]}", self.key_columns[0]) for row in empty]
        for row, key in doubled.iter_rows():
            self.rejected.append(Reject(key, f"the key ({names}) occurs more than once", f"line {lines[row]}", self.key_columns[0]))
        if doubled.height:
            self.keys = usable.select(pl.when(pl.col(KEY).is_duplicated()).then(None).otherwise(pl.col(KEY)).alias(KEY))[KEY]

    def _refuse_useless_key(self, empty: int, doubled: int) -> None:
        """A key that tells hardly any row from another is one error, not a reject for each of a million rows."""
        if empty + doubled < MANY_UNUSABLE or (empty + doubled) * 2 < len(self.keys):
            return
        raise ObjectUnreadableError(
            f"the key ({', '.join(self.key_columns)}) is empty in {empty} rows of {self.path}, and {doubled} rows share theirs",
            hint="name the column, or the columns, that tell rows apart as `key`",
            system=self.system,
        )

    def _lines(self, rows: set[int]) -> dict[int, int]:
        """Physical line per row number."""
        wanted: dict[int, list[int]] = {}
        filled = [chunk for chunk in self.chunks if chunk.rows]
        starts = [chunk.row for chunk in filled]
        for row in rows:
            wanted.setdefault(bisect_right(starts, row) - 1, []).append(row)
        found = {}
        for index, inside in wanted.items():
            chunk = filled[index]
            if chunk.plain and chunk.lines == chunk.rows:
                found.update({row: chunk.line + row - chunk.row for row in inside})
                continue
            lines = {piece.row: piece.line for piece in self.pieces(chunk, self.data(chunk)) if piece.row is not None}
            found.update({row: lines[row] for row in inside})
        return found

    def pages(self, columns: Sequence[str], keys: Sequence[str] | None, page_rows: int) -> Iterator[Page]:
        """The contract's pages: all rows, or those with the given keys. Raises ChangedUnderneathError when the file changes meanwhile."""
        wanted = None if keys is None else pl.Series(KEY, list(keys), dtype=pl.String)
        asked = frozenset(keys or ())
        rejected = [item for item in self.rejected if keys is None or item.key in asked]
        whole = not self.lost
        for chunk in self.chunks:
            keyed = self.keys.slice(chunk.row, chunk.rows)
            if wanted is not None:
                keyed = pl.select(pl.when(keyed.is_in(wanted.implode())).then(keyed)).to_series().rename(KEY)
            if keyed.null_count() == keyed.len():
                continue
            frame, refused = self.frame(chunk, self.data(chunk), columns)
            if refused:
                rejects, keyed = self._refuse(keyed, chunk, refused)
                rejected += rejects
            frame = frame.insert_column(0, keyed)
            if keyed.null_count():
                frame = frame.filter(pl.col(KEY).is_not_null())
            if self.shows_absent and ABSENT not in frame.columns:
                frame = frame.with_columns(pl.lit([], dtype=pl.List(pl.String)).alias(ABSENT))
            for page in frame.iter_slices(page_rows):
                yield Page(page, rejected=tuple(rejected))
                rejected = []
        check_untouched(self.system, self.path, self.file, self.stamp)
        told: dict[str, pl.DataType] = {ABSENT: pl.List(pl.String())} if self.shows_absent else {}
        empty = pl.DataFrame(schema={KEY: pl.String(), **self.types(columns), **told})
        yield Page(empty, complete=whole, rejected=tuple(rejected))

    def browsed(self, columns: Sequence[str], page_rows: int) -> Iterator[Page]:
        """Pages of all rows without their keys. Raises ChangedUnderneathError when the file changes meanwhile."""
        rejected = [Reject(None, item.reason, item.where, item.column) for item in self.rejected]
        for chunk in self.chunks:
            frame, refused = self.frame(chunk, self.data(chunk), columns)
            if refused:
                lines = self._lines({item.row for item in refused})
                bad = {item.row: Reject(None, item.reason, f"line {lines[item.row]}", item.column) for item in reversed(refused)}
                rejected += [bad[row] for row in sorted(bad)]
                frame = frame.with_row_index("__row", chunk.row).filter(~pl.col("__row").is_in(list(bad)))
            for page in frame.select(columns).iter_slices(page_rows):
                yield Page(page, rejected=tuple(rejected))
                rejected = []
        check_untouched(self.system, self.path, self.file, self.stamp)
        yield Page(pl.DataFrame(schema=self.types(columns)), complete=not self.lost, rejected=tuple(rejected))

    def _refuse(self, keyed: pl.Series, chunk: Chunk, refused: list[CellReject]) -> tuple[list[Reject], pl.Series]:
        """Rejects of the rows shown in this read, and the keys without theirs."""
        texts = keyed.to_list()
        lines = self._lines({item.row for item in refused})
        rejects, seen = [], set()
        for item in refused:
            key = texts[item.row - chunk.row]
            if key is not None and item.row not in seen:
                rejects.append(Reject(key, item.reason, f"line {lines[item.row]}", item.column))
                seen.add(item.row)
        for row in seen:
            texts[row - chunk.row] = None
        return rejects, pl.Series(KEY, texts, dtype=pl.String)

    def found(self, keys: pl.DataFrame) -> pl.DataFrame:
        """`keys` (with `__key`) joined with the row number of each, null where no usable row has the key."""
        here = pl.DataFrame({KEY: self.keys}).with_row_index("__row").filter(pl.col(KEY).is_not_null())
        return keys.join(here, on=KEY, how="left", maintain_order="left")


def _aligned_frame(values: Mapping[str, list[Any]], types: Mapping[str, pl.DataType], absent: list[list[str]]) -> pl.DataFrame:
    """A chunk's frame from lists of values; `absent` per row, left out of the frame where no row lacks a column."""
    frame = pl.DataFrame([pl.Series(name, values[name], dtype=types[name]) for name in values])
    if any(absent):
        frame = frame.with_columns(pl.Series(ABSENT, absent, dtype=pl.List(pl.String)))
    return frame
