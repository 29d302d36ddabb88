"""What a column holds, seen from its values: its kind, how full it is, and a form in which values of several systems can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import ColumnInfo

Kind = Literal["empty", "email", "url", "phone", "date", "datetime", "boolean", "integer", "decimal", "code", "text"]
MOST = 0.9
"""So many of the values that there are have to be of a kind."""

_FORMS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("email", re.compile(r"\s*[^\s@]+@[^\s@]+\.[^\s@]+\s*")),
    ("url", re.compile(r"\s*(https?://|www\.)\S+\s*", re.IGNORECASE)),
    ("boolean", re.compile(r"\s*(true|false|yes|no|y|n|ja|nein|on|off)\s*", re.IGNORECASE)),
    ("datetime", re.compile(r"\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")),
    ("date", re.compile(r"\s*(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{4})\s*")),
    ("integer", re.compile(r"\s*[-+]?(0|[1-9]\d{0,17})\s*")),
    ("decimal", re.compile(r"\s*[-+]?(0|[1-9]\d{0,14})([.,]\d+)?\s*")),
    ("phone", re.compile(r"\s*(\+|0|\()[\d\s()/.-]{5,24}\s*")),
    ("code", re.compile(r"\s*(?=\S*\d)[A-Za-z0-9]+([-_/.][A-Za-z0-9]+)*\s*")),
)
_OF_TYPE: dict[str, Kind] = {
    "integer": "integer", "decimal": "decimal", "float": "decimal", "boolean": "boolean", "date": "date", "datetime": "datetime",
    "timestamp": "datetime",
}  # fmt: skip
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d")
"""Days before months, as most of the world writes them; a column with a 13th month is read the other way."""
_SPACE = re.compile(r"\s+")
_NO_DIGIT = re.compile(r"\D")
_PHONE_DIGITS = 9  # without the country's number, which one system writes and another does not


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an object, and what its sampled values tell.

    `values` are texts in a form that is the same in every system, None where there is none, in the order of the object's sample.
    `filled` and `distinct` are shares: of all rows, and of the values that there are. `known` are its values, each once.
    `untidy` is the share of values with blanks around.
    `texts` are the values as they stand there.
    `parts` are the columns that it is made of, where it is none of its object: a name of which the object holds first and last name.
    `format` is how the column writes its values, where it is not the usual way: strptime codes of a date, `1.234,56` for a number.
    """

    name: str
    info: ColumnInfo
    kind: Kind
    values: tuple[str | None, ...]
    known: frozenset[str]
    filled: float
    distinct: float
    untidy: float
    format: str = ""
    texts: tuple[str | None, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def unique(self) -> bool:
        """Whether the values tell rows apart."""
        return self.distinct >= 0.98 and self.filled >= 0.5 and self.kind not in {"empty", "boolean"}


def column_of(info: ColumnInfo, texts: Sequence[str | None], *, parts: tuple[str, ...] = ()) -> Column:
    """What a column's texts tell; `parts` as in `Column`."""
    given = [text for text in texts if text is not None and text.strip()]
    kind = _kind(info, given)
    form = _format(info, kind, given)
    values = tuple(None if text is None or not text.strip() else comparable(kind, text, form) for text in texts)
    known = frozenset(value for value in values if value is not None)
    return Column(
        info.name,
        info,
        kind,
        values,
        known,
        filled=len(given) / len(texts) if texts else 0.0,
        distinct=len(known) / len(given) if given else 0.0,
        untidy=sum(text != text.strip() for text in given) / len(given) if given else 0.0,
        format=form,
        texts=tuple(texts),
        parts=parts,
    )


def _format(info: ColumnInfo, kind: Kind, given: Sequence[str]) -> str:
    """How texts write their dates or numbers; empty where it is the usual way."""
    if info.type != "text":
        return ""
    if kind == "date":
        return next((form for form in _DATES if all(_as_day(text.strip(), form) is not None for text in given)), "")
    return "1.234,56" if kind == "decimal" and any("," in text for text in given) else ""


def _kind(info: ColumnInfo, given: Sequence[str]) -> Kind:
    if not given:
        return "empty"
    if info.type in _OF_TYPE:
        return _OF_TYPE[info.type]
    for kind, form in _FORMS:
        if sum(form.fullmatch(text) is not None for text in given) >= MOST * len(given):
            return kind
    return "text"


def comparable(kind: Kind, text: str, form: str = "") -> str:
    """A value in a form in which the same things look the same, however each system writes them; `form` as in `Column.format`."""
    plain = _SPACE.sub(" ", text).strip().casefold()
    match kind:
        case "phone":
            return _NO_DIGIT.sub("", plain)[-_PHONE_DIGITS:]
        case "integer" | "decimal":
            return _number(plain)
        case "date" | "datetime":
            return _day(plain, form)
        case "boolean":
            return "yes" if plain in {"true", "yes", "y", "ja", "on", "1"} else "no"
        case "url":
            return plain.removeprefix("https://").removeprefix("http://").removeprefix("www.").rstrip("/")
        case _:
            return plain


def _number(plain: str) -> str:
    text = plain.replace(",", ".").lstrip("+")
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


def _day(plain: str, form: str) -> str:
    """The day of a date or moment."""
    if form:
        return _as_day(plain, form) or plain
    try:
        return datetime.fromisoformat(plain.replace(" ", "t", 1).upper()).date().isoformat()
    except ValueError:
        return plain


def moment(text: str | None) -> datetime | None:
    """The moment that a text names (UTC where it names no zone), None where it names none, or a day alone."""
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    if ":" not in (text or ""):
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _as_day(text: str, form: str) -> str | None:
    """The day that a text names in this form, None where it is not in it."""
    try:
        found: date = datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None
    return found.isoformat()
