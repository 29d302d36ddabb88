"""The pages of HTML in a real browser: on a phone nothing is wider than the screen, on paper nothing is cut, and axe finds no fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browsers import chromium
from tests.system.web.company_pages import LONG, STRANGE, pages
from trueup.reports.page import page

pytestmark = pytest.mark.slow

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}
PAPER = {"width": 688, "height": 972}
"""A4 without its margins of 14 mm, in CSS pixels."""
NAMES = (
    "report", "profile", "drift", "dedupe", "decide", "rehearse", "runbook-by-hand-prices", "runbook-incident-account-compromised",
    "runbook-incident-crm-stops", "runbook-index",
)  # fmt: skip

WIDER = """() => [...document.querySelectorAll('body *')].filter(it => {
  const box = it.getBoundingClientRect();
  return box.width > 1 && getComputedStyle(it).clipPath === 'none' && !it.closest('thead')
    && (box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5);
}).map(it => it.tagName + ' ' + it.textContent.slice(0, 40))"""
"""What stands out of the page to either side."""
CUT = """() => [...document.querySelectorAll('body *')].filter(it =>
  it.scrollWidth > it.clientWidth + 1 && it.clientWidth > 0 && !it.closest('thead') && getComputedStyle(it).overflowX !== 'visible'
).map(it => it.tagName + ' ' + it.textContent.slice(0, 40))"""
"""What is wider than the box that it is cut off by, or has to be scrolled in."""
SPLIT = """() => [...document.querySelectorAll('td, th, b, .t')].flatMap(it => {
  const walk = document.createTreeWalker(it, NodeFilter.SHOW_TEXT), found = [];
  for (let node; (node = walk.nextNode());) for (const word of node.data.matchAll(/[\\p{L}\\p{N}]{2,10}/gu)) {
    const range = document.createRange();
    range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
    const lone = !/[^\\s]/.test((node.data[word.index - 1] || ' ') + (node.data[word.index + word[0].length] || ' '));
    if (lone && new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) found.push(word[0]);
  }
  return found;
})"""
"""Short words that are broken in their middle."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return pages(tmp_path_factory.mktemp("pages"))


def shown(browser: Browser, path: Path, size: dict[str, int], media: Any = "screen") -> Page:
    opened = browser.new_context(viewport=size, offline=True).new_page()  # type: ignore[arg-type]  # a TypedDict of the same keys
    opened.emulate_media(media=media)
    opened.goto(path.as_uri())
    return opened


def faults(opened: Page) -> list[str]:
    """What axe finds wrong, with an example of each."""
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in Axe().run(opened).response["violations"]]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_phone_a_desk_and_paper(browser: Browser, written: dict[str, Path], name: str) -> None:
    for size, media in ((PHONE, "screen"), (DESK, "screen"), (PAPER, "print")):
        opened = shown(browser, written[name], size, media)
        assert opened.evaluate("document.documentElement.scrollWidth") <= size["width"], f"{size} {opened.evaluate(WIDER)}"
        assert opened.evaluate(WIDER) == [], size
        assert opened.evaluate(CUT) == [], size
        assert opened.evaluate(SPLIT) == [], size
        assert opened.locator("h1").count() == 1
        opened.context.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_for_everybody(browser: Browser, written: dict[str, Path], name: str) -> None:
    """Contrast, headings, landmarks, names of tables and pictures, and what a keyboard reaches; on a phone and at a desk."""
    for size in (PHONE, DESK):
        opened = shown(browser, written[name], size)
        assert faults(opened) == []
        opened.context.close()


def test_every_page_that_is_written_is_looked_at(written: dict[str, Path]) -> None:
    assert set(NAMES) <= set(written)
    assert {name.replace("sheet", "crm") for name in written} == set(NAMES)


def test_what_runs_from_right_to_left_keeps_to_itself(browser: Browser, written: dict[str, Path]) -> None:
    """What follows such a name stands to its right, as in any line of these pages."""
    opened = shown(browser, written["drift"], DESK)
    name, number = STRANGE[0][1], STRANGE[0][3]
    places = opened.evaluate(
        """([name, number]) => [...document.querySelectorAll('bdi')].filter(it => it.textContent === name)
          .map(it => [it.getBoundingClientRect(), it.nextElementSibling])
          .filter(([, next]) => next && next.textContent === number)
          .map(([box, next]) => [box.right, next.getBoundingClientRect().left])""",
        [name, number],
    )
    assert places
    assert all(right <= left for right, left in places)
    opened.context.close()


def test_the_paper_has_all_of_it(browser: Browser, written: dict[str, Path], tmp_path: Path) -> None:
    for name in NAMES:
        opened = shown(browser, written[name], DESK)
        sheet = opened.pdf(format="A4", path=tmp_path / f"{name}.pdf")
        assert sheet.startswith(b"%PDF")
        assert 1 <= sheet.count(b"/Type /Page\n") <= 8
        opened.context.close()


def test_these_tests_see_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    spoilt = {
        WIDER: "<h1>x</h1><div style='width: 60rem'>x</div>",
        CUT: f"<h1>x</h1><div style='width: 9rem; overflow: auto; overflow-wrap: normal'>{LONG}</div>",
        SPLIT: "<h1>x</h1><table><tr><td style='width: 1rem; display: block; overflow-wrap: anywhere'>hourly</td></tr></table>",
    }
    for number, (question, body) in enumerate(spoilt.items()):
        path = tmp_path / f"{number}.html"
        path.write_text(page("spoilt", [body]), encoding="utf-8")
        opened = shown(browser, path, PHONE)
        assert opened.evaluate(question), body
        opened.context.close()
    path.write_text(page("spoilt", ['<p style="color: #ddd">words that nobody can read</p><img src="data:,">']), encoding="utf-8")
    opened = shown(browser, path, PHONE)
    assert {fault.partition(":")[0] for fault in faults(opened)} >= {"color-contrast", "image-alt"}
    opened.context.close()
