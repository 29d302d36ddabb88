"""A project proposed: entities with keys, match rules, field mappings and rules, each with how sure it is and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trueup.decide.starter import MAX_DELAY, WHEN
from trueup.decide.verdict import judge
from trueup.setup import words
from trueup.setup.cleaning import proposed_cleaning
from trueup.setup.joined import MEANING as WHOLE_NAME
from trueup.setup.pairing import SURE, grouped
from trueup.setup.referring import references
from trueup.setup.standing import doubt, standings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.decide.answers import Answers
    from trueup.setup.kinds import Column, Kind
    from trueup.setup.pairing import Match
    from trueup.setup.samples import Sample
    from trueup.setup.standing import Standing

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

    `refers` is the entity that a reference leads to.
    `rule` is what settles two changes, None: a person; `owner` the system whose word counts, None where each may change it.
    `confirmed` where a person said that its columns are one field, `refused` where they said that they are not.
    """

    name: str
    type: str
    clean: tuple[str, ...]
    shown: dict[str, Shown]
    why_clean: str = ""
    rule: Literal["last_write_wins", "first_write_wins", "add"] | None = None
    why_rule: str = ""
    owner: str | None = None
    confirmed: bool = False
    refused: bool = False
    refers: ProposedEntity | None = None

    @property
    def confidence(self) -> float:
        """Of the least sure of its columns."""
        return min(item.confidence for item in self.shown.values())

    @property
    def sure(self) -> bool:
        """Whether its columns are taken for one field without a mark."""
        return not self.refused and (self.confirmed or self.confidence >= SURE)


@dataclass(slots=True)
class ProposedEntity:
    """A kind of record: the objects that hold it, its fields, and which of these tell that two rows are one thing.

    `standing` is what speaks for each system, the first first; `answers_of` names the answers that hold for it, None: there are none.
    `when` and `max_delay` are as a configuration has them, None: not known; `told` is the role or person who decides what needs it.
    `assigns` says who gives new rows their key, per system where that was asked for; `directions` which systems are only read or written.
    """

    name: str
    samples: dict[str, Sample]
    fields: dict[str, ProposedField]
    match: list[tuple[str, str]] = field(default_factory=list)
    precedence: tuple[str, ...] = ()
    standing: tuple[Standing, ...] = ()
    left_out: list[str] = field(default_factory=list)
    answers_of: str | None = None
    when: str | None = None
    why_when: str = ""
    max_delay: str | None = None
    told: str | None = None
    assigns: dict[str, str] = field(default_factory=dict)
    directions: dict[str, str] = field(default_factory=dict)
    settled: bool = False

    @property
    def doubt(self) -> str | None:
        """Why it is not certain which system comes first; None where it is, or where a person said so."""
        return None if self.settled else doubt(self.standing)

    def own(self, system: str | None) -> None:
        """Let the word of this system count; None: of none, each may change every field. Fields that it lacks go to the next one."""
        if system is not None:
            self.precedence = (system, *(other for other in self.precedence if other != system))
        for item in self.fields.values():
            item.owner = None if system is None else next(other for other in self.precedence if other in item.shown)


def propose(
    samples: Mapping[str, Sequence[Sample]], answers: Mapping[str, Answers] | None = None, *, aside: list[str] | None = None
) -> list[ProposedEntity]:
    """The entities that objects of several systems seem to hold, the surest first; without any field to match by, none.

    Why objects that look alike are none is added to `aside`. `answers` are those to the checklist, by kind of record: a single kind holds
    for all that is found, else its name tells for what.
    """
    found = [_entity(group, ties) for group, ties in grouped(samples)]
    if aside is not None:
        aside += [_unmatched(entity) for entity in found if not entity.match]
    found = [entity for entity in found if entity.match]
    for entity in found:
        _refer(entity, found)
    for entity in found:
        _answer(entity, answers or {})
    names: dict[str, int] = {}
    for entity in found:
        names[entity.name] = names.get(entity.name, 0) + 1
        if names[entity.name] > 1:
            entity.name = f"{entity.name}_{names[entity.name]}"
    return found


def _unmatched(entity: ProposedEntity) -> str:
    """Why objects that look alike are proposed as nothing."""
    places = " and ".join(f"{system}: {sample.name}" for system, sample in entity.samples.items())
    empty = [sample.system for sample in entity.samples.values() if not any(column.known for column in sample.columns.values())]
    if empty:
        return f"{places} look alike, but {', '.join(empty)} has no rows that would tell"
    return f"{places} look alike, but no column tells rows apart in each of them: a value of theirs is missing or stands there twice"


def _answer(entity: ProposedEntity, answers: Mapping[str, Answers]) -> None:
    """Take what was answered for this kind of record."""
    entity.answers_of = next(iter(answers)) if len(answers) == 1 else _spoken_of(entity, answers)
    if entity.answers_of is None:
        return
    given = answers[entity.answers_of]
    verdict = judge(given)
    if verdict.pace in WHEN:
        entity.when, entity.why_when = WHEN[verdict.pace], f"{verdict.approach}, as the checklist has it"
    entity.max_delay = MAX_DELAY[given.delay]
    if given.ownership == "clear":
        entity.own(entity.precedence[0])


def _spoken_of(entity: ProposedEntity, answers: Mapping[str, Answers]) -> str | None:
    """The kind of record whose name means this entity, or what one of its objects is called; None where none does, or several do."""
    for names in ([entity.name], [sample.name for sample in entity.samples.values()]):
        about = {word for name in names for word in words.about(name)}
        called = [kind for kind in answers if about & set(words.about(kind))]
        if len(called) == 1:
            return called[0]
    return None


def _entity(group: Sequence[Sample], ties: Sequence[Match]) -> ProposedEntity:
    hub = max(
        group, key=lambda sample: (sum(sample in (tie.left, tie.right) for tie in ties), sample.kind == "table", -group.index(sample))
    )
    by_system = {sample.system: sample for sample in group}
    entity = ProposedEntity(_entity_name(group), by_system, {})
    taken: set[tuple[str, str]] = set()
    for sample in (hub, *(other for other in group if other is not hub)):
        for column, others in _columns(sample, ties).items():
            mine = sample.column(column)
            shown = {sample.system: Shown(column, 1.0, ""), **others}
            columns = {system: by_system[system].column(it.column) for system, it in shown.items()}
            used = {(system, part) for system, it in columns.items() for part in it.parts or (it.name,)}
            if used & taken or (_is_joined(columns) and sum(it.joined is not None for it in group) > 1):
                continue  # a column is one field's, and where two systems hold a name in two columns, it is two fields
            taken |= used
            name = _field_name(mine, sample, entity.fields)
            entity.fields[name] = _field(name, mine, columns, shown)
    entity.fields = dict(sorted(entity.fields.items(), key=lambda item: _place(item[1], group)))
    entity.match = _match_rules(entity)
    entity.standing = standings(group)
    entity.precedence = tuple(standing.system for standing in entity.standing)
    entity.left_out = _left_out(entity)
    return entity


def _is_joined(columns: Mapping[str, Column]) -> bool:
    return any(column.parts for column in columns.values())


def _place(item: ProposedField, group: Sequence[Sample]) -> tuple[int, int]:
    """Where a field stands among those of its entity: as in the first object that has it."""
    number, sample = next((number, sample) for number, sample in enumerate(group) if sample.system in item.shown)
    column = sample.column(item.shown[sample.system].column)
    return number, list(sample.columns).index((column.parts or (column.name,))[0])


def _left_out(entity: ProposedEntity) -> list[str]:
    found = []
    for system, sample in entity.samples.items():
        used = used_columns(entity, sample)
        found += [f"{system}.{name}" for name in sample.columns if name not in used and name not in sample.key]
    return found


def used_columns(entity: ProposedEntity, sample: Sample) -> set[str]:
    """The columns of an object that fields are made of."""
    shown = [sample.column(item.shown[sample.system].column) for item in entity.fields.values() if sample.system in item.shown]
    return {part for column in shown for part in column.parts or (column.name,)}


def _refer(entity: ProposedEntity, entities: Sequence[ProposedEntity]) -> None:
    """Make references of the columns that lead to records of other entities, in place of the fields that were proposed of them."""
    for other, columns in references(entity, [one for one in entities if one is not entity]):
        pointing = {(system, name) for system, (name, _share, _why) in columns.items()}
        replaced = {
            item.name for item in entity.fields.values() if pointing & {(system, shown.column) for system, shown in item.shown.items()}
        }
        if replaced & {name for name, _why in entity.match}:
            continue
        for name in replaced:
            del entity.fields[name]
        name = other.name if other.name not in entity.fields else f"{other.name}_reference"
        if name in entity.fields:
            continue
        shown = {system: Shown(column, share, why) for system, (column, share, why) in columns.items()}
        entity.fields[name] = ProposedField(name, "reference", (), shown, refers=other)
    entity.left_out = _left_out(entity)


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
    whole = hub.joined.name if hub.joined is not None else ""
    return {name: found[name] for name in (whole, *hub.columns) if name in found}


def _entity_name(group: Sequence[Sample]) -> str:
    """What most of the objects are called; sheets and files are often called anything."""
    for kinds in ({"table", "view", "resource"}, {"file", "sheet", "query"}):
        for sample in group:
            said = [word for word in words.words(sample.name) if word.isalpha()]
            if sample.kind in kinds and said:
                return "_".join([*said[:-1], words.singular(said[-1])]) or "record"
    return "record"


def _field_name(column: Column, hub: Sample, taken: Mapping[str, ProposedField]) -> str:
    meaning = WHOLE_NAME if column.parts else words.meaning(column.name, hub.about)
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
        columns = [entity.samples[system].column(shown.column) for system, shown in item.shown.items()]
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
