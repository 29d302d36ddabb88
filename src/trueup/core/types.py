"""From what a system gives to a value of the field's type, strictly: nothing is guessed, rounded away or moved by a clock.

There are two ways to the same result. `alternatives` are vectorised and take what is written the usual way; they give null for
everything else. `coerce_value` then looks at the few distinct values that are left, one by one: it either understands them or says
why not, in words for a person. Both follow the same rules:

    text      NFC; a whole float without its `.0` (a spreadsheet's 12 is "12"); NUL is refused
    integer   `12`, ` +12 `, `12.0`; within 64 bits
    decimal   exact, at most 12 places (26 before the point); with a scale, rounded half-even; NaN and infinity are refused
    boolean   yes/no, true/false, y/n, t/f, on/off, 1/0 in any case
    date      ISO, or a date and time whose time is midnight in the system's zone; never moved across zones
    datetime  ISO with or without offset; one without is a wall clock reading in the system's zone: of the two readings in the hour that a
              clock change repeats the earlier is meant, and one in the hour that it leaves out is refused
    list      a native list, a JSON array, or parts between separators: trimmed, empty ones dropped, sorted, each once
    json      any JSON text, made canonical; JSON's null is null
    reference the referenced native key, as key text

An empty or blank text is null for every type but text.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
import polars as pl

from trueup.core.number_format import number_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trueup.model import FieldType

DECIMAL_PLACES = 12
DECIMAL_DIGITS = 38
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UTC_TIME = pl.Datetime("us", "UTC")
TRUE_WORDS = ("true", "yes", "1", "t", "y", "on")
FALSE_WORDS = ("false", "no", "0", "f", "n", "off")

_BOOLEANS = dict.fromkeys(TRUE_WORDS, True) | dict.fromkeys(FALSE_WORDS, False)
_ISO_START = re.compile(r"\d{4}-\d{2}-\d{2}(?:$|[T ])")
_LONG_NUMBER = re.compile(r"\d{16}|\d[eE]")


@dataclass(frozen=True, slots=True)
class Target:
    """The type wanted, and how the system at hand writes it. `format` is a number by example, strptime codes, or `yes/no` for booleans."""

    type: FieldType
    scale: int | None = None
    zone: str = "UTC"
    format: str | None = None
    separator: str = ";"

    @property
    def dtype(self) -> pl.DataType:
        """The Polars type of coerced values."""
        if self.type == "decimal":
            return pl.Decimal(DECIMAL_DIGITS, DECIMAL_PLACES if self.scale is None else self.scale)
        return _DTYPES[self.type]


_DTYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": UTC_TIME,
    "list": pl.List(pl.String),
    "json": pl.String(),
    "reference": pl.String(),
}


def format_problem(target: Target) -> str | None:
    """Why `target.format` cannot be used, None when it can."""
    form = target.format
    if form is None:
        return None
    if target.type in {"integer", "decimal", "float"}:
        try:
            number_format(form)
        except ValueError as error:
            return str(error)
        return None
    if target.type in {"date", "datetime"}:
        return (
            None
            if _reads_dates(form)
            else f"the format {form!r} of a {target.type} needs strptime codes for a whole date, such as %d/%m/%Y"
        )
    if target.type == "boolean":
        words = [word.strip().lower() for word in form.split("/")]
        return None if len(set(words)) == 2 and all(words) else f"the format {form!r} of a boolean needs two words, such as yes/no"
    return f"a {target.type} field takes no format"


def _reads_dates(form: str) -> bool:
    """Whether a date written in this format is understood again, by both ways of reading."""
    sample = datetime(2003, 4, 15, 16, 17, 18, tzinfo=UTC)
    try:
        text = sample.strftime(form)
        again = datetime.strptime(text, form)  # noqa: DTZ007 - only the day matters here
        parsed = pl.Series([text]).str.strptime(pl.Datetime("us") if "%H" in form or "%I" in form else pl.Date, form, strict=False)
    except (ValueError, pl.exceptions.PolarsError):
        return False
    return again.date() == sample.date() and parsed.null_count() == 0


# ---------------------------------------------------------------- one by one


def coerce_value(value: Any, target: Target) -> Any:
    """One value as the field's type (Decimal, aware datetime in UTC, sorted list, canonical JSON text …); None stays None.

    Raises ValueError with a reason that begins with the value.
    """
    if isinstance(value, str) and target.type != "text":
        value = value.strip() if target.type != "reference" else value
        if not value.strip():
            return None
    if value is None:
        return None
    return _ONE_BY_ONE[target.type](value, target)


def show(value: object, limit: int = 40) -> str:
    """A value for a message: quoted when text, cut when long."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{cut}"' if isinstance(value, str) else cut


def plain_decimal(value: Decimal) -> str:
    """Decimal text without exponent and trailing zeros; zero is `0`."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def plain_float(value: float) -> str:
    """The canonical text of a finite float: the shortest that reads back the same, as Polars writes it."""
    text: str = pl.Series([value + 0.0]).cast(pl.String)[0]
    return text


def canonical_json(value: object) -> str:
    """Canonical JSON text: sorted keys, no spaces, numbers exact and in their shortest form, NFC."""
    return unicodedata.normalize("NFC", "".join(_json_parts(value)))


def load_json(text: str | bytes) -> Any:
    """A JSON text as Python values; numbers that a float cannot hold exactly as Decimal. Raises ValueError."""
    raw = text if isinstance(text, str) else text.decode()
    if _LONG_NUMBER.search(raw):
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_constant)
    return orjson.loads(raw)


def _no_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _json_parts(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        yield "{"
        for number, key in enumerate(sorted(value, key=str)):
            yield f"{',' if number else ''}{orjson.dumps(str(key)).decode()}:"
            yield from _json_parts(value[key])
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for number, item in enumerate(value):
            if number:
                yield ","
            yield from _json_parts(item)
        yield "]"
    elif isinstance(value, bool | str) or value is None:
        yield orjson.dumps(value).decode()
    elif isinstance(value, int):
        yield str(value)
    else:
        yield _json_number(value)


def _json_number(value: object) -> str:
    if not isinstance(value, float | Decimal) or not math.isfinite(value):
        message = f"{show(value)} has no place in JSON"
        raise ValueError(message)
    near = float(value)
    if isinstance(value, float) or (math.isfinite(near) and Decimal(repr(near)) == value):
        return orjson.dumps(near + 0.0).decode()
    return plain_decimal(value) if -30 < value.adjusted() < 30 else f"{value.normalize():e}"


def _text(value: Any, target: Target) -> str:
    if isinstance(value, str):
        if "\x00" in value:
            message = f"{show(value.replace(chr(0), '␀'))} contains a NUL character"
            raise ValueError(message)
        return unicodedata.normalize("NFC", value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        _finite(value)
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else plain_float(value)
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return datetime_text(value) if value.tzinfo else wall_clock_text(value)
    if isinstance(value, list | tuple):
        return target.separator.join(str(item) for item in value)
    if isinstance(value, dict):
        return canonical_json(value)
    return str(value)


def _integer(value: Any, target: Target) -> int:
    if isinstance(value, bool):
        return int(value)
    number = _number(value, target, "a whole number")
    if number != number.to_integral_value():
        message = f"{show(value)} is not a whole number"
        raise ValueError(message)
    if not INT64_MIN <= number <= INT64_MAX:
        message = f"{show(value)} is beyond 64-bit whole numbers"
        raise ValueError(message)
    return int(number)


def _decimal(value: Any, target: Target) -> Decimal:
    number = _number(value, target, "a decimal number")
    places = DECIMAL_PLACES if target.scale is None else target.scale
    with localcontext(prec=200):
        try:
            rounded = number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
        except InvalidOperation:
            message = f"{show(value)} has too many digits for a decimal field"
            raise ValueError(message) from None
        if target.scale is None and rounded != number:
            message = f"{show(value)} has more than {DECIMAL_PLACES} decimal places: give the field a scale to round it"
            raise ValueError(message)
    if len(rounded.as_tuple().digits) > DECIMAL_DIGITS:
        message = f"{show(value)} has too many digits for a decimal field"
        raise ValueError(message)
    return rounded


def _float(value: Any, target: Target) -> float:
    number = float(_number(value, target, "a number"))
    return _finite(number) + 0.0


def _finite(number: float) -> float:
    if not math.isfinite(number):
        message = f"{number} is not a finite number"
        raise ValueError(message)
    return number


def _number(value: Any, target: Target, wanted: str) -> Decimal:
    if isinstance(value, bool | int | Decimal):
        number = Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(_finite(value)))
    elif isinstance(value, str):
        number = _number_in_text(value, target, wanted)
    else:
        message = f"{show(value)} is not {wanted}"
        raise ValueError(message)  # noqa: TRY004 - a value of the wrong kind is bad data, not a bug
    if not number.is_finite():
        message = f"{show(value)} is not a finite number"
        raise ValueError(message)
    return number


def _number_in_text(value: str, target: Target, wanted: str) -> Decimal:
    if target.format:
        plain = pl.select(number_format(target.format).plain(pl.lit(value))).item()
        if plain is None:
            message = f"{show(value)} is not {wanted} written like {target.format}"
            raise ValueError(message)
        return Decimal(plain)
    if not value.isascii() or "_" in value:
        message = f"{show(value)} is not {wanted}"
        raise ValueError(message)
    try:
        return Decimal(value)
    except InvalidOperation:
        hint = ": say how numbers are written with format" if re.fullmatch(r"[-+]?[\d.,' ]*\d[\d.,' ]*", value) else ""
        message = f"{show(value)} is not {wanted}{hint}"
        raise ValueError(message) from None


def _boolean(value: Any, target: Target) -> bool:
    if isinstance(value, bool):
        return value
    word = _text(value, target).strip().lower()
    known = _format_words(target) or _BOOLEANS
    if word not in known:
        message = f"{show(value)} is not {'/'.join(known) if target.format else 'yes or no'}"
        raise ValueError(message)
    return known[word]


def _format_words(target: Target) -> dict[str, bool] | None:
    if not target.format:
        return None
    true_word, false_word = target.format.split("/", 1)
    return {true_word.strip().lower(): True, false_word.strip().lower(): False}


def _date(value: Any, target: Target) -> date:
    if isinstance(value, str):
        value = _date_in_text(value, target)
    if isinstance(value, datetime):
        local = value.astimezone(ZoneInfo(target.zone)) if value.tzinfo else value
        if local.time() != time(0):
            message = f"{show(value)} has a time of day, and the field is a date"
            raise ValueError(message)
        return local.date()
    if isinstance(value, date):
        return value
    message = f"{show(value)} is not a date"
    raise ValueError(message)


def _date_in_text(value: str, target: Target) -> date:
    if target.format:
        return _strptime(value, target)
    try:
        return _iso(value)
    except ValueError:
        message = f"{show(value)} is not a date: 2026-11-20 is expected; other ways of writing need format"
        raise ValueError(message) from None


def _datetime(value: Any, target: Target) -> datetime:
    if isinstance(value, str):
        shown = value
        value = _strptime(value, target) if target.format else _time_in_text(value)
    else:
        shown = show(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(0))
    if not isinstance(value, datetime):
        message = f"{shown} is not a date and time"
        raise ValueError(message)  # noqa: TRY004 - a value of the wrong kind is bad data, not a bug
    if value.tzinfo is None:
        value = localised(value, target.zone)
    try:
        moment: datetime = value.astimezone(UTC)
    except OverflowError:
        message = f"{shown} is outside the years 1 to 9999"
        raise ValueError(message) from None
    return moment


def _time_in_text(value: str) -> datetime:
    try:
        return _iso(value)
    except ValueError:
        message = f"{show(value)} is not a date and time: 2026-11-20 02:00:00 is expected; other ways of writing need format"
        raise ValueError(message) from None


def _iso(value: str) -> datetime:
    if not _ISO_START.match(value):  # fromisoformat would also take 20261120 and week dates
        raise ValueError(value)
    return datetime.fromisoformat(value)


def _strptime(value: str, target: Target) -> datetime:
    try:
        return datetime.strptime(value, str(target.format))  # noqa: DTZ007 - the zone is added by the caller
    except ValueError:
        message = f"{show(value)} is not a {target.type} written like {target.format}"
        raise ValueError(message) from None


def localised(naive: datetime, zone: str) -> datetime:
    """A wall clock reading in `zone` as a point in time; the earlier of two. Raises ValueError for one that a clock change leaves out."""
    aware = naive.replace(tzinfo=ZoneInfo(zone), fold=0)
    try:
        exists = aware.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == naive
    except OverflowError:
        message = f"{naive} is outside the years 1 to 9999"
        raise ValueError(message) from None
    if not exists:
        message = f"{naive} does not exist in {zone}: the clock change leaves this hour out"
        raise ValueError(message)
    return aware


def _list(value: Any, target: Target) -> list[str]:
    items = value
    if isinstance(value, str):
        items = _list_in_text(value, target)
    elif not isinstance(value, list | tuple):
        items = [value]
    texts = []
    for item in items:
        if isinstance(item, list | tuple | dict):
            message = f"{show(value)} holds a list or an object where a list of texts is expected"
            raise ValueError(message)  # noqa: TRY004 - bad data, not a bug
        if item is not None:
            texts.append(_text(item, target).strip())
    return sorted({text for text in texts if text})


def _list_in_text(value: str, target: Target) -> list[Any]:
    if value.startswith("["):
        try:
            items = orjson.loads(value)
        except ValueError:
            pass
        else:
            return list(items)
    return list(value.split(target.separator))


def _json(value: Any, _target: Target) -> str | None:
    if isinstance(value, str):
        try:
            value = load_json(value)
        except (ValueError, RecursionError):
            message = f"{show(value)} is not JSON"
            raise ValueError(message) from None
    elif isinstance(value, date):
        value = _text(value, Target("text"))
    return None if value is None else canonical_json(value)


def _reference(value: Any, target: Target) -> str:
    return _text(value, target)


_ONE_BY_ONE: dict[str, Callable[[Any, Target], Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "float": _float,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "list": _list,
    "json": _json,
    "reference": _reference,
}


def datetime_text(value: datetime) -> str:
    """Canonical text of an aware datetime: UTC, `Z`, six digits of a second's fraction or none."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def wall_clock_text(value: datetime) -> str:
    """Text of a naive datetime: `2026-11-20 02:00:00`, with six digits of a fraction or none."""
    return value.isoformat(sep=" ")
