"""Makes the morning report when its hour has come, and sends what is to be sent; a copy that bounces is tried again."""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.reports.verify_facts import Agreement
from trueup.runtime.reporting.making import hand_over, make, moment_due
from trueup.runtime.reporting.sending import post, recipients
from trueup.store import report as reports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trueup.runtime.reporting.sending import Posted
    from trueup.runtime.serving.server import Server

LOOK_S = 10.0


class Reporting(Thread):
    """The thread that reports. It does nothing where the configuration has no `report:`."""

    def __init__(self, server: Server) -> None:
        """Nothing is reported yet."""
        super().__init__(name="report", daemon=True)
        self._server = server
        self._ending = Event()
        self._posting = Lock()
        self._began_at = server.clock()
        self._broken: set[str] = set()  # names whose copies bounced when last tried

    def run(self) -> None:
        """Report what is due, until `stop`."""
        if self._server.config.report is None:
            return
        while not self._ending.wait(LOOK_S):
            try:
                self.look()
            except TrueupError as error:
                self._server.log.event("trouble", thread="report", why=str(error), hint=error.hint)
            except Exception as error:  # noqa: BLE001  a defect here must not end the rest
                if not self._ending.is_set():  # else the state was closed meanwhile
                    self._server.log.defect(error, thread="report")

    def stop(self) -> None:
        """Begin nothing more."""
        self._ending.set()

    def settle(self, patience_s: float) -> None:
        """Wait until it is known what became of copies that are being sent: of others nobody would know whether they arrived."""
        if self._posting.acquire(timeout=patience_s):
            self._posting.release()

    def look(self) -> None:
        """Look once. Raises StateError."""
        due_at = self._due_at()
        if due_at is not None:
            self._report(due_at)
        with self._posting:
            if self._ending.is_set():
                return
            self._tell(post(self._server.store, self._server.config, self._server.clock))

    def _due_at(self) -> datetime | None:
        """The moment of the schedule that has come and has no report; one from before the very first report is not caught up."""
        plan = self._server.config.report
        moment = None if plan is None or plan.due is None else moment_due(plan.due, self._server.clock())
        if moment is None:
            return None
        with self._server.store.read() as db:
            made = reports.made_for(db, moment) is not None
            first = reports.last(db) is None and moment < self._began_at
        return None if made or first else moment

    def _report(self, due_at: datetime) -> None:
        server = self._server
        found = Agreement()
        for name in server.config.entities:
            if self._ending.is_set():
                return
            if not server.limits.resting(list(server.config.entities[name].mappings), server.clock()):  # else the last one is told
                found.entities[name] = server.verifying.compare(name)
        report = make(server.store, server.config, server.clock(), found)
        handed = hand_over(server.store, server.config, report, found, send=True, due_at=due_at)
        if handed.fresh:
            server.log.event("reported", report=handed.number, to=len(recipients(server.config)))

    def _tell(self, posted: Sequence[Posted]) -> None:
        """Say what became of it, and let the alerts know of channels that do not answer."""
        server = self._server
        for one in posted:
            if one.state == "sent":
                server.log.event("report sent", report=one.report, to=one.to)
            else:
                server.log.event("report not sent", report=one.report, to=one.to, why=one.why, state=one.state)
        named = {one.name for one in posted if one.name is not None}
        failed = {one.name for one in posted if one.name is not None and one.state != "sent"}
        for name in failed:
            server.knowing.broken_channels.setdefault(name, server.clock())
        for name in (named - failed) & self._broken:
            server.knowing.broken_channels.pop(name, None)
        self._broken = (self._broken - named) | failed
