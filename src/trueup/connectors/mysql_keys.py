"""Key texts from values as they stand in the binary log, exactly as a reading gives them."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, cast

from trueup.connectors.base import join_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.mysql_tables import MyFacts, Native
    from trueup.connectors.sql_read import Table
    from trueup.model import ColumnType

_WHOLE = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_ENCODINGS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii", "latin1": "cp1252"}
_LENGTH = re.compile(r"binary\((\d+)\)")


def key_of(table: Table, values: Sequence[bytes | None]) -> str | None:
    """The key text of a row whose key columns hold these bytes; None where it cannot be told from them."""
    natives = cast("MyFacts", table.extra["mysql"]).natives
    parts = []
    for name, value in zip(table.key, values, strict=True):
        part = None if value is None else _part(value, table.column(name).info.type, natives[name])
        if part is None:
            return None
        parts.append(part)
    return join_key(parts)


def _part(value: bytes, kind: ColumnType, native: Native) -> str | None:
    """One column's part of a key; None for types that are not read here (decimals, times, sets)."""
    if native.name in _WHOLE:
        number = int.from_bytes(value, "little", signed=not native.unsigned)
        if kind == "boolean":
            return {0: "false", 1: "true"}.get(number)
        return str(number)
    match native.name:
        case "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext":
            try:
                return value.decode(_ENCODINGS[native.charset])
            except (KeyError, UnicodeDecodeError):
                return None
        case "binary" | "varbinary":
            length = _LENGTH.fullmatch(native.whole)  # zeros at the end are not logged
            return value.ljust(int(length[1]) if length else 0, b"\0").hex()
        case "date":
            packed = int.from_bytes(value, "little")
            try:
                return date(packed >> 9, packed >> 5 & 15, packed & 31).isoformat()
            except ValueError:
                return None
        case _:
            return None
