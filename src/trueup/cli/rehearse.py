"""`trueup rehearse`: the configuration at work on masked copies, before it is switched on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared import NO_ENTITIES, STATUS_EXITS, AsJson, ConfigFile, leave, only_looks, say, say_json, style, workspace_of


class WeatherName(StrEnum):
    """How bad the weather is."""

    calm = "calm"
    rough = "rough"
    storm = "storm"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rehearse", short_help="Try the configuration on masked copies.")(rehearse)


def rehearse(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    *,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=1, help="Copy at most so many records of each entity, with what they refer to.")
    ] = 10_000,
    everything: Annotated[bool, typer.Option("--all", help="Copy all records.", show_default=False)] = False,
    times: Annotated[int, typer.Option("--times", metavar="N", min=1, max=1000, help="Make so many of each record.")] = 1,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=0, max=100, help="Rounds of edits.")] = 3,
    weather: Annotated[
        WeatherName, typer.Option("--weather", help="How often calls go wrong: never, one in 6, one in 3.")
    ] = WeatherName.rough,
    script: Annotated[
        Path | None,
        typer.Option(
            "--script",
            metavar="FILE",
            help="What people do, instead of a script drawn from the configuration.",
            show_default=False,
            dir_okay=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Another number, other records and other troubles.")] = 1,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write the report as one HTML file.", show_default=False, dir_okay=False),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FOLDER", help="Keep the masked copies and their state there.", show_default=False, file_okay=False),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Try the configuration on masked copies of the systems, in bad weather, and say what would have happened.

    The systems are only read, and nothing is written to them, to the state, or to anybody. The copies are in memory, with every value
    masked, and forgotten at the end. Exit status 0: all is well; 3: something needs a person before this is switched on; 4: a guard would
    hold the first run.
    """
    from trueup.cli.files import write_page
    from trueup.cli.progress import bars_for
    from trueup.errors import UsageError
    from trueup.reports.rehearsal_facts import rehearsal_dict
    from trueup.reports.rehearsal_page import rehearsal_page
    from trueup.reports.rehearsal_text import rehearsal_text
    from trueup.setup.rehearsal.copies import Amount
    from trueup.setup.rehearsal.keeping import check_place
    from trueup.setup.rehearsal.rehearse import Wish
    from trueup.setup.rehearsal.rehearse import rehearse as play
    from trueup.setup.rehearsal.script_file import read_script

    only_looks("nothing real was written, and the copies are forgotten")
    with workspace_of(ctx, config) as workspace:
        if not workspace.config.entities:
            raise UsageError(NO_ENTITIES)
        if keep is not None:
            check_place(keep)
        if html is not None and not html.absolute().parent.is_dir():  # said before, not after all the work
            raise UsageError(f"the report cannot be written to {html}: there is no such folder", hint="name a file in a folder that exists")
        told = read_script(script, workspace.config) if script is not None else None
        amount = Amount(None if everything else rows, times)
        wish = Wish(amount, rounds=rounds, seed=seed, weather=weather.value, script=told, keep=keep)
        with bars_for(dict) as tick:
            found = play(workspace.config, wish, tick)
    if html is not None:
        write_page(html, rehearsal_page(found))
    if as_json:
        say_json(rehearsal_dict(found))
    else:
        say(rehearsal_text(found, style()))
        if html is not None:
            say(f"The report is in {html}.")
        if keep is not None:
            say(f"The masked copies and their state are in {keep}.")
    leave(STATUS_EXITS[found.status])
