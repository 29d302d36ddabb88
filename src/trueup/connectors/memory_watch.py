"""Watching a `MemoryWorld`: the smallest watch that keeps the whole contract."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trueup.connectors.watching import HINT_KEYS, Hints, Lag
from trueup.errors import PositionLostError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.memory_world import MemoryWorld
    from trueup.connectors.watching import Way


class MemoryWatch:
    """See watching.Watch. A position is the number of a change, and the tables that are watched."""

    def __init__(self, system: str, world: MemoryWorld, way: Way, tables: Sequence[str], name: str, since: str | None) -> None:
        """Begin. Raises PositionLostError where the world knows nothing of this watch any more."""
        self.way = way
        self._system = system
        self._world = world
        self._tables = list(tables)
        with world.lock:
            if since is not None and name not in world.watched:
                raise PositionLostError(f"the watch {name} is not known any more", hint="everything is looked at", system=system)
            self._waiting = world.watched.setdefault(name, [])
            _, _, known = (since or "").partition(" ")
            watched = [number for number in range(len(tables)) if number not in way.unwatched]
            self.fresh = frozenset(number for number in watched if since is None or tables[number] not in known.split(","))
            self._told = self._waiting[0][0] - 1 if self._waiting else 0
        self.position = self._place(self._told)
        self._woken = False

    def _place(self, number: int) -> str:
        return f"{number} {','.join(self._tables)}"

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        until_s = time.monotonic() + timeout_s
        with self._world.changed:
            while True:
                if self._world.down is not None:
                    raise SystemUnreachableError(self._world.down, hint="wait until it is up again", system=self._system)
                if (hints := self._hints()) is not None:
                    return hints
                left_s = until_s - time.monotonic()
                if self._woken or left_s <= 0:
                    self._woken = False
                    return None
                self._world.changed.wait(left_s)

    def _hints(self) -> Hints | None:
        untold = [change for change in self._waiting if change[0] > self._told][:HINT_KEYS]
        if not untold:
            return None
        self._told = untold[-1][0]
        keys: dict[int, dict[str, None]] = {}
        for _, table, key, _ in untold:
            for number, watched in enumerate(self._tables):
                if table == watched:
                    keys.setdefault(number, {})[key] = None
        return Hints({number: tuple(found) for number, found in keys.items()}, self._place(self._told), untold[-1][3])

    def confirm(self, position: str) -> None:
        """See watching.Watch."""
        done = int(position.partition(" ")[0])
        with self._world.lock:
            self._waiting[:] = [change for change in self._waiting if change[0] > done]

    def wake(self) -> None:
        """See watching.Watch."""
        with self._world.changed:
            self._woken = True
            self._world.changed.notify_all()

    def lag(self) -> Lag:
        """See watching.Watch."""
        return Lag()

    def close(self) -> None:
        """See watching.Watch; nothing is held."""
