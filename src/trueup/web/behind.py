"""What is behind the receiver's port: requests for pages and the API are handed on to the desk, one by one, and websockets byte by byte.

The receiver stays as light as it is: it reads no page, and knows nobody's login. It says from where a request came, and lets nobody else
say so.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import httptools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = b"x-trueup-"
"""Headers with such a name are said by the receiver alone."""
CLIENT = b"x-trueup-client"
MOST_AT_ONCE = 256
MOST_SOCKETS = 512
MOST_BYTES = 8 * 1024 * 1024
PART_S = 30.0
"""So long the next part of a body may take."""
ANSWER_S = 900.0
"""So long the desk may take until it says anything."""
_CHUNK = 64 * 1024
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
_BUSY = b"the dashboard is not available now, try again in a moment\n"


class AwayError(Exception):
    """The desk cannot be asked now."""


class Behind:
    """The desk, as the receiver sees it. `where` asks where it listens (and has it begun); it raises AwayError."""

    def __init__(self, where: Callable[[], Awaitable[str]]) -> None:
        """Nothing is known yet."""
        self._where = where
        self._place: str | None = None
        self._asking = 0
        self.sockets = 0

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it. Raises AwayError."""
        for _try in range(2):
            place = self._place
            if place is None:
                place = self._place = await self._where()
            try:
                return await asyncio.open_unix_connection(place, limit=_CHUNK)
            except OSError:
                self._place = None  # it has ended: the next one listens elsewhere
        raise AwayError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on one request, and its answer."""
        if self._asking >= MOST_AT_ONCE:
            await _say(send, 503, _BUSY)
            return
        self._asking += 1
        try:
            reader, writer = await self.connected()
            try:
                await _handed_on(scope, receive, send, reader, writer)
            finally:
                writer.close()
        except AwayError:
            await _say(send, 503, _BUSY)
        finally:
            self._asking -= 1


async def _handed_on(scope: Scope, receive: Receive, send: Send, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answer = _Answer()
    try:
        writer.write(_head(scope))
        if not await _body(scope, receive, writer):
            await _say(send, 413, b"the body is too large, or did not arrive in time\n")
            return
        gone = asyncio.ensure_future(_gone(receive))
        try:
            while not answer.done:
                reading = asyncio.ensure_future(reader.read(_CHUNK))
                await asyncio.wait({reading, gone}, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    return
                data = reading.result()
                if not data:
                    break
                answer.parser.feed_data(data)
                await answer.pass_on(send)
        finally:
            gone.cancel()
    except (OSError, httptools.HttpParserError):
        pass
    if not answer.begun:
        await _say(send, 503, _BUSY)
    elif not answer.ended:
        await send({"type": "http.response.body", "body": b""})


def _head(scope: Scope) -> bytes:
    path = scope.get("raw_path") or scope["path"].encode()
    target = path + (b"?" + scope["query_string"] if scope.get("query_string") else b"")
    lines = [scope["method"].encode() + b" " + target + b" HTTP/1.1"]
    chunked = False
    for name, value in scope["headers"]:
        chunked = chunked or (name == b"transfer-encoding" and b"chunked" in value.lower())
        if name not in _HOP and not name.startswith(PREFIX):
            lines.append(name + b": " + value)
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    lines += [CLIENT + b": " + _client(scope).encode("latin-1", "replace"), b"connection: close", b"", b""]
    return b"\r\n".join(lines)


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _body(scope: Scope, receive: Receive, writer: asyncio.StreamWriter) -> bool:
    """Hand on what is sent; False where that is too much, or stops coming."""
    names = {name for name, _ in scope["headers"]}
    chunked = b"transfer-encoding" in names
    if not chunked and b"content-length" not in names:
        return True
    size = 0
    while True:
        try:
            async with asyncio.timeout(PART_S):
                message = await receive()
        except TimeoutError:
            return False
        if message["type"] != "http.request":
            return False
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BYTES:
            return False
        if part:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
        if not message.get("more_body", False):
            if chunked:
                writer.write(b"0\r\n\r\n")
            return True


async def _gone(receive: Receive) -> None:
    """Return when whoever asked has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Answer:
    """Reads an answer of the desk."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.begun = self.done = self.ended = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._parts: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in _HOP:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._complete = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.done = True

    async def pass_on(self, send: Send) -> None:
        """Send what has been read so far."""
        if self._complete and not self.begun:
            self.begun = True
            await send({"type": "http.response.start", "status": self.parser.get_status_code(), "headers": self._headers})
        parts, self._parts = self._parts, []
        if parts or (self.done and not self.ended):
            self.ended = self.done
            await send({"type": "http.response.body", "body": b"".join(parts), "more_body": not self.done})


async def _say(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# ---------------------------------------------------------------- websockets


class Splice(asyncio.Protocol):
    """A connection that becomes a websocket: from here on its bytes go to the desk and back as they are.

    uvicorn makes one where a browser asks for that, and gives it the head of the request.
    """

    behind: Behind  # of the server

    def __init__(self, **_settings: Any) -> None:
        """As uvicorn does it."""
        self._head = b""
        self._client: asyncio.Transport | None = None
        self._desk: asyncio.StreamWriter | None = None
        self._work: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._client = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._client.pause_reading()
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """The head, and then whatever the client says."""
        if self._work is None:
            self._head = data
            self._work = asyncio.get_running_loop().create_task(self._carry())
        elif self._desk is not None:
            self._desk.write(data)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The client has read."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        del exc
        self._room.set()
        if self._work is not None:
            self._work.cancel()

    async def _carry(self) -> None:
        assert self._client is not None
        if self.behind.sockets >= MOST_SOCKETS:
            self._client.close()
            return
        self.behind.sockets += 1
        writer = None
        try:
            reader, writer = await self.behind.connected()
            writer.write(self._handed_head())
            self._desk = writer
            with suppress(RuntimeError):
                self._client.resume_reading()
            while data := await reader.read(_CHUNK):
                await self._room.wait()
                self._client.write(data)
        except (AwayError, OSError):
            pass
        finally:
            self.behind.sockets -= 1
            if writer is not None:
                writer.close()
            self._client.close()

    def _handed_head(self) -> bytes:
        assert self._client is not None
        first, *lines = self._head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(PREFIX)]
        peer = self._client.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        return b"\r\n".join([first, *kept, CLIENT + b": " + address.encode(), b"", b""])
