"""Turns on one SQLite file within this process.

Two copies of the SQLite library are in use here: Python's own and the one inside the ADBC driver. POSIX drops all of a process's locks on a
file as soon as any handle on it is closed, so that one copy, closing, would take away the locks that the other holds
(https://www.sqlite.org/howtocorrupt.html, section 2.2.1). So long reads through the one and transactions through the other take turns.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Turn:
    """Who has the file: a thread or a connector, which may enter again."""

    def __init__(self) -> None:
        self.free = threading.Condition()
        self.thread: int | None = None
        self.holder: int | None = None
        self.depth = 0


_turns: dict[str, _Turn] = {}
_registry = threading.Lock()


@contextmanager
def turn(path: Path, holder: object) -> Iterator[None]:
    """Have the file to oneself among this process's threads. The same thread or the same `holder` may enter again."""
    with _registry:
        mine = _turns.setdefault(os.path.realpath(path), _Turn())
    with mine.free:
        mine.free.wait_for(lambda: mine.depth == 0 or threading.get_ident() == mine.thread or id(holder) == mine.holder)
        if mine.depth == 0:
            mine.thread, mine.holder = threading.get_ident(), id(holder)
        mine.depth += 1
    try:
        yield
    finally:
        with mine.free:
            mine.depth -= 1
            if mine.depth == 0:
                mine.thread = mine.holder = None
            mine.free.notify_all()
