"""Watches how it goes, and tells owners of troubles: gathered, seldom repeated, and once more when they are over.

What fires, and what was told of it, is kept in the state, so that a server that is started anew tells nothing twice. Messages are sent by
threads of their own, one per channel: one that does not answer delays nobody, is told in the log, and its messages are tried again.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

from trueup.errors import StateError, TrueupError
from trueup.reports.alert_rules import is_unsure, judge
from trueup.reports.alert_words import message
from trueup.runtime.channels import Sent, send
from trueup.store import alert as alerts
from trueup.store.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trueup.model import Config
    from trueup.reports.alert_rules import Firing
    from trueup.reports.picture import Picture
    from trueup.runtime.serving.events import Log
    from trueup.runtime.serving.knowing import Knowing
    from trueup.store import Store

LOOK_S = 10.0
CALM_S = 120.0
"""A trouble is over when it has not been seen for so long."""
AGAIN_S = (60.0, 300.0, 900.0, 3600.0)
"""When a message that could not be sent is tried again."""
END_S = 2.0


@dataclass
class _Channel:
    """Who is told under one name of `to`. `thread` sends now; after failures nothing is sent before `not_before`."""

    thread: Thread | None = None
    failures: int = 0
    not_before: float = 0.0


class Alerting(Thread):
    """The thread that watches. Nothing waits for it."""

    def __init__(self, config: Config, knowing: Knowing, store: Callable[[], Store], log: Log) -> None:
        """`store()` gives the state."""
        super().__init__(name="alerts", daemon=True)
        self._settings = config.alerts
        self._place = config.file
        self._knowing = knowing
        self._store = store
        self._log = log
        self._ending = Event()
        self._channels: dict[str, _Channel] = {name: _Channel() for name in config.alerts.to}
        self._seen: dict[tuple[str, str], float] = {}  # when a trouble was last seen (time.monotonic)
        self._first: dict[tuple[str, str], float] = {}  # and first

    def run(self) -> None:
        """Watch until `stop`."""
        while not self._ending.wait(LOOK_S):
            try:
                self.look()
            except TrueupError as error:
                self._log.event("trouble", thread="alerts", why=str(error), hint=error.hint)
            except Exception as error:  # noqa: BLE001  a defect here must not end the rest
                self._log.defect(error, thread="alerts")

    def stop(self) -> None:
        """Make the thread end soon; a message that is being sent is waited for a moment."""
        self._ending.set()
        for channel in self._channels.values():
            if channel.thread is not None:
                channel.thread.join(END_S)

    def look(self) -> None:
        """Look once: keep what fires, send what is to be told. Raises StateError."""
        picture = self._knowing.picture()
        firing = {(one.rule, one.subject): one for one in judge(picture, self._settings.thresholds)}
        with self._store().read() as db:
            known = {one.key: one for one in alerts.list_(db)}
        changed = [*self._kept(firing, known), *self._ended(firing, known, picture)]
        gone = [one for one in changed if one.ended_at is not None and one.told_at is None]
        if changed:
            with self._store().write() as tx:
                for one in changed:
                    alerts.keep(tx, one)
                alerts.forget(tx, gone)
            known |= {one.key: one for one in changed}
            for one in gone:
                del known[one.key]
        self._knowing.firing = Counter(one.rule for one in known.values() if one.ended_at is None)
        self._tell(list(known.values()), picture.at)

    def _kept(self, firing: Mapping[tuple[str, str], Firing], known: dict[tuple[str, str], Alert]) -> list[Alert]:
        """What is new, or has begun again before anybody heard of its end; of the others `known` says what is true now."""
        now, found = time.monotonic(), []
        for key, one in firing.items():
            self._seen[key] = now
            self._first.setdefault(key, now)
            before = known.get(key)
            if before is None:
                found.append(Alert(one.rule, one.subject, one.owner, one.what, one.remedy, one.since))
                self._log.event("alert", rule=one.rule, about=one.subject, why=one.what, since=one.since)
            else:
                known[key] = replace(before, owner=one.owner, what=one.what, remedy=one.remedy, ended_at=None)
                if before.ended_at is not None or before.owner != one.owner:
                    found.append(known[key])
        return found

    def _ended(self, firing: Mapping[tuple[str, str], Firing], known: Mapping[tuple[str, str], Alert], picture: Picture) -> list[Alert]:
        now, found = time.monotonic(), []
        for key, one in known.items():
            if key in firing or one.ended_at is not None or is_unsure(picture, *key):
                continue
            if now - self._seen.setdefault(key, now) >= CALM_S:
                found.append(replace(one, ended_at=picture.at - timedelta(seconds=now - self._seen.pop(key))))
                self._first.pop(key, None)
                self._log.event("alert over", rule=one.rule, about=one.subject)
        return found

    # -------------------------------------------------------------- telling

    def _tell(self, known: Sequence[Alert], now: datetime) -> None:
        """One message per channel, about everything that is due there, and what is new besides."""
        waiting: dict[str, list[Alert]] = {}
        for one in known:
            name = self._settings.channel(one.owner)
            if name is not None:
                waiting.setdefault(name, []).append(one)
        for name, listed in waiting.items():
            due = [one for one in listed if self._is_due(one, now)]
            mine = [one for one in listed if one in due or (one.told_at is None and one.key in self._first)]
            channel = self._channels[name]
            if due and (channel.thread is None or not channel.thread.is_alive()) and time.monotonic() >= channel.not_before:
                channel.thread = Thread(target=self._send, args=(name, channel, mine, now), name=f"alerts to {name}", daemon=True)
                channel.thread.start()

    def _is_due(self, one: Alert, now: datetime) -> bool:
        if one.ended_at is not None:
            return one.told_at is not None
        if one.told_at is None:
            first = self._first.get(one.key)  # None: a server before this one saw it, and this one does not
            return first is not None and time.monotonic() - first >= self._settings.gather_s
        return (now - one.told_at).total_seconds() >= self._settings.repeat_s

    def _send(self, name: str, channel: _Channel, mine: Sequence[Alert], now: datetime) -> None:
        title, body = message(mine, now, self._place)
        tone = "success" if all(one.ended_at is not None for one in mine) else "failure"
        try:
            sent = send(self._settings.to[name], title, body, "success" if tone == "success" else "failure")
        except Exception as error:  # noqa: BLE001  nobody waits for this thread
            sent = Sent(type(error).__name__)
        self._knowing.sent[name, "ok" if sent.why is None else "failed"] += 1
        if sent.why is not None:
            channel.not_before = time.monotonic() + AGAIN_S[min(channel.failures, len(AGAIN_S) - 1)]
            channel.failures += 1
            self._knowing.broken_channels.setdefault(name, datetime.now(UTC))
            self._log.event("alert not sent", to=name, why=sent.why, alerts=len(mine))
            return
        channel.failures = 0
        self._knowing.broken_channels.pop(name, None)
        self._log.event("alert sent", to=name, alerts=len(mine))
        try:
            with self._store().write() as tx:
                alerts.told(tx, mine, now)
        except StateError as error:
            self._log.event("trouble", thread="alerts", why=str(error), hint=error.hint)
