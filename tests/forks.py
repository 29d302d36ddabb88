"""Commands of trueup as processes of their own that need not load it: forks of one that has.

A test of the command line starts a process per command, as a user does, and loading Polars and the rest takes most of its time. Here one
process per test session loads all of it, and each command is a fork of that one, with its own folder, environment and pipes; it takes the
same way through `trueup.__main__`. Tests of how a process starts, is loaded, limited or stopped start real ones.

    python -m tests.forks FD        the process that forks; it ends with the socket FD
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

STARTS_ANEW = ("PYTHON", "LC_", "LANG")
"""A variable of such a name means something when a process starts: what changes one cannot be a fork."""
NOT_LOADED = ("trueup.testing", "trueup.__main__", "trueup.store.migrations")
IDLE_THREADS = ("jemalloc_bg", "polars-ooc-clea")
"""What Polars starts when it is loaded: jemalloc knows about forks, and the other one waits for files that it has to remove."""
_guard = threading.Lock()
_server: tuple[subprocess.Popen[bytes], socket.socket] | None = None


def run(words: list[str], *, cwd: Path, env: dict[str, str], told: str | None, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """`trueup WORDS` to its end, with `told` on its stdin. Raises subprocess.TimeoutExpired, when it has been killed."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((told or "").encode())
        given.seek(0)
        status = _status(words, cwd, env, [given.fileno(), out.fileno(), err.fileno()], timeout_s)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8"))
    return subprocess.CompletedProcess(words, status, *texts)


def may_fork(env: dict[str, str]) -> bool:
    """Whether a process in this environment starts like the one that has loaded everything."""
    names = {name for name in {*env, *os.environ} if name.startswith(STARTS_ANEW)} - {"PYTHONPATH", "PYTHONIOENCODING"}
    path = {entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry}
    return sys.platform == "linux" and path <= set(sys.path) and all(env.get(name) == os.environ.get(name) for name in names)


def _status(words: list[str], cwd: Path, env: dict[str, str], files: list[int], timeout_s: float) -> int:
    """How a fork ended; below 0: by that signal."""
    with _guard:
        asked = _begun()
        order = json.dumps({"words": words, "cwd": str(cwd), "env": env}).encode()
        socket.send_fds(asked, [len(order).to_bytes(8, "big")], files)
        asked.sendall(order)
        pid = int.from_bytes(_exactly(asked, 8), "big")
        asked.settimeout(timeout_s)
        try:
            return int.from_bytes(_exactly(asked, 8), "big", signed=True)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            asked.settimeout(None)
            _exactly(asked, 8)
            raise subprocess.TimeoutExpired(words, timeout_s) from None
        finally:
            asked.settimeout(None)


def _begun() -> socket.socket:
    """The socket to the process that forks, started when first needed."""
    global _server  # noqa: PLW0603  one per test session
    if _server is not None and _server[0].poll() is None:
        return _server[1]
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "tests.forks", str(theirs.fileno())]
        path = os.pathsep.join(entry for entry in sys.path if entry)
        # Where NumPy is installed, openpyxl loads it, and its OpenBLAS would start a thread for each processor.
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
    _server = (process, ours)
    atexit.register(_end)
    return ours


def _end() -> None:
    if _server is not None:
        process, asked = _server
        asked.close()
        process.wait()


def _exactly(asked: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = asked.recv(size - len(found))
        if not part:
            message = "the process that forks has ended"
            raise RuntimeError(message)
        found += part
    return found


# ---------------------------------------------------------------- in the process that forks


def _load() -> None:
    """Load what commands load. Nothing of it may be at work in a thread: a fork has only the thread that forked."""
    import trueup

    for module in pkgutil.walk_packages(trueup.__path__, "trueup."):
        if not module.name.startswith(NOT_LOADED):
            importlib.import_module(module.name)
    for name in ("adbc_driver_postgresql.dbapi", "alembic.command", "fastexcel", "openpyxl", "psycopg", "pymysql"):
        importlib.import_module(name)
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    strange = [name for name in threads if not name.startswith(IDLE_THREADS)]
    if strange:
        message = f"loading trueup has started threads: {', '.join(strange)}"
        raise RuntimeError(message)


def serve(number: int) -> None:
    """Fork for every order that comes, one after the other, until nobody is there any more."""
    import gc

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # openpyxl loads numpy where it is, and that a thread for each processor
    _load()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as asked:
        while True:
            head, files, _flags, _address = socket.recv_fds(asked, 8, 3)
            if not head:
                return
            order = json.loads(_exactly(asked, int.from_bytes(head + _exactly(asked, 8 - len(head)), "big")))
            pid = os.fork()
            if pid == 0:
                asked.close()
                _become(order, files)
            for file in files:
                os.close(file)
            asked.sendall(pid.to_bytes(8, "big"))
            _pid, status = os.waitpid(pid, 0)
            asked.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))


def _become(order: dict[str, Any], files: list[int]) -> NoReturn:
    """Be the process that was ordered, from its start to its end."""
    status = 1
    try:
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        os.environ.clear()
        os.environ.update(order["env"])
        time.tzset()
        os.chdir(order["cwd"])
        sys.argv = ["trueup", *order["words"]]
        from trueup.__main__ import main

        try:
            status = main()
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    finally:
        with suppress(Exception):
            atexit._run_exitfuncs()
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
