"""Small steps on frames that cost next to nothing where there is next to nothing to do.

One record takes the same path as a first load, on frames of one row or none. Polars plans and optimises each `select`, `filter` and `join`
anew, which takes longer than the work itself there: forty to two hundred microseconds, where arithmetic on columns, `hstack` and a frame
put together from columns take five to ten. So the steps that every pass takes are written with these, which do nothing where all rows
stay or none, and copy nothing where columns are only chosen or renamed. They give what the operation of Polars gives, in the same order.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core import quick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEW_ROWS = 64
"""Up to so many rows are looked up one by one: that is faster than setting up the work on whole columns."""


def keep(rows: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    """The rows for which `mask` is true; null is not. The frame itself where all are, which is not copied."""
    many = mask.sum() or 0
    if many == rows.height:
        return rows
    if not many:
        return rows.clear()
    if rows.height > FEW_ROWS:
        return rows.filter(mask)
    places = [place for place, stays in enumerate(mask.to_list()) if stays]
    return rows.slice(places[0], 1) if many == 1 else quick.taken(rows, places)


def kept(column: pl.Series, mask: pl.Series) -> pl.Series:
    """As `keep`, for one column."""
    many = mask.sum() or 0
    if many == column.len():
        return column
    return column.filter(mask) if many else column.clear()


def only(rows: pl.DataFrame, others: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """The rows that `others` has as well: a semi join."""
    if rows.is_empty() or others.is_empty():
        return rows.clear()
    if _few(rows, others):
        return keep(rows, among(rows, others, on))
    return rows.join(others, on=list(on), how="semi", maintain_order="left")


def without(rows: pl.DataFrame, others: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """The rows that `others` does not have: an anti join."""
    if rows.is_empty() or others.is_empty():
        return rows
    if _few(rows, others):
        return keep(rows, ~among(rows, others, on))
    return rows.join(others, on=list(on), how="anti", maintain_order="left")


def _few(rows: pl.DataFrame, others: pl.DataFrame) -> bool:
    return rows.height <= FEW_ROWS and others.height <= FEW_ROWS


def _keys(rows: pl.DataFrame, on: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(rows.get_column(name).to_list() for name in on), strict=True))


def among(rows: pl.DataFrame, others: pl.DataFrame, on: Sequence[str]) -> pl.Series:
    """Per row whether `others` has it; a null is like nothing, as in a join."""
    if rows.height > FEW_ROWS or others.height > FEW_ROWS:
        theirs = others.select(*on, pl.lit(value=True).alias("_there")).unique(list(on))
        return rows.select(on).join(theirs, on=list(on), how="left", maintain_order="left")["_there"].fill_null(value=False)
    known = set(_keys(others, on))
    return mask_of([row in known and None not in row for row in _keys(rows, on)])


def found(rows: pl.DataFrame, others: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """The rows with the other columns of `others`, null where it has none: a left join. `others` has a row once at most."""
    if rows.height == others.height and all(_alike(rows.get_column(name), others.get_column(name)) for name in on):
        return rows.hstack(_but(others, on))
    if others.is_empty():
        return rows.hstack([constant(column.name, None, rows.height, column.dtype) for column in _but(others, on)])
    if not _few(rows, others):
        return rows.join(others, on=list(on), how="left", maintain_order="left")
    columns = _but(others, on)
    values = dict(zip(_keys(others, on), zip(*(column.to_list() for column in columns), strict=True), strict=True)) if columns else {}
    nothing = (None,) * len(columns)
    told = [values.get(key, nothing) if None not in key else nothing for key in _keys(rows, on)]
    return rows.hstack([quick.series(column.name, [row[at] for row in told], column.dtype) for at, column in enumerate(columns)])


def _alike(left: pl.Series, right: pl.Series) -> bool:
    return not left.null_count() and left.equals(right)


def with_each(rows: pl.DataFrame, others: pl.DataFrame, on: str) -> pl.DataFrame:
    """Every row beside each of `others` that has the same value: an inner join. None is null there."""
    if not _few(rows, others):
        return rows.join(others, on=on)
    places: dict[Any, list[int]] = {}
    for place, value in enumerate(others[on].to_list()):
        places.setdefault(value, []).append(place)
    places.pop(None, None)
    pairs = [(mine, theirs) for mine, value in enumerate(rows[on].to_list()) for theirs in places.get(value, ())]
    left, right = rows.rows(), dropped(others, [on])
    if not pairs:
        return rows.clear().hstack(right.clear())
    values = right.rows()
    told = zip(*((*left[mine], *values[theirs]) for mine, theirs in pairs), strict=True)
    columns = zip((*rows.get_columns(), *right.get_columns()), told, strict=True)
    return quick.frame([quick.series(column.name, list(values), column.dtype) for column, values in columns])


def _but(rows: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    return [column for column in rows.get_columns() if column.name not in names]


def one_of(column: pl.Series, values: pl.Series) -> pl.Series:
    """Per value whether it is among `values`; false for a null."""
    if column.len() <= FEW_ROWS and values.len() <= FEW_ROWS:
        known = set(values.to_list()) - {None}
        return mask_of([value in known for value in column.to_list()])
    return column.is_in(values.implode()).fill_null(value=False)


def stacked(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all parts, which have the same columns in the same order; empty parts may lack the types. One part at least."""
    filled = [part for part in parts if not part.is_empty()] or parts[:1]
    if len(filled) > 1 and sum(part.height for part in filled) <= FEW_ROWS:
        return reduce(pl.DataFrame.vstack, filled)
    return filled[0] if len(filled) == 1 else pl.concat(filled)


def by_value(rows: pl.DataFrame, name: str) -> list[tuple[str, pl.DataFrame]]:
    """The rows for each value of a text column, in the order of their first."""
    return [(value, keep(rows, rows[name] == value)) for value in distinct(rows[name]).to_list()]


def first_of_each(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The first row of those that are alike in the columns `by`, in the order of the rows."""
    if rows.height > FEW_ROWS:
        return rows.unique(list(by), keep="first", maintain_order=True)
    if rows.height < 2:
        return rows
    places: dict[tuple[Any, ...], int] = {}
    keys = _keys(rows, by)
    return keep(rows, mask_of([places.setdefault(key, place) == place for place, key in enumerate(keys)]))


def last_of_each(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The last row of those that are alike in the columns `by`, in the order of the rows."""
    if rows.height > FEW_ROWS:
        return rows.unique(list(by), keep="last", maintain_order=True)
    if rows.height < 2:
        return rows
    places = sorted({key: place for place, key in enumerate(_keys(rows, by))}.values())
    return rows if len(places) == rows.height else quick.taken(rows, places)


def exchanged(rows: pl.DataFrame, *columns: pl.Series) -> pl.DataFrame:
    """The rows with these columns in the place of those of the same names; new ones come last."""
    names, new = rows.columns, rows.clone()
    for column in columns:
        if column.name in names:
            new.replace_column(names.index(column.name), column)
    more = [column for column in columns if column.name not in names]
    return new.hstack(more) if more else new


def renamed(rows: pl.DataFrame, old: str, new: str) -> pl.DataFrame:
    """The rows with a column under another name, where they have it."""
    named = rows.clone()
    named.columns = [new if name == old else name for name in rows.columns]
    return named


def dropped(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The rows without these columns, where they have them."""
    return quick.chosen(rows, [name for name in rows.columns if name not in names])


def constant(name: str, value: Any, rows: int, dtype: pl.DataType) -> pl.Series:
    """One value (None: null) in every row."""
    one = _one(name, value, dtype)
    return one if rows == 1 else one.new_from_index(0, rows)


@lru_cache(maxsize=2048, typed=True)
def _one(name: str, value: Any, dtype: pl.DataType) -> pl.Series:
    return quick.series(name, [value], dtype)


_MOMENT = pl.Datetime("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moments_of(texts: Sequence[str | None]) -> pl.Series:
    """Times in UTC as golden records keep them, to the microsecond; null for any other text."""
    if len(texts) > FEW_ROWS:
        told = quick.series("at", texts, pl.String())
        return told.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False)
    return quick.series("at", [_micros(text) for text in texts], pl.Int64()).cast(_MOMENT)


def _micros(text: str | None) -> int | None:
    try:
        return None if text is None else (datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


def mask_of(told: list[bool]) -> pl.Series:
    """A column of booleans."""
    if told and all(one is told[0] for one in told):
        return constant("", value=told[0], rows=len(told), dtype=_BOOLEAN)
    return quick.series("", told, _BOOLEAN)


_BOOLEAN = pl.Boolean()
_TEXT = pl.String()


def holding(lists: pl.Series, name: str) -> pl.Series:
    """Per list of names whether it holds one."""
    if lists.len() <= FEW_ROWS:
        return mask_of([names is not None and name in names for names in lists.to_list()])
    return lists.list.contains(name).fill_null(value=False)


def held(lists: pl.Series) -> list[str]:
    """The names in any of the lists, in the order of their first."""
    if lists.len() <= FEW_ROWS:
        return list(dict.fromkeys(name for names in lists.to_list() for name in names or ()))
    return lists.explode().drop_nulls().unique(maintain_order=True).to_list()


def looked_up(name: str, column: pl.Series, values: Mapping[str, Any], dtype: pl.DataType) -> pl.Series:
    """What `values` say for each text of a column; null for one that they do not name."""
    if column.len() == 1:
        return constant(name, values.get(column[0]), 1, dtype)
    if column.len() <= FEW_ROWS:
        return quick.series(name, [values.get(text) for text in column.to_list()], dtype)
    return column.replace_strict(values, default=None, return_dtype=dtype).alias(name)


def differ(left: pl.Series, right: pl.Series) -> pl.Series:
    """Per row whether the two differ; null is a value like any other here, so that none is null."""
    return left.ne_missing(right) if left.null_count() or right.null_count() else left != right


def is_given(column: pl.Series) -> pl.Series:
    """Per row whether there is a value."""
    nulls = column.null_count()
    if 0 < nulls < column.len():
        return column.is_not_null()
    return constant(column.name, nulls == 0, column.len(), pl.Boolean())


def distinct(column: pl.Series) -> pl.Series:
    """Each value once, in the order of their first."""
    if column.len() <= FEW_ROWS:
        return column if column.len() < 2 else quick.series(column.name, list(dict.fromkeys(column.to_list())), column.dtype)
    return column.unique(maintain_order=True)


def united(parts: Sequence[pl.Series]) -> pl.Series:
    """The values of all parts, each once."""
    filled = [part for part in parts if part.len()] or parts[:1]
    if len(filled) > 1 and sum(part.len() for part in filled) <= FEW_ROWS:
        return quick.series(filled[0].name, list(dict.fromkeys(value for part in filled for value in part.to_list())), filled[0].dtype)
    return distinct(filled[0] if len(filled) == 1 else pl.concat(filled))


def sorted_by(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The rows in ascending order of columns without nulls."""
    if rows.height < 2:
        return rows
    if rows.height > FEW_ROWS:
        return rows.sort(names)
    keys = _keys(rows, names)
    places = sorted(range(rows.height), key=keys.__getitem__)
    return rows if places == list(range(rows.height)) else quick.taken(rows, places)


def in_order(column: pl.Series) -> pl.Series:
    """The values, none of which is null, in ascending order."""
    if column.len() <= FEW_ROWS:
        return column if column.len() < 2 else quick.series(column.name, sorted(column.to_list()), column.dtype)
    return column.sort()


def sure(mask: pl.Series) -> pl.Series:
    """A mask in which unknown is false."""
    if not mask.null_count():
        return mask
    if mask.len() <= FEW_ROWS:
        return mask_of([item is True for item in mask.to_list()]).alias(mask.name)
    return mask.fill_null(value=False)


def long(rows: pl.DataFrame, index: Sequence[str], fields: Sequence[str], value: str) -> pl.DataFrame:
    """Wide cells as (index, field, value), field by field."""
    if rows.height <= FEW_ROWS:
        places = [*range(rows.height)] * len(fields)
        told = [cell for name in fields for cell in rows.get_column(name).to_list()]
        kind = rows.get_column(fields[0]).dtype if fields else pl.String()
        named = quick.series("field", [name for name in fields for _row in range(rows.height)], _TEXT)
        return quick.frame([*quick.taken(quick.chosen(rows, index), places).get_columns(), named, quick.series(value, told, kind)])
    wide = rows[[*index, *fields]].unpivot(index=list(index), on=list(fields), variable_name="__field", value_name="__value")
    return pl.DataFrame(dict(zip((*index, "field", value), wide.get_columns(), strict=True)))


def typed(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The columns of a schema, in its order and of its types."""
    rows = quick.chosen(rows, list(schema)) if rows.columns != list(schema) else rows
    return rows if rows.dtypes == list(schema.values()) else rows.cast(schema)
