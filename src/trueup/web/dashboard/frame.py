"""What all pages stand in: the bar, the ways to other pages with what waits there, and the place of the page itself."""

from __future__ import annotations

import asyncio
from html import escape
from typing import TYPE_CHECKING

from nicegui import ui

from trueup.errors import TrueupError
from trueup.store import waiting
from trueup.web.dashboard.markup import number, words
from trueup.web.dashboard.pages import FOR_ADMINS, PAGES, WAYS
from trueup.web.dashboard.tab import Tab, markup

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trueup.store import Db
    from trueup.web.dashboard.guest import Guest
    from trueup.web.dashboard.pulse import Pulse
    from trueup.web.dashboard.site import Site, Stamp


def frame(site: Site, pulse: Pulse, guest: Guest) -> None:
    """Draw it for one browser tab."""
    tab = Tab(site, pulse, guest)
    assert guest.user is not None
    waits: dict[str, int] = {}
    with ui.header(fixed=False, elevated=False, wrap=False).classes("bar"), ui.element("div").classes("in"):
        markup('<a class="skip button" href="#page">To the page</a><a class="brand" href="/">trueup</a>')
        menu = markup("", "menu", "details")
        markup(
            f'<span class="who" title="{escape(guest.user.name, quote=True)}, {guest.user.role}">{words(guest.user.name)}</span>'
            f'<button type="button" class="plain" data-do="theme" title="Light or dark">Light / dark</button>'
            '<form method="post" action="/logout"><button class="plain">Log out</button></form>',
            "rest",
        )
    with ui.element("div").classes("sheet"):
        ways = markup("", tag="nav").props('aria-label="Pages"')
        page = ui.element("div").classes("page").props("id=page tabindex=-1")

    def draw(path: str) -> None:
        inside = _ways(path, waits, frozenset() if guest.may("admin") else FOR_ADMINS)
        ways.set_content(inside)
        menu.set_content(f'<summary>Menu</summary><nav aria-label="Menu">{inside}</nav>')

    async def about(stamp: Stamp) -> None:
        try:
            known = await asyncio.to_thread(site.shared, "waits", lambda db: _waits(db, site), stamp)
        except TrueupError as error:
            tab.tell(str(error), "bad-news")
            return
        if known != waits:
            waits.clear()
            waits.update(known)
            draw(tab.client.sub_pages_router.current_path)

    tab.about = about
    tab.client.sub_pages_router.on_path_changed(draw)
    tab.client.on_delete(lambda: pulse.leave(tab.client.id))
    draw(tab.client.sub_pages_router.current_path)
    with page:
        ui.sub_pages(dict(PAGES), data={"tab": tab})

    async def first() -> None:
        await about(await pulse.now())

    ui.timer(0.0, first, once=True)


def _waits(db: Db, site: Site) -> dict[str, int]:
    """What waits on each page."""
    known = waiting.counted(db, site.config.entities)
    return {
        "conflicts": sum(number for number, _ in known.conflicts.values()),
        "failures": sum(sum(by.values()) for by in known.failures.values()),
        "holds": sum(len(by) for by in known.holds.values()),
        "matches": sum(sum(by.values()) for by in known.parked.values()),
    }


def _ways(path: str, waits: Mapping[str, int], without: Collection[str]) -> str:
    """The ways to the pages; the present one is marked."""
    here = path.partition("?")[0].strip("/").partition("/")[0]
    items = []
    for name, said in WAYS.items():
        if name in without:
            continue
        count = waits.get(name, 0)
        much = f' <span class="pill warn">{number(count)}<span class="skip"> waiting</span></span>' if count else ""
        items.append(f'<li><a href="/{name}"{" aria-current=page" if name == here else ""}><span>{said}</span>{much}</a></li>')
    return f"<ul>{''.join(items)}</ul>"
