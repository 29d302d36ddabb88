"""JSON values to cells and back, column by column. What does not fit its column is told, never bent into shape."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.jsonl_text import ABSENT, COMPACT, NumberText, dump, look_up, parse_text, plain_digits
from trueup.connectors.sql_types import PLAIN_DECIMAL, dtype_of
from trueup.model import ColumnInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.connectors.rest.pointer import Path
    from trueup.model import ColumnType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock reading has no zone
_MICROSECOND = timedelta(microseconds=1)
_MS_JSON = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")
_INT64 = range(-(2**63), 2**63)


class MisfitError(ValueError):
    """A value that does not belong into its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestColumn:
    """One column: where it stands in a row, and how its values are spelled. `clear`: what stands there for no value."""

    name: str
    type: ColumnType
    path: Path
    format: str | None = None
    writable: bool = True
    required: bool = False
    clear: Any = None
    max_length: int | None = None

    @property
    def info(self) -> ColumnInfo:
        """The column as the contract tells it."""
        return ColumnInfo(name=self.name, type=self.type, writable=self.writable, nullable=not self.required, max_length=self.max_length)

    def read(self, value: Any) -> Any:
        """A cell of a JSON value; None for null. Raises MisfitError."""
        if value is None or value is ABSENT or (self.clear is not None and value == self.clear):
            return None
        return _READERS[self.type](value, self.format)

    def write(self, value: Any) -> Any:
        """The JSON value of a cell. Raises MisfitError for one that cannot be spelled."""
        return self.clear if value is None else _written(value, self.type, self.format)


def cells(column: RestColumn, records: Sequence[Any], misfits: dict[int, tuple[str, str]]) -> pl.Series:
    """A column of records; what does not fit is null there, and told in `misfits` by place: the column and why."""
    path, read, clear, shape = column.path, _READERS[column.type], column.clear, column.format
    found: list[Any] = []
    single = path[0] if len(path) == 1 else None
    for number, record in enumerate(records):
        value = record.get(single) if single is not None else look_up(record, path)
        if value is None or value is ABSENT or (clear is not None and value == clear):
            found.append(None)
            continue
        try:
            found.append(read(value, shape))
        except MisfitError as error:
            misfits.setdefault(number, (column.name, str(error)))
            found.append(None)
    return series(column.name, found, column.type)


def series(name: str, values: list[Any], column_type: ColumnType) -> pl.Series:
    """Cells as the contract has them. Times go in as numbers: Polars takes 20 times as long to look at datetime objects."""
    if column_type not in {"datetime", "timestamp"}:
        return pl.Series(name, values, dtype=dtype_of(column_type))
    start = _EPOCH if column_type == "datetime" else _EPOCH_NAIVE
    numbers = [None if value is None else (value - start) // _MICROSECOND for value in values]
    return pl.Series(name, numbers, dtype=pl.Int64).cast(dtype_of(column_type))


def common(values: Sequence[Any]) -> ColumnType:
    """The type of a column of which nothing is known but these values."""
    kinds = {_kind(value) for value in values if value is not None and value is not ABSENT}
    if len(kinds) == 1 and kinds <= {"integer", "boolean", "list"}:
        return kinds.pop()
    if kinds and kinds <= {"integer", "decimal"}:
        return "decimal"
    return "text" if kinds <= {"text", "integer", "decimal", "boolean"} else "json"


def _kind(value: Any) -> ColumnType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, NumberText | float):
        return "decimal"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) and all(type(item) is str for item in value) else "json"


# ---------------------------------------------------------------- reading


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else dump(value, COMPACT)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:60]}…`"


def _text(value: Any, shape: str | None) -> str:
    del shape
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | NumberText):
        return plain_digits(value)
    raise MisfitError("an object or a list stands there, where a text is expected")


def _digits(value: Any, shape: str | None) -> str:
    """The digits of a number, in quotes where the format says so."""
    if isinstance(value, NumberText) or (isinstance(value, int) and not isinstance(value, bool)):
        return plain_digits(value)
    if isinstance(value, float):
        return plain_digits(NumberText(repr(value)))
    if isinstance(value, str) and shape is None:
        raise MisfitError(f"the text {_shown(value)} stands where a number is expected; numbers in quotes need `format: text`")
    if isinstance(value, str) and _is_number(value.strip()):
        return plain_digits(NumberText(value.strip()))
    raise MisfitError(f"{_shown(value)} is no number")


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and "_" not in text
    except InvalidOperation:
        return False


def _integer(value: Any, shape: str | None) -> int:
    if type(value) is int and shape is None:
        return value
    digits = _digits(value, shape)
    number = Decimal(digits)
    if number != number.to_integral_value():
        raise MisfitError(f"{_shown(value)} is no whole number")
    if int(number) not in _INT64:
        raise MisfitError(f"{_shown(value)} has too many digits for a whole number")
    return int(number)


def _decimal(value: Any, shape: str | None) -> str:
    if shape == "cents":
        return format(Decimal(_digits(value, None)).scaleb(-2), "f")
    return _digits(value, shape)


def _float(value: Any, shape: str | None) -> float:
    return float(value) if type(value) is float else float(_digits(value, shape))


def _boolean(value: Any, shape: str | None) -> bool:
    if isinstance(value, bool):
        return value
    if shape == "number" and value in (0, 1):
        return bool(value)
    if shape == "text" and isinstance(value, str) and value.lower() in {"true", "false", "yes", "no", "1", "0"}:
        return value.lower() in {"true", "yes", "1"}
    raise MisfitError(f"{_shown(value)} is neither true nor false")


def _ms_json(value: Any) -> datetime:
    """`/Date(1700000000000+0000)/`: milliseconds, and where they were written, which changes nothing. Raises ValueError."""
    found = _MS_JSON.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not of the form /Date(…)/")
    return _EPOCH + timedelta(milliseconds=int(found[1]))


def _date(value: Any, shape: str | None) -> date:
    try:
        if shape == "ms_json":
            return _ms_json(value).date()
        if shape is not None and "%" in shape:
            return datetime.strptime(str(value), shape).date()  # noqa: DTZ007 - only the day is kept
        return date.fromisoformat(str(value))
    except (ValueError, OverflowError):
        raise MisfitError(f"{_shown(value)} is no date") from None


def _datetime(value: Any, shape: str | None) -> datetime:
    try:
        if shape == "ms_json":
            return _ms_json(value)
        if shape in {"epoch_s", "epoch_ms"}:
            number = Decimal(_digits(value, "text")) * (1_000_000 if shape == "epoch_s" else 1_000)
            return _EPOCH + timedelta(microseconds=int(number))
        if not isinstance(value, str) or isinstance(value, NumberText):
            raise MisfitError(f"{_shown(value)} is no point in time")
        moment = datetime.strptime(value, shape) if shape is not None and "%" in shape else datetime.fromisoformat(value)  # noqa: DTZ007
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MisfitError(f"{_shown(value)} is no point in time") from None


def _timestamp(value: Any, shape: str | None) -> datetime:
    try:
        found = datetime.strptime(str(value), shape) if shape is not None and "%" in shape else datetime.fromisoformat(str(value))  # noqa: DTZ007
    except ValueError:
        raise MisfitError(f"{_shown(value)} is no date with a time") from None
    if found.tzinfo is not None:
        raise MisfitError(f"{_shown(value)} names a zone, where a wall clock reading is expected")
    return found


def _list(value: Any, shape: str | None) -> list[str]:
    del shape
    if not isinstance(value, list):
        raise MisfitError(f"{_shown(value)} is no list")
    return [_text(item, None) for item in value]


def _json(value: Any, shape: str | None) -> str:
    del shape
    return dump(value, COMPACT)


_READERS: dict[str, Callable[[Any, str | None], Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "float": _float,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "list": _list,
    "json": _json,
}


# ---------------------------------------------------------------- writing


def _written(value: Any, column_type: ColumnType, shape: str | None) -> Any:  # noqa: C901 - one case a type
    match column_type:
        case "decimal":
            return _written_decimal(str(value), shape)
        case "integer":
            return str(value) if shape == "text" else value
        case "float":
            if not math.isfinite(value):
                raise MisfitError(f"{value} cannot be written as JSON")
            return repr(value) if shape == "text" else value
        case "boolean":
            return {"number": int(value), "text": "true" if value else "false"}.get(shape or "", value)
        case "date":
            return value.strftime(shape) if shape is not None and "%" in shape else value.isoformat()
        case "datetime":
            return _written_moment(value, shape)
        case "timestamp":
            return value.strftime(shape) if shape is not None and "%" in shape else value.isoformat()
        case "list":
            return list(value)
        case "json":
            try:
                return parse_text(value)
            except ValueError as error:
                raise MisfitError(f"{_shown(value)} is no JSON") from error
        case _:
            return value


def _written_decimal(value: str, shape: str | None) -> Any:
    if not PLAIN_DECIMAL.fullmatch(value):
        raise MisfitError(f"{_shown(value)} is no number")
    if shape == "text":
        return value
    number = Decimal(value)
    if shape == "cents":
        if (cents := number.scaleb(2)) != cents.to_integral_value():
            raise MisfitError(f"{value} has parts of a cent")
        return int(cents)
    return NumberText(format(number, "f"))


def _written_moment(value: datetime, shape: str | None) -> Any:
    if shape in {"epoch_s", "epoch_ms"}:
        microseconds = (value - _EPOCH) // _MICROSECOND
        return microseconds // (1_000_000 if shape == "epoch_s" else 1_000)
    if shape is not None and "%" in shape:
        return value.astimezone(UTC).strftime(shape)
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
