"""Several workers on one state in PostgreSQL: a first load into a system whose own time is the limit, with one, two and four of them.

make bench ARGS="--workers"

The floor is that system's time for all rows, divided by the workers. One of two is killed in the middle, too: the same rows arrive, once.
Then a typed first load out of a system that takes its time to be read, alone and with workers that help.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks.slow_system import READ_ROW_S, ROW_S
from benchmarks.tables import configuration, fill_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import PostgresServer

ROWS = 20_000
SECONDS_PER_ROW = 0.002
READ_ROWS = 60_000
SECONDS_PER_ROW_READ = 0.001
PATIENCE_S = 300.0
LOOK_S = 0.02


def workers(server: PostgresServer, folder: Path) -> None:
    """Measure, and print."""
    alone = 0.0
    for count in (1, 2, 4):
        seconds = _load(server, folder / f"workers-{count}", count)
        alone = alone or seconds
        floor = ROWS * SECONDS_PER_ROW / count
        faster = "" if count == 1 else f", {alone / seconds:.2f} times one"
        must = " (must: ≥ 1.7)" if count == 2 else ""
        print(f"{ROWS:,} rows into a slow system, {count} worker(s): {seconds:.1f} s (floor: {floor:.1f} s){faster}{must}", flush=True)
    seconds = _load(server, folder / "workers-killed", 2, kill=True)
    print(f"the same with 2 workers, one of them killed in the middle: {seconds:.1f} s, no row missing or doubled", flush=True)
    reading(server, folder)


def reading(server: PostgresServer, folder: Path) -> None:
    """A typed first load, with nobody, one and three who help to read."""
    alone = 0.0
    for helpers in (0, 1, 3):
        seconds = _read(server, folder / f"reading-{helpers}", helpers)
        alone = alone or seconds
        floor = READ_ROWS * SECONDS_PER_ROW_READ / (1 + helpers)
        faster = "" if helpers == 0 else f", {alone / seconds:.2f} times alone"
        who = f"`sync` and {helpers} worker(s)"
        print(f"{READ_ROWS:,} rows out of a slow system, {who}: {seconds:.1f} s (floor: {floor:.1f} s){faster}", flush=True)


def _read(server: PostgresServer, project: Path, helpers: int) -> float:
    """Seconds that `trueup sync` takes; every row is there afterwards, once."""
    project.mkdir()
    with server.database() as state, server.database() as source, server.database() as target, ExitStack() as stack:
        fill_postgres(source, READ_ROWS)
        fill_postgres(target, 0)
        text = configuration({"connector": "slow", "url": source}, {"connector": "postgres", "url": target})
        (project / "trueup.yaml").write_text(f'state: "{state}"\n{text}', encoding="utf-8")
        for number in range(helpers):
            stack.enter_context(_process(project, f"worker-{number}", "worker"))
        for number in range(helpers):
            _wait(lambda number=number: '"event":"working"' in _told(project, f"worker-{number}"), "the workers")  # type: ignore[misc]
        begun = time.perf_counter()
        with _process(project, "sync", "sync") as process:
            status = process.wait(PATIENCE_S)
        seconds = time.perf_counter() - begun
        with psycopg.connect(target, autocommit=True) as db:
            found = db.execute("SELECT count(*), count(DISTINCT email) FROM contact").fetchone()
        if status or found != (READ_ROWS, READ_ROWS):
            message = f"status {status}, {found} rows and records in the target, instead of {READ_ROWS}"
            raise AssertionError(message)
    return seconds


def _load(server: PostgresServer, project: Path, count: int, *, kill: bool = False) -> float:
    """Seconds from the moment at which there is work to when every row is there."""
    project.mkdir()
    with server.database() as state, server.database() as source, server.database() as target, ExitStack() as stack:
        fill_postgres(source, ROWS)
        fill_postgres(target, 0)
        text = configuration({"connector": "postgres", "url": source}, {"connector": "slow", "url": target})
        text = text.replace("    match:", "    when: [{every: 24h}]\n    match:", 1)
        (project / "trueup.yaml").write_text(f'state: "{state}"\n{text}', encoding="utf-8")
        started = [stack.enter_context(_process(project, f"worker-{number}", "worker")) for number in range(count)]
        for number in range(count):
            _wait(lambda number=number: '"event":"working"' in _told(project, f"worker-{number}"), "the workers")  # type: ignore[misc]
        stack.enter_context(_process(project, "serve", "serve", "--start", "--port", "0"))
        _wait(lambda: '"event":"serving"' in _told(project, "serve"), "the server")
        begun = time.perf_counter()
        with psycopg.connect(target, autocommit=True) as db:
            if kill:
                time.sleep(ROWS * SECONDS_PER_ROW / count / 2)
                started[0].kill()
            _wait(lambda: db.execute("SELECT count(*) FROM contact").fetchone() == (ROWS,), "every row")
            seconds = time.perf_counter() - begun
            _wait(lambda: '"event":"pass"' in _told(project, "serve"), "the end of the pass")
            found = db.execute("SELECT count(*), count(DISTINCT email) FROM contact").fetchone()
            if found != (ROWS, ROWS):
                message = f"{found} rows and records in the target, instead of {ROWS}"
                raise AssertionError(message)
    return seconds


@contextmanager
def _process(project: Path, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    root = str(Path(__file__).parent.parent)
    times = {ROW_S: str(SECONDS_PER_ROW), READ_ROW_S: str(SECONDS_PER_ROW_READ)}
    environment = {**os.environ, **times, "PYTHONPATH": os.pathsep.join([root, *sys.path])}
    command = [sys.executable, "-m", "benchmarks.slow_system", *words]
    with (project / f"{name}.log").open("wb") as told:
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=told, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def _told(project: Path, name: str) -> str:
    return (project / f"{name}.log").read_text(encoding="utf-8")


def _wait(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > until:
            message = f"waited for {what}"
            raise TimeoutError(message)
        time.sleep(LOOK_S)
