"""The soak in bad weather, played for a short while; and that the proxy does to connections what it says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.weather.proxy import Proxy
from tests.weather.soak import Soak


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that gives back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            with client:
                while data := client.recv(100):
                    client.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.close()


def ask(port: int, timeout_s: float = 5.0) -> bytes:
    """One question, one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client:
        client.settimeout(timeout_s)
        client.sendall(b"hello")
        return client.recv(100)


def refused(port: int) -> bool:
    """Whether no answer comes, and that at once."""
    try:
        return ask(port) == b""
    except ConnectionError:
        return True


def test_the_proxy_does_what_it_says(echo: int) -> None:
    with Proxy(echo) as proxy:
        assert proxy.through(f"postgresql://me:pass@127.0.0.1:{echo}/db?x=1") == f"postgresql://me:pass@127.0.0.1:{proxy.port}/db?x=1"
        assert ask(proxy.port) == b"hello"
        proxy.turn("slow")
        assert ask(proxy.port) == b"hello"
        proxy.turn("black hole")
        with pytest.raises(TimeoutError):
            ask(proxy.port, 0.3)
        proxy.turn("no answers")
        assert ask(proxy.port) == b""
        proxy.turn("cut")
        assert refused(proxy.port)
        proxy.turn("fair")
        assert ask(proxy.port) == b"hello"


@pytest.mark.slow
def test_in_bad_weather_no_edit_is_lost(tmp_path: Path) -> None:
    with ExitStack() as stack:
        Soak(stack, tmp_path, 1).play(60)
