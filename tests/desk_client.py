"""The desk's application, asked within the test's own process, as a browser or a program asks it through the receiver."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson

from trueup.model import Config
from trueup.store import Store
from trueup.store.person import Role
from trueup.web.access import keys, people
from trueup.web.desk.app import build, guarded
from trueup.web.desk.place import Place

HOST = "desk.test:8080"
ORIGIN = f"http://{HOST}"
PASSWORD = "eleven quiet lamps"
BEGAN = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@dataclass
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str]
    text: str
    cookies: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return orjson.loads(self.text)


class Desk:
    """The application on a state; `now` is its clock's moment, and moves by `pass_`."""

    def __init__(self, config: Config, store: Store, now: datetime = BEGAN) -> None:
        self.store, self.now = store, now
        self.app = build(Place(config, store, clock=lambda: self.now))
        self._served = guarded(self.app)

    def pass_(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)

    def person(self, name: str, role: Role, password: str = PASSWORD) -> None:
        """Somebody with a password."""
        _one, token = people.add(self.store, name, role, self.now)
        people.accept(self.store, token, None, password, self.now)

    def key(self, owner: str, *scopes: str) -> str:
        """A key of somebody."""
        return keys.make(self.store, owner, "a program", list(scopes), 90, self.now)[1]

    def logged_in(self, name: str, password: str = PASSWORD) -> Browser:
        """A browser in which somebody has logged in."""
        browser = Browser(self)
        answer = browser.post("/login", {"name": name, "password": password})
        assert answer.status == 303, answer.text
        return browser

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", address: str = "192.0.2.7") -> Answer:
        """One request, as the receiver hands it on."""
        given = {"host": HOST, "x-trueup-client": address} | (headers or {})
        if body:
            given["content-length"] = str(len(body))
        path, _, query = path.partition("?")
        scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path}
        scope |= {"raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http", "state": {}}
        scope |= {"headers": [(name.lower().encode(), value.encode()) for name, value in given.items()], "client": None, "server": None}
        sent: list[dict[str, Any]] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            await asyncio.Event().wait()
            return {}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(_until_sent(self._served(scope, receive, send)))
        head = sent[0]
        found = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in head["headers"]]
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        return Answer(head["status"], dict(found), text, [value for name, value in found if name == "set-cookie"])

    def websocket(self, path: str, headers: dict[str, str]) -> str:
        """What becomes of a websocket: `websocket.accept`, or `websocket.close` with its code."""
        scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
        }
        given = {"host": HOST, "x-trueup-client": "192.0.2.7"} | headers
        scope |= {"query_string": b"", "root_path": "", "scheme": "ws", "state": {}, "subprotocols": [], "client": None, "server": None}
        scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(_until_sent(self._served(scope, receive, send)))
        return f"{sent[0]['type']} {sent[0].get('code', '')}".strip()


async def _until_sent(asked: Any) -> None:
    async with asyncio.timeout(60):
        await asked


class Browser:
    """Keeps the cookie, and says where its requests come from, as browsers do."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        """Look at something."""
        return self._asked("GET", path, {"accept": "text/html"} | headers, b"")

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        """Send a form."""
        given = {"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"} | headers
        return self._asked("POST", path, given, urlencode(form or {}).encode())

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Call the API, as a page does."""
        given = {"origin": ORIGIN, "content-type": "application/json"} | headers
        return self._asked(method, path, given, b"" if body is None else orjson.dumps(body))

    def _asked(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.desk.ask(method, path, headers | ({"cookie": shown} if shown else {}), body)
        for cookie in answer.cookies:
            name, _, rest = cookie.partition("=")
            value, _, more = rest.partition(";")
            if "Max-Age=0" in more:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer
