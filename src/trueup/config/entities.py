"""Entities: match rules, precedence, deletes, guards and schedules, with the fields and mappings they speak of."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from trueup.config.fields import Surroundings, build_fields, check_owner_system, shows
from trueup.config.mappings import build_mappings
from trueup.config.suggest import did_you_mean, listing
from trueup.config.systems import check_name
from trueup.config.values import canonical, typed
from trueup.model import Deletes, Entity, Guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.report import Report
    from trueup.config.schema import EntityShape, GuardShape
    from trueup.config.systems import BuiltSystem

DAY_S = 86_400.0
_UNMATCHED = ("json", "list")
_ENOUGH = 2  # mappings that make something to keep in agreement


def build_entities(shapes: Mapping[str, EntityShape], systems: Mapping[str, BuiltSystem], report: Report) -> dict[str, Entity]:
    """All entities in the order of the file; what is wrong with them is reported, what is odd is noted."""
    built = {}
    for name, shape in shapes.items():
        around = Surroundings(name, shape, shapes, systems, report)
        check_name(around.path, "an entity", report)
        built[name] = _build(around)
        _note(around)
    return built


def _build(around: Surroundings) -> Entity:
    shape = around.shape
    if shape.source_of_truth is not None:
        check_owner_system(shape.source_of_truth, (*around.path, "source_of_truth"), around, None)
    fields = build_fields(around)
    mappings = build_mappings(around)
    _check_match(around)
    given = _precedence(around)
    return Entity(
        name=around.entity,
        fields=fields,
        mappings=mappings,
        match=tuple(shape.match),
        precedence=(*given, *(system for system in mappings if system not in given)),
        explicit_precedence=bool(given),
        deletes=_deletes(around),
        guard=_guard(shape.guard),
        full_every_s=shape.full.every if shape.full else DAY_S,
        owner=shape.owner,
        max_delay_s=shape.max_delay,
        when=tuple(shape.when),
        verify=shape.verify,
        triggers=_triggers(around),
    )


def _check_match(around: Surroundings) -> None:
    for number, rule in enumerate(around.shape.match):
        place = (*around.path, "match", number)
        for name in rule:
            if around.lost_field(name):
                continue
            field = around.shape.fields.get(name)
            if field is None:
                around.report.unknown(place, "field", name, f"match of {around.entity}", around.shape.fields)
            elif field.type in _UNMATCHED:
                around.report.add(
                    place,
                    f"`{name}` cannot match: a field of type {field.type} is no identity",
                    "match by text, numbers, dates or references",
                )
        if rule in around.shape.match[:number]:
            around.report.add(place, f"the match rule [{', '.join(rule)}] is given twice", "keep one of them")


def _systems_that_show(around: Surroundings, fields: tuple[str, ...]) -> list[str]:
    return [
        system
        for system, mapping in around.shape.mappings.items()
        if all(name in mapping.fields and shows(mapping.fields[name]) for name in fields)
    ]


def _precedence(around: Surroundings) -> tuple[str, ...]:
    """The systems that the configuration puts first; those without a mapping are noted and left out."""
    kept = []
    for number, name in enumerate(around.shape.precedence or ()):
        place = (*around.path, "precedence", number)
        if name not in around.systems:
            if not around.report.is_broken(("systems", name)):
                around.report.unknown(place, "system", name, f"precedence of {around.entity}", around.systems)
        elif name in around.shape.mappings:
            kept.append(name)
        elif not around.lost_mapping(name):
            around.report.note(
                place, f"{name} has no mapping for {around.entity}: its precedence has no effect", "add a mapping, or remove it here"
            )
    return tuple(kept)


def _deletes(around: Surroundings) -> Deletes | None:
    shape, report, path = around.shape.deletes, around.report, (*around.path, "deletes")
    if shape is None:
        return None
    sources = shape.from_ or ()
    if shape.from_ is None and not report.is_broken((*path, "from")):
        if shape.action == "ignore":
            sources = tuple(around.shape.mappings)
        else:
            report.also(
                path,
                "`from` is missing in deletes: whose deletes count?",
                f"for example from: [{next(iter(around.shape.mappings), 'crm')}]",
            )
    _check_sources(shape.from_ or (), around)
    if shape.action == "archive" and not shape.set_ and not report.is_broken((*path, "set")):
        report.also(path, "`set` is missing in deletes: what archives a record?", "for example set: {status: closed}")
    if shape.action != "archive" and shape.set_:
        report.add((*path, "set"), f"`set` does not go with action {shape.action}", "it is for action: archive")
    return Deletes(sources=sources, action=shape.action, set=_archive_values(around))


def _check_sources(sources: tuple[str, ...], around: Surroundings) -> None:
    """Those whose deletes count can have any."""
    report, path = around.report, (*around.path, "deletes")
    for name in sources:
        if name not in around.systems:
            if not report.is_broken(("systems", name)):
                what = f"unknown system `{name}` in deletes of {around.entity}{did_you_mean(name, around.systems)}"
                report.add((*path, "from"), what, listing("systems", around.systems))
        elif around.systems[name].kind == "push":
            report.add((*path, "from"), f"{name} only pushes: it never says that a record is gone", "take it out")
        elif name not in around.shape.mappings and not around.lost_mapping(name):
            report.add(
                (*path, "from"),
                f"{name} has no mapping for {around.entity}, so nothing can be deleted there",
                listing("mappings", around.shape.mappings),
            )


def _archive_values(around: Surroundings) -> dict[str, Any]:
    """The fields that archive a record, each with its value in the field's type."""
    shape = around.shape.deletes
    values: dict[str, Any] = {}
    for name, value in ((shape.set_ if shape else None) or {}).items():
        place = (*around.path, "deletes", "set", name)
        field = around.shape.fields.get(name)
        if field is None:
            if not around.lost_field(name):
                around.report.unknown(place, "field", name, f"deletes of {around.entity}", around.shape.fields)
            continue
        if field.type == "reference":
            around.report.add(place, f"`{name}` is a reference and cannot archive a record", "set a text, a date or true")
            continue
        try:
            values[name] = typed(value, field.type)
        except ValueError as error:
            around.report.add(place, str(error), "", unless=[(*around.field_path(name), "type")])
            continue
        allowed = [str(item) for item in field.one_of or ()]
        text = canonical(values[name], field.type)
        if allowed and text not in allowed and field.type == "text":
            around.report.add(
                place, f"`{text}` is none of the values that {name} may have{did_you_mean(text, allowed)}", listing("one_of", allowed)
            )
    return values


def _guard(shape: GuardShape) -> Guard | None:
    return (
        None
        if shape.off
        else Guard(
            deletes=shape.deletes,
            updates=shape.updates,
            at_least=shape.at_least,
            one_mistake=shape.one_mistake,
            surge=shape.surge,
            deletes_a_day=shape.deletes_a_day,
        )
    )


def _triggers(around: Surroundings) -> dict[str, Any]:
    shape = around.shape.triggers
    if shape is None:
        return {}
    for number, name in enumerate(shape.fields or ()):
        if name not in around.shape.fields and not around.lost_field(name):
            around.report.unknown(
                (*around.path, "triggers", "fields", number), "field", name, f"triggers of {around.entity}", around.shape.fields
            )
    return {"events": tuple(dict.fromkeys(shape.events)), "fields": shape.fields or ()}


def _note(around: Surroundings) -> None:
    """What is allowed, and still worth a look."""
    shape, report, name = around.shape, around.report, around.entity
    if report.is_broken((*around.path, "mappings")):
        return
    if len(shape.mappings) < _ENOUGH:
        report.note(
            around.path,
            f"{name} has {len(shape.mappings) or 'no'} mapping{'' if len(shape.mappings) == 1 else 's'}",
            "two are needed to keep anything in agreement",
        )
        return
    if not shape.match:
        report.note(
            around.path, f"{name} has no match rules: no row will be linked to a row of another system", "for example match: [[email]]"
        )
    for number, rule in enumerate(shape.match):
        if len(_systems_that_show(around, rule)) < _ENOUGH:
            report.note(
                (*around.path, "match", number),
                f"fewer than two systems show all of {', '.join(rule)}: this rule links nothing",
                "map the fields, or remove the rule",
            )
    _note_fields(around)
    if all(mapping.direction == "read" or (mapping.object_ and mapping.object_.sql) for mapping in shape.mappings.values()):
        report.note(
            around.path,
            f"{name} is only read everywhere: differences are found and never mended",
            "give one mapping direction: both or write",
        )


def _note_fields(around: Surroundings) -> None:
    mappings = around.shape.mappings
    for field in around.shape.fields:
        if not any(field in mapping.fields for mapping in mappings.values()):
            around.report.note(around.field_path(field), f"{field} is in no mapping", "map it, or remove it")
    for one, other in combinations(mappings, 2):
        if not set(mappings[one].fields) & set(mappings[other].fields):
            around.report.note(around.mapping_path(other), f"{one} and {other} share no field of {around.entity}", "")
