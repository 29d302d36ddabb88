"""What else waits for a person: failures, what a guard holds, and rows that might be one of several records."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import orjson
from nicegui import ui

from trueup.reports.page import Safe
from trueup.reports.waiting import holds_text
from trueup.runtime.deciding import decide_hold, drop_failures, retry_failures
from trueup.runtime.explain import view_record
from trueup.runtime.mending import fields_to_mend, mend_failure
from trueup.runtime.parking import parked_rows, place_row
from trueup.store import hold, listing
from trueup.web.dashboard.markup import counted, joined, link, number, pill, quiet, table, value, when, words
from trueup.web.dashboard.record_html import side_by_side
from trueup.web.dashboard.tab import Field, Tab, button, line, markup

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from trueup.model import Config
    from trueup.reports.queues import Parked
    from trueup.reports.record_facts import RecordView
    from trueup.store import Db

SHOWN = 20


async def failures(tab: Tab) -> None:  # noqa: C901, PLR0915  one page, and what can be done on it
    """Records that could not be read, understood or written, each with its reason and what can be done."""
    tab.head("Failures")
    top = line()
    body = ui.element("div")
    with line():
        more = button("More", lambda: draw(at["after"]), key="n")
    at = {"after": 0, "from": 0, "editing": 0}
    config = tab.site.config

    async def draw(after: int = 0) -> None:
        found = await tab.look(lambda db: _failures(db, config, after, at["editing"]))
        if found is None:
            return
        frame, agreed = found
        at["from"], at["after"] = after, int(frame["id"][-1]) if frame.height == SHOWN else 0
        more.set_visibility(frame.height == SHOWN)
        top.clear()
        body.clear()
        may = tab.guest.may("reviewer")
        with top:
            if may and not frame.is_empty():
                button("Try all again", lambda: retry(None))
        with body:
            if frame.is_empty():
                markup('<p class="panel calm">Nothing has failed.</p>')
            for row in frame.iter_rows(named=True):
                _failure(row, config)
                if may and row["id"] == at["editing"]:
                    _edit(row, config, agreed, mend, edit)
                elif may:
                    with line():
                        if fields_to_mend(config, row):
                            button(
                                "Edit the value …", partial(edit, row["id"]), kind="main", about=f"Edit the value of failure {row['id']}"
                            )
                        button("Try again", partial(retry, [row["id"]]), about=f"Try failure {row['id']} again")
                        button("Give up on it", partial(drop, row["id"]), kind="danger", about=f"Give up on failure {row['id']}")

    async def edit(number: int) -> None:
        at["editing"] = number
        await draw(at["from"])

    async def mend(number: int, name: str, given: str | None) -> None:
        if given == "":
            tab.tell("Type the other value first, or choose No value.", "bad-news")
            return
        done = await tab.decide(
            "reviewer",
            "failures mend",
            {"number": number},
            lambda store: mend_failure(store, config, number, name, given, tab.site.place.clock()),
        )
        if done is None:
            return  # what was typed stays, to be mended
        await edit(0)
        tab.tell(
            f"{done.field} of {done.entity} {done.record} is as you say from now on, in all systems. The next run delivers it.", "calm"
        )

    async def retry(ids: list[int] | None) -> None:
        done = await tab.decide(
            "reviewer",
            "failures retry",
            {"ids": ids or "all"},
            lambda store: retry_failures(store, ids, tab.site.place.clock()),
            locked=False,
        )
        if done is not None:
            tab.tell(f"The next run tries {len(done):,} again.", "calm")
        await draw(at["from"])

    async def drop(number: int) -> None:
        done = await tab.decide(
            "reviewer",
            "failures drop",
            {"ids": [number]},
            lambda store: drop_failures(store, [number], tab.site.place.clock()),
            locked=False,
        )
        if done is not None:
            tab.tell("Given up, until the record changes.", "calm")
        await draw(at["from"])

    async def again() -> None:
        if at["from"] == 0 and not at["editing"]:
            await draw()

    await draw()
    tab.live(again)


def _failures(db: Db, config: Config, after: int, editing: int) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A page of failures, and what is agreed of the record of the one that is being edited."""
    frame = listing.failures(db, after=after, limit=SHOWN)
    for row in frame.iter_rows(named=True):
        if row["id"] == editing and row["gid"] is not None and row["entity"] in config.entities:
            return frame, dict(view_record(db, config, config.entities[row["entity"]], row["gid"]).golden)
    return frame, {}


def _edit(row: dict[str, Any], config: Config, agreed: dict[str, Any], mend: Callable[..., Any], edit: Callable[..., Any]) -> None:
    """Another value for what a system refused: of which field, and what is agreed of it now."""
    number, names = row["id"], fields_to_mend(config, row)
    markup(table("Agreed now", ("field", "agreed now"), [[words(name), value(agreed.get(name))] for name in names]))
    with line():
        which = Field("Field", names[0], choices={name: name for name in names}) if len(names) > 1 else None

        def chosen() -> str:
            return names[0] if which is None else which.value

        async def take() -> None:
            typed.keep()
            await mend(number, chosen(), typed.value)

        typed = Field(f"Another value for {names[0]}" if which is None else "Another value", entered=take)
        button("Take what I typed, and try again", take, kind="main")
        button("No value", lambda: mend(number, chosen(), None))
        button("Leave it", partial(edit, 0))


def _failure(row: dict[str, Any], config: Config) -> None:
    place = joined((words(row["entity"]), "in", words(row["system"])))
    key = (
        quiet("the whole mapping")
        if row["key"] is None and row["gid"] is None
        else value(row["key"])
        if row["key"] is not None
        else quiet("a new row")
    )
    record = link(f"record {row['gid']}", "records", row["entity"], row["gid"]) if row["gid"] is not None else ""
    about = joined((words(row["field"] + ":"),)) if row["field"] and row["field"] not in row["reason"] else ""
    tried = joined(
        (
            counted(row["attempts"], "try", "tries"),
            "since",
            when(row["first_at"]),
            *(("· again", when(row["next_try_at"])) if row["next_try_at"] else ()),
        )
    )
    head = joined((pill(row["stage"], "warn"), place, key, record))
    hint = quiet(_remedy(row, config))
    markup(f"<p>{head}</p><p><strong>{about} {words(row['reason'])}</strong></p><p>{hint}</p><p>{quiet(tried)}</p>", "panel")


def _remedy(row: dict[str, Any], config: Config) -> Safe:
    """What to do about a failure."""
    if fields_to_mend(config, row):
        return words("Where a value is at fault, edit it: it then counts in all systems. Else mend what the reason says, and try again.")
    if row["stage"] == "match":
        return words(f"Mend what makes the row ambiguous in {row['system']}; the next run looks again.")
    if row["key"] is None and row["gid"] is None:
        return words(f"Mend what keeps {row['system']} from being read or written, then try again.")
    if row["stage"] == "write":
        return words(f"Mend it in {row['system']}, then try again.")
    return words(f"Correct the row in {row['system']}; the next run reads it again.")


async def holds(tab: Tab) -> None:
    """What a guard stopped: what would happen, and a person's word."""
    tab.head("Holds")
    body = ui.element("div")

    async def draw() -> None:
        frame = await tab.look(lambda db: hold.of(db, decided=False))
        if frame is None:
            return
        body.clear()
        with body:
            if frame.is_empty():
                markup('<p class="panel calm">Nothing is held.</p>')
            for row in frame.iter_rows(named=True):
                one = {**row, "counts": orjson.loads(row["counts"]), "limit": orjson.loads(row["limit_"]), "since": ""}
                many, allowed = one["counts"]["count"], one["limit"]["count"]
                said = joined(
                    (number(many), words(f"{row['kind']} of {row['entity']} in {row['system']}"), quiet(f"(allowed at once: {allowed:,})"))
                )
                why = holds_text([one]).splitlines()[1].strip() if row["kind"] else ""
                markup(f"<h2>{said}</h2><p>{quiet(joined(('since', when(row['since']))))}</p><p>{quiet(words(' '.join(why.split())))}</p>")
                if tab.guest.may("operator"):
                    with line():
                        button(f"Let up to {many:,} pass", partial(answer, row["id"], "approved"), kind="main")
                        button("Refuse: put the rows back", partial(answer, row["id"], "refused"), kind="danger")
                        button("Leave both sides as they are", partial(answer, row["id"], "left"))

    async def answer(which: int, decision: Literal["approved", "refused", "left"]) -> None:
        command = {"approved": "approve", "refused": "refuse", "left": "leave"}[decision]
        done = await tab.decide(
            "operator",
            f"holds {command}",
            {"number": which},
            lambda store: decide_hold(store, which, decision, tab.site.place.clock()),
            locked=False,
        )
        if done is not None:
            tab.tell(f"Hold {which}: {decision}. The next run carries it out.", "calm")
        await draw()

    await draw()
    tab.live(draw)


async def matches(tab: Tab) -> None:  # noqa: C901  one page, and what can be done on it
    """Rows that nobody but a person can place, each beside the records that it may be."""
    tab.head("Matches")
    body = ui.element("div")

    async def draw() -> None:
        found = await tab.look(lambda db: [(one, _views(tab, db, one)) for one in parked_rows(db, tab.site.config, SHOWN)[:SHOWN]])
        if found is None:
            return
        body.clear()
        with body:
            if not found:
                markup('<p class="panel calm">Every row has its record.</p>')
            for one, views in found:
                _match(one, views)

    def _match(one: Parked, views: dict[int, RecordView]) -> None:
        row = joined((words(f"{one.entity} in {one.system}:"), value(one.key)))
        markup(f"<h2>Which record is {row}?</h2><p>{joined((words(one.why), quiet(joined(('since', when(one.since))))))}</p>")
        if one.decision is not None:
            markup(f"<p>{pill('answered', 'good')} The next run carries it out.</p>")
            return
        with ui.element("div").classes("choices"):
            for gid in one.candidates:
                with ui.element("div").classes("choice"):
                    markup(_candidate(one.entity, gid, views.get(gid)))
                    if tab.guest.may("reviewer"):
                        button("The same", partial(place, one, str(gid)), kind="main", about=f"It is record {gid}")
        if tab.guest.may("reviewer"):
            with line():
                button("Not the same: a record of its own", partial(place, one, None))

    async def place(one: Parked, to: str | None) -> None:
        site = tab.site
        arguments = {"number": one.id, **({"new": True} if to is None else {"to": int(to)})}
        done = await tab.decide(
            "reviewer", "matches link", arguments, lambda store: place_row(site.place.workspace, store, one.id, to, site.place.clock())
        )
        if done is not None:
            tab.tell("Said; the next run carries it out.", "calm")
        await draw()

    await draw()
    tab.live(draw)


def _views(tab: Tab, db: Db, one: Parked) -> dict[int, RecordView]:
    config = tab.site.config
    return {gid: view_record(db, config, config.entities[one.entity], gid) for gid in list(one.candidates)[:4]}


def _candidate(entity: str, gid: int, view: RecordView | None) -> Safe:
    head = f"<strong>{link(f'{entity} {gid}', 'records', entity, gid)}</strong>"
    if view is None:
        return Safe(head)
    rows = [[words(name), value(given)] for name, given in view.golden.items()]
    return Safe(head + table(f"{entity} {gid}", ("field", "agreed"), rows) + (side_by_side(view) if not rows else ""))
