"""A new, empty workbook with a header row, whose columns are formatted for what they will hold."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMATS = {
    "integer": "0",
    "decimal": "General;-General",
    "float": "General;-General",
    "date": "yyyy-mm-dd",
    "timestamp": "yyyy-mm-dd hh:mm:ss",
    "time": "hh:mm:ss",
    "text": "@",
}


def new_workbook(sheet: str | None, header_row: int, columns: Mapping[str, str]) -> bytes:
    """The bytes of a workbook with one sheet (`Sheet1` unless named) and these columns (name -> column type)."""
    from openpyxl import Workbook
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook()
    page = book.active
    if page is None:
        raise AssertionError(sheet)
    page.title = sheet or "Sheet1"
    for number, (name, kind) in enumerate(columns.items(), 1):
        cell = page.cell(header_row, number, name)
        cell.data_type = "s"  # also where a name looks like a formula
        cell.font = Font(bold=True)
        dimension = page.column_dimensions[get_column_letter(number)]
        dimension.number_format = _FORMATS.get(kind, "General")
        dimension.width = 18
    page.freeze_panes = f"A{header_row + 1}"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()
