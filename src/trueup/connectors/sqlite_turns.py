"""Turns on one SQLite file within this process.

Two copies of the SQLite library are in use here: Python's own and the one inside the ADBC driver. POSIX drops all of a process's locks on a
file as soon as any handle on it is closed, so that one copy, closing, would take away the locks that the other holds
(https://www.sqlite.org/howtocorrupt.html, section 2.2.1). So long reads through the one and transactions through the other take turns.

In WAL mode a connection keeps a lock for as long as it is open, also while nothing is asked of it: without that lock another program
takes itself for the last one, and removes the log under our feet. So nothing of the one copy stays open when the other one closes.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Guest(Protocol):
    """A connector with connections that stay open between two turns."""

    def rest(self) -> None:
        """Close them; they are opened again when they are needed."""
        ...


class _Turn:
    """Who has the file: a thread or a connector, which may enter again."""

    def __init__(self) -> None:
        self.guests: weakref.WeakSet[Guest] = weakref.WeakSet()
        self.free = threading.Condition()
        self.thread: int | None = None
        self.holder: int | None = None
        self.depth = 0


_turns: dict[str, _Turn] = {}
_registry = threading.Lock()


@contextmanager
def turn(path: Path, holder: Guest) -> Iterator[None]:
    """Have the file to oneself among this process's threads. The same thread or the same `holder` may enter again."""
    mine = _of(path)
    mine.guests.add(holder)
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


def clear(path: Path) -> None:
    """Have all connectors close what they have open on the file; within a turn, before another copy's handles are closed.

    Not while the turn was entered again: then some connection is at work.
    """
    mine = _of(path)
    if mine.depth == 1:
        for guest in list(mine.guests):
            guest.rest()


def _of(path: Path) -> _Turn:
    with _registry:
        return _turns.setdefault(os.path.realpath(path), _Turn())
