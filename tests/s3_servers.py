"""A private S3 server for tests: moto's, as a process of its own, on a free loopback port; and one that answers what it is told to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import boto3

START_LIMIT_S = 60.0
POLL_S = 0.1


class S3Server:
    """One running server. `address` is an `s3://` address of a bucket of its own; `client` sees what is in it."""

    def __init__(self, port: int) -> None:
        """Nothing is asked yet."""
        self.endpoint = f"http://127.0.0.1:{port}"
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="ours", aws_secret_access_key="s3cret/+word"
        )

    def address(self, bucket: str, folder: str = "") -> str:
        """The address of a folder in a bucket."""
        place = f"{bucket}/{folder}" if folder else bucket
        return f"s3://ours:s3cret%2F+word@{place}?region=us-east-1&endpoint={self.endpoint}"

    def keys(self, bucket: str) -> list[str]:
        """The names of all objects of a bucket."""
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server until the end of the block."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=said,
            stderr=said,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise RuntimeError(f"the S3 server does not answer: {said.read().decode(errors='replace')[-500:]}")
                time.sleep(POLL_S)
            yield S3Server(port)
        finally:
            process.terminate()
            process.wait(START_LIMIT_S)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def one_that_says(*answers: tuple[int, str]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers these in turn, the last one for good: status and body. Gives its endpoint, and what was asked of it."""
    asked: list[str] = []

    class Said(BaseHTTPRequestHandler):
        """Answers all of it alike."""

        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_PUT = do_HEAD = _answer  # noqa: N815  the names are those of http.server

        def log_message(self, *words: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Said)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def package_in(folder: Path) -> Path:
    """A small package: its statement, and a file with bytes of every kind."""
    folder.mkdir()
    (folder / "datapackage.json").write_text("{}")
    (folder / "invoice.csv").write_bytes(bytes(range(256)) * 3_000)
    return folder
