"""Processes that end in the middle: a state and systems of which the process may be killed around every commit and every write."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.store import Db


class Kill(BaseException):
    """The process ended here: nothing catches it, and nothing of this process works afterwards."""


@dataclass
class Killer:
    """Counts the points at which a process may die (around every commit and every write), and dies at the chosen one."""

    passed: int = 0
    at: int | None = None
    dead: bool = False
    where: str = ""

    def point(self, name: str) -> None:
        """A point is reached. Raises Kill when it is the chosen one, and at every point after it."""
        self.passed += 1
        if self.dead or (self.at is not None and self.passed >= self.at):
            self.where = self.where or name
            self.dead = True
            raise Kill(name)


class MortalStore(Store):
    """A state whose process may be killed before and after every commit."""

    killer = Killer()

    @contextmanager
    def write(self, *, lasting: bool | None = None) -> Iterator[Db]:
        """See Store.write."""
        outer = self._current is None
        if outer:
            self.killer.point("before a commit")
        with super().write(lasting=lasting) as tx:
            yield tx
        if outer:
            self.killer.point("after a commit")
