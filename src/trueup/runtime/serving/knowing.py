"""How it goes, put together from what the server counts and what the state says: for `/metrics`, for `/readyz`, and for alerts."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import orjson

from trueup.errors import TrueupError
from trueup.reports.picture import (
    DAYS_S,
    LONG_S,
    EntityPicture,
    HookPicture,
    PackagePicture,
    Picture,
    ReportPicture,
    RunFacts,
    Spread,
    SystemPicture,
    ToldPicture,
    Verified,
    Waiting,
)
from trueup.runtime.credentials import as_access
from trueup.runtime.measured import Calls
from trueup.store import allowance, credential, meta, notice, secret, session, subscription, waiting
from trueup.store import run as runs
from trueup.store.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trueup.connectors.watching import Lag
    from trueup.reports.access import Access
    from trueup.runtime.serving.server import Server
    from trueup.runtime.serving.watching import Watcher
    from trueup.store import Db
    from trueup.store.notice import Standing, Subscriber
    from trueup.store.run import Run

FRESH_S = 1.0
"""What the state says is read at most so often."""
RUNS_KNOWN = 200
LAG_S = 15.0
HOUR_S = 3600.0
VERIFIED = "verified "
COVERS_ALL = ("sync", "serve: ")
"""How the commands of runs begin that look at every record."""
UNAUTHENTICATED = "401"


class Knowing:
    """What a server knows of itself. Any thread may ask."""

    def __init__(self, server: Server) -> None:
        """Nothing is known yet."""
        self.calls: dict[str, Calls] = defaultdict(Calls)
        self.webhooks: Callable[[], Mapping[str, Any]] = dict
        self.firing: Mapping[str, int] = {}  # rule -> how many alerts
        self.sent: Counter[tuple[str, str]] = Counter()
        self.broken_channels: dict[str, datetime] = {}
        self._server = server
        self._began_at = server.clock()
        self._turn = Lock()
        self._read_at: float | None = None
        self._state = _FromState(self._began_at)
        self._lags: dict[str, Lag] = {}
        self._asked: dict[str, tuple[float, Thread]] = {}
        self._refusals: list[tuple[float, dict[str, int]]] = []  # totals, now and then, for the last hour
        self._inbox: Inbox | None = None

    def close(self) -> None:
        """Give back what was opened."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()

    def metrics(self) -> tuple[str, str]:
        """The content type and the text for Prometheus. Raises StateError."""
        from trueup.reports.metrics import CONTENT_TYPE, exposition

        return CONTENT_TYPE, exposition(self.picture())

    def picture(self) -> Picture:
        """How it goes now. Raises StateError."""
        with self._turn:
            if self._read_at is None or time.monotonic() - self._read_at > FRESH_S:
                self._read()
                self._read_at = time.monotonic()
            picture = Picture(self._server.clock(), self._began_at)
            picture.runs = list(self._state.recent)
            for name in self._server.config.entities:
                picture.entities[name] = self._entity(name)
        for name in self._server.config.systems:
            picture.systems[name] = self._system(name)
        self._add_webhooks(picture)
        picture.told = {name: self._told(name) for name in self._server.config.notices}
        picture.packages = self._packages(picture.at)
        picture.reports = self._server.config.report is not None and self._server.config.report.due is not None
        picture.report = self._report(picture.at) if picture.reports else None
        picture.failed_logins, picture.failed_logins_since = self._state.failed_logins
        picture.old_secrets = dict(self._state.secrets)
        picture.firing, picture.sent = dict(self.firing), dict(self.sent)
        picture.broken_channels = dict(self.broken_channels)
        return picture

    # -------------------------------------------------------------- parts

    def _read(self) -> None:
        server = self._server
        with server.store.read() as db:
            self._state.read(db, list(server.config.entities))
            self._state.failed_logins = session.failures_began(db, server.clock() - timedelta(seconds=HOUR_S))
            self._state.rests = allowance.resting(db, server.config.state, server.clock())
        if server.letters is None:
            return
        try:
            if self._inbox is None:
                self._inbox = Inbox.open(server.config.state, create=False)
            self._state.inbox = self._inbox.lag()
        except TrueupError as error:
            server.log.event("trouble", why=str(error), hint=error.hint)

    def _entity(self, name: str) -> EntityPicture:
        server, state = self._server, self._state
        entity, worker = server.config.entities[name], server.workers.get(name)
        now = server.clock()
        counts = state.counts
        number, oldest = counts.conflicts.get(name, (0, None))
        found = EntityPicture(
            owner=entity.owner,
            max_delay_s=entity.max_delay_s,
            when=entity.when,
            paused=server.is_paused(name),
            moved=server.figures.of(name),
            waiting=Waiting(
                counts.records.get(name, 0),
                number,
                oldest,
                counts.failures.get(name, {}),
                counts.holds.get(name, {}),
                counts.parked.get(name, {}),
            ),
            opened=state.opened[name],
            settled={by: spread.copy() for (about, by), spread in state.settled.items() if about == name},
            runs={status: count for (about, status), count in state.ended.items() if about == name},
            run_seconds=state.seconds[name].copy(),
            last_run_at=state.last_run.get(name),
            last_success_at=state.last_success.get(name),
            verified=state.verified.get(name),
        )
        if worker is not None:
            found.queue_length, found.queue_age_s = worker.wakes.length, worker.wakes.age_s
            away = server.breakers.open
            found.behind_s = {system: away[system][1] for system in worker.silent if system in away}
        if server.schedule is not None and entity.when:
            met = server.schedule.met_at(name)
            found.last_success_at = max(filter(None, (met, found.last_success_at)), default=None)
            found.overdue_since = server.schedule.overdue_since(name, now)
        return found

    def _system(self, name: str) -> SystemPicture:
        server = self._server
        away, watcher, calls = server.breakers.open.get(name), server.watchers.get(name), self.calls[name]
        found = SystemPicture(owner=server.config.systems[name].owner)
        if away is not None:
            found.away_why, found.away_s = away
        found.access = self._state.access.get(name)
        found.hooks = self._state.hooks.get(name, ())
        if (rest := self._state.rests.get(name)) is not None:
            found.spent_until, found.spent_why = rest.until, rest.why
        found.calls, found.seconds = calls.taken()
        found.answered = any(outcome == "ok" for _call, outcome in found.calls)
        if watcher is not None:
            found.watched = watcher.how
            lag = self._lag(name, watcher)
            if lag is not None:
                found.lag_bytes, found.lag_s, found.lag_left_bytes = lag.bytes, lag.seconds, lag.left_bytes
        return found

    def _told(self, name: str) -> ToldPicture:
        telling, now = self._server.telling, self._server.clock()
        counts = telling.counts.copy()
        found = ToldPicture(
            owner=self._server.config.notices[name].owner, tries={outcome: number for (to, outcome), number in counts.items() if to == name}
        )
        known, standing = self._state.told.get(name, (None, None))
        if standing is not None:
            found.waiting, found.dead, found.dead_at = standing.waiting, standing.dead, standing.dead_at
        if known is not None:
            found.stopped, found.stopped_at, found.why = known.stopped, known.stopped_at, known.reason
        times = (known.failing_since if known else None, standing.oldest_at if standing else None)
        since = [at for at in times if at is not None]
        waited = (now - min(since)).total_seconds() if since else 0.0
        found.behind_s = max(0.0, waited, telling.behind_s(name))
        return found

    def _packages(self, now: datetime) -> dict[str, PackagePicture]:
        from trueup.runtime.packages.pictured import pictured

        packages = self._server.config.packages
        if not packages:
            return {}
        with self._server.store.read() as db:
            return {name: pictured(db, self._server.config, one, now) for name, one in packages.items()}

    def _report(self, now: datetime) -> ReportPicture | None:
        from trueup.runtime.reporting.late import late

        with self._server.store.read() as db:
            found = late(db, self._server.config, now, self._began_at)
        return None if found is None else ReportPicture(found.since, found.what, found.remedy)

    def _lag(self, name: str, watcher: Watcher) -> Lag | None:
        """How far a watch is behind, as last known: its system is asked beside, for it may not answer for long."""
        known = self._asked.get(name)
        if known is None or (time.monotonic() - known[0] > LAG_S and not known[1].is_alive()):

            def ask() -> None:
                lag = watcher.lag()
                if lag is None:
                    self._lags.pop(name, None)
                else:
                    self._lags[name] = lag

            thread = Thread(target=ask, name=f"lag {name}", daemon=True)
            self._asked[name] = (time.monotonic(), thread)
            thread.start()
            thread.join(0.2)
        return self._lags.get(name)

    def _add_webhooks(self, picture: Picture) -> None:
        picture.webhooks = self.webhooks()
        if self._state.inbox is not None:
            picture.inbox_waiting = self._state.inbox.waiting
            oldest = self._state.inbox.oldest_at
            picture.inbox_age_s = 0.0 if oldest is None else max(0.0, (picture.at - oldest).total_seconds())
        answers = picture.webhooks.get("answers", {})
        now = {system: found.get(UNAUTHENTICATED, 0) for system, found in answers.items() if system}
        moment = time.monotonic()
        with self._turn:
            if not self._refusals or moment - self._refusals[-1][0] > HOUR_S / 60:
                self._refusals.append((moment, now))
            while len(self._refusals) > 1 and moment - self._refusals[1][0] > HOUR_S:
                self._refusals.pop(0)
            before = self._refusals[0][1] if moment - self._refusals[0][0] > HOUR_S else {}
        picture.refused = {system: count - before.get(system, 0) for system, count in now.items() if count > before.get(system, 0)}


class _FromState:
    """What the state says, read again and again by number or moment, so that no reading takes longer for what was there before."""

    def __init__(self, began_at: datetime) -> None:
        self.counts = waiting.Counts()
        self.opened: Counter[str] = Counter()
        self.settled: dict[tuple[str, str], Spread] = defaultdict(lambda: Spread(DAYS_S))
        self.ended: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, Spread] = defaultdict(lambda: Spread(LONG_S))
        self.last_run: dict[str, datetime] = {}
        self.last_success: dict[str, datetime] = {}
        self.verified: dict[str, Verified] = {}
        self.secrets: dict[str, datetime] = {}
        self.failed_logins: tuple[int, datetime | None] = (0, None)
        self.access: dict[str, Access] = {}
        self.hooks: dict[str, list[HookPicture]] = {}
        self.rests: dict[str, allowance.Resting] = {}
        self.inbox: Any = None
        self.told: dict[str, tuple[Subscriber, Standing | None]] = {}
        self._began_at = began_at
        self._newest_conflict: int | None = None
        self._settled_until = began_at
        self._runs: dict[int, RunFacts] = {}
        self._open: set[int] | None = None  # runs that had not ended when last seen; None: none was looked at yet

    @property
    def recent(self) -> list[RunFacts]:
        """The newest runs, oldest first."""
        return [self._runs[number] for number in sorted(self._runs)]

    def read(self, db: Db, entities: list[str]) -> None:
        """Take in what is new."""
        self.counts = waiting.counted(db, entities)
        if self._newest_conflict is None:
            self._newest_conflict = waiting.newest_conflict(db)
        else:
            self.opened.update(waiting.opened_since(db, self._newest_conflict))
            self._newest_conflict = max(self._newest_conflict, waiting.newest_conflict(db))
        for one in waiting.settled_since(db, self._settled_until):
            self._settled_until = max(self._settled_until, one.at)
            self.settled[one.entity, "agreement" if one.resolution == "all agree" else "person"].add(one.seconds)
        for run in self._new_runs(db):
            self._take_in(run)
        for number in sorted(self._runs)[:-RUNS_KNOWN]:
            del self._runs[number]
        for name in entities:
            self.verified.pop(name, None)
            if (text := meta.get(db, VERIFIED + name)) is not None:
                self.verified[name] = verified_from(text)
        standings = notice.standings(db)
        self.told = {one.name: (one, standings.get(one.name)) for one in notice.list_(db)}
        self.access = {name: as_access(row) for name, row in credential.rows(db).items()}
        self.hooks = {}
        for hook in subscription.list_(db).values():
            shown = HookPicture(hook.object, hook.trouble, hook.trouble_at, hook.lapsed_at)
            self.hooks.setdefault(hook.system, []).append(shown)
        tokens = {row.secret for row in credential.rows(db).values()}
        self.secrets = {name: row.at for name, row in secret.rows(db).items() if row.sealed is not None and name not in tokens}

    def _new_runs(self, db: Db) -> list[Run]:
        if self._open is None:
            self._open = set()
            return list(reversed(runs.list_(db, RUNS_KNOWN)))
        newest = max(self._runs, default=0)
        return [*runs.some(db, sorted(self._open)), *runs.after(db, newest)]

    def _take_in(self, run: Run) -> None:
        assert self._open is not None
        facts = facts_of(run)
        self._runs[run.id] = facts
        self._open.discard(run.id)
        for entity in facts.entities:
            self.last_run[entity] = max(facts.started_at, self.last_run.get(entity, facts.started_at))
        if facts.status == "running":
            self._open.add(run.id)
            return
        for entity in facts.entities:
            if covers_all(facts.command) and facts.status in {"done", "partial"}:
                self.last_success[entity] = max(facts.started_at, self.last_success.get(entity, facts.started_at))
            if facts.finished_at is not None and facts.finished_at >= self._began_at:
                self.ended[entity, facts.status] += 1
                self.seconds[entity].add(facts.seconds or 0.0)


def covers_all(command: str) -> bool:
    """Whether a run of this command looks at every record."""
    return command.startswith(COVERS_ALL) and "--record" not in command and "--limit" not in command


def facts_of(run: Run) -> RunFacts:
    """A run with what its summary says of how many rows it handled, and how many of those failed."""
    said: Mapping[str, Any] = orjson.loads(run.summary).get("entities", {}) if run.summary else {}
    handled: dict[str, int] = {}
    failed: dict[str, int] = {}
    for entity, part in said.items():
        bad = good = 0
        for system in part.get("systems", {}).values():
            observed, delivered = system.get("observed", {}), system.get("delivered", {})
            bad += observed.get("rejected", 0) + delivered.get("failed", 0)
            good += sum(observed.get(kind, 0) + delivered.get(kind, 0) for kind in ("created", "updated", "deleted"))
        handled[entity], failed[entity] = good + bad, bad
    return RunFacts(run.id, run.command, run.status, run.started_at, run.finished_at, run.seconds, handled, failed, tuple(said))


def verified_text(found: Verified) -> str:
    """A verification as the state keeps it."""
    return orjson.dumps({"at": found.at, "systems": found.systems, "left_out": found.left_out}).decode()


def verified_from(text: str) -> Verified:
    """The reverse."""
    said = orjson.loads(text)
    return Verified(datetime.fromisoformat(said["at"]), said["systems"], tuple(said["left_out"]))
