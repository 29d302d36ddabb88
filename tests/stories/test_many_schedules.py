"""Entities that have nothing but a schedule: many of them cost a server no more threads than a few, and each is swept when it is time."""

from __future__ import annotations

import io
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest

from trueup.config.load import load_config
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.server import Server
from trueup.runtime.serving.turns import THREADS

PATIENCE_S = 240.0
ENTITY = """
  e{number}:
    match: [[email]]
    when: [{{cron: "0 0 1 1 *", timezone: UTC}}]
    guard: off
    fields: {{email: {{type: text}}, name: {{type: text}}}}
    mappings:
      crm: {{object: t{number}, key: id, fields: {{email: email, name: name}}}}
      till: {{object: t{number}, key: id, fields: {{email: email, name: name}}}}
"""


def threads_of(folder: Path, count: int, swept: int) -> Counter[str]:
    """A server of so many entities, some of which are swept at once; the threads that it has afterwards, by name."""
    folder.mkdir()
    entities = "".join(ENTITY.format(number=number) for number in range(count))
    systems = "".join(f"  {name}: {{connector: sqlite, path: {name}.db}}\n" for name in ("crm", "till"))
    (folder / "trueup.yaml").write_text(f"systems:\n{systems}entities:{entities}", encoding="utf-8")
    for system in ("crm", "till"):
        db = sqlite3.connect(folder / f"{system}.db")
        with db:
            for number in range(count):
                db.execute(f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
                if system == "crm":
                    db.execute(f"INSERT INTO t{number} (email, name) VALUES ('ada@example.org', 'Ada')")
        db.close()
    before = set(threading.enumerate())
    told = io.StringIO()
    server = Server(load_config(folder / "trueup.yaml"), log=Log(told), start=True)
    at_work = threading.Thread(target=server.run, name="serve", daemon=True)
    at_work.start()
    assert server.ready.wait(PATIENCE_S)
    chosen = [f"e{number}" for number in range(count)][-swept:]
    for name in chosen:
        server.workers[name].wakes.sweep("a test")
    until = time.monotonic() + PATIENCE_S
    while not all(server.figures.of(name).passes for name in chosen) or any(server.workers[name].lanes.busy for name in chosen):
        assert time.monotonic() < until, told.getvalue()
        time.sleep(0.05)
    while any(thread.name.startswith("lane") for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < until, "threads of lanes are kept"
        time.sleep(0.05)
    found = Counter(thread.name.rstrip(" 0123456789") for thread in set(threading.enumerate()) - before)
    server.stop()
    at_work.join(PATIENCE_S)
    assert not at_work.is_alive()
    db = sqlite3.connect(folder / "till.db")
    assert [db.execute(f"SELECT name FROM t{name[1:]}").fetchall() for name in chosen] == [[("Ada",)]] * swept
    db.close()
    assert [event for line in told.getvalue().splitlines() if (event := orjson.loads(line))["event"] in {"defect", "trouble"}] == []
    return found


@pytest.mark.slow
def test_a_thousand_schedules_cost_no_more_threads_than_ten(tmp_path: Path) -> None:
    few, many = threads_of(tmp_path / "few", 10, 10), threads_of(tmp_path / "many", 1000, 30)
    assert few.pop("turn") <= THREADS
    assert many.pop("turn") <= THREADS
    assert many == few
