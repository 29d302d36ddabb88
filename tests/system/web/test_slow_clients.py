"""Many clients that send next to nothing: who has most connections loses some, and everybody else gets in."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Thread
from typing import Any

import pytest

from trueup.web.server import listen, server

PATIENCE_S = 60.0
MOST = 20
HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers once all of a request is there."""
    del scope
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port() -> Iterator[int]:
    """A server for which twenty may wait."""
    listening = listen("127.0.0.1", 0)
    running = server(app, most_waiting=MOST)
    thread = Thread(target=lambda: running.run(sockets=[listening]))
    thread.start()
    yield int(listening.getsockname()[1])
    running.should_exit = True
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def connected(stack: ExitStack, port: int, source: str, count: int, sent: bytes = HEAD) -> list[socket.socket]:
    """Connections from an address that have sent something."""
    made = []
    for _number in range(count):
        made.append(stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(source, 0)))))
        made[-1].sendall(sent)
    return made


def closed(connection: socket.socket) -> bool:
    """Whether the server closes it; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answered(connection: socket.socket, rest: bytes = b"\r\n") -> bool:
    """Whether the rest of a request is answered."""
    connection.sendall(rest)
    return connection.recv(12) == b"HTTP/1.1 200"


def test_many_slow_heads_of_one_client_keep_nobody_out(port: int) -> None:
    with ExitStack() as stack:
        others = connected(stack, port, "127.0.0.2", 3)
        many = connected(stack, port, "127.0.0.1", 3 * MOST)
        others += connected(stack, port, "127.0.0.3", 3)
        assert all(closed(connection) for connection in many[: 2 * MOST + 6])  # the oldest
        assert all(answered(connection) for connection in others)
        assert answered(many[-1])


def test_slow_bodies_and_connections_kept_alive_count_as_well(port: int) -> None:
    with ExitStack() as stack:
        idle = connected(stack, port, "127.0.0.1", MOST, HEAD + b"\r\n")
        for connection in idle:
            text = b""
            while not text.endswith(b"ok"):
                text += connection.recv(1000)
        bodies = connected(stack, port, "127.0.0.1", 5, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n1")
        until = time.monotonic() + PATIENCE_S
        while len(gone := select.select(idle, [], [], 0.05)[0]) < 5:
            assert time.monotonic() < until
        assert [closed(connection) for connection in gone] == [True] * 5
        assert all(answered(connection, b"2") for connection in bodies)
