"""`trueup serve`: keep everything in agreement until stopped."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import ConfigFile, all_loaded, begin_command, config_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from trueup.model import Config
    from trueup.runtime.serving.server import Server
    from trueup.web.desk.process import Handle as Desk
    from trueup.web.front import Answer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", short_help="Keep everything in agreement until stopped.")(serve)


def serve(
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

    After the configuration was changed (look at `trueup plan` first), SIGHUP makes it begin anew, unless it runs in a terminal; one with
    mistakes changes nothing.
    """
    from trueup.config.load import load_config
    from trueup.errors import LeaseLostError
    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.server import Server

    loaded = load_config(config_path(ctx, config))
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

    def renew(number: int, frame: FrameType | None) -> None:
        del number, frame
        Thread(target=_renew, args=(begun[0], fresh), name="renew", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not ended:
        server = Server(loaded, log=log, start=start, beside=lambda: _receiving(begun[0], host, port))
        begun[:] = [server]
        if hasattr(signal, "SIGHUP") and not sys.stderr.isatty():  # a terminal that is closed ends what runs in it
            signal.signal(signal.SIGHUP, renew)
        try:
            server.run()
            if not fresh:
                return
            loaded = fresh.pop()
        except LeaseLostError as error:
            log.event("stood down", why=str(error))


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


@contextmanager
def _receiving(server: Server, host: str, port: int) -> Iterator[None]:
    """Answer at the port meanwhile."""
    from trueup.web import receiver
    from trueup.web.desk.process import Handle
    from trueup.web.renewal import Renewal

    def log(why: str) -> None:
        server.log.event("receiver", why=why)

    desk = Handle(server.config.file, lambda why: server.log.event("dashboard", why=why))
    handle = receiver.start(server.config, server.config.state, host, port, answer=partial(_answer, server, desk), log=log, desk=True)
    at = f"http://{f'[{handle.host}]' if ':' in handle.host else handle.host}:{handle.port}"
    server.log.event("listening", at=at)
    _let_in(server, at)
    if hooked := receiver.hooked(server.config):
        server.log.event("receiving", at=f"{at}/hooks/", systems=", ".join(hooked))
    server.knowing.webhooks = lambda: handle.totals

    def change(fresh: Config) -> None:
        handle.change(fresh)
        server.telling.renew(fresh)

    renewal = Renewal(server.config, server.store, change, lambda event, words: server.log.event(event, why=words))
    renewal.start()
    try:
        yield
    finally:
        renewal.stop()
        renewal.join()
        handle.stop()
        desk.stop()


def _let_in(server: Server, at: str) -> None:
    """Where nobody can log in yet, say how the first one can."""
    from datetime import UTC, datetime

    from trueup.web.access.people import first_link

    token = first_link(server.store, datetime.now(UTC))
    if token is not None:
        server.log.event("set-up", why=f"open this link once to become the first admin: {at}/setup?token={token}")


def _answer(server: Server, desk: Desk, what: str) -> Answer:
    """What the receiver is asked and does not know."""
    from trueup.errors import TrueupError
    from trueup.web.front import BUSY, DESK, METRICS, Answer

    if what == DESK:
        try:
            return Answer(200, desk.place())
        except TrueupError as error:
            server.log.event("dashboard", why=str(error))
            return BUSY
    if what == METRICS:
        kind, text = server.knowing.metrics()
        return Answer(200, text, kind)
    why = server.not_ready
    return Answer(200, "ready\n") if why is None else Answer(503, f"not ready: {why}\n")
