"""`trueup alerts`: the rules, what fires now, whether messages arrive, and which thresholds would suit."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import COULD_NOT, AsJson, ConfigFile, config_path, leave, say, say_json, state_to_read, style, workspace_of

alerts = typer.Typer(rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(alerts, name="alerts", short_help="Who is told of which troubles, and what fires now.")


@alerts.callback(invoke_without_command=True)
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the rules with their thresholds, and what fires now, as `trueup serve` last saw it."""
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.reports.alert_words import alert_json, alerts_text, rules_json
    from trueup.store import alert
    from trueup.store.alert import Alert

    with workspace_of(ctx, config, connects=False) as workspace:
        settings = workspace.config.alerts
        firing: list[Alert] = []
        with state_to_read(workspace) as store:
            if store is not None:
                with store.read() as db:
                    firing = alert.list_(db)
    if as_json:
        now = [alert_json(one) for one in firing if one.ended_at is None]
        say_json({"rules": rules_json(settings), "to": list(settings.to), "firing": now})
    else:
        say(alerts_text(settings, firing, style()))


@alerts.command("test", short_help="Send a message to everybody who would be told.")
def try_(
    ctx: typer.Context,
    to: Annotated[
        list[str] | None, typer.Argument(metavar="OWNER", help="Only to these, as named under `to`; left out: to all.", show_default=False)
    ] = None,
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send a message to everybody who would be told of troubles, and say what became of it. Exit status 1 where one could not be sent."""
    from trueup.errors import UsageError
    from trueup.runtime.channels import send, shown

    with workspace_of(ctx, config, connects=False) as workspace:
        known, place = workspace.config.alerts.to, workspace.config.file
    if not known:
        raise UsageError("nobody would be told", hint="add `alerts: {to: {default: ADDRESS}}` to the configuration")
    for name in to or ():
        if name not in known:
            raise UsageError(f"nobody is named {name!r} under `alerts: to`", hint=f"configured: {', '.join(known)}")
    body = f"This is a test: alerts reach you.\n\n-- {place}"
    found = {name: send(known[name], "trueup: a test", body, "info") for name in to or known}
    if as_json:
        say_json({name: {"sent": sent.why is None, "why": sent.why} for name, sent in found.items()})
    else:
        for name, sent in found.items():
            channels = ", ".join(shown(address) for address in known[name])
            say(f"{name} ({channels}): {'sent' if sent.why is None else 'NOT SENT: ' + sent.why}")
    leave(COULD_NOT if any(sent.why is not None for sent in found.values()) else 0)


@alerts.command("suggest", short_help="Propose thresholds from the history.")
def suggest(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Propose thresholds that the runs and conflicts so far would have kept quiet on ordinary days; changes nothing."""
    from trueup.reports.alert_words import suggestions_text
    from trueup.runtime.suggesting import suggested

    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        found = [] if store is None else suggested(store, workspace.config, workspace.clock())
    if as_json:
        say_json([{"rule": one.rule, "now": one.now, "proposed": one.proposed, "why": one.why} for one in found])
    else:
        say(suggestions_text(found, style()))
