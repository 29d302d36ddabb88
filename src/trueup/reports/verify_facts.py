"""Whether systems agree with the golden records: the counts, examples, their JSON form and their words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.reports.runs import WHICH_VANISHED
from trueup.reports.table import PLAIN, all_of, counted, duration, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.reports.table import Style

SAMPLES = 100
NOTED = 10_000
SHOWN = 20
COUNTS = ("rows", "differ", "missing", "extra", "waiting", "apart")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One record that a system does not hold as agreed. `kind`: differ, missing or extra.

    `fields`: name -> (agreed value, value that the system holds), for `differ`. `record` is None for a row that has none, `key` for a
    row that is not there.
    """

    system: str
    kind: str
    record: int | None
    key: str | None
    fields: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)


@dataclass(slots=True)
class SystemAgreement:
    """One system. rows: those that take part, readable or not. waiting: rows and records that wait for a person, counted nowhere else.

    vanished: how many of those that wait were there once and are gone, where nothing says that deletes are meant.
    apart: values that differ, and rows that are not there, because a person left them so; they are no differences.
    compared: how many rows were compared with a record; `agreed` is the checksum of what they should show, `held` of what they do. The
    two are equal where none of these differs; what waits is in neither.
    """

    rows: int = 0
    differ: int = 0
    missing: int = 0
    extra: int = 0
    waiting: int = 0
    vanished: int = 0
    apart: int = 0
    compared: int = 0
    agreed: int = 0
    held: int = 0

    @property
    def agrees(self) -> bool:
        """Whether nothing is wrong that nobody knows of."""
        return not (self.differ or self.missing or self.extra)


@dataclass(slots=True)
class EntityAgreement:
    """One entity. `left_out`: system -> why it could not be compared. `examples`: the first disagreements.

    `places`: of each system what is not as agreed, at most `NOTED`: records (`g` and the number), and rows without one (`k` and the key).
    """

    records: int = 0
    systems: dict[str, SystemAgreement] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    examples: list[Disagreement] = dataclasses.field(default_factory=list)
    places: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether every system that could be read agrees."""
        return all(system.agrees for system in self.systems.values())


@dataclass(slots=True)
class Agreement:
    """What a verification found. `repaired`: entity -> differences before a repair, None where none was asked for."""

    seconds: float = 0.0
    entities: dict[str, EntityAgreement] = dataclasses.field(default_factory=dict)
    repaired: dict[str, int] | None = None

    @property
    def agrees(self) -> bool:
        """Whether all systems could be compared and agree."""
        return all(entity.agrees and not entity.left_out for entity in self.entities.values())


def verify_dict(found: Agreement) -> dict[str, Any]:
    """The public form."""
    body: dict[str, Any] = {
        "entities": {name: _entity(entity) for name, entity in found.entities.items()},
        "seconds": round(found.seconds, 3),
    }
    if found.repaired is not None:
        body["repaired"] = dict(found.repaired)
    return body


def _entity(entity: EntityAgreement) -> dict[str, Any]:
    return {
        "agree": entity.agrees,
        "records": entity.records,
        "systems": {name: {kind: getattr(system, kind) for kind in COUNTS} for name, system in entity.systems.items()},
        "left_out": dict(entity.left_out),
        "differences": [
            {
                "system": item.system,
                "kind": item.kind,
                "record": item.record,
                "key": item.key,
                "fields": {name: list(values) for name, values in item.fields.items()},
            }
            for item in entity.examples
        ],
    }


def verify_text(found: Agreement, style: Style = PLAIN) -> str:
    """The result for people: per entity a verdict, the counts, and the first differences field by field."""
    blocks = [_entity_text(name, entity, style) for name, entity in found.entities.items()]
    if found.repaired is not None:
        blocks.append(_repair_text(found))
    blocks.append(style.paint(f"Compared in {duration(found.seconds)}.", "dim"))
    return "\n\n".join(blocks)


def _entity_text(name: str, entity: EntityAgreement, style: Style) -> str:
    vanished = sum(system.vanished for system in entity.systems.values())
    waiting = sum(system.waiting for system in entity.systems.values()) - vanished
    lines = [style.paint(f"{name}: ", "bold") + _verdict(entity, style)]
    lines += [style.paint(f"  left out: {why}", "bad") for why in entity.left_out.values()]
    rows = [[system, item.rows, item.differ, item.missing, item.extra, item.waiting] for system, item in entity.systems.items()]
    lines.append(table(["system", "rows", "differ", "missing", "extra", "waiting"], rows, style, indent="  "))
    for system, item in entity.systems.items():
        if item.apart:
            left = counted(item.apart, "value or row", "values and rows")
            lines.append(
                f"  {left} of {system} left apart on purpose: an edit of either side counts again; `trueup explain` says which run"
            )
    if waiting:
        lines.append(f"  {counted(waiting, 'row')} waiting for a person: `trueup conflicts`, `trueup matches`, `trueup failures`")
    if vanished:
        lines.append(f"  {counted(vanished, 'row')} vanished, and nothing says that deletes are meant: {WHICH_VANISHED} shows which")
    if entity.examples:
        lines += ["", table(["system", "record", "row", "field", "agreed", "holds"], _example_rows(entity), style, indent="  ")]
        more = sum(item.differ + item.missing + item.extra for item in entity.systems.values()) - min(len(entity.examples), SHOWN)
        if more > 0:
            lines.append(f"  … and {counted(more, 'more difference', 'more differences')}")
    return "\n".join(lines)


def _verdict(entity: EntityAgreement, style: Style) -> str:
    held = f"{counted(entity.records, 'agreed record')}"
    if not entity.agrees:
        count = sum(item.differ + item.missing + item.extra for item in entity.systems.values())
        return style.paint(f"{counted(count, 'difference')} from {held}", "bad")
    if entity.left_out:
        return style.paint(f"{held}; the systems that could be read agree", "warn")
    return style.paint(f"{all_of(len(entity.systems), 'systems')} agree with {held}", "good")


def _example_rows(entity: EntityAgreement) -> list[list[str]]:
    rows = []
    for item in entity.examples[:SHOWN]:
        head = [item.system, "" if item.record is None else str(item.record), item.key or ""]
        if item.kind != "differ":
            words = {"missing": "the row is missing", "extra": "the row is no agreed record's"}
            rows.append([*head, "", "", words[item.kind]])
            continue
        for number, (name, (agreed, holds)) in enumerate(item.fields.items()):
            rows.append([*(head if number == 0 else ["", "", ""]), name, show(agreed), show(holds)])
    return rows


def _repair_text(found: Agreement) -> str:
    before = sum((found.repaired or {}).values())
    after = sum(item.differ + item.missing + item.extra for entity in found.entities.values() for item in entity.systems.values())
    if not before:
        return "There was nothing to repair."
    return f"Repaired: {counted(before, 'difference')} before, {after:,} now. Edits found on the way were treated as in any run."
