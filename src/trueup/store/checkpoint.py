"""Moving what was committed from SQLite's log into the file, beside the transactions instead of within them.

SQLite does it at the end of the commit with which the log has grown to a certain size; of a large load that is a tenth of the time in which
nobody else can write. Another connection may do it meanwhile (https://www.sqlite.org/wal.html, "Checkpointing"). The writer still does what
is left at that size, which is little then, so that the log does not grow for ever.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

AFTER_ROWS = 100_000
"""So many rows are some ten megabytes of log."""


class Checkpoints:
    """The checkpoints of a state in a file, in a thread of their own; nothing is started before much was written."""

    def __init__(self, reader: sa.Engine, errors: tuple[type[Exception], ...]) -> None:
        """`reader` makes connections that may do it: `query_only` does not forbid a checkpoint. `errors` are the driver's."""
        self._reader = reader
        self._errors = errors
        self._turn = threading.Lock()
        self._rows = 0
        self._pool: ThreadPoolExecutor | None = None
        self._task: Future[None] | None = None

    def grown(self, rows: int) -> None:
        """So many rows were committed."""
        with self._turn:
            self._rows += rows
            if self._rows < AFTER_ROWS or (self._task is not None and not self._task.done()):
                return
            self._rows = 0
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
            self._task = self._pool.submit(self._move)

    def finish(self) -> None:
        """Wait for the one under way, and begin none any more for now."""
        with self._turn:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _move(self) -> None:
        # A disk that is full, or a file that cannot be written: nothing is lost, and the writer's own commits tell it.
        with suppress(*self._errors), self._reader.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
