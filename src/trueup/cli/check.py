"""`trueup check`: does the configuration fit what is really there?"""

from __future__ import annotations

import typer

from trueup.cli.shared import (
    COULD_NOT,
    AsJson,
    ConfigFile,
    begin_command,
    complain,
    config_path,
    leave,
    looked,
    only_looks,
    say,
    say_json,
    style,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", short_help="Compare the configuration with the systems.")(check)


def check(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Read the configuration, connect to every system, compare the mappings with what is there, show some rows. Changes nothing.

    Problems stop a sync, or a part of it, and end with status 1; warnings and notes do not.
    """
    from trueup.errors import ConfigError
    from trueup.reports.findings import problems_json
    from trueup.reports.table import counted
    from trueup.runtime.workspace import open_workspace

    only_looks()
    path = config_path(ctx, config)
    try:
        workspace = open_workspace(path)
    except ConfigError as error:
        if not as_json:
            raise
        say_json({"ok": False, "problems": problems_json(error.problems), "warnings": [], "notes": [], "systems": {}, "samples": []})
        leave(COULD_NOT)
        return
    with workspace:
        begin_command(ctx, workspace.config)
        looked(workspace)
        findings = workspace.check()
    if as_json:
        say_json(findings.as_json())
    else:
        say(findings.as_text(style()).lstrip("\n"))
        if not findings.ok:
            complain(f"{counted(len(findings.problems), 'problem')} in {path}: mend and check again")
    leave(0 if findings.ok else COULD_NOT)
