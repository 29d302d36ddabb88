"""Programs of others that are written in Python: fetched by `tests/python/*.txt`, once, into `.servers/`.

They are kept out of the environment of the project, whose packages they would otherwise decide about.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.server_programs import ServerUnavailableError

HERE = Path(__file__).parent / "python"
ROOT = Path(__file__).parents[1] / ".servers"
FETCH_S = 300


def fetched(name: str) -> Path:
    """The folder with the packages of `tests/python/NAME.txt`. Raises ServerUnavailableError."""
    wanted = HERE / f"{name}.txt"
    release = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = ROOT / f"{name}-{release}-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    ROOT.mkdir(exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "fetched").exists():
            words: list[str | Path] = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--upgrade",
                "--target",
                folder,
                "--require-hashes",
                "-r",
                wanted,
            ]
            done = subprocess.run(words, capture_output=True, text=True, timeout=FETCH_S, check=False)
            if done.returncode:
                raise ServerUnavailableError(f"{name} could not be fetched: {done.stderr[-300:]}")
            (folder / "fetched").touch()
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The environment in which Python finds these packages."""
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
