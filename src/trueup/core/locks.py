"""What can be locked where, from the configuration alone: which columns of which object are changed in another system.

A field with a source of truth is changed there; the columns that show it elsewhere are locked. A column that also shows a field which may
be changed here is not. Rows are added and removed elsewhere where every field is, and nothing says that deletes of this system count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.core.expressions import parse_expression
from trueup.model import Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from trueup.model import Config, Entity, FieldMapping, Mapping, ObjectSpec


@dataclass(frozen=True, slots=True)
class ChangedWhere:
    """Where a field is changed, and by whom. `system` is None where every system may; `by` None where nobody is named."""

    entity: str
    field: str
    system: str | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """One object of one system of which something is changed elsewhere. `filtered`: one of its mappings takes some of its rows only."""

    system: str
    object: ObjectSpec
    entities: tuple[str, ...]
    lock: Lock
    filtered: bool = False


def changed_where(config: Config, entities: Iterable[str]) -> list[ChangedWhere]:
    """For each field where it is changed: what a page about the sources of truth says."""
    return [_changed(config, config.entities[name], field) for name in entities for field in config.entities[name].fields]


def _changed(config: Config, entity: Entity, name: str) -> ChangedWhere:
    field = entity.fields[name]
    system = field.source_of_truth
    mapping = entity.mappings.get(system) if system is not None else None
    shown = mapping.fields.get(name) if mapping is not None else None
    named = (
        shown.owner if shown else None,
        field.owner,
        mapping.owner if mapping else None,
        config.systems[system].owner if system is not None else None,
        entity.owner,
    )
    return ChangedWhere(entity.name, name, system, next((owner for owner in named if owner), None))


def places(config: Config, systems: Collection[str], entities: Collection[str]) -> list[Place]:
    """The objects of these systems in which fields of these entities are shown that are changed elsewhere; in the order of the file.

    An object that several entities share is judged by all of its mappings, whichever entities were asked for.
    """
    found: list[Place] = []
    for name in config.systems:
        if name not in systems:
            continue
        shared: dict[str, list[Mapping]] = {}
        for entity in config.entities.values():
            mapping = entity.mappings.get(name)
            if mapping is not None and mapping.writes:
                shared.setdefault(mapping.object.label, []).append(mapping)
        for mappings in shared.values():
            if any(mapping.entity in entities for mapping in mappings):
                found += _place(config, name, mappings)
    return found


def _place(config: Config, system: str, mappings: list[Mapping]) -> Iterator[Place]:
    locked: dict[str, str] = {}
    free: set[str] = set()
    places_of_rows: set[str] = set()
    anybody_adds = False
    for mapping in mappings:
        entity = config.entities[mapping.entity]
        free |= {mapping.object.modified} if mapping.object.modified else set()
        for name, shown in mapping.fields.items():
            where = entity.fields[name].source_of_truth
            shows = _columns(shown)
            if where is None or where == system:
                free |= shows
                anybody_adds = True
            else:
                locked |= dict.fromkeys(shows, where)
                places_of_rows.add(where)
        anybody_adds = anybody_adds or (entity.deletes is not None and system in entity.deletes.sources)
    columns = {name: locked[name] for name in sorted(locked.keys() - free)}
    rows = () if anybody_adds else _homes(config, mappings) or tuple(sorted(places_of_rows))
    if rows:  # a row that gets another key is another row
        for mapping in mappings:
            columns |= {name: rows[0] for name in mapping.object.key if name not in columns and name not in free}
    if columns or rows:
        first = mappings[0]
        lock = Lock(dict(sorted(columns.items())), rows)
        yield Place(system, first.object, tuple(m.entity for m in mappings), lock, filtered=any(m.where is not None for m in mappings))


def _homes(config: Config, mappings: list[Mapping]) -> tuple[str, ...]:
    """Where records are added: in the systems that own what they are recognised by. Nothing where nobody does."""
    entities = [config.entities[mapping.entity] for mapping in mappings]
    found = {entity.fields[name].source_of_truth for entity in entities for rule in entity.match for name in rule}
    return tuple(sorted(name for name in found if name is not None))


def _columns(shown: FieldMapping) -> set[str]:
    """The native columns that show a field or take it."""
    read = set(parse_expression(shown.read).names) if shown.read is not None else set()
    return ({shown.column} if shown.column is not None else set()) | read | set(shown.write)
