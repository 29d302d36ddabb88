"""`trueup notices`: who is told of changes, what could not be told, and a person's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import (
    COULD_NOT,
    NEEDS_PERSON,
    AsJson,
    ConfigFile,
    config_path,
    leave,
    looked,
    say,
    say_json,
    state_to_change,
    state_to_read,
    style,
    workspace_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from trueup.runtime.workspace import Workspace
    from trueup.store import Db

notices = typer.Typer(rich_markup_mode=None)

To = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only to these subscribers; left out: all.", show_default=False)]
One = Annotated[str, typer.Argument(metavar="NAME", help="The subscriber, as `notices` of the configuration names it.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(notices, name="notices", short_help="Who is told of changes, and what could not be told.")


@notices.callback(invoke_without_command=True)
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List who is told of changes of golden records (`notices` of the configuration), and how far each of them has been told."""
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.reports.notice_words import subscribers_text
    from trueup.runtime.notices.standing import standing_of

    with workspace_of(ctx, config) as workspace, state_to_read(workspace) as store:
        found = standing_of(store, workspace.config)
    if as_json:
        say_json(found)
    else:
        say(subscribers_text(found, style()) or "Nobody is told of changes: the configuration has no `notices`.")


@notices.command("dead", short_help="What was given up.")
def dead(ctx: typer.Context, names: To = None, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the notices that were tried in vain for as long as `give_up` says. `resend` sends them again, `drop` forgets them.

    Where a record changes again, the notice of that tells of the earlier change as well, and takes its place.
    """
    from trueup.reports.notice_words import dead_text
    from trueup.runtime.notices.standing import dead_of

    with workspace_of(ctx, config) as workspace, state_to_read(workspace) as store:
        _known(names, workspace)
        found: list[dict[str, Any]] = []
        if store is not None:
            looked(workspace)
            found = dead_of(store, names)
    if as_json:
        say_json(found)
    else:
        say(dead_text(found, style()) or "No notice was given up.")


@notices.command("resend", short_help="Send what was given up once more.")
def resend(
    ctx: typer.Context,
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Which; left out: all.", show_default=False)] = None,
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Try notices that were given up again, as if for the first time: by `trueup serve` at once, or by the next `trueup notices send`."""
    from trueup.reports.table import counted
    from trueup.store import audit, notice

    with workspace_of(ctx, config, connects=False) as workspace, state_to_change(workspace) as store, store.write() as tx:
        wanted = _given_up(tx, ids)
        notice.again(tx, wanted, workspace.clock())
        audit.tell(tx, "decision", {"about": "notices", "resend": wanted}, at=workspace.clock())
    if as_json:
        say_json({"resend": wanted})
    else:
        say(f"{counted(len(wanted), 'notice')} will be sent again.")


@notices.command("drop", short_help="Forget what was given up.")
def drop(
    ctx: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID", help="Which notices.", show_default=False)],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Forget notices that were given up: the subscriber hears of these records when they change again."""
    from trueup.reports.table import counted
    from trueup.store import audit, notice

    with workspace_of(ctx, config, connects=False) as workspace, state_to_change(workspace) as store, store.write() as tx:
        wanted = _given_up(tx, ids)
        notice.drop(tx, wanted)
        audit.tell(tx, "decision", {"about": "notices", "drop": wanted}, at=workspace.clock())
    if as_json:
        say_json({"dropped": wanted})
    else:
        say(f"Forgot {counted(len(wanted), 'notice')}.")


@notices.command("stop", short_help="Tell a subscriber nothing for now.")
def stop(ctx: typer.Context, name: One, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Tell a subscriber nothing until `start`; nothing is lost meanwhile."""
    _stop(ctx, config, name, stopped=True, as_json=as_json)


@notices.command("start", short_help="Go on telling a subscriber.")
def start(ctx: typer.Context, name: One, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Go on telling a subscriber from where it stood: after `stop`, after its receiver answered 410, or at once after failures."""
    _stop(ctx, config, name, stopped=False, as_json=as_json)


@notices.command("test", short_help="Send a message that says nothing.")
def try_(ctx: typer.Context, names: To = None, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Send everybody a signed message of type `trueup.test`, and say what became of it. Exit status 1 where one did not arrive."""
    from trueup.runtime.notices.standing import tested

    with workspace_of(ctx, config) as workspace:
        _known(names, workspace)
        found = {name: tested(workspace.config.notices[name], workspace.clock()) for name in names or workspace.config.notices}
    if as_json:
        say_json({name: {"sent": why is None, "why": why} for name, why in found.items()})
    else:
        for name, why in found.items():
            say(f"{name}: {'arrived' if why is None else 'NOT SENT: ' + why}")
    leave(COULD_NOT if any(why is not None for why in found.values()) else 0)


@notices.command("send", short_help="Send what is due now, once.")
def send(ctx: typer.Context, names: To = None, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Send what is due now, and end: for installations that run `trueup sync` by a schedule of their own, without `trueup serve`.

    It begins subscriptions that are new. Exit status 3 where a subscriber was not told everything.
    """
    from trueup.reports.notice_words import sent_text
    from trueup.runtime.notices.standing import send_all

    with workspace_of(ctx, config) as workspace:
        _known(names, workspace)
        with state_to_change(workspace) as store:
            found = send_all(store, workspace.config, names, workspace.clock)
    if as_json:
        say_json(found)
    else:
        say(sent_text(found))
    leave(NEEDS_PERSON if any(one["waiting"] or one["due"] or one["dead"] or one["stopped"] for one in found.values()) else 0)


def _stop(ctx: typer.Context, config: Any, name: str, *, stopped: bool, as_json: bool) -> None:
    from trueup.errors import UsageError
    from trueup.store import audit, notice

    with workspace_of(ctx, config) as workspace:
        _known([name], workspace)
        with state_to_change(workspace) as store, store.write() as tx:
            if notice.get(tx, name) is None:
                raise UsageError(f"{name} was never told anything yet", hint="it begins with the next start of `trueup serve`")
            notice.stop(tx, name, "a person stopped it" if stopped else None, workspace.clock())
            audit.tell(tx, "decision", {"about": "notices", ("stop" if stopped else "start"): name}, at=workspace.clock())
    if as_json:
        say_json({"name": name, "stopped": stopped})
    else:
        say(f"{name} is told {'nothing until `trueup notices start ' + name + '`' if stopped else 'what waits, and goes on being told'}.")


def _given_up(db: Db, ids: list[int] | None) -> list[int]:
    """The ids, once each; None: all that were given up. Raises UsageError for one that was not; nothing is done then."""
    from trueup.errors import UsageError
    from trueup.store import notice

    known = [one.id for one in notice.dead(db) if one.id is not None]
    unknown = [str(number) for number in ids or () if number not in known]
    if unknown:
        raise UsageError(f"no notice {', '.join(unknown)} was given up", hint="`trueup notices dead` lists them")
    return known if ids is None else list(dict.fromkeys(ids))


def _known(names: Collection[str] | None, workspace: Workspace) -> None:
    from trueup.errors import UsageError

    known = workspace.config.notices
    for name in names or ():
        if name not in known:
            hint = f"configured: {', '.join(known)}" if known else "the configuration has no `notices`"
            raise UsageError(f"nobody is named {name!r} under `notices`", hint=hint)
