"""The Excel connector takes the exam; the judge of what a workbook holds is openpyxl."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from trueup.connectors.excel import ExcelConnector
from trueup.model import ColumnType, ObjectSpec
from trueup.testing.conformance import ConnectorSuite, RowsWorld, Traits, Trial, World
from trueup.testing.conformance_world import Row

FORMATS: dict[ColumnType, str] = {
    "text": "@",
    "integer": "0",
    "decimal": "0.00",
    "boolean": '"TRUE";"TRUE";"FALSE"',
    "date": "dd/mm/yyyy",
    "timestamp": "dd/mm/yyyy hh:mm:ss.000",
}


class ExcelWorld(RowsWorld):
    """One workbook; each object is a sheet of it."""

    connector = ExcelConnector
    traits = Traits(
        types=frozenset(FORMATS),
        empty_text=False,
        misfits=True,
        assign="sequence",
        max_text=32_767,
        integer_digits=15,
        decimal_digits=15,
        fraction_digits=3,
        first_date=date(1900, 1, 1),
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self.path = directory / "book.xlsx"
        self.trials: dict[str | None, Trial] = {}
        book = openpyxl.Workbook()
        book.worksheets[0]["A1"] = "a sheet of no object"
        book.save(self.path)

    def settings(self) -> dict[str, Any]:
        return {"path": self.path.name}

    def make(self, name: str, trial: Trial) -> None:
        self.trials[name] = trial
        book = openpyxl.load_workbook(self.path)
        sheet = book.create_sheet(name)
        for number, (column, facts) in enumerate(trial.columns.items(), 1):
            sheet.cell(1, number, column)
            sheet.column_dimensions[sheet.cell(1, number).column_letter].number_format = FORMATS[facts.type]
        book.save(self.path)

    def load(self, obj: ObjectSpec) -> list[Row]:
        sheet = openpyxl.load_workbook(self.path)[str(obj.name)]
        header = [str(cell.value) for cell in sheet[1]]
        rows = [dict(zip(header, map(self._loaded, cells), strict=True)) for cells in sheet.iter_rows(min_row=2, values_only=True)]
        return [row for row in rows if any(value is not None for value in row.values())]

    def _loaded(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), value)
        return Decimal(repr(value)) if isinstance(value, float) else value

    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        book = openpyxl.load_workbook(self.path)
        sheet = book[str(obj.name)]
        sheet.delete_rows(2, sheet.max_row)
        types = {name: column.type for name, column in self.trials[obj.name].columns.items()} if obj.name in self.trials else {}
        header = [str(cell.value) for cell in sheet[1]]
        for place, row in enumerate(rows, 2):
            for number, name in enumerate(header, 1):
                cell = sheet.cell(place, number, self._saved(row.get(name)))
                if isinstance(row.get(name), str):
                    cell.data_type = "e" if row[name] == "#N/A" else "s"
                cell.number_format = FORMATS[types.get(name, "text")]
        book.save(self.path)

    def _saved(self, value: Any) -> Any:
        return value.replace(tzinfo=None) if isinstance(value, datetime) else value

    def spoil(self, obj: ObjectSpec, where: Row, column: str) -> None:
        self.edit(obj, where, {column: "#N/A"})


class TestExcel(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        world = ExcelWorld(tmp_path)
        yield world
        world.close()
