"""Shadow deltas: what a system holds (`seen`) and stands for (`sent`), stored only where it differs from the golden record.

A delta is a JSON object `field -> cell text`, JSON null for the NULL cell; fields whose cell is absent are listed under the empty name.
No delta (None) means: as the golden record, field by field. In memory a delta is a long frame, one row per field that it names.

`sent` of a field that a system cannot be given follows `seen`: such a system stands for exactly what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import GID, NULL, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ABSENT_FIELDS = ""
DELTA_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String(), "cell": pl.String()})


def encode_delta(cells: dict[str, str | None]) -> str | None:
    """The JSON of one delta; None when it names no field. A None cell is an absent one."""
    if not cells:
        return None
    body: dict[str, object] = {name: (None if cell == NULL else cell) for name, cell in cells.items() if cell is not None}
    absent = [name for name, cell in cells.items() if cell is None]
    if absent:
        body[ABSENT_FIELDS] = absent
    return orjson.dumps(body).decode()


def decode_delta(text: str | None) -> dict[str, str | None]:
    """The cells that one delta names; empty for None."""
    if text is None:
        return {}
    body = orjson.loads(text)
    absent = body.pop(ABSENT_FIELDS, ())
    cells: dict[str, str | None] = {name: (NULL if cell is None else cell) for name, cell in body.items()}
    cells.update(dict.fromkeys(absent))
    return cells


def long_deltas(shadows: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row (__gid, __system, field, cell) per field named in the `seen` or `sent` (`column`) of these shadows (gid, system, …)."""
    rows = shadows.filter(pl.col(column).is_not_null()).select("gid", "system", column).rows()
    return pl.DataFrame(
        [(gid, system, name, cell) for gid, system, text in rows for name, cell in decode_delta(text).items()],
        schema=DELTA_SCHEMA,
        orient="row",
    )


def standing_for_what_it_shows(seen: str | None, sent: str | None, names: Collection[str]) -> str | None:
    """`sent` of a system that was not written in these fields before and is from now on: it stands for what it shows there."""
    told = decode_delta(sent)
    more = {name: cell for name, cell in decode_delta(seen).items() if name in names and name not in told}
    return encode_delta(told | more) if more else sent


def encode_deltas(pairs: Iterable[tuple[int, str]], cells: pl.DataFrame) -> list[str | None]:
    """The JSON per (gid, system) pair, in the order of `pairs`, from long rows (__gid, __system, field, cell)."""
    grouped: dict[tuple[int, str], dict[str, str | None]] = {}
    for gid, system, name, cell in cells.select(GID, SYSTEM, "field", "cell").rows():
        grouped.setdefault((gid, system), {})[name] = cell
    return [encode_delta(grouped.get(pair, {})) for pair in pairs]
