"""Rows that are lists of cells under a first row with names, as spreadsheets show them: made into records, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import NumberText

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROW = "$row"
"""Where a record keeps the number of its row; the first row, which has the names, is number 1."""


def header_of(cells: Any) -> list[str | None]:
    """The names in a first row, in their order; None where a column has none. Raises ValueError for one that is there twice."""
    names = [_name(cell) for cell in cells] if isinstance(cells, list) else []
    named = [name for name in names if name is not None]
    for name in named:
        if named.count(name) > 1:
            raise ValueError(f"two columns are called {name!r}")
    return names


def _name(cell: Any) -> str | None:
    if isinstance(cell, str | int | NumberText) and not isinstance(cell, bool):
        return str(cell).strip() or None
    return None


def records_of(rows: Sequence[Any]) -> tuple[list[str | None], list[Any]]:
    """The header, and the rows below it as records with their number (`ROW`). Rows without a value are none; missing cells are null.

    What is no list stays as it is. Raises ValueError for a header that cannot be used.
    """
    if not rows:
        return [], []
    header = header_of(rows[0])
    found: list[Any] = []
    for number, cells in enumerate(rows[1:], start=2):
        if not isinstance(cells, list):
            found.append(cells)
        elif any(cell not in ("", None) for cell in cells):
            padded = [*cells, *([None] * (len(header) - len(cells)))]
            found.append({ROW: number, **{name: cell for name, cell in zip(header, padded, strict=False) if name is not None}})
    return header, found


def cells_of(header: Sequence[str | None], values: Mapping[str, Any]) -> list[Any]:
    """Values in the order of a header, null where there is none. Raises ValueError for a value whose column is not there."""
    missing = [name for name in values if name not in header]
    if missing:
        raise ValueError(f"there is no column {missing[0]!r} any more")
    cells = [values.get(name) if name is not None else None for name in header]
    while cells and cells[-1] is None:
        cells.pop()
    return cells
