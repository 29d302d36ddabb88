"""`trueup undo`: put back what a run changed."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import COULD_NOT, STATUS_EXITS, AsJson, ConfigFile, complain, leave, looked, say, say_json, style, workspace_of

NEEDS_A_PERSON = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("undo", short_help="Put back what a run changed.")(undo)


def undo(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    run: Annotated[int, typer.Argument(metavar="RUN", min=1, help="Its number, as `trueup runs` shows it.", show_default=False)],
    *,
    record: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--record", metavar="ENTITY KEY", help="Only this record: KEY is SYSTEM:KEY or a record's number.", show_default=False
        ),
    ] = None,
    field: Annotated[str | None, typer.Option("--field", metavar="FIELD", help="Only this field.", show_default=False)] = None,
    planned: Annotated[bool, typer.Option("--plan", help="Show what would be put back, and change nothing.", show_default=False)] = False,
    every_change: Annotated[
        bool, typer.Option("--all", help="With --plan: show every change, not only the first 100.", show_default=False)
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=0, metavar="S", help="Wait up to S seconds for another process on this state.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put back what a run changed: values as they were before it, deleted records made again, rows that it created taken out.

    What somebody has edited since stays, and is listed with the reason; the rest is done. Counters get the opposite difference. A run that
    undoes is a run itself, which can be undone.
    """
    from trueup.cli.progress import progress
    from trueup.reports.runs import changes_text, planned_total, run_text
    from trueup.reports.undone import undone_dict, undone_text
    from trueup.runtime.summaries import SHOWN_CHANGES, summary_dict

    with workspace_of(ctx, config) as workspace, progress(workspace) as tick:
        looked(workspace)
        undone, result = workspace.undo(run, record=record, field=field, plan=planned, every_change=every_change, wait_s=wait, tick=tick)
    if result is not None and result.status == "failed":
        complain(result.error or "no entity could be looked at")
        leave(COULD_NOT)
    body = summary_dict(result, shown_changes=None if every_change else SHOWN_CHANGES) if result is not None else {}
    if as_json:
        say_json({"undo": undone_dict(undone), **body})
    else:
        shape = style()
        say(undone_text(undone, shape, planned=planned))
        if result is not None and undone.anything:
            say(f"\n{run_text(body, shape)}")
            if planned and (changes := changes_text(body["changes"], planned_total(body), shape)):
                say(f"\n{changes}")
    if result is not None and result.error:
        complain(result.error)
    if planned:
        return
    status = STATUS_EXITS[result.status] if result is not None else 0
    leave(status or (NEEDS_A_PERSON if undone.refused else 0))
