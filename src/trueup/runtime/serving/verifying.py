"""Compares the systems of each entity with the golden records once a day, at a quiet moment, and keeps what it found in the state."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.runtime.reporting.comparing import keep
from trueup.runtime.schedule import due_at
from trueup.runtime.serving.knowing import VERIFIED, verified_from
from trueup.runtime.workspace import Workspace
from trueup.store import meta

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.reports.verify_facts import EntityAgreement
    from trueup.runtime.serving.server import Server

LOOK_S = 30.0
QUIET_S = 5.0
"""An entity of which nothing has waited for so long is quiet."""
TRIES = 3
"""Rows that cross while they are compared differ for a moment: then it is compared again, at most so often."""


class Verifying(Thread):
    """The thread that compares. One entity at a time."""

    def __init__(self, server: Server) -> None:
        """Nothing is compared yet."""
        super().__init__(name="verify", daemon=True)
        self._server = server
        self._ending = Event()
        self._began_at = server.clock()

    def run(self) -> None:
        """Compare what is due, until `stop`."""
        while not self._ending.wait(LOOK_S):
            for name, worker in self._server.workers.items():
                try:
                    if not self._ending.is_set() and worker.at_work and self._is_due(name):
                        self._verify(name)
                except TrueupError as error:
                    self._server.log.event("trouble", thread="verify", entity=name, why=str(error), hint=error.hint)
                except Exception as error:  # noqa: BLE001  a defect here must not end the rest
                    if not self._ending.is_set():  # else the state was closed meanwhile
                        self._server.log.defect(error, thread="verify", entity=name)

    def stop(self) -> None:
        """Begin nothing more. A comparison in work only reads, and is left to itself."""
        self._ending.set()

    def _is_due(self, name: str) -> bool:
        term, now = self._server.config.entities[name].verify, self._server.clock()
        if term is None or self._server.is_paused(name):
            return False
        due = due_at(term, self._last(name) or self._began_at, now)
        return due is not None and due <= now and self._is_quiet(name)

    def _is_quiet(self, name: str) -> bool:
        """Whether nothing happens there, and every system may be read."""
        worker, mappings = self._server.workers[name], self._server.config.entities[name].mappings
        left_alone = (
            self._server.limits.resting(list(mappings), self._server.clock()) or self._server.breakers.open.keys() & mappings.keys()
        )
        if left_alone:
            return False

        def at_work() -> bool:
            return bool(worker.wakes.length or worker.lanes.busy)

        return not at_work() and not self._ending.wait(QUIET_S) and not at_work()

    def _last(self, name: str) -> datetime | None:
        with self._server.store.read() as db:
            text = meta.get(db, VERIFIED + name)
        return None if text is None else verified_from(text).at

    def _verify(self, name: str) -> None:
        server, at = self._server, self._server.clock()
        found = self.compare(name)
        with server.store.write() as tx:
            keep(tx, name, found, at)
        differing = {system: count for system, side in found.systems.items() if (count := side.differ + side.missing + side.extra)}
        server.log.event("verified", entity=name, records=found.records, differing=differing, left_out=", ".join(found.left_out))

    def compare(self, name: str) -> EntityAgreement:
        """Compare now: again where rows crossed meanwhile. Raises StateError."""
        server = self._server
        for _number in range(TRIES):
            before = server.figures.of(name).passes
            workspace = Workspace(server.config, clock=server.clock, store=server.store, limits=server.limits)  # the state stays open
            workspace.systems.calls = server.knowing.calls
            try:
                found = workspace.verify([name]).entities[name]
            finally:
                workspace.systems.close()
            if found.agrees or server.figures.of(name).passes == before or self._ending.wait(QUIET_S):
                break
        return found
