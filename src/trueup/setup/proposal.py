"""A project proposed: entities with keys, match rules, field mappings and rules, each with how sure it is and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trueup.setup import words
from trueup.setup.cleaning import proposed_cleaning
from trueup.setup.pairing import SURE, grouped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.decide.answers import Answers
    from trueup.setup.kinds import Column, Kind
    from trueup.setup.pairing import Match
    from trueup.setup.samples import Sample

_TYPES = {"integer": "integer", "decimal": "decimal", "date": "date", "datetime": "datetime", "boolean": "boolean"}
_MONEY = frozenset({"price", "cost", "amount", "credit", "salary"})
_CONTACT = frozenset({"email", "phone", "mobile", "street", "city", "postcode", "region", "country", "website"})
_COUNTED = frozenset({"quantity"})
_NAMES = frozenset({"sku", "barcode", "vat", "phone", "mobile", "postcode", "number", "code", "id", "reference"})
"""What looks like a number and is none: leading zeros count."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A field in one system: its column, how sure it is that this is the field (0 to 1; 1 where the field is named after it), and why."""

    column: str
    confidence: float
    evidence: str


@dataclass(slots=True)
class ProposedField:
    """A field of an entity, in at least two systems.

    `rule` is what settles two changes, None: a person; `owner` the system whose word counts, None where each may change it.
    """

    name: str
    type: str
    clean: tuple[str, ...]
    shown: dict[str, Shown]
    why_clean: str = ""
    rule: Literal["last_write_wins", "add"] | None = None
    why_rule: str = ""
    owner: str | None = None

    @property
    def confidence(self) -> float:
        """Of the least sure of its columns."""
        return min(item.confidence for item in self.shown.values())


@dataclass(slots=True)
class ProposedEntity:
    """A kind of record: the objects that hold it, its fields, and which of these tell that two rows are one thing."""

    name: str
    samples: dict[str, Sample]
    fields: dict[str, ProposedField]
    match: list[tuple[str, str]] = field(default_factory=list)
    precedence: tuple[str, ...] = ()
    why_precedence: str = ""
    left_out: list[str] = field(default_factory=list)


def propose(samples: Mapping[str, Sequence[Sample]], answers: Answers | None = None) -> list[ProposedEntity]:
    """The entities that objects of several systems seem to hold, the surest first; without any field to match by, none."""
    found = [_entity(group, ties, answers) for group, ties in grouped(samples)]
    found = [entity for entity in found if entity.match]
    names: dict[str, int] = {}
    for entity in found:
        names[entity.name] = names.get(entity.name, 0) + 1
        if names[entity.name] > 1:
            entity.name = f"{entity.name}_{names[entity.name]}"
    return found


def _entity(group: Sequence[Sample], ties: Sequence[Match], answers: Answers | None) -> ProposedEntity:
    hub = max(
        group, key=lambda sample: (sum(sample in (tie.left, tie.right) for tie in ties), sample.kind == "table", -group.index(sample))
    )
    by_system = {sample.system: sample for sample in group}
    entity = ProposedEntity(_entity_name(group), by_system, {})
    for column, others in _columns(hub, ties).items():
        name = _field_name(hub.columns[column], hub, entity.fields)
        mine = Shown(column, 1.0, "")
        shown = {hub.system: mine, **others}
        entity.fields[name] = _field(
            name, hub.columns[column], {system: by_system[system].columns[it.column] for system, it in shown.items()}, shown
        )
    entity.match = _match_rules(entity)
    ranked = sorted(group, key=lambda sample: (-_hygiene(sample), group.index(sample)))
    entity.precedence = tuple(sample.system for sample in ranked)
    entity.why_precedence = ", ".join(f"{sample.system} {round(100 * _hygiene(sample))} %" for sample in ranked)
    if answers is not None and answers.ownership == "clear":
        for item in entity.fields.values():
            item.owner = next(system for system in entity.precedence if system in item.shown)
    for sample in group:
        used = {item.shown[sample.system].column for item in entity.fields.values() if sample.system in item.shown}
        entity.left_out += [f"{sample.system}.{name}" for name in sample.columns if name not in used and name not in sample.key]
    return entity


def _columns(hub: Sample, ties: Sequence[Match]) -> dict[str, dict[str, Shown]]:
    """Per column of the hub, the columns of other systems that hold the same, in the hub's order."""
    found: dict[str, dict[str, Shown]] = {}
    for tie in ties:
        if hub not in (tie.left, tie.right):
            continue
        other = tie.right if tie.left is hub else tie.left
        for pair in tie.pairs:
            mine, theirs = (pair.left, pair.right) if tie.left is hub else (pair.right, pair.left)
            found.setdefault(mine, {})[other.system] = Shown(theirs, pair.confidence, pair.evidence)
    return {name: found[name] for name in hub.columns if name in found}


def _entity_name(group: Sequence[Sample]) -> str:
    """What most of the objects are called; sheets and files are often called anything."""
    for kinds in ({"table", "view", "resource"}, {"file", "sheet", "query"}):
        for sample in group:
            said = [word for word in words.words(sample.name) if word.isalpha()]
            if sample.kind in kinds and said:
                return "_".join([*said[:-1], words.singular(said[-1])]) or "record"
    return "record"


def _field_name(column: Column, hub: Sample, taken: Mapping[str, ProposedField]) -> str:
    meaning = words.meaning(column.name, hub.about)
    name = "_".join(meaning.split() if words.is_common(meaning) else words.words(column.name)) or "field"
    name = name if name[0].isalpha() else f"f_{name}"
    number = 2
    while name in taken:
        plain = "_".join(words.words(column.name)) or name
        name, number = (plain, number) if plain not in taken else (f"{plain}_{number}", number + 1)
    return name


def _field(name: str, mine: Column, columns: Mapping[str, Column], shown: dict[str, Shown]) -> ProposedField:
    kind = _common_kind({column.kind for column in columns.values()} - {"empty"})
    meaning = words.meaning(name.replace("_", " "))
    is_name = meaning in _NAMES or meaning.split()[-1] in _NAMES
    item = ProposedField(name, "text" if is_name else _TYPES.get(kind, "text"), (), shown)
    item.clean, item.why_clean = proposed_cleaning(columns, item.type, usual=("trim", "lower") if mine.kind == "email" else ())
    if meaning in _COUNTED and item.type in {"integer", "decimal"}:
        item.rule, item.why_rule = "add", "a stock: changes add up"
    elif meaning in _MONEY:
        item.why_rule = "money: a person decides"
    elif meaning in _CONTACT:
        item.rule, item.why_rule = "last_write_wins", "contact details: the latest"
    return item


def _common_kind(kinds: set[Kind]) -> Kind:
    """What a field is whose columns are of these kinds."""
    if len(kinds) == 1:
        return min(kinds)
    if kinds == {"integer", "boolean"}:
        return "boolean"
    return "decimal" if kinds == {"integer", "decimal"} else "text"


def _match_rules(entity: ProposedEntity) -> list[tuple[str, str]]:
    """The field that tells best which rows are one thing, and why: unique in every system that has it, and shared."""
    ranked = []
    for item in entity.fields.values():
        columns = [entity.samples[system].columns[shown.column] for system, shown in item.shown.items()]
        if len(columns) < len(entity.samples) or not all(column.unique for column in columns) or item.confidence < SURE:
            continue
        filled = min(column.filled for column in columns)
        alike = min(_shared(one, other) for one in columns for other in columns)
        preferred = 2 if columns[0].kind == "email" else 1 if columns[0].kind in {"code", "integer"} else 0
        ranked.append((round(alike, 1), preferred, filled, item.name, alike))
    return [
        (name, f"no two rows of a system share one, and {round(100 * alike)} % of the values stand in every system")
        for _alike, _preferred, _filled, name, alike in sorted(ranked, reverse=True)[:1]
    ]


def _shared(one: Column, other: Column) -> float:
    fewer = min(len(one.known), len(other.known))
    return len(one.known & other.known) / fewer if fewer else 0.0


def _hygiene(sample: Sample) -> float:
    """How full and tidy an object is, 0 to 1."""
    columns = [column for name, column in sample.columns.items() if name not in sample.key]
    if not columns:
        return 0.0
    return sum(column.filled * (1 - column.untidy) for column in columns) / len(columns)
