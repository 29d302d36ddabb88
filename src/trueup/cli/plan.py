"""`trueup plan`: what a sync would do."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import (
    COULD_NOT,
    AsJson,
    ConfigFile,
    Entities,
    complain,
    leave,
    looked,
    say,
    say_json,
    state_to_read,
    style,
    workspace_of,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", short_help="Show what a sync would do.")(plan)


def plan(
    ctx: typer.Context,
    entities: Entities = None,
    *,
    every_change: Annotated[bool, typer.Option("--all", help="Show every change, not only the first 100.", show_default=False)] = False,
    full: Annotated[bool, typer.Option("--full", help="Plan for `sync --full`.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what `sync` would do: counts, and the changes per system, field by field. Changes nothing anywhere."""
    from trueup.cli.progress import progress
    from trueup.reports.configured import configuration_text
    from trueup.reports.runs import attention, changes_text, planned_total, run_text
    from trueup.runtime.configured import configuration_changes
    from trueup.runtime.summaries import SHOWN_CHANGES, summary_dict

    with workspace_of(ctx, config) as workspace:
        with progress(workspace) as tick:
            result = workspace.plan(entities or (), full=full, every_change=every_change, tick=tick)
        with state_to_read(workspace) as store:
            if store is not None:
                with store.read() as db:
                    changed = configuration_changes(db, workspace.config, result.entities)
            else:
                changed = []
            if store is not None:
                looked(workspace)
        body = summary_dict(result, shown_changes=None if every_change else SHOWN_CHANGES)
        body["configuration"] = [item.as_json() for item in changed]
    if as_json:
        say_json(body)
    elif result.status != "failed":
        shape = style()
        say(run_text(body, shape))
        if changed:
            say(f"\n{configuration_text(body['configuration'], shape)}")
        changes = changes_text(body["changes"], planned_total(body), shape)
        quiet = "Nothing to write." if any(attention(body)) else "Nothing to write: the systems agree."
        say(f"\n{changes or quiet}")
    if result.error:
        complain(result.error)
    leave(COULD_NOT if result.status == "failed" else 0)
