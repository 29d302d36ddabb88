"""Recording behind the writes: while a lane sends its next rows, what became of those before them is written into the state."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Recording:
    """One batch of each lane at a time. The intent of a batch stands until it is recorded, so a crash meanwhile loses nothing."""

    def __init__(self, lanes: int) -> None:
        """Nothing is started before there is something to record."""
        self._lanes = lanes
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: dict[str, Future[None]] = {}

    def put(self, lane: str, record: Callable[[], None]) -> None:
        """Record a batch as soon as the one before it is recorded, for which this waits. Raises what recording that one raised."""
        self.wait(lane)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=self._lanes, thread_name_prefix="record")
        self._tasks[lane] = self._pool.submit(record)

    def wait(self, lane: str) -> None:
        """Until everything of a lane is recorded."""
        task = self._tasks.pop(lane, None)
        if task is not None:
            task.result()

    def finish(self) -> None:
        """Until everything is recorded."""
        for lane in list(self._tasks):
            self.wait(lane)
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
