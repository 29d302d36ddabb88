"""`trueup serve`: keep everything in agreement until stopped."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import DEFAULT_CONFIG, ConfigFile, all_loaded, begin_command, config_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

    from trueup.model import Config
    from trueup.runtime.serving.server import Server

LOOK_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", short_help="Keep everything in agreement until stopped.")(serve)


def serve(  # noqa: C901  one process, and what ends or renews it
    ctx: typer.Context,
    *,
    start: Annotated[bool, typer.Option("--start", help="Begin although no `sync` was ever completed.", show_default=False)] = False,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="The port for that; 0: any free one.", min=0, max=65535)] = 8080,
    config: ConfigFile = None,
) -> None:
    """Do everything that `when` asks for: changes cross at once, or on their schedule, until this is stopped (Ctrl-C, SIGTERM).

    At http://ADDRESS:N it answers /healthz, /readyz and /metrics, and receives webhooks of systems that have a `webhook:` (/hooks/SYSTEM).

    It ends what it is about first; a second signal ends it at once, which loses nothing either. Other commands may be used meanwhile.

    Where there is no trueup.yaml yet, or an empty one, it is set up in the browser: open the link that is printed.

    A configuration that is saved in the browser is taken up at once. After it was changed otherwise (look at `trueup plan` first), SIGHUP
    makes it begin anew, unless it runs in a terminal; one with mistakes changes nothing.
    """
    from trueup.config.begin import is_unwritten, load_or_begin
    from trueup.config.load import load_config
    from trueup.errors import LeaseLostError
    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.server import Server
    from trueup.web.door import Door

    file = config_path(ctx, config)
    begins = is_unwritten(file) and (file.exists() or file == DEFAULT_CONFIG)  # a name that somebody gave is to be that of a file
    loaded = load_or_begin(file) if begins else load_config(file)
    begin_command(ctx, loaded)
    all_loaded()
    log = Log(sys.stderr, plain=sys.stderr.isatty())
    begun: list[Server] = []
    ended: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        ended.append(number)
        for server in begun:
            server.stop()
        signal.signal(number, signal.SIG_DFL)

    fresh: list[Config] = []

    def renew() -> None:
        _renew(begun[0], fresh)

    def told(number: int, frame: FrameType | None) -> None:
        del number, frame
        Thread(target=renew, name="renew", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if begins:
        log.event(
            "configuration", why=f"{file} names no system yet: set it up in the browser, or write it; it is taken up as soon as it is there"
        )
        Thread(target=_when_written, args=(file, begun, fresh), name="configuration", daemon=True).start()
    door = Door(host, port, str(file), log, renew)
    try:
        while not ended:
            server = Server(loaded, log=log, start=start, beside=lambda: door.open(begun[0], lambda: bool(fresh) and not ended))
            begun[:] = [server]
            if hasattr(signal, "SIGHUP") and not sys.stderr.isatty():  # a terminal that is closed ends what runs in it
                signal.signal(signal.SIGHUP, told)
            try:
                server.run()
                if not fresh:
                    return
                loaded = fresh.pop()
            except LeaseLostError as error:
                log.event("stood down", why=str(error))
    finally:
        door.close()


def _when_written(file: Path, begun: Sequence[Server], fresh: list[Config]) -> None:
    """Take up a configuration that somebody begins to write with another program, once it is right."""
    from trueup.config.begin import is_unwritten

    seen: tuple[int, int] | None = None
    while not fresh and not (begun and begun[0].config.digests):
        time.sleep(LOOK_S)
        with suppress(OSError):
            found = file.stat()
            sign = (found.st_mtime_ns, found.st_size)
            if begun and not begun[0].config.digests and not fresh and sign != seen and not is_unwritten(file):
                seen = sign
                _renew(begun[0], fresh)


def _renew(server: Server, fresh: list[Config]) -> None:
    """End a server so that the next one begins with the configuration as it is now; one that cannot be read changes nothing."""
    from trueup.config.load import load_config
    from trueup.errors import TrueupError

    try:
        found = load_config(server.config.file)
    except TrueupError as error:
        server.log.event("configuration", why=f"stays as it was: {error}")
        return
    if found.state != server.config.state:
        server.log.event("configuration", why="stays as it was: it names another state, for which the server is to be started anew")
        return
    server.log.event("configuration", why="taken up as it is now")
    fresh[:] = [found]
    server.stop()
