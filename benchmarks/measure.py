"""Measure a command: seconds on the wall, processor seconds, and the largest resident memory of the process itself."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Measured:
    """One command or call. `peak_mb` is None for a call inside this process."""

    seconds: float
    cpu_seconds: float
    peak_mb: float | None
    answer: dict[str, Any]


def command(words: Sequence[str], folder: Path, *, accepted: tuple[int, ...] = (0,)) -> Measured:
    """Run a command to its end. Raises RuntimeError with its output where it ends with another status."""
    begun = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_as_installed())
    peak = _Peak(process.pid)
    output = process.stdout.read() if process.stdout else b""
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    peak.stop()
    if process.returncode not in accepted:
        message = f"{' '.join(words)} ended with {process.returncode}: {output.decode(errors='replace')[-2000:]}"
        raise RuntimeError(message)
    try:
        answer = json.loads(output)
    except json.JSONDecodeError:
        answer = {}
    return Measured(seconds, usage.ru_utime + usage.ru_stime, peak.mb, answer)


@cache
def _as_installed() -> dict[str, str]:
    """The environment of a command as it is installed: compiled, where a source tree that has changed is compiled at each start."""
    compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=1)
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class _Peak:
    """The largest resident memory of a process, asked for while it runs: what the kernel tells at the end counts its parent's, too."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            try:
                lines = self._status.read_text(encoding="ascii").splitlines()
            except OSError:
                return
            self.mb = max([self.mb, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])

    def stop(self) -> None:
        """No longer look."""
        self._over.set()
        self._thread.join()


def trueup(folder: Path, *words: str) -> Measured:
    """Run trueup in a folder, as a user would, with JSON for an answer."""
    return command([sys.executable, "-m", "trueup", *words, "--json"], folder, accepted=(0, 3))


def call(work: Callable[[], object]) -> Measured:
    """Time a call inside this process."""
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return Measured(time.perf_counter() - begun, time.process_time() - cpu, None, {})
