"""The first runs, with care: look, let a few records cross, then all of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nicegui import ui

from trueup.errors import UsageError
from trueup.runtime.deciding import EVERYTHING, pause
from trueup.runtime.summaries import summary_dict
from trueup.store import golden, paused, run
from trueup.web.dashboard.markup import link, pill, section, table, words
from trueup.web.dashboard.tab import Field, Tab, button, markup
from trueup.web.desk.place import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.model import RunSummary
    from trueup.runtime.workspace import Workspace
    from trueup.store import Db

FEW = "10"
OBSERVED = "All systems were read, and nothing was written to any of them. Everything is paused until you say otherwise."


async def begin(tab: Tab) -> None:
    """Where it stands, and what may be done next."""
    if tab.site.place.draft.begins:
        markup('<p class="panel">Nothing is saved yet: <a href="/project/systems">connect systems</a> first.</p>')
        return
    await _Beginning(tab).draw_all()


class _Beginning:
    """The first runs of one project, as one person takes them."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    async def draw_all(self) -> None:
        self.standing = markup("")
        self.outcome = ui.element("div")
        with ui.element("div").classes("choices"):
            with _card("1. Only look", "Reads all systems, and agrees what can be agreed. Writes nothing, and pauses everything."):
                button("Read, and write nothing", self.look, kind="main")
            with _card("2. One direction", "Choose which systems are only read, and which are written."):
                markup('<a class="button" href="/project/fields">Choose directions</a>', tag="span")
            with _card("3. A few records", "Writes at most so many rows to each system; all else stays paused. Look at them there."):
                self.few = Field("Rows per system", FEW, kind="number")
                button("Write a few", self.some)
            with _card("4. Everything", "Takes up what is paused, and writes all that waits. From then on it goes by itself."):
                button("Write everything", self.everything)
        await self.draw()
        self.tab.live(self.draw)

    async def draw(self) -> None:
        found = await self.tab.look(lambda db: _standing(self.tab, db))
        if found is not None:
            self.standing.set_content(found)

    async def look(self) -> None:
        await self._run("Reading all systems …", OBSERVED, limit=0, pausing=True)

    async def some(self) -> None:
        typed = self.few.value.strip()
        self.few.keep()
        if not (typed.isascii() and typed.isdigit() and len(typed) < 9 and int(typed)):
            self.tab.tell("How many rows? A whole number, 1 or more.", "heed")
            return
        said = f"At most {typed} rows were written to each system. Look at them there; everything else waits."
        await self._run(f"Writing at most {typed} rows to each system …", said, limit=int(typed), pausing=True)

    async def everything(self) -> None:
        said = "Done. From now on changes cross as the file says; the overview shows how it goes."
        await self._run("Writing everything that waits …", said, limit=None, pausing=False)

    async def _run(self, doing: str, said: str, *, limit: int | None, pausing: bool) -> None:
        """One run; all that it does not write is paused first, or taken up."""
        tab = self.tab
        tab.tell(doing)
        if await _pause(tab, pausing=pausing) is None:
            return

        def act(workspace: Workspace) -> RunSummary:
            workspace.although_paused = bool(limit)
            return workspace.sync(limit=limit, wait_s=WAIT_S)

        result = await tab.run("admin", "sync", {"limit": limit}, act)
        if result is not None:
            calm = result.status in {"done", "partial"}
            tab.tell(said if calm else result.error or f"The run was {result.status}.", "calm" if calm else "bad-news")
            self.outcome.clear()
            with self.outcome:
                markup(_outcome(result))
        await self.draw()


@contextmanager
def _card(title: str, said: str) -> Iterator[None]:
    with ui.element("div").classes("choice"):
        markup(f"<h2>{words(title)}</h2><p>{words(said)}</p>")
        yield


async def _pause(tab: Tab, *, pausing: bool) -> object | None:
    """Stop or take up all deliveries; None where that could not be, which is told."""
    now = tab.site.place.clock
    what = {"what": ["all"]}

    def act(store: Any) -> list[tuple[str, str]]:
        if not tab.site.config.entities:
            raise UsageError("nothing is kept in agreement yet", hint="write which records are, on the step Preview")
        return pause(store, EVERYTHING, now(), pausing=pausing)

    return await tab.decide("admin", "pause" if pausing else "resume", what, act, locked=False)


def _standing(tab: Tab, db: Db) -> str:
    """Where it stands now."""
    rests, last = ("all", "") in paused.list_(db), run.list_(db, 1)
    rows = [[words(name), golden.count(db, name), words(", ".join(entity.mappings))] for name, entity in tab.site.config.entities.items()]
    word = (
        pill("nothing was read yet") if not last else pill("only looking", "warn") if rests else pill("everything goes by itself", "good")
    )
    more = f" {link(f'run {last[0].id}', 'runs', last[0].id)}" if last else ""
    return f"<p>{word}{more}</p>{table('Agreed', ('records', 'agreed', 'in'), rows)}"


def _outcome(result: RunSummary) -> str:
    parts = []
    said = summary_dict(result)
    for name, entity in said["entities"].items():
        rows = [
            [
                words(system),
                part["observed"]["read"],
                *(part["delivered"][kind] for kind in ("created", "updated", "deleted", "pending")),
                words(part.get("error", "")),
            ]
            for system, part in entity["systems"].items()
        ]
        head = ("system", "rows read", "added", "changed", "taken out", "wait", "")
        open_ = entity["conflicts"]["open"]
        asks = f'<p><a class="button" href="/conflicts">{open_:,} to decide</a></p>' if open_ else ""
        parts.append(section(f"{name}: {entity['golden']['total']:,} records", table(name, head, rows), asks))
    way = "" if result.run is None else f"<p>{link(f'Run {result.run}, value by value, and how to undo it', 'runs', result.run)}</p>"
    return "".join(parts) + way
