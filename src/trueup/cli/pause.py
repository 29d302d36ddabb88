"""`trueup pause` and `trueup resume`: stop and restart deliveries and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, say, say_json, workspace_of

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Systems or entities.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="Everything.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pause", short_help="Stop deliveries to a system, or of an entity.")(pause)
    app.command("resume", short_help="Take deliveries up again.")(resume)


def pause(
    ctx: typer.Context, names: Names = None, *, everything: Everything = False, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Stop schedules and deliveries: of systems, of entities, or of everything.

    A paused system is written nothing; a typed `sync` still reads it and counts what waits for it. Nothing is lost: `resume`, then
    `sync`, delivers it.
    """
    _change(ctx, config, names, everything=everything, pausing=True, as_json=as_json)


def resume(
    ctx: typer.Context, names: Names = None, *, everything: Everything = False, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Take up what was paused; `--all` takes up everything that was ever paused by command.

    What `paused: true` in the configuration says stays until it is changed there.
    """
    _change(ctx, config, names, everything=everything, pausing=False, as_json=as_json)


def _change(ctx: typer.Context, config: Path | None, names: list[str] | None, *, everything: bool, pausing: bool, as_json: bool) -> None:
    from trueup.errors import UsageError
    from trueup.runtime import deciding

    if everything == bool(names):
        raise UsageError(f"say what to {'pause' if pausing else 'resume'}: systems or entities by name, or --all, not both")
    with workspace_of(ctx, config, connects=False) as workspace:
        targets = (
            deciding.EVERYTHING if everything else deciding.targets_of(names or [], workspace.config.systems, workspace.config.entities)
        )
        # What is paused before the first sync is paused for it: the state is made here if it must be.
        left = deciding.pause(workspace.store, targets, workspace.clock(), pausing=pausing)
        by_hand = [name for name, system in workspace.config.systems.items() if system.paused]
    if as_json:
        say_json({"paused": [{"kind": kind, "name": name} for kind, name in left]})
        return
    shown = ", ".join("everything" if kind == "all" else f"{kind} {name}" for kind, name in left)
    say(f"Paused: {shown}." if left else "Nothing is paused.")
    if by_hand and not pausing:
        say(f"Paused in the configuration, and so until it is changed there: {', '.join(by_hand)}.")
