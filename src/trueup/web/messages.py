"""What a message says: its events, by JSON Pointers into its body. One that says too little is a hint that anything may have changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from trueup.connectors.jsonl_text import ABSENT, COMPACT, NumberText, dump, look_up, parse_line, plain_digits, pointer
from trueup.connectors.keytext import join_key
from trueup.store.inbox import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_EVENTS = 10_000
"""Of one message; a larger one is refused, for it would hold up all others."""
MOST_TEXT_BYTES = 1_000
"""Of an id, a key or an object's name: a database indexes no longer ones."""
MOST_TRIED_BYTES = 4_096
"""A sender that only tries the address says little."""
_MILLISECONDS_FROM = 1e11  # seconds of the year 5138
_LATEST = 253_402_300_800.0  # the year 10000


class UnreadableError(Exception):
    """The body is not JSON, or not of the form that was agreed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the messages of a system are read: JSON Pointers, or plain words that stand for themselves. None or empty: not told.

    `records` are the key columns of each mapping of a system that only pushes, whose message is the record; None for any other system.
    """

    system: str
    id: str | None = None
    key: tuple[str, ...] = ()
    object: str | None = None
    at: str | None = None
    items: str | None = None
    agreed: bool = True
    """The body is {"object": …, "key": …} or a list of such: both must be there."""
    records: tuple[tuple[str, ...], ...] | None = None
    timezone: str = "UTC"

    @classmethod
    def of(cls, system: str, event: Mapping[str, Any] | None, records: Sequence[Sequence[str]] | None, timezone: str | None) -> Reading:
        """From a checked configuration."""
        keys = None if records is None else tuple(tuple(key) for key in records)
        plain = cls(system, records=keys, timezone=timezone or "UTC")
        if event is None:
            return plain if keys is None else replace(plain, agreed=False)
        return replace(
            plain,
            agreed=False,
            id=event.get("id"),
            key=tuple(event.get("key") or ()),
            object=event.get("object"),
            at=event.get("at"),
            items=event.get("list"),
        )

    def events(self, body: bytes, received_at: datetime, message_id: str | None = None) -> list[Event]:
        """The events of a body; `message_id` is what its headers call it. Raises UnreadableError."""
        try:
            told = parse_line(body)
        except (ValueError, RecursionError):
            raise UnreadableError("the body is not JSON") from None
        items, several = self._items(told)
        if len(items) > MOST_EVENTS:
            raise UnreadableError(f"more than {MOST_EVENTS} events in one message")
        texts = [dump(item, COMPACT).encode() for item in items] if several else [body]
        found = [self._event(item, text, received_at) for item, text in zip(items, texts, strict=True)]
        if message_id is not None and self.id is None:
            found = [replace(event, event_id=message_id, item=number) for number, event in enumerate(found)]
        elif several:
            found = [replace(event, item=number) for number, event in enumerate(found)]
        for event in found:
            for text in (event.event_id, event.key, event.object):
                _check(text)
        return found

    def _items(self, told: Any) -> tuple[list[Any], bool]:
        """The events, and whether the body holds a list of them."""
        if self.items is not None:
            told = look_up(told, pointer(self.items))
        if isinstance(told, list):
            return told, True
        if told is ABSENT:
            raise UnreadableError("the body holds no list of events where one was agreed")
        return [told], self.items is not None

    def _event(self, item: Any, text: bytes, received_at: datetime) -> Event:
        if self.agreed:
            return self._as_agreed(item, text, received_at)
        key = _key(item, self.key) if self.key else None
        event = Event(
            system=self.system,
            object=_word(item, self.object),
            key=key,
            received_at=received_at,
            body=text,
            event_id=_word(item, self.id),
            at=_moment(item, self.at, self.timezone),
        )
        return event if self.records is None else self._record(event, item)

    def _as_agreed(self, item: Any, text: bytes, received_at: datetime) -> Event:
        if not isinstance(item, dict) or not isinstance(item.get("object"), str):
            raise UnreadableError('the body is not {"object": …, "key": …}')
        key = _scalar_key(item.get("key"))
        if key is None:
            raise UnreadableError("the body names no key")
        number = _text(item.get("id"))
        at = _moment(item, "/at", self.timezone)
        return Event(system=self.system, object=item["object"], key=key, received_at=received_at, body=text, event_id=number, at=at)

    def _record(self, event: Event, item: Any) -> Event:
        """An event that is the record itself. Messages replace each other where all of their keys are the same."""
        if not isinstance(item, dict):
            raise UnreadableError("a record is a JSON object")
        keys = [_key(item, columns) for columns in self.records or ()]
        known = orjson.dumps([event.object, keys]) if keys and None not in keys else event.body
        hint = event.key if event.key is not None or len(set(keys)) != 1 else keys[0]
        return replace(event, key=hint, record=sha256(known).hexdigest())


def challenge_in(body: bytes, where: str) -> tuple[str, str] | None:
    """Name and text of what stands at a pointer into a small body, which is to be sent back; None where nothing does."""
    if len(body) > MOST_TRIED_BYTES:
        return None
    try:
        said = look_up(parse_line(body), pointer(where))
    except (ValueError, RecursionError):
        return None
    return (where.rpartition("/")[2], str(said)) if isinstance(said, str) and not isinstance(said, NumberText) and said else None


def _check(text: str | None) -> None:
    if text is None:
        return
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise UnreadableError("half a character") from None
    if length > MOST_TEXT_BYTES or "\x00" in text:
        raise UnreadableError("an id, a key or an object's name that no database would hold")


def _word(item: Any, where: str | None) -> str | None:
    """The text at a pointer; a plain word is itself."""
    if where is None or not where.startswith("/"):
        return where
    return _text(look_up(item, pointer(where)))


def _text(value: Any) -> str | None:
    """A value's text; None where it has none: nothing, null, or not a plain value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, NumberText):
        return _number(value)
    if isinstance(value, float):
        return _number(NumberText(repr(value)))
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and value != "" else None


def _number(value: NumberText) -> str:
    """A number without trailing zeros, as keys are written."""
    digits = plain_digits(value)
    if "e" in digits or "E" in digits or not Decimal(digits).is_finite():
        return digits
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _key(item: Any, columns: Sequence[str]) -> str | None:
    """The key text of a record; None where a part of it is missing."""
    parts = [_text(look_up(item, pointer(column))) for column in columns]
    return None if None in parts or not parts else join_key([part or "" for part in parts])


def _scalar_key(value: Any) -> str | None:
    """The key text of a plain value, or of a list of the key's parts."""
    parts = [_text(part) for part in (value if isinstance(value, list) else [value])]
    return None if None in parts or not parts else join_key([part or "" for part in parts])


def _moment(item: Any, where: str | None, timezone: str) -> datetime | None:
    """The time at a pointer; None where there is none that can be read."""
    value = None if where is None else look_up(item, pointer(where))
    if value is None or isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float | NumberText) or (isinstance(value, str) and value.replace(".", "", 1).isdecimal()):
            return _since_1970(float(value))
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None


def _since_1970(number: float) -> datetime | None:
    seconds = number / 1000 if abs(number) >= _MILLISECONDS_FROM else number
    if not math.isfinite(seconds) or not 0 <= seconds < _LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)
