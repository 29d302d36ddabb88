"""Runs: as they go, those that are over, and one of them down to each value."""

from __future__ import annotations

from typing import Any

import orjson

from trueup.reports.runs import attention
from trueup.reports.story_words import KINDS, rule_words
from trueup.reports.table import duration
from trueup.reports.undone import undone_text
from trueup.store import listing, run
from trueup.web.dashboard.markup import joined, link, pill, quiet, section, table, value, when, words
from trueup.web.dashboard.overview import STATUS
from trueup.web.dashboard.tab import Field, Tab, button, line, markup
from trueup.web.desk.place import WAIT_S

LINES = 50


async def runs(tab: Tab) -> None:
    """The newest ones first, a page at a time; live as long as the first page is looked at."""
    tab.head("Runs")
    with line():
        status = Field("Which", "", choices={"": "all", **{name: said for name, (said, _) in STATUS.items()}}, entered=lambda: draw())  # noqa: PLW0108  it is defined below
    body = markup("")
    with line():
        newest = button("Newest", lambda: draw())  # noqa: PLW0108  it is defined below
        older = button("Older", lambda: draw(at["last"]), key="n")
    at: dict[str, int | None] = {"last": None, "before": None}

    async def draw(before: int | None = None) -> None:
        found = await tab.look(lambda db: listing.some_runs(db, before=before, status=status.value or None))
        if found is None:
            return
        at["before"], at["last"] = before, found[-1].id if len(found) == listing.PAGE else None
        rows = [
            [
                link(str(one.id), "runs", one.id),
                words(one.command),
                when(one.started_at),
                duration(one.seconds),
                words(one.who or ""),
                pill(*STATUS.get(one.status, (one.status, ""))),
            ]
            for one in found
        ]
        body.set_content(table("Runs", ("run", "what", "began", "took", "asked by", "how"), rows, "There are none."))
        newest.set_visibility(before is not None)
        older.set_visibility(at["last"] is not None)

    async def again() -> None:
        if at["before"] is None:
            await draw()

    await draw()
    tab.live(again)


async def one_run(tab: Tab, number: str) -> None:  # noqa: C901  one page, and what can be done on it
    """One run: its counts, what it needs, and every value that it changed, with the reason."""
    if not number.isdigit() or len(number) > 18:
        tab.head("No such run")
        return
    wanted = int(number)
    tab.head(f"Run {wanted}")
    body = markup("")
    undoing = line()
    lines = markup("")
    with line():
        more = button("More", lambda: go_on(), key="n")  # noqa: PLW0108  it is defined below
    at = {"after": 0}

    async def draw() -> None:
        found = await tab.look(lambda db: run.get(db, wanted))
        if found is None:
            tab.tell(f"There is no run {wanted}.", "heed")
            return
        body.set_content(_run_html(found))
        await go_on(0)

    async def go_on(after: int | None = None) -> None:
        start = at["after"] if after is None else after
        frame = await tab.look(lambda db: listing.lines_of_run(db, wanted, after=start, limit=LINES))
        if frame is None:
            return
        rows = [_line(row) for row in frame.iter_rows(named=True)]
        full = frame.height == LINES
        at["after"] = int(frame["id"][-1]) if full else 0
        none = "No value was changed by it; a record that was only created has no line."
        lines.set_content(
            section("What changed", table("What changed", ("record", "field", "what", "by", "before", "after", "why"), rows, none))
        )
        more.set_visibility(full)

    async def preview() -> None:
        what = {"run": wanted, "plan": True}
        found = await tab.run("operator", "undo", what, lambda workspace: workspace.undo(wanted, plan=True))
        if found is None:
            return
        undoing.clear()
        with undoing:
            markup("".join(f"<p>{words(one)}</p>" for one in undone_text(found[0], planned=True).splitlines()), "panel")
            if found[0].anything:
                button("Undo it", undo, kind="main danger")
            button("Leave it", offer)

    async def undo() -> None:
        done = await tab.run("operator", "undo", {"run": wanted}, lambda workspace: workspace.undo(wanted, wait_s=WAIT_S))
        if done is not None:
            tab.tell(undone_text(done[0]), "heed" if done[0].refused else "calm")
        offer()

    def offer() -> None:
        undoing.clear()
        if tab.guest.may("operator"):
            with undoing:
                button("Undo this run …", preview)

    offer()
    await draw()
    tab.live(draw_if_running(draw, tab, wanted))


def draw_if_running(draw: Any, tab: Tab, wanted: int) -> Any:
    """A run that is over does not change any more."""
    state = {"over": False}

    async def again() -> None:
        if state["over"]:
            return
        found = await tab.look(lambda db: run.get(db, wanted))
        state["over"] = found is not None and found.status != "running"
        await draw()

    return again


def _run_html(found: run.Run) -> str:
    said: dict[str, Any] = orjson.loads(found.summary) if found.summary else {}
    status = pill(*STATUS.get(found.status, (found.status, "")))
    head = joined(
        (
            status,
            words(found.command),
            quiet("began"),
            when(found.started_at),
            quiet("took"),
            duration(found.seconds),
            quiet(words(found.who or "")),
        )
    )
    needs = [f"<li>{words(one)}</li>" for one in attention(said)] if said else []
    parts = [f"<p>{head}</p>"]
    if found.error:
        parts.append(f'<p class="panel bad-news">{words(found.error)}</p>')
    if needs:
        parts.append(f'<div class="panel heed"><strong>It leaves something to do.</strong><ul>{"".join(needs)}</ul></div>')
    for name, entity in said.get("entities", {}).items():
        rows = [
            [words(system), *(part["observed"].get(kind, 0) for kind in ("read", "created", "updated", "deleted", "rejected")),
             *(part["delivered"].get(kind, 0) for kind in ("created", "updated", "deleted", "failed", "pending"))]
            for system, part in entity.get("systems", {}).items()
        ]  # fmt: skip
        head_row = ("system", "read", "new", "changed", "gone", "rejected", "created", "updated", "deleted", "failed", "waiting")
        parts.append(section(f"{name}: {entity['golden']['total']:,} records", table(name, head_row, rows)))
    return "".join(parts)


def _line(row: dict[str, Any]) -> list[Any]:
    def shown(cell: str | None) -> Any:
        return "" if cell is None else value(orjson.loads(cell))

    return [
        link(f"{row['entity']} {row['gid']}", "records", row["entity"], row["gid"]),
        words(row["field"] or "(record)"),
        words(KINDS.get(row["kind"], row["kind"])),
        words(row["system"] or "a person"),
        shown(row["before"]),
        shown(row["after"]),
        words(rule_words(row["rule"], row["system"])),
    ]
