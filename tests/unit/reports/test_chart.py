"""Bars as SVG: as tall as their values say, nothing known is no nought, and no label breaks out."""

from __future__ import annotations

from lxml import etree

from trueup.reports.chart import bars

SVG = "{http://www.w3.org/2000/svg}"


def heights(text: str) -> list[float]:
    return [float(bar.get("height", "")) for bar in etree.fromstring(text).iter(f"{SVG}rect")]


def test_bars_are_as_tall_as_their_values() -> None:
    text = bars("Moved", ["a", "b", "c", "d"], [0, 10, None, 20])
    nothing, ten, twenty = heights(text)
    assert nothing == 1
    assert twenty == 2 * ten > 10
    root = etree.fromstring(text)
    assert len(list(root.iter(f"{SVG}circle"))) == 1, "what is not known is a dot"
    assert root.findtext(f"{SVG}title") == "Moved: a 0, b 10, c unknown, d 20"
    assert [element.text for element in root.iter(f"{SVG}text")] == ["20", "a", "d"]


def test_no_values_and_no_days_are_a_chart_too() -> None:
    assert heights(bars("Nothing", [], [])) == []
    assert heights(bars("Nothing", ["a"], [0])) == [1]
    assert heights(bars("Unknown", ["a"], [None])) == []


def test_a_label_means_itself() -> None:
    nasty = "</title><script>alert('1')</script> & \"x\" \x00\x07 שלום 🙂"
    text = bars(nasty, [nasty], [1], 'x" onload="y')
    root = etree.fromstring(text)
    assert {etree.QName(element).localname for element in root.iter()} == {"svg", "title", "rect", "text"}
    assert root.attrib.keys() == ["viewBox", "role", "class"]
    assert "שלום 🙂" in (root.findtext(f"{SVG}title") or "")
