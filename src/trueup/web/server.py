"""The HTTP server: uvicorn with httptools, and uvloop where there is one, on a socket that the caller has opened."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trueup.errors import UsageError
from trueup.web.behind import Splice
from trueup.web.crowd import Crowd

if TYPE_CHECKING:
    import asyncio

    from trueup.web.behind import Behind

BACKLOG = 2048
"""Connections that wait to be taken: a bulk edit elsewhere sends its thousand messages at once."""
HEADERS_S = 15.0
"""So long a client may take until its request's head is there."""
IDLE_S = 75
MOST_OPEN = 65_536
MOST_WAITING = 500
"""Where nobody says how many connections there may be, so many wait for their clients at once."""
END_S = 5
PRIORITY = -5

if sys.platform != "win32":
    import resource


class Protocol(HttpToolsProtocol):
    """A connection of which nothing came for a while is closed, or sooner where too many wait: else slow clients would hold them all."""

    crowd: Crowd  # of the server

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        """Begin to wait for the first request's head."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEADERS_S, self.drop)
        self._wait()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._patience.cancel()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """Another request begins on this connection."""
        super().on_message_begin()
        self._patience.cancel()
        self._patience = self.loop.call_later(HEADERS_S, self.drop)

    def on_message_complete(self) -> None:
        """All of a request is there."""
        self.crowd.left(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered; there may be another one."""
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._patience.cancel()
        self.crowd.left(self)
        super().connection_lost(exc)

    def drop(self) -> None:
        """See crowd.Connection."""
        self.transport.close()

    def _wait(self) -> None:
        self.crowd.waits(self, self.client[0] if self.client is not None else "")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, of whichever family the host is; port 0: any free one. Raises UsageError where it cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, address = found[0]
        opened = socket.socket(family, kind, number)
    except OSError as error:
        raise UsageError(f"nobody can listen at {host}: {error.strerror or error}", hint="name an address of this machine") from None
    try:
        if sys.platform != "win32":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise UsageError(
            f"the port {port} of {host} cannot be used: {error.strerror or error}",
            hint="another program uses it, or you may not; choose one",
        ) from None
    opened.setblocking(False)
    return opened


def server(app: Any, *, end_s: int = END_S, most_waiting: int = MOST_WAITING, behind: Behind | None = None) -> uvicorn.Server:
    """A server for `run(sockets=[…])`. It logs nothing by itself and tells nothing about itself.

    `most_waiting`: so many connections may wait for their clients at once. `behind` is given what becomes a websocket; None: nothing does.
    """

    class Ours(Protocol):
        crowd = Crowd(most_waiting)

    sockets: type[Splice] | None = None
    if behind is not None:
        sockets = type("OurSplice", (Splice,), {"behind": behind})

    loop = "asyncio"
    with suppress(ImportError):
        import uvloop  # noqa: F401 - whether it is there

        loop = "uvloop"
    config = uvicorn.Config(
        app,
        http=Ours,
        loop=loop,
        ws=sockets if sockets is not None else "none",
        lifespan="off",
        backlog=BACKLOG,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=end_s,
    )
    return uvicorn.Server(config)


def allow_connections() -> int:
    """Let this process have as many connections as the system allows, usually a thousand by itself. How many may wait for their clients."""
    if sys.platform == "win32":
        return MOST_WAITING
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        wanted = soft
    return wanted // 2


def come_first() -> None:
    """Let this process run before one that computes for long, where it may ask for that: what it does takes a moment each time."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
