"""A Kinto of its own: fetched by `tests/kinto/requirements.txt`, once, into `.servers/`; it keeps what it is given in memory."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server_programs import ServerUnavailableError
from tests.servers import free_port

WANTED = Path(__file__).parent / "kinto" / "requirements.txt"
ROOT = Path(__file__).parents[1] / ".servers"
FETCH_S = 300
START_S = 60
SETTINGS = """
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = a-test
kinto.bucket_create_principals = system.Authenticated
multiauth.policies = basicauth
[server:main]
use = egg:waitress
host = 127.0.0.1
port = {port}
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = ERROR
handlers =
"""
PROGRAM = "import sys; from kinto.__main__ import main; sys.exit(main(['start', '--ini', sys.argv[1]]))"


def _fetched() -> Path:
    """The folder in which its packages are. Raises ServerUnavailableError."""
    folder = ROOT / f"kinto-{hashlib.sha256(WANTED.read_bytes()).hexdigest()[:12]}"
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "kinto.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "fetched").exists():
            words = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), "--require-hashes", "-r", str(WANTED)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=FETCH_S, check=False)
            if done.returncode:
                raise ServerUnavailableError(f"Kinto could not be fetched: {done.stderr[-300:]}")
            (folder / "fetched").touch()
    return folder


@contextmanager
def kinto_server(home: Path) -> Iterator[str]:
    """The address of a server, which runs as long as the block; `home` is a folder for its settings. Raises ServerUnavailableError."""
    packages, port = _fetched(), free_port()
    (home / "kinto.ini").write_text(SETTINGS.format(port=port), encoding="utf-8")
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(home / "kinto.ini")]
    surroundings = {**os.environ, "PYTHONPATH": str(packages)}
    with (home / "kinto.log").open("wb") as log, subprocess.Popen(words, cwd=home, env=surroundings, stdout=log, stderr=log) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/v1/", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a server of our own on the loopback interface
                return
        except OSError:
            time.sleep(0.1)
    raise ServerUnavailableError("Kinto did not start")
