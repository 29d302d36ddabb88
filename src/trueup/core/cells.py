r"""Cells: the one form in which the core compares, merges and stores values.

A frame of cells has one String column per field. A cell is

    Polars null     absent or unknown: nobody said anything about this field
    NULL ("\x00")   the value null, said explicitly
    other text      the canonical text of the value, unique per value, so that equal text means equal value:
                    text NFC; integer `-12`; decimal without trailing zeros `1.5`; float shortest repr; boolean `true`/`false`;
                    date `2026-11-20`; datetime `2026-11-20T02:00:00.123456Z` (fraction only where not zero);
                    list a JSON array of its distinct items, sorted; json canonical JSON (sorted keys, no spaces);
                    reference the golden id of the referenced record

NUL can stand for null because no text may contain it: the mapping rejects such a value.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core import quick
from trueup.core.clock_texts import date_text
from trueup.core.coerce import datetime_cell_text, decimal_text, float_text
from trueup.core.frames import FEW_ROWS, found
from trueup.core.types import (
    DECIMAL_DIGITS,
    DECIMAL_PLACES,
    Target,
    canonical_json,
    coerce_value,
    datetime_text,
    load_json,
    plain_decimal,
    plain_float,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trueup.model import Field, FieldType

NULL = "\x00"
CELL_TIME = "%Y-%m-%dT%H:%M:%S%.fZ"  # the form of a datetime cell
KEY = "__key"  # canonical text of the native key
AT = "__at"  # Datetime(us, UTC): when the row was edited, as far as its system says; null: unknown
VERSION = "__version"  # native version of the row (ETag, SyncToken), String; null where the system has none
ABSENT = "__absent"  # List(String): native columns that this row does not have (not the same as null)
DIRTY = "__dirty"  # String: a delta (core/shadow.py) of what `write_back` fields read as before they were cleaned; null: nothing is dirty
WAS = "__was:"  # before a field's name; List(String): what it reads as under each mapping of before; null: its reading did not change
ASIDE = "__aside"  # Boolean: a row that takes no part (unreadable, outside of the filter), shown for what it reads as alone
STILL = "__still"  # Boolean: nobody touched the row since it was last read; only the fields that read otherwise are told of it
GID = "__gid"  # Int64: golden id
SYSTEM = "__system"
OP = "__op"  # Int64: number of an operation within its batch


def beside(left: pl.DataFrame, right: pl.DataFrame, key: str) -> pl.DataFrame:
    """A left join by a unique key, without one where the rows stand side by side already, as in a first load."""
    return found(left, right, [key])


# ---------------------------------------------------------------- columns


def to_cells(typed: pl.Expr, field: Field) -> pl.Expr:
    """Cells of a typed column (as coerced for this field; lists sorted and distinct, json canonical). null becomes NULL."""
    return _cell_text(typed, field.type).fill_null(NULL)


def from_cells(cell: pl.Expr, field: Field) -> pl.Expr:
    """A typed column of cells: absent and NULL both become null. References come as the golden id, Int64.

    So does a cell of another form: one that was agreed before the field had this type, and that no system can tell in the new one.
    """
    text = pl.when(cell != NULL).then(cell)
    match field.type:
        case "text" | "json":
            return text
        case "integer" | "reference":
            return text.cast(pl.Int64, strict=False)
        case "decimal":
            return text.cast(pl.Decimal(DECIMAL_DIGITS, DECIMAL_PLACES if field.scale is None else field.scale), strict=False)
        case "float":
            return text.cast(pl.Float64, strict=False)
        case "boolean":
            return boolean_of(text)
        case "date":
            return text.str.to_date("%Y-%m-%d", strict=False)
        case "datetime":
            return text.str.to_datetime(CELL_TIME, time_unit="us", strict=False).dt.replace_time_zone("UTC")
        case "list":
            return pl.when(text.str.contains(_FORMS["list"])).then(text).str.json_decode(pl.List(pl.String))


def boolean_of(text: pl.Expr) -> pl.Expr:
    """The boolean that a cell's text is; null for any other text."""
    return pl.when(text == "true").then(pl.lit(value=True)).when(text == "false").then(pl.lit(value=False))


def _cell_text(typed: pl.Expr, kind: FieldType) -> pl.Expr:
    match kind:
        case "decimal":
            return decimal_text(typed)
        case "float":
            return float_text(typed)
        case "date":
            return date_text(typed)
        case "datetime":
            return datetime_cell_text(typed)
        case "list":
            return json_text(typed)
        case _:
            return typed.cast(pl.String)


def json_text(column: pl.Expr) -> pl.Expr:
    """JSON text of a text or list column; null stays null. The same escapes as orjson writes."""
    encoded = pl.struct(column.alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(column.is_not_null()).then(encoded).otherwise(None)


# ---------------------------------------------------------------- records as JSON

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_ITEM = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_FORMS: dict[FieldType, str] = {
    "integer": r"^-?(?:0|[1-9][0-9]*)$",
    "reference": r"^-?(?:0|[1-9][0-9]*)$",
    "float": r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$",
    "boolean": r"^(?:true|false)$",
    "list": rf"^\[(?:{_ITEM}(?:,{_ITEM})*)?\]$",
}
"""What cells of these types look like, which stand in JSON as they are. One of before the field had its type may look otherwise."""
_QUOTED: frozenset[FieldType] = frozenset({"decimal", "date", "datetime"})


def records_to_json(frame: pl.DataFrame, fields: Mapping[str, Field]) -> pl.Series:
    """One JSON object per row: the cells that are not absent, typed, in the order of `fields` (those that the frame has).

    Decimals, dates and times are JSON strings, NULL is null, references are the golden id; a row without any cell is `{}`.
    """
    names = [name for name in fields if name in frame.columns]
    if not names or frame.is_empty():
        return pl.repeat("{}", frame.height, dtype=pl.String, eager=True).alias("json")
    if frame.height <= FEW_ROWS:
        return _few_to_json(frame, names, fields)
    # Every member begins with a comma, and where the first one may be absent the first comma is cut off again. Columns that have a value
    # in every row, nearly all of them, go straight into one long concatenation.
    parts: list[pl.Expr] = []
    begun = not frame[names[0]].null_count()
    escaped = _needing_escapes(frame, [name for name in names if fields[name].type == "text" or fields[name].type in _QUOTED])
    fixed = "{" if begun else ""
    for name in names:
        comma = "" if begun and name == names[0] else ","
        column, key = frame[name], f"{comma}{orjson.dumps(name).decode()}:"
        value, mark = _json_value(column, fields[name].type, escaped=name in escaped)
        if column.null_count() == 0 and not (column == NULL).any():
            parts += [pl.lit(fixed + key + mark), value]
            fixed = mark
        else:
            written = pl.concat_str(pl.lit(key + mark), value, pl.lit(mark))
            said = pl.when(pl.col(name) == NULL).then(pl.lit(key + "null")).otherwise(written)
            parts += [pl.lit(fixed), pl.when(pl.col(name).is_null()).then(pl.lit("")).otherwise(said)]
            fixed = ""
    members = pl.concat_str([*parts, pl.lit(fixed + "}")])
    whole = members if begun else pl.concat_str(pl.lit("{"), members.str.strip_prefix(","))
    return frame.select(whole.alias("json")).to_series()


def _few_to_json(frame: pl.DataFrame, names: Sequence[str], fields: Mapping[str, Field]) -> pl.Series:
    """The same, row by row."""
    keys = [f"{orjson.dumps(name).decode()}:" for name in names]
    forms = [_compiled(_FORMS[kind]).search if kind in _FORMS else None for kind in (fields[name].type for name in names)]
    as_it_is = [fields[name].type == "json" for name in names]
    texts = []
    for row in zip(*(frame.get_column(name).to_list() for name in names), strict=True):
        members = []
        for key, form, plain, cell in zip(keys, forms, as_it_is, row, strict=True):
            if cell is None:
                continue
            stands = plain or (form is not None and form(cell) is not None)
            members.append(key + ("null" if cell == NULL else cell if stands else orjson.dumps(cell).decode()))
        texts.append("{" + ",".join(members) + "}")
    return quick.series("json", texts, pl.String())


def _json_value(column: pl.Series, kind: FieldType, *, escaped: bool) -> tuple[pl.Expr, str]:
    """A cell that is neither absent nor NULL as JSON: the value, and the mark that stands before and behind it."""
    cell = pl.col(column.name)
    if escaped:
        quoted = pl.concat_str(pl.lit('"'), cell, pl.lit('"'))
        return pl.when(cell.str.contains(_NEEDS_ESCAPE)).then(json_text(cell)).otherwise(quoted), ""
    if kind in _FORMS:
        if not _all_stand(column, kind):
            return pl.when(~cell.str.contains(_FORMS[kind])).then(json_text(cell)).otherwise(cell), ""
        return cell, ""
    return cell, '"' if kind == "text" or kind in _QUOTED else ""


def _all_stand(column: pl.Series, kind: FieldType) -> bool:
    """Whether every value that is neither absent nor NULL stands in JSON as it is; of numbers and booleans this is mostly seen at once."""
    nothing = column == NULL
    if kind in {"integer", "reference"} and (column.cast(pl.Int64, strict=False).cast(pl.String).eq_missing(column) | nothing).all():
        return True
    if kind == "boolean":
        return bool(((column == "true") | (column == "false") | nothing).all())
    return bool((column.str.contains(_FORMS[kind]) | nothing).all())


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("$", r"\Z"))


def _needing_escapes(frame: pl.DataFrame, names: Sequence[str]) -> frozenset[str]:
    """The columns in which any text needs an escape: all of its texts as one then come out longer, which is soon seen."""
    if not names:
        return frozenset()
    texts = frame.select(pl.col(name).filter(pl.col(name) != NULL).str.join() for name in names).row(0)
    return frozenset(name for name, text in zip(names, texts, strict=True) if len(orjson.dumps(text)) != len(text.encode()) + 2)


_MISSING: Any = object()
_CHUNK_ROWS = 20_000


def json_to_records(column: pl.Series, fields: Mapping[str, Field]) -> pl.DataFrame:
    """The inverse: one cell column per field. A missing key is absent, unknown keys are dropped, a null row is absent throughout."""
    load = load_json if any(field.type == "json" for field in fields.values()) else orjson.loads
    chunks = []
    for start in range(0, max(column.len(), 1), _CHUNK_ROWS):  # in parts: a million dicts would take a gigabyte
        records = [load(text) if text else {} for text in column.slice(start, _CHUNK_ROWS).to_list()]
        chunks.append(
            quick.frame([_record_cells(records, name, field.type) for name, field in fields.items()])
            if fields
            else pl.DataFrame(height=len(records))
        )
    return chunks[0] if len(chunks) == 1 else pl.concat(chunks)


def _record_cells(records: list[dict[str, Any]], name: str, kind: FieldType) -> pl.Series:
    found = [record.get(name, _MISSING) for record in records]
    kinds = set(map(type, found))
    alike = _ALIKE.get(kinds.pop()) if len(kinds) == 1 and kind not in _JSON_TO_CELL else None
    if alike is not None:  # nearly every column: nothing is to be asked of each value
        return quick.series(name, alike(found), pl.String())
    text = _JSON_TO_CELL.get(kind, _as_stored)
    cells = [None if value is _MISSING else NULL if value is None else text(value) for value in found]
    return quick.series(name, cells, pl.String())


_ALIKE: dict[type, Callable[[list[Any]], list[str]]] = {
    str: list,
    int: lambda found: list(map(str, found)),
    bool: lambda found: ["true" if value else "false" for value in found],
    type(None): lambda found: [NULL] * len(found),
}
"""`_as_stored` and NULL, for values that are all of one type."""


def _as_stored(value: Any) -> str:
    """A cell by what its value is in JSON: the field may have had another type when it was stored."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return plain_float(value) if isinstance(value, float) else canonical_json(value)


def _json_list(value: Any) -> str:
    return orjson.dumps(value).decode()


def _number_as_stored(value: Any) -> str:
    return plain_float(float(value)) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else _as_stored(value)


def _list_as_stored(value: Any) -> str:
    return _json_list(value) if isinstance(value, list) else _as_stored(value)


_JSON_TO_CELL: dict[FieldType, Callable[[Any], str]] = {"float": _number_as_stored, "list": _list_as_stored, "json": canonical_json}


# ---------------------------------------------------------------- single values


def cell_from_python(value: Any, field: Field) -> str:
    """The cell of one Python or JSON value, cleaned of nothing and checked for its type only. None is NULL.

    A naive time is taken as UTC. Raises ValueError with a reason that begins with the value.
    """
    if field.type == "reference":
        return NULL if value is None else str(coerce_value(value, Target("integer")))
    typed = coerce_value(value, Target(field.type, scale=field.scale))
    return NULL if typed is None else cell_of_typed(typed, field.type)


def cell_of_typed(typed: Any, kind: FieldType) -> str:
    """The cell of a value as `coerce_value` gives it (not None)."""
    match kind:
        case "decimal":
            return plain_decimal(typed)
        case "float":
            return plain_float(typed)
        case "boolean":
            return "true" if typed else "false"
        case "date":
            return str(typed.isoformat())
        case "datetime":
            return datetime_text(typed)
        case "list":
            return _json_list(typed)
        case _:
            return str(typed)


def cell_to_python(cell: str | None, field: Field) -> Any:
    """One cell as a value that JSON can hold: decimals, dates and times as text. Absent and NULL are None.

    One that is of another form than the field's type, as it may be after a change of the type, comes as the text that it is.
    """
    if cell is None or cell == NULL:
        return None
    try:
        return _python_value(cell, field)
    except ValueError:
        return cell


def _python_value(cell: str, field: Field) -> Any:
    match field.type:
        case "integer" | "reference":
            return int(cell)
        case "float":
            return float(cell)
        case "boolean":
            return cell == "true" if cell in ("true", "false") else cell
        case "list":
            return orjson.loads(cell) if cell.startswith("[") else cell
        case "json":
            return orjson.loads(cell)
        case _:
            return cell
