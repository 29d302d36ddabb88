"""The file as it would be, the lines that differ, what is wrong with it, and what the first run would do: before anything is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from trueup.errors import UsageError
from trueup.runtime.summaries import summary_dict
from trueup.web.dashboard.letting_in import ask_secret
from trueup.web.dashboard.markup import joined, pill, quiet, section, table, value, words
from trueup.web.dashboard.tab import Field, Tab, button, line, markup
from trueup.web.desk.changing import save
from trueup.web.desk.printed import DRIFT

if TYPE_CHECKING:
    from trueup.errors import Problem
    from trueup.model import RunSummary
    from trueup.web.desk.draft import Preview

SHOWN = 50
KINDS = {"create": "new", "update": "changed", "delete": "taken out"}


async def preview(tab: Tab) -> None:  # noqa: C901, PLR0915  one page, and what can be done on it
    """Look ahead at once; then type, look again, save."""
    draft = tab.site.place.draft
    text = await tab.work("admin", lambda _user: draft.text())
    if text is None:
        with line():
            button("Back to the systems", lambda: ui.navigate.to("/project/systems"), kind="main")
        return
    body = ui.element("div")
    with ui.element("details"):
        markup("The file itself", tag="summary")
        box = Field("trueup.yaml, as it is to be", text, kind="text of a file")
        with line():
            button("Look at what would come of this", lambda: again())  # noqa: PLW0108  they are defined below
            button("Forget what was typed", lambda: forget())  # noqa: PLW0108

    async def again() -> None:
        await tab.work("admin", lambda _user: draft.type(box.value))
        box.keep()
        await look()

    async def forget() -> None:
        found = await tab.work("admin", lambda _user: draft.forget())
        if found is not None:
            box.value = found
            box.keep()
            await look()

    async def look() -> None:
        missing = await tab.work("admin", lambda _user: draft.missing_secrets())
        if missing:
            body.clear()
            with body:
                markup(f'<p class="panel heed">{words("The file names secrets that are not kept yet: type them in.")}</p>')
                for secret in missing:
                    ask_secret(tab, secret, secret, look)
            return
        tab.tell("Reading all systems; nothing is written …")
        found = await tab.work("admin", lambda _user: draft.look_ahead())
        body.clear()
        if found is None:
            return
        tab.tell("")
        with body:
            markup(_found_html(found))
            with line():
                if found.plan is not None and found.diff:
                    button("Save it", keep, kind="main")
                if found.plan is not None:
                    markup(
                        f'<a class="button" target="_blank" rel="noopener" href="{DRIFT}">How far they disagree, as a report</a>',
                        tag="span",
                    )
            markup(_diff_html(found))

    async def keep() -> None:
        begins, looked = draft.begins, draft.preview

        def act(user: Any) -> bool:
            if looked is None or draft.preview is not looked:
                raise UsageError("something was changed since you looked", hint="look again, and save then")
            with draft.turn:
                save(tab.site.place, user, looked.before, looked.text)
                draft.saved()
            return True

        if await tab.work("admin", act) is not None:
            tab.tell("Saved." if begins else "Saved, and taken up.", "calm")
            ui.navigate.to("/project/begin")

    await look()


def _found_html(found: Preview) -> str:
    parts = []
    for said, kind, problems in (
        ("This has to be mended first", "bad-news", found.findings.problems),
        ("This will surprise somebody", "heed", found.findings.warnings),
    ):
        if problems:
            items = "".join(f"<li>{_problem(one)}</li>" for one in problems[:SHOWN])
            parts.append(f'<div class="panel {kind}"><strong>{said}</strong><ul>{items}</ul></div>')
    if found.findings.notes:
        items = "".join(f"<li>{_problem(one)}</li>" for one in found.findings.notes[:SHOWN])
        parts.append(f"<details><summary>Good to know</summary><ul>{items}</ul></details>")
    if found.plan is not None:
        parts.append(planned_html(found.plan))
    return "".join(parts)


def _problem(one: Problem) -> str:
    return f"{words(str(one))}{quiet(f' – {one.hint}') if one.hint else ''}"


def planned_html(plan: RunSummary) -> str:
    """What a run would do: how much of what in each system, and the first changes, value by value."""
    said = summary_dict(plan, shown_changes=SHOWN)
    parts = []
    if plan.error:
        parts.append(f'<p class="panel bad-news">{words(plan.error)}</p>')
    total = 0
    for name, entity in said["entities"].items():
        rows = []
        for system, part in entity["systems"].items():
            would = part["delivered"]
            total += would["created"] + would["updated"] + would["deleted"]
            seen = part["observed"]
            cells = [seen["read"], would["created"], would["updated"], would["deleted"], seen["rejected"]]
            rows.append([words(system), *cells, words(part.get("error", ""))])
        golden, opened = entity["golden"], entity["conflicts"]["opened"]
        told = f"{name}: {golden['total']:,} records would be agreed; {opened:,} wait for a person to decide"
        head = ("system", "rows read", "would be added", "would be changed", "would be taken out", "cannot be read", "")
        parts.append(section(told, table(name, head, rows)))
    calm = "Nothing would be written: the systems agree." if not total else f"{total:,} rows would be written, and none has been."
    parts.append(f'<p class="panel{" calm" if not total else ""}">{words(calm)}</p>')
    if said.get("changes"):
        rows = [
            [
                words(one["system"]),
                words(one["entity"]),
                value(one["key"]) if one["key"] is not None else "–",
                KINDS.get(one["kind"], one["kind"]),
                _fields(one["fields"]),
            ]
            for one in said["changes"]
        ]
        parts.append(section("The first of them", table("Changes", ("system", "of", "row", "what", "values"), rows)))
    return "".join(parts)


def _fields(fields: dict[str, list[Any]]) -> str:
    shown = [joined((quiet(words(name)), value(before), "→", value(after))) for name, (before, after) in fields.items() if before != after]
    return joined(shown, "<br>")


def _diff_html(found: Preview) -> str:
    if not found.diff:
        return section("The file", '<p class="quiet">It stays as it is.</p>')
    lines = "\n".join(str(words(one)) for one in found.diff.splitlines())
    new = pill("a new file", "good") if not found.before else ""
    return section("The lines that would change", str(new), f'<pre class="diff" tabindex="0">{lines}</pre>')
