"""A request goes out in one piece."""

from __future__ import annotations

from typing import Any

import httpcore2
import httpx2
import pytest

from trueup.connectors.rest import joined


class Wire(httpcore2.NetworkStream):
    """What is sent through it, piece by piece."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.sent: list[bytes] = []
        self.breaks = breaks

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self.breaks:
            raise httpcore2.WriteError("gone")
        self.sent.append(buffer)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b"answer"


def test_head_and_body_are_sent_together_when_the_answer_is_wanted():
    wire = Wire()
    stream = joined._Stream(wire)
    stream.write(b"POST / HTTP/1.1\r\n\r\n")
    stream.write(b"body")
    stream.write(b"")
    assert wire.sent == []
    assert stream.read(100) == b"answer"
    assert wire.sent == [b"POST / HTTP/1.1\r\n\r\nbody"]
    stream.read(100)
    assert len(wire.sent) == 1


def test_a_large_body_does_not_wait():
    wire = Wire()
    stream = joined._Stream(wire)
    for _ in range(4):
        stream.write(b"x" * (joined.ENOUGH_BYTES // 2))
    assert [len(piece) for piece in wire.sent] == [joined.ENOUGH_BYTES, joined.ENOUGH_BYTES]


def test_who_answers_before_all_was_sent_is_heard():
    stream = joined._Stream(Wire(breaks=True))
    stream.write(b"POST")
    assert stream.read(100) == b"answer"


@pytest.mark.parametrize("names", [("HTTPS_PROXY",), ("http_proxy",), ()])
def test_a_proxy_of_the_environment_is_left_to_the_client(monkeypatch, names):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    made: Any = joined.transport(limits=httpx2.Limits(), verify=False)
    assert (made is None) == bool(names)
