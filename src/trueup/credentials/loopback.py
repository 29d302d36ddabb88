"""The answer of a browser, on this machine alone (RFC 8252, 7.3): a small server that waits for one visit and shows one plain page."""

from __future__ import annotations

import hmac
import html
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

from trueup.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from trueup.credentials.grant import Grant

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>trueup</title>
<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #111 }} }}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
LONGEST_ADDRESS = 16_384


class Loopback:
    """Listens while it is open. `answers` gets the parameters of each visit to the right path that knows `state`."""

    def __init__(self, grant: Grant, state: str) -> None:
        """Listen on the registered port, or any free one. Raises UsageError where somebody else has it."""
        self.answers: Queue[dict[str, str]] = Queue()
        self._state = state
        self._path = grant.redirect_path
        family = socket.AF_INET6 if grant.redirect_host == "::1" else socket.AF_INET
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"

        class Server(ThreadingHTTPServer):
            address_family = family
            daemon_threads = True
            allow_reuse_address = True

        try:
            self._server = Server((host, grant.redirect_port), _handler(self))
        except OSError as error:
            raise UsageError(
                f"nothing can listen on port {grant.redirect_port} of this machine: {error.strerror}",
                hint="end the program that has it, or register another port and write it as `redirect_port`",
                system=grant.system,
            ) from error
        port = self._server.server_address[1]
        shown = "[::1]" if grant.redirect_host == "::1" else grant.redirect_host
        self.authority = f"{shown}:{port}"
        self.redirect_uri = f"http://{self.authority}{self._path}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="loopback", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Itself; it is closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def visited(self, target: str, host: str) -> tuple[HTTPStatus, str, str]:
        """What a visitor is shown: status, title and text."""
        parts = urlsplit(target)
        if parts.path != self._path or host != self.authority or len(target) > LONGEST_ADDRESS:
            return HTTPStatus.NOT_FOUND, "Nothing here", "This address only waits for an answer to trueup."
        said = parameters(parts.query)
        if not known_state(said, self._state):
            return (
                HTTPStatus.BAD_REQUEST,
                "Not this one",
                "This answer is not one to the question that trueup asked. Begin again in the terminal.",
            )
        self.answers.put(said)
        if "error" in said:
            return HTTPStatus.OK, "Access was not given", "The terminal says more. You can close this page."
        return HTTPStatus.OK, "Access was given", "trueup goes on in the terminal. You can close this page."


def parameters(query: str) -> dict[str, str]:
    """The parameters of an answer; of one that is there twice, none (RFC 6749, 3.1)."""
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def known_state(said: dict[str, str], state: str) -> bool:
    """Whether it answers this question, and no other."""
    return hmac.compare_digest(said.get("state", "").encode(), state.encode())


def _handler(loopback: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "trueup"
        sys_version = ""
        timeout = 10.0

        def do_GET(self) -> None:
            status, title, text = loopback.visited(self.path, self.headers.get("Host", ""))
            body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
            self.send_response(status)
            for name, value in (
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Referrer-Policy", "no-referrer"),  # the address holds the code
                ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
                ("Connection", "close"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
            """Nothing: the address holds the code."""

    return Handler
