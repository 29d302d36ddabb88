"""Data packages: from shape to model; each name, place and key checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trueup.config.systems import check_name
from trueup.errors import MasterKeyError
from trueup.model import Package
from trueup.sealing import parse_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.report import Report
    from trueup.config.schema_packages import PackageShape
    from trueup.config.systems import BuiltSystem
    from trueup.model import Entity, When
    from trueup.yamlfile import YamlPath

KEY_COLUMN = "trueup_id"
_PUBLIC = re.compile(r"trueup-public-[A-Za-z0-9_-]{43}", re.ASCII)
_ELSEWHERE = re.compile(r"sftp://[^/@\s]+@[^/@\s]+/[^\s]*[^/\s][^\s]*|s3://\S+")
_PLACES = "a folder, sftp://USER@HOST/FOLDER, or s3://BUCKET/FOLDER?region=REGION"
_OUT_ONLY = ("to", "cutoff", "format", "zip", "fields", "answered_within")
_IN_ONLY = ("from", "system", "expected_by", "whole")


def build_packages(
    shapes: Mapping[str, PackageShape], entities: Mapping[str, Entity], systems: Mapping[str, BuiltSystem], report: Report
) -> dict[str, Package]:
    """All packages, those with problems too (they are reported), in the order of the file."""
    built = {name: _build(name, shape, entities, systems, report) for name, shape in shapes.items()}
    taken: dict[tuple[str, ...], str] = {}
    for name, one in built.items():
        where = (one.direction, one.entity, one.place if one.direction == "out" else str(one.system))
        if where in taken:
            what = "go out to the same place" if one.direction == "out" else "become the same system"
            report.add(("packages", name), f"the packages {taken[where]} and {name} of {one.entity} {what}", "their numbers would clash")
        taken[where] = name
    return built


def _build(name: str, shape: PackageShape, entities: Mapping[str, Entity], systems: Mapping[str, BuiltSystem], report: Report) -> Package:
    path: YamlPath = ("packages", name)
    check_name(path, "packages", report)
    comes = shape.import_ is not None
    if comes == (shape.export is not None):
        report.add(
            path, "packages either go out or come in", "write export: ENTITY and to: PLACE, or import: ENTITY, from: PLACE, system: NAME"
        )
    entity, place = (shape.import_, shape.from_) if comes else (shape.export, shape.to)
    verb, preposition = ("import", "from") if comes else ("export", "to")
    if place is None:
        report.also(path, f"`{preposition}` is missing in `{name}`", _PLACES)
    for other in _OUT_ONLY if comes else _IN_ONLY:
        if _is_said(shape, other):
            report.add((*path, other), f"`{other}` says nothing about packages that {'come in' if comes else 'go out'}", "remove it")
    if entity is not None and entity not in entities and not report.is_broken(("entities",)):
        report.unknown((*path, verb), "entity", entity, f"packages {name}", entities)
    for key, address in ((preposition, place), ("answers", shape.answers)):
        if address is not None and "://" in address and not report.is_broken((*path, key)) and not _ELSEWHERE.fullmatch(address):
            report.add((*path, key), "this is no place for packages", f"write {_PLACES}")
    _check_times(shape, path, report)
    _check_keys(shape, path, report)
    known = entities.get(entity or "")
    fields = _fields(shape, known, path, report)
    if comes:
        _check_system(shape, known, systems, path, report)
    cutoff = shape.cutoff
    return Package(
        name=name,
        direction="in" if comes else "out",
        entity=entity or "",
        place=place or "",
        system=shape.system,
        form=shape.format,
        zipped=shape.zip,
        fields=fields,
        when=tuple(shape.when),
        cutoff=cutoff,
        timezone=_zone(shape),
        expected_by=shape.expected_by,
        answered_within_s=shape.answered_within,
        answers=shape.answers,
        whole=shape.whole,
        sign=shape.sign,
        signers=shape.signers or (),
        encrypt=" ".join((shape.encrypt,) if isinstance(shape.encrypt, str) else shape.encrypt) if shape.encrypt is not None else None,
        owner=shape.owner or (known.owner if known is not None else None),
    )


def _is_said(shape: PackageShape, name: str) -> bool:
    return name.removesuffix("_") in {item.rstrip("_") for item in shape.model_fields_set}


def _zone(shape: PackageShape) -> str:
    """The zone in which a package tells its cut-off."""
    told: list[When] = [shape.cutoff] if shape.cutoff is not None else [item for item in shape.when if item.kind != "every"]
    return next((item.timezone for item in told), "UTC")


def _check_times(shape: PackageShape, path: YamlPath, report: Report) -> None:
    if any(item.kind == "realtime" for item in shape.when):
        report.add((*path, "when"), "packages are not sent in real time", 'write {at: "01:00", timezone: Europe/London} or {every: 1h}')
    for key, term in (("cutoff", shape.cutoff), ("expected_by", shape.expected_by)):
        if term is not None and term.kind != "at":
            report.add((*path, key), f"`{key}` is a time of day", 'write {at: "00:00", timezone: Europe/London}')


def _check_keys(shape: PackageShape, path: YamlPath, report: Report) -> None:
    said = {"sign": (shape.sign,), "encrypt": (shape.encrypt,) if isinstance(shape.encrypt, str | None) else shape.encrypt}
    for key, texts in said.items():
        for text in texts:
            if text is None or report.is_broken((*path, key)):
                continue
            try:
                count = len(parse_keys(text, f"`{key}`"))
            except MasterKeyError as error:
                report.add((*path, key), error.message, error.hint or "")
                continue
            if count != 1:
                report.add((*path, key), f"`{key}` must be one key", "make one: `trueup keys new --print`")
    for signer in shape.signers or ():
        if not _PUBLIC.fullmatch(signer) and not report.is_broken((*path, "signers")):
            report.add(
                (*path, "signers"), "this is no public key", "it begins with trueup-public-: `trueup packages` shows it to whoever signs"
            )


def _fields(shape: PackageShape, entity: Entity | None, path: YamlPath, report: Report) -> tuple[str, ...]:
    if entity is None:
        return ()
    if shape.export is not None and KEY_COLUMN in entity.fields:
        report.add((*path, "export"), f"a field is named {KEY_COLUMN}, as the key of packages is", "rename the field, with `was:`")
    for field in (name for name in shape.fields or () if name not in entity.fields):
        report.unknown((*path, "fields"), "field", field, f"entity {entity.name}", entity.fields)
    return tuple(name for name in entity.fields if shape.fields is None or name in shape.fields)


def _check_system(shape: PackageShape, entity: Entity | None, systems: Mapping[str, BuiltSystem], path: YamlPath, report: Report) -> None:
    """A package becomes a file of JSON Lines, which no pass writes: else a person's edit there would be lost with the next package."""
    name = shape.system
    if name is None:
        report.also(path, f"`system` is missing in `{path[-1]}`", "the system that these packages are: {connector: jsonl, path: received}")
        return
    if name not in systems:
        report.unknown((*path, "system"), "system", name, f"packages {path[-1]}", systems)
        return
    if systems[name].system.connector != "jsonl":
        report.add((*path, "system"), f"{name} is no JSON Lines file", "packages become one: {connector: jsonl, path: received}")
    if entity is None:
        return
    mapping = entity.mappings.get(name)
    if mapping is None:
        report.add(
            (*path, "system"), f"{entity.name} has no mapping for {name}", f"map it: key: {KEY_COLUMN}, direction: read, and its fields"
        )
    elif mapping.direction != "read" or mapping.object.key != (KEY_COLUMN,):
        report.add(
            (*path, "system"),
            f"the mapping of {entity.name} for {name} must have key: {KEY_COLUMN} and direction: read",
            "what is written there would be lost with the next package",
        )
