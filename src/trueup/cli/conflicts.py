"""`trueup conflicts`: the review queue, and a person's word about it."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import (
    STATUS_EXITS,
    AsJson,
    ConfigFile,
    config_path,
    leave,
    looked,
    say,
    say_json,
    state_to_read,
    style,
    workspace_of,
)

conflicts = typer.Typer(rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(conflicts, name="conflicts", short_help="The review queue.")


@conflicts.callback(invoke_without_command=True)
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the values on which systems differ and that a person must settle, and changes that a `hold_if` stopped."""
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.reports.queues import conflicts_text
    from trueup.reports.record_facts import OpenConflict, conflict_dict
    from trueup.runtime.resolve import open_conflicts

    found: list[OpenConflict] = []
    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        if store is not None:
            looked(workspace)
            with store.read() as db:
                found = open_conflicts(db, workspace.config)
    if as_json:
        say_json([conflict_dict(item) for item in found])
    else:
        say(conflicts_text(found, style()) or "There is nothing to settle.")


@conflicts.command("resolve", short_help="Settle one.")
def resolve(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="Its number, as `trueup conflicts` shows it.", show_default=False)],
    *,
    take: Annotated[str | None, typer.Option("--take", metavar="SYSTEM", help="Take what this system says.", show_default=False)] = None,
    value: Annotated[str | None, typer.Option("--value", metavar="VALUE", help="Take this value.", show_default=False)] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Take no value at all (null).", show_default=False)] = False,
    sync_now: Annotated[bool, typer.Option("--sync", help="Deliver at once, with a run over this record.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Settle a conflict: take a system's value (for a held change: accept it), or give one. The next `sync` delivers it."""
    from trueup.errors import UsageError
    from trueup.reports.queues import settled_dict, settled_text
    from trueup.runtime.resolve import take_system, take_value
    from trueup.store import Store

    if sum((take is not None, value is not None, empty)) != 1:
        raise UsageError(
            "say either --take SYSTEM, or --value VALUE, or --empty", hint=f"for example: trueup conflicts resolve {number} --take crm"
        )
    with workspace_of(ctx, config, connects=sync_now) as workspace:
        with Store.open(workspace.state_target, create=False) as store, store.lock("conflicts resolve", now=workspace.clock()):
            now = workspace.clock()
            if take is not None:
                done = take_system(store, workspace.config, number, take, now)
            else:
                done = take_value(store, workspace.config, number, value, now)
        result = workspace.sync(record=(done.entity, str(done.record))) if sync_now else None
    if as_json:
        say_json(settled_dict(done, result))
    else:
        say(settled_text(done, result))
    leave(STATUS_EXITS[result.status] if result is not None else 0)
