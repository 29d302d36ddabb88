"""`trueup sync`: one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from trueup.cli.shared import COULD_NOT, STATUS_EXITS, AsJson, ConfigFile, Entities, complain, leave, say, say_json, style, workspace_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sync", short_help="Bring all systems into agreement.")(sync)


def sync(
    ctx: typer.Context,
    entities: Entities = None,
    *,
    full: Annotated[bool, typer.Option("--full", help="Read every system completely, cursors or not.", show_default=False)] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, metavar="N", help="At most N deliveries per system; the rest waits.", show_default=False)
    ] = None,
    record: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--record", metavar="ENTITY KEY", help="Only this record: KEY is SYSTEM:KEY or a record's number.", show_default=False
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=0, metavar="S", help="Wait up to S seconds for another process on this state.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring all systems into agreement: read, settle, write what is missing to each.

    Paused systems are read, but nothing is delivered to them. Running it again never does anything twice.
    """
    from trueup.cli.progress import progress
    from trueup.errors import UsageError
    from trueup.reports.runs import run_text
    from trueup.reports.trail import head_dict
    from trueup.runtime.summaries import summary_dict

    if record and entities:
        raise UsageError("--record names its entity itself", hint="leave the other entities out")
    with workspace_of(ctx, config) as workspace:
        with progress(workspace) as tick:
            result = workspace.sync(entities or (), full=full, limit=limit, record=record, wait_s=wait, tick=tick)
        body = summary_dict(result) | {"audit": head_dict(workspace.end_of_trail())}
    if record and not any(_seen(part) for entity in body["entities"].values() for part in entity["systems"].values()):
        raise UsageError(f"there is no row {record[1]} of {record[0]}", hint="give SYSTEM:KEY as the system has it, or a record's number")
    if as_json:
        say_json(body)
    elif result.status != "failed":
        say(run_text(body, style()))
    if result.status == "failed":
        complain(result.error or "no entity could be synced")
        leave(COULD_NOT)
    if result.error:
        complain(result.error)
    leave(STATUS_EXITS[result.status])


def _seen(part: Mapping[str, Any]) -> bool:
    """Whether a system showed, missed or failed to show what was asked for."""
    return bool(part["observed"]["read"] or part["observed"]["deleted"] or part.get("error"))
