"""`trueup worker`: does what the leader and other workers ask for, until it is stopped."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, cast

from trueup.errors import LeaseLostError, StateError, SystemUnreachableError, TrueupError
from trueup.runtime.dispatch import words
from trueup.runtime.dispatch.agreement import agreed
from trueup.runtime.dispatch.anew import anew
from trueup.runtime.dispatch.counted import Counted
from trueup.runtime.dispatch.membership import LOST, Membership
from trueup.runtime.dispatch.renewing import Renewing
from trueup.runtime.dispatch.team import WORKER, Team, TeamHands
from trueup.runtime.lane import Lane
from trueup.runtime.measured import Calls
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.hold import Hold
from trueup.runtime.serving.rolling import RollingRun
from trueup.runtime.tally import Tally
from trueup.runtime.workspace import Workspace
from trueup.store import job
from trueup.store.locks import WORKS

if TYPE_CHECKING:
    from trueup.connectors.base import Page, Parted
    from trueup.model import Config, EntitySummary
    from trueup.runtime.pass_options import PassOptions
    from trueup.runtime.systems import Seat

PASSES = 4
"""Passes of so many entities at once."""
KNOWN_S = 10.0
WAIT_S = 1.0
TICK_S = 0.2
END_S = 60.0
LOST_S = 1.0
MOST_TRIES = 3
"""A job that so many workers did not survive is not begun any more."""
MOST_BYTES = 256 * 1024 * 1024
"""So much of a system is read into memory for somebody else at most."""


class WorkerProcess:
    """One worker. `run` returns when `stop` was called, or where there is a configuration to be taken up: `fresh`."""

    def __init__(self, config: Config, *, log: Log | None = None, passes: int = PASSES) -> None:
        """`passes`: of so many entities at once; rows are written for others besides, one batch at a time."""
        self.config = config
        self.log = log or Log()
        self._passes = passes
        self._stopped = Event()
        self._main = Workspace(config)
        self._rolling = RollingRun(self._main)
        self._hold = Hold(self._main, lambda: True, purpose=WORKS)
        self.ready = Event()
        self.done = 0
        self.fresh: Config | None = None  # why it ended: this is to be taken up
        self._renewing = Renewing(config, self.log)
        self._taking = Lock()
        self._in_work: set[int] = set()
        self._calls = {name: Calls() for name in config.systems}  # told with the next answer
        self._trouble = 0  # how often a pass found that a system did not answer
        self._looked = 0.0
        self.member: Membership | None = None

    def stop(self) -> None:
        """End soon: what is in work is finished. May be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Work until `stop`. Raises StateError; LeaseLostError where others took over from this one: another one may be begun."""
        with ExitStack() as stack:
            stack.callback(self._main.close)
            stack.callback(self._hold.close)
            store = self._main.store
            self.member = member = stack.enter_context(Membership(store, WORKER, agreed(self.config), self._main.clock, self.log))
            team = Team(store, agreed(self.config))
            stack.callback(team.close)
            threads = [Thread(target=self._work, args=(team, "pass"), name=f"pass {number}", daemon=True) for number in range(self._passes)]
            threads += [Thread(target=self._work, args=(team, kind), name=kind, daemon=True) for kind in ("write", "read")]
            for thread in threads:
                thread.start()
            self.log.event("working", member=member.lease.id)
            self.ready.set()
            try:
                while not self._stopped.wait(TICK_S) and not member.lost:
                    self._tick(team)
            finally:
                self._stopped.set()
                team.bell.ring()
                until = time.monotonic() + (LOST_S if member.lost else END_S)
                for thread in threads:
                    thread.join(max(0.0, until - time.monotonic()))
            if member.lost:
                raise LeaseLostError(LOST)
            self._rolling.over(now=True)
        self.log.event("stopped")

    def _tick(self, team: Team) -> None:
        try:
            self._hold.tick()
            self._rolling.over()
            if time.monotonic() - self._looked > WAIT_S:
                self._looked = time.monotonic()
                self._put_back_unknown(team)
                leader = next((other.agreed for other in team.store.others() if other.leads), None)
                self.fresh = self._renewing.look(leader)
                if self.fresh is not None:
                    self.stop()
        except TrueupError as error:
            self.log.event("trouble", why=str(error), hint=error.hint)
            self._stopped.wait(WAIT_S)

    def _put_back_unknown(self, team: Team) -> None:
        with self._taking:
            with team.store.read() as db:
                lost = job.lost_by(db, team.me, self._in_work)
            if lost:
                with team.store.write() as tx:
                    job.put_back(tx, lost, team.me)

    # -------------------------------------------------------------- one thread

    def _work(self, team: Team, kind: job.Kind) -> None:
        """Take one job after the other. A connector is used by this thread alone."""
        own = Workspace(self.config, store=self._main.store)
        own.systems.calls = self._calls
        try:
            known = self._trouble
            while not self._stopped.is_set():
                if known != self._trouble:  # what is dead in one thread is so in all: no connection is kept
                    known = self._trouble
                    own.systems.close()
                    own.systems.forget()
                self._one_job(own, team, kind)
        except LeaseLostError:  # declared gone: `run` begins nothing more either
            pass
        finally:
            own.systems.close()

    def _one_job(self, own: Workspace, team: Team, kind: job.Kind) -> None:
        """Take a job and do it, or wait for one. The state is held from before it is taken until it is answered."""
        rung = team.bell.count
        try:
            with team.store.read() as db:
                there = job.waits(db, kind, team.agreed, team.me)
            if there:
                with self._hold.working():
                    taken = self._taken(team, kind)
                    if taken is not None:
                        self._do(own, team, taken)
                return
        except TrueupError as error:
            self._may_go_on(error)
            self.log.event("trouble", why=str(error), hint=error.hint)
        team.bell.wait(rung, WAIT_S)

    def _may_go_on(self, error: TrueupError) -> None:
        """Raise a LeaseLostError where others have declared this process gone.

        Where it was merely too late for one write, it is still a member, and nobody else will answer what it was asked for.
        """
        assert self.member is not None
        if isinstance(error, LeaseLostError) and self.member.lost:
            raise error

    def _taken(self, team: Team, kind: job.Kind) -> job.Job | None:
        with self._taking:
            with team.store.write() as tx:
                taken = job.take(tx, kind, team.agreed, team.me)
            if taken is not None:
                self._in_work.add(taken.id)
        return taken

    def _do(self, own: Workspace, team: Team, taken: job.Job) -> None:
        answer: bytes
        tally = Tally()
        try:
            if taken.kind == "pass":
                answer = self._pass(own, team, taken, tally)
            elif taken.kind == "write":
                answer = self._write(own, team, taken)
            else:
                answer = self._read(own, team, taken)
        except TrueupError as error:
            self._may_go_on(error)
            own.systems.forget()
            answer = words.failed(error, self._counted(tally))
        except Exception as error:  # noqa: BLE001  one job's defect must not end the worker
            self.log.defect(error, entity=taken.entity)
            failure = TrueupError(f"a worker failed: {type(error).__name__}", hint="see what it told", entity=taken.entity)
            answer = words.failed(failure, self._counted(tally))
        self._answer(team, taken, answer)
        self.done += 1

    def _counted(self, tally: Tally | None = None) -> Counted:
        """What goes with an answer: the next one does not tell it again."""
        return Counted.taken(self._calls, tally)

    def _answer(self, team: Team, taken: job.Job, answer: bytes) -> None:
        """Tell what came of a job, however long the state does not answer: it stays this worker's until then. Raises LeaseLostError."""
        while True:
            try:
                with team.store.write() as tx:
                    job.answer(tx, taken.id, answer)
            except LeaseLostError:
                raise
            except StateError as error:
                self.log.event("trouble", why=str(error), hint=error.hint)
                time.sleep(WAIT_S)
            else:
                self._in_work.discard(taken.id)
                return

    def _pass(self, own: Workspace, team: Team, taken: job.Job, tally: Tally) -> bytes:
        """A pass, as the server itself would run it; what it decides is counted in `tally`."""
        _must_be_safe(taken)
        options, run = words.pass_options(taken.payload, TeamHands(team, taken.entity, self._calls))
        tally.telling = options.telling
        options = replace(options, notice=tally.heard)
        began = time.perf_counter()

        def one_pass(wanted: PassOptions) -> tuple[EntitySummary, str | None]:
            return self._one_pass(own, taken.entity, wanted, run)

        summary, problem = one_pass(options) if taken.tries == 1 else anew(one_pass, options)
        if problem is not None or any(part.error is not None for part in summary.systems.values()):
            self._trouble += 1
        if problem is not None:  # nothing was done; perhaps only the connections of this thread are dead
            own.systems.close()
            own.systems.forget()
            summary, problem = anew(one_pass, options)
        self.log.event("pass", entity=taken.entity, seconds=round(time.perf_counter() - began, 4), delivered=_moved(summary))
        return words.pass_done(summary, problem, self._counted(tally))

    def _one_pass(self, own: Workspace, entity: str, options: PassOptions, run: int | None) -> tuple[EntitySummary, str | None]:
        if run is not None:
            return own.one_pass(entity, options, run=run)
        with self._rolling.passing(entity) as work:
            work.summary, problem = own.one_pass(entity, options, run=work.number)
        return work.summary, problem

    def _write(self, own: Workspace, team: Team, taken: job.Job) -> bytes:
        """A batch of somebody else's pass, who has recorded the intent and will record what comes of it."""
        system, prepared = words.rows_to_write(taken.payload)
        lane = Lane(team.store, self.config.entities[taken.entity], self._seat(own, taken.entity, system), run=None, owner="")
        return words.rows_written(lane.carry_out(prepared), self._counted())

    def _read(self, own: Workspace, team: Team, taken: job.Job) -> bytes:
        """A part of somebody else's reading."""
        _must_be_safe(taken)
        system, columns, part = words.part_to_read(taken.payload)
        seat = self._seat(own, taken.entity, system)
        pages: list[Page] = []
        size = 0
        for page in cast("Parted", seat.connector).read_part(seat.mapping.object, columns, part):
            team.store.must_be_ours()
            size += int(page.rows.estimated_size())
            if size > MOST_BYTES:
                why = f"a part of {system} is larger than one answer may be"
                raise TrueupError(why, hint="nothing is to be done: whoever had asked reads it", system=system, entity=taken.entity)
            pages.append(page)
        return words.part_read(pages, self._counted())

    def _seat(self, own: Workspace, entity: str, system: str) -> Seat:
        """One system of an entity. Raises what keeps it from being used."""
        known = self.config.entities[entity]
        seats, errors = own.systems.seats(known, make=False, away=frozenset(known.mappings) - {system}, known_s=KNOWN_S)
        if system not in seats:
            raise errors[system]
        return seats[system]


def _must_be_safe(taken: job.Job) -> None:
    """Raise SystemUnreachableError where a job was the end of too many already."""
    if taken.tries > MOST_TRIES:
        why = f"{taken.tries - 1} workers were gone before they had done this"
        raise SystemUnreachableError(why, hint="look at what they told last", entity=taken.entity)


def _moved(summary: EntitySummary) -> dict[str, dict[str, int]]:
    moved = {
        name: {kind: count for kind in ("created", "updated", "deleted", "failed") if (count := getattr(part.delivered, kind))}
        for name, part in summary.systems.items()
    }
    return {name: counts for name, counts in moved.items() if counts}
