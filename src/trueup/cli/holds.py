"""`trueup holds`: what a guard stopped, and a person's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import AsJson, ConfigFile, config_path, say, say_json, state_to_change, state_to_read, style, workspace_of

if TYPE_CHECKING:
    import polars as pl

    from trueup.store.hold import Decision

holds = typer.Typer(rich_markup_mode=None)

HoldId = Annotated[int, typer.Argument(metavar="ID", help="The hold's number, as `trueup holds` shows it.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(holds, name="holds", short_help="What a guard stopped.")


@holds.callback(invoke_without_command=True)
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List what a guard stopped: so many deletes or updates at once that a person should look first."""
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.reports.waiting import holds_text
    from trueup.store import hold

    with workspace_of(ctx, config, connects=False) as workspace:
        rows: list[dict[str, Any]] = []
        with state_to_read(workspace) as store:
            if store is not None:
                with store.read() as db:
                    rows = _rows(hold.of(db, decided=False))
    if as_json:
        say_json(rows)
    else:
        say(holds_text(rows, style()) or "Nothing is held.")


@holds.command("approve", short_help="Let it happen.")
def approve(ctx: typer.Context, number: HoldId, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Approve a hold: the next `sync` looks again, and lets up to the counted number pass."""
    _decide(ctx, config, number, "approved", as_json=as_json)


@holds.command("refuse", short_help="Put back what it would have changed.")
def refuse(ctx: typer.Context, number: HoldId, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Refuse a hold: the next `sync` does not believe those edits or deletes, and restores the rows in that system."""
    _decide(ctx, config, number, "refused", as_json=as_json)


@holds.command("leave", short_help="Let both sides keep what they have.")
def leave(ctx: typer.Context, number: HoldId, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Leave both sides of a hold as they are: the next `sync` tells nobody of those edits or deletes, and restores nothing.

    They are counted as apart, until one side is edited again: that edit counts as any other.
    """
    _decide(ctx, config, number, "left", as_json=as_json)


def _decide(ctx: typer.Context, config: Any, number: int, decision: Decision, *, as_json: bool) -> None:
    from trueup.runtime.deciding import decide_hold

    with workspace_of(ctx, config, connects=False) as workspace, state_to_change(workspace) as store:
        found = decide_hold(store, number, decision, workspace.clock())
    ceiling = found["ceiling"]
    if as_json:
        say_json({"id": number, "decision": decision, "ceiling": ceiling})
        return
    place = f"{found['entity']} in {found['system']}"
    if decision == "approved":
        say(f"Approved: the next `trueup sync` lets up to {ceiling:,} {found['kind']} of {place} pass.")
    elif decision == "refused":
        say(f"Refused: the next `trueup sync` restores what {place} would have changed.")
    else:
        say(f"Left: the next `trueup sync` tells nobody of these {found['kind']} of {place}, and restores nothing there.")


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Holds in their public form."""
    import orjson

    return [
        {
            "id": row["id"],
            "entity": row["entity"],
            "system": row["system"],
            "kind": row["kind"],
            "counts": orjson.loads(row["counts"]),
            "limit": orjson.loads(row["limit_"]),
            "since": row["since"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for row in frame.iter_rows(named=True)
    ]
