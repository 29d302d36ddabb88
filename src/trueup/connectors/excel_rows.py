"""Rows of a scanned sheet in the form of the connector contract: column types, keys, rejects, typed values, texts to compare by."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import Page, Reject
from trueup.connectors.excel_package import column_letters
from trueup.connectors.excel_scan import CONSTANT, ROW, cell_name
from trueup.connectors.excel_values import Kind, Look, number_text
from trueup.connectors.excel_xml import addresses
from trueup.core.cells import ABSENT, KEY
from trueup.errors import ObjectMissingError, ObjectUnreadableError
from trueup.model import ColumnInfo, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.excel_package import Range
    from trueup.connectors.excel_scan import Scan
    from trueup.model import ColumnType

MANY_DOUBLED = 10_000
SHOWN_ROWS = 5

_VALUES = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.TEXT, Kind.BOOLEAN, Kind.DATE, Kind.TIMESTAMP, Kind.TIME})
_NO_VALUE = [int(Kind.BLANK), int(Kind.ERROR), int(Kind.ABSENT), int(Kind.BAD)]
_SINGLE: dict[Kind, ColumnType] = {
    Kind.INTEGER: "integer",
    Kind.DECIMAL: "decimal",
    Kind.BOOLEAN: "boolean",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamp",
    Kind.TIME: "time",
}
_BLANK: dict[Look, ColumnType] = {
    Look.DATE: "date",
    Look.TIMESTAMP: "timestamp",
    Look.TIME: "time",
    Look.ELAPSED: "time",
    Look.NUMBER: "decimal",
    Look.WHOLE: "integer",
    Look.BOOLEAN: "boolean",
}
_DTYPES: dict[ColumnType, pl.DataType] = {
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us"),
}


def column_type(kinds: Mapping[int, int], blank: Look | None) -> ColumnType:
    """The type of a column from the kinds of its cells; of an empty one from its number format (`blank`)."""
    held = {Kind(kind) for kind, count in kinds.items() if count > 0} & _VALUES
    if not held:
        return _BLANK.get(blank, "text") if blank is not None else "text"
    if len(held) == 1:
        return _SINGLE.get(next(iter(held)), "text")
    if held == {Kind.INTEGER, Kind.DECIMAL}:
        return "decimal"
    return "timestamp" if held == {Kind.DATE, Kind.TIMESTAMP} else "text"


def dtype(kind: ColumnType) -> pl.DataType:
    """The Polars type of a column type."""
    return _DTYPES.get(kind, pl.String())


def typed(kind: pl.Expr, text: pl.Expr, type_: ColumnType, *, empty_is_text: bool) -> pl.Expr:
    """Typed values of cells; those without a value are null, or `""` in text columns where the mapping says so."""
    value = pl.when(~kind.is_in(_NO_VALUE)).then(text)
    if type_ == "integer":
        return value.cast(pl.Int64)
    if type_ == "boolean":
        return value == "true"
    if type_ == "date":
        return value.str.to_date("%Y-%m-%d")
    if type_ == "timestamp":
        whole = pl.when(value.str.len_bytes() == len("2026-01-31")).then(value + "T00:00:00").otherwise(value)
        return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")
    if type_ == "text" and empty_is_text:
        return pl.when(kind == int(Kind.BLANK)).then(pl.lit("")).otherwise(value)
    return value


def comparable(values: pl.Series) -> pl.Series:
    """Texts by which values as read (of any of our types) are compared with the texts of cells: midnight is its date, `""` is null."""
    if isinstance(values.dtype, pl.Datetime):
        text = values.dt.replace_time_zone(None).dt.to_string("%Y-%m-%dT%H:%M:%S%.f")
        frame = text.alias("text").to_frame()
        text = frame.select(
            pl.when(pl.col("text").str.contains(".", literal=True)).then(pl.col("text").str.strip_chars_end("0")).otherwise(pl.col("text"))
        ).to_series()
    elif values.dtype == pl.Date:
        text = values.dt.to_string("%Y-%m-%d")
    elif values.dtype.is_float():
        text = pl.Series([None if value is None else number_text(repr(value)) for value in values], dtype=pl.String)
    else:
        text = values.cast(pl.String)
    return comparable_texts(text)


def comparable_texts(text: pl.Series) -> pl.Series:
    """As `comparable`, for texts of cells (null where there is no value)."""
    name = text.name
    return text.alias("t").to_frame().select(
        pl.when(pl.col("t") != "").then(pl.col("t").str.strip_suffix("T00:00:00")).alias(name)
    ).to_series()  # fmt: skip


@dataclass(slots=True)
class SheetRows:
    """The rows of a scan under a key.

    keys      `__row`, `__key`: every usable row
    refused   key text -> why the rows of that key cannot be used (doubled)
    rejected  rows that are never shown, with reasons
    lost      a row's key cannot be read, so that the listing is not complete
    """

    scan: Scan
    path: str
    key: tuple[str, ...]
    empty_is_text: bool
    keys: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={ROW: pl.UInt32(), KEY: pl.String()}))
    refused: dict[str, str] = field(default_factory=dict)
    rejected: list[tuple[int, Reject]] = field(default_factory=list)
    lost: bool = False

    # ---------------------------------------------------------------- columns

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise ObjectUnreadableError for merged or doubled headers, ObjectMissingError for a column that is not there."""
        scan = self.scan
        place = f"the sheet {scan.sheet.name!r} of {self.path}"
        merged = self._merged_headers()
        covered = {name for name, number in scan.columns.items() if any(area.holds(scan.header_row, number) for area in merged)}
        if merged and (not scan.columns or any(column in covered or column not in scan.columns for column in columns)):
            message = f"{place} has merged cells in its header (row {scan.header_row}): {', '.join(map(str, merged[:SHOWN_ROWS]))}"
            hint = "unmerge them and give each column its own name, or let `header_row` name the row that holds the column names"
            raise ObjectUnreadableError(message, hint=hint, system=scan.system)
        if not scan.columns:
            message = f"{place} has no column names in row {scan.header_row}"
            raise ObjectMissingError(message, hint="set `header_row` to the row that holds the column names", system=scan.system)
        for column in columns:
            if column in scan.doubled:
                where = ", ".join(cell_name(scan.header_row, number) for number in scan.doubled[column])
                message = f"{place} has several columns named {column!r}: {where}"
                raise ObjectUnreadableError(message, hint="rename all but one of them", system=scan.system)
            if column not in scan.columns:
                near = difflib.get_close_matches(column, scan.columns, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"row {scan.header_row} names {', '.join(map(repr, scan.columns))}"
                raise ObjectMissingError(f"{place} has no column {column!r}", hint=hint, system=scan.system)

    def _merged_headers(self) -> list[Range]:
        return [area for area in self.scan.merged if area.top <= self.scan.header_row <= area.bottom]

    def remark(self) -> str:
        """Why columns may be missing that a person sees in the sheet; empty: nothing to say."""
        said = []
        if merged := self._merged_headers():
            said.append(
                f"its header (row {self.scan.header_row}) has merged cells, {', '.join(map(str, merged[:SHOWN_ROWS]))}: unmerge them"
            )
        if self.scan.doubled:
            said.append(f"several columns are named {', '.join(map(repr, self.scan.doubled))}: rename all but one")
        return "; ".join(said)

    def type_of(self, column: str) -> ColumnType:
        """The type of a column."""
        return column_type(self.scan.kinds[column], self.scan.blank_looks.get(self.scan.columns[column]))

    def info(self) -> ObjectInfo:
        """The sheet as discovered."""
        counts = Counter(dict(self.scan.formula_cells["col"].value_counts().iter_rows()))
        columns = {}
        for name, number in self.scan.columns.items():
            filled = sum(count for kind, count in self.scan.kinds[name].items() if kind != Kind.BLANK)
            calculated = counts[number] > 0 and (counts[number] >= filled or self._first_is_formula(number))
            columns[name] = ColumnInfo(
                name=name, type=self.type_of(name), native_type=f"column {column_letters(number)}", writable=not calculated
            )
        return ObjectInfo(
            name=self.scan.sheet.name, columns=columns, kind="sheet", assigns_key=True, rows=self.scan.rows, remark=self.remark()
        )

    def _first_is_formula(self, column: int) -> bool:
        first = next((frame[ROW][0] for frame in self.scan.frames()), None)
        cells = self.scan.formula_cells
        return first is not None and not cells.filter((pl.col("row") == first) & (pl.col("col") == column)).is_empty()

    # ---------------------------------------------------------------- keys

    def settle_keys(self) -> None:
        """Find usable keys, and reject rows without one. Raises as `check_columns`, and when most rows share their key."""
        self.check_columns(self.key)
        numbers = [self.scan.index(column) for column in self.key]
        kinds = [f"k{number}" for number in numbers]
        frames = []
        for frame in self.scan.frames():
            some = pl.any_horizontal(pl.col(kind) != int(Kind.BLANK) for kind in kinds)
            rows = frame.filter(pl.col(CONSTANT) | some)
            bad = pl.any_horizontal(pl.col(kind).is_in([int(Kind.ERROR), int(Kind.ABSENT), int(Kind.BAD)]) for kind in kinds)
            empty = pl.any_horizontal(pl.col(kind) == int(Kind.BLANK) for kind in kinds)
            frames.append(rows.select(ROW, pl.when(~bad & ~empty).then(self._key_text(numbers)).alias(KEY), bad.alias("bad")))
        if not frames:
            return
        found = pl.concat(frames)
        names = ", ".join(self.key)
        for row, bad in found.filter(pl.col(KEY).is_null()).select(ROW, "bad").iter_rows():
            reason = f"the key ({names}) cannot be read: it is an error or has no result" if bad else f"the key ({names}) is empty"
            self.rejected.append((row, Reject(None, reason, f"row {row}", self.key[0])))
            self.lost = self.lost or bad
        usable = found.filter(pl.col(KEY).is_not_null())
        doubled = usable.filter(pl.col(KEY).is_duplicated())
        self._refuse_doubled(doubled, usable.height, names)
        self.keys = usable.filter(~pl.col(KEY).is_duplicated()).select(ROW, KEY)

    def _key_text(self, numbers: list[int]) -> pl.Expr:
        texts = [pl.col(f"t{number}") for number in numbers]
        if len(texts) == 1:
            return texts[0]
        escaped = [text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True) for text in texts]
        return pl.concat_str(escaped, separator="|")

    def _refuse_doubled(self, doubled: pl.DataFrame, rows: int, names: str) -> None:
        if doubled.height >= MANY_DOUBLED and doubled.height * 2 >= rows:
            message = f"{doubled.height} rows of the sheet {self.scan.sheet.name!r} share their key ({names}) with another row"
            hint = "name the column, or the columns, that tell rows apart as `key`"
            raise ObjectUnreadableError(message, hint=hint, system=self.scan.system)
        for key, places in doubled.group_by(KEY, maintain_order=True).agg(ROW).iter_rows():
            shown = ", ".join(map(str, places[:SHOWN_ROWS])) + (", …" if len(places) > SHOWN_ROWS else "")
            reason = f"the key ({names}) occurs more than once: rows {shown}"
            self.refused[key] = reason
            self.rejected += [(row, Reject(key, reason, f"row {row}", self.key[0])) for row in places]

    # ---------------------------------------------------------------- pages

    def pages(self, columns: Sequence[str], keys: Sequence[str] | None, page_rows: int) -> Iterator[Page]:
        """The contract's pages: all rows, or those with the given keys."""
        wanted = None if keys is None else pl.Series(KEY, list(keys), dtype=pl.String).unique()
        asked = frozenset(keys or ())
        usable = self.keys if wanted is None else self.keys.filter(pl.col(KEY).is_in(wanted.implode()))
        rejected = tuple(reject for _, reject in sorted(self.rejected, key=lambda each: each[0]) if keys is None or reject.key in asked)
        for frame in self.scan.frames():
            rows = frame.join(usable, on=ROW, how="inner", maintain_order="left")
            shown, refused = self._shown(rows, columns)
            rejected += refused
            for page in shown.iter_slices(page_rows):
                if not page.is_empty():
                    yield Page(page, rejected=rejected)
                    rejected = ()
        yield Page(self._empty(columns), complete=not self.lost, rejected=rejected)

    def browsed(self, columns: Sequence[str], page_rows: int) -> Iterator[Page]:
        """Pages of all rows that hold anything, without their keys."""
        kinds = [f"k{self.scan.index(name)}" for name in self.scan.columns]
        rejected: tuple[Reject, ...] = ()
        for frame in self.scan.frames():
            some = pl.any_horizontal(pl.col(kind) != int(Kind.BLANK) for kind in kinds)
            rows = frame.filter(pl.col(CONSTANT) | some).with_columns(pl.lit(None, dtype=pl.String).alias(KEY))
            shown, refused = self._shown(rows, columns)
            rejected += tuple(replace(reject, key=None) for reject in refused)
            for page in shown.select(columns).iter_slices(page_rows):
                if not page.is_empty():
                    yield Page(page, rejected=rejected)
                    rejected = ()
        yield Page(self._empty(columns).select(columns), complete=True, rejected=rejected)

    def _shown(self, rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, tuple[Reject, ...]]:
        """Typed rows, and rejects of those that hold an error or an impossible date in a column asked for."""
        kinds = [f"k{self.scan.index(column)}" for column in columns]
        bad = pl.any_horizontal(pl.col(kind).is_in([int(Kind.ERROR), int(Kind.BAD)]) for kind in kinds) if kinds else pl.lit(value=False)
        refused = [self._reject_of(row, columns) for row in rows.filter(bad).iter_rows(named=True)]
        good = rows.filter(~bad)
        values = [self.values_of(column).alias(column) for column in columns]
        shown = good.select(pl.col(KEY), *values, *self._absent(columns))
        return shown, tuple(refused)

    def values_of(self, column: str) -> pl.Expr:
        """A column's typed values in a frame of the scan."""
        number = self.scan.index(column)
        return typed(pl.col(f"k{number}"), pl.col(f"t{number}"), self.type_of(column), empty_is_text=self.empty_is_text)

    def _absent(self, columns: Sequence[str]) -> list[pl.Expr]:
        affected = [column for column in columns if self.scan.kinds[column].get(int(Kind.ABSENT), 0)]
        if not affected:
            return []
        names = [
            pl.when(pl.col(f"k{self.scan.index(column)}") == int(Kind.ABSENT)).then(pl.lit(column)) for column in affected
        ]  # fmt: skip
        return [pl.concat_list(names).list.drop_nulls().alias(ABSENT)]

    def _reject_of(self, row: Mapping[str, object], columns: Sequence[str]) -> Reject:
        for column in columns:
            number = self.scan.index(column)
            kind, text = row[f"k{number}"], row[f"t{number}"]
            place = addresses([int(str(row[ROW]))], column_letters(self.scan.columns[column]))
            if kind == Kind.ERROR:
                return Reject(str(row[KEY]), f"cell {place} shows the error {text}", f"row {row[ROW]}", column)
            if kind == Kind.BAD:
                return Reject(str(row[KEY]), f"cell {place} holds {text}, which is no valid date or number", f"row {row[ROW]}", column)
        raise AssertionError(row)

    def _empty(self, columns: Sequence[str]) -> pl.DataFrame:
        schema: dict[str, pl.DataType] = {KEY: pl.String()} | {column: dtype(self.type_of(column)) for column in columns}
        if self._absent(columns):
            schema[ABSENT] = pl.List(pl.String())
        return pl.DataFrame(schema=schema)
