"""`trueup matches`: rows that nobody but a person can place."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, config_path, looked, say, say_json, state_to_read, style, workspace_of

matches = typer.Typer(rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(matches, name="matches", short_help="Rows that might be one of several records.")


@matches.callback(invoke_without_command=True)
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the rows that are parked: they might be one of several records, a duplicate, or another record under an old key."""
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.reports.queues import SHOWN, Parked, matches_list, matches_text
    from trueup.runtime.parking import parked_rows

    found: list[Parked] = []
    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        if store is not None:
            looked(workspace)
            with store.read() as db:
                found = parked_rows(db, workspace.config, described=0 if as_json else SHOWN)
    if as_json:
        say_json(matches_list(found))
    else:
        say(matches_text(found, style()) or "No row is parked.")


@matches.command("link", short_help="Say which record a row is.")
def link(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="Its number, as `trueup matches` shows it.", show_default=False)],
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="RECORD", help="It is this record: its number, or SYSTEM:KEY of one of its rows.", show_default=False),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="It is a record of its own.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say which record a parked row is. The next `sync` links it."""
    from trueup.errors import UsageError
    from trueup.reports.queues import placed_dict, placed_text
    from trueup.runtime.parking import place_row
    from trueup.store import Store

    if (to is not None) == new:
        raise UsageError("say either --to RECORD or --new", hint="`trueup matches` shows the records that a row may be")
    with (
        workspace_of(ctx, config, connects=False) as workspace,
        Store.open(workspace.state_target, create=False) as store,
        store.lock("matches link", now=workspace.clock()),
    ):
        done = place_row(workspace, store, number, to, workspace.clock())
    if as_json:
        say_json(placed_dict(done))
    else:
        say(placed_text(done))


@matches.command("unlink", short_help="Take a row from its record.")
def unlink(
    ctx: typer.Context,
    row: Annotated[str, typer.Argument(metavar="SYSTEM:KEY", help="The row.", show_default=False)],
    *,
    entity: Annotated[
        str | None, typer.Option("--entity", metavar="ENTITY", help="Its entity, where several have such a row.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a row from its record. It is parked, and nothing is written to it, until `matches link` says where it belongs."""
    from trueup.reports.queues import placed_dict, unlinked_text
    from trueup.runtime.parking import unlink_row
    from trueup.store import Store

    with (
        workspace_of(ctx, config, connects=False) as workspace,
        Store.open(workspace.state_target, create=False) as store,
        store.lock("matches unlink", now=workspace.clock()),
    ):
        done = unlink_row(store, workspace.config, row, entity, workspace.clock())
    if as_json:
        say_json(placed_dict(done))
    else:
        say(unlinked_text(done))
