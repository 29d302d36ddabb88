"""One reading of a sheet: header, every data row with the kind and text of each cell, and what a write has to know about the rest.

A scan keeps each named column as two Polars columns, kind (`k0`, `k1`, …) and canonical text (`t0`, `t1`, …), in frames of some ten
thousand rows; beyond `ROWS_IN_MEMORY` they wait in a temporary directory. Column types follow from the kinds of all cells, so they are
the same on every page.
"""

from __future__ import annotations

import re
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup import scratch
from trueup.connectors.excel_package import Range, column_letters
from trueup.connectors.excel_styles import looks
from trueup.connectors.excel_values import Kind, Look, looks_fitting, number_text, serial_value, unescape_text
from trueup.connectors.excel_xml import (
    CELL_SCHEMA,
    XmlShapeError,
    cells_of,
    checked_pieces,
    mapped,
    plain,
    prefix_of,
    shared_strings,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trueup.connectors.excel_package import Package, Sheet

ROWS_IN_MEMORY = 200_000
ROW = "__row"
CONSTANT = "__constant"  # whether the row holds anything but formulas
WHOLE_DIGITS = 18  # whole numbers of more digits are decimals: they may not fit 64 bits

DECODED_SCHEMA: dict[str, pl.DataType] = {"row": pl.UInt32(), "col": pl.UInt32(), "kind": pl.UInt8(), "text": pl.String()}


@dataclass(frozen=True, slots=True)
class Book:
    """What the cells of every sheet of a workbook refer to."""

    strings: pl.Series
    looks: list[Look]
    date1904: bool

    @classmethod
    def load(cls, package: Package) -> Book:
        """Read shared strings and styles. Raises ObjectUnreadableError."""
        known = package.strings_part is not None and package.has(package.strings_part)
        strings = shared_strings(package, package.strings_part or "") if known else pl.Series([], dtype=pl.String)
        return cls(strings, looks(package), package.date1904)

    def look(self, style: int) -> Look:
        """What the cell style of this number makes of a number."""
        return self.looks[style] if style < len(self.looks) else Look.GENERAL


@dataclass(frozen=True, slots=True)
class Table:
    """An Excel table (list object) on the sheet: its part, its whole range, and how many totals rows end it."""

    part: str
    name: str
    range: Range
    totals: int


class Spool:
    """Frames kept in order: in memory while they are few, then in files of a temporary directory."""

    def __init__(self) -> None:
        """An empty spool."""
        self._frames: list[pl.DataFrame] = []
        self._folder: Path | None = None
        self._files: list[Path] = []
        self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Keep one more frame."""
        self._rows += frame.height
        if self._rows <= ROWS_IN_MEMORY:
            self._frames.append(frame)
            return
        if self._folder is None:
            self._folder = scratch.new_folder()
            # A reader that still walks through the frames keeps the spool, and so its files, alive.
            weakref.finalize(self, scratch.remove, self._folder)
        path = self._folder / f"{len(self._files)}.arrow"
        frame.write_ipc(path, compression="lz4")
        self._files.append(path)

    def frames(self) -> Iterator[pl.DataFrame]:
        """All frames in the order of `add`."""
        yield from self._frames
        for path in self._files:
            yield pl.read_ipc(path)


@dataclass(slots=True)
class Scan:
    """One reading of one sheet with one header row.

    columns       header text -> column number, in the order of the sheet; of a doubled header the first
    doubled       header text -> all its column numbers, where there are several
    frames        see the module's text; rows ascending; rows without any value in a named column are left out
    kinds         per named column, how many data cells of each kind
    formula_cells (row, col) of formulas and of cells that array formulas fill
    foreign       rows with values or formulas outside the named columns
    styles        per column and look, a style number in use there
    blank_looks   per column, what its empty styled cells (or the whole column's style) look like
    column_styles per column, the style number that its new cells take where no row says another
    """

    system: str
    sheet: Sheet
    header_row: int
    book: Book
    prefix: str = ""
    columns: dict[str, int] = field(default_factory=dict)
    doubled: dict[str, list[int]] = field(default_factory=dict)
    kinds: dict[str, Counter[int]] = field(default_factory=dict)
    formula_cells: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"row": pl.UInt32(), "col": pl.UInt32()}))
    foreign: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.UInt32))
    styles: dict[int, dict[Look, int]] = field(default_factory=dict)
    blank_looks: dict[int, Look] = field(default_factory=dict)
    column_styles: dict[int, int] = field(default_factory=dict)
    merged: list[Range] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    last_row: int = 0  # the last row with a constant in a named column; the header row when there is none
    rows: int = 0
    spool: Spool = field(default_factory=Spool)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The data rows in order."""
        return self.spool.frames()

    def index(self, column: str) -> int:
        """The number in `k0`, `t0` of a named column."""
        return list(self.columns).index(column)

    def fitting_style(self, column: int, style: int, kind: Kind) -> int:
        """The style for a value of this kind in a cell of this style: the same, unless it would show the value as something else."""
        fitting = looks_fitting(kind)
        if not fitting or self.book.look(style) in fitting:
            return style
        used = self.styles.get(column, {})
        for look in fitting:
            if look in used:
                return used[look]
        return next((number for look in fitting for number, each in enumerate(self.book.looks) if each is look), 0)

    def can_show(self, kind: Kind) -> bool:
        """Whether the workbook has a style that shows values of this kind as what they are."""
        fitting = looks_fitting(kind)
        return not fitting or any(look in fitting for look in self.book.looks)

    def table(self) -> Table | None:
        """The Excel table whose header is our header row, None when there is none."""
        used = set(self.columns.values())
        for table in self.tables:
            if table.range.top == self.header_row and used & set(range(table.range.left, table.range.right + 1)):
                return table
        return None


# ---------------------------------------------------------------- scanning

_SHEET_DATA = re.compile(r"<sheetData(?:\s[^>]*?)?(/?)>")
_COLUMN_STYLE = re.compile(r"<col\s([^>]*)>")
_ATTRIBUTE = re.compile(r'([\w:]+)\s*=\s*(?:"([^"]*)"|\'([^\']*)\')')
_MERGE = re.compile(r"<mergeCell\s([^>]*)>")


def attributes_of(text: str) -> dict[str, str]:
    """The attributes of a start tag."""
    return {name: double or single for name, double, single in _ATTRIBUTE.findall(text)}


def scan_sheet(package: Package, book: Book, sheet: Sheet, *, header_row: int, max_rows: int) -> Scan:
    """Read a sheet whole. Raises ObjectUnreadableError: damaged XML, or more than `max_rows` data rows."""
    try:
        scan = Scan(package.system, sheet, header_row, book, tables=tables_of(package, sheet))
        reader = _Reader(package, scan, max_rows)
        for text in reader.texts():
            reader.take(text)
    except XmlShapeError as error:
        message = f"the sheet {sheet.name!r} of {package.path} cannot be read: {error}"
        raise package.unreadable(message, "open and save the workbook in Excel") from None
    reader.finish()
    return scan


def tables_of(package: Package, sheet: Sheet) -> list[Table]:
    """The Excel tables on a sheet. Raises ObjectUnreadableError."""
    found = []
    for relation in package.relations(sheet.part).values():
        if relation.kind != "table":
            continue
        root = package.tree(relation.target)
        area = Range.parse(root.get("ref", ""))
        if area is not None and root.get("headerRowCount", "1") != "0":
            found.append(Table(relation.target, root.get("displayName", ""), area, whole(root.get("totalsRowCount", "0"))))
    return found


class _Reader:
    """Takes the pieces of a sheet in turn and fills the scan."""

    def __init__(self, package: Package, scan: Scan, max_rows: int) -> None:
        self.package = package
        self.scan = scan
        self.max_rows = max_rows
        self.seen_row = 0
        self.header_known = False
        self.totals: set[int] = set()
        self.formulas: list[pl.DataFrame] = []
        self.areas: list[Range] = []
        self.foreign: list[pl.Series] = []

    def texts(self) -> Iterator[str]:
        """The XML of whole rows, piece by piece; head and tail are noted on the way."""
        inside = False
        for number, piece in enumerate(checked_pieces(self.package, self.scan.sheet.part, "row")):
            text = piece.decode("utf-8-sig" if number == 0 else "utf-8")
            if number == 0:
                self.scan.prefix = prefix_of(text)
            text = plain(text, self.scan.prefix)
            if not inside:
                found = _SHEET_DATA.search(text)
                if found is None:
                    self._tail(text)
                    continue
                self._head(text[: found.start()])
                if found[1]:
                    self._tail(text[found.end() :])
                    return
                inside, text = True, text[found.end() :]
            rows, ended, tail = text.partition("</sheetData>")
            yield rows
            if ended:
                self._tail(tail)

    def _head(self, text: str) -> None:
        for found in _COLUMN_STYLE.findall(text):
            facts = attributes_of(found)
            look = self.scan.book.look(whole(facts.get("style", "0")))
            first, last = whole(facts.get("min", "1")), whole(facts.get("max", "1"))
            for column in range(first, min(last, first + 200) + 1):
                self._note_look(column, look, whole(facts.get("style", "0")))
                self.scan.column_styles[column] = whole(facts.get("style", "0"))

    def _note_look(self, column: int, look: Look, style: int) -> None:
        if look is not Look.GENERAL:
            self.scan.blank_looks[column] = look
        self.scan.styles.setdefault(column, {})[look] = style

    def _tail(self, text: str) -> None:
        for found in _MERGE.findall(text):
            area = Range.parse(attributes_of(found).get("ref", ""))
            if area is not None:
                self.scan.merged.append(area)

    def take(self, text: str) -> None:
        """One piece of rows."""
        cells = cells_of(text, self.seen_row + 1)
        if cells.is_empty():
            return
        first, last = cells.select(pl.col("row").min().alias("a"), pl.col("row").max().alias("b")).row(0)
        if first <= self.seen_row:
            message = f"row {first} stands twice or out of order"
            raise XmlShapeError(message)
        self.seen_row = last
        if not self.header_known:
            self._header(cells.filter(pl.col("row") == self.scan.header_row))
            self.header_known = last >= self.scan.header_row
        data = cells.filter(pl.col("row") > self.scan.header_row)
        if self.totals:
            data = data.filter(~pl.col("row").is_in(list(self.totals)))
        if not data.is_empty():
            self._data(data)

    def _header(self, cells: pl.DataFrame) -> None:
        shown = decode(cells, self.scan.book).filter(pl.col("kind") != Kind.BLANK).sort("col")
        for column, text in shown.select("col", "text").iter_rows():
            if not text:
                continue
            if text in self.scan.columns:
                self.scan.doubled.setdefault(text, [self.scan.columns[text]]).append(column)
            else:
                self.scan.columns[text] = column
        self.scan.kinds = {name: Counter() for name in self.scan.columns}
        table = self.scan.table()
        if table is not None and table.totals:
            self.totals = set(range(table.range.bottom - table.totals + 1, table.range.bottom + 1))

    def _data(self, cells: pl.DataFrame) -> None:
        named = pl.col("col").is_in(list(self.scan.columns.values()))
        self._note_formulas(cells)
        outside = cells.filter(~named & (pl.col("formula").is_not_null() | (pl.col("value").fill_null("") != "")))
        self.foreign.append(outside["row"].unique())
        self._note_looks(cells)
        decoded = decode(cells.filter(named), self.scan.book)
        if decoded.select(pl.struct("row", "col").is_duplicated().any()).item():
            message = "a cell stands twice"
            raise XmlShapeError(message)
        decoded = decoded.filter(pl.col("kind") != Kind.BLANK)
        if decoded.is_empty():
            return
        formula = cells.filter(pl.col("formula").is_not_null()).select("row", "col", pl.lit(value=True).alias("f"))
        constant = (decoded if formula.is_empty() else decoded.join(formula, on=["row", "col"], how="anti"))["row"].unique()
        rows = decoded.select(pl.col("row").unique().sort().alias(ROW)).with_columns(pl.col(ROW).is_in(constant.implode()).alias(CONSTANT))
        if constant.len():
            self.scan.last_row = max(self.scan.last_row, int(constant.max()))  # type: ignore[arg-type]
        self._keep(rows, decoded)

    def _note_formulas(self, cells: pl.DataFrame) -> None:
        with_formula = cells.filter(pl.col("formula").is_not_null())
        if with_formula.is_empty():
            return
        self.formulas.append(with_formula.select("row", "col"))
        for text in with_formula.filter(pl.col("formula").str.contains("array|dataTable"))["formula"]:
            area = Range.parse(attributes_of(text).get("ref", ""))
            if area is not None:
                self.areas.append(area)

    def _note_looks(self, cells: pl.DataFrame) -> None:
        styled = cells.filter(pl.col("style") > 0).group_by("col", "style").agg(pl.col("row").max()).sort("row")
        for column, style in styled.select("col", "style").iter_rows():
            self._note_look(column, self.scan.book.look(style), style)

    def _keep(self, rows: pl.DataFrame, decoded: pl.DataFrame) -> None:
        for number, (name, column) in enumerate(self.scan.columns.items()):
            here = decoded.filter(pl.col("col") == column)
            self.scan.kinds[name].update(dict(here["kind"].value_counts().iter_rows()))
            one = here.select(pl.col("row").alias(ROW), pl.col("kind").alias(f"k{number}"), pl.col("text").alias(f"t{number}"))
            rows = rows.join(one, on=ROW, how="left", maintain_order="left")
        rows = rows.with_columns(pl.col(f"k{number}").fill_null(int(Kind.BLANK)) for number in range(len(self.scan.columns)))
        self.scan.rows += rows.height
        if self.scan.rows > self.max_rows:
            message = f"the sheet {self.scan.sheet.name!r} of {self.package.path} holds more than {self.max_rows:,} rows"
            raise self.package.unreadable(message, "raise `max_rows` of this system, or move the records to a database")
        self.scan.spool.add(rows)

    def finish(self) -> None:
        """After the last piece."""
        scan = self.scan
        scan.last_row = max(scan.last_row, scan.header_row)
        if self.formulas:
            scan.formula_cells = pl.concat(self.formulas)
        filled = [
            (row, column) for area in self.areas for row in range(area.top, area.bottom + 1) for column in range(area.left, area.right + 1)
        ]
        if filled:
            more = pl.DataFrame(filled, schema={"row": pl.UInt32, "col": pl.UInt32}, orient="row")
            scan.formula_cells = pl.concat([scan.formula_cells, more]).unique()
        if self.foreign:
            scan.foreign = pl.concat(self.foreign).unique()


# ---------------------------------------------------------------- what cells hold

_WHOLE = r"^(?:0|-?[1-9][0-9]{0,14})$"
_FRACTION = r"^(?:-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9])$"
_PLAIN_CHARS = 16  # fifteen digits and the point
_TIME_LOOKS = [int(Look.DATE), int(Look.TIMESTAMP), int(Look.TIME), int(Look.ELAPSED)]


def decode(cells: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Kind and text of each cell: DECODED_SCHEMA, in any order; cells without a value are left out. Raises XmlShapeError."""
    empty = pl.col("value").fill_null("") == ""
    formula = pl.col("formula").is_not_null()
    kind = pl.col("type").fill_null("n")
    # Without a cached result there is no value element, or an empty one (an empty text result says type str).
    absent = cells.filter(formula & empty & ((kind != "str") | pl.col("value").is_null()))
    held = cells.filter(~empty)
    typed = {name: frame for (name,), frame in held.with_columns(kind.alias("type")).partition_by("type", as_dict=True).items()}
    shares = [_constant(absent, Kind.ABSENT, "")]
    for name, frame in typed.items():
        if name == "s":
            shares.append(_shared(frame, book.strings))
        elif name in {"str", "inlineStr"}:
            odd = frame["value"].str.contains("_x", literal=True)
            shares.append(_texts(frame, mapped(frame["value"], odd, unescape_text)))
        elif name == "b":
            shares.append(_with(frame, Kind.BOOLEAN, pl.when(pl.col("value") == "1").then(pl.lit("true")).otherwise(pl.lit("false"))))
        elif name == "e":
            shares.append(_with(frame, Kind.ERROR, pl.col("value")))
        elif name == "d":
            shares.append(_iso_dates(frame))
        elif name == "n":
            shares += _numbers(frame, book)
        else:
            message = f"a cell has the unknown type {name!r}"
            raise XmlShapeError(message)
    return pl.concat([share for share in shares if not share.is_empty()] or [pl.DataFrame(schema=DECODED_SCHEMA)])


def _with(cells: pl.DataFrame, kind: Kind, text: pl.Expr) -> pl.DataFrame:
    return cells.select("row", "col", pl.lit(int(kind), dtype=pl.UInt8).alias("kind"), text.alias("text"))


def _constant(cells: pl.DataFrame, kind: Kind, text: str) -> pl.DataFrame:
    return _with(cells, kind, pl.lit(text))


def _texts(cells: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
    return cells.select(
        "row", "col", pl.when(texts == "").then(int(Kind.BLANK)).otherwise(int(Kind.TEXT)).cast(pl.UInt8).alias("kind"), texts.alias("text")
    )


def _shared(cells: pl.DataFrame, strings: pl.Series) -> pl.DataFrame:
    places = cells["value"].str.strip_chars().cast(pl.UInt32, strict=False)
    if places.null_count() or (places.len() and int(places.max()) >= strings.len()):  # type: ignore[arg-type]
        message = "a cell refers to a shared text that is not there"
        raise XmlShapeError(message)
    return _texts(cells, strings.gather(places))


def _iso_dates(cells: pl.DataFrame) -> pl.DataFrame:
    """Dates as text (type d), which Excel reads and other programs write."""
    text = pl.col("value").str.strip_suffix("Z")
    date = text.str.contains(r"^\d{4}-\d\d-\d\d$")
    moment = text.str.contains(r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?$")
    parsed = pl.coalesce(text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False), text.str.to_datetime("%Y-%m-%dT%H:%M", strict=False))
    midnight = (parsed.dt.time() == pl.time(0, 0)).fill_null(value=False)
    kind = pl.when(date | (moment & midnight)).then(int(Kind.DATE)).when(moment).then(int(Kind.TIMESTAMP)).otherwise(int(Kind.BAD))
    shown = pl.when(moment & midnight).then(text.str.slice(0, 10)).when(moment).then(_trimmed(parsed.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")))
    return cells.select("row", "col", kind.cast(pl.UInt8).alias("kind"), shown.otherwise(text).alias("text"))


def _trimmed(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(".", literal=True)).then(text.str.strip_chars_end("0")).otherwise(text)


def _numbers(cells: pl.DataFrame, book: Book) -> list[pl.DataFrame]:
    styles = pl.Series([int(look) for look in book.looks], dtype=pl.UInt8)
    known = cells.select(pl.when(pl.col("style") < len(book.looks)).then(pl.col("style")).otherwise(0).fill_null(0)).to_series()
    cells = cells.with_columns(styles.gather(known).alias("look"))
    moments = pl.col("look").is_in(_TIME_LOOKS)
    return [_plain_numbers(cells.filter(~moments)), *_moments(cells.filter(moments), date1904=book.date1904)]


def _plain_numbers(cells: pl.DataFrame) -> pl.DataFrame:
    values = cells["value"]
    integers = values.str.contains(_WHOLE)
    usual = integers | (values.str.contains(_FRACTION) & (values.str.len_bytes() <= _PLAIN_CHARS))
    texts = mapped(values, ~usual, lambda value: number_text(value) or "")
    integer = ~texts.str.contains(".", literal=True) & (texts.str.strip_chars_start("-").str.len_bytes() <= WHOLE_DIGITS)
    kind = (
        pl.when(texts == "").then(int(Kind.BAD))
        .when(integer & (pl.col("look") == int(Look.WHOLE))).then(int(Kind.INTEGER))
        .otherwise(int(Kind.DECIMAL))
    )  # fmt: skip
    return cells.select("row", "col", kind.cast(pl.UInt8).alias("kind"), texts.alias("text"))


_EPOCH_SERIAL = 25_569  # 1 January 1970 in the 1900 system
_EPOCH_SERIAL_1904 = 24_107
_LAST_SERIAL = 2_958_465
_LEAP_SERIAL = 61  # 1 March 1900: from here on the 1900 system is right
_DAY_MS = 86_400_000


def _moments(cells: pl.DataFrame, *, date1904: bool) -> list[pl.DataFrame]:
    """Cells shown as dates or times: the common ones by columns, the rest (times, durations, the first days of 1900) one by one."""
    serial = pl.col("value").cast(pl.Float64, strict=False)
    cells = cells.with_columns(serial=serial)
    usual = (
        pl.col("look").is_in([int(Look.DATE), int(Look.TIMESTAMP)])
        & pl.col("serial").is_between(_LEAP_SERIAL, _LAST_SERIAL - 1462)
    ).fill_null(value=False)  # fmt: skip
    total = (pl.col("serial") * _DAY_MS).round().cast(pl.Int64)
    epoch = _EPOCH_SERIAL_1904 if date1904 else _EPOCH_SERIAL
    date_only = (pl.col("look") == int(Look.DATE)) & (total % _DAY_MS == 0)
    moment = (total - epoch * _DAY_MS).cast(pl.Datetime("ms"))
    fast = cells.filter(usual).select(
        "row",
        "col",
        pl.when(date_only).then(int(Kind.DATE)).otherwise(int(Kind.TIMESTAMP)).cast(pl.UInt8).alias("kind"),
        pl.when(date_only)
        .then(moment.dt.to_string("%Y-%m-%d"))
        .otherwise(_trimmed(moment.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")))
        .alias("text"),
    )
    rest = cells.filter(~usual)
    pairs = [_one_moment(value, Look(look), date1904=date1904) for value, look in rest.select("value", "look").iter_rows()]
    slow = rest.select(
        "row",
        "col",
        pl.Series("kind", [int(kind) for kind, _ in pairs], dtype=pl.UInt8),
        pl.Series("text", [text for _, text in pairs], dtype=pl.String),
    )
    return [fast, slow]


def _one_moment(value: str, look: Look, *, date1904: bool) -> tuple[Kind, str]:
    return (Kind.BAD, value) if number_text(value) is None else serial_value(value, look, date1904=date1904)


def cell_name(row: int, column: int) -> str:
    """`C7`."""
    return f"{column_letters(column)}{row}"


__all__ = ["CELL_SCHEMA", "CONSTANT", "ROW", "Book", "Scan", "Table", "cell_name", "decode", "scan_sheet"]
