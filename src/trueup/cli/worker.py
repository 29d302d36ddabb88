"""`trueup worker`: do what the leading `trueup serve` asks for, until stopped."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import ConfigFile, all_loaded, begin_command, config_path

if TYPE_CHECKING:
    from types import FrameType


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", short_help="Do what `trueup serve` asks for, on this or another machine.")(worker)


def worker(
    ctx: typer.Context,
    *,
    passes: Annotated[int, typer.Option("--passes", metavar="N", help="Work on so many entities at once.", min=1, max=64)] = 4,
    config: ConfigFile = None,
) -> None:
    """Run scheduled passes for the `trueup serve` that leads, and read and write parts of large ones, until this is stopped.

    The state must be in PostgreSQL (`state: postgresql://…`), and the configuration must have the same entities as the server's: a file
    that is changed meanwhile is taken up as soon as the server has the same.

    It ends what it is about first; a second signal ends it at once: what it was doing is then done by others.
    """
    from trueup.config.load import load_config
    from trueup.errors import LeaseLostError, UsageError
    from trueup.runtime.dispatch.working import WorkerProcess
    from trueup.runtime.serving.events import Log

    loaded = load_config(config_path(ctx, config))
    if "://" not in loaded.state:
        raise UsageError("a state in a file belongs to one process", hint="put it into PostgreSQL: state: postgresql://…")
    begin_command(ctx, loaded)
    all_loaded()
    log = Log(sys.stderr, plain=sys.stderr.isatty())
    begun: list[WorkerProcess] = []
    ended: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        ended.append(number)
        for process in begun:
            process.stop()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not ended:
        process = WorkerProcess(loaded, log=log, passes=passes)
        begun[:] = [process]
        try:
            process.run()
        except LeaseLostError as error:
            log.event("stood down", why=str(error))
        else:
            if process.fresh is None:
                return
            loaded = process.fresh
