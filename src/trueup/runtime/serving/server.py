"""`trueup serve`: everything that `when` asks for, until it is stopped."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.connectors.registry import connector_class
from trueup.connectors.watching import OwnWrites
from trueup.errors import LeaseLostError, TrueupError
from trueup.model import WEBHOOKS_S
from trueup.runtime.dispatch.agreement import agreed
from trueup.runtime.dispatch.dispatched import Dispatched
from trueup.runtime.dispatch.membership import LOST, Membership
from trueup.runtime.dispatch.team import Team
from trueup.runtime.opening import caps_of
from trueup.runtime.renames import carry_out
from trueup.runtime.schedule import is_realtime
from trueup.runtime.serving.alerting import Alerting
from trueup.runtime.serving.breakers import Breakers
from trueup.runtime.serving.clock import ScheduleClock
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.exchanging import Exchanging
from trueup.runtime.serving.figures import Figures
from trueup.runtime.serving.hold import Hold
from trueup.runtime.serving.knowing import Knowing
from trueup.runtime.serving.letters import Letters
from trueup.runtime.serving.reporting import Reporting
from trueup.runtime.serving.rolling import RollingRun
from trueup.runtime.serving.subscribing import Subscribing
from trueup.runtime.serving.telling import Telling
from trueup.runtime.serving.turns import Turns, room
from trueup.runtime.serving.verifying import Verifying
from trueup.runtime.serving.watching import Watcher
from trueup.runtime.serving.worker import Shared, Worker
from trueup.runtime.trail import DECIDED
from trueup.runtime.workspace import Workspace
from trueup.store import failure, identity, meta, paused
from trueup.store.schema import failure as failure_table
from trueup.store.schema import run as runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trueup.connectors.base import Connector
    from trueup.model import Caps, Config
    from trueup.model import Mapping as ModelMapping
    from trueup.store import Db, Store

TICK_S = 0.1
LOOK_S = 1.0
END_S = 30.0
"""A server that is told to stop waits so long for deliveries that are under way."""
LOST_S = 1.0
"""One that lost its place to another waits so long: whatever is still under way will be refused."""
NO_SYNC = "no `sync` was ever completed: look at `trueup plan`, then run `trueup sync`, or serve with --start"
READY_S = 15.0
"""A server that has not looked at the state for so long is not ready."""
POLL_S = 10.0
"""A system that tells nothing is read so often where that reads only what moved."""
ASK_S = 60.0
"""An application is asked so often, whether or not it sends webhooks: some of these are always lost."""


class Server:
    """One process that keeps everything in agreement. `run` returns when `stop` was called."""

    def __init__(
        self,
        config: Config,
        *,
        log: Log | None = None,
        clock: Callable[[], datetime] | None = None,
        connect: Callable[[str], Connector] | None = None,
        start: bool = False,
        beside: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        """`start`: begin although no `sync` was ever completed. `connect` opens a system's connector (tests put theirs in).

        `beside` is entered once this is the state's only server, or one of several that share it, and left at the end: what else
        belongs to it.
        """
        self.config = config
        self.log = log or Log()
        self.figures = Figures({name: entity.max_delay_s for name, entity in config.entities.items()})
        self.breakers = Breakers()
        self._own_clock = clock
        self._connect = connect or self._open
        self._start = start
        self._beside = beside
        self._main = Workspace(config, clock=clock)
        self.limits = self._main.systems.limits
        self._stopped = Event()
        self.ready = Event()
        self.workers: dict[str, Worker] = {}
        self.watchers: dict[str, Watcher] = {}
        self.letters: Letters | None = None
        self.turns: Turns | None = None
        self._paused: frozenset[tuple[str, str]] = frozenset()
        self._decided: str | None = None
        self._polled_at = 0.0
        self._asked_at = 0.0
        self.member: Membership | None = None  # where others share the state
        self.team: Team | None = None
        self.schedule: ScheduleClock | None = None
        self._seen_at: float | None = None  # when everything was last looked at, and well
        self.knowing = Knowing(self)
        self.alerting = Alerting(config, self.knowing, lambda: self._main.store, self.log)
        self.verifying = Verifying(self)
        self.reporting = Reporting(self)
        self.telling = Telling(self)
        self.subscribing = Subscribing(self)
        self._known_caps: dict[str, Caps] = {}
        self.exchanging = Exchanging(self)
        self.figures.heard = self.telling.wake

    # -------------------------------------------------------------- life

    def stop(self) -> None:
        """End soon: passes and deliveries in work are finished, nothing new is begun. May be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Serve until `stop`. Raises StateError; StateLockedError: another server is at work on this state, which is in a file.

        Where several share a state in PostgreSQL, this one stands by until it leads. Raises LeaseLostError where others took over from it:
        what is left of this server then is refused whatever it does, and another one may be begun.
        """
        with ExitStack() as stack:
            stack.callback(self._main.close)
            stack.callback(self.knowing.close)
            store = self._main.store
            if not self._has_its_place(stack) or not self._wait_for_first_sync():
                return
            rolling = RollingRun(self._main)
            hold = Hold(self._main, lambda: rolling.over(now=True))
            stack.callback(hold.close)
            with hold.working():
                carry_out(store, self.config)
                with store.write() as tx:
                    identity.ensure(tx)
                    name = identity.of(tx)[0] or ""
            self.schedule = clock = ScheduleClock(
                store, self.config.entities, self._main.clock, lambda entity, why: self.workers[entity].wakes.sweep(why)
            )
            shared = Shared(hold, rolling, self.breakers, self.log, self.figures, self.is_paused, clock.met, self._telling)
            self.telling.start()
            self._begin(shared, name)
            self._look_at_state()
            self.ready.set()
            self.alerting.start()
            self.verifying.start()
            if self.config.packages:
                self.exchanging.start()
            self.reporting.start()
            self.subscribing.start()
            self.log.event("serving", entities=", ".join(self.workers), systems=", ".join(self.watchers))
            try:
                self._attend(hold, rolling, clock)
            finally:
                self._finish(hold)
        self.log.event("stopped")

    def _has_its_place(self, stack: ExitStack) -> bool:
        """Be the one server that works on the state; False where this was stopped before."""
        store = self._main.store
        shared = store.backend == "postgresql"
        if shared:
            self.member = stack.enter_context(Membership(store, "serve", agreed(self.config), self._main.clock, self.log))
            self.team = Team(store, agreed(self.config), self.config.entities)
            stack.callback(self.team.close)
        else:
            stack.enter_context(store.serving(self._main.clock()))
        if self._beside is not None:
            stack.enter_context(self._beside())
        return self.member is None or self.member.lead(self._stopped)

    def _wait_for_first_sync(self) -> bool:
        """A state that has never completed a `sync` waits for it; False where the server was stopped meanwhile."""
        told = False
        while not self._stopped.is_set():
            if self._start or self._has_synced():
                return True
            if not told:
                self.log.event("waiting", why=NO_SYNC)
                told = True
            self._stopped.wait(LOOK_S)
        return False

    def _has_synced(self) -> bool:
        with self._main.store.read() as db:
            done = sa.select(sa.func.count()).select_from(runs).where(runs.c.status.in_(["done", "partial"]))
            return bool(db.execute(done).scalar_one())

    def _begin(self, shared: Shared, name: str) -> None:
        left_alone = room()
        comes = {one.entity for one in self.config.packages.values() if one.direction == "in"}
        for entity in self.config.entities.values():
            if entity.when or entity.name in comes:
                notes = {system: OwnWrites() for system in self._realtime(entity.name)}
                own = self._workspace(entity.name, notes)
                at_once = is_realtime(entity)
                beside = self._workspace(entity.name, notes) if at_once else None
                self.workers[entity.name] = Worker(entity.name, own, shared, beside, None if at_once else left_alone)
        if not self.workers and not self.config.packages:
            self.log.event("nothing to do", why="no entity has `when`: add for example `when: [realtime]`")
        self._begin_watching(name)
        told = {name: self._objects_of(name) for name, system in self.config.systems.items() if system.webhook is not None}
        if any(told.values()):
            kept_s = self.config.retention.webhooks_s or WEBHOOKS_S
            self.letters = Letters(self._main.state_target, told, self.workers, self.log, kept_s=kept_s)
            self.letters.start()
        self.turns = Turns([worker for worker in self.workers.values() if not self._realtime(worker.entity)], self.log)
        self.turns.start()
        for worker in self.workers.values():
            if self._realtime(worker.entity):
                worker.wakes.sweep("start")
                worker.start()
        for watcher in self.watchers.values():
            watcher.start()

    def _workspace(self, entity: str, notes: Mapping[str, OwnWrites]) -> Workspace:
        """A workspace for one thread, which works on one entity and notes what it writes."""
        if self.team is not None:
            own: Workspace = Dispatched(self.team, self.config, clock=self._own_clock, store=self._main.store, limits=self.limits)
        else:
            own = Workspace(self.config, clock=self._own_clock, store=self._main.store, limits=self.limits)
        own.systems.calls = self.knowing.calls
        if self._connect != self._open:
            own.systems.replace({system: self._connect(system) for system in self.config.entities[entity].mappings})
        own.systems.own_writes = notes
        return own

    def _begin_watching(self, name: str) -> None:
        """A watcher for every system that can tell; `name` is this installation's."""
        for system in self.config.systems:
            objects = {entity: mapping.object for entity in self.workers if (mapping := self._realtime(entity).get(system)) is not None}
            if objects and self._caps(system).watch:
                connect = partial(self._connect, system)
                watched = f"{name[:8]}_{system}"
                self.watchers[system] = Watcher(system, watched, connect, objects, self.workers, self._main.store, self.log)

    def _objects_of(self, system: str) -> list[tuple[str | None, str]]:
        """The objects of a system, each with the entity that is to know at once when something changed there."""
        return [(mapping.object.name, entity) for entity in self.workers if (mapping := self._realtime(entity).get(system)) is not None]

    def told_of(self, system: str) -> list[str]:
        """The objects of a system of whose changes somebody wants to know at once."""
        return sorted({obj for obj, _entity in self._objects_of(system) if obj is not None})

    def sweep(self, system: str, why: str) -> None:
        """Let those who are told of a system look at everything."""
        for entity in dict.fromkeys(entity for _obj, entity in self._objects_of(system)):
            self.workers[entity].wakes.sweep(why)

    def _realtime(self, entity: str) -> Mapping[str, ModelMapping]:
        """The mappings of an entity that is to be kept in agreement at once."""
        known = self.config.entities[entity]
        return known.mappings if is_realtime(known) else {}

    def _caps(self, system: str) -> Caps:
        found = self._known_caps.get(system)
        if found is None:
            found = self._known_caps[system] = caps_of(self.config.systems[system], self.config.directory)
        return found

    def _open(self, system: str) -> Connector:
        settings = self.config.systems[system]
        return connector_class(settings.connector).open(system, settings.settings, directory=self.config.directory)

    def _attend(self, hold: Hold, rolling: RollingRun, clock: ScheduleClock) -> None:
        """What has to be looked at again and again, cheaply."""
        last = 0.0
        while not self._stopped.wait(TICK_S):
            if self.member is not None and self.member.lost:
                raise LeaseLostError(LOST)
            try:
                hold.tick()
                if time.monotonic() - last >= LOOK_S:
                    last = time.monotonic()
                    self._look_at_state()
                    clock.tick()
                    self._poll()
                    rolling.over()
                    for worker in self.workers.values():
                        worker.recoveries.settle()
                    self._seen_at = time.monotonic()
            except TrueupError as error:
                self.log.event("trouble", why=str(error), hint=error.hint)
                self._stopped.wait(LOOK_S)

    def _finish(self, hold: Hold) -> None:
        self.log.event("stopping")
        self.alerting.stop()
        self.verifying.stop()
        self.exchanging.stop()
        self.reporting.stop()
        self.telling.stop()
        self.subscribing.stop()
        for watcher in self.watchers.values():
            watcher.stop()
        if self.letters is not None:
            self.letters.stop()
        for worker in self.workers.values():
            worker.stop()
        end_s = END_S if self.member is None or not self.member.lost else LOST_S
        if self.turns is not None:
            self.turns.stop()
        for thread in (*self.workers.values(), self.turns, *self.watchers.values(), self.letters, self.subscribing):
            if thread is not None:
                thread.join(end_s)
        self.telling.join(end_s)
        self.reporting.settle(end_s)
        for worker in self.workers.values():
            worker.close(end_s)
        self.limits.stop()
        hold.tick()

    # -------------------------------------------------------------- looking around

    @property
    def clock(self) -> Callable[[], datetime]:
        """Gives the moment."""
        return self._main.clock

    @property
    def store(self) -> Store:
        """The state."""
        return self._main.store

    @property
    def not_ready(self) -> str | None:
        """Why this server does not work on the state now; None: it does."""
        if not self.ready.is_set():
            return "it is starting, waits for the first `sync`, or stands by while another server leads"
        if self._stopped.is_set():
            return "it is stopping"
        if self._seen_at is None or time.monotonic() - self._seen_at > READY_S:
            return "the state could not be looked at lately"
        return None

    def _telling(self, entity: str, since: float) -> frozenset[str]:
        """The systems that have told an entity of changes ever since a moment."""
        mappings = self.config.entities[entity].mappings
        watched = {name for name in mappings if name in self.watchers and self.watchers[name].tells(entity, since)}
        return frozenset(watched | {name for name in mappings if self.config.systems[name].webhook is not None})

    def is_paused(self, entity: str) -> bool:
        """Whether nothing is done for an entity now."""
        return ("all", "") in self._paused or ("entity", entity) in self._paused

    def _look_at_state(self) -> None:
        """What people decided, paused and resumed meanwhile, and which failures are to be tried again."""
        with self._main.store.read() as db:
            now_paused = frozenset(paused.list_(db))
            decided = meta.get(db, DECIDED) or ""
            due = self._due(db) if failure.any_(db) else ()
        resumed = self._paused - now_paused
        self._paused = now_paused
        before, self._decided = self._decided, decided
        for worker in self.workers.values():
            if resumed or before not in {None, decided}:
                worker.wakes.sweep("a decision")
            if worker.entity in due:
                worker.wakes.catch_up()

    def _due(self, db: Db) -> frozenset[str]:
        statement = sa.select(failure_table.c.entity).where(failure_table.c.next_try_at <= self._main.clock()).distinct()
        codes = {row.entity for row in db.execute(statement)}
        return frozenset(name for name in self.workers if db.entity(name) in codes)

    def _poll(self) -> None:
        """Systems that tell nothing are read now and then, where only what moved is read: applications seldom, for each look counts."""
        if time.monotonic() - self._polled_at < POLL_S:
            return
        self._polled_at = time.monotonic()
        asks = self._polled_at - self._asked_at >= ASK_S
        if asks:
            self._asked_at = self._polled_at
        for name, worker in self.workers.items():
            for system, mapping in self._realtime(name).items():
                watcher, caps = self.watchers.get(system), self._caps(system)
                cheap = caps.marks or (caps.incremental and mapping.object.modified is not None)
                if cheap and (watcher is None or watcher.polled) and (asks or caps.kind != "api"):
                    worker.wakes.look(system, None)
