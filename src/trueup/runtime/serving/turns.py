"""Entities that have nothing but a schedule take turns on a few threads: a thousand of them cost no more than ten."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from threading import Condition, Semaphore, Thread
from typing import TYPE_CHECKING

from trueup.runtime.serving.worker import LOOK_AROUND_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.worker import Worker

THREADS = 8
"""So many entities at once; also so many deliveries that outlast their pass."""


def room() -> Semaphore:
    """Room for deliveries that are left to themselves, for all who take turns."""
    return Semaphore(THREADS)


class Turns:
    """One clock for all of them: whoever has something to do gets a turn, one batch at a time, and lines up again behind the others."""

    def __init__(self, workers: Sequence[Worker], log: Log, *, threads: int = THREADS) -> None:
        """Nobody has a turn before `start`."""
        self._workers = list(workers)
        self._log = log
        self._most = threads
        self._threads: list[Thread] = []
        self._idle = 0
        self._changed = Condition()
        self._called: dict[Worker, None] = {}
        self._line: deque[Worker] = deque()
        self._in_turn: dict[Worker, bool] = {}  # those who have one or wait in line for it; True: called once more meanwhile
        self._ending = False
        for worker in self._workers:
            worker.wakes.called = partial(self._call, worker)

    def start(self) -> None:
        """Give turns until `stop`."""
        if self._workers:
            Thread(target=self._look_on, name="turns", daemon=True).start()

    def stop(self) -> None:
        """Begin no more turns; those that were begun are finished."""
        with self._changed:
            self._ending = True
            while self._line:
                self._in_turn.pop(self._line.popleft())
            self._changed.notify_all()

    def join(self, wait_s: float) -> None:
        """Wait at most so long until nobody has a turn any more."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_turn, wait_s)

    def _call(self, worker: Worker) -> None:
        """There may be something to do."""
        with self._changed:
            if worker in self._in_turn:
                self._in_turn[worker] = True
            else:
                self._called[worker] = None
            self._changed.notify_all()

    def _look_on(self) -> None:
        """Put in line whoever is called. Once a second everybody is looked at: not all that changes is told."""
        looked = time.monotonic()
        while not self._ending:
            with self._changed:
                self._changed.wait_for(lambda: self._called or self._ending, max(0.0, looked + LOOK_AROUND_S - time.monotonic()))
                called, self._called = self._called, {}
            if time.monotonic() - looked >= LOOK_AROUND_S:
                looked = time.monotonic()
                called = dict.fromkeys(self._workers)
            for worker in called:
                if worker not in self._in_turn and worker.look_around():
                    self._put_in_line(worker)

    def _put_in_line(self, worker: Worker) -> None:
        with self._changed:
            if self._ending:
                return
            self._in_turn[worker] = False
            self._line.append(worker)
            if self._idle < len(self._line) and len(self._threads) < self._most:
                thread = Thread(target=self._work, name=f"turn {len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        """One of the threads."""
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._line or self._ending)
                self._idle -= 1
                if not self._line:
                    return
                worker = self._line.popleft()
            done = False
            try:
                done = worker.turn(0.0)
                worker.rest()
            except Exception as error:  # noqa: BLE001  one entity's defect must not end the others
                self._log.defect(error, entity=worker.entity)
            with self._changed:
                again = self._in_turn.pop(worker) or done
                self._changed.notify_all()
            if again:
                self._call(worker)
