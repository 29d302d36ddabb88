"""Who writes the batches of a delivery: this process, and others that lend a hand where the system is what takes the time.

Others read parts of large systems as well: see `runtime/together.py`.
"""

from __future__ import annotations

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from trueup.core.cells import OP
from trueup.core.frames import keep, one_of
from trueup.errors import TrueupError
from trueup.runtime.lane import Prepared, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    import polars as pl

    from trueup.connectors.base import Page, Part
    from trueup.runtime.lane import Lane

PART_ROWS = 100
"""Fewer rows are not worth to be handed to somebody else."""
PART_S = 2.0
"""So long one part is to take: whoever takes over from a process that is gone waits until those it had asked are done with theirs."""
GUESSED_ROWS_PER_S = 1000.0


class Hands(Protocol):
    """Others who can write and read."""

    def count(self, system: str) -> int:
        """How many of them there are at this moment."""
        ...

    def ask_to_read(self, system: str, columns: Sequence[str], part: Part) -> int:
        """Ask one of them to read a part; a number to ask for what came of it."""
        ...

    def was_read(self, asked: int) -> list[Page] | None:
        """The pages of a part, once; None: they are not there yet. Raises what whoever had begun ran into."""
        ...

    def take_back(self, asked: int) -> bool:
        """Whether nobody has begun to read this part: then nobody will."""
        ...

    def heard(self) -> int:
        """How often it was heard that something is done: to be asked before looking, and given to `wait`."""
        ...

    def wait(self, heard: int) -> None:
        """Wait until more was heard than that, or a moment has gone by."""
        ...

    def forget(self, asked: Iterable[int]) -> None:
        """Nobody wants these parts any more."""
        ...

    def write(self, system: str, prepared: Prepared, intent: int) -> pl.DataFrame | None:
        """Let one of them carry out what was prepared, of which the `intent` is recorded; what `Lane.carry_out` gives.

        None: nobody has begun it. Raises what the one who had begun ran into.
        """
        ...


class Sharing:
    """The hands of one lane. Our own is one of them: a connector is used by one thread at a time."""

    def __init__(self, system: str, hands: Hands | None) -> None:
        """As many as there are now."""
        self._system = system
        self._hands = hands
        self.count = 1 + (0 if hands is None else hands.count(system))
        self._rows_per_s = GUESSED_ROWS_PER_S
        self._free: queue.LifoQueue[bool] = queue.LifoQueue()  # True: our own
        for number in reversed(range(self.count)):
            self._free.put(number == 0)

    def write(self, lane: Lane, prepared: Prepared, golden: pl.DataFrame, now: datetime) -> Written:
        """Record the intent, and let whoever is free write. Called by several threads at once."""
        with self._one() as own:
            intent = lane.intend(prepared, golden, now)
            begun = time.monotonic()
            outcomes = lane.carry_out(prepared) if own or self._hands is None else self._hands.write(self._system, prepared, intent)
            self._rows_per_s = prepared.rows.height / max(time.monotonic() - begun, 0.001)
        if outcomes is None:
            with self._ours():
                outcomes = lane.carry_out(prepared)
        return Written(intent, outcomes)

    def write_parts(
        self, lane: Lane, prepared: Prepared, golden: pl.DataFrame, now: datetime
    ) -> tuple[list[tuple[Prepared, Written]], TrueupError | None]:
        """Let all hands write one batch; what was written, and what kept one of them from its part."""
        parts = parts_of(prepared, self.count, self._rows_per_s)
        if len(parts) == 1:
            return [(prepared, self.write(lane, prepared, golden, now))], None
        done: list[tuple[Prepared, Written]] = []
        trouble: TrueupError | None = None
        with ThreadPoolExecutor(max_workers=self.count, thread_name_prefix="hand") as pool:
            tasks = [(part, pool.submit(self.write, lane, part, golden, now)) for part in parts]
        for part, task in tasks:
            try:
                done.append((part, task.result()))
            except TrueupError as error:
                trouble = trouble or error
        return done, trouble

    @contextmanager
    def _one(self) -> Iterator[bool]:
        own = self._free.get()
        try:
            yield own
        finally:
            self._free.put(own)

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Our own hand, once it is free."""
        others = 0
        while not self._free.get():
            others += 1
        for _other in range(others):
            self._free.put(False)
        try:
            yield
        finally:
            self._free.put(True)


def parts_of(prepared: Prepared, count: int, rows_per_s: float) -> list[Prepared]:
    """A batch in parts for so many hands: none that takes long, and none too small to be worth it; its operations in their order."""
    rows = prepared.rows.height
    if count < 2 or rows < 2 * PART_ROWS or rows / rows_per_s < PART_S / 4:
        return [prepared]
    size = max(PART_ROWS, min(-(-rows // count), int(PART_S * rows_per_s)))
    return [_only(prepared, prepared.rows.slice(start, size)) for start in range(0, rows, size)]


def _only(prepared: Prepared, rows: pl.DataFrame) -> Prepared:
    ops = rows[OP]

    def mine(frame: pl.DataFrame) -> pl.DataFrame:
        return keep(frame, one_of(frame[OP], ops))

    return Prepared(
        prepared.kind,
        rows,
        mine(prepared.image),
        mine(prepared.fields),
        None if prepared.expected is None else mine(prepared.expected),
        None if prepared.before is None else mine(prepared.before),
        prepared.withheld,
        prepared.moved & frozenset(ops.to_list()),
    )
