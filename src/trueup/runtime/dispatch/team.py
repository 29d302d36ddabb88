"""The others: which workers are there now, and how a process waits for what it asked one of them to do."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from trueup.errors import LeaseLostError, StateError, SystemUnreachableError
from trueup.runtime.dispatch import words
from trueup.runtime.dispatch.membership import LOST
from trueup.store import job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import polars as pl

    from trueup.connectors.base import Page, Part
    from trueup.runtime.dispatch.counted import Counted
    from trueup.runtime.lane import Prepared
    from trueup.runtime.measured import Calls
    from trueup.store import Store

LOOK_S = 1.0
WAIT_S = 1.0
WORKER = "worker"
GONE = "the worker that was writing there is gone: what became of these rows is found out before anything else is written"


class Team:
    """A member's view of the others. Used by all threads of a process."""

    def __init__(self, store: Store, agreed: str) -> None:
        """`agreed` is what a worker must have in common with this process; the store holds a lease."""
        self.store = store
        self.agreed = agreed
        self.bell = store.bell()
        self.apart: set[str] = set()  # entities of which this process reads beside its own passes
        self._turn = Lock()
        self._looked = 0.0
        self._workers: tuple[int, ...] = ()

    def close(self) -> None:
        """Hear nothing any more."""
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

    def answer_to(self, number: int) -> bytes | None:
        """Wait for the answer; None where nobody is there who could begin. A pass of which the worker is gone is begun by another one.

        Raises LeaseLostError; SystemUnreachableError where whoever was writing rows is gone.
        """
        while True:
            rung = self.bell.count
            found = self.standing(number)
            if found.done:
                self.forget([number])
                if found.answer is None:
                    raise SystemUnreachableError(GONE, hint="nothing is to be done")
                return found.answer
            if found.worker is None and not set(self.workers()) - {self.me} and self.withdrawn(number):
                return None
            self.bell.wait(rung, WAIT_S)

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
        answer = self._team.answer_to(self._team.ask("write", self._entity, words.rows_wanted(system, prepared), intent=intent))
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
