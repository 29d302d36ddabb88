"""How the SQL connectors turn raw query results into pages: one shape, rejects with their key, cursors.

A `Select` names what is read. Its query gives columns `c0`, `c1`, … (so that no native name can clash or be folded) and, where a
value may not fit its column's type, `bad`: the 0-based index of the first such column, null when all fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

import polars as pl

from trueup.connectors.base import Reject
from trueup.connectors.sql_types import DECIMAL_TEXT, PLAIN_DECIMAL, cell_text, dtype_of, expand_exponent, key_texts, key_values
from trueup.core.frames import FEW_ROWS, constant, exchanged, one_of
from trueup.errors import ObjectMissingError
from trueup.model import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trueup.model import ColumnInfo, ColumnType, ObjectSpec

BAD = "bad"
OP = "op"
SELECTS_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlColumn:
    """A column with the SQL to read it. Expressions name the row as alias `t`.

    read     gives the value in the contract's type (an exact text for decimals, json, uuid, …); must not fail for any stored value
    fits     true where `read` shows the stored value; None: always
    compare  the stored side of "still as last read", to be compared with a parameter cast by `compare_cast`; "" means `read`
    store    native type for a value on its way in; "" where the driver binds it as it is
    pattern  what a text must look like to be looked for in this column at all; None: anything
    default  SQL of the column's default, for keys that are assigned before the row is written; None: no default
    """

    info: ColumnInfo
    read: str
    fits: str | None = None
    compare: str = ""
    compare_cast: str = ""
    store: str = ""
    pattern: str | None = None
    default: str | None = None

    @property
    def dtype(self) -> pl.DataType:
        """The Polars type of the column in a page."""
        return dtype_of(self.info.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One object, resolved against the database.

    source      what stands after FROM: a quoted name, or a parenthesised query
    target      the quoted name to write to, None for a query
    key         the key columns, as the mapping says or else the primary key; may be empty for a discovered object
    key_unique  whether the database itself keeps the key unique
    writable    False for queries and views that take no writes
    reread      triggers may change a row after the statement has returned it: stored rows are read again in the same transaction
    extra       the dialect's own facts (rowid, triggers, …)
    selects     those of `Select.of`, by columns and whether dated
    """

    info: ObjectInfo
    source: str
    target: str | None
    columns: Mapping[str, SqlColumn]
    key: tuple[str, ...]
    key_unique: bool
    writable: bool
    modified: str | None = None
    reread: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)
    selects: dict[tuple[tuple[str, ...], bool], Select] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_query(cls, obj: ObjectSpec, columns: Mapping[str, SqlColumn], extra: Mapping[str, object]) -> Self:
        """The result of the mapping's own query, which can only be read."""
        infos = {name: column.info for name, column in columns.items()}
        return cls(
            info=ObjectInfo(name=obj.label, columns=infos, key=obj.key, kind="query"),
            source=f"({query_text(obj)}\n)",
            target=None,
            columns=columns,
            key=obj.key,
            key_unique=False,
            writable=False,
            modified=obj.modified,
            extra=extra,
        )

    def column(self, name: str) -> SqlColumn:
        """The column called `name`. Raises ObjectMissingError naming the nearest facts."""
        try:
            return self.columns[name]
        except KeyError:
            known = ", ".join(list(self.columns)[:20])
            message = f"{self.info.name} has no column {name!r}"
            raise ObjectMissingError(message, hint=f"its columns are {known}") from None


def query_text(obj: ObjectSpec) -> str:
    """The mapping's own query as it can stand in parentheses (a line end behind it closes a comment)."""
    return (obj.sql or "").strip().rstrip(";")


@dataclass(frozen=True)
class Select:
    """Columns of a table to read: those asked for first, then the key where it was not asked for, and `modified` when `dated`.

    What follows from them is put together once: the same few selects of a table are asked for again and again.
    """

    table: Table
    asked: tuple[str, ...]
    dated: bool = False

    @classmethod
    def of(cls, table: Table, asked: tuple[str, ...], *, dated: bool = False) -> Select:
        """The one that the table keeps; for reads and writes whose columns do not differ from one to the next."""
        known = table.selects.get((asked, dated))
        if known is None:
            if len(table.selects) >= SELECTS_KEPT:
                table.selects.clear()
            known = table.selects[asked, dated] = cls(table, asked, dated)
        return known

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every native column that the query reads, each once."""
        modified = (self.table.modified,) if self.table.modified and self.dated else ()
        return tuple(dict.fromkeys((*self.asked, *self.table.key, *modified)))

    @cached_property
    def columns(self) -> tuple[SqlColumn, ...]:
        """The columns behind `names`. Raises ObjectMissingError for one that is not there."""
        return tuple(self.table.column(name) for name in self.names)

    def alias(self, name: str) -> str:
        """The query's own name for a native column."""
        return f"c{self.names.index(name)}"

    @cached_property
    def outputs(self) -> str:
        """The select list."""
        columns = self.columns
        parts = [f"{column.read} AS c{index}" for index, column in enumerate(columns)]
        checks = [f"WHEN NOT ({column.fits}) THEN {index}" for index, column in enumerate(columns) if column.fits]
        if checks:
            parts.append(f"CASE {' '.join(checks)} END AS {BAD}")
        return ", ".join(parts)

    @cached_property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Names and types of the query's result."""
        columns = self.columns
        schema: dict[str, pl.DataType] = {f"c{index}": column.dtype for index, column in enumerate(columns)}
        if any(column.fits for column in columns):
            schema[BAD] = pl.Int64()
        return schema


@dataclass(frozen=True, slots=True)
class Shaped:
    """A raw frame after `shape`: rows in the contract's form (with `op` kept last where the query gave one), rejects, newest cursor."""

    rows: pl.DataFrame
    rejected: tuple[Reject, ...]
    newest: str | None


def native_keys(table: Table, keys: pl.Series) -> pl.DataFrame:
    """Native key values `k0`, `k1`, … of key texts; a text that cannot be such a key has a null part, and so names no row."""
    columns = [table.column(name) for name in table.key]
    values = key_values(keys, [column.info.type for column in columns])
    patterns = {f"k{index}": column.pattern for index, column in enumerate(columns) if column.pattern is not None}
    if not patterns:
        return values
    return values.with_columns(
        pl.when(pl.col(name).str.contains(pattern)).then(pl.col(name)).alias(name) for name, pattern in patterns.items()
    )


def shape(select: Select, raw: pl.DataFrame, doubled: pl.Series | None = None) -> Shaped:
    """Raw query result -> rows in the contract's form. `doubled` are key texts that stand for several rows: all of those are rejected."""
    columns = dict(zip(select.names, select.columns, strict=True))
    frame = _checked(select, raw)
    keys = key_texts([(frame[select.alias(name)], columns[name].info.type) for name in select.table.key])
    if not keys.null_count() and frame[BAD].null_count() == frame.height and (doubled is None or not one_of(keys, doubled).any()):
        return Shaped(_outputs(select, frame, keys), (), _newest(select, frame))
    frame = frame.with_columns(keys.alias("__key"))
    why = (
        pl.when(pl.col("__key").is_null())
        .then(pl.lit("key"))
        .when(pl.col("__key").is_in(doubled) if doubled is not None and len(doubled) else pl.lit(value=False))
        .then(pl.lit("doubled"))
        .when(pl.col(BAD).is_not_null())
        .then(pl.lit("value"))
    )
    frame = frame.with_columns(__why=why)
    refused = frame.filter(pl.col("__why").is_not_null())
    rows = frame.filter(pl.col("__why").is_null()) if refused.height else frame
    return Shaped(_outputs(select, rows, rows["__key"]), tuple(_rejects(select, refused)), _newest(select, frame))


def browsed(select: Select, raw: pl.DataFrame) -> tuple[pl.DataFrame, tuple[Reject, ...]]:
    """Raw query result of a select without a key -> rows under their native names, and rejects of those that do not fit."""
    frame = _checked(select, raw)
    refused = frame.filter(pl.col(BAD).is_not_null()) if frame[BAD].null_count() < frame.height else frame.clear()
    rows = frame.filter(pl.col(BAD).is_null()) if refused.height else frame
    rejects = []
    for bad in refused[BAD]:
        info = select.columns[bad].info
        rejects.append(Reject(None, f"the value in {info.name} does not fit its type {info.native_type or info.type}", column=info.name))
    return rows.select(pl.col(select.alias(name)).alias(name) for name in select.asked), tuple(rejects)


def _outputs(select: Select, rows: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """The rows in the contract's form."""
    outputs = [keys.alias("__key"), *(rows[select.alias(name)].alias(name) for name in select.asked)]
    return pl.DataFrame([*outputs, rows[OP].alias("__op")] if OP in rows.columns else outputs)


def _checked(select: Select, raw: pl.DataFrame) -> pl.DataFrame:
    """Types and the `bad` column made sure; decimals written plainly, and no-number texts among them marked."""
    frame = raw if BAD in raw.columns else raw.hstack([constant(BAD, None, raw.height, pl.Int64())])
    for index, column in enumerate(select.columns):
        name = f"c{index}"
        if column.info.type == "decimal":
            if frame.height <= FEW_ROWS and all(text is None or PLAIN_DECIMAL.fullmatch(text) for text in frame[name].to_list()):
                continue
            wrong = pl.col(name).is_not_null() & ~pl.col(name).str.contains(DECIMAL_TEXT)
            frame = frame.with_columns(
                pl.coalesce(pl.col(BAD), pl.when(wrong).then(pl.lit(index, dtype=pl.Int64()))).alias(BAD),
                expand_exponent(pl.col(name)).alias(name),
            )
        elif frame.get_column(name).dtype != column.dtype:
            frame = exchanged(frame, frame[name].cast(column.dtype))
    return frame


def _newest(select: Select, frame: pl.DataFrame) -> str | None:
    """The greatest `modified` of the frame as cursor text; None without such a column or value."""
    modified = select.table.modified
    if modified is None or modified not in select.names or frame.is_empty():
        return None
    column = select.table.column(modified)
    newest = _greatest(frame.get_column(select.alias(modified)), column)
    return None if newest is None else pl.select(cell_text(pl.lit(newest), column.info.type)).item()


def _greatest(values: pl.Series, column: SqlColumn) -> pl.Series | None:
    values = values.drop_nulls()
    if values.is_empty():
        return None
    order = values.cast(pl.Decimal(38, 12), strict=False) if column.info.type == "decimal" else values
    position = order.arg_max()
    return None if position is None else values.slice(position, 1)


def newer(current: str | None, candidate: str | None, column: SqlColumn | None) -> str | None:
    """The later of two cursor texts of one column; None loses."""
    return later(current, candidate, None if column is None else column.info.type)


def later(current: str | None, candidate: str | None, kind: ColumnType | None) -> str | None:
    """The later of two cursor texts of a column of this type; None loses. Where the type is not known the first one stands."""
    if current is None or candidate is None or kind is None:
        return candidate if current is None else current
    if kind in {"integer", "decimal", "float"}:
        both = pl.Series([current, candidate]).cast(pl.Decimal(38, 12), strict=False)
        return candidate if both.arg_max() == 1 else current
    return max(current, candidate)


def _rejects(select: Select, refused: pl.DataFrame) -> Iterator[Reject]:
    """One reject per refused row, with the reason in words."""
    names, columns = select.names, select.columns
    key_column = ", ".join(select.table.key)
    for key, why, bad in refused[["__key", "__why", BAD]].iter_rows():
        if why == "doubled":
            yield Reject(key, f"the key {key} stands for several rows of {select.table.info.name}", column=key_column)
        elif bad is not None and (why == "value" or names[bad] in select.table.key):
            native = columns[bad].info.native_type or columns[bad].info.type
            yield Reject(key, f"the value in {names[bad]} does not fit its type {native}", column=names[bad])
        else:
            yield Reject(key, f"the key ({key_column}) is NULL", column=key_column)


def repaged(frames: Iterable[pl.DataFrame], page_rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `page_rows`, the last one shorter; empty frames vanish."""
    waiting: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        waiting.append(frame)
        height += frame.height
        if height < page_rows:
            continue
        whole = pl.concat(waiting)
        for start in range(0, height - page_rows + 1, page_rows):
            yield whole.slice(start, page_rows)
        rest = whole.slice(height - height % page_rows)
        waiting, height = [rest] if rest.height else [], rest.height
    if height:
        yield pl.concat(waiting)


def null_patterns(values: pl.DataFrame) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], pl.DataFrame]]:
    """Distinct rows by which of their columns are null: (columns with a value, columns null, those rows' values).

    A query can then use plain `=` (and an index) on the first and `IS NULL` on the second.
    """
    names = values.columns
    distinct = values if values.height == 1 else values.unique()
    if values.height and not any(column.null_count() for column in values.get_columns()):
        yield tuple(names), (), distinct
        return
    pattern = pl.concat_str([pl.col(name).is_null().cast(pl.Int8()).cast(pl.String()) for name in names])
    for (nulls,), rows in distinct.group_by(pattern.alias("__nulls"), maintain_order=True):
        present = tuple(name for name, flag in zip(names, str(nulls), strict=True) if flag == "0")
        absent = tuple(name for name, flag in zip(names, str(nulls), strict=True) if flag == "1")
        yield present, absent, rows.select(present)


def split_name(text: str, quotes: str = '"') -> tuple[str, ...]:
    """The parts of a possibly quoted, possibly qualified name: `sales."Odd.Name"` -> (sales, Odd.Name). Doubled quotes stand for one."""
    parts: list[str] = []
    current, quote, index = "", "", 0
    while index < len(text):
        char = text[index]
        if quote:
            if char == quote and text[index + 1 : index + 2] == quote:
                current += quote
                index += 1
            elif char == quote:
                quote = ""
            else:
                current += char
        elif char in quotes and not current:
            quote = char
        elif char == ".":
            parts.append(current)
            current = ""
        else:
            current += char
        index += 1
    parts.append(current)
    return tuple(parts)


def conjunction(conditions: Sequence[str]) -> str:
    """The conditions joined by AND; TRUE-ish `1=1` when there are none."""
    return " AND ".join(conditions) or "1=1"
