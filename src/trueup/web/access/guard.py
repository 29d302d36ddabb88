"""The guard in front of all pages and the API: nothing passes without a login but what is listed here, and every answer has its headers.

Plain ASGI, so that it also stands in front of websockets and of what other libraries serve. It knows who asks; which role a route needs,
the route says (`require`), and a test asks every route whether it does.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse

from trueup.errors import TrueupError
from trueup.web.access import sessions
from trueup.web.access.asking import USER
from trueup.web.access.problems import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from datetime import datetime

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from trueup.store import Store

    Message = MutableMapping[str, Any]

CLIENT = "x-trueup-client"
"""The header by which the receiver says from where a request came; it takes out whatever a client sends under such a name."""
ADDRESS = "trueup.address"
SECURE = "trueup.secure"
PUBLIC = frozenset({"/login", "/setup"})
"""All that is answered without a login, besides `/hooks`, `/healthz`, `/readyz` and `/metrics`, which never come here."""
API = "/api/"
COOKIE, SECURE_COOKIE = "trueup", "__Host-trueup"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

STRICT = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; object-src 'none'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
"""The dashboard's framework compiles its templates in the browser, and cannot do without `unsafe-eval`; all is served from here."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
]


class Guard:
    """Stands before an ASGI application."""

    def __init__(self, app: ASGIApp, store: Store, clock: Callable[[], datetime]) -> None:
        """`clock` gives the moment, aware, in UTC."""
        self._app, self._store, self._clock = app, store, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request or websocket in, or answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        scope[ADDRESS], scope[SECURE] = address_of(connection), is_secure(connection)
        refused = await self._refused(connection)
        if scope["type"] == "websocket":
            if refused is not None:
                await receive()
                await send({"type": "websocket.close", "code": 4401 if refused.status_code == 401 else 4403})
                return
            await self._app(scope, receive, send)
            return
        answer = _with_headers(scope, send)
        await (refused or self._app)(scope, receive, answer)

    async def _refused(self, connection: HTTPConnection) -> Response | None:
        """Find out who asks, and keep it in the scope; an answer for whoever may not."""
        scope = connection.scope
        try:
            shown = await self._who(connection)
        except TrueupError as error:
            return problem_of(error).response()
        path = str(scope["path"])
        if path in PUBLIC:
            return self._foreign(connection) if scope["type"] == "http" and scope["method"] not in SAFE else None
        if shown == "nobody":
            if scope["type"] == "http" and scope["method"] in SAFE and not path.startswith(API) and _wants_page(connection):
                return RedirectResponse(f"/login?next={quote(path, safe='/')}" if path != "/" else "/login", 303)
            return Problem(401, "log in first, or show a key that is good", kind="not-authenticated").response()
        if shown == "session" and (scope["type"] == "websocket" or scope["method"] not in SAFE):
            return self._foreign(connection)
        if shown == "key" and not path.startswith(API):
            return Problem(403, "a key opens the API alone", kind="not-allowed").response()
        return None

    async def _who(self, connection: HTTPConnection) -> str:
        """`session`, `key` or `nobody`; who it is stands in the scope."""
        scope, now = connection.scope, self._clock()
        kind, _, given = connection.headers.get("authorization", "").partition(" ")
        if given and kind.lower() == "bearer":
            found = await asyncio.to_thread(sessions.of_key, self._store, given.strip(), scope[ADDRESS], now)
            scope[USER] = found
            return "nobody" if found is None else "key"  # whoever shows a key that is not good does not get in by a cookie
        given = connection.cookies.get(SECURE_COOKIE if scope[SECURE] else COOKIE, "")
        scope[USER] = await asyncio.to_thread(sessions.of_session, self._store, given, now) if given else None
        return "nobody" if scope[USER] is None else "session"

    def _foreign(self, connection: HTTPConnection) -> Response | None:
        """An answer for what a page of somebody else sends in the name of whoever looks at it."""
        headers = connection.headers
        origin = headers.get("origin")
        if origin is not None:
            return None if _same(origin, connection) else _FOREIGN.response()
        # Browsers that send no Origin with a form of the same page tell at least from where it comes.
        return None if headers.get("sec-fetch-site") == "same-origin" else _FOREIGN.response()


_FOREIGN = Problem(403, "this was not sent by a page of this server", kind="foreign-origin", hint="open the page anew, and try again")


def _same(origin: str, connection: HTTPConnection) -> bool:
    """Whether an Origin is the address under which this was asked for."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or (connection.scope[SECURE] and parts.scheme != "https"):
        return False
    usual = {"http": 80, "https": 443}[parts.scheme]
    asked = urlsplit(f"//{connection.headers.get('host', '')}")
    with suppress(ValueError):
        return bool(parts.hostname) and parts.hostname == asked.hostname and (port or usual) == (asked.port or usual)
    return False


def address_of(connection: HTTPConnection) -> str:
    """From where a request comes: what a proxy on this machine says it is, else the other end of the connection."""
    direct = connection.headers.get(CLIENT, "")
    told = connection.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    with suppress(ValueError):
        if told and ipaddress.ip_address(direct).is_loopback:
            return str(ipaddress.ip_address(told))
    return direct[:64]


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the browser speaks TLS, with a proxy before us. Who lies about it only harms their own cookie."""
    return connection.headers.get("x-forwarded-proto", "").split(",")[-1].strip().lower() == "https"


def _wants_page(connection: HTTPConnection) -> bool:
    return "text/html" in connection.headers.get("accept", "")


def _with_headers(scope: Scope, send: Send) -> Callable[[Message], Awaitable[None]]:
    """A `send` that adds what protects the browser, where the answer does not say something else."""
    path = str(scope["path"])
    strict = path in PUBLIC or path.startswith(API)

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            there = {bytes(name).lower() for name, _ in headers}
            wanted = [*_HEADERS, (b"content-security-policy", (STRICT if strict else PAGES).encode())]
            if strict:
                wanted.append((b"cache-control", b"no-store"))
            if scope[SECURE]:
                wanted.append((b"strict-transport-security", b"max-age=31536000"))
            message["headers"] = [*headers, *(item for item in wanted if item[0] not in there)]
        await send(message)

    return answer
