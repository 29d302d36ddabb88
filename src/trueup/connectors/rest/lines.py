"""Rows as lines of a text: JSON Lines and CSV (RFC 4180), as applications bring them and want them brought.

Cells of CSV are texts, with commas, semicolons or tabs between them; ours have commas. An empty one is no value; nothing tells an empty
text from it.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, Literal

from trueup.connectors.jsonl_text import parse_line
from trueup.connectors.rest.message import json_bytes
from trueup.connectors.rest.template import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Format = Literal["json", "jsonl", "csv"]
CONTENT_TYPES: dict[str, str] = {"json": "application/json", "jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}
_QUOTED = re.compile(r'"[^"]*"')
LONGEST_CELL = 64 * 1024 * 1024


def rows_of(body: bytes, form: Format) -> list[Any]:
    """The rows of an answer in JSON Lines or CSV. Raises ValueError where it is something else."""
    if form == "jsonl":
        return [parse_line(line) for line in body.splitlines() if line.strip()]
    csv.field_size_limit(LONGEST_CELL)
    try:
        whole = body.decode("utf-8-sig")
        lines = csv.reader(io.StringIO(whole, newline=""), strict=True, delimiter=_delimiter(whole))
        header = next(lines, [])
        if len(set(header)) < len(header):
            raise ValueError("two columns have the same name")
        rows = []
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(f"line {lines.line_num} has {len(cells)} cells, and there are {len(header)} columns")
            rows.append({name: cell or None for name, cell in zip(header, cells, strict=True)})
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    return rows


def _delimiter(whole: str) -> str:
    """What stands between the names of the columns; a comma where there is one name alone."""
    names = _QUOTED.sub("", whole.partition("\n")[0])
    return max(",;\t", key=names.count)


def bytes_of(rows: Sequence[Mapping[str, Any]], form: Format) -> bytes:
    """The rows as JSON Lines, or as CSV whose columns are the members of the first one; all of them have the same."""
    if form == "jsonl":
        return b"".join(json_bytes(row) + b"\n" for row in rows)
    lines = io.StringIO(newline="")
    out = csv.writer(lines, lineterminator="\n")
    names = list(rows[0])
    out.writerow(names)
    out.writerows([cell(row[name]) for name in names] for row in rows)
    return lines.getvalue().encode()


def cell(value: Any) -> str:
    """A value as it stands in a cell."""
    return "" if value is None else text(value)
