"""The watch contract: what a connector offers besides `base.Connector` where its `caps.watch` says so.

A watch tells keys, never values: it is a hint to look again, and a pass over these keys finds out what is there now. So a hint that is
told twice, late, out of order, or for a write of our own costs a look and changes nothing. Only a hint that is never told does harm, and
a sweep mends that.

    watch = connector.watch(objects, name="shop_3f2a", since=kept)      kept: the position last confirmed, None the first time
    sweep(watch.fresh)                                                   what happened there before now is not told
    while True:
        hints = watch.wait(5.0)
        if hints is not None:
            look(hints.keys)                                             a pass over these keys, its outcome in the state
            keep(hints.position); watch.confirm(hints.position)          where there is one
    connector.unwatch(name="shop_3f2a")                                  when it is watched no more: removes what was made in the system

Nothing is told before it is committed in the system. A hint that was not confirmed is told again when watching begins again, where
`Way.durable`; otherwise everything is `fresh` then. A transaction of many rows is told in parts, of which the last one has the position.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from trueup.connectors.base import Connector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.model import ObjectSpec

HINT_KEYS = 10_000
"""How many keys one `Hints` holds at most; what is more comes with the next `wait`."""

OWN_KEYS = 100_000
How = Literal["logical", "notify", "binlog", "triggers", "tokens", "file", "memory", "poll", "off"]
"""`logical`: PostgreSQL's logical replication; `notify`: triggers with LISTEN/NOTIFY; `binlog`: the binary log of MySQL and MariaDB;
`triggers`: triggers with a change table; `tokens`: the server is asked what changed since a token; `file`: the file itself; `poll`: nothing
tells, the caller looks on a schedule; `off`: as `poll`, because the settings say so."""

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Hints:
    """Where something was committed since the last `wait`.

    keys      number of the object in `objects` -> key texts, as `read` gives them; None: anything may have changed there. It may be empty:
              then only the position moved (others wrote, in what is not watched), and confirming it is all there is to do
    position  what to confirm when all told so far was looked at; None: nothing to confirm yet, or ever (not durable)
    at        when the newest of these changes was committed, by the system's clock; None where it does not tell
    """

    keys: Mapping[int, tuple[str, ...] | None]
    position: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the watch is behind: what the system keeps for it in bytes, and the age of what was told and not confirmed; None: not known.

    `left_bytes` is how much more the system will keep before it gives up on this watch (`max_slot_wal_keep_size`); None: no limit is known.
    """

    bytes: int | None = None
    seconds: float | None = None
    left_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How a system is watched, or would be.

    why        one sentence for people: why this way and no better one
    durable    what happens while nobody watches is told when watching begins again under the same name
    unwatched  number of the object -> why it is not watched, and what to do; the caller looks at those on a schedule
    """

    how: How
    why: str
    durable: bool = False
    unwatched: Mapping[int, str] = field(default_factory=dict)

    @property
    def pushes(self) -> bool:
        """Whether `watch` can be called."""
        return self.how not in {"poll", "off"}


class OwnWrites:
    """Rows of one object that somebody wrote himself and knows as they were stored, by transaction: a watch need not tell them to him.

    Any thread may note and ask. Only so many keys are kept; what is not kept is told as any other change. A transaction goes by the number
    that the system gives it.
    """

    def __init__(self, *, keys: int = OWN_KEYS) -> None:
        """At most so many keys are kept."""
        self.heeded = False  # a watch is at work that does not tell them
        self._most = self._room = keys
        self._keys: OrderedDict[int | str, frozenset[str]] = OrderedDict()
        self._untold: OrderedDict[str, None] = OrderedDict()  # rows that were noted, and not asked for by `untold` since
        self._under_way: list[frozenset[str]] = []  # rows of commits of which the number is not known yet
        self._turn = threading.Condition()

    @contextmanager
    def committing(self, keys: Collection[str]) -> Iterator[list[str]]:
        """Around a commit of just these rows that gets its number by being made: put it into the list that this gives."""
        numbers: list[str] = []
        mine = frozenset(keys)
        with self._turn:
            self._under_way.append(mine)
        try:
            yield numbers
        finally:
            with self._turn:
                for number in numbers:
                    self.note(number, mine)
                self._under_way.remove(mine)
                self._turn.notify_all()

    def settled(self, keys: Collection[str], timeout_s: float) -> bool:
        """Wait at most so long until no commit of any of these rows is under way."""
        with self._turn:
            return self._turn.wait_for(lambda: all(mine.isdisjoint(keys) for mine in self._under_way), timeout_s)

    def note(self, number: int | str, keys: Collection[str]) -> None:
        """A transaction is about to be committed, and has changed just these rows."""
        with self._turn:
            if len(keys) > self._most:
                return
            known = self._keys.pop(number, frozenset())  # a commit of nothing new has the number of the one before
            self._keys[number] = known.union(keys)
            self._room -= len(self._keys[number]) - len(known)
            while self._room < 0:
                self._room += len(self._keys.popitem(last=False)[1])
            self._untold.update(dict.fromkeys(keys))
            while len(self._untold) > self._most:
                self._untold.popitem(last=False)

    def forget(self, number: int | str) -> None:
        """A transaction was told."""
        with self._turn:
            self._room += len(self._keys.pop(number, ()))

    def withdraw(self, number: int | str) -> None:
        """A transaction was not committed after all."""
        with self._turn:
            for key in self._keys.get(number, ()):
                self._untold.pop(key, None)
        self.forget(number)

    def untold(self, keys: Collection[str]) -> frozenset[str]:
        """Those of rows just written of which the watch tells nothing: whatever is told of them is somebody else's. Asked once."""
        with self._turn:
            found = frozenset(key for key in keys if key in self._untold)
            for key in found:
                del self._untold[key]
            return found if self.heeded else frozenset()

    def of(self, number: int | str) -> frozenset[str]:
        """The rows of a transaction; none where it is somebody else's."""
        with self._turn:
            return self._keys.get(number, frozenset())


class Watch(Protocol):
    """One watch at work, of a connection of its own.

    One thread waits and closes; `confirm`, `wake` and `lag` may be called from any. `wait` is to be called again within half a minute,
    also while earlier hints are still being looked at: servers take a watch that is silent for longer for dead.
    """

    @property
    def way(self) -> Way:
        """How it watches, and what it does not watch."""
        ...

    @property
    def fresh(self) -> frozenset[int]:
        """Numbers of the objects whose changes are told from now on only: whatever happened before must be found by looking."""
        ...

    @property
    def position(self) -> str | None:
        """Where the watch began; kept by the caller once the fresh objects were looked at. None: not durable, or the system keeps it."""
        ...

    def wait(self, timeout_s: float) -> Hints | None:
        """Wait for at most so long; None: nothing happened, or `wake` was called. What is there already is told at once.

        Raises SystemUnreachableError and the like: close this watch, and begin another one later. Raises PositionLostError where the
        system has forgotten what it was to tell: begin again without `since`, and look at everything.
        """
        ...

    def confirm(self, position: str) -> None:
        """All that was told up to `position` was looked at, and what came of it is stored: the system may forget it."""
        ...

    def wake(self) -> None:
        """Make the wait in progress, or else the next one, return at once. Harmless after `close`."""
        ...

    def lag(self) -> Lag:
        """How far behind the watch is. May ask the system, never raises for that: what cannot be had is None."""
        ...

    def close(self) -> None:
        """Stop watching and give back the connection; what was made in the system stays (`unwatch`). May be called twice."""
        ...


class Watching(Connector, Protocol):
    """A connector that can watch. Neither `watch` nor `way` disturbs what the connector does otherwise."""

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """How these objects would be watched with the settings and rights at hand; asks the system and changes nothing.

        Where the settings ask for a way that is not possible, it says so by raising what `watch` would raise.
        """
        ...

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """Begin to watch, as `way` says; everything committed from now on, at the latest, is told.

        `name` is unique per installation and system, and the same each time; whatever has to be made in the system is named after it.
        Objects may be others than the last time. `since` is the position last confirmed, None the first time.
        Raises SystemError_'s children; PositionLostError where `since` means nothing any more, or the system has given up on this
        watch: call again without `since`. Raises UsageError where `way` does not push.
        """
        ...

    def unwatch(self, *, name: str) -> None:
        """Remove what `watch` made in the system under this name; nothing happens where there is nothing."""
        ...


@runtime_checkable
class KnowsOwnWrites(Protocol):
    """What a connector offers besides where its watch can tell its own writes from those of others; any other one tells them all.

    `own_writes` is where it notes what it writes; `own_of` are the notes of who writes to the objects that are watched next, by number.
    """

    own_writes: OwnWrites | None
    own_of: Mapping[int, OwnWrites]


def made_name(name: str) -> str:
    """The name of what is made in a system for the watch `name`: lower-case letters, digits and `_`, at most 50 characters."""
    if _PLAIN_NAME.fullmatch(name):
        return f"trueup_{name}"
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:30]
    return f"trueup_{plain}_{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def parted(
    keys: Mapping[int, Mapping[str, None] | None],
) -> tuple[dict[int, tuple[str, ...] | None], dict[int, dict[str, None] | None], int]:
    """As many keys as one `Hints` may hold; those that are left, and how many they are."""
    told: dict[int, tuple[str, ...] | None] = {}
    left: dict[int, dict[str, None] | None] = {}
    room = HINT_KEYS
    for index, found in keys.items():
        if found is None:
            told[index] = None
            continue
        every = tuple(found)
        if room:
            told[index] = every[:room]
        if len(every) > room:
            left[index] = dict.fromkeys(every[room:])
        room = max(0, room - len(every))
    return told, left, sum(len(found or ()) for found in left.values())
