"""The review queue: one question at a time, with all that is needed to answer it, by mouse or by keys."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import ui

from trueup.config.proposal import owned_by
from trueup.errors import TrueupError
from trueup.runtime.explain import open_conflict, view_record
from trueup.runtime.resolve import take_system, take_value
from trueup.store import conflict, listing
from trueup.web.dashboard.markup import counted, joined, link, number, pill, quiet, section, table, value, when, words
from trueup.web.dashboard.record_html import side_by_side
from trueup.web.dashboard.tab import Field, Tab, button, line, markup

if TYPE_CHECKING:
    from trueup.reports.queues import Settled
    from trueup.reports.record_facts import Candidate, OpenConflict, RecordView
    from trueup.store import Db, Store

ALL = ""
AT_ONCE = 1_000
"""So many conflicts of one pattern are settled by one word."""


async def conflicts(tab: Tab, number: str = "") -> None:
    """The queue; `number` is the conflict to begin with."""
    await Queue(tab, int(number) if number.isdigit() else None).begin()


class Queue:
    """What one person works through."""

    def __init__(self, tab: Tab, first: int | None) -> None:
        """Nothing is looked at yet."""
        self.tab = tab
        self.patterns: list[listing.Pattern] = []
        self.pattern = ALL
        self.here: OpenConflict | None = None
        self._first = first

    async def begin(self) -> None:
        """Draw the page."""
        self.tab.head("Conflicts")
        self._choosing = line()
        self._question = ui.element("div")
        self._list = markup("")
        await self._refresh()
        await self._turn_to(0 if self._first is None else self._first - 1)
        self.tab.live(self._refresh)

    # -------------------------------------------------------------- looking

    def _about(self) -> tuple[str | None, str | None]:
        entity, _, field = self.pattern.partition("\n")
        return (entity or None, field or None)

    def _page(self, db: Db, after: int, limit: int) -> list[OpenConflict]:
        entity, field = self._about()
        known = self.tab.site.config.entities
        frame = listing.open_conflicts(db, entity=entity, field=field, after=after, limit=limit)
        return [open_conflict(row, known[row["entity"]]) for row in frame.iter_rows(named=True) if row["entity"] in known]

    async def _refresh(self) -> None:
        """What there is to settle, as it is now; whoever settles something meanwhile is told."""
        found = await self.tab.look(lambda db: (listing.conflict_patterns(db), self._page(db, 0, listing.PAGE), self._gone(db)))
        if found is None:
            return
        patterns, some, gone = found
        if patterns != self.patterns:
            self.patterns = patterns
            self._choose()
        rows = [
            [
                link(str(one.id), "conflicts", one.id),
                words(one.entity),
                words(one.field),
                value(one.golden),
                _values(one),
                when(one.opened_at),
            ]
            for one in some
        ]
        total = sum(one.number for one in patterns)
        self._list.set_content(
            section("Waiting", table("Waiting", ("conflict", "of", "field", "agreed", "said", "since"), rows, "Nothing is left to settle."))
            + (f'<p class="quiet">{number(total)} in all</p>' if total > len(rows) else "")
        )
        if gone is not None:
            self.tab.tell(gone, "heed")
            await self._turn_to(self.here.id if self.here else 0)
        elif self.here is None and total:
            await self._turn_to(0)

    def _gone(self, db: Db) -> str | None:
        """What is to be said where the conflict that is looked at was settled meanwhile."""
        if self.here is None:
            return None
        row = conflict.get(db, self.here.id)
        if row is None or row["closed_at"] is None:
            return None
        return f"Conflict {self.here.id} about {self.here.field} has just been settled: {row['resolution']}. Here is the next one."

    def _choose(self) -> None:
        """Which conflicts to work through."""
        names = {ALL: f"all of them ({sum(one.number for one in self.patterns):,})"}
        names |= {f"{one.entity}\n{one.field}": f"{one.entity}: {one.field} ({one.number:,})" for one in self.patterns}
        self._choosing.clear()
        with self._choosing:
            field = Field("Work through", self.pattern, choices=names, entered=lambda: chosen())  # noqa: PLW0108  it is defined below

            async def chosen() -> None:
                self.pattern = field.value
                await self._refresh()
                await self._turn_to(0)

    # -------------------------------------------------------------- one question

    async def _turn_to(self, after: int) -> None:
        """The next question after a number, or the first one."""

        def look(db: Db) -> tuple[OpenConflict, RecordView] | None:
            found = self._page(db, after, 1) or self._page(db, 0, 1)
            if not found:
                return None
            entity = self.tab.site.config.entities[found[0].entity]
            return found[0], view_record(db, self.tab.site.config, entity, found[0].record)

        found = await self.tab.look(look)
        self._question.clear()
        self.here = None if found is None else found[0]
        if found is not None:
            with self._question:
                self._ask(*found)

    def _ask(self, asked: OpenConflict, view: RecordView) -> None:
        held = asked.kind == "hold"
        what = joined((words(asked.field), "of", link(f"{asked.entity} {asked.record}", "records", asked.entity, asked.record)))
        known = (quiet("Before:"), value(asked.base), quiet("· agreed now:"), value(asked.golden), quiet("· since"), when(asked.opened_at))
        markup(f"<h2>{'Is this change right' if held else 'Which value is right'}: {what}?</h2><p>{joined(known)}</p>")
        may = self.tab.guest.may("reviewer")
        with ui.element("div").classes("choices"):
            for place, one in enumerate(_choices(asked), 1):
                with ui.element("div").classes("choice"):
                    markup(f"{pill(one.system or 'agreed now')} {quiet(when(one.at))}")
                    markup(value(one.value), "big")
                    if may:
                        button(
                            "Take this",
                            partial(self._take, one),
                            key=str(place) if place < 10 else "",
                            kind="main",
                            about=f"Take the value of {one.system or 'the agreed record'}",
                        )
        with line():
            if may:
                typed = Field("Another value", key="v", entered=lambda: self._type(typed.value))
                button("Take what I typed", lambda: self._type(typed.value))
                button("No value", lambda: self._type(None), key="e")
            button("Later", lambda: self._turn_to(asked.id), key="j")
        self._more(asked, may=may)
        markup(section("The record around it", side_by_side(view, without=asked.field)))

    def _more(self, asked: OpenConflict, *, may: bool) -> None:
        """What goes further than this one value."""
        alike = next(
            (one.number for one in self.patterns if (one.entity, one.field, one.kind) == (asked.entity, asked.field, asked.kind)), 0
        )
        systems = [one.system for one in asked.candidates if one.system is not None]
        if not may or not systems:
            return
        with ui.element("details"):
            markup("More of the same", tag="summary")
            with line():
                for system in systems:
                    if alike > 1:
                        button(
                            f"Take {words(system)} for {counted(min(alike, AT_ONCE), 'such conflict')}",
                            partial(self._bulk, asked, system),
                        )
                    if asked.kind != "hold":
                        button(f"Always prefer {words(system)} for {words(asked.field)} …", partial(self._prefer, asked, system))
            self._proposal = ui.element("div")

    # -------------------------------------------------------------- answers

    async def _take(self, one: Candidate) -> None:
        asked = self.here
        assert asked is not None

        def act(store: Store) -> Settled:
            site = self.tab.site
            if one.system is not None:
                return take_system(store, site.config, asked.id, one.system, site.place.clock())
            return take_value(store, site.config, asked.id, one.value, site.place.clock())

        await self._settle(asked, act)

    async def _type(self, given: str | None) -> None:
        asked, site = self.here, self.tab.site
        if given == "":
            self.tab.tell("Type the other value first, or choose No value.", "bad-news")
        elif asked is not None:
            await self._settle(asked, lambda store: take_value(store, site.config, asked.id, given, site.place.clock()))

    async def _settle(self, asked: OpenConflict, act: Any) -> None:
        self.tab.tell("")
        done = await self.tab.decide("reviewer", "conflicts resolve", {"number": asked.id}, act)
        if done is not None:
            self.tab.tell(f"Settled: conflict {asked.id}. The next run delivers it.", "calm")
        elif await self.tab.look(self._gone) is None:
            return  # it is open still: what was typed can be mended
        await self._turn_to(asked.id)
        await self._refresh()

    async def _bulk(self, asked: OpenConflict, system: str) -> None:
        """Settle all conflicts of this pattern with what one system says, as far as it says something."""
        site = self.tab.site

        def act(store: Store) -> tuple[int, int]:
            with store.read() as db:
                frame = listing.open_conflicts(db, entity=asked.entity, field=asked.field, limit=AT_ONCE)
            done = left = 0
            for row in frame.iter_rows(named=True):
                try:
                    if row["kind"] == asked.kind:
                        take_system(store, site.config, row["id"], system, site.place.clock())
                        done += 1
                except TrueupError:  # settled meanwhile, or that system says nothing there
                    left += 1
            return done, left

        what = {"entity": asked.entity, "field": asked.field, "take": system}
        told = await self.tab.decide("reviewer", "conflicts resolve", what, act)
        if told is not None:
            left = f"; {told[1]:,} were left, as {system} says nothing about them" if told[1] else ""
            self.tab.tell(f"Settled {told[0]:,} conflicts with the values of {system}{left}. The next run delivers them.", "calm")
        await self._turn_to(0)
        await self._refresh()

    async def _prefer(self, asked: OpenConflict, system: str) -> None:
        """Propose the change of the configuration that settles such conflicts for good."""
        import asyncio

        try:
            change = await asyncio.to_thread(owned_by, self.tab.site.config.file, asked.entity, asked.field, system)
        except TrueupError as error:
            self.tab.tell(f"{error} ({error.hint})", "bad-news")
            return
        self._proposal.clear()
        with self._proposal:
            lines = "\n".join(str(words(one)) for one in change.diff)
            said = f"{system} would be the source of truth of {asked.field}. Nothing was changed: {change.file} says so, for review."
            then = (
                f"`trueup -c {change.file} plan` shows what it would do. Then put it in place of the configuration, and start `serve` anew."
            )
            markup(f'<p>{words(said)}</p><pre class="diff" tabindex="0">{lines}</pre><p>{words(then)}</p>')
            if self.tab.guest.may("admin"):
                with line():
                    button("Look at what would come of it, and save it", partial(self._look_ahead, change.file))

    async def _look_ahead(self, file: str) -> None:
        """Take the proposal to where it is saved."""
        draft = self.tab.site.place.draft
        done = await self.tab.work("admin", lambda _user: draft.type(Path(file).read_text(encoding="utf-8")))
        if done is not None:
            ui.navigate.to("/project/preview")


def _choices(asked: OpenConflict) -> list[Any]:
    """The candidates, and the agreed value where none of them says it."""
    from trueup.reports.record_facts import Candidate

    found = list(asked.candidates)
    if asked.golden is not None and all(one.value != asked.golden for one in found):
        found.append(Candidate(None, asked.golden, None))
    return found


def _values(asked: OpenConflict) -> str:
    return joined([joined((quiet((one.system or "agreed") + ":"), value(one.value))) for one in asked.candidates], "<br>")
