"""Rereadings: the mappings that may be behind a system's shadows, compiled once more against what is there now.

What of a mapping of before cannot be compiled any more (its column is gone, its expression is not allowed now) says nothing about a row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trueup.config.describe import restore_mapping
from trueup.core.mapping import MappingError, compile_mapping
from trueup.core.rereading import Rereading
from trueup.model import Entity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trueup.core.mapping import CompiledMapping
    from trueup.model import Field
    from trueup.model import Mapping as ModelMapping
    from trueup.runtime.changes import MappingChanges
    from trueup.runtime.systems import Seat

READ_BY = (("definition", ("type", "entity", "scale", "clean")), ("mapping", ("column", "read", "values", "format", "separator")))
CHECKED_BY = ("required", "pattern", "min", "max", "one_of")


class Rereadings:
    """Everything that is read otherwise in one pass over one entity."""

    def __init__(self, changes: MappingChanges, entity: Entity, seats: Mapping[str, Seat]) -> None:
        """Compile the mappings of before for every system that can be reached and of which the mapping changed.

        `fields` are per system those that it shows and that may read otherwise than when its shadows were written, new ones among them.
        """
        self.changes = changes
        self.fields = {name: _fields(changes, entity, name) for name in changes.behind}
        self._entity = entity
        self._of = {name: _rereading(changes, seats[name], self.fields[name], entity) for name in changes.behind if name in seats}

    def of(self, system: str) -> Rereading | None:
        """How a system was read before; None where its mapping is as it was."""
        return self._of.get(system)

    def before(self, seat: Seat) -> tuple[Entity, Seat]:
        """The entity and the seat under which the last writes went out, as far as they can be made anew; else those of now."""
        entity = self._entity
        if seat.name not in self.changes.behind or seat.name in self.changes.moved:
            return entity, seat
        try:
            fields, mapping, zone = _restored(self.changes.behind[seat.name][-1])
            shown = {name: part for name, part in mapping.fields.items() if name in seat.mapping.fields}  # no others are read any more
            mapping = replace(mapping, object=seat.mapping.object, fields=shown, where=None, set={})
            known = {name: _with_rules(fields[name], entity.fields[name]) for name in shown}
            then = replace(entity, fields={**entity.fields, **known}, mappings={**entity.mappings, seat.name: mapping})
            compiled = compile_mapping(then, zone, mapping, seat.info)
        except (MappingError, ValueError):
            return entity, seat
        return then, replace(seat, mapping=mapping, compiled=compiled)


def _fields(changes: MappingChanges, entity: Entity, system: str) -> frozenset[str]:
    now, behind = changes.now[system], changes.behind[system]
    return frozenset(name for name in entity.shown(system) if any(_reads(before, name) != _reads(now, name) for before in behind))


def _rereading(changes: MappingChanges, seat: Seat, names: Collection[str], entity: Entity) -> Rereading:
    now, behind = changes.now[seat.name], changes.behind[seat.name]
    fields = tuple(name for name in entity.shown(seat.name) if name in names)
    judged = tuple(name for name in entity.shown(seat.name) if any(_checks(before, name) != _checks(now, name) for before in behind))
    # What some of them did not show may have moved unseen: it has no base, whatever the others read.
    based = [name for name in fields if all(_reads(before, name) is not None for before in behind)]
    past = tuple(mapping for before in behind if (mapping := _compiled(before, seat, based)) is not None)
    columns = {name for mapping in (seat.compiled, *past) for name in mapping.read_columns}
    prints = [_prints(before, seat, columns) for before in behind]
    return Rereading(
        now=seat.compiled,
        past=past,
        fields=fields,
        judged=judged,
        every_row=_more_than_fields(behind, now, fields) or (bool(fields) and len(past) < len(behind)),
        prints=() if None in prints else tuple({frozenset(found): found for found in prints if found is not None}.values()),
    )


def _with_rules(field: Field, now: Field) -> Field:
    """A field as it was read then, under the rules of now."""
    return replace(now, type=field.type, entity=field.entity, scale=field.scale, clean=field.clean)


def _reads(spec: Mapping[str, Any], name: str) -> Any:
    """Everything that decides what a field reads as; None where the mapping does not show it."""
    mapping = spec["mapping"]
    part = mapping["fields"].get(name)
    if part is None or (part["mapping"]["column"] is None and part["mapping"]["read"] is None):
        return None
    said = [part[half].get(word) for half, words in READ_BY for word in words]
    return [*said, mapping["timezone"], mapping["object"]["empty_is_text"], mapping["object"]["options"]]


def _checks(spec: Mapping[str, Any], name: str) -> list[Any]:
    part = spec["mapping"]["fields"].get(name, {"definition": {}})
    return [part["definition"].get(word) for word in CHECKED_BY]


def _more_than_fields(behind: Sequence[Mapping[str, Any]], now: Mapping[str, Any], fields: Collection[str]) -> bool:
    """Whether each row is to be looked at in full: more changed than how fields are read and checked, or one goes back cleaned."""

    def rest(spec: Mapping[str, Any]) -> dict[str, Any]:
        return {**spec, "mapping": {**spec["mapping"], "fields": sorted(spec["mapping"]["fields"]), "timezone": None}}

    new = any(_reads(before, name) is None for before in behind for name in fields)
    parts = now["mapping"]["fields"].items()
    back = any(
        part["definition"]["write_back"] and before["mapping"]["fields"].get(name) != part for before in behind for name, part in parts
    )
    return new or back or any(rest(before) != rest(now) for before in behind)


def _restored(spec: Mapping[str, Any]) -> tuple[dict[str, Field], ModelMapping, str | None]:
    """Fields, mapping and time zone as they were kept. Raises ValueError for a mapping kept by a later version."""
    fields, mapping = restore_mapping(spec["mapping"])
    return fields, mapping, spec["mapping"]["timezone"]


def _compiled(spec: Mapping[str, Any], seat: Seat, names: Collection[str]) -> CompiledMapping | None:
    """What a mapping of before makes of the rows that are there now, for those of the fields that it can still read; None for none."""
    try:
        fields, mapping, zone = _restored(spec)
    except ValueError:
        return None
    able = [name for name in names if name in fields and _try(fields, mapping, zone, seat, [name]) is not None]
    return _try(fields, mapping, zone, seat, able) if able else None


def _prints(spec: Mapping[str, Any], seat: Seat, columns: Collection[str]) -> tuple[str, ...] | None:
    """The native columns of which the fingerprints were made under a mapping of before; None where not all are among `columns`."""
    try:
        fields, mapping, zone = _restored(spec)
    except ValueError:
        return None
    compiled = _try(fields, mapping, zone, seat, list(mapping.fields), where=mapping.where)
    return compiled.value_columns if compiled is not None and set(compiled.value_columns) <= set(columns) else None


def _try(
    fields: Mapping[str, Field], mapping: ModelMapping, zone: str | None, seat: Seat, names: Collection[str], *, where: str | None = None
) -> CompiledMapping | None:
    """The mapping of some fields for reading alone, None where it does not fit what is there."""
    native = replace(mapping.object, key=seat.mapping.object.key, modified=None)
    shown = {name: mapping.fields[name] for name in names if mapping.fields[name].readable}
    reading = replace(mapping, object=native, fields=shown, direction="read", where=where, set={})
    entity = Entity(name=mapping.entity, fields={name: fields[name] for name in shown}, mappings={seat.name: reading})
    try:
        return compile_mapping(entity, zone, reading, seat.info)
    except MappingError:
        return None
