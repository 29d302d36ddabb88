"""What the fields of an entity say about who or what a record is, and in which form their values are compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import polars as pl

from trueup.core.cells import NULL
from trueup.model import ColumnInfo
from trueup.setup import words
from trueup.setup.kinds import column_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import Entity, Field

FieldKind = Literal["name", "email", "phone", "date", "code", "postcode", "text", "number", "category"]
LOOKED_AT = 5_000
"""Values of a field from which its kind is told."""
MOST_FIELDS = 12
FEW_VALUES = 60
"""Up to so many different values are a category, where each of them stands often enough."""
LONG_TEXT = 80
"""Texts beyond so many signs on average are not compared."""
LONG_CODE = 5
"""From so many signs on a number in a register tells one from another; a shorter one is a house number."""
SHARED = frozenset({"postcode", "text", "number", "category", "phone"})
"""Kinds that a household or a company has in common: they alone make nobody the same."""
_OF_TYPE: dict[str, FieldKind] = {"date": "date", "reference": "category"}
_NAMES = frozenset({"name", "first name", "last name", "middle name", "company"})
_PLACES = frozenset({"street", "city", "region", "country", "suburb"})
_NOT_WHO = frozenset(
    {"note", "description", "status", "active", "created", "modified", "price", "cost", "quantity", "amount", "credit", "salary", "due",
     "consent", "currency", "weight"}
)  # fmt: skip
"""What a record has, and not what it is: such fields are not compared."""
_PUNCTUATION = re.compile(r"[^\w\s@]+")
_BLANKS = re.compile(r"\s+")
_NO_DIGIT = re.compile(r"\D+")
_SHORT = {
    "street": "st", "road": "rd", "avenue": "ave", "drive": "dr", "place": "pl", "court": "ct", "crescent": "cres", "lane": "ln",
    "strasse": "str", "straße": "str", "saint": "st", "close": "cl", "terrace": "tce", "circuit": "cct",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compared:
    """A field that is compared, under the name of its column in the model (`c0`, `c1`, …)."""

    field: str
    column: str
    kind: FieldKind
    filled: float
    distinct: int

    @property
    def shared(self) -> bool:
        """Whether several who are not the same commonly have it in common."""
        return self.kind in SHARED


def compared_fields(entity: Entity, cells: pl.DataFrame) -> tuple[list[Compared], dict[str, str]]:
    """The fields by which these records (their cells, a column per field) are compared, and why others are not."""
    found: list[Compared] = []
    left_out: dict[str, str] = {}
    for name, item in entity.fields.items():
        values = cells[name].drop_nulls()
        values = values.filter(values != NULL)
        distinct = values.n_unique()
        why = _not_compared(item, distinct, values.len())
        kind = None if why else _kind(item, values, distinct)
        if kind is None:
            left_out[name] = why or "says what a record has, not which one it is"
            continue
        found.append(Compared(name, "", kind, values.len() / max(1, cells.height), distinct))
    telling = sorted(found, key=lambda one: -one.filled * one.distinct)
    left_out |= {one.field: f"the {MOST_FIELDS} fields that tell records apart best are compared" for one in telling[MOST_FIELDS:]}
    kept = [one for one in found if one.field not in left_out]
    return [Compared(one.field, f"c{place}", one.kind, one.filled, one.distinct) for place, one in enumerate(kept)], left_out


def _not_compared(item: Field, distinct: int, given: int) -> str:
    if not given:
        return "has no values"
    if distinct == 1:
        return "has one value in all records"
    if item.type in {"json", "list", "float", "decimal", "datetime", "boolean"}:
        return f"a {item.type} does not tell records apart"
    if item.conflict in {"add", "union"}:
        return "is counted or collected"
    return ""


_SAID: dict[str, FieldKind] = {
    "birthday": "date", "phone": "phone", "mobile": "phone", "email": "email", "postcode": "postcode", **dict.fromkeys(_NAMES, "name"),
}  # fmt: skip
"""What a field is by its name, whatever its values look like."""


def _kind(item: Field, values: pl.Series, distinct: int) -> FieldKind | None:
    """The kind of a field, from its type, its name and its values; None where it says nothing about which record it is."""
    said = words.meaning(item.name)
    if said in _NOT_WHO:
        return None
    if item.type in _OF_TYPE:
        return _OF_TYPE[item.type]
    if any(step.name == "phone" for step in item.clean):
        return "phone"
    if said in _PLACES:
        return "text" if distinct > FEW_VALUES else "category"
    return _SAID.get(said) or _by_values(item, values, distinct)


def _by_values(item: Field, values: pl.Series, distinct: int) -> FieldKind | None:
    """The kind of a field that its name does not tell."""
    sample = values.head(LOOKED_AT) if values.len() <= LOOKED_AT else values.sample(LOOKED_AT, seed=1)
    looks = column_of(ColumnInfo(name=item.name, type="text"), sample.to_list()).kind
    if looks == "email":
        return "email"
    if looks == "date":
        return "date"
    if distinct <= FEW_VALUES and values.len() >= 10 * distinct:
        return "category"
    if looks in {"integer", "code", "decimal", "phone"} or item.type == "integer":
        return "code" if _length(sample) >= LONG_CODE else "number"
    return "text" if _length(sample) <= LONG_TEXT else None


def _length(sample: pl.Series) -> float:
    """How many signs the values have on average."""
    return float(cast("float", sample.str.len_chars().mean()))


# ---------------------------------------------------------------- values


def comparable(cells: pl.DataFrame, fields: list[Compared]) -> pl.DataFrame:
    """A column per compared field, its values in the form in which they are compared; null where there is none."""
    return pl.DataFrame([_comparable(cells[one.field], one.kind).alias(one.column) for one in fields])


def _comparable(cells: pl.Series, kind: FieldKind) -> pl.Series:
    """Each different value is put into its form once."""
    known = cells.drop_nulls()
    known = known.filter(known != NULL).unique()
    forms: Mapping[str, str | None] = {text: form(kind, text) for text in known.to_list()}
    return cells.replace_strict(forms, default=None, return_dtype=pl.String)


def form(kind: FieldKind, text: str) -> str | None:
    """A value in a form in which the same things look the same; None where nothing of it is left."""
    plain = _BLANKS.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()
    if kind == "email":
        return plain or None
    if kind in {"phone", "date"}:
        digits = _NO_DIGIT.sub("", plain)
        return (digits[-9:] if kind == "phone" else digits) or None
    if kind in {"postcode", "code"}:
        return "".join(part for part in plain if part.isalnum()) or None
    bare = _BLANKS.sub(" ", _PUNCTUATION.sub(" ", _without_accents(plain))).strip()
    said = [_SHORT.get(part, part) if kind == "text" else part for part in bare.split()]
    if kind == "name":
        said.sort()  # `Smith, John` is `John Smith`
    return " ".join(said) or plain or None


def _without_accents(text: str) -> str:
    """Letters without their marks, of the alphabets in which a mark is often left out; other scripts stay as they are."""
    if text.isascii():
        return text
    parted = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(sign for sign in parted if not "\u0300" <= sign <= "\u036f"))
