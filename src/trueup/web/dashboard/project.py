"""Setting up, step by step: systems, records and fields, what would come of it, the first runs. Nothing is saved before the last look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from trueup.reports.table import counted as counted_text
from trueup.web.dashboard.begin import begin
from trueup.web.dashboard.letting_in import letting_in
from trueup.web.dashboard.mapping import mapping
from trueup.web.dashboard.markup import pill, table, value, words
from trueup.web.dashboard.preview import preview
from trueup.web.dashboard.tab import Field, Tab, button, line, markup
from trueup.web.desk.draft import where

if TYPE_CHECKING:
    from trueup.setup.addresses import Address
    from trueup.web.access import User

STEPS = {
    "systems": ("Systems", "connect them"),
    "fields": ("Records and fields", "what belongs together"),
    "preview": ("Preview", "what would come of it"),
    "begin": ("Begin", "the first runs"),
}
ADMINS = "Setting up takes the role admin. What follows from the checklist, everybody may look at."
EXAMPLE = "postgresql://user:password@host/database, mysql://…, or a file on the server: customers.xlsx, shop.db, leads.csv"


async def project(tab: Tab, step: str = "") -> None:
    """One of the steps; without one, the first that is not done."""
    tab.head("Set up")
    if not tab.guest.may("admin"):
        markup(f'<p class="panel heed">{words(ADMINS)} <a href="/checklist">Checklist</a></p>')
        return
    draft = tab.site.place.draft
    if step not in STEPS:
        step = "systems" if draft.begins else "begin"
    items = "".join(
        f'<li><a href="/project/{name}"{" aria-current=step" if name == step else ""}>{said[0]}</a></li>' for name, said in STEPS.items()
    )
    markup(f'<ol class="steps" aria-label="Steps">{items}</ol>')
    await {"systems": systems, "fields": mapping, "preview": preview, "begin": begin}[step](tab)


async def systems(tab: Tab) -> None:
    """Connect systems, one by one."""
    draft = tab.site.place.draft
    if not draft.begins:
        _known(tab)
        await letting_in(tab)
        return
    markup(
        "<p>Connect the systems whose records are to agree. They are only read. An address with a password is kept sealed, and stands in no"
        " file.</p>"
    )
    if draft.answers:
        said = ", ".join(draft.answers)
        markup(f'<p class="quiet">Your answers to the checklist are known for {words(said)}.</p>')
    else:
        markup('<p class="quiet">Not sure how they are best kept together? <a href="/checklist">The checklist</a> asks six questions.</p>')
    listed = ui.element("div")
    with line():
        name = Field("Name", entered=lambda: connect())  # noqa: PLW0108  it is defined below
        address = Field("Address", entered=lambda: connect())  # noqa: PLW0108  as above
        address.box.props["size"] = 48
        button("Connect", lambda: connect(), kind="main")  # noqa: PLW0108  as above
    markup(f'<p class="quiet">{words(EXAMPLE)}</p>')
    on = ui.element("div")

    def draw() -> None:
        listed.clear()
        with listed:
            for item in draft.addresses:
                _connected(tab, item, remove)
        on.clear()
        if len(draft.addresses) > 1:
            with on, line():
                button("Go on: records and fields", lambda: ui.navigate.to("/project/fields"), kind="main")

    async def connect() -> None:
        tab.tell("Connecting …")
        done = await tab.work("admin", lambda user: _connect(tab, user, name.value, address.value))
        if done is not None:
            found = sum(len(sample.columns) > 0 for sample in draft.seen.samples[done.name])
            tab.tell(f"{done.name} is connected: {counted_text(found, 'table')} found.", "calm")
            for box in (name, address):
                box.clear()
        draw()

    async def remove(item: Address) -> None:
        await tab.work("admin", lambda _user: draft.remove(item.name))
        tab.tell(f"{item.name} is left out.")
        draw()

    draw()


def _connect(tab: Tab, user: User, name: str, address: str) -> Address:
    """Look at a system, and seal its address."""
    site = tab.site
    draft = site.place.draft
    item = draft.connect(name, address)
    if item.url is not None:
        try:
            site.decide(
                user, "secrets set", {"secret": item.variable}, lambda store: draft.seal(store, item, site.place.clock()), locked=False
            )
        except BaseException:
            draft.remove(item.name)
            raise
    return item


def _connected(tab: Tab, item: Address, remove: object) -> None:
    """One system, and what it holds."""
    samples = tab.site.place.draft.seen.samples[item.name]
    rows = [
        [words(sample.name), sample.rows if sample.rows is not None else "–", len(sample.columns), words(", ".join(sample.key) or "none")]
        for sample in samples[:20]
    ]
    with ui.element("div").classes("panel"):
        said = f"<code>{words(f'{item.connector}: {where(item)}')}</code>"
        markup(f"<h2>{words(item.name)}</h2><p>{pill('connected', 'good')} {said}</p>")
        markup(table(item.name, ("table", "rows", "columns", "key"), rows, "It holds nothing that can be read."))
        with line():
            button("Leave out", lambda: remove(item), about=f"Leave {item.name} out")  # type: ignore[operator]


def _known(tab: Tab) -> None:
    """The systems of a configuration that there is."""
    config = tab.site.config
    rows = [
        [
            words(name),
            words(system.connector),
            words(", ".join(entity.name for entity in config.entities.values() if name in entity.mappings)),
        ]
        for name, system in config.systems.items()
    ]
    markup(table("Systems", ("system", "kind", "holds"), rows, "No system is connected."))
    markup(
        f"<p>These stand in {value(config.file)}. Another one is written there, on the step <a href='/project/preview'>Preview</a>,"
        " with a look at what would come of it before it is saved.</p>"
    )
