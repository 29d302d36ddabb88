"""The columns of contacts: which part of a card each of them is, and how it is read from there and written there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, get_args

from trueup.connectors.carddav_card import Card, CardError, Line, escaped
from trueup.connectors.sql_types import instant_of
from trueup.model import ColumnInfo, ColumnType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HREF = "href"
"""The column that tells cards apart: the last part of a card's address, as the server gives it."""

DECLARABLE: tuple[ColumnType, ...] = ("text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp", "list")
_AT = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9-]*)(?P<types>(?:;[A-Za-z0-9-]+)*)(?:\.(?P<part>[a-z]+))?")
_PARTS: dict[str, tuple[str, ...]] = {
    "N": ("family", "given", "additional", "prefix", "suffix"),
    "ADR": ("box", "extended", "street", "city", "region", "code", "country"),
    "ORG": ("name", "unit"),
}
_LISTS = frozenset({"CATEGORIES", "NICKNAME"})
"""Properties of which one line holds a list."""
_READ_ONLY = frozenset({"UID", "REV", "VERSION", "PRODID"})
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")

STANDARD: dict[str, tuple[str, ColumnType]] = {
    "full_name": ("FN", "text"),
    "family_name": ("N.family", "text"),
    "given_name": ("N.given", "text"),
    "additional_names": ("N.additional", "text"),
    "name_prefix": ("N.prefix", "text"),
    "name_suffix": ("N.suffix", "text"),
    "nickname": ("NICKNAME", "text"),
    "organization": ("ORG.name", "text"),
    "department": ("ORG.unit", "text"),
    "job_title": ("TITLE", "text"),
    "role": ("ROLE", "text"),
    "email": ("EMAIL", "text"),
    "email_home": ("EMAIL;home", "text"),
    "email_work": ("EMAIL;work", "text"),
    "emails": ("EMAIL", "list"),
    "phone": ("TEL", "text"),
    "phone_home": ("TEL;home", "text"),
    "phone_work": ("TEL;work", "text"),
    "phone_mobile": ("TEL;cell", "text"),
    "phone_fax": ("TEL;fax", "text"),
    "phones": ("TEL", "list"),
    **{
        f"{prefix}{part}": (f"ADR{kind}.{part}", "text")
        for prefix, kind in (("", ""), ("home_", ";home"), ("work_", ";work"))
        for part in ("street", "city", "region", "code", "country")
    },
    "website": ("URL", "text"),
    "birthday": ("BDAY", "date"),
    "note": ("NOTE", "text"),
    "categories": ("CATEGORIES", "list"),
    "uid": ("UID", "text"),
    "changed": ("REV", "datetime"),
}
"""Name of a column -> where in a card it is, and its type."""


@dataclass(frozen=True, slots=True)
class CardColumn:
    """One column: a property, the types that a line of it must have, and the number of the part where its value has several."""

    name: str
    at: str
    type: ColumnType
    prop: str
    types: tuple[str, ...] = ()
    part: int | None = None

    @property
    def writable(self) -> bool:
        """Whether it can be written; what the server and the card itself count is only read."""
        return self.prop not in _READ_ONLY and bool(self.prop)

    def info(self) -> ColumnInfo:
        """What `describe` says of it."""
        return ColumnInfo(
            name=self.name,
            type=self.type,
            native_type=self.at,
            nullable=bool(self.prop),
            writable=self.writable or not self.prop,
        )

    # ---------------------------------------------------------------- reading

    def _lines(self, card: Card) -> list[Line]:
        """The lines that it speaks of, the preferred one first."""
        found = [line for line in card.named(self.prop) if line.types.issuperset(self.types)]
        return sorted(found, key=lambda line: line.rank)

    def read(self, card: Card) -> Any:
        """The value, typed as a page shows it. Raises CardError for one that is not of its type."""
        lines = self._lines(card)
        if self.type == "list":
            in_order = [line for line in card.named(self.prop) if line in lines]
            found = [item for line in in_order for item in (line.items() if self.prop in _LISTS else [line.text])]
            return [item for item in found if item] or None
        if not lines:
            return None
        if self.part is not None:
            parts = lines[0].fields()
            return (parts[self.part] if self.part < len(parts) else "") or None
        text = ", ".join(lines[0].items()) if self.prop in _LISTS else lines[0].text
        return typed(text, self.type)

    # ---------------------------------------------------------------- writing

    def written(self, card: Card, value: Any) -> Card:
        """The card with another value there; None: without one. Raises CardError for a value that no card can hold."""
        lines = self._lines(card)
        if self.type == "list":
            return self._listed(card, lines, value or [])
        if self.part is not None:
            return self._parted(card, lines, value)
        if value is None:
            return card.with_lines(lines[:1], [])
        told = texted(value, self.type)
        plain = ",".join(escaped(item.strip()) for item in told.split(",")) if self.prop in _LISTS else escaped(told)
        if self.prop in {"URL", "BDAY"}:
            plain = told.replace("\r", "").replace("\n", "")
        if lines:
            return card.with_lines(lines[:1], [lines[0].with_value(plain)])
        return card.with_lines([], [self._new(card, plain)])

    def _parted(self, card: Card, lines: list[Line], value: Any) -> Card:
        assert self.part is not None
        parts = lines[0].fields() if lines else []
        if value is None and self.part >= len(parts):
            return card
        width = max(len(_PARTS[self.prop]) if self.prop != "ORG" else self.part + 1, len(parts))
        parts += [""] * (width - len(parts))
        parts[self.part] = "" if value is None else str(value)
        if self.prop == "ORG":
            while parts and not parts[-1]:
                parts.pop()
        if not any(parts) and self.prop != "N":  # a name may be empty in 3.0, but not missing
            return card.with_lines(lines[:1], [])
        plain = ";".join(escaped(part) for part in parts)
        if lines:
            return card.with_lines(lines[:1], [lines[0].with_value(plain)])
        return card.with_lines([], [self._new(card, plain)])

    def _listed(self, card: Card, lines: list[Line], values: list[str]) -> Card:
        values = [value for value in values if value]
        if self.prop in _LISTS:
            plain = ",".join(escaped(value) for value in values)
            made = [] if not values else [lines[0].with_value(plain) if lines else self._new(card, plain)]
            return card.with_lines(lines, made)
        known = {line.text: line for line in reversed(lines)}
        return card.with_lines(lines, [known.pop(value) if value in known else self._new(card, escaped(value)) for value in values])

    def _new(self, card: Card, plain: str) -> Line:
        kinds = ",".join(kind if card.version.startswith("4") else kind.upper() for kind in self.types)
        return Line(self.prop, plain, params=(("TYPE", kinds),) if kinds else ())


def standard() -> dict[str, CardColumn]:
    """The columns that every address book has."""
    found = {HREF: CardColumn(HREF, HREF, "text", "")}
    for name, (at, kind) in STANDARD.items():
        found[name] = column_at(name, at, kind)
    return found


def declared(columns: Mapping[str, Any]) -> dict[str, CardColumn]:
    """Columns that a mapping declares: name -> `X-LOYALTY`, or `{at: X-LOYALTY, type: integer}`. Raises CardError for what is none."""
    found = {}
    for name, said in columns.items():
        given = said if isinstance(said, dict) else {"at": said}
        at, kind = str(given.get("at", "")), given.get("type", "text")
        if kind not in DECLARABLE or kind not in get_args(ColumnType):
            raise CardError(f"a column cannot be declared as {kind!r}: there are {', '.join(DECLARABLE)}")
        if at == HREF:
            found[name] = CardColumn(name, HREF, kind, "")
        else:
            found[name] = column_at(name, at, kind)
    return found


def column_at(name: str, at: str, kind: ColumnType) -> CardColumn:
    """The column that a place in a card is: `NOTE`, `TEL;cell`, `ADR;work.city`. Raises CardError for what is no place."""
    found = _AT.fullmatch(at)
    if found is None:
        raise CardError(f"{name}: {at!r} is no place in a card: write a property, as NOTE, TEL;cell or ADR;work.city")
    called = found["name"].upper()
    types = tuple(part.lower() for part in found["types"].split(";") if part)
    if found["part"] is None:
        if called in _PARTS:
            raise CardError(f"{name}: {called} has parts: write {called}.{_PARTS[called][0]}; there are {', '.join(_PARTS[called])}")
        return CardColumn(name, at, kind, called, types)
    parts = _PARTS.get(called, ())
    if found["part"] not in parts:
        known = f": there are {', '.join(parts)}" if parts else ""
        raise CardError(f"{name}: {called} has no part {found['part']!r}{known}")
    return CardColumn(name, at, kind, called, types, parts.index(found["part"]))


def typed(text: str, kind: ColumnType) -> Any:
    """A text of a card as a value of a column's type. Raises CardError for one that is none."""
    if kind == "text":
        return text
    try:
        return _READ.get(kind, _timestamp)(text.strip())
    except (ValueError, KeyError, InvalidOperation, OverflowError):
        raise CardError(f"{text[:60]!r} is no {kind}") from None


def _integer(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return number


def _decimal(text: str) -> str:
    exact = Decimal(text)
    if not exact.is_finite():
        raise ValueError(text)
    return format(exact, "f")


def _date(text: str) -> date:
    """A day with or without hyphens, as both versions write it; the hour after it is not looked at."""
    day = _DAY.match(text)
    if day is None:
        raise ValueError(text)
    return date(int(day[1]), int(day[2]), int(day[3]))


def _moment(text: str) -> datetime:
    moment = instant_of(text)
    if moment is None:
        raise ValueError(text)
    return moment


def _datetime(text: str) -> datetime:
    moment = _moment(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _timestamp(text: str) -> datetime:
    return _moment(text).replace(tzinfo=None)


_READ: dict[ColumnType, Callable[[str], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "float": float,
    "boolean": lambda text: {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()],
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
}


def texted(value: Any, kind: ColumnType) -> str:
    """A value as the text that a card holds. Raises CardError for one that is not of the type."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case float():
            return repr(value)
        case _:
            text = str(value)
            if kind != "text":
                typed(text, kind)
            return text


def name_of(key: str) -> str:
    """The name of a card by its key: an address has no `/` inside its last part."""
    return key.replace("%", "%25").replace("/", "%2F")


def is_name(key: str) -> bool:
    """Whether there can be a card of that key."""
    return bool(key) and key not in {".", ".."}


def key_of(name: str) -> str:
    """The key of a card by its name."""
    return name.replace("%2F", "/").replace("%25", "%")
