"""Holding the state while there is work, and giving way to whoever types a command meanwhile."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from threading import Condition
from typing import TYPE_CHECKING

from trueup.store.locks import GIVES_WAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.runtime.workspace import Workspace

IDLE_S = 0.5
GIVE_WAY_S = 0.4
"""So long the state stays free for a command that waits for it: longer than such a command takes to ask again."""
WAIT_S = 5.0


class Hold:
    """The lock of the state, shared by all threads of this process: kept from the first pass until there is none for a moment."""

    def __init__(self, workspace: Workspace, before_letting_go: Callable[[], bool], *, purpose: str = GIVES_WAY) -> None:
        """`before_letting_go()` ends what must not stay open without the lock; False: it cannot yet.

        `purpose` is that of the lock: who works for a server (`WORKS`) does what it is asked for also while somebody waits, for so does it.
        """
        self._purpose = purpose
        self._workspace = workspace
        self._ready = before_letting_go
        self._changed = Condition()
        self._lock: ExitStack | None = None
        self._users = 0
        self._last = 0.0
        self._closed_until = 0.0
        self._giving_way = False

    @contextmanager
    def working(self, *, within: bool = False) -> Iterator[None]:
        """Have the state while a block runs. Raises StateLockedError where another process keeps it, StateError.

        `within`: whoever calls this has it already, so that it need not wait until the state was given away meanwhile.
        """
        (self.enter_too if within else self.enter)()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Have the state until `leave`."""
        with self._changed:
            while self._giving_way or time.monotonic() < self._closed_until:
                self._changed.wait(0.05)
            if self._lock is None:
                stack = ExitStack()
                stack.enter_context(self._workspace.lock(self._purpose, WAIT_S))
                self._lock = stack
            self._users += 1

    @property
    def giving_way(self) -> bool:
        """Whether another process waits for the state, and gets it as soon as nobody here needs it."""
        with self._changed:
            return self._giving_way

    def enter_too(self) -> None:
        """Have the state longer than the block around this call, until `leave`."""
        with self._changed:
            assert self._users > 0
            self._users += 1

    def leave(self) -> None:
        """This user is done."""
        with self._changed:
            self._users -= 1
            self._last = time.monotonic()
            self._changed.notify_all()

    def tick(self) -> None:
        """Let the state go where there was no work for a moment, or another process waits for it. To be called some times a second."""
        with self._changed:
            if self._lock is None:
                return
            wanted = self._workspace.store.wanted
            if wanted and self._purpose == GIVES_WAY:
                self._giving_way = True
            if self._users or not (wanted or time.monotonic() - self._last > IDLE_S):
                return
            if not self._ready():
                return
            self._lock.close()
            self._lock = None
            if self._giving_way:
                self._giving_way = False
                self._closed_until = time.monotonic() + GIVE_WAY_S
            self._changed.notify_all()

    def close(self) -> None:
        """Let go for good."""
        with self._changed:
            self._ready()
            if self._lock is not None:
                self._lock.close()
                self._lock = None
