"""Reads the inbox: what systems told by webhook becomes looks of the entities concerned; done when they have looked."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.model import WEBHOOKS_S
from trueup.store.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.worker import Worker
    from trueup.store.inbox import Event as Told

TAKEN = 5_000
"""So many messages are in work at once; the others wait in the inbox."""
WAIT_S = 5.0
COMPACT_S = 3600.0
AGAIN_S = 2.0


class Letters(Thread):
    """The thread that empties the inbox. `objects` names who wants to know: system -> (object's name or None, entity)."""

    def __init__(
        self,
        state_target: str,
        objects: Mapping[str, list[tuple[str | None, str]]],
        workers: Mapping[str, Worker],
        log: Log,
        *,
        kept_s: float = WEBHOOKS_S,
    ) -> None:
        """Nothing is opened yet. `kept_s`: so long it is known that a message came."""
        super().__init__(name="inbox", daemon=True)
        self._target = state_target
        self._kept_s = kept_s
        self._objects = objects
        self._workers = workers
        self._log = log
        self._ending = Event()
        self._inbox: Inbox | None = None
        self._in_work: set[int] = set()
        self._done: list[int] = []
        self._turn = Lock()

    def run(self) -> None:
        """Hand on until `stop`; trouble with the inbox is told, and it is tried again."""
        while not self._ending.is_set():
            try:
                with Inbox.open(self._target) as inbox:
                    self._inbox = inbox
                    self._read(inbox)
            except TrueupError as error:
                self._log.event("inbox", why=str(error), hint=error.hint)
            except Exception as error:  # noqa: BLE001  a defect here must not end the rest
                self._log.defect(error, thread="inbox")
            finally:
                self._inbox = None
                with self._turn:
                    self._in_work.clear()
                    self._done.clear()
            self._ending.wait(AGAIN_S)

    def stop(self) -> None:
        """Make the thread end soon."""
        self._ending.set()
        inbox = self._inbox
        if inbox is not None:
            inbox.wake()

    def _read(self, inbox: Inbox) -> None:
        compacted = 0.0
        while not self._ending.is_set():
            self._put_away(inbox)
            if time.monotonic() - compacted > COMPACT_S or not compacted:
                compacted = time.monotonic()
                inbox.compact(datetime.now(UTC) - timedelta(seconds=self._kept_s))
            with self._turn:
                known = frozenset(self._in_work)
            told = inbox.take(TAKEN - len(known), but=known) if len(known) < TAKEN else []
            for event in told:
                self._hand_on(event)
            if not told:
                inbox.wait(WAIT_S if not known else 0.05)

    def _hand_on(self, event: Told) -> None:
        with self._turn:
            self._in_work.add(event.id)
        wanted = [entity for name, entity in self._objects.get(event.system, []) if event.object is None or name in {None, event.object}]
        over = self._counted(event.id, len(wanted))
        for entity in wanted:
            keys = None if event.key is None else [event.key]
            self._workers[entity].wakes.look(event.system, keys, over=over, at=event.received_at)
        if not wanted:
            over()

    def _counted(self, number: int, looks: int) -> Callable[[], None]:
        """To be called once for each look that is over; the last one puts the message away."""
        left = [max(1, looks)]

        def over() -> None:
            with self._turn:
                left[0] -= 1
                if left[0] == 0:
                    self._done.append(number)

        return over

    def _put_away(self, inbox: Inbox) -> None:
        with self._turn:
            done, self._done = self._done, []
        if done:
            inbox.done(done)
            with self._turn:
                self._in_work.difference_update(done)
