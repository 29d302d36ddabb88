"""`POST /hooks/{system}`: verify, store durably, answer. Whoever looks at what was stored reads the record again by its key.

Plain ASGI, for this is done thousands of times a second beside a run that keeps the machine busy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from trueup.errors import StateError
from trueup.web.messages import Reading, UnreadableError, challenge_in
from trueup.web.signatures import Incoming, Standard, verifier
from trueup.web.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
    from concurrent.futures import Future

    from trueup.store.inbox import Event, Inbox
    from trueup.web.behind import Behind
    from trueup.web.front import Front
    from trueup.web.signatures import Verifier

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "/hooks/"
BODY_S = 30.0
"""So long a message may take to arrive."""
STORE_S = 20.0
"""So long it may take to store it; the sender is then asked to send it again."""
HELD_BYTES = 128 * 1024 * 1024
"""So much may wait to be stored."""
DRAINED_BYTES = 4 * 1024 * 1024
MOST_SAID = 1_000
"""So many characters of what a sender says are sent back to it."""
AGAIN_S = 5
"""What `Retry-After` asks for."""

_ANSWERS = {
    202: b'{"status":"stored"}',
    400: b'{"error":"the body cannot be read"}',
    401: b'{"error":"not authenticated"}',
    404: b'{"error":"there is no such hook"}',
    405: b'{"error":"use POST"}',
    408: b'{"error":"the body did not arrive in time"}',
    413: b'{"error":"the body is too large"}',
    503: b'{"error":"it cannot be stored now, send it again"}',
}
_log = logging.getLogger(__name__)


class _Tried(Exception):  # noqa: N818 - no error: the sender tries the address
    """The request asks whether somebody is there, and is answered with what it said."""

    def __init__(self, body: bytes, kind: bytes) -> None:
        super().__init__()
        self.body, self.kind = body, kind


class _RefusedError(Exception):
    """The message is answered with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Hook:
    """One system's hook."""

    def __init__(self, system: str, settings: Mapping[str, Any]) -> None:
        """From what `hooks_of` makes of a configuration."""
        webhook = settings["webhook"]
        self.system = system
        self.verifier: Verifier = verifier(webhook["verify"])
        self.reading = Reading.of(system, webhook.get("event"), settings.get("records"), settings.get("timezone"))
        self.max_bytes: int = webhook.get("max_bytes", 1_048_576)
        reply = webhook.get("reply") or {}
        self.status: int = reply.get("status", 202)
        self.challenge: str | None = reply.get("challenge")

    def tried(self, query: bytes, body: bytes | None = None) -> None:
        """Raises _Tried where the sender only tries the address; `body` None: it has not been read."""
        if self.challenge is None:
            return
        name = self.challenge.removeprefix("query.")
        if name != self.challenge:
            said = dict(parse_qsl(query.decode("latin-1"))).get(name) if body is None else None
            if said is not None and len(said) <= MOST_SAID and said.isprintable():
                raise _Tried(said.encode(), b"text/plain; charset=utf-8")
        elif body is not None and (found := challenge_in(body, self.challenge)) is not None and len(found[1]) <= MOST_SAID:
            raise _Tried(json.dumps({found[0]: found[1]}).encode(), b"application/json")


class _Answers:
    """Brings what the inbox's thread says to those who wait in the event loop: of a whole transaction at once, for each wake-up costs."""

    def __init__(self) -> None:
        self._over: deque[tuple[asyncio.Future[int], Future[int]]] = deque()
        self._called = False

    def to(self, stored: Future[int]) -> asyncio.Future[int]:
        """What to wait for."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[int] = loop.create_future()

        def done(future: Future[int]) -> None:
            self._over.append((waiting, future))
            if not self._called:
                self._called = True
                with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                    loop.call_soon_threadsafe(self._tell)

        stored.add_done_callback(done)
        return waiting

    def _tell(self) -> None:
        self._called = False  # what is added from here on calls again
        while self._over:
            waiting, future = self._over.popleft()
            if waiting.done():
                continue
            error = future.exception()
            if error is None:
                waiting.set_result(future.result())
            else:
                waiting.set_exception(error)


class Hooks:
    """The application. `change` gives it other hooks while it runs."""

    def __init__(
        self,
        inbox: Inbox | None,
        hooks: Mapping[str, Any],
        *,
        front: Front | None = None,
        behind: Behind | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take an opened inbox, and per system what `hooks_of` says. `front` and `behind` answer what is no hook; None: nobody does.

        Without any hook there need be no inbox.
        """
        self.tally = Tally()
        self._inbox = inbox
        self._front = front
        self._behind = behind
        self._clock = clock
        self._hooks: dict[str, Hook] = {}
        self._held = 0
        self._answers = _Answers()
        self._failing = False
        self.change(hooks)

    def change(self, hooks: Mapping[str, Any]) -> None:
        """Use these from now on: another secret, another system."""
        self._hooks = {system: Hook(system, settings) for system, settings in hooks.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        path = scope["path"]
        hook = self._hooks.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
        if hook is None and self._front is not None and self._front.knows(path):
            await self._front(scope, receive, send)
            return
        if hook is None and self._behind is not None and not path.startswith(PREFIX):
            await self._behind(scope, receive, send)
            return
        count = 0
        try:
            status, count = 202, await self._take(hook, scope, receive)
        except _Tried as tried:
            self.tally.add(hook.system if hook else "", 200, time.perf_counter() - began)
            await _say(send, 200, tried.body, [(b"content-type", tried.kind), (b"x-content-type-options", b"nosniff")])
            return
        except _RefusedError as refused:
            status = refused.status
        self.tally.add(hook.system if hook else "", status, time.perf_counter() - began, repeats=count)
        await _answer(send, hook.status if hook is not None and status == 202 else status)

    async def _take(self, hook: Hook | None, scope: Scope, receive: Receive) -> int:
        """Store a message; returns how many of its events were known. Raises _RefusedError."""
        if hook is None:
            raise _RefusedError(404)
        hook.tried(scope["query_string"])
        if scope["method"] != "POST":
            raise _RefusedError(405)
        message = _incoming(scope)
        length = message.header("content-length")
        too_large = length.isdecimal() and int(length) > hook.max_bytes
        if not hook.verifier.needs_body and not hook.verifier.proves(message, self._clock()):
            raise _RefusedError(401)
        body = b"" if too_large else await self._body(receive, hook.max_bytes)
        if too_large or len(body) > hook.max_bytes:
            await _drain(receive)
            raise _RefusedError(413)
        hook.tried(scope["query_string"], body)
        self._held += len(body)
        try:
            return await self._store(hook, message, body)
        finally:
            self._held -= len(body)

    async def _body(self, receive: Receive, most: int) -> bytes:
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_S):
                while size <= most:
                    part = await receive()
                    if part["type"] == "http.disconnect":
                        raise _RefusedError(400)
                    parts.append(part.get("body", b""))
                    size += len(parts[-1])
                    if not part.get("more_body", False):
                        break
        except TimeoutError:
            raise _RefusedError(408) from None
        return b"".join(parts)

    async def _store(self, hook: Hook, message: Incoming, body: bytes) -> int:
        if hook.verifier.needs_body:
            message = Incoming(message.method, message.path, message.headers, body)
            if not hook.verifier.proves(message, self._clock()):
                raise _RefusedError(401)
        if self._held > HELD_BYTES:
            raise _RefusedError(503)
        number = message.header("webhook-id") if isinstance(hook.verifier, Standard) else None
        try:
            events = hook.reading.events(body, datetime.now(UTC), number or None)
        except UnreadableError:
            raise _RefusedError(400) from None
        if not events:
            return 0
        return len(events) - await self._kept(events)

    async def _kept(self, events: list[Event]) -> int:
        """Store them durably; how many were new. Raises _RefusedError."""
        try:
            async with asyncio.timeout(STORE_S):
                assert self._inbox is not None
                stored = await self._answers.to(self._inbox.submit(events))
        except (StateError, TimeoutError) as error:
            if not self._failing:  # once, not for every message
                _log.error("webhooks cannot be stored: %s", str(error) or "it took too long")
            self._failing = True
            raise _RefusedError(503) from None
        self._failing = False
        return stored


def _incoming(scope: Scope) -> Incoming:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    path = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        path += b"?" + scope["query_string"]
    return Incoming(scope["method"], path.decode("latin-1"), headers)


async def _drain(receive: Receive) -> None:
    """Read on for a while: who is still sending does not see an answer."""
    size = 0
    try:
        async with asyncio.timeout(2):
            while size < DRAINED_BYTES:
                part = await receive()
                size += len(part.get("body", b""))
                if not part.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _answer(send: Send, status: int) -> None:
    headers: list[tuple[bytes, bytes]] = [] if status == 204 else [(b"content-type", b"application/json")]
    if status == 503:
        headers.append((b"retry-after", str(AGAIN_S).encode()))
    elif status == 405:
        headers.append((b"allow", b"POST"))
    elif status in {408, 413}:
        headers.append((b"connection", b"close"))
    await _say(send, status, b"" if status == 204 else _ANSWERS.get(status, _ANSWERS[202]), headers)


async def _say(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})


def hooks_of(systems: Mapping[str, Any], records: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Any]:
    """Per system that has a webhook, what a receiver must know, as plain values.

    `records`: of each system that only pushes, the key columns of its mappings.
    """
    return {
        name: {"webhook": dict(system.webhook), "timezone": system.timezone, "records": records.get(name)}
        for name, system in systems.items()
        if system.webhook is not None
    }
