"""`trueup audit`: who did what and when, and the proof that nobody changed the record of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.cli.shared import (
    LARGEST,
    NEEDS_PERSON,
    AsJson,
    ConfigFile,
    config_path,
    known_state,
    leave,
    looked,
    say,
    say_json,
    state_to_read,
    style,
    workspace_of,
)

audit = typer.Typer(rich_markup_mode=None)

SHOWN_LINES = 50
NotedHead = Annotated[
    str | None,
    typer.Option("--head", metavar="HEAD", help="A head noted before, from a report: it must still be in the trail.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(audit, name="audit", short_help="Who did what and when.")


@audit.callback(invoke_without_command=True)
def list_(
    ctx: typer.Context,
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", metavar="KIND", help="Only command, configuration, run, decision, sending, sent or package.", show_default=False
        ),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="USER", help="Only of this user.", show_default=False)] = None,
    run: Annotated[int | None, typer.Option("--run", metavar="N", help="Only of this run.", show_default=False)] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From this day or moment on (UTC).", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most the newest N lines.")] = SHOWN_LINES,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the audit trail, newest first: commands, decisions, changed configurations, and what left for which system.

    It holds fields and counts, never values.
    """
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.errors import UsageError
    from trueup.reports.trail import chosen, trail_text
    from trueup.store.audit import KINDS, lines

    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}", hint=f"kinds: {', '.join(KINDS)}")
    start = None if since is None else _moment(since)
    found: list[dict[str, Any]] = []
    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        if store is not None:
            with store.read() as db:
                told = (line.told | {"hash": line.hash} for line in lines(db, newest_first=True))
                found = chosen(told, kind=kind, user=user, since=start, run=run, limit=min(limit, LARGEST))
    if as_json:
        say_json(found)
    else:
        say(trail_text(found, style()) or "The audit trail has no such lines.")


@audit.command("verify", short_help="Prove that no line was changed.")
def verify(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="An exported file; left out: the trail in the state.", show_default=False, dir_okay=False),
    ] = None,
    *,
    head: NotedHead = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Walk the audit trail from its first line: is every line what it was when it was written, and none missing?

    Says the first line that was changed, removed or put in (status 3). That the end was cut off, or that everything was made anew, only a
    head proves that somebody noted before: reports end with it. An exported file is checked by itself: no configuration is needed.
    """
    from trueup.core.chain import read_head
    from trueup.errors import UsageError
    from trueup.reports.trail import verdict_dict, verdict_text
    from trueup.runtime.audit_file import examine_file, examine_state

    noted = None if head is None else read_head(head)
    if head is not None and noted is None:
        raise UsageError("--head takes a head as reports show it", hint="NUMBER:HASH, or the 64 digits of the hash alone")
    if file is not None:
        verdict, place = examine_file(file, noted), str(file)
    else:
        with workspace_of(ctx, config, connects=False) as workspace, known_state(workspace) as store, store.read() as db:
            verdict, place = examine_state(db, noted), "The audit trail"
    if as_json:
        say_json(verdict_dict(verdict))
    else:
        say(verdict_text(verdict, place, noted=noted is not None))
    leave(0 if verdict.flaw is None else NEEDS_PERSON)


@audit.command("export", short_help="Write the trail into a file.")
def export_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to.", show_default=False, dir_okay=False)],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the audit trail into a file of JSON Lines, which `trueup audit verify FILE` checks by itself."""
    from trueup.reports.table import counted
    from trueup.runtime.audit_file import export

    with workspace_of(ctx, config, connects=False) as workspace, known_state(workspace) as store:
        looked(workspace)
        with store.read() as db:
            end = export(db, file, workspace.clock())
    if as_json:
        say_json({"file": str(file), "lines": end.number, "head": str(end)})
    else:
        say(f"Wrote {counted(end.number or 0, 'line')} to {file}.\nHead: {end}")


def _moment(text: str) -> str:
    """A moment as the trail writes it. Raises UsageError for text that is none."""
    from datetime import UTC, datetime

    from trueup.errors import UsageError

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text} is neither a day nor a moment", hint="for example 2031-05-17 or 2031-05-17T08:30:00Z") from error
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
