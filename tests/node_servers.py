"""Servers of others that run on Node.js: fetched from the npm registry by `tests/node/package-lock.json`, once, into `.servers/`.

Node.js and npm are those of the system; where they are missing, a test that needs them says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server_programs import ServerUnavailableError
from tests.servers import free_port

HERE = Path(__file__).parent / "node"
ROOT = Path(__file__).parents[1] / ".servers"
FETCH_S = 300


def _fetched() -> Path:
    """The folder in which the packages are."""
    lock = (HERE / "package-lock.json").read_bytes()
    folder = ROOT / f"node-{hashlib.sha256(lock).hexdigest()[:12]}"
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "node.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "fetched").exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
            if done.returncode:
                raise ServerUnavailableError(f"npm could not fetch what the tests talk to: {done.stderr[-300:]}")
            (folder / "fetched").touch()
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


@contextmanager
def node_server(script: str) -> Iterator[str]:
    """The address of a server of its own, which runs as long as the block. Raises ServerUnavailableError."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ServerUnavailableError("node and npm are not installed: Debian's packages nodejs and npm have them")
    folder, port = _fetched(), free_port()
    with subprocess.Popen(["node", script, str(port)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline() != "ready\n":
                raise ServerUnavailableError(f"{script} did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
