"""The inbox: what systems told by webhooks, kept durably before it is confirmed, until somebody has looked.

A state in a file has its inbox in a file beside it (`STATE-inbox.db`), so that a long commit of a run never delays an answer; a state in
PostgreSQL has it in a table. Any number of processes may put and look at once. What is put together by many threads at the same time is
written in one transaction by one thread.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

from trueup.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import TracebackType

GROUP_EVENTS = 2_000
"""So many events are written in one transaction at most."""
LOOK_S = 0.025
"""How often a waiting process asks a file whether somebody has put something there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a system told.

    object     the native object that it is about; None: not told
    key        key text of the record that may have changed; None: anything may have changed there
    event_id   the sender's own id, by which a repeat is known; None: repeats are not known
    item       its place among the events that came under that id
    at         when it happened, as the sender says; None: not told
    record     only of systems that do nothing but push, whose message is the record: what tells this record from others of that system.
               A later message about the same one takes its place. None: the message is a hint and is forgotten once somebody has looked
    body       what came, as it came
    id         its number in the inbox; 0 before it is put
    """

    system: str
    object: str | None
    key: str | None
    received_at: datetime
    body: bytes = field(repr=False)
    event_id: str | None = None
    item: int = 0
    at: datetime | None = None
    record: str | None = field(default=None, repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What a system that only pushes told of a record: the moment that counts, and the record as JSON."""

    id: int
    object: str | None
    at: datetime
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lag:
    """How many events nobody has looked at yet, and when the oldest of them came; None: there is none."""

    waiting: int
    oldest_at: datetime | None


class Drawer(Protocol):
    """Where an inbox is kept. Every call is one transaction, and raises StateError where the database refuses."""

    shown: str

    def insert(self, events: Sequence[Event]) -> list[bool]:
        """Keep events durably; for each whether it is new."""
        ...

    def waiting(self, limit: int, but: Collection[int]) -> list[Event]:
        """The oldest events that are not done, without those numbers and without bodies."""
        ...

    def done(self, ids: Collection[int], at: datetime) -> None:
        """Mark events, and forget what they said but for the records of systems that only push."""
        ...

    def lag(self) -> Lag:
        """How much waits."""
        ...

    def compact(self, before: datetime) -> int:
        """Take out what was done before; of systems that only push, what a later message replaced. How many."""
        ...

    def pushed(self, system: str) -> list[int]:
        """The numbers of all messages of a system that only pushes."""
        ...

    def messages(self, ids: Collection[int]) -> list[Message]:
        """Messages by number, in the order of their moments; those that are gone are left out."""
        ...

    def news(self, stop: threading.Event, timeout_s: float) -> bool:
        """Wait until something may have been put; False where nothing was, or `stop` was set."""
        ...

    def close(self) -> None:
        """Give back everything. May be called twice."""
        ...


class Inbox:
    """An inbox, opened; usable from several threads."""

    def __init__(self, drawer: Drawer) -> None:
        """Take over an opened drawer."""
        self._drawer = drawer
        self._line: queue.SimpleQueue[_Letter | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._closed = False

    @classmethod
    def open(cls, state_target: str, *, create: bool = True) -> Self:
        """The inbox of the state at a path or postgresql:// URL; made where it is missing, if `create`.

        Raises StateError: no rights, damaged, server unreachable; StateMissingError where it is not there and may not be made.
        """
        if state_target.startswith(("postgresql://", "postgres://", "postgresql+")):
            from trueup.store.inbox_postgres import PostgresDrawer

            return cls(PostgresDrawer.open(state_target, create=create))
        from trueup.store.inbox_sqlite import SqliteDrawer

        return cls(SqliteDrawer.open(state_target, create=create))

    def close(self) -> None:
        """Write what is still in line, and give back everything. May be called twice."""
        with self._guard:
            self._closed = True
            writer, self._writer = self._writer, None
        self._stop.set()
        if writer is not None:
            self._line.put(None)
            writer.join()
        self._drawer.close()

    def __enter__(self) -> Self:
        """The inbox itself; it is closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        return self._drawer.shown

    # ------------------------------------------------------------ putting

    def put(self, events: Sequence[Event]) -> int:
        """Keep events; they are durable when this returns. Returns how many were not there yet by their id. Raises StateError."""
        return self.submit(events).result()

    def submit(self, events: Sequence[Event]) -> Future[int]:
        """As `put`, for a caller that goes on meanwhile. All of these events are kept, or none."""
        letter = _Letter(tuple(events))
        with self._guard:
            if self._closed:
                raise StateError(f"the inbox {self.shown} was closed", hint="send it again")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="inbox", daemon=True)
                self._writer.start()
            self._line.put(letter)
        return letter.future

    def _write(self) -> None:
        while (letter := self._line.get()) is not None:
            group, events, last = [letter], len(letter.events), False
            while events < GROUP_EVENTS:
                try:
                    more = self._line.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                group.append(more)
                events += len(more.events)
            self._write_group(group)
            if last:
                return

    def _write_group(self, letters: list[_Letter]) -> None:
        # Whoever does not wait any more has told so: it is not kept then.
        self._insert([letter for letter in letters if letter.future.set_running_or_notify_cancel()])

    def _insert(self, group: list[_Letter]) -> None:
        try:
            stored = self._drawer.insert([event for letter in group for event in letter.events])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            if len(group) > 1 and not isinstance(error, StateError):
                for letter in group:  # one of them cannot be kept: the others can
                    self._insert([letter])
                return
            for letter in group:
                letter.future.set_exception(error)
            return
        start = 0
        for letter in group:
            end = start + len(letter.events)
            letter.future.set_result(sum(stored[start:end]))
            start = end

    # ------------------------------------------------------------ looking

    def take(self, limit: int, *, but: Collection[int] = ()) -> list[Event]:
        """The oldest events that nobody has looked at, without the numbers in `but` (those in work) and without bodies.

        They stay until `done`: one process at a time takes, and what it took when it died is taken again by the next one.
        """
        return self._drawer.waiting(limit, but)

    def done(self, ids: Collection[int]) -> None:
        """Somebody has looked, and what came of it is stored. What a hint said is forgotten; that it came is kept until `compact`."""
        if ids:
            self._drawer.done(ids, datetime.now(UTC))

    def lag(self) -> Lag:
        """How many wait, and since when."""
        return self._drawer.lag()

    def compact(self, older_than: datetime) -> int:
        """Take out what was done before; returns how many.

        The last message about each record of a system that only pushes stays, for it is what that system holds. Ids that were taken out
        are not known as repeats any more.
        """
        return self._drawer.compact(older_than)

    def wait(self, timeout_s: float) -> bool:
        """Wait until something may have been put since this was last asked; False: nothing was, or `wake` was called."""
        return self._drawer.news(self._stop, timeout_s)

    def wake(self) -> None:
        """From another thread: let every `wait` return at once, from now on."""
        self._stop.set()

    # ------------------------------------------------------------ what only pushes

    def pushed(self, system: str) -> list[int]:
        """The numbers of all messages of a system that only pushes, done or not; in no order that means anything."""
        return self._drawer.pushed(system)

    def messages(self, ids: Collection[int]) -> Iterator[Message]:
        """Messages by number, the earliest first; where a sender does not tell moments, in the order of their coming."""
        yield from self._drawer.messages(ids)


@dataclass(frozen=True, slots=True)
class _Letter:
    """What one caller puts, and who waits for it."""

    events: tuple[Event, ...]
    future: Future[int] = field(default_factory=Future)
