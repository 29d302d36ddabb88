"""`trueup runs` and `trueup run N`: the past runs, and one in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import LARGEST, AsJson, ConfigFile, say, say_json, state_to_read, style, workspace_of

if TYPE_CHECKING:
    from trueup.store.run import Run

SHOWN_RUNS = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("runs", short_help="The past runs.")(runs)
    app.command("run", short_help="One run in detail.")(run)


def runs(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="The newest N runs.")] = SHOWN_RUNS,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the past runs, newest first: how each ended, and how long it took."""
    from trueup.reports.runs import runs_text
    from trueup.store import run as run_table

    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        found: list[Run] = []
        if store is not None:
            with store.read() as db:
                found = run_table.list_(db, min(limit, LARGEST))
    rows = [_row(one) for one in found]
    if as_json:
        say_json(rows)
    else:
        say(runs_text(rows, style()) or "No runs yet: `trueup sync` makes the first.")


def run(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="N", help="The run's number, as `trueup runs` shows it.", show_default=False)],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one run in detail, as `sync` reported it."""
    from trueup.errors import UsageError
    from trueup.reports.runs import run_text
    from trueup.reports.trail import head_dict, with_head
    from trueup.store import audit
    from trueup.store import run as run_table

    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        found = head = None
        if store is not None:
            with store.read() as db:
                found = run_table.get(db, number) if abs(number) <= LARGEST else None
                head = audit.head(db)
    if found is None:
        raise UsageError(f"there is no run {number}", hint="`trueup runs` lists them")
    body = _row(found) | {"entities": {}} | _summary(found) | {"status": found.status, "audit": head_dict(head)}
    if as_json:
        say_json(body)
        return
    text = run_text(body, style())
    say(with_head(f"{text}\n\nError: {found.error}" if found.error else text, head))


def _row(one: Run) -> dict[str, Any]:
    """A run's public form in the list; `entities` are the names of those that took part."""
    row: dict[str, Any] = {
        "run": one.id,
        "status": one.status,
        "started_at": one.started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": None if one.seconds is None else round(one.seconds, 3),
        "entities": list(_summary(one).get("entities", {})),
        "command": one.command,
    }
    return row | ({"error": one.error} if one.error else {})


def _summary(one: Run) -> dict[str, Any]:
    import orjson

    return dict(orjson.loads(one.summary)) if one.summary else {}
