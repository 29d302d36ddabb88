"""The map of the systems as inline SVG: what stands around the agreed records, and what flows which way; no name breaks out of XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from trueup.reports.table import clip, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.web.dashboard.overview_facts import SystemFlow

BOX, HIGH, GAP = 220, 62, 18
HUB = 150
ROOM = 150
"""Between a system and the hub, for its arrow."""
_SPACE = "http://www.w3.org/2000/svg"
WAYS = {"both": "both ways", "in": "is only read", "out": "is only written"}


def flow_map(systems: Sequence[SystemFlow], records: int) -> str:
    """Systems on both sides of the agreed records, and a second drawing for narrow screens, with all of them below each other."""
    if not systems:
        return ""
    said = "; ".join(sentence(one) for one in systems)
    return f'<div class="flow panel">{_wide(systems, records, said)}{_narrow(systems, records, said)}</div>'


def sentence(one: SystemFlow) -> str:
    """What the map says of a system, in words."""
    parts = [WAYS[one.way], "well" if one.health == "good" else "needs a look", *([f"{one.waiting:,} waiting"] if one.waiting else [])]
    parts += [f"read {duration(one.delay_s)} ago"] if one.delay_s is not None else []
    return f"{one.name}: {', '.join([*parts, *one.notes])}"


def _wide(systems: Sequence[SystemFlow], records: int, said: str) -> str:
    left, right = systems[: (len(systems) + 1) // 2], systems[(len(systems) + 1) // 2 :]
    rows = max(len(left), len(right))
    height = rows * (HIGH + GAP) + GAP
    width = 2 * BOX + 2 * ROOM + HUB
    root = _root(width, height, "wide", said)
    middle = height / 2
    hub_x = BOX + ROOM
    for side, ones in ((0, left), (1, right)):
        top = (height - (len(ones) * (HIGH + GAP) - GAP)) / 2
        for number, one in enumerate(ones):
            y = top + number * (HIGH + GAP)
            group = _system(root, one, 0 if side == 0 else BOX + 2 * ROOM + HUB, y)
            ends = (
                ((BOX + 4, y + HIGH / 2), (hub_x - 4, middle))
                if side == 0
                else ((hub_x + HUB + ROOM - 4, y + HIGH / 2), (hub_x + HUB + 4, middle))
            )
            _arrow(group, *ends, way=one.way)
    _hub(root, hub_x, middle - 38, records)
    return etree.tostring(root, encoding="unicode")


def _narrow(systems: Sequence[SystemFlow], records: int, said: str) -> str:
    width, left = 340, 44
    root = _root(width, 90 + len(systems) * (HIGH + GAP), "narrow", said)
    _hub(root, (width - HUB) / 2 - 60, 4, records)
    for number, one in enumerate(systems):
        y = 96 + number * (HIGH + GAP)
        group = _system(root, one, left + 60, y)
        _arrow(group, (left + 56, y + HIGH / 2), (left, y + HIGH / 2), way=one.way)
    line = etree.SubElement(root, "path", d=f"M{left - 2} 82V{96 + (len(systems) - 1) * (HIGH + GAP) + HIGH / 2}")
    line.set("class", "node")
    return etree.tostring(root, encoding="unicode")


def _root(width: float, height: float, kind: str, said: str) -> etree._Element:
    root = etree.Element("svg", xmlns=_SPACE)
    for name, value in (("viewBox", f"0 0 {width:g} {height:g}"), ("role", "img"), ("class", kind), ("aria-label", _plain(said))):
        root.set(name, value)
    if kind == "wide":
        root.set("style", f"max-width: {width}px; margin: 0 auto")
    return root


def _system(root: etree._Element, one: SystemFlow, x: float, y: float) -> etree._Element:
    group = etree.SubElement(root, "g")
    group.set("class", one.health)
    _box(group, x, y, BOX, HIGH, "node")
    _text(group, clip(one.name, 24), x + 14, y + 22, "name")
    notes = [*one.notes] or ["well"]
    if one.waiting:
        notes = [f"{one.waiting:,} waiting", *[note for note in notes if note != "well"]]
    _text(group, clip(", ".join(notes), 36), x + 14, y + 38, "note")
    age = f"read {duration(one.delay_s)} ago" if one.delay_s is not None else one.connector
    _text(group, clip(age, 36), x + 14, y + 53, "note")
    return group


def _hub(root: etree._Element, x: float, y: float, records: int) -> None:
    _box(root, x, y, HUB, 76, "hub")
    _text(root, f"{records:,}", x + HUB / 2, y + 36, "name", "middle")
    _text(root, "agreed records" if records != 1 else "agreed record", x + HUB / 2, y + 54, "note", "middle")


def _arrow(group: etree._Element, system: tuple[float, float], hub: tuple[float, float], *, way: str) -> None:
    line = etree.SubElement(group, "line", x1=f"{system[0]:g}", y1=f"{system[1]:g}", x2=f"{hub[0]:g}", y2=f"{hub[1]:g}")
    line.set("class", "line")
    if way != "out":
        _tip(group, system, hub)
    if way != "in":
        _tip(group, hub, system)


def _tip(group: etree._Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    across, down = end[0] - start[0], end[1] - start[1]
    length = (across**2 + down**2) ** 0.5 or 1.0
    ux, uy = across / length, down / length
    base = (end[0] - 11 * ux, end[1] - 11 * uy)
    points = [end, (base[0] - 5 * uy, base[1] + 5 * ux), (base[0] + 5 * uy, base[1] - 5 * ux)]
    tip = etree.SubElement(group, "polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    tip.set("class", "tip")


def _box(parent: etree._Element, x: float, y: float, width: float, height: float, kind: str) -> None:
    box = etree.SubElement(parent, "rect", x=f"{x:g}", y=f"{y:g}", width=f"{width:g}", height=f"{height:g}", rx="9")
    box.set("class", kind)


def _text(parent: etree._Element, said: str, x: float, y: float, kind: str, anchor: str = "start") -> None:
    text = etree.SubElement(parent, "text", x=f"{x:g}", y=f"{y:g}")
    text.set("class", kind)
    text.set("text-anchor", anchor)
    text.text = _plain(said)


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable())  # XML knows no control characters
