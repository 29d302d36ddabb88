"""Small columns and frames made by Polars' own core, past its Python, which takes ten times as long for a value or two.

What stands in `_plr` is not promised by Polars: where it is not as it was, the ways that are promised are taken. Both give the same.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MAKERS: dict[pl.DataType, Callable[[str, Sequence[Any], bool], Any]] = {}
_new_frame: Callable[[list[Any]], Any] | None = None
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def _moments(name: str, values: Sequence[datetime | None], strict: bool) -> Any:  # noqa: FBT001  as Polars' own makers
    """Times as microseconds in UTC; a naive one is in UTC."""
    aware = [value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC) for value in values]
    column = PySeries.new_opt_i64(name, [None if value is None else (value - _EPOCH) // _MICROSECOND for value in aware], strict)
    return pl.Series._from_pyseries(column).cast(pl.Datetime("us", "UTC"))._s  # noqa: SLF001


try:
    from polars._plr import PyDataFrame, PySeries

    # Looked for, and not called: to gather starts Polars' threads, which nothing that is merely loaded may do.
    _gather = pl.Series._from_pyseries(PySeries.new_str("", [""], True)).to_frame()._df.select([""]).gather  # noqa: SLF001
    pl.DataFrame._from_pydf(PyDataFrame([pl.Series([1])._s]))  # noqa: SLF001
except (ImportError, AttributeError, TypeError):  # pragma: no cover - another Polars
    pass
else:
    _MAKERS = {pl.String(): PySeries.new_str, pl.Int64(): PySeries.new_opt_i64, pl.Boolean(): PySeries.new_opt_bool}
    _MAKERS |= {pl.UInt32(): PySeries.new_opt_u32, pl.Datetime("us", "UTC"): _moments}
    _new_frame = PyDataFrame


def series(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """A column of values that are of its type, or None. Raises TypeError for other ones."""
    make = _MAKERS.get(dtype)
    if make is None:
        return pl.Series(name, values, dtype=dtype)
    return pl.Series._from_pyseries(make(name, values, True))  # noqa: SLF001


def frame(columns: Sequence[pl.Series]) -> pl.DataFrame:
    """Columns of one length and of different names, side by side."""
    if _new_frame is None:
        return pl.DataFrame(columns)
    return pl.DataFrame._from_pydf(_new_frame([column._s for column in columns]))  # noqa: SLF001


def chosen(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """These columns, in this order. Raises ColumnNotFoundError."""
    if _new_frame is None:
        return rows[list(names)]
    return pl.DataFrame._from_pydf(rows._df.select(list(names)))  # noqa: SLF001


def taken(rows: pl.DataFrame, places: Sequence[int]) -> pl.DataFrame:
    """The rows at these places, in this order."""
    if _new_frame is None:
        return rows[list(places)] if places else rows.clear()
    return pl.DataFrame._from_pydf(rows._df.gather(list(places)))  # noqa: SLF001


def table(columns: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Columns of one length under these names."""
    return frame([column.alias(name) for name, column in columns.items()])
