"""A watcher lets its system forget only what the state knows of, and leaves nothing behind in one that is not watched any more."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trueup.connectors.memory import MemoryConnector, MemoryWorld
from trueup.connectors.memory_watch import MemoryWatch
from trueup.connectors.watching import Way
from trueup.model import ColumnInfo, ObjectSpec
from trueup.runtime.serving import watching
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.watching import Watcher
from trueup.store import Store, meta

PEOPLE = ObjectSpec(name="people", key=("id",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "state.db")) as store:
        yield store


@pytest.fixture
def world() -> MemoryWorld:
    world = MemoryWorld()
    world.add_table("people", [ColumnInfo(name="id", type="text")], ["id"])
    return world


class Looking:
    """A worker that has looked as soon as it is told."""

    def __init__(self) -> None:
        self.wakes = self
        self.keys: list[Any] = []
        self.looked = threading.Event()

    def look(self, system: str, keys: tuple[str, ...] | None, *, over: Any, at: Any = None) -> None:
        self.keys.append(keys)
        over()
        if keys:
            self.looked.set()


def kept(store: Store) -> str | None:
    with store.read() as db:
        return meta.get(db, "watched crm")


def watcher(world: MemoryWorld, store: Store, worker: Looking, connector: type[MemoryConnector] = MemoryConnector) -> Watcher:
    workers: Any = {"person": worker}
    return Watcher("crm", "test", lambda: connector("crm", world), {"person": PEOPLE}, workers, store, Log(io.StringIO()))


def test_what_the_system_may_forget_the_state_knows(world: MemoryWorld, store: Store, monkeypatch: pytest.MonkeyPatch):
    confirmed: list[tuple[str, str | None]] = []

    def confirm(self: MemoryWatch, position: str) -> None:
        confirmed.append((position, kept(store)))

    monkeypatch.setattr(MemoryWatch, "confirm", confirm)
    monkeypatch.setattr(watching, "CONFIRM_S", 0.2)
    worker = Looking()
    thread = watcher(world, store, worker)
    thread.start()
    for number in range(20):
        worker.looked.clear()
        while not worker.looked.wait(0.05):  # it may not have begun to watch
            world.tables["people"].insert({"id": f"k{number}"})
    thread.stop()
    thread.join(60)
    assert confirmed
    assert [position for position, _ in confirmed] == [known for _, known in confirmed]
    assert kept(store) == confirmed[-1][0]
    assert int(confirmed[-1][0].split()[0]) >= 20


def test_a_system_that_is_not_watched_any_more_keeps_nothing(world: MemoryWorld, store: Store):
    class Off(MemoryConnector):
        def way(self, objects: Any) -> Way:
            return Way("off", "the settings say so")

    MemoryConnector("crm", world).watch([PEOPLE], name="test")
    assert "test" in world.watched
    thread = watcher(world, store, Looking(), Off)
    thread.start()
    thread.join(60)
    assert thread.polled
    assert world.watched == {}


def test_a_look_from_before_trouble_confirms_nothing(world: MemoryWorld, store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "CONFIRM_S", 0.05)
    monkeypatch.setattr(watching, "AGAIN_S", (0.05,))
    overs: dict[str, list[Any]] = {}

    class Busy(Looking):
        def look(self, system: str, keys: tuple[str, ...] | None, *, over: Any, at: Any = None) -> None:
            for key in keys or ():
                overs.setdefault(key, []).append(over)
            if keys is None:
                over()

    def until(met: Any) -> None:
        for _ in range(1200):
            if met():
                return
            time.sleep(0.05)
        raise AssertionError("it never came")

    thread = watcher(world, store, Busy())
    thread.start()
    until(lambda: kept(store) is not None)
    world.tables["people"].insert({"id": "a"})
    until(lambda: "a" in overs)
    world.down = "away"
    with world.changed:
        world.changed.notify_all()
    until(lambda: thread._watch is None)
    world.down = None
    until(lambda: len(overs["a"]) == 2)
    world.tables["people"].insert({"id": "b"})
    until(lambda: "b" in overs)
    before = kept(store)
    overs["a"][0]()  # of the watch that is over
    time.sleep(0.4)
    assert kept(store) == before
    overs["a"][1]()
    overs["b"][0]()
    until(lambda: kept(store) != before)
    thread.stop()
    thread.join(60)
