"""Fingerprints: one signed 64-bit number per row, for comparing a row with its own former self and for sums over many rows.

Each column's text is hashed with XXH3 (stable by its specification, https://xxhash.com), multiplied by an odd number that belongs to
the column's name and to `VERSION`, and added up modulo 2**64. So columns may come in any order, no separator can be forged by a value,
null, absent and "" are three different things, and nothing depends on a library's own unstable row hash.

A native fingerprint says only "this row reads as it did before": a changed `VERSION` costs one full comparison and never a wrong result.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import polars_hash  # noqa: F401 (registers the `nchash` namespace of expressions)
import xxhash

from trueup.core import quick
from trueup.core.cells import ABSENT, NULL
from trueup.core.frames import FEW_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
_MASK = (1 << 64) - 1

_NULL_HASH = 0x9E37_79B9_7F4A_7C15  # stands for a null; any constant that no text is likely to hash to
_ABSENT_HASH = 0xC2B2_AE3D_27D4_EB4F  # stands for a column that this row does not have
_LIST_SEPARATOR = "\x1f"
_MICROSECONDS = (pl.Datetime("us"), pl.Datetime("us", "UTC"))
_NOTHING = frozenset({None, NULL, "", "[]"})
"""Cells on which no record is found."""


def native_fingerprint(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """One Int64 per row over raw native `columns`, in any order; never null. `__absent`, where the frame has it, counts."""
    absent = ABSENT in frame.columns
    if frame.height <= FEW_ROWS and not absent:
        return _few_fingerprints(frame, columns)
    terms = []
    for name in columns:
        hashed = _hash_text(_native_text(name, frame.get_column(name).dtype)).fill_null(_u64(_NULL_HASH))
        if absent:
            missing = pl.col(ABSENT).list.contains(name).fill_null(value=False)
            hashed = pl.when(missing).then(_u64(_ABSENT_HASH)).otherwise(hashed)
        terms.append(hashed * _u64(_multiplier(name)))
    return _total(frame, terms)


def _few_fingerprints(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """The same numbers row by row: setting up the work on whole columns takes longer than a few rows do."""
    types = [(name, frame.get_column(name).dtype) for name in columns]
    others = [_native_text(name, dtype) for name, dtype in types if not _has_text(dtype)]
    computed = {column.name: column for column in frame.select(others).get_columns()} if others else {}
    lists = [_texts(computed.get(name, frame.get_column(name))) for name in columns]
    texts = list(zip(*lists, strict=True))
    weights = [_multiplier(name) for name in columns]
    sums = [
        sum(
            (_NULL_HASH if text is None else xxhash.xxh3_64_intdigest(text.encode())) * weight
            for text, weight in zip(row, weights, strict=True)
        )
        for row in texts or [()] * frame.height
    ]
    return quick.series("fingerprint", [_signed(total) for total in sums], pl.Int64())


def _has_text(dtype: pl.DataType) -> bool:
    """Whether a column's text is simply what it casts to, or that of its microseconds."""
    return not isinstance(dtype, pl.List | pl.Datetime | pl.Binary) or dtype in _MICROSECONDS


def _texts(column: pl.Series) -> list[str | None]:
    """What the values cast to; times are microseconds."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        column, dtype = column.cast(pl.Int64), pl.Int64()
    if isinstance(dtype, pl.Int64):
        return [None if number is None else str(number) for number in column.to_list()]
    texts: list[str | None] = (column if isinstance(dtype, pl.String) else column.cast(pl.String)).to_list()
    return texts


def _signed(number: int) -> int:
    """A sum modulo 2**64 as a signed 64-bit number."""
    number &= _MASK
    return number - (1 << 64) if number >> 63 else number


def cell_fingerprint(frame: pl.DataFrame, fields: Sequence[str]) -> pl.Series:
    """One Int64 per row over cell columns `fields`, in any order; never null. Absent and null differ."""
    return _total(frame, [_hash_text(pl.col(name)).fill_null(_u64(_NULL_HASH)) * _u64(_multiplier(name)) for name in fields])


def key_hash(keys: pl.Series) -> pl.Series:
    """Int64 per key text; null for a null key."""
    if keys.len() <= FEW_ROWS and keys.dtype == pl.String:
        hashes = [None if key is None else _signed(xxhash.xxh3_64_intdigest(key.encode())) for key in keys.to_list()]
        return quick.series("hash", hashes, pl.Int64())
    return keys.to_frame("k").select(_hash_text(pl.col("k").cast(pl.String)).reinterpret(signed=True).alias("hash")).to_series()


def match_hash(frame: pl.DataFrame, fields: Sequence[str], rule_no: int) -> pl.Series:
    """Int64 per row over the cells a match rule compares; null where any of them is absent, null or empty: nothing never matches."""
    if frame.height <= FEW_ROWS:
        return _few_match_hashes(frame, fields, rule_no)
    cells = [pl.col(name) for name in fields]
    usable = pl.all_horizontal([cell.is_not_null() & ~cell.is_in([NULL, "", "[]"]) for cell in cells])
    terms = [_hash_text(cell) * _u64(_multiplier(f"{rule_no}/{number}")) for number, cell in enumerate(cells)]
    total = pl.sum_horizontal(terms) if len(terms) > 1 else terms[0]
    return frame.select(pl.when(usable).then(total.reinterpret(signed=True)).otherwise(None).alias("hash")).to_series()


def _few_match_hashes(frame: pl.DataFrame, fields: Sequence[str], rule_no: int) -> pl.Series:
    """The same numbers row by row."""
    weights = [_multiplier(f"{rule_no}/{number}") for number in range(len(fields))]
    hashes = [
        _signed(sum(xxhash.xxh3_64_intdigest(cell.encode()) * weight for cell, weight in zip(row, weights, strict=True)))
        if not _NOTHING.intersection(row)
        else None
        for row in quick.chosen(frame, fields).rows()
    ]
    return quick.series("hash", hashes, pl.Int64())


def bucket_sums(keys: pl.Series, fingerprints: pl.Series, buckets: int) -> pl.DataFrame:
    """Checksums of a set of rows in `buckets` parts by key: columns bucket Int64, rows UInt32, sum Int64; order of rows does not matter.

    `keys` are key hashes. Equal sums in a bucket mean equal (key, fingerprint) pairs there, but for a chance of about 2**-64.
    """
    frame = pl.DataFrame({"k": keys.reinterpret(signed=False), "f": fingerprints.reinterpret(signed=False)})
    pair = (_hash_text(pl.concat_str("k", pl.lit("/"), "f"))).reinterpret(signed=True)
    return (
        frame.select((pl.col("k") % buckets).cast(pl.Int64).alias("bucket"), pair.alias("sum"))
        .group_by("bucket")
        .agg(pl.len().cast(pl.UInt32).alias("rows"), pl.col("sum").sum())
        .sort("bucket")
    )


def checksums(keys: pl.Series, fingerprints: pl.Series) -> pl.Series:
    """UInt64 per (key, fingerprint), both Int64: their sum modulo 2**64 is the checksum of the rows, in whatever order they come."""
    frame = pl.DataFrame({"k": keys.reinterpret(signed=False), "f": fingerprints.reinterpret(signed=False)})
    return frame.select(_hash_text(pl.concat_str("k", pl.lit("/"), "f")).alias("checksum")).to_series()


def checksum(keys: pl.Series, fingerprints: pl.Series) -> int:
    """The checksum of rows modulo 2**64; 0 of none. Equal ones mean equal rows, but for a chance of about 2**-64."""
    each = checksums(keys, fingerprints)
    halves = pl.DataFrame({"low": each & 0xFFFF_FFFF, "high": each // 2**32}).sum()  # so that no sum runs over
    return (int(halves["low"][0] or 0) + (int(halves["high"][0] or 0) << 32)) & _MASK


def _total(frame: pl.DataFrame, terms: list[pl.Expr]) -> pl.Series:
    if not terms or frame.is_empty():
        return pl.repeat(0, frame.height, dtype=pl.Int64, eager=True).alias("fingerprint")
    total = terms[0]
    for term in terms[1:]:  # sum_horizontal would ask whether each is null; none is
        total = total + term
    return frame.select(total.reinterpret(signed=True).alias("fingerprint")).to_series()


def _native_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return column
    if isinstance(dtype, pl.List):
        items = column.list.eval(pl.element().cast(pl.String).fill_null(NULL))
        return items.list.len().cast(pl.String) + _LIST_SEPARATOR + items.list.join(_LIST_SEPARATOR)
    if isinstance(dtype, pl.Datetime):
        return column.dt.epoch("us").cast(pl.String)
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    return column.cast(pl.String)


def _hash_text(text: pl.Expr) -> pl.Expr:
    hashed: pl.Expr = cast("Any", text).nchash.xxh3_64()  # the namespace that importing polars_hash registers
    return hashed


@lru_cache(maxsize=4096)
def _multiplier(name: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{VERSION}\x00{name}".encode()) | 1


def _u64(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)
