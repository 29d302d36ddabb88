"""The overview: whether the systems agree, what needs a person, and how it went lately."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trueup.reports.chart import bars
from trueup.reports.page import Safe
from trueup.reports.table import duration
from trueup.web.dashboard.flow import flow_map
from trueup.web.dashboard.markup import counted, joined, link, number, pill, quiet, section, table, when, words
from trueup.web.dashboard.overview_facts import Overview, overview_of
from trueup.web.dashboard.tab import NOTHING_YET, Tab, markup

if TYPE_CHECKING:
    from trueup.store import Db
    from trueup.store.listing import RunLine
    from trueup.web.dashboard.overview_facts import EntityAgreement

STATUS = {
    "running": ("running", ""), "done": ("done", "good"), "partial": ("needs a person", "warn"), "held": ("held", "warn"),
    "failed": ("could not run", "bad"),
}  # fmt: skip


async def overview(tab: Tab) -> None:
    """Show it, and keep it up to date."""
    tab.head("Overview")
    body = markup("")

    async def draw() -> None:
        found = await overview_for(tab)
        body.set_content(
            f'<p class="panel">{words(NOTHING_YET)}</p>' if found is None else overview_html(found, sets_up=tab.guest.may("admin"))
        )

    await draw()
    tab.live(draw)


async def overview_for(tab: Tab) -> Overview | None:
    """What the overview shows, looked at once for all who ask while nothing happens; None where the state cannot be read, which is told."""
    return await tab.shared("overview", partial(_look, tab))


def _look(tab: Tab, db: Db) -> Overview:
    site = tab.site
    return overview_of(db, site.config, site.place.store.shown, site.place.clock())


def overview_html(found: Overview, *, sets_up: bool = True) -> str:
    """The page, from its facts. `sets_up`: whether the one who looks may set up the project."""
    if not found.standing.synced or found.standing.last_run is None:
        way = f"<p>{link('Set up this project', 'project')}</p>" if sets_up else ""
        return f'<div class="panel"><p>{words(NOTHING_YET)}</p>{way}</div>'
    return "".join(
        (
            _state(found),
            flow_map(found.systems, sum(one.records for one in found.entities)),
            section(
                "Agreement",
                table("Agreement", ("entity", "records", "agree", "read whole", "last proof"), [_agreement(one) for one in found.entities]),
            ),
            section(
                "Lately", table("The last runs", ("run", "what", "began", "took", "how"), [_run(one) for one in found.runs]), _charts(found)
            ),
        )
    )


def _state(found: Overview) -> str:
    """Calm, or what is the matter."""
    if found.calm:
        many = len(found.systems)
        all_ = "Both" if many == 2 else f"All {many}"
        return f'<div class="panel calm"><strong>{all_} systems agree.</strong> Nothing needs you.</div>'
    lines = [f"<li>{_need(need.what, need.number, need.page)}</li>" for need in found.needs]
    lines += [f"<li>{words(one.what)} {quiet(words(one.remedy))}</li>" for one in found.alerts]
    lines += [] if lines else [f"<li>{words(f'{one.name}: ' + ', '.join(one.notes))}</li>" for one in found.systems if one.health != "good"]
    return f'<div class="panel heed"><strong>Something needs a person.</strong><ul>{"".join(lines)}</ul></div>'


def _need(what: str, count: int, page: tuple[str, ...]) -> Safe:
    said = Safe(f"{number(count)} {words(what)}") if count else words(what)
    return link(said, *page) if page else said


def _agreement(one: EntityAgreement) -> list[object]:
    share = "100 %" if not one.apart else f"{min(one.share, 0.9999):.2%}".replace("%", " %")
    agree = joined(
        (pill(share, "good" if not one.apart else "warn"), counted(one.apart, "record waits", "records wait") if one.apart else "")
    )
    proof: Safe = quiet("not verified yet")
    if one.proof is not None:
        differing = sum(one.proof.differing.values())
        proof = joined((when(one.proof.at), pill("no difference", "good") if not differing else pill(f"{differing:,} differ", "bad")))
    last = joined((when(one.last_pass), pill("late", "bad") if one.late else ""))
    return [link(one.name, "records", one.name), number(one.records), agree, last, proof]


def _run(one: RunLine) -> list[object]:
    said, kind = STATUS.get(one.status, (one.status, ""))
    return [link(str(one.id), "runs", one.id), words(one.command), when(one.started_at), duration(one.seconds), pill(said, kind)]


def _charts(found: Overview) -> str:
    days = [day.day[5:] for day in found.days]
    drawn = (
        ("Runs a day", bars("Runs a day", days, [day.ended for day in found.days])),
        ("Runs that need a look", bars("Runs that need a look", days, [day.unwell for day in found.days], "bad")),
        (
            "How long a run takes, in ms",
            bars("How long a run takes, in ms", days, [None if day.seconds is None else round(day.seconds * 1000) for day in found.days]),
        ),
        ("New conflicts", bars("New conflicts", days, [day.conflicts for day in found.days])),
    )
    return f'<div class="charts">{"".join(f"<figure><figcaption>{said}</figcaption>{drawing}</figure>" for said, drawing in drawn)}</div>'
