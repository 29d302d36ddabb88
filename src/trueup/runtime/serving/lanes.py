"""Deliveries that last longer than the pass which began them: one lane per system, so that a slow one delays nobody."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from threading import Semaphore

    from trueup.connectors.watching import OwnWrites

SLOW_S = 0.25
"""A pass waits so long for a lane. One that took longer the last time is not waited for at all."""
THREADS_PER_LANE = 4
"""Two batches that are sent side by side, the next one, and whoever waits for the end of a lane that was left to itself."""
ECHO_WITHIN_S = 2.0
REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class Freed:
    """A lane that was left to itself is over.

    `result` is what came of it, None where it was broken off by `problem`; `missed`: a pass has left its system out meanwhile.
    """

    system: str
    result: Any
    problem: BaseException | None
    missed: bool


class Lanes:
    """The lanes of one entity. A system is busy from when a pass left its lane to itself until everything in it is sent and recorded.

    While it is busy, passes proceed without that system: they neither read nor write it, and nobody else uses its connector.
    """

    def __init__(
        self,
        systems: Sequence[str],
        kept: Callable[[], None],
        freed: Callable[[Freed], None],
        *,
        slow_s: float = SLOW_S,
        room: Semaphore | None = None,
        own_writes: Mapping[str, OwnWrites] | None = None,
    ) -> None:
        """`kept()` hears that a lane is left to itself, `freed`, in the lane's own thread, that it is free again, whatever went wrong.

        `room` is had by each lane that is left to itself: where there is none, the pass waits for it after all. None: for all of them.
        `own_writes` are notes of rows written, by system, where a watch may know them from those of others.
        """
        self._own_writes = own_writes or {}
        self._count = max(1, len(systems)) * THREADS_PER_LANE
        self._pool: ThreadPoolExecutor | None = None
        self._room = room
        self._kept = kept
        self._freed = freed
        self._slow_s = slow_s
        self._slow: set[str] = set()
        self._busy: dict[str, Future[Any]] = {}
        self._missed: set[str] = set()
        self._written: dict[str, dict[str, float]] = {name: {} for name in systems}
        self._turn = Lock()
        self.recording = Lock()  # had by whoever records an outcome, and by a pass from what it knows of its records to its commit
        self.heard: Callable[[str, Iterable[str | None]], None] = lambda _system, _keys: None  # hears of rows that we wrote

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads of all lanes."""
        with self._turn:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=self._count, thread_name_prefix="lane")
            return self._pool

    def rest(self) -> None:
        """Keep no threads until they are needed again; called between two passes, while nothing is busy."""
        with self._turn:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    @property
    def busy(self) -> frozenset[str]:
        """Systems that passes must leave out now."""
        with self._turn:
            return frozenset(self._busy)

    def leave_out(self) -> frozenset[str]:
        """The same, by a pass that does so: `freed` hears of it, however soon after this a lane is over."""
        with self._turn:
            self._missed |= self._busy.keys()
            return frozenset(self._busy)

    def finished(self, system: str, tasks: Sequence[Future[None]], begun: float) -> bool:
        """Wait for a lane's tasks, begun at `begun` (`time.perf_counter`), as long as that system deserves; False: they go on alone."""
        patience = 0.0 if system in self._slow else max(0.0, self._slow_s - (time.perf_counter() - begun))
        _done, left = wait(tasks, timeout=patience)
        if left:
            self._slow.add(system)
            if self._room is not None and not self._room.acquire(blocking=False):
                wait(left)
                return True
        return not left

    def wrote(self, system: str, keys: Iterable[str | None]) -> None:
        """Rows that we wrote: their system will tell of them, too, but for those that its watch knows to be ours."""
        known, now = [key for key in keys if key is not None], time.monotonic()
        self.heard(system, known)
        own = self._own_writes.get(system)
        untold = own.untold(known) if own is not None else frozenset()
        with self._turn:
            mine = self._written[system]
            for key in untold:
                mine.pop(key, None)
            mine.update((key, now) for key in known if key not in untold)
            if len(mine) > REMEMBERED:
                self._written[system] = {key: at for key, at in mine.items() if now - at < ECHO_WITHIN_S}

    def take_written(self, system: str, keys: Iterable[str]) -> list[str]:
        """Those of the keys that we wrote a moment ago; told once."""
        now = time.monotonic()
        with self._turn:
            mine = self._written[system]
            return [key for key in keys if (at := mine.pop(key, None)) is not None and now - at < ECHO_WITHIN_S]

    def keep(self, system: str, tasks: Sequence[Future[None]], begun: float, result: Callable[[], Any]) -> None:
        """Leave a lane to itself; `result()` is called when the last of its tasks is over, and handed to `freed`."""
        self._kept()
        pool = self.pool
        with self._turn:
            self._busy[system] = pool.submit(self._end, system, list(tasks), begun, result)

    def _end(self, system: str, tasks: Sequence[Future[None]], begun: float, result: Callable[[], Any]) -> None:
        wait(tasks)
        if time.perf_counter() - begun < self._slow_s:
            self._slow.discard(system)
        outcome, problem = None, next((error for task in tasks if (error := task.exception()) is not None), None)
        try:
            outcome = result()
        except Exception as error:  # noqa: BLE001  nobody waits for this thread: whoever is told that the lane is free hears of it
            problem = problem or error
        with self._turn:
            del self._busy[system]
            missed = system in self._missed
            self._missed.discard(system)
        if self._room is not None:
            self._room.release()
        self._freed(Freed(system, outcome, problem, missed))

    def close(self, wait_s: float) -> frozenset[str]:
        """Wait at most so long for what is still under way; gives the systems that are not done, whose intents stay for the next start."""
        with self._turn:
            tasks = list(self._busy.values())
        wait(tasks, timeout=wait_s)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        return self.busy
