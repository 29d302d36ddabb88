"""`trueup status`: how things stand."""

from __future__ import annotations

import typer

from trueup.cli.shared import AsJson, ConfigFile, say, say_json, style, workspace_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", short_help="How things stand.")(status)


def status(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show how things stand: records, links, what waits and for whom, and how old the last complete pass is. Asks no system."""
    with workspace_of(ctx, config, connects=False) as workspace:
        standing = workspace.status()
    if as_json:
        say_json(standing.as_json())
    else:
        say(standing.as_text(style()))
