"""A mapping as plain JSON: kept behind each shadow, so that a later configuration can be compared with the one that made it.

Only what decides how a row is read and written is in it; rules of merging, owners and lines of the file are not. The description is
complete: `restore_mapping` makes from it what the core needs to map a row the old way.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from trueup.config.values import canonical, typed
from trueup.model import CleanStep, Field, FieldMapping, Mapping, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

    from trueup.model import Entity

SPEC_VERSION = 1


def mapping_spec(entity: Entity, system: str, *, timezone: str | None = None) -> dict[str, Any]:
    """One mapping with the definitions of its fields. `timezone` is the system's: it decides what its timestamps mean.

    The same for every order of keys in the file. Raises KeyError where the entity has no mapping for the system.
    """
    mapping = entity.mappings[system]
    native = mapping.object
    return {
        "version": SPEC_VERSION,
        "entity": entity.name,
        "system": system,
        "timezone": timezone,
        "object": {
            "name": native.name,
            "sql": native.sql,
            "key": list(native.key),
            "modified": native.modified,
            "assign": native.assign,
            "create": native.create,
            "header_row": native.header_row,
            "empty_is_text": native.empty_is_text,
            "options": _sorted(native.options),
        },
        "direction": mapping.direction,
        "where": mapping.where,
        "set": _sorted(mapping.set),
        "fields": {
            name: {"definition": _definition(entity.fields[name]), "mapping": _field_mapping(mapping.fields[name])}
            for name in sorted(mapping.fields)
        },
    }


def mapping_fingerprint(spec: MappingType[str, Any]) -> str:
    """A short text that is the same for equal descriptions: 128 bits in hexadecimal."""
    text = json.dumps(spec, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def restore_mapping(spec: MappingType[str, Any]) -> tuple[dict[str, Field], Mapping]:
    """The fields and the mapping that a description was made from. Raises ValueError for a description of a later version."""
    if spec.get("version") != SPEC_VERSION:
        raise ValueError(f"this description of a mapping has version {spec.get('version')}, known is {SPEC_VERSION}")
    fields = {name: _restore_field(name, part["definition"]) for name, part in spec["fields"].items()}
    mappings = {name: FieldMapping(field=name, **part["mapping"]) for name, part in spec["fields"].items()}
    native = dict(spec["object"])
    native["key"] = tuple(native["key"])
    mapping = Mapping(
        entity=spec["entity"],
        system=spec["system"],
        object=ObjectSpec(**native),
        fields=mappings,
        direction=spec["direction"],
        where=spec["where"],
        set=spec["set"],
    )
    return fields, mapping


def _definition(field: Field) -> dict[str, Any]:
    """What of a field decides its canonical value and which values are refused."""
    return {
        "type": field.type,
        "entity": field.entity,
        "scale": field.scale,
        "required": field.required,
        "pattern": field.pattern,
        "min": None if field.minimum is None else canonical(field.minimum, field.type),
        "max": None if field.maximum is None else canonical(field.maximum, field.type),
        "one_of": sorted(field.one_of),
        "clean": [[step.name, step.argument] for step in field.clean],
        "write_back": field.write_back,
    }


def _restore_field(name: str, definition: MappingType[str, Any]) -> Field:
    kind = definition["type"]
    return Field(
        name=name,
        type=kind,
        entity=definition["entity"],
        scale=definition["scale"],
        required=definition["required"],
        pattern=definition["pattern"],
        minimum=None if definition["min"] is None else typed(definition["min"], kind),
        maximum=None if definition["max"] is None else typed(definition["max"], kind),
        one_of=tuple(definition["one_of"]),
        clean=tuple(CleanStep(step, argument) for step, argument in definition["clean"]),
        write_back=definition["write_back"],
    )


def _field_mapping(mapping: FieldMapping) -> dict[str, Any]:
    return {
        "column": mapping.column,
        "read": mapping.read,
        "write": _sorted(mapping.write),
        "values": _sorted(mapping.values),
        "format": mapping.format,
        "separator": mapping.separator,
        "lossy": mapping.lossy,
    }


def _sorted(value: MappingType[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in sorted(value)}
