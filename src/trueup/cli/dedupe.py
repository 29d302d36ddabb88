"""`trueup dedupe`: records that are the same, within a system and across systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, looked, say, say_json, style, workspace_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dedupe", short_help="Find records that are the same.")(dedupe)


def dedupe(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="The kind of record.", show_default=False)],
    *,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="NAME", help="Only records with a row in this system.", show_default=False),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="P", help="From this probability on records are made one without asking.")
    ] = 0.99,
    review: Annotated[float, typer.Option("--review", metavar="P", help="From this probability on a person is asked.")] = 0.5,
    applied: Annotated[
        bool, typer.Option("--apply", help="Make each group one record, and put the rest among `trueup matches`.", show_default=False)
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write the report as one HTML file.", show_default=False, dir_okay=False),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Find records that are the same, say why, and what would stand. Without --apply nothing is changed.

    Which fields say how much is learned from the records themselves. With --apply each group becomes one record in the state; the next
    `trueup sync` tells the systems. No row is deleted: a second one in the same system is parked.
    """
    from trueup.cli.files import write_page
    from trueup.cli.progress import progress
    from trueup.reports.dedupe_facts import duplicates_dict
    from trueup.reports.dedupe_page import duplicates_page
    from trueup.reports.dedupe_text import duplicates_text
    from trueup.setup.dedupe import Wanted, apply, plan

    wanted = Wanted(entity, system, threshold, review)
    with workspace_of(ctx, config) as workspace, progress(workspace) as tick:
        looked(workspace)
        found = (apply if applied else plan)(workspace, wanted, tick)
    if html is not None:
        write_page(html, duplicates_page(found))
    if as_json:
        say_json(duplicates_dict(found))
        return
    say(duplicates_text(found, style()))
    if html is not None:
        say(f"The report is in {html}.")
