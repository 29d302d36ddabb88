"""Key texts from values as PostgreSQL writes them out (ISO dates, UTC), exactly as a reading gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import join_key
from trueup.connectors.sql_types import cell_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.postgres_tables import PgFacts, PgType
    from trueup.connectors.sql_read import Table
    from trueup.model import ColumnType

WRITTEN_OUT = {"DateStyle": "ISO", "TimeZone": "UTC", "extra_float_digits": "1", "bytea_output": "hex"}
"""The session's settings under which values are written out as `key_of` reads them."""

_AS_IT_IS = {"int2", "int4", "int8", "oid", "text", "varchar", "name", "citext", "uuid", "char", "json", "jsonb", "time", "timetz"}
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d(?:\.\d+)?))?(\+00)?")  # no infinity, none before Christ


def key_of(table: Table, facts: PgFacts, values: Sequence[str | None]) -> str | None:
    """The key text of a row whose key columns hold these values; None where it cannot be told from them."""
    parts = []
    for name, value in zip(table.key, values, strict=True):
        part = None if value is None else _part(value, table.column(name).info.type, facts.types[name])
        if part is None:
            return None
        parts.append(part)
    return join_key(parts)


def _part(value: str, kind: ColumnType, pg: PgType) -> str | None:
    """One column's part of a key; None for types whose text form a reading does not show (money, inet, arrays)."""
    if pg.is_enum or pg.name in _AS_IT_IS:
        return value
    match pg.name:
        case "bpchar":
            return value.rstrip(" ")
        case "bool":
            return "true" if value in {"t", "true"} else "false"  # as it is written out, and as a cast writes it
        case "numeric" | "float4" | "float8":
            typed = pl.Series([value]).cast(pl.Float64() if kind == "float" else pl.String())
            text: str | None = pl.select(cell_text(pl.lit(typed), kind)).item()
            return text
        case "bytea":
            return value.removeprefix("\\x")
        case "date" | "timestamp" | "timestamptz":
            found = _MOMENT.fullmatch(value)
            if found is None:
                return None
            return "".join([found[1], f"T{found[2]}" if found[2] else "", "Z" if found[3] else ""])
        case _:
            return None
