"""Short ways for the tests of workbooks: open, read all, write one batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tests.system.connectors import file_tools
from trueup.connectors.base import Reject, WriteBatch
from trueup.connectors.excel import ExcelConnector
from trueup.model import ColumnType, ObjectSpec


@dataclass(slots=True)
class Read:
    rows: list[dict[str, Any]]
    rejected: list[Reject] = field(default_factory=list)
    complete: bool = False


def connector(path: Path, **options: Any) -> ExcelConnector:
    return ExcelConnector.open("stock", {"path": path.name, **options}, directory=str(path.parent))


def read_all(book: ExcelConnector, columns: list[str], obj: ObjectSpec, **options: Any) -> Read:
    pages = list(book.read(obj, columns, **options))
    assert [page.complete for page in pages[:-1]] == [False] * (len(pages) - 1)
    rows = pl.concat([page.rows for page in pages]).to_dicts()
    return Read(rows, [reject for page in pages for reject in page.rejected], pages[-1].complete)


def everything(book: ExcelConnector, columns: list[str], obj: ObjectSpec) -> list[dict[str, Any]]:
    found = read_all(book, columns, obj)
    assert found.complete
    assert not found.rejected
    return found.rows


def types(book: ExcelConnector, obj: ObjectSpec) -> dict[str, ColumnType]:
    return {name: column.type for name, column in book.describe(obj).columns.items()}


def batch(
    kind: str, rows: list[dict[str, Any]], expected: list[dict[str, Any]] | None = None, returning: tuple[str, ...] = ()
) -> WriteBatch:
    """As for every file; an update writes the columns that it names."""
    if kind == "update":
        rows = [{"__write": [name for name in row if not name.startswith("__")], **row} for row in rows]
    return file_tools.batch(kind, rows, expected, returning)


def moment(text: str) -> datetime:
    """A wall clock reading, as cells hold it."""
    return datetime.fromisoformat(text)


def reasons(outcomes: pl.DataFrame) -> list[str | None]:
    return outcomes.sort("__op")["__reason"].to_list()
