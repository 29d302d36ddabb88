"""Webhooks: how many a second are stored durably, beside a server that only answers; how long an answer takes, also during a large run.

make bench ARGS="--hooks"
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Measured, trueup
from benchmarks.tables import configuration, fill_sqlite
from tests.hook_client import STANDARD, Sent, request, send_all, standard
from trueup.config.load import load_config
from trueup.store.inbox import Inbox
from trueup.web import receiver
from trueup.web.server import allow_connections, listen, server

CONNECTIONS = 200
PER_S = 1_500
LASTS_S = 20
RUN_ROWS = 300_000
HOOK = f"\n    webhook: {{verify: {{kind: standard, secret: {STANDARD}}}}}"


def messages(count: int, first: int = 0) -> list[tuple[str, bytes]]:
    """Signed messages of about 400 bytes, each with an id of its own."""
    found = []
    for number in range(first, first + count):
        body = json.dumps({"object": "contact", "key": str(number), "more": "x" * 350}).encode()
        found.append((str(number), request("source", body, standard(body, f"m{number}"))))
    return found


def send(port: int, count: int, *, per_s: float = 0, first: int = 0) -> Sent:
    """Send so many; raises RuntimeError unless each is answered 202."""
    line = messages(count, first)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sent = runner.run(send_all(port, line, connections=CONNECTIONS, per_s=per_s))
    if len(sent.accepted()) != count:
        raise RuntimeError(f"{count - len(sent.accepted())} of {count} messages were not accepted")
    return sent


@contextmanager
def floor() -> Iterator[int]:
    """The port of the same server with an application that reads the body and answers."""
    with listen("127.0.0.1", 0) as listening:
        words = [sys.executable, __file__, str(listening.fileno())]
        process = subprocess.Popen(words, pass_fds=[listening.fileno()])
        try:
            yield listening.getsockname()[1]
        finally:
            process.terminate()
            process.wait()


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """The application of the floor."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def project_of(folder: Path, rows: int) -> Path:
    """A company of two SQLite files, one of which has so many rows and a webhook."""
    project = folder / "hooks"
    project.mkdir()
    fill_sqlite(project / "source.db", rows)
    fill_sqlite(project / "target.db", 1)
    text = configuration({"connector": "sqlite", "path": "source.db"}, {"connector": "sqlite", "path": "target.db"})
    line = next(line for line in text.splitlines() if line.startswith("  source:"))
    (project / "trueup.yaml").write_text(text.replace(line, line.rstrip("}") + ", " + HOOK.strip() + "}"), encoding="utf-8")
    return project


def webhooks(bench: Any, folder: Path, *, rows: int = RUN_ROWS) -> None:
    """All lines of this benchmark."""
    with floor() as port:
        send(port, 1_000)
        answered = send(port, PER_S * LASTS_S)
    bench.add(f"floor: {PER_S * LASTS_S:,} requests answered, none stored, {CONNECTIONS} connections", _measured(answered.took_s))
    project = project_of(folder, rows)
    config = load_config(project / "trueup.yaml")
    handle = receiver.start(config, config.state, port=0)
    try:
        send(handle.port, 1_000)
        stored = send(handle.port, PER_S * LASTS_S, first=1_000)
        work = f"{PER_S * LASTS_S:,} webhooks stored durably ({PER_S * LASTS_S / stored.took_s:,.0f}/s)"
        bench.add(work, _measured(stored.took_s), floor="requests", against=answered.took_s, limit="≥ 1,500/s")
        paced = send(handle.port, PER_S * LASTS_S, per_s=PER_S, first=50_000)
        work = f"an answer at {PER_S:,}/s, p99 (p50 {paced.percentile(0.5) * 1000:.1f} ms)"
        bench.add(work, _measured(paced.percentile(0.99)), limit="≤ 0.1 s")
        during(bench, project, handle.port, rows)
    finally:
        handle.stop()
    with Inbox.open(config.state, create=False) as inbox:
        print(f"webhooks in the inbox at the end: {inbox.lag().waiting:,}", flush=True)


def during(bench: Any, project: Path, port: int, rows: int) -> None:
    """The same while a first run brings the other system all of its rows."""
    found: list[Measured] = []
    thread = threading.Thread(target=lambda: found.append(trueup(project, "sync")))
    thread.start()
    seconds: list[float] = []
    first, took_s = 1_000_000, 0.0
    while thread.is_alive():
        sent = send(port, PER_S * 2, per_s=PER_S, first=first)
        first += PER_S * 2
        seconds += sent.seconds
        took_s += sent.took_s
    thread.join()
    whole = Sent(seconds=seconds)
    rate = len(seconds) / took_s
    p50_ms = whole.percentile(0.5) * 1000
    work = f"an answer during a run of {rows:,} records ({found[0].seconds:.0f} s), at {rate:,.0f}/s, p99 (p50 {p50_ms:.1f} ms)"
    bench.add(work, _measured(whole.percentile(0.99)), limit="≤ 0.1 s at 1,500/s")


def _measured(seconds: float) -> Measured:
    return Measured(seconds, 0.0, None, {})


if __name__ == "__main__":
    import socket

    server(answers, most_waiting=allow_connections()).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
