"""What an Excel cell's value means, and how a value is written so that Excel understands it: numbers, dates, text, number formats.

Excel holds every number as a double and shows 15 significant digits; a date is a number of days whose cell has a date format. Sources:
ECMA-376 part 1, §18.8.30 (number formats), §18.17.4 (date systems), §22.9.2.19 (ST_Xstring).
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum

MAX_TEXT = 32_767  # characters in a cell, counted as UTF-16 units
EXACT_DIGITS = 15
EXACT_WHOLE = 2**53  # whole numbers below are exact in a double
DAY_MS = 86_400_000
BOOLEAN_FORMAT = '"TRUE";"TRUE";"FALSE"'


class Kind(IntEnum):
    """What one cell holds.

    INTEGER is a whole number in a cell whose number format shows whole numbers; any other number is DECIMAL, since a cell of a general
    format takes 10.5 as well as 10. ABSENT is a formula whose result the file does not hold; BAD a date that does not exist.
    """

    BLANK = 0
    INTEGER = 1
    DECIMAL = 2
    TEXT = 3
    BOOLEAN = 4
    DATE = 5
    TIMESTAMP = 6
    TIME = 7
    ERROR = 8
    ABSENT = 9
    BAD = 10


class Look(IntEnum):
    """What a number format makes of a number."""

    NUMBER = 0
    DATE = 1
    TIMESTAMP = 2
    TIME = 3
    ELAPSED = 4  # [h]:mm, a duration that may pass 24 hours
    TEXT = 5  # @
    GENERAL = 6
    WHOLE = 7  # 0, #,##0, 00000: no decimal places
    BOOLEAN = 8  # our own format of empty columns made for booleans; Excel shows those as they are under any format


_BUILT_IN_LOOKS = (
    {0: Look.GENERAL, 22: Look.TIMESTAMP, 46: Look.ELAPSED, 49: Look.TEXT}
    | dict.fromkeys([1, 3, 5, 6, 37, 38], Look.WHOLE)
    | dict.fromkeys([14, 15, 16, 17, *range(27, 32), 36, *range(50, 55), 57, 58], Look.DATE)
    | dict.fromkeys([18, 19, 20, 21, 32, 33, 34, 35, 45, 47, 55, 56], Look.TIME)
)
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.')
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_BRACKETS = re.compile(r"\[[^\]]*\]")
_WHOLE_FORMAT = re.compile(r"[^.%/e0#?]*[0#?][0#?,]*(?<!,)[^.%/e0#?]*")
_HALF_DAY = re.compile(r"am/pm|a/p|上午/下午", re.IGNORECASE)


def look_of(format_id: int, code: str | None) -> Look:
    """What a number format shows. `code` is the workbook's own format of that number, None for a built-in one."""
    if code is None:
        look: Look = _BUILT_IN_LOOKS.get(format_id, Look.NUMBER)
        return look
    if code == BOOLEAN_FORMAT:
        return Look.BOOLEAN
    first = _LITERAL.sub("", code).split(";")[0]
    if _ELAPSED.search(first):
        return Look.ELAPSED
    if code.strip().lower() == "general":
        return Look.GENERAL
    first = _BRACKETS.sub("", first).lower().replace("general", "")
    bare = _HALF_DAY.sub("h", first)
    if "@" in bare and not re.search(r"[ymdhs0#?]", bare):
        return Look.TEXT
    has_time = "h" in bare or "s" in bare
    has_date = bool(re.search(r"[yd]|mmm", bare)) or ("m" in bare and not has_time)
    if has_date:
        return Look.TIMESTAMP if has_time else Look.DATE
    if has_time:
        return Look.TIME
    return Look.WHOLE if _WHOLE_FORMAT.fullmatch(bare) else Look.NUMBER


def looks_fitting(kind: Kind) -> tuple[Look, ...]:
    """The number formats that show a value of this kind as what it is, best first; empty: any does."""
    if kind is Kind.DATE:
        return (Look.DATE, Look.TIMESTAMP)
    if kind is Kind.TIMESTAMP:
        return (Look.TIMESTAMP, Look.DATE)
    if kind is Kind.TIME:
        return (Look.TIME, Look.ELAPSED)
    if kind in {Kind.INTEGER, Kind.DECIMAL}:
        return (Look.NUMBER, Look.GENERAL, Look.WHOLE, Look.TEXT)
    return ()


def number_text(value: str) -> str | None:
    """The canonical text of a number as Excel shows it (15 significant digits); None when `value` is no finite number.

    Whole numbers that a double holds exactly are kept whole, also those of 16 digits.
    """
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if number.is_integer() and abs(number) < EXACT_WHOLE:
        return str(int(number))
    return plain_decimal(Decimal(f"{number:.{EXACT_DIGITS}g}"))


def plain_decimal(number: Decimal) -> str:
    """A number without exponent, trailing zeros, or a minus sign before zero."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def significant_digits(text: str) -> int:
    """How many significant digits a plain number has."""
    return len(text.lstrip("-").replace(".", "").lstrip("0").rstrip("0"))


# ---------------------------------------------------------------- dates


def first_day(date1904: bool) -> date:  # noqa: FBT001 - the workbook's own switch
    """The first day that the workbook's date system can hold."""
    return date(1904, 1, 1) if date1904 else date(1900, 1, 1)


def moment(serial: float, *, date1904: bool) -> datetime | None:
    """The moment of a serial number, to the millisecond; None where there is none (below the first day, 29 February 1900).

    The 1900 system counts a 29 February 1900 that never was, as serial 60.
    """
    total_ms = round(serial * DAY_MS)
    days, rest_ms = divmod(total_ms, DAY_MS)
    try:
        day = _day(days, date1904=date1904)
        return None if day is None else datetime(day.year, day.month, day.day) + timedelta(milliseconds=rest_ms)  # noqa: DTZ001 - a cell has no zone
    except OverflowError:
        return None


def _day(serial: int, *, date1904: bool) -> date | None:
    if date1904:
        return None if serial < 0 else date(1904, 1, 1) + timedelta(days=serial)
    if serial < 1 or serial == 60:
        return None
    return date(1899, 12, 31 if serial < 60 else 30) + timedelta(days=serial)


def serial_text(value: date, *, date1904: bool) -> str | None:
    """The serial number of a date or datetime as text for a cell; None when the date system does not reach it."""
    day = date(value.year, value.month, value.day)
    if day < first_day(date1904):
        return None
    if date1904:
        days = (day - date(1904, 1, 1)).days
    else:
        days = (day - date(1899, 12, 30)).days
        days -= days <= 60
    if not isinstance(value, datetime):
        return str(days)
    rest_ms = (value.hour * 3600 + value.minute * 60 + value.second) * 1000 + round(value.microsecond / 1000)
    return str(days) if not rest_ms else repr(float(Decimal(days) + Decimal(rest_ms) / DAY_MS))


def time_text(serial: float) -> str:
    """`HH:MM:SS` with a fraction only where there is one; hours may pass 24 (durations)."""
    total_ms = round(serial * DAY_MS)
    seconds, ms = divmod(total_ms, 1000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{ms:03d}".rstrip("0") if ms else text


_TIME = re.compile(r"(\d{2,}):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,6}))?)?", re.ASCII)


def time_serial(text: str) -> str | None:
    """The serial number of `HH:MM[:SS[.fff]]`; None when it is no time."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds, fraction = found.groups()
    exact = int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0) + Decimal(f"0.{fraction or 0}")
    return repr(float(exact / 86_400)) if exact else "0"


def moment_text(value: datetime, kind: Kind) -> str:
    """ISO text of a date or timestamp, a fraction only where there is one."""
    if kind is Kind.DATE:
        return value.date().isoformat()
    text = value.isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".") if value.microsecond else text[:19]


def serial_value(value: str, look: Look, *, date1904: bool) -> tuple[Kind, str]:
    """Kind and text of a number that a date or time format shows. BAD comes with the number's text."""
    serial = float(value)
    total_ms = round(serial * DAY_MS) if abs(serial) < 1e10 else -1
    if look is Look.ELAPSED and total_ms >= 0:
        return Kind.TIME, time_text(serial)
    if look is Look.TIME and 0 <= total_ms < DAY_MS:
        return Kind.TIME, time_text(serial)
    found = moment(serial, date1904=date1904) if total_ms >= 0 else None
    if found is None:
        return Kind.BAD, number_text(value) or value
    kind = Kind.DATE if look is Look.DATE and total_ms % DAY_MS == 0 else Kind.TIMESTAMP
    return kind, moment_text(found, kind)


# ---------------------------------------------------------------- text

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MUST_ESCAPE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#x([0-9A-Fa-f]+)|#([0-9]+));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def unescape_xml(text: str) -> str:
    """XML text with its references replaced (the parser has found it to be well-formed)."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda found: _NAMED[found[1]] if found[1] else chr(int(found[2], 16) if found[2] else int(found[3])), text)


def unescape_text(text: str) -> str:
    """A cell's text with Excel's own escapes (`_x000B_`) replaced."""
    if "_x" not in text:
        return text
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def escape_text(text: str) -> str:
    """A cell's text with Excel's own escapes for what XML cannot hold, and XML's; the reverse of the two above."""
    escaped = _MUST_ESCAPE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def text_length(text: str) -> int:
    """The length as Excel counts it, in UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)
