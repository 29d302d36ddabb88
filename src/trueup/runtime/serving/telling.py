"""Tells subscribers of changes while the server runs: a thread each, so that one who does not answer delays nobody."""

from __future__ import annotations

import time
from collections import Counter
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.runtime.notices.sending import Sending, Step
from trueup.runtime.notices.subscribed import settle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import Config, Subscription
    from trueup.runtime.serving.server import Server

LOOK_S = 1.0
"""A pass wakes everybody at once; what others did to the state is seen so much later at most."""
AGAIN_S = 5.0


class Telling:
    """Everybody who is told. Begins with `start`; the configuration may be exchanged meanwhile."""

    def __init__(self, server: Server) -> None:
        """Nobody is told anything yet."""
        self._server = server
        self._told: Mapping[str, Subscription] = server.config.notices
        self._threads: dict[str, _Teller] = {}
        self.counts: Counter[tuple[str, str]] = Counter()  # (to whom, outcome) -> tries
        self._turn = Lock()

    def start(self) -> None:
        """Begin those that are new, forget those that are gone, and tell. Raises StateError."""
        server = self._server
        begun, ended = settle(server.store, server.config, server.clock())
        for what, names in (("subscribed", begun), ("unsubscribed", ended)):
            for name in names:
                server.log.event(what, to=name)
        for name, to in self._told.items():
            self._threads[name] = _Teller(server, to, self)
            self._threads[name].start()

    def wake(self) -> None:
        """Something was decided: look."""
        for thread in self._threads.values():
            thread.woken.set()

    def renew(self, config: Config) -> None:
        """From the next notice on, those who are told are told as this configuration says: it has another secret, or another address."""
        self._told = {name: config.notices.get(name, to) for name, to in self._told.items()}
        for name, thread in self._threads.items():
            thread.renew(self._told[name])

    def behind_s(self, name: str) -> float:
        """For how long it has been so that somebody was not told everything; 0: it was."""
        thread = self._threads.get(name)
        since = None if thread is None else thread.sending.behind_since
        return 0.0 if since is None else time.monotonic() - since

    def count(self, name: str, step: Step) -> None:
        """Count what one step did."""
        with self._turn:
            self.counts[name, "ok"] += step.sent
            self.counts[name, "failed"] += step.failed

    def stop(self) -> None:
        """Begin nothing more."""
        for thread in self._threads.values():
            thread.stop()

    def join(self, patience_s: float) -> None:
        """Wait until what was begun is over, and recorded."""
        until = time.monotonic() + patience_s
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))


class _Teller(Thread):
    """The thread of one subscriber."""

    def __init__(self, server: Server, to: Subscription, counts: Telling) -> None:
        super().__init__(name=f"notices {to.name}", daemon=True)
        self._server = server
        self._counts = counts
        self.to = to
        self.sending = self._make(to)
        self._fresh: Subscription | None = None
        self._ending = Event()
        self._failing = False
        self.woken = Event()

    def run(self) -> None:
        """Tell until `stop`."""
        wait_s = 0.0
        while not self._ending.is_set():
            self.woken.wait(wait_s)
            self.woken.clear()
            if self._ending.is_set():
                break
            try:
                step = self._step()
            except TrueupError as error:
                self._server.log.event("trouble", thread=self.name, why=str(error), hint=error.hint)
                wait_s = AGAIN_S
            except Exception as error:  # noqa: BLE001  a defect here must not end the rest
                if not self._ending.is_set():  # else the state was closed meanwhile
                    self._server.log.defect(error, thread=self.name)
                wait_s = AGAIN_S
            else:
                self._tell(step)
                wait_s = LOOK_S if step.wait_s is None else min(LOOK_S, step.wait_s)
        self.sending.close()

    def stop(self) -> None:
        """Begin nothing more: what is on its way is waited for."""
        self._ending.set()
        self.sending.halt()
        self.woken.set()

    def renew(self, to: Subscription) -> None:
        """Be told differently from the next step on."""
        if to != self.to:
            self._fresh = to
            self.woken.set()

    def _make(self, to: Subscription) -> Sending:
        return Sending(self._server.config, to, self._server.store, self._server.clock)

    def _step(self) -> Step:
        fresh, self._fresh = self._fresh, None
        if fresh is not None:
            self.sending.close()
            self.to = fresh
            self.sending = self._make(fresh)
        return self.sending.step()

    def _tell(self, step: Step) -> None:
        """Say what became of it: each trouble once, not each try."""
        self._counts.count(self.to.name, step)
        log = self._server.log
        if step.stopped is not None:
            log.event("notices stopped", to=self.to.name, why=step.stopped)
        elif step.dead:
            log.event("notices given up", to=self.to.name, notices=step.dead, why=step.why)
        elif step.away and not self._failing:
            log.event("notices wait", to=self.to.name, why=step.why)
        elif self._failing and step.back:
            log.event("notices go on", to=self.to.name)
        self._failing = (self._failing or step.away) and not step.back
