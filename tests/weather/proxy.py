"""A TCP proxy that lets a network misbehave: cut, slow, swallowing everything, or losing the answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

Weather = Literal["fair", "cut", "slow", "black hole", "no answers"]
"""`cut`: connections are refused, and those that were open are gone. `slow`: `SLOW_S` more each way. `black hole`: connections are taken,
and nothing passes either way. `no answers`: what is asked arrives, and what is answered does not; then the connection is gone.
"""
SLOW_S = 0.2
BYTES = 1 << 16
LOOK_S = 0.2


class Proxy:
    """Between 127.0.0.1:`port` and a server on this machine. Use as a context manager."""

    def __init__(self, server_port: int) -> None:
        self._server = ("127.0.0.1", server_port)
        self._weather: Weather = "fair"
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def through(self, url: str) -> str:
        """The same address, reached through this proxy."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{self.port}")))

    def turn(self, weather: Weather) -> None:
        """From now on it is like this."""
        self._weather = weather
        if weather == "cut":
            self._cut()

    def _cut(self) -> None:
        with self._turn:
            gone, self._open = self._open, set()
        for one in gone:
            _close(one)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            if self._weather == "cut":
                _close(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server, timeout=5)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._turn:
            self._open |= {client, server}
        answers = threading.Thread(target=self._pass, args=(server, client, True), daemon=True)
        answers.start()
        self._pass(client, server, False)
        answers.join()
        with self._turn:
            self._open -= {client, server}

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        """Hand on what comes, as the weather is, until either side ends."""
        with contextlib.suppress(OSError):
            while data := source.recv(BYTES):
                while self._weather == "black hole" and not self._ended.is_set():
                    time.sleep(LOOK_S)
                if self._weather == "slow":
                    time.sleep(SLOW_S)
                if self._weather == "no answers" and answers:
                    break
                target.sendall(data)
        _close(source)
        _close(target)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
