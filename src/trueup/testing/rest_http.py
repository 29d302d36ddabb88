"""A small HTTP/1.1 server in a thread of its own: whatever an application answers, and connections that break on purpose."""

from __future__ import annotations

import asyncio
import gzip
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote_to_bytes

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REASONS = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    207: b"Multi-Status",
    302: b"Found",
    429: b"Too Many Requests",
}


@dataclass(slots=True)
class Asked:
    """One request as it came. `path` is taken apart and unquoted: `/a%2Fb/c` is `("a/b", "c")`; `pairs`: the query, repeated names too."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    pairs: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """One answer. `lost`: the connection breaks instead; `after_s`: it takes so long."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    after_s: float = 0.0


class _Connection(asyncio.Protocol):
    def __init__(self, handle: Callable[[Asked], Answer], open_ones: set[_Connection]) -> None:
        self._handle = handle
        self._open_ones = open_ones
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._open_ones.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._open_ones.discard(self)

    def abort(self) -> None:
        """Break the connection off."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.partition(b"?")
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        asked = Asked(
            self._parser.get_method().decode(),
            tuple(unquote_to_bytes(part).decode("utf-8", "replace") for part in path.split(b"/")[1:]),
            dict(pairs),
            self._headers,
            b"".join(self._body),
            pairs,
        )
        self._begin()
        answer = self._handle(asked)
        if answer.after_s:
            asyncio.get_running_loop().call_later(answer.after_s, self._send, answer, asked)
        else:
            self._send(answer, asked)

    def _send(self, answer: Answer, asked: Asked) -> None:
        if self._transport.is_closing():
            return
        if answer.lost:
            self._transport.abort()
            return
        body = answer.body
        headers = dict(answer.headers)
        if len(body) > 1_000 and "gzip" in asked.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1)
            headers["content-encoding"] = "gzip"
        lines = [b"HTTP/1.1 %d %s" % (answer.status, _REASONS.get(answer.status, b"Answer"))]
        lines += [f"{name}: {value}".encode("latin-1", "replace") for name, value in headers.items()]
        if answer.status != 204:
            lines.append(b"content-length: %d" % len(body))
        self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + (body if answer.status != 204 else b""))


class Server:
    """Serves on a free port of 127.0.0.1 (or the one given) until it is closed."""

    def __init__(self, handle: Callable[[Asked], Answer], port: int = 0) -> None:
        """Begin to serve; `handle` is called in the server's thread."""
        self._handle = handle
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._wanted = port
        self.port = 0
        self._trouble: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="rest-service", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._trouble is not None:
            raise self._trouble

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        open_ones: set[_Connection] = set()
        try:
            making = self._loop.create_server(lambda: _Connection(self._handle, open_ones), "127.0.0.1", self._wanted, backlog=512)
            server = self._loop.run_until_complete(making)
        except OSError as error:
            self._trouble = error
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            accepted = asyncio.all_tasks(self._loop)  # connections of which no protocol has been told yet
            if accepted:
                self._loop.run_until_complete(asyncio.wait(accepted))
            while open_ones:
                for connection in open_ones:
                    connection.abort()
                self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.run_until_complete(server.wait_closed())
            self._loop.close()

    def close(self) -> None:
        """Stop. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
