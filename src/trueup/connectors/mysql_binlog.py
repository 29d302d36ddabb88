"""The binary log of MySQL and MariaDB as it is streamed to replicas, as far as keys need it.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html, https://mariadb.com/kb/en/replication-protocol/.
Every value of a row is passed over by its length, and only those of key columns are looked at: what stands in the others can do no harm.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("<IBIIIH")  # when, type, server, size, end, flags
_QUERY, _ROTATE, _FORMAT, _XID, _TABLE_MAP, _GTID_MARIADB, _PAYLOAD = 2, 4, 15, 16, 19, 162, 40
_ROWS = {23: "new", 24: "changed", 25: "gone", 30: "new", 31: "changed", 32: "gone"}
_SECOND_VERSION = {30, 31, 32}
_OTHER_ROWS = {39, 166, 167, 168, 169, 170, 171}  # partial JSON updates, and rows that are compressed

_FIXED = {1: 1, 2: 2, 3: 4, 5: 8, 6: 0, 7: 4, 8: 8, 9: 3, 10: 3, 11: 3, 12: 8, 13: 1, 14: 3}
_WITH_ONE_BYTE = {4, 5, 17, 18, 19, 140, 242, 245, 249, 250, 251, 252, 255}  # of metadata
_WITH_TWO_BYTES = {15, 16, 141, 246, 247, 248, 253, 254}
_FRACTIONAL = {17: 4, 18: 5, 19: 3}
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_FLOAT, _BIT, _DECIMAL, _ENUM, _SET, _STRING = 4, 16, 246, 247, 248, 254

_COMMIT = re.compile(rb"\s*(COMMIT|ROLLBACK)\b", re.IGNORECASE)
_HARMLESS = re.compile(rb"\s*(BEGIN|SAVEPOINT|RELEASE|START|XA|SET|FLUSH|GRANT|REVOKE|CREATE(?!\s+OR\s+REPLACE)|ANALYZE)\b", re.IGNORECASE)
_REMARKS = re.compile(rb"(\s*(/\*(?!M?!).*?\*/|--\s[^\n]*\n|#[^\n]*\n))+", re.DOTALL)  # but for /*! … */, which is carried out


class UnknownTypeError(Exception):
    """A column of a type that cannot be passed over."""


@dataclass(frozen=True, slots=True)
class TableMap:
    """What the log says about a table before it tells rows of it: the type and metadata of each column."""

    schema: str
    name: str
    types: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table: what the key columns held, before or after, by place (None: null or not told)."""

    table: TableMap
    images: tuple[dict[int, bytes | None], ...]
    known: bool = True  # False: rows were changed, and it cannot be told which


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that stands in the log as it was given: it may change anything that it names."""

    schema: str
    text: str


@dataclass(frozen=True, slots=True)
class Began:
    """A transaction of MariaDB with its number."""

    gtid: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction, or a statement that is none, ends here."""

    end: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Rotated:
    """The log goes on in another file."""

    file: str
    position: int


class Anything:
    """An event that hides what it changes."""


Event = Rows | Statement | Began | Ended | Rotated | Anything


class Log:
    """Reads events; `wanted` are the tables of interest with the places of their key columns (None: only that something changed)."""

    def __init__(self, wanted: dict[tuple[str, str], frozenset[int]], *, checked: bool) -> None:
        """Nothing was read yet; `checked`: events end with a checksum, until a file says otherwise."""
        self._wanted = wanted
        self._checked = checked
        self._tables: dict[int, TableMap | None] = {}

    def read(self, data: bytes) -> Iterator[Event]:  # noqa: C901  one case an event
        """What one event says."""
        when, kind, server, _size, end, _flags = _HEADER.unpack_from(data)
        if kind == _FORMAT:
            self._checked = data[-5] == 1  # the kind of checksum, before the one that this event always has
            return
        body = data[_HEADER.size : -4] if self._checked else data[_HEADER.size :]
        at = datetime.fromtimestamp(when, UTC)
        if kind == _TABLE_MAP:
            self._map(body)
        elif kind in _ROWS:
            yield from self._rows(kind, body)
        elif kind in _OTHER_ROWS:
            table = self._tables.get(_number(body[:6]))
            if table is not None:
                yield Rows(table, (), known=False)
        elif kind == _XID:
            yield Ended(end, at)
        elif kind == _QUERY:
            yield from self._query(body, end, at)
        elif kind == _ROTATE:
            self._tables.clear()  # a server that was restarted gives the numbers anew
            yield Rotated(body[8:].decode(), _number(body[:8]))
        elif kind == _GTID_MARIADB:
            sequence, domain = struct.unpack_from("<QI", body)
            yield Began(f"{domain}-{server}-{sequence}")
        elif kind == _PAYLOAD:
            yield Anything()
            yield Ended(end, at)

    def _query(self, body: bytes, end: int, at: datetime) -> Iterator[Event]:
        schema_size, status_size = body[8], _number(body[11:13])
        schema = body[13 + status_size : 13 + status_size + schema_size].decode(errors="replace")
        text = body[14 + status_size + schema_size :]
        if remark := _REMARKS.match(text):
            text = text[remark.end() :]
        if _COMMIT.match(text):
            yield Ended(end, at)
        elif not _HARMLESS.match(text):
            yield Statement(schema, text[:10_000].decode(errors="replace"))
            yield Ended(end, at)

    def _map(self, body: bytes) -> None:
        number = _number(body[:6])
        schema_end = 9 + body[8]
        schema = body[9:schema_end].decode()
        name_size = body[schema_end + 1]
        name_end = schema_end + 2 + name_size
        name = body[schema_end + 2 : name_end].decode()
        if (schema, name) not in self._wanted:
            self._tables[number] = None
            return
        count, place = _packed(body, name_end + 1)
        kinds = body[place : place + count]
        _size, place = _packed(body, place + count)
        types = []
        for kind in kinds:
            width = 1 if kind in _WITH_ONE_BYTE else 2 if kind in _WITH_TWO_BYTES else 0
            types.append((kind, _number(body[place : place + width])))
            place += width
        self._tables[number] = TableMap(schema, name, tuple(types))

    def _rows(self, kind: int, body: bytes) -> Iterator[Event]:
        table = self._tables.get(_number(body[:6]))
        if table is None:
            return
        place = 8 + (_number(body[8:10]) if kind in _SECOND_VERSION else 0)
        count, place = _packed(body, place)
        width = (count + 7) // 8
        bitmaps = [_bits(body[place : place + width], count)]
        place += width
        if _ROWS[kind] == "changed":
            bitmaps.append(_bits(body[place : place + width], count))
            place += width
        wanted = self._wanted[table.schema, table.name]
        images: list[dict[int, bytes | None]] = []
        try:
            while place < len(body):
                for present in bitmaps:
                    image, place = _image(table, present, wanted, body, place)
                    images.append(image)
        except (UnknownTypeError, IndexError):
            place = -1
        if place != len(body):
            yield Rows(table, (), known=False)
            return
        if len(bitmaps) == 2:  # a new image may leave out what did not change
            for before, after in zip(images[::2], images[1::2], strict=True):
                after.update({number: value for number, value in before.items() if number not in after})
        yield Rows(table, tuple(images))


def _image(table: TableMap, present: list[int], wanted: frozenset[int], body: bytes, place: int) -> tuple[dict[int, bytes | None], int]:
    nulls = body[place : place + (len(present) + 7) // 8]
    place += len(nulls)
    image: dict[int, bytes | None] = {}
    for order, number in enumerate(present):
        if nulls[order // 8] & (1 << order % 8):
            if number in wanted:
                image[number] = None
            continue
        start, end = _value(*table.types[number], body, place)
        if number in wanted:
            image[number] = body[start:end]
        place = end
    return image, place


def _value(kind: int, meta: int, body: bytes, place: int) -> tuple[int, int]:  # noqa: C901  one case a type
    """Where the bytes of a value begin and end."""
    prefix = 0
    if kind == _STRING:
        first, second = meta & 0xFF, meta >> 8
        kind = first | 0x30
        size = second | (((first & 0x30) ^ 0x30) << 4)
        if kind in {_ENUM, _SET}:
            return place, place + second
        prefix = 1 if size < 256 else 2
    elif kind in {15, 141, 253}:
        prefix = 1 if meta < 256 else 2
    elif kind in {140, 242, 245, 249, 250, 251, 252, 255}:
        prefix = meta
    elif kind == _FLOAT:
        return place, place + 4
    elif kind in _FIXED:
        return place, place + _FIXED[kind]
    elif kind in _FRACTIONAL:
        return place, place + _FRACTIONAL[kind] + (meta + 1) // 2
    elif kind == _BIT:
        return place, place + (meta >> 8) + ((meta & 0xFF) + 7) // 8
    elif kind == _DECIMAL:
        whole, fraction = (meta & 0xFF) - (meta >> 8), meta >> 8
        return place, place + whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + fraction // 9 * 4 + _DIGIT_BYTES[fraction % 9]
    elif kind in {_ENUM, _SET}:
        return place, place + (meta >> 8)
    else:
        raise UnknownTypeError(str(kind))
    start = place + prefix
    return start, start + _number(body[place:start])


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _packed(body: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it."""
    first = body[place]
    if first < 251:
        return first, place + 1
    width = {252: 2, 253: 3, 254: 8}[first]
    return _number(body[place + 1 : place + 1 + width]), place + 1 + width


def _bits(data: bytes, count: int) -> list[int]:
    """The numbers of the columns that a bitmap names."""
    return [number for number in range(count) if data[number // 8] & (1 << number % 8)]
