"""Asks systems to send webhooks, lets subscriptions last, looks whether they live, and ends those that nobody wants any more.

It is done by the one server that leads. What is about to be asked for is kept before it is asked, and the answer before anything else: a
process that is killed in between leaves a subscription too many over there, whose messages are hints like any other, and never none.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, cast

from trueup.connectors.registry import connector_class
from trueup.errors import StateError, TrueupError
from trueup.runtime.opening import Opening
from trueup.store import paused, subscription
from trueup.store.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.connectors.base import Connector
    from trueup.connectors.hooking import Hooked, Hooks
    from trueup.runtime.serving.server import Server

LOOK_S = 2.0
AGAIN_S = 60.0
"""A system that does not take a subscription, or does not tell of one, is asked again after so long."""
AHEAD = 0.5
"""A subscription that ends by itself is renewed when this share of its life is over, if nothing else is said."""


class Subscribing(Thread):
    """The thread that does so. Nothing waits for it."""

    def __init__(self, server: Server) -> None:
        """Nothing was asked yet."""
        super().__init__(name="subscriptions", daemon=True)
        self._server = server
        self._opening = Opening(server.config)
        self._ending = Event()
        self._again: dict[tuple[str, str], datetime] = {}
        self._asked: set[tuple[str, str]] = set()  # those that this process has looked after
        self._known: dict[tuple[str, str], Subscription] = {}
        self._connectors: dict[str, Connector] = {}
        self._last: dict[tuple[str, str], str] = {}  # what was told of each, so that it is told once

    def run(self) -> None:
        """Look until `stop`."""
        server = self._server
        try:
            while not self._ending.is_set():
                try:
                    self.look()
                except TrueupError as error:
                    server.log.event("trouble", thread=self.name, why=str(error), hint=error.hint)
                except Exception as error:  # noqa: BLE001  a defect here must not end the rest
                    if not self._ending.is_set():
                        server.log.defect(error, thread=self.name)
                self._ending.wait(LOOK_S)
        finally:
            for connector in self._connectors.values():
                connector.close()
            self._opening.close()

    def stop(self) -> None:
        """Begin nothing more; what is being asked is waited for by `join`."""
        self._ending.set()

    # -------------------------------------------------------------- what is wanted

    def look(self) -> None:
        """Look once after all subscriptions. Raises StateError."""
        with self._server.store.read() as db:
            self._known = subscription.list_(db)
            stopped = frozenset(paused.list_(db))
        wanted = dict(self._wanted(stopped))
        if not wanted and not self._known:
            return
        for place, one in list(self._known.items()):
            if wanted.get(place) != one.callback and self._is_time(place):
                self._end(one)
        for place, callback in wanted.items():
            if self._ending.is_set():
                return
            if self._is_time(place):
                self._attend(place, callback)

    def _wanted(self, stopped: frozenset[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], str]]:
        """(system, object) -> where its messages are to go."""
        server = self._server
        for name, system in server.config.systems.items():
            callback = (system.webhook or {}).get("callback")
            objects = server.told_of(name)
            if callback is None or not objects or system.paused or {("all", ""), ("system", name)} & stopped:
                continue
            hooks = self._hooks(name)
            if hooks is None:
                continue
            for obj in dict.fromkeys(objects) if hooks.by_object else ("",):
                yield (name, obj), str(callback)

    def _hooks(self, name: str) -> Hooks | None:
        """How to subscribe to a system; None where it cannot be, or not now."""
        system = self._server.config.systems.get(name)
        if system is None:
            return None
        if name not in self._connectors:
            if not hasattr(connector_class(system.connector), "hooks"):
                return None
            try:
                self._connectors[name] = self._opening.open(name)
            except TrueupError as error:
                self._told_once((name, ""), f"{name} cannot be subscribed to: {error}")
                return None
        return cast("Hooked", self._connectors[name]).hooks

    def _is_time(self, place: tuple[str, str]) -> bool:
        again = self._again.get(place)
        return again is None or self._server.clock() >= again

    # -------------------------------------------------------------- one subscription

    def _attend(self, place: tuple[str, str], callback: str) -> None:
        hooks = self._hooks(place[0])
        known = self._known.get(place)
        if hooks is None or (known is not None and known.callback != callback):  # the one before is still to be ended
            return
        try:
            if known is None or known.number is None:
                self._subscribe(hooks, place, callback, known)
            elif self._is_due(hooks, known):
                self._renew(hooks, known)
            elif hooks.look_s is not None and self._is_to_be_asked(hooks.look_s, known):
                self._ask(hooks, known)
            self._asked.add(place)
        except StateError:
            raise
        except TrueupError as error:
            self._failed(place, callback, error)

    def _subscribe(self, hooks: Hooks, place: tuple[str, str], callback: str, known: Subscription | None) -> None:
        now = self._server.clock()
        asked = known or Subscription(*place, callback)
        self._keep(replace(asked, number=None))
        made = hooks.subscribe(callback, self._secret(place[0]), place[1] or None)
        self._keep(replace(asked, number=made.number, made_at=now, looked_at=now, ends_at=made.ends_at, trouble=None, trouble_at=None))
        self._again.pop(place, None)
        self._server.log.event("subscribed to", system=place[0], object=place[1] or None, at=callback)
        self._server.sweep(place[0], "a new subscription")  # what it did not tell before it was there

    def _is_due(self, hooks: Hooks, known: Subscription) -> bool:
        if hooks.renew_s is None or known.made_at is None:
            return False
        life_s = (known.ends_at - known.made_at).total_seconds() * AHEAD if known.ends_at is not None else hooks.renew_s
        return self._server.clock() >= known.made_at + timedelta(seconds=min(hooks.renew_s, max(life_s, 0.0)))

    def _renew(self, hooks: Hooks, known: Subscription) -> None:
        now = self._server.clock()
        found = hooks.renew(known.number or "", known.callback, self._secret(known.system), known.object or None)
        if found is None:
            self._lapsed(hooks, known)
            return
        self._keep(replace(known, number=found.number, made_at=now, looked_at=now, ends_at=found.ends_at, trouble=None, trouble_at=None))
        self._server.log.event("subscription renewed", system=known.system, object=known.object or None)

    def _is_to_be_asked(self, look_s: float, known: Subscription) -> bool:
        """At the start of a server, and so often."""
        if known.place not in self._asked or known.looked_at is None:
            return True
        return self._server.clock() >= known.looked_at + timedelta(seconds=look_s)

    def _ask(self, hooks: Hooks, known: Subscription) -> None:
        if hooks.alive(known.number or ""):
            self._keep(replace(known, looked_at=self._server.clock(), trouble=None, trouble_at=None))
        else:
            self._lapsed(hooks, known)

    def _lapsed(self, hooks: Hooks, known: Subscription) -> None:
        """The system has ended it. Somebody is told, and it is asked for again; what was not told meanwhile a sweep finds."""
        now = self._server.clock()
        self._server.log.event("subscription lapsed", system=known.system, object=known.object or None)
        gone = replace(known, number=None, lapsed_at=now)
        self._keep(gone)
        self._subscribe(hooks, known.place, known.callback, gone)

    def _end(self, one: Subscription) -> None:
        """Nobody wants it any more: end it over there, and forget it."""
        hooks = self._hooks(one.system)
        if one.number is None or (hooks is not None and not hooks.ends):
            self._forget(one)
            return
        if hooks is None:
            if one.system not in self._server.config.systems:
                why = f"end it over there: {one.system} is not in the configuration any more"
                self._server.log.event("subscription left", system=one.system, number=one.number, at=one.callback, why=why)
                self._forget(one)
            return
        try:
            hooks.unsubscribe(one.number)
        except TrueupError as error:
            self._again[one.place] = self._server.clock() + timedelta(seconds=AGAIN_S)
            self._told_once(one.place, f"the subscription {one.number} at {one.system} could not be ended: {error}")
            return
        self._forget(one)
        self._server.log.event("unsubscribed from", system=one.system, object=one.object or None)

    # -------------------------------------------------------------- what is kept

    def _secret(self, system: str) -> str | None:
        """What messages are to be signed with: the newest secret of `verify`."""
        verify = (self._server.config.systems[system].webhook or {}).get("verify", {})
        secret = verify.get("secret") or verify.get("password")
        return str(secret if isinstance(secret, str) or secret is None else secret[0]) if secret else None

    def _failed(self, place: tuple[str, str], callback: str, error: TrueupError) -> None:
        now = self._server.clock()
        self._again[place] = now + timedelta(seconds=AGAIN_S)
        known = self._known.get(place) or Subscription(*place, callback)
        self._keep(replace(known, trouble=error.message, trouble_at=known.trouble_at or now))
        self._told_once(place, f"{place[0]} cannot be subscribed to: {error}")

    def _told_once(self, place: tuple[str, str], why: str) -> None:
        if self._last.get(place) != why:
            self._last[place] = why
            self._server.log.event("trouble", thread=self.name, why=why)

    def _keep(self, one: Subscription) -> None:
        self._known[one.place] = one
        self._save()

    def _forget(self, one: Subscription) -> None:
        self._known.pop(one.place, None)
        self._save()

    def _save(self) -> None:
        with self._server.store.write(lasting=True) as tx:
            subscription.keep(tx, self._known.values())
