"""Recording behind the writes: while a lane sends its next rows, what became of those before them is written into the state."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class Recording:
    """One batch of each lane at a time. The intent of a batch stands until it is recorded, so a crash meanwhile loses nothing."""

    def __init__(self, lanes: int) -> None:
        """Nothing is started before there is something to record."""
        self._lanes = lanes
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: dict[str, Future[None]] = {}
        self._turn = Lock()

    def put(self, lane: str, record: Callable[[], None]) -> None:
        """Record a batch as soon as the one before it is recorded, for which this waits. Raises what recording that one raised.

        Several threads may put batches of one lane.
        """
        while True:
            self.wait(lane)
            with self._turn:
                if lane in self._tasks:
                    continue
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(max_workers=self._lanes, thread_name_prefix="record")
                self._tasks[lane] = self._pool.submit(record)
                return

    def wait(self, lane: str) -> None:
        """Until everything of a lane is recorded."""
        with self._turn:
            task = self._tasks.get(lane)
        if task is None:
            return
        try:
            task.result()
        finally:
            with self._turn:
                if self._tasks.get(lane) is task:
                    del self._tasks[lane]

    def finish(self, but: Collection[str] = ()) -> None:
        """Until everything is recorded; lanes in `but` go on for themselves."""
        for lane in list(self._tasks):
            if lane not in but:
                self.wait(lane)
        if self._pool is not None and not but:
            self._pool.shutdown()
            self._pool = None

    def stop(self) -> None:
        """The pass broke off: what was begun is recorded, or fails; nothing is said of it."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
