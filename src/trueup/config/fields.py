"""Fields of an entity: whether what is said about each fits its type, its owner and the expressions that judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.config.clean import check_steps
from trueup.config.expressions import check_expression
from trueup.config.forms import Conflict
from trueup.config.suggest import listing
from trueup.config.values import canonical, typed
from trueup.model import Field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trueup.config.report import Report
    from trueup.config.schema import EntityShape, FieldMappingShape, FieldShape
    from trueup.config.systems import BuiltSystem
    from trueup.yamlfile import YamlPath

RULE_NAMES = ("incoming", "golden", "base", "incoming_system", "golden_system", "incoming_at", "golden_at")
"""What a rule sees beside the record's fields; no field can be called so."""

MAX_NAME = 63
_NUMBERS = ("integer", "decimal", "float")
_ORDERED = (*_NUMBERS, "date", "datetime")
_MERGE_TYPES: Mapping[str, tuple[str, ...]] = {"add": _NUMBERS, "max": _ORDERED, "min": _ORDERED, "union": ("list",), "text": ("text",)}
_NO_LIST = ("json", "reference")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an entity's fields and mappings are checked against."""

    entity: str
    shape: EntityShape
    entities: Mapping[str, EntityShape]
    systems: Mapping[str, BuiltSystem]
    report: Report

    @property
    def path(self) -> YamlPath:
        """Where the entity stands."""
        return ("entities", self.entity)

    def field_path(self, name: str) -> YamlPath:
        """Where a field stands."""
        return (*self.path, "fields", name)

    def mapping_path(self, system: str) -> YamlPath:
        """Where a mapping stands."""
        return (*self.path, "mappings", system)

    def lost_mapping(self, system: str) -> bool:
        """Whether the file has this mapping, but something in it is wrong that keeps it from being used."""
        return system not in self.shape.mappings and self.report.is_broken(self.mapping_path(system))

    def lost_field(self, name: str) -> bool:
        """Whether the file has this field, but something in it is wrong that keeps it from being used."""
        return name not in self.shape.fields and self.report.is_broken(self.field_path(name))


def shows(mapping: FieldMappingShape) -> bool:
    """Whether a system shows the field, rather than only takes it."""
    return mapping.column is not None or mapping.read is not None


def build_fields(around: Surroundings) -> dict[str, Field]:
    """All fields in the order of the file; what is wrong with them is reported."""
    _check_names(around)
    fields = {name: _build(name, shape, around) for name, shape in around.shape.fields.items()}
    _check_former_names(around)
    return fields


def _build(name: str, shape: FieldShape, around: Surroundings) -> Field:
    path = around.field_path(name)
    conflict = shape.conflict or Conflict("manual")
    _check_fits_type(shape, path, around.report)
    _check_conflict(shape, path, around)
    _check_reference(shape, path, around)
    _check_owner(name, shape, path, around)
    if shape.hold_if is not None:
        check_expression(shape.hold_if, (*path, "hold_if"), around.report, _rule_names(around))
    check_steps(shape.clean, shape.type, (*path, "clean"), around.report)
    return Field(
        name=name,
        type=shape.type,
        entity=shape.entity,
        scale=shape.scale,
        required=shape.required,
        unique=shape.unique,
        pattern=shape.pattern,
        minimum=_limit(shape.min, shape, (*path, "min"), around.report),
        maximum=_limit(shape.max, shape, (*path, "max"), around.report),
        one_of=_allowed(shape, (*path, "one_of"), around.report),
        clean=shape.clean,
        write_back=shape.write_back,
        source_of_truth=shape.source_of_truth or _entity_owner(name, shape, around),
        conflict=conflict.rule,
        rule=conflict.expression,
        hold_if=shape.hold_if,
        owner=shape.owner,
        was=shape.was,
    )


def _check_names(around: Surroundings) -> None:
    seen: dict[str, str] = {}
    for name in around.shape.fields:
        path = around.field_path(name)
        if not name.isidentifier() or len(name) > MAX_NAME or name.startswith("__"):
            around.report.add(path, f"`{name}` cannot name a field", "use letters, digits and _, a letter first, at most 63 characters")
        elif name.casefold() in RULE_NAMES:
            around.report.add(path, f"`{name}` cannot name a field: rules use this name", listing("taken", RULE_NAMES))
        elif name.casefold() in seen:
            other = seen[name.casefold()]
            around.report.add(path, f"the fields `{other}` and `{name}` differ only in upper and lower case", "rename one of them")
        seen.setdefault(name.casefold(), name)


def _check_former_names(around: Surroundings) -> None:
    former: dict[str, str] = {}
    for name, shape in around.shape.fields.items():
        if shape.was is None:
            continue
        path = (*around.field_path(name), "was")
        if shape.was in around.shape.fields:
            hint = "`was` is for the old name of a renamed field: remove one of the two"
            around.report.add(path, f"`{shape.was}` is still a field here", hint)
        elif shape.was in former:
            around.report.add(path, f"`{former[shape.was]}` was `{shape.was}` too", "only one field can continue another")
        former[shape.was] = name


def _check_fits_type(shape: FieldShape, path: YamlPath, report: Report) -> None:
    kind = shape.type
    type_path = (*path, "type")
    wrong = f"does not fit a field of type {kind}"
    if shape.scale is not None and kind != "decimal":
        report.add((*path, "scale"), f"`scale` {wrong}", "it is for decimals", unless=[type_path])
    if shape.pattern is not None:
        if kind != "text":
            report.add((*path, "pattern"), f"`pattern` {wrong}", "it is for text", unless=[type_path])
        _check_pattern(shape.pattern, (*path, "pattern"), report)
    for name in ("min", "max"):
        if getattr(shape, name) is not None and kind not in _ORDERED:
            report.add((*path, name), f"`{name}` {wrong}", f"it is for {', '.join(_ORDERED)}", unless=[type_path])
    if shape.one_of is not None and kind in _NO_LIST:
        report.add((*path, "one_of"), f"`one_of` {wrong}", "", unless=[type_path])
    if shape.write_back and not shape.clean:
        report.add(
            (*path, "write_back"),
            "`write_back` without `clean` does nothing",
            "add the steps to clean, or remove write_back",
            unless=[(*path, "clean")],
        )
    elif shape.write_back and kind not in {"text", "list"}:
        report.add((*path, "write_back"), f"`write_back` {wrong}", "a value goes back where its text was cleaned", unless=[type_path])


def _check_pattern(pattern: str, path: YamlPath, report: Report) -> None:
    """The engine is that of Polars: no look-around and no back references."""
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line.removeprefix("error:").strip() for line in lines if line.startswith("error:")), lines[0] if lines else "")
        report.add(path, f"this is not a regular expression: {reason}", "look-around and back references are not known here")


def _check_conflict(shape: FieldShape, path: YamlPath, around: Surroundings) -> None:
    report, conflict = around.report, shape.conflict
    if conflict is None:
        return
    place = (*path, "conflict")
    if shape.source_of_truth is not None:
        message = f"a field with a source of truth ({shape.source_of_truth}) has no conflicts: `conflict` cannot stand beside it"
        report.add(place, message, "keep one of the two")
    fitting = _MERGE_TYPES.get(conflict.rule)
    if fitting is not None and shape.type not in fitting:
        message = f"`merge: {conflict.rule}` does not fit a field of type {shape.type}"
        report.add(place, message, f"it is for {', '.join(fitting)}", unless=[(*path, "type")])
    if conflict.expression is not None:
        check_expression(conflict.expression, (*place, "rule"), report, _rule_names(around))


def _rule_names(around: Surroundings) -> Collection[str] | None:
    """What rules may use; None (anything) where a field could not be read, so that its name is not called unknown."""
    if any(other[:3] == (*around.path, "fields") and around.lost_field(str(other[3])) for other in around.report.broken if len(other) > 3):
        return None
    return (*RULE_NAMES, *around.shape.fields)


def _check_reference(shape: FieldShape, path: YamlPath, around: Surroundings) -> None:
    report = around.report
    if shape.type != "reference":
        if shape.entity is not None:
            report.add(
                (*path, "entity"),
                f"`entity` does not fit a field of type {shape.type}",
                "it is for type reference",
                unless=[(*path, "type")],
            )
        return
    if shape.entity is None:
        if not report.is_broken((*path, "entity")):
            report.add(path, "a reference must say which entity it points to", listing("entities", around.entities))
    elif shape.entity not in around.entities and not report.is_broken(("entities", shape.entity)):
        report.unknown((*path, "entity"), "entity", shape.entity, "a reference", around.entities)


def _check_owner(name: str, shape: FieldShape, path: YamlPath, around: Surroundings) -> None:
    owner = shape.source_of_truth
    if owner is not None:
        check_owner_system(owner, (*path, "source_of_truth"), around, name)


def check_owner_system(owner: str, place: YamlPath, around: Surroundings, field: str | None) -> None:
    """A source of truth must be a system that shows the field (None: the entity) and whose edits are listened to."""
    report = around.report
    if owner not in around.systems:
        if not report.is_broken(("systems", owner)):
            report.unknown(place, "system", owner, "source_of_truth", around.systems)
        return
    if around.lost_mapping(owner):
        return
    mapping = around.shape.mappings.get(owner)
    if mapping is None:
        # Allowed for one field, so that a system can be connected later: an owner that holds no record overrules nobody.
        tell = report.add if field is None else report.note
        hint = listing("systems with a mapping", around.shape.mappings)
        tell(place, f"{owner} is the source of truth, but has no mapping for {around.entity}", hint)
    elif mapping.direction == "write":
        report.add(place, f"{owner} is the source of truth, but its direction is write: its edits do not count", "make it both or read")
    elif field is not None and not report.is_broken((*around.mapping_path(owner), "fields", field)):
        shown = mapping.fields.get(field)
        if shown is None or not shows(shown):
            what = "does not map" if shown is None else "only writes, and never reads,"
            able = [system for system, other in around.shape.mappings.items() if field in other.fields and shows(other.fields[field])]
            report.add(
                place,
                f"{owner} is the source of truth of {field}, but its mapping {what} this field",
                listing("systems that show it", able),
            )


def _entity_owner(name: str, shape: FieldShape, around: Surroundings) -> str | None:
    """The entity's own source of truth, for fields that say nothing of the kind and that it shows."""
    owner = around.shape.source_of_truth
    mapping = around.shape.mappings.get(owner) if owner else None
    if mapping is None or shape.conflict is not None or mapping.direction == "write":
        return None
    return owner if name in mapping.fields and shows(mapping.fields[name]) else None


def _limit(value: Any, shape: FieldShape, path: YamlPath, report: Report) -> Any:
    """A limit in the type of the field; None where there is none, or where it is wrong and reported."""
    if value is None or shape.type not in _ORDERED:
        return None
    try:
        limit = typed(value, shape.type)
    except ValueError as error:
        report.add(path, f"`{path[-1]}`: {error}", "", unless=[(*path[:-1], "type")])
        return None
    if path[-1] == "max" and shape.min is not None:
        _check_range(shape, limit, path, report)
    return limit


def _check_range(shape: FieldShape, maximum: Any, path: YamlPath, report: Report) -> None:
    try:
        minimum = typed(shape.min, shape.type)
    except ValueError:
        return  # reported at min
    if minimum > maximum:
        report.add(path, "`max` is smaller than `min`: no value fits", "exchange them")


def _allowed(shape: FieldShape, path: YamlPath, report: Report) -> tuple[str, ...]:
    """The canonical texts of `one_of`; for a list field, of its items."""
    if shape.one_of is None or shape.type in _NO_LIST:
        return ()
    kind = "text" if shape.type == "list" else shape.type
    found: list[str] = []
    for number, value in enumerate(shape.one_of):
        try:
            text = canonical(typed(value, kind), kind)
        except ValueError as error:
            report.add((*path, number), f"`one_of`: {error}", "", unless=[(*path[:-1], "type")])
            continue
        if text in found:
            report.add((*path, number), f"`one_of` names `{text}` twice", "keep one of them")
        found.append(text)
    return tuple(found)
