"""The command line: every verb in its own file, every error one line, every outcome an exit status.

`trueup --help` must be quick: nothing but typer is imported here; a command imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from trueup.cli import (
    alerts,
    audit,
    backup,
    check,
    compact,
    conflicts,
    connect,
    connector,
    decide,
    dedupe,
    doctor,
    drift,
    explain,
    failures,
    grants,
    holds,
    init,
    keys,
    lock,
    manual,
    matches,
    migrate,
    notices,
    packages,
    pause,
    plan,
    profile,
    record,
    rehearse,
    report,
    runbook,
    runs,
    schema,
    secrets,
    serve,
    sql,
    status,
    sync,
    undo,
    users,
    verify,
    worker,
)
from trueup.cli.shared import COULD_NOT, INTERRUPTED, USAGE, ConfigFile, Session, complain, when_interrupted

_ORDER = (
    "decide", "profile", "init", "connect", "grants", "drift", "dedupe", "check", "plan", "rehearse", "sync", "serve", "worker", "pause",
    "resume", "status", "report", "runs", "run", "record", "explain", "conflicts", "matches", "failures", "holds", "notices", "alerts",
    "manual", "runbook", "verify", "undo", "migrate", "lock", "export", "import", "packages", "audit", "backup", "restore",
    "rebuild", "compact", "doctor", "sql", "secrets", "keys", "users", "connector", "schema",
)  # fmt: skip


class _InOrder(typer.core.TyperGroup):
    """Lists the commands in the order in which a new user meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in order."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    name="trueup",
    cls=_InOrder,
    help="Keep the same records in agreement across databases, spreadsheets and files, and prove it.",
    epilog="Exit status: 0 done, 1 could not run, 2 wrong usage, 3 done but something needs a person, 4 held by a guard.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from trueup import __version__

        sys.stdout.write(f"trueup {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: ConfigFile = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error (as TRUEUP_DEBUG=1 does).", show_default=False)
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version, show_default=False)
    ] = False,
) -> None:
    """Keep the same records in agreement across databases, spreadsheets and files, and prove it."""
    del version
    ctx.obj = Session(config=config)
    if debug:
        os.environ["TRUEUP_DEBUG"] = "1"


for _verb in (
    decide, profile, init, connect, grants, drift, dedupe, check, plan, rehearse, sync, serve, worker, pause, status, report, runs, record,
    explain, conflicts, matches, failures, holds, notices, alerts, manual,
    runbook, verify, undo, migrate, lock, packages, audit, backup, compact, doctor, sql, secrets, keys, users, connector, schema,
):  # fmt: skip
    _verb.register(app)


def main() -> int:
    """Run the command of this process; returns or raises its exit status, and never lets a trace out unless asked to."""
    _with_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="trueup")
        sys.stdout.flush()
    except BrokenPipeError:
        return _quietly()
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as ending:
        return _flushed(ending)
    except Exception as error:  # noqa: BLE001  the last line of defence: whatever went wrong, a person gets one line
        return _told(error)
    return 0


def _with_streams() -> None:
    """Give a process that was started with its output closed somewhere to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process runs


def _flushed(ending: SystemExit) -> int:
    """The status of a command that ended by itself; whoever reads its output may have gone meanwhile, or its disk may be full."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _quietly()
    except OSError as error:
        return _told(error)
    if ending.code == INTERRUPTED:  # typer has caught it
        return _interrupted()
    if ending.code is None:
        return 0
    return ending.code if isinstance(ending.code, int) else COULD_NOT


def _interrupted() -> int:
    complain(f"interrupted; {when_interrupted()}")
    return INTERRUPTED


def _quietly() -> int:
    """Whoever read our output has gone: nothing is wrong, and nothing more can be said (else Python complains at its end)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return COULD_NOT


def _told(error: Exception) -> int:
    """Say an error in one line (a configuration's problems in one line each) and give its exit status."""
    from trueup.errors import ConfigError, TrueupError, UsageError

    if os.environ.get("TRUEUP_DEBUG", "") not in {"", "0"}:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            complain(str(problem))
        return COULD_NOT
    if isinstance(error, TrueupError):
        complain(str(error))
        return USAGE if isinstance(error, UsageError) else COULD_NOT
    if isinstance(error, OSError) and error.strerror:
        with suppress(OSError):  # what could not be written now cannot be written at the end either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = f" ({error.filename})" if error.filename else ""
        complain(f"could not write the output or a temporary file: {error.strerror}{where}; make room or name another place, and run again")
        return COULD_NOT
    text = " ".join(str(error).split())
    complain(f"unexpected {type(error).__name__}{': ' + text if text else ''} (run `trueup --debug …` to see where, and report it)")
    return COULD_NOT


if __name__ == "__main__":
    sys.exit(main())
