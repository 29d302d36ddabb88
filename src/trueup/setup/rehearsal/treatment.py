"""How each native column is masked: by what the configuration makes of it.

Columns that show the same field, in whatever system, are treated alike, and so are a key and what refers to it: the same value has to
become the same one in all of them. Texts that the configuration itself names (values of a list, literals of a filter) stay as they are,
since rules depend on them; so do times of modification, which decide who was the later one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

import orjson

from trueup.core.expressions import parse_expression

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trueup.model import ColumnType, Config, Entity, Field, FieldMapping
    from trueup.model import Mapping as ModelMapping
    from trueup.setup.rehearsal.mask import Masker

Kind = Literal["phone", "iban", "country", "code", "json", "date", "number", "key", "text", "flag", "kept"]
ORDER: tuple[Kind, ...] = ("phone", "iban", "country", "code", "json", "date", "number", "key", "text", "flag", "kept")
"""Where columns that are treated alike ask for different things, the first of these is done."""
WORDS: Mapping[Kind, str] = {
    "phone": "the last digits are exchanged, country and area stay",
    "iban": "another account of the same country, check digits right where they were",
    "country": "stays: countries are no secret",
    "code": "letters and digits are exchanged",
    "json": "values are exchanged, names stay",
    "date": "moved by the same number of weeks",
    "number": "other digits behind the first one",
    "key": "exchanged; short numbers stay",
    "text": "letters and digits are exchanged",
    "flag": "stays: yes and no",
    "kept": "stays",
}
FLAGS = ("yes", "no", "true", "false", "y", "n", "t", "f", "1", "0", "on", "off", "x", "")
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBERS = {"integer", "decimal", "float"}
Column = tuple[str, str, str]
"""System, object, native column."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a column is masked. `field` is one that it shows; `form` how it is written there, None: as its type says."""

    kind: Kind
    field: Field | None = None
    form: str | None = None
    order: str = "dmy"
    country: str = ""

    def mask(self, masker: Masker, value: Any) -> Any:
        """A value of this column, masked. None stays."""
        if value is None or isinstance(value, bool) or self.kind == "kept":
            return value
        if isinstance(value, list):
            return [self.mask(masker, item) for item in value]
        if isinstance(value, date | datetime):
            return masker.moment(value)
        if isinstance(value, int | float):
            return masker.key_number(value) if self.kind == "key" and isinstance(value, int) else masker.number(value, self._fits)
        return self._text(masker, str(value))

    def _text(self, masker: Masker, text: str) -> str:
        match self.kind:
            case "phone":
                return masker.phone(text)
            case "iban":
                return masker.iban(text)
            case "country":
                return text if _is_country(text) else masker.text(text)
            case "code":
                return masker.code(text, prefix=2 if self.country and text.strip().upper().startswith(f"{self.country}-") else 0)
            case "date":
                return masker.date_text(text, self.form, self.order)
            case "json":
                return _json(masker, text)
            case "number":
                return masker.numeral(text, _point(self.form), self._fits)
            case "key":
                return masker.key_text(text)
            case "flag":
                return text if text.strip().lower() in FLAGS else masker.text(text)
            case _:
                return masker.text(text)

    def _fits(self, value: Any) -> bool:
        """Whether a number is within the bounds of its field."""
        low, high = (self.field.minimum, self.field.maximum) if self.field is not None else (None, None)
        if low is None and high is None:
            return True
        try:
            number = Decimal(str(value))
            return (low is None or number >= Decimal(str(low))) and (high is None or number <= Decimal(str(high)))
        except InvalidOperation:
            return True


def treatments(config: Config, wanted: Iterable[tuple[Entity, str, str, Mapping[str, ColumnType]]]) -> dict[Column, Treatment]:
    """How to treat each column that is read. `wanted`: entity, system, object's label, and the native columns read with their types."""
    groups = _Groups()
    found: dict[Column, ColumnType] = {}
    for entity, system, label, columns in wanted:
        found |= {(system, label, name): kind for name, kind in columns.items()}
        _gather(groups, entity, system, label, columns)
    told: dict[Any, list[Treatment]] = defaultdict(list)
    for column in found:
        told[groups.of(column)] += groups.said[column]
    made: dict[Column, Treatment] = {}
    for column, kind in found.items():
        said = sorted(told[groups.of(column)], key=lambda item: ORDER.index(item.kind))
        chosen = said[0] if said else Treatment(_by_type(kind))
        if kind in {"json", "time"} and chosen.kind == "text":
            chosen = Treatment("json" if kind == "json" else "kept", chosen.field)
        own = next((item for item in groups.said[column] if item.kind == chosen.kind), chosen)
        made[column] = own
    for entity in config.entities.values():
        for system, mapping in entity.mappings.items():
            column = (system, label_of(mapping), mapping.object.modified or "")
            if column in made and not groups.said[column]:
                made[column] = Treatment("kept")
    return made


def label_of(mapping: ModelMapping) -> str:
    """The name of a mapping's object among all objects of its system."""
    return mapping.object.name or (f"query for {mapping.entity}" if mapping.object.sql else "file")


def _gather(groups: _Groups, entity: Entity, system: str, label: str, columns: Mapping[str, ColumnType]) -> None:
    """What one mapping says about its columns."""
    mapping = entity.mappings[system]
    for name in mapping.object.key:
        groups.say((system, label, name), Treatment("key"), ("key", entity.name, system))
    for name, shown in mapping.fields.items():
        field = entity.fields[name]
        where = ("key", field.entity or entity.name, system) if field.type == "reference" else ("field", entity.name, name)
        for column in columns_of(shown):
            if column in columns:
                groups.say((system, label, column), _treatment(field, shown), where)
    for column in _named_in(mapping.where):
        if column in columns and not groups.said[system, label, column]:
            # What is only filtered by has to stay on its side of the filter.
            kind: Kind = "text" if columns[column] in {"text", "list", "json", "other"} else "kept"
            groups.said[system, label, column].append(Treatment(kind))


def columns_of(shown: FieldMapping) -> Iterator[str]:
    """The native columns that a field is read from or written to."""
    if shown.column is not None:
        yield shown.column
    yield from _named_in(shown.read)
    yield from shown.write


def _named_in(expression: str | None) -> tuple[str, ...]:
    if expression is None:
        return ()
    try:
        return tuple(parse_expression(expression).names)
    except ValueError:  # told where it is compiled
        return ()


def _treatment(field: Field, shown: FieldMapping) -> Treatment:
    """By the field's cleaning, which knows what a value means, else by its type."""
    steps = {step.name: step.argument or "" for step in field.clean}
    order = steps.get("date", "dmy")
    for name, kind in _CLEANED.items():
        if name in steps:
            return Treatment(kind, field, shown.format, order, steps[name] if name == "postcode" else "")
    match field.type:
        case "integer" | "decimal" | "float":
            return Treatment("number", field, steps.get("money") or shown.format)
        case "date" | "datetime":
            return Treatment("date", field, shown.format, order)
        case "reference":
            return Treatment("key", field)
        case "boolean":
            return Treatment("flag", field)
        case "json":
            return Treatment("json", field)
        case _:
            return Treatment("number", field, steps["money"]) if "money" in steps else Treatment("text", field)


_CLEANED: Mapping[str, Kind] = {
    "phone": "phone", "iban": "iban", "country": "country", "postcode": "code", "digits": "code", "alnum": "code", "date": "date",
}  # fmt: skip


def _by_type(kind: ColumnType) -> Kind:
    if kind in _NUMBERS:
        return "number"
    return "date" if kind in {"date", "datetime", "timestamp"} else "text"


def kept_words(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """The texts that the configuration names, its own and no record's; and those of their words that stay within other texts."""
    words: set[str] = set()
    parts: set[str] = set()
    for entity in config.entities.values():
        expressions: list[str | None] = []
        for field in entity.fields.values():
            words |= {str(item) for item in field.one_of}
            words |= {word for step in field.clean if step.name == "null_if" for word in (step.argument or "").split("|")}
            expressions += [field.rule, field.hold_if]
            parts |= set(_WORD.findall(re.sub(r"\\.|\[[^\]]*\]|\{[^}]*\}|\(\?\w*", " ", field.pattern or "")))
        for mapping in entity.mappings.values():
            words |= {str(value) for value in mapping.set.values()}
            expressions.append(mapping.where)
            for shown in mapping.fields.values():
                words |= {str(item) for pair in shown.values.items() for item in pair}
                expressions += [shown.read, *shown.write.values()]
        if entity.deletes is not None:
            words |= {str(value) for value in entity.deletes.set.values()}
        for expression in expressions:
            literals = {found.replace("''", "'") for found in _LITERAL.findall(expression or "")}
            words |= literals
            parts |= {part for literal in literals for part in _WORD.findall(literal)}
    return frozenset(word for word in words if word.strip()), frozenset(parts)


class _Groups:
    """Columns that are treated alike, and what was said about each."""

    def __init__(self) -> None:
        self.said: dict[Any, list[Treatment]] = defaultdict(list)
        self._above: dict[Any, Any] = {}

    def of(self, one: Any) -> Any:
        while (above := self._above.get(one, one)) != one:
            one = above
        return one

    def say(self, column: Column, treatment: Treatment, where: tuple[str, str, str]) -> None:
        self.said[column].append(treatment)
        first, second = self.of(column), self.of(where)
        if first != second:
            self._above[first] = second


def _point(form: str | None) -> str | None:
    """The decimal mark of a number given by example; None where none is given."""
    if form is None:
        return None
    found = re.search(r"234([.,])\d", form)
    return found[1] if found else ""


def _is_country(text: str) -> bool:
    from trueup.core.clean_library import clean_one
    from trueup.model import CleanStep

    return clean_one(text, CleanStep("country")) is not None


def _json(masker: Masker, text: str) -> str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return masker.text(text)
    return orjson.dumps(_json_value(masker, value)).decode()


def _json_value(masker: Masker, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_value(masker, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json_value(masker, item) for item in value]
    if isinstance(value, str):
        return masker.text(value)
    return masker.number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
