"""When things run, what rests, what is wrong now, and whether the systems really agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from trueup.reports.table import duration
from trueup.runtime.deciding import EVERYTHING, pause
from trueup.runtime.schedule import due_at, is_realtime, terms_of
from trueup.runtime.serving.knowing import VERIFIED, verified_from
from trueup.store import alert, meta, paused
from trueup.web.dashboard.markup import joined, pill, quiet, section, table, when, words
from trueup.web.dashboard.overview import overview_for
from trueup.web.dashboard.tab import Tab, button, line, markup

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import When
    from trueup.reports.picture import Verified
    from trueup.store import Db
    from trueup.store.alert import Alert

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


async def schedules(tab: Tab) -> None:
    """When each entity is looked at, and what is paused."""
    tab.head("Schedules")
    plan = markup("")
    doing = ui.element("div")
    config = tab.site.config

    async def draw() -> None:
        now = tab.site.place.clock()
        pauses, facts = await tab.look(paused.list_), await overview_for(tab)
        if pauses is None or facts is None:
            return
        resting, known = set(pauses), {one.name: one for one in facts.entities}
        rows = [
            [words(name), words(_terms(entity.when)), when(known[name].last_pass), when(_next(name, entity, known[name].last_pass, now)),
             _paused(("entity", name) in resting or ("all", "") in resting)]
            for name, entity in config.entities.items()
        ]  # fmt: skip
        plan.set_content(section("When", table("Schedules", ("entity", "when", "read whole", "due next", "state"), rows)))
        doing.clear()
        with doing:
            markup(
                "<h2>Pause and resume</h2><p class=quiet>A paused system is written nothing; what is due waits, and nothing is lost.</p>"
            )
            _switch("Everything", EVERYTHING, ("all", "") in resting)
            for name in config.entities:
                _switch(f"{name} in all systems", [("entity", name)], ("entity", name) in resting)
            for name, system in config.systems.items():
                _switch(name, [("system", name)], ("system", name) in resting, fixed=system.paused)

    def _switch(said: str, targets: list[tuple[str, str]], rests: bool, *, fixed: bool = False) -> None:  # noqa: FBT001
        with line():
            markup(joined((f"{words(said)}", _paused(rests or fixed), quiet("by the configuration") if fixed else "")), tag="span")
            if tab.guest.may("operator"):
                word = "Resume" if rests else "Pause"
                button(word, lambda: turn(targets, not rests), about=f"{word} {said}")

    async def turn(targets: list[tuple[str, str]], pausing: bool) -> None:  # noqa: FBT001
        what = {"what": [name or kind for kind, name in targets]}
        done = await tab.decide(
            "operator",
            "pause" if pausing else "resume",
            what,
            lambda store: pause(store, targets, tab.site.place.clock(), pausing=pausing),
            locked=False,
        )
        if done is not None:
            tab.tell("Paused." if pausing else "Taken up again.", "calm")
        await draw()

    await draw()
    tab.live(draw)


async def alerts(tab: Tab) -> None:
    """What is wrong now."""
    tab.head("Alerts")
    body = markup("")

    async def draw() -> None:
        found = await tab.look(alert.list_)
        if found is not None:
            body.set_content(_alerts_html(found, tab.site.config.alerts.thresholds))

    await draw()
    tab.live(draw)


def _alerts_html(found: list[Alert], thresholds: Any) -> str:
    rows = [
        [
            pill("over", "good") if one.ended_at else pill("now", "bad"),
            words(one.rule),
            words(one.what),
            words(one.remedy),
            when(one.since),
            when(one.told_at),
        ]
        for one in found
    ]
    firing = (
        table("Alerts", ("state", "rule", "what", "what to do", "since", "told"), rows)
        if rows
        else '<p class="panel calm">Nothing is wrong.</p>'
    )
    rules = table(
        "Rules", ("rule", "from"), [[words(name), words("off" if one is None else f"{one:g}")] for name, one in sorted(thresholds.items())]
    )
    return firing + section("Rules", rules)


async def verification(tab: Tab) -> None:
    """Whether all systems hold what is agreed: the last comparison, and a new one."""
    tab.head("Verification")
    body = markup("")
    with line():
        if tab.guest.may("operator"):
            button("Compare now", lambda: compare(), kind="main")  # noqa: PLW0108  it is defined below

    async def draw() -> None:
        found = await tab.look(lambda db: _proofs(tab, db))
        if found is not None:
            body.set_content(_proofs_html(found))

    async def compare() -> None:
        tab.tell("Reading all systems …")
        found = await tab.run("operator", "verify", {}, lambda workspace: workspace.verify())
        if found is None:
            return
        rows = [
            [words(entity), words(system), side.rows, side.differ, side.missing, side.extra, side.waiting]
            for entity, part in found.entities.items()
            for system, side in part.systems.items()
        ]
        well = all(not (row[3] or row[4] or row[5]) for row in rows)
        tab.tell("All systems hold what is agreed." if well else "Some records are not as agreed.", "calm" if well else "heed")
        head = ("entity", "system", "rows", "differ", "missing", "extra", "waiting")
        body.set_content(section("Now", table("Now", head, rows)))

    await draw()


def _proofs(tab: Tab, db: Db) -> dict[str, Verified | None]:
    texts = {name: meta.get(db, VERIFIED + name) for name in tab.site.config.entities}
    return {name: None if text is None else verified_from(text) for name, text in texts.items()}


def _proofs_html(found: dict[str, Verified | None]) -> str:
    rows = []
    for name, proof in found.items():
        for system, counts in ({} if proof is None else proof.systems).items():
            rows.append(
                [
                    words(name),
                    words(system),
                    when(proof.at if proof else None),
                    *(counts.get(kind, 0) for kind in ("rows", "differ", "missing", "extra", "waiting")),
                ]
            )
    none = "Nothing was compared yet: `serve` does it once a day, and the button does it now."
    return section(
        "The last comparison",
        table("Comparison", ("entity", "system", "when", "rows", "differ", "missing", "extra", "waiting"), rows, none),
    )


def _terms(items: tuple[When, ...]) -> str:
    return ", ".join(_term(one) for one in items) or "only when somebody runs `trueup sync`"


def _term(one: When) -> str:
    if one.kind == "realtime":
        return "at once"
    if one.kind == "every":
        return f"every {duration(one.every_s)}"
    if one.kind == "cron":
        return f"cron {one.cron} ({one.timezone})"
    days = "" if len(one.days) in {0, 7} else " on " + ", ".join(DAYS[day] for day in one.days)
    return f"at {one.at}{days} ({one.timezone})"


def _next(name: str, entity: Any, met: datetime | None, now: datetime) -> datetime | None:
    del name
    due = [moment for term in terms_of(entity) if (moment := due_at(term, met, now)) is not None]
    return max(min(due), now) if due and (entity.when or is_realtime(entity)) else None


def _paused(rests: bool) -> str:  # noqa: FBT001
    return pill("paused", "warn") if rests else pill("on", "good")
