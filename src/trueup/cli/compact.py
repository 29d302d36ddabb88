"""`trueup compact`: take out of the state what is only for looking back, and old."""

from __future__ import annotations

import typer

from trueup.cli.shared import AsJson, ConfigFile, say, say_json, state_to_change, workspace_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compact", short_help="Take old history out of the state.")(compact)


def compact(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Take out what `retention:` says is too old or too much, and give the space back. A run does the former by itself, once a day.

    The line that tells why a value is what it is stays, however old. A run of which lines were taken out cannot be undone any more.
    """
    from trueup.errors import UsageError
    from trueup.reports.table import counted
    from trueup.runtime.compaction import compact as run
    from trueup.store.retention import shrink

    with workspace_of(ctx, config, connects=False) as workspace:
        rules = workspace.config.retention
        if not rules:
            raise UsageError(
                "everything is kept: the configuration says nothing about `retention:`", hint="for example retention: {history: 400d}"
            )
        now = workspace.clock()
        with state_to_change(workspace) as store, store.lock("compact", now=now):
            removed = run(store, rules, now)
            freed = shrink(store)
    if as_json:
        say_json({"lines": removed.lines, "runs": removed.runs, "conflicts": removed.conflicts, "freed_bytes": freed})
        return
    parts = (counted(removed.lines, "line"), counted(removed.runs, "run"), counted(removed.conflicts, "settled conflict"))
    say(f"Taken out: {parts[0]} of history, {parts[1]}, {parts[2]}" + (f"; {freed:,} bytes given back." if freed else "."))
