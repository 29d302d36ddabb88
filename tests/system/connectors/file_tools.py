"""Short ways to write through a connector, for the tests of files."""

from __future__ import annotations

from typing import Any

import polars as pl

from trueup.connectors.base import WriteBatch


def batch(
    kind: str, rows: list[dict[str, Any]], expected: list[dict[str, Any]] | None = None, returning: tuple[str, ...] = ()
) -> WriteBatch:
    """A batch whose operations are numbered from 0; a row that says nothing else has no key."""
    numbered = [{"__op": number, "__key": None, **row} for number, row in enumerate(rows)]
    was = None if expected is None else pl.DataFrame([{"__op": number, **row} for number, row in enumerate(expected)])
    frame = pl.DataFrame(numbered, schema_overrides={"__key": pl.String}, infer_schema_length=None)
    return WriteBatch(kind=kind, rows=frame, expected=was, returning=returning)  # type: ignore[arg-type]


def statuses(outcomes: pl.DataFrame) -> list[str]:
    """Statuses in the order of operations."""
    return outcomes.sort("__op")["__status"].to_list()
