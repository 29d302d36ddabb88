"""Requests that go out without the HTTP client say and hear the same as those that it sends."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from trueup.connectors.rest.client import Client, ReplyLostError
from trueup.connectors.rest.message import Request
from trueup.connectors.rest.schema_http import HttpShape
from trueup.connectors.rest.straight import Straight
from trueup.errors import ObjectUnreadableError, SystemUnreachableError
from trueup.testing.rest_http import Answer, Asked, Server

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
BOTH = pytest.mark.parametrize("straight", [True, False])


class Application:
    """Answers as told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        self.server = Server(self._answer)

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answers.pop(0) if self.answers else Answer(200, b"{}", {"content-type": "application/json"})


@pytest.fixture
def application() -> Iterator[Application]:
    made = Application()
    yield made
    made.server.close()


@pytest.fixture
def asking(application, monkeypatch) -> Iterator[Any]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    opened: list[Client] = []

    def ask(*, straight: bool, **http: Any) -> Client:
        if not straight:
            monkeypatch.setattr(Straight, "takes", lambda *_: None)
        opened.append(Client("crm", HttpShape(base_url=application.server.url, attempts=1, **http), application.server.url))
        return opened[-1]

    yield ask
    for one in opened:
        one.close()


def said(asked: Asked) -> tuple[Any, ...]:
    return asked.method, asked.path, asked.pairs, dict(asked.headers), asked.body


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/contacts", {"limit": "5", "name": ["Zoë O'Neil", "a&b"]}),
        Request("GET", "/contacts/a%2Fb/%C3%A9"),
        Request("POST", "/contacts", {}, {"Content-Type": "application/json", "X-Two": "2"}, b'{"name": "\xc3\xa9"}'),
        Request("POST", "/contacts"),
        Request("PATCH", "/contacts/7", {}, {"User-Agent": "another", "if-match": '"3"'}, b"{}"),
        Request("DELETE", "/contacts/7"),
        Request("GET", "/it is/here", {"a": ""}),
        Request("GET", "/a/../b/./c"),
    ],
    ids=lambda request: f"{request.method} {request.url}",
)
def test_the_same_goes_out(application, asking, request_):
    asking(straight=True).ask(request_)
    asking(straight=False).ask(request_)
    straight, client = (said(asked) for asked in application.asked)
    assert straight == client


def test_plain_ones_do_not_pass_the_client(asking, monkeypatch):
    monkeypatch.setattr(httpx2.Client, "send", lambda *_, **__: pytest.fail("it passed the client"))
    opened = asking(straight=True)
    assert opened.ask(Request("GET", "/contacts", {"since": "2026-11-20T02:00:00Z"}))[0].json() == {}
    assert opened.ask(Request("POST", "/contacts", {}, {}, b"{}"))[0].status == 200


@BOTH
def test_an_answer_is_unpacked_and_its_headers_are_read(application, asking, straight):
    packed = gzip.compress(b'{"name": "Ada"}')
    application.answers = [Answer(200, packed, {"Content-Encoding": "gzip", "X-Town": "Köln", "ETag": '"1"'})]
    response, trouble = asking(straight=straight).ask(Request("GET", "/contacts"))
    assert trouble is None
    assert response.json() == {"name": "Ada"}
    assert (response.headers["x-town"], response.headers["etag"]) == ("Köln", '"1"')


@BOTH
@pytest.mark.parametrize("packed", [True, False])
def test_what_is_too_large_is_not_taken_in(application, asking, straight, packed):
    large = b'"' + b"x" * 800_000 + b'"'
    application.answers = [Answer(200, gzip.compress(large), {"content-encoding": "gzip"}) if packed else Answer(200, large)]
    opened = asking(straight=straight, max_body_mb=0.5)
    with pytest.raises(ObjectUnreadableError, match=r"more than 0\.5 MB"):
        opened.ask(Request("GET", "/contacts"))
    assert opened.ask(Request("GET", "/contacts"))[0].json() == {}


@BOTH
@pytest.mark.parametrize(
    "answer", [Answer(lost=True), Answer(200, b"no gzip", {"content-encoding": "gzip"})], ids=["broken off", "not to be unpacked"]
)
def test_a_reply_that_is_lost(application, asking, straight, answer):
    application.answers = [answer]
    opened = asking(straight=straight)
    with pytest.raises(ReplyLostError):
        opened.ask(Request("POST", "/contacts", {}, {}, b"{}"))
    assert opened.ask(Request("GET", "/contacts"))[0].json() == {}


@BOTH
def test_a_slow_reply_is_not_known_to_be_none(application, asking, straight):
    application.answers = [Answer(after_s=20)]
    with pytest.raises(ReplyLostError, match="did not answer within"):
        asking(straight=straight, timeout_s=0.2).ask(Request("GET", "/contacts"))


@BOTH
def test_where_nobody_listens(application, asking, straight):
    application.server.close()
    with pytest.raises(SystemUnreachableError, match="cannot be reached") as raised:
        asking(straight=straight).ask(Request("GET", "/contacts"))
    assert not isinstance(raised.value, ReplyLostError)


@BOTH
def test_a_header_that_cannot_be_sent(asking, straight):
    with pytest.raises(ObjectUnreadableError, match="cannot be sent"):
        asking(straight=straight).ask(Request("GET", "/contacts", {}, {"X-Name": "Zoë"}))


def test_cookies_are_sent_back(application, asking):
    application.answers = [Answer(200, b"{}", {"set-cookie": "session=7; Path=/"})]
    opened = asking(straight=True)
    opened.ask(Request("GET", "/contacts"))
    opened.ask(Request("GET", "/contacts"))
    assert "cookie" not in application.asked[0].headers
    assert application.asked[1].headers["cookie"] == "session=7"
