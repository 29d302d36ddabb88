"""The others: which workers are there now, and how a process waits for what it asked one of them to do."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager, suppress
from threading import Condition, Lock
from typing import TYPE_CHECKING

from trueup.errors import LeaseLostError, StateError, SystemUnreachableError
from trueup.runtime.dispatch import words
from trueup.runtime.dispatch.membership import LOST
from trueup.store import job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import polars as pl

    from trueup.connectors.base import Page, Part
    from trueup.runtime.dispatch.counted import Counted
    from trueup.runtime.lane import Prepared
    from trueup.runtime.measured import Calls
    from trueup.store import Store

LOOK_S = 1.0
WAIT_S = 1.0
BUSY_S = 1.0
"""Rows that nobody has begun to write by then are written by whoever asked: the others are busy with another system, which may be slow."""
WORKER = "worker"
GONE = "the worker that was writing there is gone: what became of these rows is found out before anything else is written"


class Team:
    """A member's view of the others. Used by all threads of a process."""

    def __init__(self, store: Store, agreed: str, unsure: Iterable[str] = ()) -> None:
        """`agreed` is what a worker must have in common with this process; the store holds a lease.

        `unsure` are entities on which somebody may be at work whom an earlier process had asked.
        """
        self.store = store
        self.agreed = agreed
        self.bell = store.bell()
        self._unsure = set(unsure)
        self._clearing = Lock()
        self._parts: Counter[tuple[str, str]] = Counter()  # rows that others write for this process now, by entity and system
        self._written = Condition()
        self._closed = False
        self._turn = Lock()
        self._looked = 0.0
        self._workers: tuple[int, ...] = ()

    def close(self) -> None:
        """Hear nothing any more; what was asked for is not waited for either."""
        self._closed = True
        self.bell.stop()

    @property
    def me(self) -> int:
        """This process's number."""
        assert self.store.lease is not None
        return self.store.lease.id

    def workers(self, *, now: bool = False) -> tuple[int, ...]:
        """The workers that are there and agree with this process, itself among them where it is one; looked up once a second."""
        with self._turn:
            if now or time.monotonic() - self._looked > LOOK_S:
                self._workers = tuple(other.id for other in self.store.others() if other.role == WORKER and other.agreed == self.agreed)
                self._looked = time.monotonic()
            return self._workers

    def ask(self, kind: job.Kind, entity: str, payload: bytes, *, intent: int | None = None) -> int:
        """Ask whoever has time for it."""
        with self.store.write() as tx:
            return job.ask(tx, kind, entity, payload, agreed=self.agreed, asked_by=self.me, intent=intent)

    def answer_to(self, number: int, *, busy_s: float | None = None) -> bytes | None:
        """Wait for the answer; None where nobody is there who could begin. A pass of which the worker is gone is begun by another one.

        None as well where nobody has begun within `busy_s`. Raises LeaseLostError; SystemUnreachableError where whoever was writing rows
        is gone.
        """
        until = None if busy_s is None else time.monotonic() + busy_s
        while True:
            rung = self.bell.count
            found = self.standing(number)
            if found.done:
                self.forget([number])
                if found.answer is None:
                    raise SystemUnreachableError(GONE, hint="nothing is to be done")
                return found.answer
            late = until is not None and time.monotonic() >= until
            if found.worker is None and (late or not set(self.workers()) - {self.me}) and self.withdrawn(number):
                return None
            self.bell.wait(rung, WAIT_S if until is None or late else min(WAIT_S, until - time.monotonic() + 0.01))

    def rows_written(self, entity: str, payload: bytes, intent: int) -> bytes | None:
        """Let others write rows, and wait until it is known what became of that, also while the state does not answer for a while.

        None: nobody has begun. Raises LeaseLostError, SystemUnreachableError; StateError where nobody was asked, or this process ends.
        """
        number: int | None = None
        while True:
            try:
                if number is None:
                    number = self.ask("write", entity, payload, intent=intent)
                return self.answer_to(number, busy_s=BUSY_S)
            except LeaseLostError:
                raise
            except StateError:
                if number is None:
                    number = self._asked_for(intent)
                if number is None or self._closed:
                    raise
                time.sleep(WAIT_S)

    def _asked_for(self, intent: int) -> int | None:
        """Whether the question had reached the state, although nobody said so."""
        while not self._closed:
            try:
                with self.store.read() as db:
                    return job.asked_for(db, intent)
            except LeaseLostError:
                raise
            except StateError:
                time.sleep(WAIT_S)
        return None

    @contextmanager
    def writing(self, entity: str, system: str) -> Iterator[None]:
        """Others write rows of a system while the block runs."""
        with self._written:
            self._parts[entity, system] += 1
        try:
            yield
        finally:
            with self._written:
                self._parts[entity, system] -= 1
                self._written.notify_all()

    def may_be_at(self, entity: str) -> None:
        """A worker is asked for a pass over this entity: it may be at work, and have others at work, until `nobody_is_at` has looked."""
        with self._clearing:
            self._unsure.add(entity)

    def nobody_is_at(self, entity: str, but: Collection[str] = ()) -> None:
        """Wait until nobody else is at work on an entity, of its systems all `but` those of which a lane of this process goes on.

        Raises LeaseLostError, StateError.
        """
        while True:
            rung = self.bell.count
            with self._clearing:  # what this process itself asks for is asked for afterwards
                if entity not in self._unsure:
                    break
                self.store.must_be_ours()
                with self.store.write() as tx:
                    job.clear(tx, entity)
                    if not job.in_work(tx, entity):
                        self._unsure.discard(entity)
                        break
            self.bell.wait(rung, WAIT_S)
        with self._written:  # a pass broke off while others were writing for it
            while not self._closed and any(n for (one, system), n in self._parts.items() if one == entity and system not in but):
                self._written.wait(WAIT_S)

    def standing(self, number: int) -> job.Standing:
        """How a job stands. Raises LeaseLostError."""
        with self.store.read() as db:
            found = job.standing(db, number)
        if self.store.lease is None or self.store.lease.lost or found is None:
            raise LeaseLostError(LOST)
        return found

    def forget(self, numbers: Collection[int]) -> None:
        """Nobody asks for these any more."""
        if numbers:
            with self.store.write() as tx:
                job.forget(tx, *numbers)

    def withdrawn(self, number: int) -> bool:
        """Take a job back; False where somebody has begun it."""
        with self.store.write() as tx:
            return job.withdraw(tx, number)


class TeamHands:
    """Lets other workers write batches, and read parts, of a pass that this process runs. Used by all threads of that pass."""

    def __init__(self, team: Team, entity: str, calls: Mapping[str, Calls] | None) -> None:
        """`entity`: whose pass it is. What others ask its systems is counted in `calls`; None: by nobody."""
        self._team = team
        self._entity = entity
        self._calls = calls

    def count(self, system: str) -> int:  # noqa: ARG002  part of the contract
        """How many others could write and read at this moment."""
        return len(set(self._team.workers()) - {self._team.me})

    def write(self, system: str, prepared: Prepared, intent: int) -> pl.DataFrame | None:
        """See Hands."""
        with self._team.writing(self._entity, system):
            answer = self._team.rows_written(self._entity, words.rows_wanted(system, prepared), intent)
        return None if answer is None else words.outcomes_of(answer, self._hear)

    def ask_to_read(self, system: str, columns: Sequence[str], part: Part) -> int:
        """See Hands."""
        return self._team.ask("read", self._entity, words.part_wanted(system, columns, part))

    def was_read(self, asked: int) -> list[Page] | None:
        """See Hands."""
        found = self._team.standing(asked)
        if not found.done:
            return None
        self._team.forget([asked])
        if found.answer is None:
            raise SystemUnreachableError("nobody says what was read", hint="nothing is to be done")
        return words.pages_of(found.answer, self._hear)

    def take_back(self, asked: int) -> bool:
        """See Hands."""
        return self._team.standing(asked).worker is None and self._team.withdrawn(asked)

    def heard(self) -> int:
        """See Hands."""
        return self._team.bell.count

    def wait(self, heard: int) -> None:
        """See Hands."""
        self._team.bell.wait(heard, WAIT_S)

    def forget(self, asked: Iterable[int]) -> None:
        """See Hands. Where the state does not answer, they are forgotten with this process."""
        with suppress(StateError):
            self._team.forget(list(asked))

    def _hear(self, counted: Counted) -> None:
        if self._calls is not None:
            counted.add_calls(self._calls)
