"""`trueup report`: the morning report, in the terminal, as files, and sent to those who get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import (
    DONE,
    NEEDS_PERSON,
    AsJson,
    ConfigFile,
    complain,
    config_path,
    leave,
    looked,
    say,
    say_json,
    state_to_read,
    style,
    workspace_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.reports.morning_facts import Morning
    from trueup.reports.verify_facts import Agreement
    from trueup.runtime.reporting.making import Handed
    from trueup.runtime.reporting.sending import Posted
    from trueup.runtime.workspace import Workspace
    from trueup.store import Store

report = typer.Typer(rich_markup_mode=None)
SHOWN_REPORTS = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(report, name="report", short_help="What happened overnight, and what is to be done.")


@report.callback(invoke_without_command=True)
def morning(  # noqa: PLR0913  one per option
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Tell of what was since then: 24h, 3d, 2026-11-20, 2026-11-20T06:30. Left out: since the last report, else 24h.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write it as one page, to read on a phone or on paper.", show_default=False, dir_okay=False
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write its counts and lists as CSV.", show_default=False, dir_okay=False),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send it to those who get it (`report: to`), once for each hour that is due.", show_default=False)
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --send: also where that hour's report was sent already.", show_default=False)
    ] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare the systems now, or tell of the last comparison.")] = True,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all of it, also where nothing is to be done.", show_default=False)
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Report what moved, what differs and since when, and what waits for a person; one line where nothing is to be done.

    It ends with status 3 where something failed, is held, vanished or differs, or where somebody could not be sent the report. One that is
    written to a file or sent is the last report, from which on the next one tells; one that is only looked at is not.
    """
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.errors import UsageError

    if again and not send:
        raise UsageError("--again goes with --send", hint="`trueup report --send --again` sends one now, whatever was sent before")
    with workspace_of(ctx, config, connects=verify) as workspace:
        if send and workspace.config.report is None:
            raise UsageError(
                "nobody gets the report", hint='add `report: {at: "06:30", to: [default]}` and `alerts: {to: {default: ADDRESS}}`'
            )
        asked = _Asked(_since(since, workspace), html, csv, send, again, verify, everything, as_json)
        looked(workspace)
        status = _reported(workspace, asked)
    leave(status)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of the command."""

    since: datetime | None
    html: Path | None
    csv: Path | None
    send: bool
    again: bool
    verify: bool
    everything: bool
    as_json: bool

    @property
    def files(self) -> bool:
        """Whether files are to be written."""
        return self.html is not None or self.csv is not None


def _reported(workspace: Workspace, asked: _Asked) -> int:
    """Make the report, and hand it over as it was asked for; the exit status."""
    from trueup.errors import StateMissingError
    from trueup.runtime.reporting.gathering import since_when, unsynced
    from trueup.store import Store

    now = workspace.clock()
    try:
        store = Store.open(workspace.state_target, create=False) if asked.send or asked.files else _openly(workspace)
    except StateMissingError:
        made = unsynced(workspace.config, now, *since_when(None, now, asked.since))
        _write(made, asked)
        _show(made, [], asked)
        return DONE
    with store:
        due_at = _due_at(workspace, again=asked.again) if asked.send else None
        if due_at is not None and not asked.files and (done := _made_already(store, workspace, due_at, asked)) is not None:
            return done
        made, found = _made(workspace, store, asked)
        _write(made, asked)
        handed = _handed(workspace, store, made, found, asked, due_at)
        posted = _posted(workspace, store) if asked.send else []
    if handed is not None and not handed.fresh and not asked.as_json:
        complain("this hour's report was made already: that one is sent, to those who have not got it")
    _show(made, posted, asked)
    bounced = any(one.state != "sent" for one in posted)
    return NEEDS_PERSON if made.urgent or bounced else DONE


def _openly(workspace: Workspace) -> Store:
    """The state; where this user may only read it, what the report finds is not kept."""
    from trueup.errors import StateError, StateMissingError
    from trueup.store import Store

    try:
        return Store.open(workspace.state_target, create=False)
    except StateMissingError:
        raise
    except StateError:
        return Store.open(workspace.state_target, read_only=True)


def _made(workspace: Workspace, store: Store, asked: _Asked) -> tuple[Morning, Agreement | None]:
    """The report, and what the comparison for it found."""
    from trueup.cli.progress import progress
    from trueup.runtime.order import chosen
    from trueup.runtime.renames import with_new_names
    from trueup.runtime.reporting.making import make
    from trueup.runtime.verify import verify_systems

    found = None
    if asked.verify:
        with with_new_names(store, workspace.config) as named, progress(workspace) as tick:
            names = chosen(workspace.config.entities, ())
            found = verify_systems(workspace.config, workspace.systems, named, names, tick)[0]
    return make(store, workspace.config, workspace.clock(), found, since=asked.since), found


def _handed(
    workspace: Workspace, store: Store, made: Morning, found: Agreement | None, asked: _Asked, due_at: datetime | None
) -> Handed | None:
    """Keep the report where it goes to somebody; else only since when what differs does, where the state may be written."""
    from trueup.errors import StateError
    from trueup.runtime.reporting.making import hand_over, note

    if asked.send or asked.files:
        return hand_over(store, workspace.config, made, found, send=asked.send, due_at=due_at)
    if found is not None:
        try:
            note(store, made, found)
        except StateError as error:
            complain(f"not kept since when what differs does: {error}")
    return None


def _due_at(workspace: Workspace, *, again: bool) -> datetime | None:
    """The moment of the schedule that a report is to be sent for; None: for none, somebody wants one now."""
    from trueup.runtime.reporting.making import moment_due

    plan = workspace.config.report
    return None if again or plan is None or plan.due is None else moment_due(plan.due, workspace.clock())


def _made_already(store: Store, workspace: Workspace, due_at: datetime, asked: _Asked) -> int | None:
    """Where the report of this moment was made already: send it to those who have not got it; None where it was not made."""
    from trueup.reports.table import moment
    from trueup.runtime.reporting.sending import post
    from trueup.store import report as reports

    with store.read() as db:
        number = reports.made_for(db, due_at)
    if number is None:
        return None
    posted = post(store, workspace.config, workspace.clock, at_once=True)
    if asked.as_json:
        say_json({"report": number, "sent": [_posted_json(one) for one in posted]})
    else:
        say(f"The report due at {moment(due_at)} was made already (`trueup report sent`); --again sends one now.")
        _say_posted(posted)
    return NEEDS_PERSON if any(one.state != "sent" for one in posted) else DONE


def _posted(workspace: Workspace, store: Store) -> list[Posted]:
    from trueup.runtime.reporting.sending import post

    return post(store, workspace.config, workspace.clock, at_once=True)


def _show(made: Morning, posted: list[Posted], asked: _Asked) -> None:
    from trueup.reports.morning_facts import morning_dict
    from trueup.reports.morning_words import morning_text, needs_list

    if asked.as_json:
        say_json(morning_dict(made, needs_list(made)) | {"sent": [_posted_json(one) for one in posted]})
        return
    say(morning_text(made, style(), everything=asked.everything))
    if asked.files:
        say()
    if asked.html is not None:
        say(f"The page is in {asked.html}.")
    if asked.csv is not None:
        say(f"The lines are in {asked.csv}.")
    if posted:
        say()
        _say_posted(posted)


def _say_posted(posted: list[Posted]) -> None:
    from trueup.reports.table import moment

    for one in posted:
        if one.state == "sent":
            say(f"{one.to}: sent")
        else:
            later = f"; tried again after {moment(one.next_try_at)} by `trueup serve`, or by --send" if one.state == "waiting" else ""
            say(f"{one.to}: NOT SENT ({one.state}): {one.why}{later}")


def _posted_json(one: Posted) -> dict[str, object]:
    from trueup.reports.table import second

    return {"report": one.report, "to": one.to, "state": one.state, "why": one.why, "next_try_at": second(one.next_try_at)}


def _write(made: Morning, asked: _Asked) -> None:
    """Write the files, both or neither. Raises UsageError."""
    from trueup.cli.files import write_files
    from trueup.reports.morning_lines import morning_lines
    from trueup.reports.morning_page import morning_page

    files = {}
    if asked.html is not None:
        files[asked.html] = morning_page(made)
    if asked.csv is not None:
        files[asked.csv] = "\ufeff" + morning_lines(made)  # spreadsheets take a file without that mark for one of another encoding
    write_files(files)


def _since(text: str | None, workspace: Workspace) -> datetime | None:
    """The moment that a person names. Raises UsageError."""
    from trueup.cli.files import moment_of

    zone = workspace.config.report.timezone if workspace.config.report is not None else "UTC"
    return None if text is None else moment_of(text, workspace.clock(), zone, "--since")


@report.command("late", short_help="Whether the last one due reached everybody.")
def late(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say whether the report that was due has reached everybody; status 3 where it has not.

    It is late where the alert rule `report_late` says so: half an hour after its hour, unless told otherwise. Nothing is made or sent.
    For a timer of the operating system, where no `trueup serve` runs: what is wrong is said on stderr, that all is well on stdout.
    """
    from trueup.errors import UsageError
    from trueup.reports.table import second
    from trueup.runtime.reporting.late import late_by_itself

    with workspace_of(ctx, config, connects=False) as workspace:
        plan = workspace.config.report
        if plan is None or plan.due is None:
            raise UsageError("no report is due at any hour", hint='say when: `report: {at: "06:30", to: [default]}`')
        if workspace.config.alerts.thresholds.get("report_late") is None:
            raise UsageError("the rule `report_late` is off", hint="take it out of `alerts: {rules: …}`, or give it a time: 30m")
        with state_to_read(workspace) as store:
            found = None
            if store is not None:
                with store.read() as db:
                    found = late_by_itself(db, workspace.config, workspace.clock())
    if as_json:
        lacking = None if found is None or found.lacking is None else list(found.lacking)
        say_json({"late": found is not None, "since": None if found is None else second(found.since), "lacking": lacking})
    elif found is None:
        say("The report that was due has reached everybody, or none is due yet.")
    else:
        complain(f"{found.what}: {found.remedy}")
    leave(NEEDS_PERSON if found is not None else DONE)


@report.command("sent", short_help="Who got which report.")
def sent(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="The newest N reports.")] = SHOWN_REPORTS,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the reports that were handed over, the newest first, and what became of each copy."""
    from trueup.reports.table import moment, second, table
    from trueup.runtime.reporting.sending import name_of, recipients
    from trueup.store import report as reports

    with workspace_of(ctx, config, connects=False) as workspace, state_to_read(workspace) as store:
        kept: list[reports.Kept] = []
        copies: list[reports.Copy] = []
        if store is not None:
            with store.read() as db:
                kept = reports.list_(db, limit)
                copies = reports.copies_of(db, [one.id for one in kept])
        known = {key: to.shown for key, to in recipients(workspace.config).items()}
    if as_json:
        say_json(
            [
                {
                    "report": one.id,
                    "at": second(one.at),
                    "since": second(one.since),
                    "due_at": second(one.due_at),
                    "title": one.title,
                    "copies": [
                        {
                            "to": known.get(copy.recipient, name_of(copy)),
                            "state": copy.state,
                            "attempts": copy.attempts,
                            "tried_at": second(copy.tried_at),
                            "next_try_at": second(copy.next_try_at),
                            "why": copy.reason,
                        }
                        for copy in copies
                        if copy.report == one.id
                    ],
                }
                for one in kept
            ]
        )
        return
    rows = []
    for one in kept:
        mine = [copy for copy in copies if copy.report == one.id]
        head = [one.id, moment(one.at), one.title]
        cells = [[known.get(copy.recipient, name_of(copy)), copy.state, copy.attempts, copy.reason or ""] for copy in mine] or [
            ["", "a file", "", ""]
        ]
        rows += [[*(head if number == 0 else ["", "", ""]), *cell] for number, cell in enumerate(cells)]
    listed = table(["report", "made", "title", "to", "", "tries", "why"], rows, style(), open_end=True)
    say(listed or "No report was handed over yet: `trueup report --html FILE` or `--send` does.")
