"""How long a change takes to cross: from the commit in one PostgreSQL to when another one shows it, with `trueup serve` between them.

make bench ARGS="--serve"

The floor is what a program would take that knows beforehand what to write and where: the same updates, straight into the other database.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks.measure import trueup
from benchmarks.tables import configuration, fill_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import PostgresServer

ROWS = 10_000
PER_S = 100
CHANGES = 2_000
BURST = 20_000
LOOK_S = 0.001
PATIENCE_S = 120.0
MARK = "crossing"


def crossing(server: PostgresServer, folder: Path) -> None:
    """Measure, and print."""
    project = folder / "crossing"
    project.mkdir()
    with server.database() as source, server.database() as target:
        fill_postgres(source, max(ROWS, BURST))
        fill_postgres(target, 0)
        text = configuration({"connector": "postgres", "url": source}, {"connector": "postgres", "url": target})
        realtime = text.replace("    match:", "    when: [realtime]\n    match:", 1)
        (project / "trueup.yaml").write_text(realtime, encoding="utf-8")
        trueup(project, "sync")
        floor = _delays(target, CHANGES // 4, write_to=target)
        with _serving(project):
            found = _delays(target, CHANGES, write_to=source)
            must = "must: p50 ≤ 30 ms, p99 ≤ 150 ms"
            print(f"a change crosses, {PER_S} a second: {_words(found)} (floor: {_words(floor)}; {must})", flush=True)
            seconds = _burst(source, target)
            print(f"a burst of {BURST:,} changed records: {BURST / seconds:,.0f} records/s (must: ≥ 2,000)", flush=True)


@contextmanager
def _serving(project: Path) -> Iterator[None]:
    """A server at work, once it watches both systems."""
    log = project / "serve.log"
    with log.open("wb") as told:
        process = subprocess.Popen([sys.executable, "-m", "trueup", "serve"], cwd=project, stderr=told, env=dict(os.environ))
    try:
        _wait(lambda: log.read_text(encoding="utf-8").count('"event":"watching"') == 2, "both systems are watched")
        _wait(lambda: log.read_text(encoding="utf-8").count('"event":"pass"') >= 1, "the first sweep")
        time.sleep(2.0)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def _delays(target: str, changes: int, *, write_to: str) -> list[float]:
    """Milliseconds from each commit to when the target showed it, sorted."""
    sent: dict[str, float] = {}
    shown: dict[str, float] = {}
    over = threading.Event()
    mark = f"{MARK} {time.monotonic_ns()}"
    under_way: dict[str, int] = {}  # only these rows are looked at, by key: to walk the table all the time takes most of a processor

    def look() -> None:
        with psycopg.connect(target, autocommit=True) as db:
            while not over.is_set():
                keys = list(under_way.values())
                rows = db.execute("SELECT name FROM contact WHERE id = ANY(%s)", [keys]).fetchall() if keys else []
                moment = time.perf_counter()
                found = [name for (name,) in rows if under_way.pop(name, None) is not None]
                shown.update(dict.fromkeys(found, moment))
                if not found:
                    time.sleep(LOOK_S)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        with psycopg.connect(write_to, autocommit=True) as db:
            begun = time.perf_counter()
            for number in range(changes):
                name, key = f"{mark} {number}", number % ROWS + 1
                db.execute("UPDATE contact SET name = %s WHERE id = %s", [name, key])
                sent[name] = time.perf_counter()
                under_way[name] = key
                time.sleep(max(0.0, begun + (number + 1) / PER_S - time.perf_counter()))
        _wait(lambda: len(shown) == changes, "every change in the target")
    finally:
        over.set()
        watching.join()
    return sorted((shown[name] - moment) * 1_000 for name, moment in sent.items())


def _burst(source: str, target: str) -> float:
    """Seconds until as many changes, made in one transaction, are all there."""
    mark = f"{MARK} burst {time.monotonic_ns()}"
    with psycopg.connect(source, autocommit=True) as db, psycopg.connect(target, autocommit=True) as other:
        begun = time.perf_counter()
        db.execute("UPDATE contact SET name = %s || ' ' || id WHERE id <= %s", [mark, BURST])

        def there() -> bool:
            row = other.execute("SELECT count(*) FROM contact WHERE name LIKE %s", [f"{mark} %"]).fetchone()
            return row == (BURST,)

        _wait(there, "the burst in the target")
        return time.perf_counter() - begun


def _words(delays: list[float]) -> str:
    return f"p50 {delays[len(delays) // 2]:.1f} ms, p99 {delays[int(len(delays) * 0.99)]:.1f} ms"


def _wait(met: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not met():
        if time.monotonic() > until:
            raise RuntimeError(f"waited in vain for: {what}")
        time.sleep(0.02)
