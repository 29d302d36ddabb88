"""Systems that tell when something changed there: one thread each, which turns hints into looks of the entities concerned."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, cast

from trueup.connectors.watching import KnowsOwnWrites
from trueup.errors import PositionLostError, TrueupError
from trueup.runtime.serving.wakes import Confirmations
from trueup.store import meta

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trueup.connectors.base import Connector
    from trueup.connectors.watching import Hints, Lag, Watch, Watching
    from trueup.model import ObjectSpec
    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.worker import Worker
    from trueup.store import Store

WAIT_S = 5.0
CONFIRM_S = 1.0
AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Watcher(Thread):
    """Watches one system for all entities that want to know at once."""

    def __init__(
        self,
        system: str,
        name: str,
        connect: Callable[[], Connector],
        objects: Mapping[str, ObjectSpec],
        workers: Mapping[str, Worker],
        store: Store,
        log: Log,
    ) -> None:
        """`objects` are what to watch, by entity; `connect` opens a connector of this thread's own; `name` is that of `Watching.watch`."""
        super().__init__(name=f"watch {system}", daemon=True)
        self.system = system
        self._name = name
        self._connect = connect
        self._entities = list(objects)
        self._objects = list(objects.values())
        self._workers = workers
        self._store = store
        self._log = log
        self.polled = False  # the system tells nothing: somebody must look
        self.telling_since: float | None = None  # time.monotonic; None: it is not watched now
        self._ending = Event()
        self._watch: Watch | None = None
        self._newest: str | None = None  # looked at, and not confirmed yet
        self._kept_at = 0.0
        self._turn = Lock()

    def run(self) -> None:
        """Watch until `stop`; after trouble, begin again a little later."""
        failures = 0
        while not self._ending.is_set():
            connector: Connector | None = None
            try:
                connector = self._connect()
                self._watch_on(cast("Watching", connector))
                failures = 0
            except PositionLostError as error:
                self._log.event("watch lost", system=self.system, why=str(error), hint=error.hint)
                self._keep(None)
            except TrueupError as error:
                if failures == 0:
                    self._log.event("watch broken", system=self.system, why=str(error), hint=error.hint)
                failures += 1
            except Exception as error:  # noqa: BLE001  a defect of one connector must not end the others
                self._log.defect(error, system=self.system)
                failures += 1
            finally:
                self._end(connector)
            if failures:
                self._ending.wait(AGAIN_S[min(failures, len(AGAIN_S)) - 1])

    def stop(self) -> None:
        """Make the thread end soon."""
        self._ending.set()
        watch = self._watch
        if watch is not None:
            watch.wake()

    def lag(self) -> Lag | None:
        """How far behind the watch is; None while there is none."""
        watch = self._watch
        return None if watch is None else watch.lag()

    def tells(self, entity: str, since: float) -> bool:
        """Whether it has told an entity of every change since a moment (`time.monotonic`)."""
        watch, begun = self._watch, self.telling_since
        if watch is None or begun is None or begun > since or entity not in self._entities:
            return False
        return self._entities.index(entity) not in watch.way.unwatched

    @property
    def how(self) -> str | None:
        """How the system is watched now; None: it is not."""
        watch = self._watch
        return None if watch is None else watch.way.how

    def _watch_on(self, connector: Watching) -> None:
        way = connector.way(self._objects)
        if not way.pushes:
            self._log.event("not watched", system=self.system, why=way.why)
            with suppress(TrueupError):  # a slot that nobody reads would fill the disk of the server
                connector.unwatch(name=self._name)
            self.polled = True
            self._ending.set()
            return
        if isinstance(connector, KnowsOwnWrites):
            own = {number: self._workers[entity].own_writes.get(self.system) for number, entity in enumerate(self._entities)}
            connector.own_of = {number: notes for number, notes in own.items() if notes is not None}
        watch = self._watch = connector.watch(self._objects, name=self._name, since=self._kept())
        self._log.event("watching", system=self.system, how=watch.way.how, why=watch.way.why)
        self.telling_since = time.monotonic()
        confirmed = Confirmations(partial(self._confirm, watch))
        over = confirmed.told(watch.position, len(watch.fresh))
        for number in watch.fresh:
            self._workers[self._entities[number]].wakes.look(self.system, None, over=over)
        while not self._ending.is_set():
            hints = watch.wait(WAIT_S if self._newest is None and not confirmed.waiting else CONFIRM_S)
            if hints is not None:
                self._hand_on(hints, confirmed)
            self._pass_on(watch)

    def _hand_on(self, hints: Hints, confirmed: Confirmations) -> None:
        over = confirmed.told(hints.position, len(hints.keys))
        at = hints.at or datetime.now(UTC)  # a system that does not say when tells at once
        for number, keys in hints.keys.items():
            self._workers[self._entities[number]].wakes.look(self.system, keys, over=over, at=at)

    def _confirm(self, watch: Watch, position: str) -> None:
        """Called by whoever looked last; the watch itself is told by its own thread. One that is over has told all of this again."""
        with self._turn:
            if watch is self._watch:
                self._newest = position

    def _pass_on(self, watch: Watch, *, at_once: bool = False) -> None:
        """Let the system forget what was looked at, now and then. The state knows of it first.

        A system that had forgotten more than the state knows of would be taken for one that was used by somebody else meanwhile.
        """
        if not at_once and time.monotonic() - self._kept_at < CONFIRM_S:
            return
        with self._turn:
            newest, self._newest = self._newest, None
        if newest is None:
            return
        if watch.position is not None:
            self._keep(newest)
        self._kept_at = time.monotonic()
        watch.confirm(newest)

    def _kept(self) -> str | None:
        with self._store.read() as db:
            return meta.get(db, self._fact)

    def _keep(self, position: str | None) -> None:
        with self._store.write() as tx:
            meta.set_(tx, self._fact, position)

    @property
    def _fact(self) -> str:
        return f"watched {self.system}"

    def _end(self, connector: Connector | None) -> None:
        watch = self._watch
        if watch is not None:
            with suppress(TrueupError):
                self._pass_on(watch, at_once=True)
            watch.close()
        self.telling_since = None
        with self._turn:
            self._watch = self._newest = None
        if connector is not None:
            connector.close()
