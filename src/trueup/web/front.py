"""What is answered at the port of `serve` besides webhooks, pages and the API: `/healthz`, `/readyz`, `/metrics`.

The receiver knows little of these by itself: it asks the process of `serve`, through the pipes between the two, and at most one question
of a kind is on its way, so that a process that is busy, or stopped, is never sent more than it will read. `/healthz` needs no answer: the
receiver ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trueup.web.behind import AwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

READY, METRICS, DESK = "ready", "metrics", "desk"
PATIENCE_S = {READY: 3.0, METRICS: 8.0, DESK: 60.0}
"""So long an answer is waited for: a scrape usually gives up after ten seconds; the desk may have to be begun."""
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be sent to whoever asked."""

    status: int
    body: str
    kind: str = PLAIN

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


BUSY = Answer(503, "serve does not answer\n")
OK = Answer(200, "ok\n")
NOT_ALLOWED = Answer(405, "use GET\n")
NOT_AUTHENTICATED = Answer(401, "not authenticated\n")
FAILED = Answer(500, "it could not be told\n")


class Front:
    """The application for these paths. `say` sends a question to the process of `serve`, and must not block."""

    def __init__(self, say: Callable[[dict[str, Any]], None], metrics_token: str | None = None) -> None:
        """Nobody has asked anything. `metrics_token`: who reads `/metrics` must show it; None: only this machine may read them."""
        self.metrics_token = metrics_token
        self._say = say
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def knows(self, path: str) -> bool:
        """Whether this is one of its paths."""
        return path in {"/healthz", "/readyz", "/metrics"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for a path that it knows."""
        del receive
        await _send(send, await self._answer(scope))

    async def _answer(self, scope: Scope) -> Answer:
        if scope["method"] not in {"GET", "HEAD"}:
            return NOT_ALLOWED
        if scope["path"] == "/healthz":
            return OK
        if scope["path"] == "/readyz":
            return await self._ask(READY)
        if not self._may_read(scope):
            return NOT_AUTHENTICATED
        return await self._ask(METRICS)

    def _may_read(self, scope: Scope) -> bool:
        """Whether whoever asks may see how it goes: by the token; where there is none, from this machine and not through a proxy."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self.metrics_token is not None:
            given = headers.get("authorization", "")
            return hmac.compare_digest(given.encode(), f"Bearer {self.metrics_token}".encode())
        client = scope.get("client")
        if client is None or {"x-forwarded-for", "forwarded", "x-real-ip"} & headers.keys():
            return False
        with suppress(ValueError):
            address = ipaddress.ip_address(str(client[0]).partition("%")[0])
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            return (mapped or address).is_loopback
        return False

    async def desk(self) -> str:
        """Where the desk listens (`behind.py`); it is begun where it does not run. Raises AwayError."""
        found = await self._ask(DESK)
        if found.status != OK.status:
            raise AwayError
        return found.body

    async def _ask(self, what: str) -> Answer:
        self._loop = asyncio.get_running_loop()
        mine: asyncio.Future[Answer] = self._loop.create_future()
        asked = what in self._waiting
        self._waiting.setdefault(what, []).append(mine)
        if not asked:
            self._say({"ask": what})
        try:
            async with asyncio.timeout(PATIENCE_S[what]):
                return await mine
        except TimeoutError:
            return BUSY
        finally:
            with suppress(KeyError, ValueError):  # the question itself stays on its way
                self._waiting[what].remove(mine)

    def answered(self, what: str, answer: Answer) -> None:
        """From any thread: the process of `serve` has answered."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._tell, what, answer)

    def _tell(self, what: str, answer: Answer) -> None:
        for waiting in self._waiting.pop(what, []):
            if not waiting.done():
                waiting.set_result(answer)


async def _send(send: Send, answer: Answer) -> None:
    body = answer.body.encode()
    headers = [(b"content-type", answer.kind.encode()), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if answer is NOT_ALLOWED:
        headers.append((b"allow", b"GET, HEAD"))
    elif answer is NOT_AUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
