"""Small charts as inline SVG: bars of the last days. Made of XML by lxml, so that no name can break out.

They bring no style, script or font of their own: the page has those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 280, 84
TOP, BOTTOM = 14, 16
_SPACE = "http://www.w3.org/2000/svg"


def bars(title: str, labels: Sequence[str], values: Sequence[int | None], kind: str = "") -> str:
    """One bar per label; None: nothing is known, a dot stands there. The largest value is written over its bar. `kind`: their class."""
    root = etree.Element("svg", xmlns=_SPACE)
    root.set("viewBox", f"0 0 {WIDTH} {HEIGHT}")
    root.set("role", "img")
    root.set("class", f"bars {kind}".strip())
    known = [value for value in values if value is not None]
    _text(root, "title", f"{title}: " + ", ".join(f"{label} {_shown(value)}" for label, value in zip(labels, values, strict=True)))
    floor, most = HEIGHT - BOTTOM, max(known, default=0)
    step = WIDTH / max(len(values), 1)
    for place, value in enumerate(values):
        left = place * step
        if value is None:
            _shape(root, "circle", "none", cx=left + step / 2, cy=floor - 2, r=1.2)
            continue
        tall = (floor - TOP) * value / most if most else 0.0
        _shape(root, "rect", "", x=left + step * 0.12, y=floor - max(tall, 1.0), width=step * 0.76, height=max(tall, 1.0))
    if most:
        place = max(range(len(values)), key=lambda number: values[number] or 0)
        _text(root, "text", f"{most:,}", x=_within((place + 0.5) * step), y=TOP - 4, anchor="middle")
    if labels:
        _text(root, "text", labels[0], x=0, y=HEIGHT - 3, anchor="start")
        _text(root, "text", labels[-1], x=WIDTH, y=HEIGHT - 3, anchor="end")
    return etree.tostring(root, encoding="unicode")


def _shown(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _within(x: float) -> float:
    """So far from the edges that a number is not cut off."""
    return min(max(x, 20.0), WIDTH - 20.0)


def _shape(root: etree._Element, name: str, kind: str, **numbers: float) -> None:
    shape = etree.SubElement(root, name)
    if kind:
        shape.set("class", kind)
    for key, value in numbers.items():
        shape.set(key, f"{value:.1f}".removesuffix(".0"))


def _text(root: etree._Element, name: str, text: str, *, x: float | None = None, y: float | None = None, anchor: str | None = None) -> None:
    element = etree.SubElement(root, name)
    element.text = "".join(char for char in text if char.isprintable())  # XML knows no control characters
    for key, value in (("x", x), ("y", y)):
        if value is not None:
            element.set(key, f"{value:.1f}".removesuffix(".0"))
    if anchor is not None:
        element.set("text-anchor", anchor)
