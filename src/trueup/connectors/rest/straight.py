"""Plain requests without what the HTTP client makes of every request and answer, which takes more time than the rest of a small one.

What is not plain is left to the client: an address that has to be spelled anew, a name with a password in it, cookies, proxies.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

import httpcore2
import httpx2

from trueup.connectors.rest.message import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trueup.connectors.rest.message import Request

_PLAIN = re.compile(r"(https?)://([a-z0-9._-]+)(?::([0-9]{1,5}))?(/(?:[A-Za-z0-9._~!$&()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)")
_PORTS = {"http": 80, "https": 443}
_ALWAYS_A_LENGTH = {"POST", "PUT", "PATCH"}


class Straight:
    """Asks like the client, over connections of its own: each has one request at a time, and none waits for another.

    Used by several threads at once; it raises the errors of httpcore2.
    """

    def __init__(self, client: httpx2.Client, connection: Callable[[], httpcore2.ConnectionPool]) -> None:
        """`connection` makes one more."""
        self._client = client
        self._connection = connection
        self._free: deque[httpcore2.ConnectionPool] = deque()
        self._closed = False
        self._always = {name.lower(): value for name, value in client.headers.items()}
        self._timeouts = {"timeout": client.timeout.as_dict()}

    def takes(self, url: str) -> re.Match[str] | None:
        """The parts of an address that goes out as it is; None: the client has to ask."""
        found = _PLAIN.fullmatch(url)
        return found if found is not None and "/." not in found[4] and not self._client.cookies.jar else None

    def close(self) -> None:
        """Give back the connections; those that are in use end with what they are used for."""
        self._closed = True
        while self._free:
            self._free.pop().close()

    def ask(self, request: Request, url: re.Match[str], read: Callable[[Iterable[bytes]], bytes]) -> Response:
        """The answer; `read` takes its body in."""
        asked = self._asked(request, url)
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._connection()
        try:
            answer = connection.handle_request(asked)
            try:
                headers = _headers(answer)
                body = read(_unpacked(answer, packed="content-encoding" in headers))
            finally:
                answer.close()
        finally:
            if self._closed:
                connection.close()
            else:
                self._free.append(connection)
        if "set-cookie" in headers:  # from now on the client asks, which sends them back
            whole = httpx2.Response(answer.status, headers=answer.headers, request=httpx2.Request(request.method, url[0]))
            self._client.cookies.extract_cookies(whole)
        return Response(answer.status, headers, body)

    def _asked(self, request: Request, url: re.Match[str]) -> httpcore2.Request:
        scheme, host, port, target = url.groups()
        number = int(port) if port is not None and int(port) != _PORTS[scheme] else None
        said = {**self._always, **{name.lower(): value for name, value in request.headers.items()}}
        if request.body is not None or request.method in _ALWAYS_A_LENGTH:
            said["content-length"] = str(len(request.body or b""))
        head = [(b"host", (host if number is None else f"{host}:{number}").encode("ascii"))]
        head += [(name.encode("ascii"), value.encode("ascii")) for name, value in said.items()]
        return httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=scheme, host=host, port=number, target=target),
            headers=head,
            content=request.body,
            extensions=self._timeouts,
        )


def _headers(answer: httpcore2.Response) -> dict[str, str]:
    """By their names in lower case; a name that comes twice has both values."""
    found: dict[str, str] = {}
    for name, value in answer.headers:
        lower, shown = name.decode("latin-1").lower(), _decoded(value)
        found[lower] = f"{found[lower]}, {shown}" if lower in found else shown
    return found


def _unpacked(answer: httpcore2.Response, *, packed: bool) -> Iterator[bytes]:
    pieces = answer.iter_stream()
    return httpx2.Response(answer.status, headers=answer.headers, stream=_Packed(pieces)).iter_bytes() if packed else pieces


class _Packed(httpx2.SyncByteStream):
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
