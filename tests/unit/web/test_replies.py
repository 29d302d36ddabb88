"""What a sender hears: another status than 202, and its own word where it only tries the address."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from trueup.web.hooks import Hooks

TOKEN = {"x-token": "s3cret"}


class Box:
    """An inbox that keeps everything."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def submit(self, events: Any) -> Future[int]:
        self.events += events
        done: Future[int] = Future()
        done.set_result(len(events))
        return done


def asked(
    box: Box, reply: dict[str, Any], method: str = "POST", query: str = "", body: bytes = b"", **headers: str
) -> tuple[int, str, str]:
    """Status, content type and body of the answer."""
    verify = {"kind": "token", "header": "X-Token", "secret": "s3cret"}
    if headers.pop("signed", ""):
        verify = {"kind": "hmac", "header": "X-Signature", "secret": "s3cret"}
    hooks = Hooks(box, {"chat": {"webhook": {"verify": verify, "reply": reply}}})  # type: ignore[arg-type]
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(part: Any) -> None:
        said.append(part)

    scope = {"type": "http", "method": method, "path": "/hooks/chat", "raw_path": b"/hooks/chat", "query_string": query.encode()}
    asyncio.run(hooks({**scope, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}, receive, send))
    kind = dict(said[0]["headers"]).get(b"content-type", b"").decode()
    return said[0]["status"], kind, said[1]["body"].decode()


EVENT = b'{"object":"people","key":"1"}'


@pytest.mark.parametrize(("status", "body"), [(200, '{"status":"stored"}'), (201, '{"status":"stored"}'), (204, "")])
def test_what_is_stored_is_answered_as_the_sender_wants_it(status, body):
    box = Box()
    assert asked(box, {"status": status}, body=EVENT, **TOKEN)[::2] == (status, body)
    assert [event.key for event in box.events] == ["1"]
    assert asked(box, {"status": status}, body=EVENT)[0] == 401


def test_a_word_of_the_query_is_sent_back_as_text():
    box, reply = Box(), {"challenge": "query.hub.challenge"}
    assert asked(box, reply, "GET", "hub.mode=subscribe&hub.challenge=a%3Cb%3E") == (200, "text/plain; charset=utf-8", "a<b>")
    assert asked(box, reply, "POST", "hub.challenge=1158201444")[2] == "1158201444"
    for query in ("", "hub.challenge=", "hub.challenge=" + "x" * 1_001, "hub.challenge=a%00b", "other=1"):
        assert asked(box, reply, "GET", query)[0] == 405
    assert asked(box, {}, "GET", "hub.challenge=1")[0] == 405
    assert box.events == []


@pytest.mark.parametrize("body", [b'{"type":"url_verification","challenge":"3eZb\\"</script>"}'])
def test_a_word_of_the_body_is_sent_back_under_its_name(body):
    box, reply = Box(), {"challenge": "/challenge", "status": 200}
    status, kind, said = asked(box, reply, body=body, signed="yes")
    assert (status, kind, said) == (200, "application/json", '{"challenge": "3eZb\\"</script>"}')
    for other in (b"", b"no json", b'{"challenge":7}', b'{"challenge":null}', EVENT, b'{"challenge":"' + b"x" * 5_000 + b'"}'):
        assert asked(box, reply, body=other, signed="yes")[0] == 401
    assert asked(box, {**reply, "challenge": "/data/word"}, body=b'{"data":{"word":"w"}}', signed="yes")[2] == '{"word": "w"}'
    assert box.events == []
