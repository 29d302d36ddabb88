"""Agreed records: find one, look at it, look at its systems again, and take back what a run did to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from trueup.core.cells import cell_to_python
from trueup.core.undo import SETTING
from trueup.errors import UsageError
from trueup.reports.undone import undone_text
from trueup.runtime.explain import explain_record, golden_cells, view_record
from trueup.runtime.records import find_record
from trueup.store import listing
from trueup.web.dashboard.markup import counted, joined, link, pill, quiet, section, table, value, when, words
from trueup.web.dashboard.record_html import HISTORY, history_rows, rows_of, side_by_side, stories_html
from trueup.web.dashboard.tab import Field, Tab, button, line, markup
from trueup.web.desk.place import WAIT_S

if TYPE_CHECKING:
    import polars as pl

    from trueup.model import Entity
    from trueup.reports.record_facts import RecordView
    from trueup.store import Db

SHOWN = 25
COLUMNS = 5


async def all_records(tab: Tab) -> None:
    """Which entities there are."""
    entities = list(tab.site.config.entities)
    await records(tab, entities[0]) if len(entities) == 1 else _entities(tab, entities)


def _entities(tab: Tab, entities: list[str]) -> None:
    tab.head("Records")
    markup("<ul>" + "".join(f"<li>{link(name, 'records', name)}</li>" for name in entities) + "</ul>")


async def records(tab: Tab, entity: str) -> None:
    """Records of one entity, a page at a time, and a search."""
    config = tab.site.config.entities.get(entity)
    tab.head(f"Records: {entity}")
    if config is None:
        tab.tell(f"there is no entity {entity}", "bad-news")
        return
    with line():
        sought = Field("A number, system:key, or a text in any value", key="/", entered=lambda: find(0))
        button("Search", lambda: find(0), kind="main")
    body = markup("")
    with line():
        more = button("Next", lambda: go_on(), key="n")  # noqa: PLW0108  it is made below
    at: dict[str, int | None] = {"next": None}

    async def find(after: int) -> None:
        said = sought.value.strip()
        exact = await tab.look(lambda db: _named(tab, db, entity, said)) if said and not after else None
        if exact is not None:
            tab.client.run_javascript(f'emitEvent("sub_pages_navigate", "/records/{_path(entity)}/{exact}")')
            return
        found = await tab.look(lambda db: _page(db, entity, said, after))
        if found is None:
            return
        frame, at["next"] = found
        rows = [[link(str(row["id"]), "records", entity, row["id"]), *_few(row["data"], config)] for row in frame.iter_rows(named=True)]
        none = (
            "No record among those looked at so far holds this text."
            if at["next"]
            else "No record holds this text."
            if said
            else "No records yet."
        )
        body.set_content(table(entity, ("record", *list(config.fields)[:COLUMNS]), rows, none))
        more.set_visibility(at["next"] is not None)

    async def go_on() -> None:
        await find(at["next"] or 0)

    await find(0)


def _page(db: Db, entity: str, said: str, after: int) -> tuple[pl.DataFrame, int | None]:
    if said:
        return listing.records_saying(db, entity, said, after=after, limit=SHOWN)
    frame = listing.living_records(db, entity, after=after, limit=SHOWN)
    return frame, int(frame["id"][-1]) if frame.height == SHOWN else None


def _named(tab: Tab, db: Db, entity: str, said: str) -> int | None:
    """The record that a person named, if that is a name."""
    try:
        return find_record(tab.site.place.workspace, db, entity, said)
    except UsageError:
        return None


def _few(data: str | None, entity: Entity) -> list[Any]:
    cells = golden_cells(data, entity)
    names = list(entity.fields)[:COLUMNS]
    return [value(cell_to_python(cells[name], entity.fields[name])) if cells.get(name) is not None else "" for name in names]


def _path(part: str) -> str:
    from urllib.parse import quote

    return quote(part, safe="")


# ---------------------------------------------------------------- one record


async def record(tab: Tab, entity: str, number: str) -> None:  # noqa: C901  one page, and what can be done on it
    """One record."""
    config = tab.site.config.entities.get(entity)
    if config is None or not number.isdigit():
        tab.head("No such record")
        tab.tell(f"there is no {entity} {number}", "bad-news")
        return
    tab.head(f"{entity} {number}")
    with line():
        if tab.guest.may("operator"):
            button("Sync this now", lambda: sync_now(), key="s", kind="main")  # noqa: PLW0108  it is made below
    body = markup("")
    undoing = line()
    past = markup("")

    async def draw() -> None:
        view = await tab.look(lambda db: _view(tab, db, entity, number))
        if view is None:
            return
        body.set_content(_record_html(view, config))
        past.set_content(
            section("History", table("History", HISTORY, history_rows(view.history), "Nothing has happened to it since it was created."))
        )
        offer(view)

    def offer(view: RecordView) -> None:
        """What a run did to it may be taken back."""
        runs = list(dict.fromkeys(event.run for event in reversed(view.history) if event.run is not None and event.kind in SETTING))[:3]
        undoing.clear()
        if not tab.guest.may("operator"):
            return
        with undoing:
            for run in runs:
                button(f"Undo what run {run} did to it …", partial(preview, run))

    async def preview(run: int) -> None:
        def look(workspace: Any) -> Any:
            return workspace.undo(run, record=(entity, number), plan=True)

        found = await tab.run("operator", "undo", {"run": run, "record": int(number), "plan": True}, look)
        if found is None:
            return
        undoing.clear()
        with undoing:
            markup("".join(f"<p>{words(line)}</p>" for line in undone_text(found[0], planned=True).splitlines()), "panel")
            button("Undo it", lambda: undo(run), kind="main danger")
            button("Leave it", draw)

    async def undo(run: int) -> None:
        what = {"run": run, "record": int(number)}
        done = await tab.run("operator", "undo", what, lambda workspace: workspace.undo(run, record=(entity, number), wait_s=WAIT_S))
        if done is not None:
            tab.tell(undone_text(done[0]), "heed" if done[0].refused else "calm")
        await draw()

    async def sync_now() -> None:
        tab.tell("Looking at its systems …")
        done = await tab.run(
            "operator", "sync", {"record": int(number)}, lambda workspace: workspace.sync(record=(entity, number), wait_s=WAIT_S)
        )
        if done is not None:
            tab.tell(f"Run {done.run}: {done.status}.", "calm" if done.status == "done" else "heed")
        await draw()

    await draw()
    tab.live(draw)


def _view(tab: Tab, db: Db, entity: str, number: str) -> RecordView:
    place = tab.site.place
    return view_record(db, place.config, place.config.entities[entity], find_record(place.workspace, db, entity, number))


def _record_html(view: RecordView, entity: Entity) -> str:
    gone = pill("deleted", "bad") if view.deleted_at is not None else ""
    born = quiet(joined(("first seen in", words(view.born.system or "a person"), when(view.born.at)))) if view.born is not None else ""
    asked = "".join(f"<p>{link('Settle ' + item.field, 'conflicts', item.id)}</p>" for item in view.conflicts)
    return "".join(
        (
            f"<p>{joined((gone, born))}</p>",
            f'<div class="panel heed"><strong>{counted(len(view.conflicts), "value")} to settle</strong>{asked}</div>' if asked else "",
            section("Values", side_by_side(view)),
            section("Rows in the systems", rows_of(view)),
            section("Why", stories_html(explain_record(view, entity), view)),
        )
    )
