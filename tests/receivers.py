"""A receiver of notices, as others have them: it takes messages by HTTP, looks at their signatures, and may be told to behave badly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

import orjson
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
Behaviour = Callable[["Told", Any], int | None]


@dataclass(frozen=True)
class Told:
    """One message as it came."""

    number: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """What it says."""
        return dict(orjson.loads(self.body))

    @property
    def data(self) -> dict[str, Any]:
        """What it says of the record."""
        return dict(self.said["data"])


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is that of the secret, whenever it was made: tests have clocks of their own."""
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    return Webhook(secret).sign(headers["webhook-id"], at, body.decode()) in headers["webhook-signature"].split(" ")


class Receiver:
    """Listens at `url`. `behave(told, handler)` gives the status to answer with; None: it has answered, or not, by itself."""

    def __init__(self, behave: Behaviour | None = None, *, secret: str = SECRET, port: int = 0) -> None:
        self.behave = behave or (lambda _told, _handler: 204)
        self.came: list[Told] = []  # whatever was asked
        self.told: list[Told] = []  # what was answered with a success
        self.connections = 0
        self.closing = Event()
        self._turn = Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                with receiver._turn:
                    receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                assert is_genuine(secret, headers, body)  # else it answers nothing
                told = Told(headers["webhook-id"], headers, body)
                with receiver._turn:
                    receiver.came.append(told)
                status = receiver.behave(told, self)
                if status is None:
                    return
                if 200 <= status < 300:
                    with receiver._turn:
                        receiver.told.append(told)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_about: object) -> None:
                pass  # whoever asked has gone

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/told?by=trueup"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def records(self) -> set[int]:
        """Of which records it heard."""
        return {one.data["record"] for one in self.told}


def drip(told: Told, handler: Any) -> None:
    """Answer one byte at a time, for ever."""
    del told
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def huge(told: Told, handler: Any) -> None:
    """Answer well, with a body without end."""
    del told
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
    while True:
        handler.wfile.write(b"x" * 65_536)


def endless_head(told: Told, handler: Any) -> None:
    """Answer with a head without end."""
    del told
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Much: " + b"x" * 1000 + b"\r\n")


def babble(told: Told, handler: Any) -> None:
    """Answer in another language."""
    del told
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")


def redirect(told: Told, handler: Any) -> None:
    """Send it somewhere else."""
    del told
    handler.wfile.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


def later(seconds: str) -> Behaviour:
    """Ask for a pause."""

    def behave(told: Told, handler: Any) -> None:
        del told
        handler.wfile.write(f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n".encode())

    return behave
