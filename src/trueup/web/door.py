"""What `serve` has at its port: the receiver, and the desk behind it. Both stay while another configuration is taken up."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.store.inbox import Inbox
from trueup.web import receiver
from trueup.web.access.people import first_link
from trueup.web.desk.process import Handle as Desk
from trueup.web.front import BUSY, DESK, METRICS, Answer
from trueup.web.renewal import Renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.model import Config
    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.server import Server


class Door:
    """The port of one `serve`."""

    def __init__(self, host: str, port: int, file: str, log: Log, renew: Callable[[], None]) -> None:
        """Nothing listens yet. `renew` is called, from a thread, when somebody has changed the configuration in the browser."""
        self._host, self._port, self._log = host, port, log
        self._desk = Desk(file, lambda why: log.event("dashboard", why=why), renew)
        self._receiver: receiver.Handle | None = None
        self._server: Server | None = None

    @contextmanager
    def open(self, server: Server, going_on: Callable[[], bool]) -> Iterator[None]:
        """Answer for a server; the port stays open afterwards where another one goes on at once."""
        self._server = server
        handle = self._opened(server)
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
            if not going_on():
                self.close()

    def close(self) -> None:
        """Answer no more. May be called twice."""
        handle, self._receiver = self._receiver, None
        if handle is not None:
            self._port = handle.port
            handle.stop()
        self._desk.rest()

    def _opened(self, server: Server) -> receiver.Handle:
        config = server.config
        first = self._receiver is None
        if self._receiver is None:
            handle = self._receiver = receiver.start(
                config,
                config.state,
                self._host,
                self._port,
                answer=self._answer,
                log=lambda why: self._log.event("receiver", why=why),
                desk=True,
            )
        else:
            handle = self._receiver
            if receiver.hooked(config):
                Inbox.open(config.state).close()
            handle.change(config)
            self._desk.renew()
        at = f"http://{f'[{handle.host}]' if ':' in handle.host else handle.host}:{handle.port}"
        self._log.event("listening", at=at)
        token = first_link(server.store, datetime.now(UTC)) if first else None
        if token is not None:  # nobody can log in yet
            self._log.event("set-up", why=f"open this link once to become the first admin: {at}/setup?token={token}")
        if hooked := receiver.hooked(config):
            self._log.event("receiving", at=f"{at}/hooks/", systems=", ".join(hooked))
        return handle

    def _answer(self, what: str) -> Answer:
        """What the receiver is asked and does not know."""
        server = self._server
        assert server is not None
        if what == DESK:
            try:
                return Answer(200, self._desk.place())
            except TrueupError as error:
                self._log.event("dashboard", why=str(error))
                return BUSY
        if what == METRICS:
            kind, text = server.knowing.metrics()
            return Answer(200, text, kind)
        why = server.not_ready
        return Answer(200, "ready\n") if why is None else Answer(503, f"not ready: {why}\n")
