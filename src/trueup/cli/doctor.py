"""`trueup doctor`: what is wrong with this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared import NEEDS_PERSON, AsJson, ConfigFile, all_loaded, config_path, leave, say, say_json, style


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", short_help="What is wrong with this installation.")(doctor)


def doctor(
    ctx: typer.Context,
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE.zip",
            help="Also write a file for support: no value of a record and no secret is in it.",
            show_default=False,
            dir_okay=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this installation, the most harmful first, each with what to do about it. Changes nothing.

    Looks at the program, the configuration, rights of files, disks and the state with what waits in it, and asks every system to answer.
    Status 3 means that something is to be mended; notes alone do not.
    """
    from trueup.runtime.bundle import write_bundle
    from trueup.runtime.doctor import diagnose

    path = config_path(ctx, config)
    all_loaded()
    found = diagnose(path)
    if bundle is not None:
        write_bundle(bundle, found, path)
    if as_json:
        say_json(found.as_json())
    else:
        say(found.as_text(style()))
        if bundle is not None:
            say(f"The bundle is {bundle}: read it before you send it.")
    leave(0 if found.well else NEEDS_PERSON)
