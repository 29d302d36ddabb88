"""A process's membership: its lease, renewed in a thread of its own, and the leader's place, waited for."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from trueup.errors import LeaseLostError, StateError
from trueup.store import member

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from trueup.runtime.serving.events import Log
    from trueup.store import Store

BEAT_S = 1.0
LOOK_S = 0.5
LOST = "others took over what this process did, for it was out of touch with the state"


class Membership:
    """One of the processes that share a state. A context manager: a member inside, and none any more afterwards."""

    def __init__(self, store: Store, role: str, agreed: str, clock: Callable[[], datetime], log: Log | None) -> None:
        """Nothing is told to the state yet. `log` None: what happens to the lease is told to nobody."""
        self._store = store
        self._role = role
        self._agreed = agreed
        self._clock = clock
        self._log = log
        self._ending = Event()
        self._thread = Thread(target=self._beat, name="lease", daemon=True)
        self.lease: member.Lease

    def __enter__(self) -> Self:
        self.lease = self._store.join(self._role, self._agreed, self._clock())
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(BEAT_S * 2)
        self.lease.leave()

    @property
    def lost(self) -> bool:
        """Whether others have declared this process gone: it must begin anew."""
        return self.lease.lost

    def lead(self, stopped: Event) -> bool:
        """Wait until this process leads; False where it was stopped meanwhile. Raises LeaseLostError."""
        told: int | None = None
        while not stopped.is_set():
            if self.lost:
                raise LeaseLostError(LOST)
            with suppress(StateError):  # a server that is restarted: it is asked again
                leader = next((other for other in self._store.others() if other.leads), None)
                if leader is None and self._taken():
                    self._tell("leading", member=self.lease.id)
                    return True
                if leader is not None and leader.id != told:
                    told = leader.id
                    self._tell("standing by", why=f"process {leader.pid} on {leader.host} leads")
            stopped.wait(LOOK_S)
        return False

    def _tell(self, what: str, **about: object) -> None:
        if self._log is not None:
            self._log.event(what, **about)

    def _taken(self) -> bool:
        with self._store.write() as tx:
            return member.lead(tx, self.lease.id)

    def _beat(self) -> None:
        told = False
        while not self._ending.wait(BEAT_S):
            try:
                self.lease.renew()
                gone = self._store.bury()
            except LeaseLostError:
                return
            except Exception as error:  # noqa: BLE001  whatever keeps the state from answering: it is asked again
                if not told:
                    self._tell("out of touch", why=str(error) if isinstance(error, StateError) else type(error).__name__)
                told = True
                continue
            if told:
                self._tell("in touch")
            told = False
            if gone:
                self._tell("taken over", members=", ".join(map(str, gone)))
