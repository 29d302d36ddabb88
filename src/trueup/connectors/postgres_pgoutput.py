"""What logical replication sends: PostgreSQL's `pgoutput` protocol, version 1, as far as keys need it.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. Values come as text. Of an old row only the columns of the
table's replica identity are there, unless that is FULL.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_IDENTITY_FLAG = 1

Tuple = list["str | None"]
"""The values of a row by place; None where a value is null or was not sent."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the stream describes it before it tells the first change of it. `identity`: the columns that an old row brings."""

    oid: int
    columns: tuple[str, ...]
    identity: frozenset[str]


@dataclass(frozen=True, slots=True)
class Changed:
    """One row of a table. `old` is None where the row is new, or its identity stayed the same; `new` where it was deleted.

    `whole`: the old row has all of its columns, not only those of the identity.
    """

    relation: int
    old: Tuple | None
    new: Tuple | None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tables that were emptied."""

    relations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """The begin of a transaction; `xid` has 32 bits."""

    xid: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The end of a transaction: everything told before it is up to `end`, where the next one may begin."""

    end: int
    at: datetime


Message = Begun | Relation | Changed | Truncated | Committed


def moment(microseconds: int) -> datetime:
    """A time of the protocol, which counts from the year 2000."""
    return _EPOCH + timedelta(microseconds=microseconds)


def lsn_text(lsn: int) -> str:
    """A place in the log as the server writes it: `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_of(text: str) -> int:
    """The place that `lsn_text` wrote. Raises ValueError."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def status(confirmed: int, now: datetime, *, ask: bool) -> bytes:
    """A standby's status: everything up to `confirmed` need not be kept; `ask` for an answer at once."""
    sent = int((now - _EPOCH).total_seconds() * 1_000_000)
    return b"r" + struct.pack("!QQQqB", confirmed, confirmed, confirmed, sent, ask)


def parse(data: bytes) -> Message | None:
    """One message; None for those that tell nothing about keys (origin, type)."""
    match data[:1]:
        case b"I" | b"U" | b"D":
            return _changed(data)
        case b"B":
            return Begun(struct.unpack_from("!I", data, 17)[0])
        case b"C":
            _flags, _commit, end, at = struct.unpack_from("!BQQq", data, 1)
            return Committed(end, moment(at))
        case b"R":
            return _relation(data)
        case b"T":
            count, _options = struct.unpack_from("!IB", data, 1)
            return Truncated(struct.unpack_from(f"!{count}I", data, 6))
        case _:
            return None


def _changed(data: bytes) -> Changed:
    (relation,) = struct.unpack_from("!I", data, 1)
    place, old, new, whole = 5, None, None, False
    while place < len(data):
        kind = data[place : place + 1]
        values, place = _tuple(data, place + 1)
        if kind == b"N":
            new = values
        else:
            old, whole = values, kind == b"O"
    return Changed(relation, old, new, whole)


def _tuple(data: bytes, place: int) -> tuple[Tuple, int]:
    (count,) = struct.unpack_from("!H", data, place)
    place += 2
    values: Tuple = []
    for _ in range(count):
        kind = data[place]
        place += 1
        if kind in b"tb":
            (length,) = struct.unpack_from("!I", data, place)
            place += 4
            values.append(data[place : place + length].decode())
            place += length
        else:  # null, or a large value that did not change and was not sent
            values.append(None)
    return values, place


def _relation(data: bytes) -> Relation:
    (oid,) = struct.unpack_from("!I", data, 1)
    place = data.index(b"\0", data.index(b"\0", 5) + 1) + 2  # past the names, and the kind of identity
    (count,) = struct.unpack_from("!H", data, place)
    place += 2
    columns, identity = [], set()
    for _ in range(count):
        end = data.index(b"\0", place + 1)
        name = data[place + 1 : end].decode()
        columns.append(name)
        if data[place] & _IDENTITY_FLAG:
            identity.add(name)
        place = end + 9  # past its type and typmod
    return Relation(oid, tuple(columns), frozenset(identity))


def at_places(values: Tuple, places: Sequence[int]) -> Tuple:
    """The values at some places."""
    return [values[place] for place in places]
