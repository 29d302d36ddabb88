"""JSON text that keeps what a parser would lose: the digits of numbers, the order and manner of members, and where each value stands."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]  # part of the module since 2.6, not of its stubs
from typing import Any, NamedTuple, NoReturn

import orjson

_INT64 = range(-(2**63), 2**63)
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NEEDS_DIGITS = re.compile(rb"[0-9](?:[.eE]|[0-9]{17})")  # a fraction, an exponent or very many digits, perhaps only within a text
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PLAIN_EXPONENT = 400


class NumberText(str):
    """A number as its digits stand in the file, where an integer or a float of the machine would lose some."""

    __slots__ = ()


class Absent:
    """The type of `ABSENT`: the value of a member that is not there."""


ABSENT = Absent()


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _integer(digits: str) -> int | NumberText:
    if len(digits) < 19:  # 18 digits and a sign always fit
        return int(digits)
    return int(digits) if len(digits) < 21 and int(digits) in _INT64 else NumberText(digits)  # 2**63 has 19 digits


_EXACT = json.JSONDecoder(parse_float=NumberText, parse_int=_integer, parse_constant=_constant)


def parse_line(line: bytes) -> Any:
    """The value of one line. Raises ValueError (UnicodeDecodeError among them) when it is no JSON, RecursionError when nested too deep."""
    if _NEEDS_DIGITS.search(line) is None:
        return orjson.loads(line)
    if _SURROGATE.search(line) is not None:
        orjson.loads(line)  # refuses half a surrogate pair, which is no character
    return _EXACT.decode(line.decode("utf-8"))


def parse_text(text: str) -> Any:
    """The value of a JSON text. Raises ValueError."""
    return _EXACT.decode(text)


def is_number(text: str) -> bool:
    """Whether this text may stand as a number in JSON."""
    return _NUMBER.fullmatch(text) is not None


def plain_digits(number: int | NumberText) -> str:
    """A number's exact text without an exponent (unless that would be hundreds of zeros)."""
    if isinstance(number, int) or not ("e" in number or "E" in number):
        return str(number)
    value = Decimal(number)
    exponent = value.as_tuple().exponent
    return format(value, "f") if isinstance(exponent, int) and abs(exponent) <= _PLAIN_EXPONENT else str(number)


def dump(value: Any, style: Style) -> str:
    """A parsed value as JSON text, numbers with the digits they had."""
    if isinstance(value, NumberText):
        return str(value)
    if isinstance(value, dict):
        items = (f"{json.dumps(name, ensure_ascii=style.ascii)}{style.colon}{dump(item, style)}" for name, item in value.items())
        return "{" + style.comma.join(items) + "}"
    if isinstance(value, list):
        return "[" + style.comma.join(dump(item, style) for item in value) + "]"
    return json.dumps(value, ensure_ascii=style.ascii)


class Style(NamedTuple):
    """How objects are written: what stands between members, between a name and its value, and whether only ASCII is used."""

    comma: str = ", "
    colon: str = ": "
    ascii: bool = False


DEFAULT = Style()
COMPACT = Style(",", ":")


def style_of(line: str, *, ascii_only: bool) -> Style:
    """The style of an object's text; the default where it has no member to show it."""
    members, _ = _members(line, _SPACE.match(line).end())  # type: ignore[union-attr]
    if not members:
        return Style(ascii=ascii_only)
    colon = line[members[0].name_end : members[0].start]
    comma = line[members[0].end : members[1].name_start] if len(members) > 1 else "," + colon[1:]
    return Style(comma, colon, ascii_only)


@lru_cache(maxsize=1024)
def pointer(column: str) -> tuple[str, ...]:
    """The member names that lead to a column: a JSON Pointer (RFC 6901) where it starts with `/`, else a member of the row itself."""
    if not column.startswith("/"):
        return (column,)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in column[1:].split("/"))


def column_name(path: tuple[str, ...]) -> str:
    """The column that leads along these member names."""
    if len(path) == 1 and not path[0].startswith("/"):
        return path[0]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def look_up(value: Any, path: tuple[str, ...]) -> Any:
    """What stands at `path` in a parsed value; ABSENT where nothing does."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part, ABSENT)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return ABSENT
    return value


class _Member(NamedTuple):
    name: str
    name_start: int
    name_end: int
    start: int
    end: int


def _skip(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # matches the empty text, too


def _members(text: str, start: int) -> tuple[list[_Member], int]:
    """The members of the object that starts at `start` (their values' places), and the place of its closing brace."""
    found, position = [], _skip(text, start + 1)
    while text[position] != "}":
        name, name_end = scanstring(text, position + 1)
        value_start = _skip(text, _skip(text, name_end) + 1)
        _, value_end = _EXACT.raw_decode(text, value_start)
        found.append(_Member(name, position, name_end, value_start, value_end))
        position = _skip(text, value_end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found, position


def _items(text: str, start: int) -> list[tuple[int, int]]:
    """Start and end of each item of the array that starts at `start`."""
    found, position = [], _skip(text, start + 1)
    while text[position] != "]":
        _, end = _EXACT.raw_decode(text, position)
        found.append((position, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def put(text: str, path: tuple[str, ...], value: str, style: Style) -> str:
    """The object's text with the JSON text `value` at `path`; everything else keeps its characters.

    Missing objects on the way are made (in the place of null, too). Where a name occurs twice, the last one counts, as it does for
    readers. Raises ValueError when something on the way is neither object nor array, or an array is too short.
    """
    return _put(text, _skip(text, 0), path, value, style)


def _put(text: str, start: int, path: tuple[str, ...], value: str, style: Style) -> str:
    if text[start] == "[":
        items = _items(text, start)
        if not path[0].isdecimal() or int(path[0]) >= len(items):
            raise ValueError(f"the array has no item {path[0]}")
        return _replace(text, items[int(path[0])], path[1:], value, style)
    if text[start] != "{":
        raise ValueError(f"there is no object that could hold {path[0]!r}")
    members, brace = _members(text, start)
    for member in reversed(members):
        if member.name == path[0]:
            return _replace(text, (member.start, member.end), path[1:], value, style)
    own = style_of(text[start:], ascii_only=style.ascii) if members else style
    inserted = json.dumps(path[0], ensure_ascii=style.ascii) + own.colon + _nested(path[1:], value, own)
    if not members:
        return text[: start + 1] + inserted + text[brace:]
    end = members[-1].end
    return text[:end] + own.comma + inserted + text[end:]


def _replace(text: str, place: tuple[int, int], rest: tuple[str, ...], value: str, style: Style) -> str:
    start, end = place
    if rest and text[start:end] != "null":
        return _put(text, start, rest, value, style)
    return text[:start] + _nested(rest, value, style) + text[end:]


def _nested(path: tuple[str, ...], value: str, style: Style) -> str:
    for name in reversed(path):
        value = "{" + json.dumps(name, ensure_ascii=style.ascii) + style.colon + value + "}"
    return value
