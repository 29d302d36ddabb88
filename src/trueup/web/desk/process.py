"""The desk as a process of its own, so that no page delays a run, nor a run a page. It listens on a socket in a folder of ours alone.

It is begun when somebody first asks for a page, and anew when it has died. What it must know comes as JSON by its standard input; it ends
when that is closed, so that it never outlives who started it.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from trueup import scratch
from trueup.errors import TrueupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trueup.web.desk.place import Place

START_S = 60.0
END_S = 10.0
NICE = 3
"""It gives way to runs."""


class NotStartedError(TrueupError):
    """The desk could not be begun."""


class Handle:
    """The desk of one `serve`; nothing runs before `place` is asked for."""

    def __init__(self, config_file: str, log: Callable[[str], None], changed: Callable[[], None] = lambda: None) -> None:
        """`log` is told what goes wrong there; `changed` is called, from a thread, when somebody changed the configuration there."""
        self._file, self._log, self._changed = config_file, log, changed
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Its process now; None where none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def place(self) -> str:
        """The socket where it listens; it is begun where it does not run. Raises NotStartedError."""
        with self._guard:
            if self._stopped:
                raise NotStartedError("serve is ending")
            if self._process is None or self._process.poll() is not None:
                if self._process is not None:
                    self._log(f"the desk ended with status {self._process.returncode}, and is started anew")
                self._forget()
                self._begin()
            return str(self._socket)

    def renew(self) -> None:
        """Let it read the configuration anew, where it runs."""
        with self._guard, suppress(OSError):
            if self._process is not None and self._process.poll() is None:
                assert self._process.stdin is not None
                self._process.stdin.write(b"{}\n")
                self._process.stdin.flush()

    def rest(self) -> None:
        """End it until it is asked for again."""
        with self._guard:
            self._forget()

    def stop(self) -> None:
        """End it for good. May be called twice."""
        with self._guard:
            self._stopped = True
            self._forget()

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return self._folder / "s"

    def _begin(self) -> None:
        self._folder = scratch.new_folder("desk")
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "trueup.web.desk.process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.write(orjson.dumps({"file": self._file, "socket": str(self._socket)}) + b"\n")
            process.stdin.flush()
        said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(process, said), name="desk", daemon=True).start()
        try:
            first = said.get(timeout=START_S)
        except queue.Empty:
            first = {"failed": f"it was not ready within {START_S:.0f} s"}
        if "ready" not in first:
            process.kill()
            raise NotStartedError(f"the dashboard cannot be shown: {first['failed']}")

    def _listen(self, process: subprocess.Popen[bytes], said: queue.SimpleQueue[dict[str, Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told = orjson.loads(line)
            if "log" in told:
                self._log(str(told["log"]))
            elif "changed" in told:
                self._changed()
            else:
                said.put(told)
        said.put({"failed": "it ended at once"})

    def _forget(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            late = threading.Timer(END_S, process.kill)
            late.start()
            with suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
            process.wait()
            late.cancel()
        if self._folder is not None:
            scratch.remove(self._folder)
            self._folder = None


# ---------------------------------------------------------------- in the process


def main() -> None:
    """Serve until standard input ends."""
    import socket

    import uvicorn

    from trueup.config.begin import load_or_begin
    from trueup.store import Store
    from trueup.web.dashboard.app import mount
    from trueup.web.desk.app import build, guarded
    from trueup.web.desk.place import Place

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    logging.basicConfig(level=logging.WARNING, handlers=[_Says()])
    with suppress(OSError, AttributeError):
        os.nice(NICE)
    told = orjson.loads(sys.stdin.buffer.readline())
    try:
        config = load_or_begin(told["file"], connects=False)
        store = Store.open(config.state, create=False)
    except TrueupError as error:
        _tell({"failed": str(error)})
        return
    with store:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(told["socket"])
        listening.listen(512)
        place = Place(config, store, changed=lambda: _tell({"changed": True}))
        app = build(place)
        mount(app, place)
        settings = uvicorn.Config(
            guarded(app),
            ws="auto",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
        running = uvicorn.Server(settings)
        threading.Thread(target=_end_with_parent, args=(running, place), name="orders", daemon=True).start()
        _tell({"ready": os.getpid()})
        try:
            running.run(sockets=[listening])
        finally:
            app.state.jobs.stop()


def _end_with_parent(running: Any, place: Place) -> None:
    for _line in sys.stdin.buffer:  # the configuration is another one
        try:
            place.reload()
        except TrueupError as error:
            _tell({"log": f"the configuration stays as it was: {error}"})
    running.should_exit = True


class _Says(logging.Handler):
    """Tells whoever started this process what goes wrong."""

    def emit(self, record: logging.LogRecord) -> None:
        """Of others' messages the template alone: what they fill in is not known to hold no values."""
        try:
            own = record.name.startswith("trueup") or record.name == "__main__"
            words = record.getMessage() if own else f"{record.name}: {record.msg}"
            if record.exc_info is not None and record.exc_info[0] is not None:
                words += f" ({record.exc_info[0].__name__}{_where(record)})"
            _tell({"log": " ".join(words.split())})
        except Exception:  # noqa: BLE001  as logging asks
            self.handleError(record)


def _where(record: logging.LogRecord) -> str:
    """The last line of ours that an error passed through: file and number, no text."""
    trace, found = record.exc_info[2] if record.exc_info is not None else None, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "trueup" in file:
            found = f" at {os.path.basename(file)}:{trace.tb_lineno}"  # noqa: PTH119 - a name in a text, no path
        trace = trace.tb_next
    return found


def _tell(value: dict[str, Any]) -> None:
    with suppress(OSError):
        sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
