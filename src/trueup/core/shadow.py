"""Shadow deltas: what a system holds (`seen`) and stands for (`sent`), stored only where it differs from the golden record.

A delta is a JSON object `field -> cell text`, JSON null for the NULL cell; fields whose cell is absent are listed under the empty name.
No delta (None) means: as the golden record, field by field. In memory a delta is a long frame, one row per field that it names.

`sent` of a field that a system cannot be given follows `seen`: such a system stands for exactly what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core import quick
from trueup.core.cells import GID, NULL, SYSTEM
from trueup.core.frames import constant, is_given, keep

if TYPE_CHECKING:
    from collections.abc import Collection

ABSENT_FIELDS = ""
FEW_ROWS = 200
_PLAIN = r'^\{"([^"\\]+)":"([^"\\]*)"\}$'
_ESCAPED = r'["\\\x00-\x1f]'
DELTA_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String(), "cell": pl.String()})
_NO_DELTAS = pl.DataFrame(schema=DELTA_SCHEMA)


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
    if shadows[column].null_count() == shadows.height:
        return _NO_DELTAS
    told = keep(shadows, is_given(shadows[column]))
    if told.height > FEW_ROWS and told[column].str.contains(_PLAIN).all():  # most deltas name one field: no need for Python's objects
        parts = pl.col(column).str.extract_groups(_PLAIN)
        return told.select(
            pl.col("gid").alias(GID),
            pl.col("system").alias(SYSTEM),
            parts.struct.field("1").alias("field"),
            parts.struct.field("2").alias("cell"),
        ).cast(DELTA_SCHEMA)
    if told.height <= FEW_ROWS:
        deltas = zip(*(told.get_column(name).to_list() for name in ("gid", "system", column)), strict=True)
        rows = [(gid, system, name, cell) for gid, system, text in deltas for name, cell in decode_delta(text).items()]
        if not rows:
            return _NO_DELTAS
        columns = zip(DELTA_SCHEMA.items(), zip(*rows, strict=True), strict=True)
        return quick.frame([quick.series(name, told, kind) for (name, kind), told in columns])
    named = [decode_delta(text) for text in told[column].to_list()]
    places = pl.Series([place for place, cells in enumerate(named) for _ in cells], dtype=pl.UInt32)
    return pl.DataFrame(
        {
            GID: told["gid"].gather(places),
            SYSTEM: told["system"].gather(places),
            "field": pl.Series([name for cells in named for name in cells], dtype=pl.String),
            "cell": pl.Series([cell for cells in named for cell in cells.values()], dtype=pl.String),
        },
        schema=DELTA_SCHEMA,
    )


def standing_for_what_it_shows(seen: str | None, sent: str | None, names: Collection[str]) -> str | None:
    """`sent` of a system that was not written in these fields before and is from now on: it stands for what it shows there."""
    told = decode_delta(sent)
    more = {name: cell for name, cell in decode_delta(seen).items() if name in names and name not in told}
    return encode_delta(told | more) if more else sent


def encode_deltas(pairs: pl.DataFrame, cells: pl.DataFrame) -> pl.Series:
    """The JSON per (gid, system) pair, in the order of `pairs`, from long rows (__gid, __system, field, cell)."""
    if cells.is_empty():
        return constant("", None, pairs.height, pl.String())
    if cells.height > FEW_ROWS and not cells.select(GID, SYSTEM).is_duplicated().any() and _fit_as_they_are(cells):
        text = pl.concat_str(pl.lit('{"'), "field", pl.lit('":"'), "cell", pl.lit('"}'))
        texts = cells.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system"), text.alias("text"))
        return pairs.join(texts, on=["gid", "system"], how="left", maintain_order="left")["text"]
    grouped: dict[tuple[int, str], dict[str, str | None]] = {}
    for gid, system, name, cell in zip(*(cells.get_column(name).to_list() for name in DELTA_SCHEMA), strict=True):
        grouped.setdefault((gid, system), {})[name] = cell
    known = zip(pairs.get_column("gid").to_list(), pairs.get_column("system").to_list(), strict=True)
    return quick.series("", [encode_delta(grouped.get(pair, {})) for pair in known], pl.String())


def _fit_as_they_are(cells: pl.DataFrame) -> bool:
    """Whether every name and cell stands in JSON as it is."""
    return cells["cell"].null_count() == 0 and not any(cells[name].str.contains(_ESCAPED).any() for name in ("field", "cell"))
