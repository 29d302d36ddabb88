"""One entity at work: takes what woke it, runs the pass, and confirms what was looked at."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING

from trueup.errors import StateError, StateLockedError, TrueupError
from trueup.runtime.pass_options import PassOptions
from trueup.runtime.serving.lanes import Lanes
from trueup.runtime.serving.recoveries import Recoveries
from trueup.runtime.serving.sweeping import Sweep
from trueup.runtime.serving.wakes import Batch, Look, Wakes
from trueup.runtime.triggers import Triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from trueup.connectors.watching import OwnWrites
    from trueup.core.facts import Decision
    from trueup.model import EntitySummary
    from trueup.runtime.serving.breakers import Breakers
    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.figures import Figures
    from trueup.runtime.serving.hold import Hold
    from trueup.runtime.serving.lanes import Freed
    from trueup.runtime.serving.rolling import RollingRun
    from trueup.runtime.tally import Tally
    from trueup.runtime.workspace import Workspace

LOOK_AROUND_S = 1.0
KNOWN_S = 10.0
"""What a system's tables are like is asked every so often, and at once when something went wrong: a few rows are looked at quickly."""
ECHO_S = 0.5
"""Rows that we wrote ourselves are told by most systems, too: so long after such a look, the next ones are gathered into one."""
GIVEN_UP = 3
"""After so many sweeps in a row that were given up, the next one is made at once, and everything else waits for it."""
KINDS = ("created", "updated", "deleted", "failed")
BY_THE_CLOCK = ("every ", "at ", "cron ")
"""How the names of the items of `when` begin (`schedule.name_of`): a sweep for another reason is to find what nothing has told."""
TROUBLE_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass
class Shared:
    """What the workers of a server have in common."""

    hold: Hold
    rolling: RollingRun
    breakers: Breakers
    log: Log
    figures: Figures
    paused: Callable[[str], bool]
    swept: Callable[[str, str, datetime], None]  # entity, why, when it began
    telling: Callable[[str, float], frozenset[str]] = lambda _entity, _since: frozenset()  # who told an entity of changes ever since


class Worker:
    """One entity at work, in a thread of its own or in turns with others. `wakes` takes what it is to look at."""

    def __init__(
        self, entity: str, workspace: Workspace, shared: Shared, sweeper: Workspace | None = None, room: Semaphore | None = None
    ) -> None:
        """`workspace` is this entity's own: its connectors are used by nobody else.

        `sweeper` is another one, for sweeps that read beside it; None: everything else waits while a sweep reads. `room`: see Lanes.
        """
        self.entity = entity
        self.wakes = Wakes()
        self._workspace = workspace
        self._shared = shared
        self._systems = list(workspace.config.entities[entity].mappings)
        self._triggers = Triggers.of(workspace.config.entities[entity])
        self._ending = Event()
        self._limits = workspace.systems.limits
        self._resting = frozenset(self._limits.resting(self._systems, workspace.clock()))
        self._silent: set[str] = set()  # systems that did not answer, or were left out for that, since everything was looked at
        self._troubles = 0
        self._not_before = 0.0  # time.monotonic; after trouble
        self._echoes_at = 0.0  # time.monotonic; before that no row that we wrote is looked at because its system tells of it
        self._thread: Thread | None = None
        self._closed = False
        self._restless = False  # a lane that was left to itself kept this entity from `rest`
        self._sweeper = sweeper
        self._beside: Sweep | None = None  # a sweep that reads, or has read
        self._given_up = 0  # sweeps in a row of which the reading came to nothing
        self.lanes = Lanes(self._systems, shared.hold.enter_too, self._freed, room=room, own_writes=self.own_writes)
        self._swept_at = time.monotonic()
        self.recoveries = Recoveries(lambda: shared.telling(entity, self._swept_at), self._recovered)
        self.wakes.heard = self.recoveries.told

    # -------------------------------------------------------------- life

    def start(self) -> None:
        """Work in a thread of its own until `stop`."""
        self._thread = Thread(target=self._run, name=f"entity {self.entity}", daemon=True)
        self._thread.start()

    def join(self, wait_s: float) -> None:
        """Wait at most so long for that thread to end."""
        if self._thread is not None:
            self._thread.join(wait_s)

    @property
    def at_work(self) -> bool:
        """Whether it was not told to stop."""
        return not self._ending.is_set()

    def _run(self) -> None:
        while not self._ending.is_set():
            self.look_around()
            self.turn(LOOK_AROUND_S)
        if self._closed:  # nobody waited for a pass that was held up: it has opened connectors anew
            self._workspace.systems.close()

    def look_around(self) -> bool:
        """Notice what changed without a word. Whether there is something to do now, as far as can be told without doing it."""
        self._notice_who_is_back()
        self._give_way()
        return (self.wakes.any and self._ready()) or (self._restless and not self.lanes.busy)

    def turn(self, patience_s: float) -> bool:
        """Wait for something to do, and do it; False where there was nothing. What goes wrong is told, and the next one tried later."""
        batch = self.wakes.take(patience_s, self._ready, self._away, self._whole, lambda: self._beside is not None)
        if batch is None:
            return False
        try:
            done = self._work(batch)
        except StateLockedError as error:
            self._shared.log.event("waiting", entity=self.entity, why=str(error))
            done = False
        except TrueupError as error:
            self._shared.log.event("trouble", entity=self.entity, why=str(error), hint=error.hint)
            done = False
        except Exception as error:  # noqa: BLE001  one entity's defect must not end the others
            self._shared.log.defect(error, entity=self.entity)
            done = False
        finally:
            self._shared.breakers.give_up_trying(self.entity)
        if done:
            self._troubles = 0
            return True
        self._workspace.systems.forget()
        self._not_before = time.monotonic() + TROUBLE_S[min(self._troubles, len(TROUBLE_S) - 1)]
        self._troubles += 1
        self._put_back(batch)
        self._shared.figures.trouble(self.entity)
        return True

    def rest(self) -> None:
        """Keep no thread and no connection until there is something to do again."""
        self._restless = bool(self.lanes.busy)
        if not self._restless:
            self.lanes.rest()
            self._workspace.systems.close()
            self._workspace.systems.forget()

    @property
    def own_writes(self) -> Mapping[str, OwnWrites]:
        """What this entity itself writes, by system."""
        return self._workspace.systems.own_writes

    def stop(self) -> None:
        """Take nothing new; the pass in work is finished."""
        self._ending.set()
        self.wakes.stop()

    def close(self, wait_s: float) -> None:
        """After it has stopped: wait for lanes that are still under way, and close the connectors."""
        self._closed = True
        sweep = self._beside
        if sweep is not None:
            sweep.join(wait_s)
            if not sweep.given_up:
                self._shared.hold.leave()
        left = self.lanes.close(wait_s)
        for system in left:
            self._shared.log.event("left behind", entity=self.entity, system=system, why="its deliveries are looked into at the next start")
        if not left:
            self._workspace.systems.close()
        if self._sweeper is not None and not left and (sweep is None or not sweep.is_alive()):
            if sweep is not None:
                sweep.drop()
            self._sweeper.systems.close()

    @property
    def silent(self) -> frozenset[str]:
        """Systems that do not answer, and for which something may wait."""
        return frozenset(self._silent)

    def _ready(self) -> bool:
        if time.monotonic() < self._not_before:
            return False
        return not self._shared.paused(self.entity) and not self._resting.issuperset(self._systems)

    def _whole(self) -> bool:
        """Whether a sweep makes sense now: not while a lane is busy, which is over soon."""
        return not self.lanes.busy

    def _away(self) -> frozenset[str]:
        return self.lanes.busy | self._shared.breakers.away(self.entity) | self._resting

    # -------------------------------------------------------------- one pass

    def _work(self, batch: Batch) -> bool:
        """One pass over a batch; False where nothing could be done."""
        if batch.conclude:
            return self._conclude_sweep()
        self._put_off_echoes(batch)
        if not (batch.looks or batch.catch_up or batch.sweep):
            return True
        silent = self._shared.breakers.leave_out(self.entity)
        self._silent |= silent
        away = self.lanes.leave_out() | silent | self._resting
        if batch.sweep and self._begins_beside(batch.sweep, away):
            return True
        if self._beside is not None:
            self._beside.looked_at(batch.whole)
        began, clock = self._workspace.clock(), time.perf_counter()
        with self._shared.hold.working(within=self._beside is not None and not self._beside.given_up):
            summary, problem = self._sweep(batch.sweep, away) if batch.sweep else self._look(batch, away)
        return self._take_stock(batch, summary, problem, away, began, time.perf_counter() - clock)

    def _take_stock(
        self, batch: Batch, summary: EntitySummary, problem: str | None, away: frozenset[str], began: datetime, seconds: float
    ) -> bool:
        """A pass that began at `began` is over; False where it could do nothing (`problem`)."""
        self._learn(summary, away)
        if problem is not None:
            self._shared.log.event("nothing done", entity=self.entity, why=problem)
            return False
        away |= self._limits.resting(self._systems, self._workspace.clock()).keys()  # its rest may have begun before the pass did
        failed = {name for name, part in summary.systems.items() if part.error is not None} | away
        batch.over(but=failed & batch.looks.keys())
        self.wakes.put_back(look for name, look in batch.looks.items() if name in failed)
        self._count(batch, summary, seconds, away)
        for why in batch.sweep:
            self._shared.swept(self.entity, why, began)
        self._tell(batch, summary, seconds)
        return True

    def _look(self, batch: Batch, away: frozenset[str]) -> tuple[EntitySummary, str | None]:
        if batch.whole or batch.catch_up:
            options = PassOptions(only=batch.whole, away=away)
        else:
            keys = {name: list(look.keys or ()) for name, look in batch.looks.items()}
            options = PassOptions(keys=keys, away=away, known_s=KNOWN_S)
        options = replace(
            options, lanes=self.lanes, notice=self._decided, heard=self._heard, triggers=self._triggers, elsewhere=self._elsewhere
        )
        # What a power cut takes of it is found again: by the look at everything with which each server begins.
        with self._shared.rolling.passing(self.entity) as work, self._workspace.store.gathered():
            work.summary, problem = self._workspace.one_pass(self.entity, options, run=work.number)
        return work.summary, problem

    def _sweep(self, why: tuple[str, ...], away: frozenset[str]) -> tuple[EntitySummary, str | None]:
        self._given_up = 0
        self._begin_counting(why)
        done = False
        try:
            options = PassOptions(
                away=away, lanes=self.lanes, notice=self._decided, elsewhere=self._elsewhere, telling=self.recoveries.wanted
            )
            result = self._workspace.numbered_run(f"serve: {', '.join(why)}", {self.entity: options})
            done = result.error is None
        finally:
            self._end_counting(why, done=done)
        return result.entities[self.entity], result.error

    # -------------------------------------------------------------- counting

    def _decided(self, decision: Decision) -> None:
        self._shared.figures.decided(self.entity, decision)
        self.recoveries.decided(decision)

    def _elsewhere(self, tally: Tally) -> None:
        """What a worker decided in a pass of this entity."""
        self._shared.figures.settled(self.entity, tally.decided)
        self.recoveries.found(tally.found)

    def _begin_counting(self, why: tuple[str, ...]) -> None:
        """A sweep begins: what it finds was told by nobody, if that is why it is made."""
        if _by_the_clock(why):
            self.recoveries.begin(self.wakes.waiting)

    def _end_counting(self, why: tuple[str, ...], *, done: bool) -> None:
        if _by_the_clock(why):
            self.recoveries.over(done=done)
        if done:
            self._swept_at = time.monotonic()

    def _recovered(self, rows: dict[str, int]) -> None:
        self._shared.figures.recovered(self.entity, rows, self._workspace.clock())
        self._shared.log.event("recovered by sweep", entity=self.entity, rows=rows)

    def _count(self, batch: Batch, summary: EntitySummary, seconds: float, away: frozenset[str]) -> None:
        changed_at = min((look.at for look in batch.looks.values() if look.at is not None), default=None)
        alone = self.lanes.busy - away
        self._shared.figures.passed(self.entity, summary, seconds, at=self._workspace.clock(), changed_at=changed_at, alone=alone)

    # -------------------------------------------------------------- sweeps beside other passes

    def _begins_beside(self, why: tuple[str, ...], away: frozenset[str]) -> bool:
        """Begin a sweep that reads beside other passes; False where it has to be made at once, and everything else waits for it."""
        if self._sweeper is None or self._given_up >= GIVEN_UP:
            return False
        hold = self._shared.hold
        hold.enter()
        try:
            if self._sweeper.may_read_apart(self.entity):
                options = PassOptions(away=away, lanes=self.lanes, notice=self._decided, apart=True)
                self._beside = Sweep(self._sweeper, self.entity, why, options, self.wakes.conclude)
        finally:
            if self._beside is None:
                hold.leave()
        if self._beside is None:
            return False
        self.lanes.heard = self._heard
        self._begin_counting(why)
        self._beside.start()
        return True

    def _heard(self, system: str, keys: Iterable[str | None]) -> None:
        sweep = self._beside
        if sweep is not None:
            sweep.heard(system, keys)

    def _give_way(self) -> None:
        """Another process waits for the state: what is being read for a sweep may be outdated when it comes back."""
        sweep = self._beside
        if sweep is not None and not sweep.given_up and self._shared.hold.giving_way:
            self._begin_anew(sweep)
            sweep.give_up()
            self._shared.hold.leave()

    def _begin_anew(self, sweep: Sweep) -> None:
        self._given_up += 1
        self._end_counting(sweep.why, done=False)
        for why in sweep.why:
            self.wakes.sweep(why)

    def _conclude_sweep(self) -> bool:
        """A sweep has read everything: what differs is decided about and delivered."""
        sweep, self._beside = self._beside, None
        assert sweep is not None
        sweep.join()
        if sweep.given_up:
            sweep.drop()
            return True
        clock = time.perf_counter()
        try:
            if sweep.outdated():
                self._begin_anew(sweep)
                sweep.drop()
                return True
            summary, problem = sweep.conclude()
        except BaseException:
            self._begin_anew(sweep)
            raise
        finally:
            self._shared.hold.leave()
        done = self._take_stock(Batch(sweep=sweep.why), summary, problem, sweep.away, sweep.began, time.perf_counter() - clock)
        if done:
            self._given_up = 0
            self._end_counting(sweep.why, done=True)
            self.wakes.put_back(Look(name, None) for name in sorted(sweep.anew))  # what may be made only where all was read
        else:
            self._begin_anew(sweep)
        return done

    def _learn(self, summary: EntitySummary, away: frozenset[str]) -> None:
        """Which systems answered in this pass, and which did not."""
        for name in self._systems:
            part = summary.systems.get(name)
            if part is None or name in away:
                continue
            if part.error is not None:
                self._workspace.systems.forget()
                self._silent.add(name)
                if self._shared.breakers.failed(name, part.error):
                    self._shared.log.event("system away", entity=self.entity, system=name, why=part.error)
            elif self._shared.breakers.worked(name):
                self._shared.log.event("system back", entity=self.entity, system=name)

    def _notice_who_is_back(self) -> None:
        """What waits for a system that did not answer, or was left alone, is considered when it is back, whoever found that out.

        When its time has come it is tried, also where nothing else is to be done.
        """
        back = self._silent - self._shared.breakers.open.keys()
        self._silent -= back
        resting = frozenset(self._limits.resting(self._systems, self._workspace.clock()))
        back |= self._resting - resting
        self._resting = resting
        for name in sorted(back):
            self.wakes.sweep(f"{name} is back")
        if self._silent - self._away():
            self.wakes.catch_up()

    def _put_off_echoes(self, batch: Batch) -> None:
        """Rows that we wrote ourselves a moment ago are looked at together, and not one by one as they come back."""
        now, due = time.monotonic(), self._echoes_at
        if any(look.put_off for look in batch.looks.values()):
            self._echoes_at = now + ECHO_S
        for name, look in list(batch.looks.items()):
            if look.keys is None or look.put_off:
                continue
            own = self.lanes.take_written(name, look.keys)
            if not own:
                continue
            if now >= due:
                self._echoes_at = now + ECHO_S
                continue
            for key in own:
                del look.keys[key]
            later = Look(name, dict.fromkeys(own), at=look.at, put_off=True)
            if not look.keys:
                later.over, look.over = look.over, []
                del batch.looks[name]
            self.wakes.later(later, due - now)

    def _freed(self, lane: Freed) -> None:
        """A lane that was left to itself is over: what waits for its system is considered now."""
        try:
            self._take_in(lane)
        finally:
            self._shared.hold.leave()
            if lane.missed or lane.problem is not None:  # what was on its way when it broke off is looked into by the next pass
                self.wakes.catch_up()
            self.wakes.nudge()

    def _take_in(self, lane: Freed) -> None:
        if isinstance(lane.problem, TrueupError):
            self._shared.log.event("trouble", entity=self.entity, system=lane.system, why=str(lane.problem), hint=lane.problem.hint)
        elif lane.problem is not None:
            self._shared.log.defect(lane.problem, entity=self.entity, system=lane.system)
        left = lane.result
        if left is None:
            return
        self._shared.rolling.deliver_late(self.entity, lane.system, left.counts)
        self._shared.figures.delivered_late(self.entity, lane.system, left.counts, self._workspace.clock())
        moved = {kind: count for kind in KINDS if (count := getattr(left.counts, kind))}
        if moved:
            self._shared.log.event("delivered late", entity=self.entity, system=lane.system, **moved)
        if left.error is not None:
            if self._shared.breakers.failed(lane.system, left.error):
                self._shared.log.event("system away", entity=self.entity, system=lane.system, why=left.error)
            self._silent.add(lane.system)
        elif left.wake:
            self.wakes.look(lane.system, left.wake)

    def _put_back(self, batch: Batch) -> None:
        """What was to be looked at, and what was decided before the pass broke off: no row shows that any more."""
        self.wakes.put_back(batch.looks.values())
        self.wakes.catch_up()
        for why in batch.sweep:
            self.wakes.sweep(why)

    def _tell(self, batch: Batch, summary: EntitySummary, seconds: float) -> None:
        moved = {
            name: {kind: count for kind in KINDS if (count := getattr(part.delivered, kind))} for name, part in summary.systems.items()
        }
        moved = {name: counts for name, counts in moved.items() if counts}
        with suppress(StateError):
            if batch.sweep or moved or summary.conflicts_opened or summary.held:
                self._shared.log.event(
                    "pass",
                    entity=self.entity,
                    why=", ".join(batch.sweep) or "changes",
                    seconds=round(seconds, 4),
                    delivered=moved,
                    conflicts=summary.conflicts_opened,
                    held=summary.held,
                )


def _by_the_clock(why: tuple[str, ...]) -> bool:
    """Whether a sweep is made for no other reason than that it is time."""
    return all(name.startswith(BY_THE_CLOCK) for name in why)
