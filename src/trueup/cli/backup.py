"""`trueup backup`, `trueup restore` and `trueup rebuild`: a copy of the state, putting one back, and making one anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import STATUS_EXITS, AsJson, ConfigFile, leave, looked, say, say_json, style, workspace_of

if TYPE_CHECKING:
    from trueup.runtime.keeping import Kept
    from trueup.runtime.rebuild import Rebuilt


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup", short_help="Copy the state into one file, while it is in use.")(backup)
    app.command("restore", short_help="Put a backup of the state back.")(restore)
    app.command("rebuild", short_help="Make a lost state anew from the systems.")(rebuild)


def backup(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A new file, or a folder; left out: `backups` beside the state, named by the moment.", show_default=False
        ),
    ] = None,
    *,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Restore it for a test, and compare every row (left out: where the state is small).",
            show_default=False,
        ),
    ] = None,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Seal it under the master key (`master_key:`), which opens it again.", show_default=False)
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the state into one file, as it is at one moment; runs may be at work meanwhile.

    The file holds what the systems hold: keep it as safe as these, or let it be encrypted, and keep the master key elsewhere.
    """
    from trueup.runtime.keeping import back_up

    with workspace_of(ctx, config, connects=False) as workspace:
        looked(workspace)
        kept = back_up(workspace, file, verify=verify, encrypt=encrypt)
    if as_json:
        say_json(_backup_json(kept))
        return
    checked = "restored for a test and compared row by row" if kept.verified else "not restored for a test: --verify does that"
    say(f"{kept.path}: {kept.manifest.rows:,} rows of {len(kept.manifest.tables)} tables, {kept.size_bytes:,} bytes; {checked}.")


def _backup_json(kept: Kept) -> dict[str, object]:
    manifest = kept.manifest
    return {
        "file": str(kept.path),
        "bytes": kept.size_bytes,
        "verified": kept.verified,
        "encrypted": manifest.sealed is not None,
        "taken_at": manifest.taken_at,
        "program": manifest.program,
        "revision": manifest.revision,
        "installation": manifest.installation,
        "tables": {name: {"rows": table.rows, "sha256": table.sha256} for name, table in manifest.tables.items()},
    }


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", show_default=False)],
    *,
    from_another: Annotated[
        bool, typer.Option("--from-another", help="Take the backup of another installation.", show_default=False)
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup of the state back. No system is touched, and the state that is there now is kept aside.

    The systems have moved on since the backup was taken. So the next `sync` first reads all of them, and takes what they agree on as it is;
    what they differ in, nobody knows who changed last: it waits in `trueup conflicts`. No disappearance is believed from that reading.
    """
    from trueup.runtime.keeping import put_back

    with workspace_of(ctx, config, connects=False) as workspace:
        done = put_back(workspace, file, from_another=from_another)
    manifest = done.manifest
    if as_json:
        say_json({"taken_at": manifest.taken_at, "rows": manifest.rows, "aside": done.aside, "informed": done.informed})
        return
    say(f"The state is that of {manifest.taken_at[:16].replace('T', ' ')} UTC again: {manifest.rows:,} rows, compared with the backup.")
    if done.aside is not None:
        say(f"What was there before is kept: {done.aside}.")
    say("The next `trueup sync` reads every system, and takes what they agree on as it is; `trueup plan` shows the rest.")


def rebuild(
    ctx: typer.Context,
    *,
    replacing: Annotated[
        bool, typer.Option("--replace", help="Also where there is a state, which is kept aside.", show_default=False)
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a lost state anew: read every system, and link what `match` recognises. Nothing is written to any system.

    Where there is a backup, `trueup restore` knows more. `trueup plan` shows what the next `trueup sync` then writes.
    """
    from trueup.cli.progress import progress
    from trueup.runtime.rebuild import rebuild as run

    with workspace_of(ctx, config) as workspace, progress(workspace) as tick:
        done = run(workspace, replacing=replacing, tick=tick)
    if as_json:
        say_json(_rebuilt_json(done))
    else:
        _tell_rebuilt(done)
    leave(STATUS_EXITS[done.run.status])


def _rebuilt_json(done: Rebuilt) -> dict[str, object]:
    from trueup.runtime.rebuild import UNKNOWN

    return {
        "run": done.run.run,
        "status": done.run.status,
        "aside": done.aside,
        "entities": {
            name: {
                "records": item.records,
                "conflicts": item.conflicts,
                "parked": item.parked,
                "failures": item.failures,
                "settled": item.settled,
                "systems": {system: {"linked": linked, "alone": alone} for system, (linked, alone) in item.systems.items()},
            }
            for name, item in done.entities.items()
        },
        "unknown": list(UNKNOWN),
    }


def _tell_rebuilt(done: Rebuilt) -> None:
    from trueup.reports.table import counted, table
    from trueup.runtime.rebuild import UNKNOWN

    for name, item in done.entities.items():
        say(f"{name}: {counted(item.records, 'record')}")
        rows = [[system, linked, alone] for system, (linked, alone) in item.systems.items()]
        say(table(("system", "linked", "nowhere else"), rows, style(), indent="  "))
        if item.settled:
            say(f"  {counted(item.settled, 'value')} that differed: settled by the rules, told in `changes` of `trueup sql`")
        for count, what, where in (
            (item.conflicts, "conflict", "conflicts"),
            (item.parked, "row", "matches"),
            (item.failures, "failure", "failures"),
        ):
            if count:
                say(f"  {counted(count, what)} for a person: `trueup {where}`")
        say()
    say("What no system can tell:")
    for line in UNKNOWN:
        say(f"  {line}")
    if done.aside is not None:
        say(f"What was there before is kept: {done.aside}.")
    say("Nothing was written to any system. `trueup plan` shows what the next `trueup sync` writes.")
