"""Lanes that outlast their pass: whoever waits for a system hears when it is free, whatever went wrong."""

from __future__ import annotations

import time
from concurrent.futures import wait
from threading import Event

import pytest

from trueup.connectors.watching import OwnWrites
from trueup.runtime.serving.lanes import Freed, Lanes

PATIENCE_S = 30.0


class Told:
    """What the lanes tell."""

    def __init__(self) -> None:
        self.kept = 0
        self.freed: list[Freed] = []
        self.lanes = Lanes(["shop"], self.keep, self.freed.append)

    def keep(self) -> None:
        """A lane is left to itself."""
        self.kept += 1

    def left_alone(self, task: Event, *, breaks: Exception | None = None, result: Exception | None = None) -> None:
        """Leave a lane to itself that ends when `task` is set."""

        def work() -> None:
            assert task.wait(PATIENCE_S)
            if breaks is not None:
                raise breaks

        def what() -> str:
            if result is not None:
                raise result
            return "result"

        self.lanes.keep("shop", [self.lanes.pool.submit(work)], time.perf_counter(), what)

    def end(self) -> Freed:
        """Wait for the lane."""
        wait(list(self.lanes._busy.values()), timeout=PATIENCE_S)
        until = time.monotonic() + PATIENCE_S
        while not self.freed:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert self.lanes.close(PATIENCE_S) == frozenset()
        return self.freed.pop()


def test_who_left_a_system_out_hears_when_it_is_free() -> None:
    told, task = Told(), Event()
    told.left_alone(task)
    assert told.lanes.busy == {"shop"}
    assert told.lanes.leave_out() == {"shop"}
    task.set()
    assert told.end() == Freed("shop", "result", None, missed=True)
    assert told.kept == 1


def test_a_lane_that_nobody_missed() -> None:
    told, task = Told(), Event()
    told.left_alone(task)
    task.set()
    assert not told.end().missed


@pytest.mark.parametrize("where", ["breaks", "result"])
def test_a_lane_that_breaks_off_is_free_as_well(where: str) -> None:
    told, task, trouble = Told(), Event(), ValueError("broken")
    told.left_alone(task, **{where: trouble})
    task.set()
    lane = told.end()
    assert lane.problem is trouble
    assert told.lanes.busy == frozenset()


def test_rows_that_a_watch_knows_to_be_ours_are_not_expected_back() -> None:
    own = OwnWrites()
    own.heeded = True
    lanes = Lanes(["shop", "till"], lambda: None, lambda _freed: None, own_writes={"shop": own})
    own.note(1, ["a"])
    lanes.wrote("shop", ["a", "b", None])
    lanes.wrote("till", ["a"])
    assert lanes.take_written("shop", ["a", "b", "c"]) == ["b"]
    assert lanes.take_written("till", ["a"]) == ["a"]
    assert lanes.take_written("till", ["a"]) == []
