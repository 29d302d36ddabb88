"""From a batch of operations to edits of cells: preconditions, keys of new rows, what a cell can hold, and what an outcome then says."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import Outcomes, split_key
from trueup.connectors.excel_rows import column_type, comparable, comparable_texts, dtype, typed
from trueup.connectors.excel_scan import ROW, cell_name
from trueup.connectors.excel_splice import EMPTY, Edit
from trueup.connectors.excel_values import (
    EXACT_DIGITS,
    MAX_TEXT,
    Kind,
    number_text,
    serial_text,
    significant_digits,
    text_length,
    time_serial,
)
from trueup.connectors.excel_xml import MAX_ROWS
from trueup.connectors.filerows import CellRefusedError
from trueup.core.cells import KEY, OP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.excel_rows import SheetRows
    from trueup.connectors.filewrite import Sequence
    from trueup.model import ColumnType, ObjectSpec

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_UNCOMPARABLE = "\x00"  # stands for an error, or a result that the file does not hold: equal to nothing that was read


@dataclass(slots=True)
class _Accepted:
    """An operation that will be done. `before` holds the row's cells as scanned (empty for a new row)."""

    op: int
    key: str
    row: int
    before: Mapping[str, Any]


@dataclass(slots=True)
class WritePlan:
    """One batch, planned on one scan.

    edits    what is to be written, per row and column number
    new      row numbers of new records
    """

    rows: SheetRows
    obj: ObjectSpec
    batch: WriteBatch
    edits: dict[int, dict[int, Edit]] = field(default_factory=dict)
    new: set[int] = field(default_factory=set)
    _refusals: list[dict[str, Any]] = field(default_factory=list)
    _accepted: list[_Accepted] = field(default_factory=list)
    _formulas: dict[int, set[int]] = field(default_factory=dict)
    _new_keys: set[str] = field(default_factory=set)

    # ---------------------------------------------------------------- creates

    def create(self, sequence: Sequence) -> None:
        """Plan new rows after the last one."""
        scan = self.rows.scan
        self._note_formulas(None)
        taken = self._taken()
        assign = self._assignment(sequence)
        number = scan.last_row
        for row in self.batch.rows.iter_rows(named=True):
            values = {name: row[name] for name in self.batch.columns}
            try:
                self._refuse_totals()
                key = row[KEY] or self._key_of(values) or _assigned(assign, sequence)
                self._refuse_taken(key, taken)
                edits = self._new_row(number + 1, values | self._key_values(key))
            except CellRefusedError as error:
                self._refuse(row[OP], "rejected", row[KEY], error.reason, error.column)
                continue
            number += 1
            taken.add(key)
            self.new.add(number)
            self.edits[number] = edits
            self._accepted.append(_Accepted(row[OP], key, number, {}))

    def _refuse_totals(self) -> None:
        table = self.rows.scan.table()
        if table is not None and table.totals > 0:
            raise CellRefusedError(f"the Excel table {table.name} ends with a totals row: a new row cannot be put in without moving it")

    def _refuse_taken(self, key: str, taken: set[str]) -> None:
        if key in taken:
            raise CellRefusedError(f"a row with the key {key!r} exists already", self.rows.key[0])

    def _new_row(self, number: int, values: Mapping[str, Any]) -> dict[int, Edit]:
        if number > MAX_ROWS:
            raise CellRefusedError(f"the sheet is full: Excel has {MAX_ROWS:,} rows")
        edits = {}
        for name, value in values.items():
            column = self.rows.scan.columns[name]
            edit = self._edit(name, value, Kind.BLANK)
            if edit is EMPTY:
                continue
            self._refuse_untouchable(number, column, name)
            edits[column] = edit
        return edits

    def _taken(self) -> set[str]:
        """The keys of this batch that the sheet has already; new ones are added as they come."""
        given = {key for key in self.batch.rows[KEY] if key is not None}
        if set(self.rows.key) <= set(self.batch.rows.columns):
            given |= {key for values in self.batch.rows.select(self.rows.key).to_dicts() if (key := self._key_of(values))}
        here = self.rows.keys[KEY]
        return set(here.filter(here.is_in(pl.Series(sorted(given), dtype=pl.String).implode()))) | set(self.rows.refused)

    def _assignment(self, sequence: Sequence) -> str:
        """`sequence`, `uuid`, or empty: the caller gives the key. Without a wish: a sequence where all keys are whole numbers."""
        if self.obj.assign.startswith("field:") or len(self.rows.key) > 1:
            return ""
        keys = pl.concat([self.rows.keys[KEY], pl.Series(KEY, list(self.rows.refused), dtype=pl.String)])
        if self.obj.assign != "uuid":
            sequence.follow(keys)
        if self.obj.assign in {"sequence", "uuid"}:
            return self.obj.assign
        return "sequence" if keys.str.contains(r"^[0-9]{1,18}$").all() else "uuid"

    def _key_of(self, values: Mapping[str, Any]) -> str | None:
        """The key text of the key columns' values; None where one is missing."""
        parts = [comparable(pl.Series([values.get(name)]))[0] if values.get(name) is not None else None for name in self.rows.key]
        if any(part is None for part in parts):
            return None
        texts = [str(part) for part in parts]
        return texts[0] if len(texts) == 1 else "|".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)

    def _key_values(self, key: str) -> dict[str, Any]:
        try:
            parts = split_key(key, len(self.rows.key))
        except ValueError as error:
            raise CellRefusedError(str(error), self.rows.key[0]) from None
        return dict(zip(self.rows.key, parts, strict=True))

    # ---------------------------------------------------------------- updates and deletes

    def change(self) -> None:
        """Plan updates or deletes."""
        operations = self.batch.rows.join(self.rows.keys, on=KEY, how="left", maintain_order="left")
        present = self._scanned(operations)
        self._note_formulas(operations[ROW].drop_nulls())
        expected = self._expected()
        for row in operations.iter_rows(named=True):
            if row[ROW] is None:
                self._missing(row)
                continue
            if self.batch.kind == "delete" and row[ROW] in self.edits:
                self._refuse(row[OP], "gone", row[KEY], "the row was just deleted", None)
                continue
            before = present[row[ROW]]
            written = self._written(row)
            wanted = expected.get(row[OP], {})
            stale = [
                name
                for name, text in wanted.items()
                if (self.batch.kind == "delete" or name in written) and self._now_comparable(before, name) != text
            ]
            if stale:
                self._refuse(row[OP], "stale", row[KEY], "the row changed since it was read", stale[0])
                continue
            try:
                edits, key = self._cleared(row[ROW], before) if self.batch.kind == "delete" else self._updated(row, before, written)
            except CellRefusedError as error:
                self._refuse(row[OP], "rejected", row[KEY], error.reason, error.column)
                continue
            if edits:
                self.edits.setdefault(row[ROW], {}).update(edits)
            self._accepted.append(_Accepted(row[OP], key or row[KEY], row[ROW], before))

    def _scanned(self, operations: pl.DataFrame) -> dict[int, dict[str, Any]]:
        """The scanned cells of the rows to be changed, by row number."""
        wanted = operations.select(pl.col(ROW).cast(pl.UInt32)).drop_nulls().unique()
        found = [frame.join(wanted, on=ROW, how="semi") for frame in self.rows.scan.frames()]
        return {row[ROW]: row for frame in found for row in frame.iter_rows(named=True)}

    def _expected(self) -> dict[int, dict[str, str | None]]:
        """Per operation, the texts that the cells must still have."""
        expected = self.batch.expected
        if expected is None:
            return {}
        names = [name for name in expected.columns if not name.startswith("__")]
        texts = expected.select(OP).with_columns(comparable(expected[name]).alias(name) for name in names)
        return {row.pop(OP): row for row in texts.to_dicts()}

    def _now_comparable(self, before: Mapping[str, Any], name: str) -> str | None:
        """As `_comparable`; a cell that an earlier operation of this batch writes is no longer what was read."""
        written = self.rows.scan.columns[name] in self.edits.get(before[ROW], ())
        return _UNCOMPARABLE if written else self._comparable(before, name)

    def _comparable(self, before: Mapping[str, Any], name: str) -> str | None:
        number = self.rows.scan.index(name)
        kind = before[f"k{number}"]
        text: str = before[f"t{number}"]
        if kind == Kind.BLANK:
            return None
        if kind in {Kind.ERROR, Kind.BAD}:
            return _UNCOMPARABLE
        if kind == Kind.ABSENT:
            return None
        return str(comparable_texts(pl.Series([text]))[0]) if text.endswith("T00:00:00") else text

    def _missing(self, row: Mapping[str, Any]) -> None:
        key = row[KEY]
        if key in self.rows.refused:
            self._refuse(row[OP], "rejected", key, self.rows.refused[key], self.rows.key[0])
        elif self.rows.lost:
            places = ", ".join(reject.where for _, reject in self.rows.rejected[:5])
            self._refuse(row[OP], "rejected", key, f"no row with this key can be read, but the sheet has unreadable keys ({places})", None)
        else:
            self._refuse(row[OP], "gone", key, "there is no row with this key", None)

    def _written(self, row: Mapping[str, Any]) -> list[str]:
        named = row.get("__write")
        return list(self.batch.columns if named is None else named)

    def _updated(self, row: Mapping[str, Any], before: Mapping[str, Any], written: list[str]) -> tuple[dict[int, Edit], str | None]:
        """The edits of an update, and the row's new key where it changes."""
        edits = {}
        for name in written:
            number, column = self.rows.scan.index(name), self.rows.scan.columns[name]
            self._refuse_untouchable(row[ROW], column, name)
            edit = self._edit(name, row[name], Kind(before[f"k{number}"]))
            edits[column] = edit
        key = None
        if set(written) & set(self.rows.key):
            now = {name: row[name] if name in written else before[f"t{self.rows.scan.index(name)}"] for name in self.rows.key}
            key = self._key_of(now)
            if key is None:
                raise CellRefusedError("the key would be empty", self.rows.key[0])
            if key != row[KEY]:
                if key in self._new_keys or key in self.rows.refused or (self.rows.keys[KEY] == key).any():
                    raise CellRefusedError(f"a row with the key {key!r} exists already", self.rows.key[0])
                self._new_keys.add(key)
        return edits, key

    def _cleared(self, row: int, before: Mapping[str, Any]) -> tuple[dict[int, Edit], None]:
        """A deleted row is emptied in place: to move other rows up would bend every formula, chart and name that points at them."""
        scan = self.rows.scan
        if row in self._foreign():
            message = f"row {row} holds values or formulas outside the columns named in row {scan.header_row}"
            raise CellRefusedError(f"{message}: delete it by hand")
        for column in sorted(self._formulas.get(row, ())):
            raise CellRefusedError(f"cell {cell_name(row, column)} of the row holds a formula: delete the row by hand")
        edits = {}
        for number, (name, column) in enumerate(scan.columns.items()):
            if before[f"k{number}"] != Kind.BLANK:
                self._refuse_untouchable(row, column, name)
                edits[column] = EMPTY
        return edits, None

    def _foreign(self) -> set[int]:
        return set(self.rows.scan.foreign)

    # ---------------------------------------------------------------- cells

    def _note_formulas(self, rows: pl.Series | None) -> None:
        """Formula cells of these rows; None: of the rows after the last one."""
        cells = self.rows.scan.formula_cells
        last = self.rows.scan.last_row
        cells = cells.filter(pl.col("row") > last) if rows is None else cells.filter(pl.col("row").is_in(rows.cast(pl.UInt32).implode()))
        for row, column in cells.iter_rows():
            self._formulas.setdefault(row, set()).add(column)

    def _refuse_untouchable(self, row: int, column: int, name: str) -> None:
        if column in self._formulas.get(row, ()):
            raise CellRefusedError(f"cell {cell_name(row, column)} holds a formula, which is never overwritten", name)
        for area in self.rows.scan.merged:
            if area.holds(row, column) and (row, column) != (area.top, area.left):
                message = f"cell {cell_name(row, column)} lies inside the merged cells {area}, where its value would not be seen"
                raise CellRefusedError(message, name)

    def _edit(self, name: str, value: Any, held: Kind) -> Edit:
        """What to write into a cell that holds a value of kind `held`. Raises CellRefusedError when Excel cannot hold the value."""
        if value is None or value == "":
            return EMPTY
        type_ = self.rows.type_of(name)
        edit = self._text_edit(value, type_, held) if isinstance(value, str) else self._plain_edit(value)
        if edit is None:
            raise CellRefusedError(f"{value!r} cannot stand in an Excel cell", name)
        if edit.kind is Kind.TEXT and text_length(edit.raw) > MAX_TEXT:
            raise CellRefusedError(f"the text has {text_length(edit.raw):,} characters, an Excel cell holds {MAX_TEXT:,}", name)
        if edit.kind in {Kind.INTEGER, Kind.DECIMAL} and significant_digits(edit.raw) > EXACT_DIGITS:
            raise CellRefusedError(f"{edit.raw} has more than {EXACT_DIGITS} significant digits, which Excel cannot hold exactly", name)
        if not self.rows.scan.can_show(edit.kind):
            raise CellRefusedError("no cell of the workbook has a date format: give one to this column", name)
        return edit

    def _text_edit(self, value: str, type_: ColumnType, held: Kind) -> Edit | None:
        """A text becomes what the column holds where it is exactly the text of such a value; otherwise it stays text."""
        date1904 = self.rows.scan.book.date1904
        numeric = type_ in {"integer", "decimal"} or (type_ == "text" and held in {Kind.INTEGER, Kind.DECIMAL})
        if numeric and _NUMBER.fullmatch(value) and value != "-0":
            if type_ != "text" or number_text(value) == value:
                return Edit(Kind.DECIMAL, value)
        elif type_ == "boolean" and value in {"true", "false"}:
            return Edit(Kind.BOOLEAN, "1" if value == "true" else "0")
        elif type_ == "time" and (serial := time_serial(value)) is not None:
            return Edit(Kind.TIME, serial)
        elif type_ in {"date", "timestamp"} and (moment := _moment_of(value)) is not None:
            serial = serial_text(moment, date1904=date1904)
            if serial is not None:
                return Edit(Kind.TIMESTAMP if isinstance(moment, datetime) else Kind.DATE, serial)
        return Edit(Kind.TEXT, value)

    def _plain_edit(self, value: Any) -> Edit | None:
        """A value that is not text; None where Excel cannot hold it."""
        if isinstance(value, bool):
            return Edit(Kind.BOOLEAN, "1" if value else "0")
        if isinstance(value, int | Decimal):
            return Edit(Kind.DECIMAL, f"{value:f}" if isinstance(value, Decimal) else str(value))
        if isinstance(value, float):
            text = number_text(repr(value))
            return None if text is None else Edit(Kind.DECIMAL, text)
        if isinstance(value, date):
            moment = value.replace(tzinfo=None) if isinstance(value, datetime) else value
            serial = serial_text(moment, date1904=self.rows.scan.book.date1904)
            if serial is None:
                first = "1904" if self.rows.scan.book.date1904 else "1900"
                raise CellRefusedError(f"{value} is before {first}, where this workbook's dates begin")
            return Edit(Kind.TIMESTAMP if isinstance(value, datetime) else Kind.DATE, serial)
        if isinstance(value, time):
            serial = time_serial(value.isoformat())
            return None if serial is None else Edit(Kind.TIME, serial)
        return None

    # ---------------------------------------------------------------- outcomes

    def _refuse(self, op: int, status: str, key: str | None, reason: str, column: str | None) -> None:
        self._refusals.append({"op": op, "status": status, "key": key, "reason": reason, "column": column})

    def outcomes(self, stored: Mapping[tuple[int, int], tuple[Kind, str]]) -> pl.DataFrame:
        """The contract's outcomes; `stored` is what each edited cell now holds, by row and column number."""
        scan = self.rows.scan
        returning = self.batch.returning
        cells: dict[str, list[Any]] = {}
        types: dict[str, pl.DataType] = {}
        for name in returning:
            kinds, texts, counts = self._now(name, stored)
            type_ = column_type(counts, scan.blank_looks.get(scan.columns[name]))
            frame = pl.DataFrame({"k": pl.Series(kinds, dtype=pl.UInt8), "t": pl.Series(texts, dtype=pl.String)})
            types[name] = dtype(type_)
            cells[name] = frame.select(typed(pl.col("k"), pl.col("t"), type_, empty_is_text=self.rows.empty_is_text)).to_series().to_list()
        made = Outcomes(returning, types)
        for number, each in enumerate(self._accepted):
            row = None if self.batch.kind == "delete" else {name: cells[name][number] for name in returning}
            made.add(each.op, "done", key=each.key, stored=row)
        for refusal in self._refusals:
            made.add(refusal["op"], refusal["status"], key=refusal["key"], reason=refusal["reason"], column=refusal["column"])
        return made.frame()

    def _now(self, name: str, stored: Mapping[tuple[int, int], tuple[Kind, str]]) -> tuple[list[int], list[str], Counter[int]]:
        """Kinds and texts of a column in the accepted rows after the write, and how many of each kind the column then has."""
        number, column = self.rows.scan.index(name), self.rows.scan.columns[name]
        counts = Counter(self.rows.scan.kinds[name])
        kinds, texts = [], []
        for each in self._accepted:
            before = (each.before.get(f"k{number}", int(Kind.BLANK)), each.before.get(f"t{number}") or "")
            now = stored.get((each.row, column), before)
            counts[before[0]] -= 1
            counts[int(now[0])] += 1
            kinds.append(int(now[0]))
            texts.append(now[1])
        return kinds, texts, counts


def _moment_of(text: str) -> date | None:
    """The date or datetime of an ISO text; None when it is none."""
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-31") else datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _assigned(assign: str, sequence: Sequence) -> str:
    if assign == "sequence":
        return sequence.next()
    if assign == "uuid":
        return str(uuid.uuid4())
    raise CellRefusedError("the new row has no key, and this sheet gives none", None)
