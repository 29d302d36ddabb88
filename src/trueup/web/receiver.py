"""The receiver: a process of its own that verifies what comes and stores it, so that a busy run delays no answer.

It holds the port of `serve`, and answers what else is asked there (`front.py`) with the help of the process that started it.

Who starts it keeps the listening socket: while a receiver that was killed is started anew, connections wait and none is refused. What it
must know comes as JSON by its standard input, one line each time something changes (secrets stand in no argument and in no file); it ends
when that is closed, so that it never outlives who started it. Its standard output tells what it counts, what it asks, and what goes wrong.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import orjson

from trueup.errors import TrueupError, UsageError
from trueup.web.behind import Behind
from trueup.web.front import FAILED, Answer, Front
from trueup.web.hooks import hooks_of
from trueup.web.tally import added

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from trueup.model import Config

HOST = "127.0.0.1"
PORT = 8080
START_S = 30.0
END_S = 10.0
TELL_S = 1.0
AGAIN_S = (0.0, 0.0, 0.2, 1.0, 5.0)
"""How long to wait before a receiver that ended is started anew, the longer the more often it did so lately."""
LONG_LIVED_S = 60.0
_log = logging.getLogger(__name__)


class Handle:
    """A receiver that was started, is started anew when it dies, and is stopped by `stop`."""

    def __init__(
        self,
        first: bytes,
        listening: socket.socket,
        *,
        told: Callable[[dict[str, Any]], None] | None = None,
        answer: Callable[[str], Answer] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        """Start the process; `told` is called with what it counts, from another thread, at most once a second.

        `answer(what)` is asked for what only this process knows, in a thread of its own; `log` is told what goes wrong there.
        """
        self.host, self.port = str(listening.getsockname()[0]), int(listening.getsockname()[1])
        self.restarts = 0
        self.counts: dict[str, Any] = {}
        self._before: dict[str, Any] = {}  # what receivers counted that have ended
        self._listening = listening
        self._first = first
        self._told = told
        self._answer = answer
        self._log = log or _log.warning
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._process = self._started()
        self._watcher = threading.Thread(target=self._watch, name="receiver", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The process now."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs now."""
        return self._process.poll() is None

    @property
    def totals(self) -> dict[str, Any]:
        """What was counted since this was started, also by receivers that have ended; empty where nothing was."""
        return added(self._before, self.counts)

    def change(self, config: Config) -> None:
        """Let it know another configuration: other secrets, other systems. Who is sending meanwhile notices nothing."""
        with self._guard:
            before = orjson.loads(self._first)
            self._first = _line(config, before["state"], desk=before["desk"])
            self._say(self._process, self._first)

    def stop(self) -> None:
        """End it: what is being stored is answered first. May be called twice."""
        self._stopping.set()
        with self._guard:
            process = self._process
            # One that reads nothing any more would keep whoever is telling it something, and then us, for ever.
            late = threading.Timer(END_S, process.kill)
            late.start()
            with suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()
        process.wait()
        late.cancel()
        self._watcher.join(END_S)
        self._listening.close()

    def _started(self) -> subprocess.Popen[bytes]:
        """A process that has said that it is ready. Raises TrueupError with what it says instead."""
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "trueup.web.receiver", str(self._listening.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
        )
        self._say(process, self._first)
        assert process.stdout is not None
        answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        stdout = process.stdout
        threading.Thread(target=lambda: answers.put(stdout.readline()), name="receiver start", daemon=True).start()
        try:
            answer = orjson.loads(answers.get(timeout=START_S) or b'{"failed": "it ended at once"}')
        except queue.Empty:
            answer = {"failed": f"it was not ready within {START_S:.0f} s"}
        if "failed" in answer:
            process.kill()
            _ended(process)
            raise UsageError(f"webhooks cannot be received: {answer['failed']}", hint=answer.get("hint"))
        return process

    def _say(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        with suppress(OSError, ValueError):  # it has ended: the next one is told
            process.stdin.write(line + b"\n")
            process.stdin.flush()

    def _watch(self) -> None:
        quick = 0
        while True:
            began = time.monotonic()
            self._listen_to(self._process)
            _ended(self._process)
            if self._stopping.is_set():
                return
            self._log(f"the receiver ended with status {self._process.returncode}, and is started anew")
            self._before, self.counts = self.totals, {}
            quick = 0 if time.monotonic() - began > LONG_LIVED_S else quick + 1
            while not self._begun_anew(quick):
                quick += 1
                if self._stopping.is_set():
                    return

    def _begun_anew(self, quick: int) -> bool:
        """Start it again; False where that failed, or nobody wants it any more. `quick`: how often in a row it ended soon."""
        self._stopping.wait(AGAIN_S[min(quick, len(AGAIN_S) - 1)])
        with self._guard:
            if self._stopping.is_set():
                return False
            try:
                self._process = self._started()
            except TrueupError as error:
                self._log(str(error))
                return False
        self.restarts += 1
        return True

    def _listen_to(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = orjson.loads(line)
            if "ask" in said:
                threading.Thread(target=self._reply, args=(process, said["ask"]), name="answer", daemon=True).start()
            elif "log" in said:
                self._log(said["log"])
            else:
                self.counts = said
                if self._told is not None:
                    self._told(self.counts)

    def _reply(self, process: subprocess.Popen[bytes], what: str) -> None:
        """Answer a question of the receiver, whatever happens: it asks the same again only when it was answered."""
        answer = FAILED
        try:
            if self._answer is not None:
                answer = self._answer(what)
        except Exception as error:  # noqa: BLE001  a defect here must not keep the port from answering
            self._log(f"{what} could not be told: {type(error).__name__}")
        self._say(process, orjson.dumps({"answer": what, "with": answer.plain()}))


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that ends, and give back its pipes."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def start(
    config: Config,
    state_target: str,
    host: str = HOST,
    port: int = PORT,
    *,
    told: Callable[[dict[str, Any]], None] | None = None,
    answer: Callable[[str], Answer] | None = None,
    log: Callable[[str], None] | None = None,
    desk: bool = False,
) -> Handle:
    """Hold a port, and receive webhooks for every system that has one, in a process of its own, until `stop`; see `Handle`.

    With a `desk`, whatever else is asked for is handed on to it: `answer` says where it listens.
    The inbox is made where it is missing, and there are webhooks. Raises UsageError where the port is taken, StateError where the inbox
    cannot be had.
    """
    from trueup.store.inbox import Inbox
    from trueup.web.server import listen

    if hooked(config):
        Inbox.open(state_target).close()
    listening = listen(host, port)
    try:
        return Handle(_line(config, state_target, desk=desk), listening, told=told, answer=answer, log=log)
    except BaseException:
        listening.close()
        raise


def hooked(config: Config) -> list[str]:
    """The systems that have a webhook."""
    return [name for name, system in config.systems.items() if system.webhook is not None]


def records_of(config: Config) -> dict[str, list[tuple[str, ...]]]:
    """Of each system that only pushes, the key columns of its mappings."""
    found: dict[str, list[tuple[str, ...]]] = {name: [] for name, system in config.systems.items() if system.connector == "webhook"}
    for entity in config.entities.values():
        for name, mapping in entity.mappings.items():
            if name in found and mapping.object.key not in found[name]:
                found[name].append(mapping.object.key)
    return found


def _line(config: Config, state_target: str, *, desk: bool) -> bytes:
    place = config.master_key
    key_place = {name: getattr(place, name) for name in ("kind", "where", "command", "directory", "given", "given_in", "chosen")}
    hooks = hooks_of(config.systems, records_of(config))
    told = {"state": state_target, "master_key": key_place, "hooks": hooks, "metrics_token": config.metrics_token, "desk": desk}
    return orjson.dumps(told)


# ---------------------------------------------------------------- in the process


def main() -> None:
    """Receive at the socket whose number is the only argument."""
    import socket as sockets

    from trueup.model import KeyPlace
    from trueup.sealing.master import remember
    from trueup.store.inbox import Inbox
    from trueup.web.hooks import Hooks
    from trueup.web.server import allow_connections, come_first, server

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    says = _Says()
    logging.basicConfig(level=logging.WARNING, handlers=[says])
    told = orjson.loads(sys.stdin.buffer.readline())
    with ExitStack() as stack:
        try:
            remember(KeyPlace(**told["master_key"] | {"command": tuple(told["master_key"]["command"])}))
            inbox = stack.enter_context(Inbox.open(told["state"], create=False)) if told["hooks"] else None
        except TrueupError as error:
            _tell({"failed": error.message, "hint": error.hint})
            return
        front = Front(says.put, told["metrics_token"])
        behind = Behind(front.desk) if told["desk"] else None
        hooks = Hooks(inbox, told["hooks"], front=front, behind=behind)
        running = server(hooks, most_waiting=allow_connections(), behind=behind)
        come_first()
        threading.Thread(target=_obey, args=(hooks, front, running), name="orders", daemon=True).start()
        _tell({"ready": os.getpid()})
        threading.Thread(target=says.all, args=(hooks,), name="report", daemon=True).start()
        running.run(sockets=[sockets.socket(fileno=int(sys.argv[1]))])
        _tell(hooks.tally.plain())


def _obey(hooks: Any, front: Front, running: Any) -> None:
    """Take over what changes and what was answered; end when nobody is there any more to say so."""
    for line in sys.stdin.buffer:
        said = orjson.loads(line)
        if "answer" in said:
            front.answered(said["answer"], Answer(**said["with"]))
        else:
            front.metrics_token = said["metrics_token"]
            hooks.change(said["hooks"])
    running.should_exit = True


class _Says(logging.Handler):
    """Tells whoever started this process what is counted and asked, and what goes wrong; in one thread, so that nobody waits for a pipe."""

    def __init__(self) -> None:
        super().__init__()
        self._line: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def put(self, value: dict[str, Any]) -> None:
        """Tell this soon."""
        self._line.put(value)

    def emit(self, record: logging.LogRecord) -> None:
        """Of others' messages the template alone: what they fill in is not known to hold no values."""
        try:
            own = record.name.startswith("trueup") or record.name == "__main__"
            self._line.put({"log": record.getMessage() if own else f"{record.name}: {record.msg}"})
        except Exception:  # noqa: BLE001  as logging asks
            self.handleError(record)

    def all(self, hooks: Any) -> None:
        """Tell everything, until the process ends; the counts once a second where they have changed, and before each question."""
        before = 0
        while True:
            try:
                found = self._line.get(timeout=TELL_S)
            except queue.Empty:
                found = None
            if found is None or "ask" in found:
                plain = hooks.tally.plain()
                now = sum(count for answers in plain["answers"].values() for count in answers.values())
                if now != before:
                    before = now
                    _tell(plain)
            if found is not None:
                _tell(found)


def _tell(value: dict[str, Any]) -> None:
    with suppress(OSError):
        sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
