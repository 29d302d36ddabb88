"""The others: which workers are there now, and how a process waits for what it asked one of them to do."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from trueup.errors import LeaseLostError, SystemUnreachableError
from trueup.runtime.dispatch import words
from trueup.runtime.dispatch.membership import LOST
from trueup.store import job

if TYPE_CHECKING:
    import polars as pl

    from trueup.runtime.lane import Prepared
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
            with self.store.read() as db:
                found = job.standing(db, number)
            if self.store.lease is None or self.store.lease.lost or found is None:
                raise LeaseLostError(LOST)
            if found.done:
                with self.store.write() as tx:
                    job.forget(tx, number)
                if found.answer is None:
                    raise SystemUnreachableError(GONE, hint="nothing is to be done")
                return found.answer
            if found.worker is None and not set(self.workers()) - {self.me} and self._withdrawn(number):
                return None
            self.bell.wait(rung, WAIT_S)

    def _withdrawn(self, number: int) -> bool:
        with self.store.write() as tx:
            return job.withdraw(tx, number)


class TeamHands:
    """Lets other workers write batches of a pass that this process runs."""

    def __init__(self, team: Team, entity: str) -> None:
        """`entity`: whose pass it is."""
        self._team = team
        self._entity = entity

    def count(self, system: str) -> int:  # noqa: ARG002  part of the contract
        """How many others could write at this moment."""
        return len(set(self._team.workers()) - {self._team.me})

    def write(self, system: str, prepared: Prepared, intent: int) -> pl.DataFrame | None:
        """See Hands."""
        answer = self._team.answer_to(self._team.ask("write", self._entity, words.rows_wanted(system, prepared), intent=intent))
        return None if answer is None else words.outcomes_of(answer)
