"""`trueup migrate`: make one system the source of truth of an entity, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import NEEDS_PERSON, AsJson, ConfigFile, complain, leave, looked, say, say_json, style, workspace_of

if TYPE_CHECKING:
    from trueup.runtime.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate", short_help="Make one system the source of truth.")(migrate)


def migrate(  # noqa: PLR0913 - one per option
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="Whose records.", show_default=False)],
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="SYSTEM", help="The system that becomes the source of truth.", show_default=False)
    ] = None,
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The last stage of this call.")] = "plan",
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="STAGE", help="Go on past what this stage found; may be given again.", show_default=False),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Only show how far it is.", show_default=False)] = False,
    back: Annotated[bool, typer.Option("--back", help="Take all of it back.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make one system the source of truth of an entity, in stages: profile, duplicates, standardise, plan, move, verify, lock.

    Each stage is kept with counts and checksums. The first four only read, and end at what would be written; `--until lock` goes to the
    end. It stops where a person has to see to something, and goes on there when it is called again, also after it was killed. Exit
    status 3 where it stopped, 4 where a guard holds the move.
    """
    from trueup.cli.progress import progress
    from trueup.errors import UsageError
    from trueup.reports.migration_facts import progress_dict, progress_text
    from trueup.setup.migrate import migrate as go_on
    from trueup.setup.migrate import standing

    if status and back:
        raise UsageError("say --status or --back, not both")
    with workspace_of(ctx, config) as workspace:
        looked(workspace)
        if back:
            leave(_back(workspace, entity, as_json=as_json))
            return
        if status:
            found = standing(workspace, entity, to)
        else:
            with progress(workspace) as tick:
                found = go_on(workspace, entity, to, until=until, accept=accept or (), tick=tick)
    if as_json:
        say_json(progress_dict(found))
    else:
        say(progress_text(found, style()))
    leave(found.status)


def _back(workspace: Workspace, entity: str, *, as_json: bool) -> int:
    """Take it back; the exit status."""
    from trueup.cli.progress import progress
    from trueup.reports.migration_facts import returned_dict, returned_text
    from trueup.setup.migrate import back

    with progress(workspace) as tick:
        returned = back(workspace, entity, tick)
    if as_json:
        say_json(returned_dict(returned))
    else:
        say(returned_text(returned, style()))
    if not returned.whole:
        complain("not everything is as it was before the migration: what was edited since stays")
    return 0 if returned.whole else NEEDS_PERSON
