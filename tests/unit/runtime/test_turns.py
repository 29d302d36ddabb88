"""Entities that take turns on a few threads: none beside itself, none forgotten, and a slow one holds up one thread."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from threading import Event, Lock
from typing import Any, cast

import pytest

from trueup.runtime.serving.events import Log
from trueup.runtime.serving.turns import Turns
from trueup.runtime.serving.wakes import Wakes

PATIENCE_S = 30.0


class Player:
    """Stands for an entity: takes what waits, as long as its gate is open."""

    def __init__(self, name: str) -> None:
        self.entity = name
        self.wakes = Wakes()
        self.gate = Event()
        self.gate.set()
        self.begun = 0
        self.most_at_once = 0
        self.rested = 0
        self.breaks = False
        self._now = 0
        self._turn = Lock()

    def look_around(self) -> bool:
        """See Worker."""
        return self.wakes.any

    def turn(self, patience_s: float) -> bool:
        """See Worker."""
        if self.wakes.take(patience_s, lambda: True, frozenset) is None:
            return False
        with self._turn:
            self._now += 1
            self.begun += 1
            self.most_at_once = max(self.most_at_once, self._now)
        assert self.gate.wait(PATIENCE_S)
        with self._turn:
            self._now -= 1
        if self.breaks:
            raise ValueError("a defect")
        return True

    def rest(self) -> None:
        """See Worker."""
        self.rested += 1


class Game:
    """Turns at work, and its players."""

    def __init__(self, count: int, threads: int) -> None:
        self.players = [Player(f"e{number}") for number in range(count)]
        self.told = io.StringIO()
        self.turns = Turns(cast("Any", self.players), Log(self.told), threads=threads)
        self.turns.start()

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something."""
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.fixture
def game() -> Iterator[Game]:
    """Six players and three threads."""
    one = Game(6, 3)
    yield one
    for player in one.players:
        player.gate.set()
    one.turns.stop()
    one.turns.join(PATIENCE_S)


def test_slow_ones_hold_up_as_many_threads_and_nobody_else(game: Game) -> None:
    slow, others = game.players[:2], game.players[2:]
    for player in slow:
        player.gate.clear()
        player.wakes.sweep("slow")
    game.until(lambda: all(player.begun for player in slow))
    for player in others:
        player.wakes.sweep("quick")
    game.until(lambda: all(player.begun for player in others))
    assert [player.begun for player in slow] == [1, 1]


def test_what_comes_while_it_has_its_turn_is_done_in_the_next_one_and_never_beside_it(game: Game) -> None:
    player = game.players[0]
    for number in range(20):
        player.gate.clear()
        player.wakes.sweep("first")
        game.until(lambda number=number: player.begun == 2 * number + 1)  # type: ignore[misc]
        player.wakes.sweep("second")
        player.gate.set()
        game.until(lambda number=number: player.begun == 2 * number + 2)  # type: ignore[misc]
    assert player.most_at_once == 1


def test_whoever_has_more_to_do_lines_up_behind_the_others(game: Game) -> None:
    first, *others = game.players
    for player in game.players:
        player.gate.clear()
    for player in game.players[:3]:
        player.wakes.sweep("all threads are taken")
    game.until(lambda: sum(player.begun for player in game.players) == 3)
    for player in game.players:
        player.wakes.sweep("waits")
    first.gate.set()
    game.until(lambda: any(player.begun for player in others[2:]))
    assert first.begun == 1


def test_a_defect_ends_no_thread(game: Game) -> None:
    broken, other = game.players[:2]
    broken.breaks = True
    for number in range(1, 6):
        broken.wakes.sweep("again")
        game.until(lambda number=number: game.told.getvalue().count('"defect"') == number)  # type: ignore[misc]
    other.wakes.sweep("as ever")
    game.until(lambda: other.rested == 1)


def test_a_thousand_cost_no_more_threads_than_ten() -> None:
    most = []
    for count in (10, 1000):
        before = set(threading.enumerate())
        game = Game(count, 4)
        for player in game.players:
            player.wakes.sweep("all at once")
        game.until(lambda game=game: all(player.rested for player in game.players))  # type: ignore[misc]
        its_own = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("turn")]
        most.append(len(its_own))
        game.turns.stop()
        game.turns.join(PATIENCE_S)
        for thread in its_own:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    assert most == [5, 5]


def test_nobody_gets_a_turn_after_the_end(game: Game) -> None:
    for player in game.players:
        player.gate.clear()
        player.wakes.sweep("some wait in line")
    game.until(lambda: sum(player.begun for player in game.players) == 3)
    game.turns.stop()
    for player in game.players:
        player.gate.set()
    game.turns.join(PATIENCE_S)
    assert sum(player.begun for player in game.players) == 3
