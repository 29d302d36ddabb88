"""Sends data packages when they are due, and takes in those that have come, while the server runs: one thread for all of them."""

from __future__ import annotations

import time
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.runtime.packages.chosen import shown
from trueup.runtime.packages.incoming import Incoming, Settled
from trueup.runtime.packages.outgoing import export, look_for_answer, note_trouble
from trueup.runtime.packages.standing import sent
from trueup.runtime.schedule import due_at

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Package
    from trueup.runtime.serving.server import Server

LOOK_S = 60.0
"""Places are looked at so often where the configuration says nothing else; what failed is tried again."""
TICK_S = 1.0
PASS_S = 600.0
"""A pass over what has come is waited for so long; then it is gone on with the next time."""


class Exchanging(Thread):
    """The thread that sends and takes in. A place that does not answer delays the other packages, and nothing else."""

    def __init__(self, server: Server) -> None:
        """Nothing is sent yet."""
        super().__init__(name="packages", daemon=True)
        self._server = server
        self._ending = Event()
        self._began_at = server.clock()
        self._looked: dict[str, tuple[float, datetime]] = {}
        self._told: dict[str, str] = {}  # troubles that the log knows of

    def run(self) -> None:
        """Do what is due, until `stop`."""
        while not self._ending.is_set():
            for package in self._server.config.packages.values():
                if not self._ending.is_set() and not self._server.is_paused(package.entity):
                    self._attend(package)
            self._ending.wait(TICK_S)

    def stop(self) -> None:
        """Begin nothing more. What was begun may be broken off at any point: it is gone on with the next time."""
        self._ending.set()

    def _attend(self, package: Package) -> None:
        try:
            if self._is_due(package):
                self._looked[package.name] = (time.monotonic(), self._server.clock())
                if (self._send if package.direction == "out" else self._take)(package):
                    self._told.pop(package.name, None)
        except TrueupError as error:
            self._trouble(package, error)
        except Exception as error:  # noqa: BLE001  a defect here must not end the rest
            if not self._ending.is_set():  # else the state was closed meanwhile
                self._server.log.defect(error, thread="packages", packages=package.name)

    def _is_due(self, package: Package) -> bool:
        """Whether it is time to look: coming in as its `when` says, going out once a minute, for an answer may have come."""
        looked = self._looked.get(package.name)
        if looked is None:
            return True
        if package.direction == "out" or not package.when or package.name in self._told:
            return time.monotonic() - looked[0] >= LOOK_S or (package.direction == "out" and self._must_send(package, looked[1]))
        return self._is_time(package, looked[1])

    def _must_send(self, package: Package, looked: datetime) -> bool:
        """Whether a time to send has come since it was last looked."""
        return package.name not in self._told and self._is_time(package, looked)

    def _is_time(self, package: Package, since: datetime) -> bool:
        now = self._server.clock()
        moments = (due_at(term, since, now) for term in package.when)
        return any(at is not None and at <= now for at in moments)

    def _send(self, package: Package) -> bool:
        """Send what is due, and look for an answer; True: all is well."""
        server = self._server
        with server.store.read() as db:
            known = sent(db, package, shown(server.config, package.place))
        if package.when and self._is_time(package, known.at or self._began_at):
            done = export(server.config, server.store, package, server.clock())
            server.log.event("package sent", packages=package.name, package=done.name, rows=done.statement.rows)
        if known.sequence:
            before, known = known.answer, look_for_answer(server.config, server.store, package)
            if known.answer is not None and known.answer != before:
                said = known.answer
                server.log.event("package answered", packages=package.name, number=said["sequence"], status=said["status"], why=said["why"])
        return True

    def _take(self, package: Package) -> bool:
        """Take in what has come; False where something waits."""
        server, waits = self._server, False
        incoming = Incoming(server.config, server.store, package, server.clock, partial(self._settle, package))
        for one in incoming.step():
            if one.status != "waits":
                server.log.event("package taken", packages=package.name, package=one.name, status=one.status, rows=one.rows, why=one.why)
                continue
            waits = True
            if self._told.get(package.name) != one.why:
                server.log.event("package waits", packages=package.name, package=one.name, kind=one.kind, why=one.why)
                self._told[package.name] = one.why or ""
        return not waits

    def _settle(self, package: Package) -> Settled:
        """Have the entity's own worker look at what has come; it is looked at like any other change."""
        over = Event()
        assert package.system is not None
        self._server.workers[package.entity].wakes.look(package.system, None, over=over.set)
        until = time.monotonic() + PASS_S
        while not over.wait(TICK_S):
            if self._ending.is_set() or time.monotonic() > until:
                return Settled(None, "failed", "the server is busy, or stops")
        return Settled(None, "done", None)

    def _trouble(self, package: Package, error: TrueupError) -> None:
        """Remember why packages cannot be sent or fetched, and say it once."""
        server, why = self._server, str(error)
        if self._told.get(package.name) != why:
            self._told[package.name] = why
            server.log.event("trouble", thread="packages", packages=package.name, why=why, hint=error.hint)
        try:
            note_trouble(server.config, server.store, package, error, server.clock())
        except TrueupError as worse:
            server.log.event("trouble", thread="packages", packages=package.name, why=str(worse), hint=worse.hint)
