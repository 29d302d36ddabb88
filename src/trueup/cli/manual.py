"""`trueup manual`: what people do by hand: what is due, that it was done, and what it costs."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, config_path, say, say_json, state_to_read, style, workspace_of

_STEP = re.compile(r"[0-9]{1,4} ?= ?[0-9]{1,6}(\.[0-9]{1,4})?", re.ASCII)
manual = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(manual, name="manual", short_help="What is done by hand: due, done, and what it costs.")


@manual.callback()
def root(ctx: typer.Context, *, config: ConfigFile = None) -> None:
    """Keep track of what people do by hand, as the configuration's `manual:` describes it."""
    config_path(ctx, config)


@manual.command("due", short_help="What is due.")
def due_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the manual processes: which are due now, with their steps, and when the others will be."""
    from trueup.reports.by_hand_facts import due_dict, due_text
    from trueup.runtime.by_hand import due
    from trueup.store import by_hand

    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        last = {}
        if store is not None:
            with store.read() as db:
                last = by_hand.last(db)
        found = due(workspace.config, last, workspace.clock())
    if as_json:
        say_json([due_dict(one) for one in found])
    elif not found:
        say("Nothing is done by hand here: describe it under `manual:` in the configuration.")
    else:
        say(due_text(found, style()))


@manual.command("done", short_help="Note that one was carried out.")
def done_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The process, as `trueup manual due` shows it.", show_default=False)],
    *,
    minutes: Annotated[float | None, typer.Option("--minutes", metavar="N", help="How long it took in all.", show_default=False)] = None,
    step: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="N=MINUTES", help="How long one step took; may be given for several.", show_default=False),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="What whoever does it next should know.", show_default=False)
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="WHEN", help="When it was: 2h (ago), 2026-11-20T17:00; left out: now.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Note that a manual process was carried out, and how long it took. The next time is reckoned from it."""
    from trueup.cli.files import moment_of
    from trueup.reports.by_hand_facts import due_dict, minutes_text
    from trueup.reports.table import moment, second, visible
    from trueup.runtime.by_hand import done, due
    from trueup.store import Store, by_hand, identity

    with workspace_of(ctx, config, connects=False) as workspace:
        settings, now = workspace.config, workspace.clock()
        process = settings.manual.get(name)
        was_at = None if at is None else moment_of(at, now, process.every.timezone if process else "UTC", "--at")
        took = _steps(step or [])
        _known(settings.manual, name)
        with Store.open(workspace.state_target) as store:
            with store.write() as tx:
                identity.ensure(tx)
            entry = done(store, settings, name, now=now, minutes=minutes, steps=took, note=note, at=was_at)
            with store.read() as db:
                last = by_hand.last(db)
        next_ = next(one for one in due(settings, last, now) if one.name == name)
    if as_json:
        body = {
            "process": name,
            "at": second(entry.at),
            "minutes": entry.minutes,
            "steps": entry.steps,
            "note": entry.note,
            "who": entry.who,
        }
        say_json(body | {"next": due_dict(next_)})
    else:
        took_words = f", {minutes_text(entry.minutes)}" if entry.minutes is not None else ""
        say(f"Noted: {visible(name)} was done at {moment(entry.at)}{took_words}. It is due again at {moment(next_.due_at)}.")


def _known(configured: object, name: str) -> None:
    """Raises UsageError for a process that is not configured, before any state is made."""
    from trueup.errors import UsageError

    assert isinstance(configured, dict)
    if name not in configured:
        known = ", ".join(configured) or "none: describe them under `manual:`"
        raise UsageError(f"there is no manual process {name!r}", hint=f"configured: {known}")


def _steps(given: list[str]) -> dict[int, float]:
    """Minutes by number of the step. Raises UsageError."""
    from trueup.errors import UsageError

    found: dict[int, float] = {}
    for text in given:
        if not _STEP.fullmatch(text.strip()):
            raise UsageError(f"--step {text}: this is no step and its minutes", hint="write --step 2=15 where step 2 took 15")
        number, _equals, minutes = text.partition("=")
        if int(number) in found:
            raise UsageError(f"step {int(number)} is given twice", hint="add its minutes up")
        found[int(number)] = float(minutes)
    return found


@manual.command("review", short_help="What it costs, and which steps are worth automating.")
def review_(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="From when on: 90d, 2026-10-01; left out: 30 days.", show_default=False)
    ] = None,
    worth: Annotated[
        float, typer.Option("--worth", min=0, metavar="MINUTES", help="Steps that take so long a month are worth automating.")
    ] = 60.0,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Look back, once a month: how often each process was done and how long it took, and which steps are worth automating.

    A step costs its minutes times how often it was done, reckoned for thirty days. Where only the whole was noted, it is shared out as the
    configuration expects of the steps; where nothing was, what is expected counts.
    """
    from trueup.cli.files import moment_of
    from trueup.reports.by_hand_facts import Review, review_dict, review_text
    from trueup.runtime.by_hand import review

    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        now = workspace.clock()
        start = None if since is None else moment_of(since, now, "UTC", "--since")
        found: Review | None = None
        if store is not None:
            with store.read() as db:
                found = review(workspace.config, db, now, since=start, worth_minutes=worth)
    if as_json:
        say_json(None if found is None else review_dict(found))
    elif found is None or not found.processes:
        say("Nothing was noted yet: `trueup manual done NAME --minutes N` does, each time.")
    else:
        say(review_text(found, style()))
