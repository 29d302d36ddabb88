"""`trueup profile`: what the systems hold, column by column, and what would clean it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import (
    COULD_NOT,
    NEEDS_PERSON,
    AsJson,
    ConfigFile,
    complain,
    leave,
    looked,
    only_looks,
    say,
    say_json,
    style,
    workspace_of,
)

Tick = Callable[[str, str, int], None]

if TYPE_CHECKING:
    from trueup.reports.profile_facts import ProfileReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile", short_help="What the systems hold, column by column, and what would clean it.")(profile)


def profile(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ENTITY|SYSTEM|NAME=ADDRESS",
            help="Entities or systems of the configuration (left out: all that is mapped), or systems by their addresses.",
            show_default=False,
        ),
    ] = None,
    *,
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", help="Look at the first N rows of each object only.", show_default=False, min=1)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write the report as one HTML file with plots.", show_default=False, dir_okay=False
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what the systems hold, column by column: kinds, formats, gaps, duplicates, outliers, dirt, and steps that would clean it.

    Only reads. With addresses (`shop=shop.db list=customers.csv`, as for `trueup init`) no configuration is needed. Of an entity, the
    mapped columns are read; of a system that is named, all that it holds.
    """
    from trueup.cli.files import write_page
    from trueup.cli.progress import bars_for
    from trueup.errors import UsageError
    from trueup.reports.profile_page import profile_page
    from trueup.reports.profile_text import profile_text

    given = names or []
    addresses = [name for name in given if "=" in name]
    if addresses and len(addresses) < len(given):
        other = next(name for name in given if "=" not in name)
        raise UsageError(f"`{other}` is no address", hint="name either entities and systems of a configuration, or NAME=ADDRESS alone")
    if addresses and config is not None:
        raise UsageError("addresses need no configuration", hint="leave -c out, or name systems that it has")
    with bars_for(dict) as tick:
        report = _of_addresses(addresses, rows, tick) if addresses else _of_configuration(ctx, config, given, rows, tick)
    if html is not None:
        write_page(html, profile_page(report))
    if as_json:
        from trueup.reports.profile_facts import profile_dict

        say_json(profile_dict(report))
    else:
        say(profile_text(report, style()))
        if html is not None:
            say(f"\nThe report is in {html}.")
    for system in report.systems.values():
        for what, why in system.left_out.items():
            complain(f"left out: {system.name}: {what}: {why}")
        if system.error is not None and not system.left_out:
            complain(f"left out: {system.name}: {system.error}")
    leave(0 if report.complete else COULD_NOT if report.nothing else NEEDS_PERSON)


def _of_configuration(ctx: typer.Context, config: Path | None, names: list[str], rows: int | None, tick: Tick | None) -> ProfileReport:
    from trueup.reports.profile_facts import SystemProfile
    from trueup.setup.profile.measure import measure
    from trueup.setup.profile.places import mapped_places

    only_looks()
    with workspace_of(ctx, config) as workspace:
        found: dict[str, SystemProfile] = {}
        places = mapped_places(workspace.config, workspace.systems, names, found)
        looked(workspace)
        return measure(places, found, workspace.clock(), most_rows=rows, tick=tick)


def _of_addresses(texts: list[str], rows: int | None, tick: Tick | None) -> ProfileReport:
    """What stands at addresses. One that cannot be reached is noted, and harms no other."""
    from contextlib import ExitStack
    from datetime import UTC, datetime

    from trueup.connectors.registry import connector_class
    from trueup.errors import TrueupError
    from trueup.reports.profile_facts import SystemProfile
    from trueup.setup.addresses import read_addresses
    from trueup.setup.profile.measure import measure
    from trueup.setup.profile.places import Place, places_in

    found: dict[str, SystemProfile] = {}
    places: list[Place] = []
    with ExitStack() as opened:
        for item in read_addresses(texts):
            found[item.name] = system = SystemProfile(item.name, item.connector)
            try:
                connector = connector_class(item.connector).open(item.name, item.settings, directory=str(Path.cwd()))
                opened.callback(connector.close)
                places += places_in(system, connector)
            except TrueupError as error:
                system.error = error.message
        return measure(places, found, datetime.now(UTC), most_rows=rows, tick=tick)
