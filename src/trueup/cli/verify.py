"""`trueup verify`: proof that the systems agree, or where they do not."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import (
    COULD_NOT,
    NEEDS_PERSON,
    NO_ENTITIES,
    AsJson,
    ConfigFile,
    Entities,
    complain,
    end_of_trail,
    leave,
    looked,
    say,
    say_json,
    state_as_configured,
    style,
    workspace_of,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", short_help="Compare all systems with what is agreed.")(verify)


def verify(
    ctx: typer.Context,
    entities: Entities = None,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Look again at the rows that differ, as `sync` would, and compare once more.", show_default=False),
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare all systems with the agreed records now: by checksum, then row by row where they differ. Changes nothing without --repair."""
    from trueup.cli.progress import progress
    from trueup.reports.trail import head_dict, with_head
    from trueup.reports.verify_facts import verify_dict, verify_text
    from trueup.runtime.order import chosen
    from trueup.runtime.repair import verify_and_repair
    from trueup.runtime.verify import verify_systems

    with workspace_of(ctx, config) as workspace:
        names = chosen(workspace.config.entities, entities or ())
        looked(workspace)
        with state_as_configured(workspace) as store, progress(workspace) as tick:
            found, again = verify_systems(workspace.config, workspace.systems, store, names, tick)
        if repair:
            found = verify_and_repair(workspace, names, found, again)
        head = end_of_trail(workspace)
    if as_json:
        say_json(verify_dict(found) | {"audit": head_dict(head)})
    elif any(entity.systems for entity in found.entities.values()):
        say(with_head(verify_text(found, style()), head))
    if not any(entity.systems for entity in found.entities.values()):
        if not found.entities:
            complain(NO_ENTITIES)
        for name, entity in found.entities.items():
            complain(f"{name}: no system can be read: {'; '.join(entity.left_out.values())}")
        leave(COULD_NOT)
    leave(0 if found.agrees else NEEDS_PERSON)
