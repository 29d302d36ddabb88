"""What is due for one subscriber: sent, recorded, tried again, given up.

What is due are the records that moved after the subscriber's position, and the notices that were tried in vain. A page of them is sent, at
most one per record, and what became of all of them is kept in one transaction: killed before that, the page is sent again under the same
ids. A notice that fails is set aside, so that one record holds up no other; after a few failures in a row the receiver is away, and only
tried, one notice at a time, with growing pauses. What is set aside is bounded: beyond that the position stands still.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from trueup.runtime.notices.message import Due, Notice, composed, signed
from trueup.runtime.notices.post import Answer, Poster
from trueup.store import audit, golden, notice
from trueup.store.notice import Open, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from trueup.model import Config, Subscription
    from trueup.store import Db, Store

PAGE = 50
ASIDE = 100
"""So many notices of a subscriber wait for another try at most; then nothing new is begun."""
AWAY_AFTER = 3
"""After so many failures in a row, of notices that had not failed before, a receiver is taken for away."""
AWAY_ASIDE = 10
"""Of a receiver that is away so many notices are set aside at most: each try is made with one of these and, up to then, with a new one."""
PAUSES_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Between the tries of one notice, as Standard Webhooks recommends; the last one repeats."""
AWAY_S = (5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0)
"""Between the tries of a receiver that is away."""
JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. `wait_s`: how long nothing is due as far as is known; 0: there is more; None: until something changes."""

    sent: int = 0
    failed: int = 0
    dead: int = 0
    wait_s: float | None = None
    why: str | None = None  # the last failure
    stopped: str | None = None  # the receiver said so just now
    away: bool = False  # the receiver does not answer
    back: bool = False  # it was away, and answers again


class Sending:
    """Sends to one subscriber; for one thread."""

    def __init__(
        self,
        config: Config,
        to: Subscription,
        store: Store,
        clock: Callable[[], datetime],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Nothing is opened yet. `chance` gives a number from 0 to 1, by which pauses differ."""
        self.to = to
        self._config = config
        self._store = store
        self._clock = clock
        self._chance = chance
        self.behind_since: float | None = None  # so long (time.monotonic) there has been something to send
        self._looked_at = -1  # the newest version of which it is known that nothing is due after the position
        self._local = threading.local()
        self._posters: list[Poster] = []
        self._pool: ThreadPoolExecutor | None = None
        self._halted = threading.Event()

    def halt(self) -> None:
        """Begin no further notice: the page in work is broken off. Any thread may say so."""
        self._halted.set()

    def close(self) -> None:
        """Give back what was opened."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        for poster in self._posters:
            poster.close()
        self._posters.clear()
        self._local = threading.local()

    def step(self) -> Step:
        """Send what is due now, at most a page of it. Raises StateError."""
        now = self._clock()
        with self._store.read() as db:
            known = notice.get(db, self.to.name)
            if known is None or known.stopped is not None:
                return Step()
            if known.next_try_at is not None and known.next_try_at > now:
                return Step(wait_s=(known.next_try_at - now).total_seconds())
            newest = golden.current_version(db)
            standing = notice.standings(db).get(self.to.name, notice.Standing())
            due = self._due(db, known, standing, newest, now)
            notices = composed(db, self._config, self.to, known, due, now)
        if not due:
            self.behind_since = None
            later = standing.next_try_at
            return Step(wait_s=None if later is None else max(0.0, (later - now).total_seconds()))
        self.behind_since = self.behind_since or time.monotonic()
        self._store.must_be_ours()
        self._store.reach_disk()  # else a power cut takes back what was told, and another change is told under the same number
        answers = _Answers(known.failures)
        self._send([one for one in notices if one.wanted], answers)
        return self._record(known, due, notices, answers)

    # -------------------------------------------------------------- what is due

    def _due(self, db: Db, known: Subscriber, standing: notice.Standing, newest: int, now: datetime) -> list[Due]:
        """A page: first what was tried before, then what moved after the position. Each record is there once."""
        away = known.failures >= AWAY_AFTER
        again: list[Open] = []
        if standing.waiting:
            again = notice.waiting(db, known.name, 1 if away else PAGE, due_at=None if away else now)
        found = {one.golden_id: Due(one.entity, one.golden_id, one.since_version, one.born, one) for one in again}
        room = min(1, AWAY_ASIDE - standing.waiting) if away else min(PAGE - len(found), ASIDE - standing.waiting)
        if room <= 0 or newest <= self._looked_at:
            return list(found.values())
        fresh = self._moved(db, known, room)
        if not fresh:
            self._looked_at = newest
        before = notice.about(db, known.name, [due.gid for due in fresh]) if fresh else {}
        for due in fresh:  # in the order of their places, for the position to move along them
            found.pop(due.gid, None)
            tried = before.get(due.gid)
            if tried is not None:
                found[due.gid] = replace(due, since=min(due.since, tried.since_version), born=tried.born, open=tried)
            else:
                found[due.gid] = due
        return list(found.values())

    def _moved(self, db: Db, known: Subscriber, limit: int) -> list[Due]:
        position = (known.version, known.golden_id)
        found = [(place, name) for name in self.to.entities for place in notice.moved(db, name, position, limit)]
        return [
            Due(name, place[1], known.version - (place[1] > known.golden_id), place=place)
            for place, name in sorted(found, key=lambda one: one[0])[:limit]
        ]

    # -------------------------------------------------------------- sending

    def _send(self, notices: Sequence[Notice], answers: _Answers) -> None:
        if self.to.connections == 1:
            for one in notices:
                self._post(one, answers)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.to.connections, thread_name_prefix=f"notices {self.to.name}")
        list(self._pool.map(lambda one: self._post(one, answers), notices))

    def _post(self, one: Notice, answers: _Answers) -> None:
        if answers.halted or self._halted.is_set():
            return
        poster: Poster | None = getattr(self._local, "poster", None)
        if poster is None:
            poster = Poster(self.to.url, timeout_s=self.to.timeout_s, insecure=self.to.insecure, headers=self.to.headers)
            self._local.poster = poster
            self._posters.append(poster)
        stamp = int(self._clock().timestamp())
        answer = poster.post(one.body, signed(self.to.secrets, one.id, one.body, stamp))
        answers.add(one.id, answer, new=one.due.open is None)

    # -------------------------------------------------------------- recording

    def _record(self, known: Subscriber, due: Sequence[Due], notices: Sequence[Notice], answers: _Answers) -> Step:
        """Keep what became of a page."""
        now = self._clock()
        over, aside, reached = self._sorted(known, due, notices, answers, now)
        sent = sum(1 for answer in answers.found.values() if answer.why is None)
        back = known.failures >= AWAY_AFTER and bool(sent)
        gone = next((answer for answer in answers.found.values() if answer.gone), None)
        after = self._after(known, answers, reached, now, sent=bool(sent), gone=gone)
        with self._store.write() as tx:
            if not notice.advance(tx, known, after):
                return Step(wait_s=0.0)
            notice.drop(tx, over)
            for kept in aside:
                notice.keep(tx, kept)
            if back and after.next_try_at is None:
                notice.due_now(tx, known.name, now)
            if sent:
                audit.tell(tx, "sent", {"subscriber": known.name, "notices": sent, "values": self._told_values(notices, answers)}, at=now)
        dead = sum(1 for kept in aside if kept.dead_at is not None)
        wait_s = 0.0 if after.next_try_at is None else (after.next_try_at - now).total_seconds()
        away = after.failures >= AWAY_AFTER
        return Step(sent, len(aside), dead, wait_s, answers.why, after.stopped, away, back)

    def _told_values(self, notices: Sequence[Notice], answers: _Answers) -> list[str]:
        """The fields whose values went with what arrived."""
        arrived = {number for number, answer in answers.found.items() if answer.why is None}
        entities = sorted({one.due.entity for one in notices if one.id in arrived})
        return [f"{entity}.{name}" for entity in entities for name in self.to.entities[entity]]

    def _sorted(
        self, known: Subscriber, due: Sequence[Due], notices: Sequence[Notice], answers: _Answers, now: datetime
    ) -> tuple[list[int], list[Open], tuple[int, int]]:
        """What need not be tried any more, what is set aside, and up to where everything was told or set aside."""
        by_record = {one.due.gid: one for one in notices}
        reached, whole = (known.version, known.golden_id), True
        over: list[int] = []
        aside: list[Open] = []
        for one in due:
            told = by_record.get(one.gid)
            # What nobody asked for, and what the state does not hold any more, is as good as told.
            answer = answers.found.get(told.id) if told is not None and told.wanted else Answer(200)
            if answer is None:  # not tried: the page was broken off
                whole = whole and one.place is None
                continue
            if whole and one.place is not None:
                reached = max(reached, one.place)
            if answer.why is None:
                over += [] if one.open is None or one.open.id is None else [one.open.id]
            elif told is not None:
                aside.append(self._aside(told, answer, now))
        return over, aside, reached

    def _aside(self, told: Notice, answer: Answer, now: datetime) -> Open:
        """A notice that failed, as it is kept: when it is tried again, or that it is not."""
        before = told.due.open if told.due.open is not None and told.due.open.dead_at is None else None
        # A record that has moved since is another notice: its pauses begin anew. How long the receiver has not heard of it goes on.
        attempts = before.attempts + 1 if before is not None and before.version == told.version else 1
        first_at = now if before is None else before.first_at
        last_try_at = first_at + timedelta(seconds=self.to.give_up_s)
        pause_s = max(self._pause(PAUSES_S, attempts - 1), answer.retry_after_s or 0.0)
        over = now >= last_try_at
        return Open(
            id=None if told.due.open is None else told.due.open.id,
            subscriber=self.to.name,
            entity=told.due.entity,
            golden_id=told.due.gid,
            born=told.born,
            since_version=told.due.since,
            version=told.version,
            attempts=attempts,
            first_at=first_at,
            last_at=now,
            next_try_at=None if over else min(now + timedelta(seconds=pause_s), last_try_at),
            dead_at=now if over else None,
            reason=answer.why or "",
        )

    def _after(
        self, known: Subscriber, answers: _Answers, reached: tuple[int, int], now: datetime, *, sent: bool, gone: Answer | None
    ) -> Subscriber:
        """The subscriber after a page: how far it was told, and whether it is away now."""
        failing_since = None if answers.failures == 0 else (known.failing_since if known.failures and not sent else None) or now
        pause_s = answers.retry_after_s
        if answers.failures >= AWAY_AFTER:
            pause_s = max(pause_s, self._pause(AWAY_S, answers.failures - AWAY_AFTER))
        return replace(
            known,
            version=reached[0],
            golden_id=reached[1],
            failures=answers.failures,
            failing_since=failing_since,
            next_try_at=now + timedelta(seconds=pause_s) if pause_s else None,
            reason=answers.why if answers.failures else None,
            sent_at=now if sent else known.sent_at,
            stopped=None if gone is None else "the receiver answered 410: nobody is there any more",
            stopped_at=None if gone is None else now,
        )

    def _pause(self, pauses_s: Sequence[float], number: int) -> float:
        """A pause, longer by chance, so that many that failed together do not come again together."""
        return pauses_s[min(number, len(pauses_s) - 1)] * (1.0 + JITTER * self._chance())


class _Answers:
    """What became of the notices of a page, as it happens. `halted`: no further one is to be begun."""

    def __init__(self, failures: int) -> None:
        self.found: dict[str, Answer] = {}
        self.failures = failures  # in a row
        self.why: str | None = None
        self.retry_after_s = 0.0
        self.halted = False
        self._trying = failures >= AWAY_AFTER
        self._turn = threading.Lock()

    def add(self, number: str, answer: Answer, *, new: bool) -> None:
        """Note one; `new`: it had not failed before. One record that is refused again and again does not make a receiver away."""
        with self._turn:
            self.found[number] = answer
            if answer.why is None:
                self.failures = 0
                return
            self.failures += 1 if new or self.failures >= AWAY_AFTER else 0
            self.why = answer.why
            self.retry_after_s = max(self.retry_after_s, answer.retry_after_s or 0.0)
            away = self.failures >= AWAY_AFTER and not self._trying
            self.halted = self.halted or away or answer.gone or answer.retry_after_s is not None
