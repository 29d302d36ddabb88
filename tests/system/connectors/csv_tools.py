"""Short ways for the tests of CSV files, and their judge: a parser so simple that it can be seen to be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from trueup.connectors.base import Page
from trueup.connectors.csv import CsvConnector
from trueup.model import ObjectSpec

OBJ = ObjectSpec(name=None, key=("id",), assign="sequence")


def connector(path: Path, **options: Any) -> CsvConnector:
    return CsvConnector.open("sheet", {"path": path.name, **options}, directory=str(path.parent))


def read_all(sheet: CsvConnector, columns: list[str], obj: ObjectSpec = OBJ, **options: Any) -> tuple[list[dict[str, Any]], Page, list]:
    pages = list(sheet.read(obj, columns, **options))
    assert [page.complete for page in pages[:-1]] == [False] * (len(pages) - 1)
    rows = pl.concat([page.rows for page in pages], how="diagonal").to_dicts()
    return rows, pages[-1], [reject for page in pages for reject in page.rejected]


class NotWellFormed(Exception):  # noqa: N818 - a verdict on the data, not an error
    """The judge cannot say what the text holds."""


def naive_quoted(data: str, position: int) -> tuple[str, int]:
    """The value of the quoted field that starts at `position`, and the position after it."""
    value, position = "", position + 1
    while position < len(data):
        if data[position] == '"':
            if data[position + 1 : position + 2] != '"':
                return value, position + 1
            position += 1
        value += data[position]
        position += 1
    raise NotWellFormed


def naive_plain(data: str, position: int) -> tuple[str, int]:
    """The same for a field without quotes."""
    end = position
    while end < len(data) and data[end] not in ",\n":
        end += 1
    value = data[position:end]
    return (value if data[end : end + 1] == "," else value.removesuffix("\r")), end


def naive(data: str) -> list[list[str]]:
    """RFC 4180, one character at a time. Raises NotWellFormed."""
    rows: list[list[str]] = []
    row: list[str] = []
    position = 0
    while position < len(data) or row:
        read = naive_quoted if data[position : position + 1] == '"' else naive_plain
        value, position = read(data, position)
        row.append(value)
        if data[position:].startswith("\r\n") or data[position:] == "\r":
            position += 1
        if data[position : position + 1] not in {",", "\n", ""}:
            raise NotWellFormed
        if data[position : position + 1] != ",":
            rows.append(row)
            row = []
        position += 1
    return rows


CELL = st.text(alphabet='ab",;\n\r \u00e9', max_size=5)


def as_cell(value: str, quoted: bool) -> str:
    if quoted or any(char in value for char in '",\n\r'):
        return '"' + value.replace('"', '""') + '"'
    return value


@st.composite
def well_formed(draw: st.DrawFn) -> tuple[str, list[list[str]]]:
    width = draw(st.integers(2, 3))
    rows = draw(st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=5))
    ends = [draw(st.sampled_from(["\n", "\r\n"])) for _ in rows]
    lines = [",".join(as_cell(cell, draw(st.booleans())) for cell in row) + end for row, end in zip(rows, ends, strict=True)]
    text = ",".join(f"c{n}" for n in range(width)) + "\n" + "".join(f"{n},{line}" for n, line in enumerate(lines))
    return "id," + text, rows
