"""How it goes at a moment, as values: what `trueup serve` has counted since it began, and what the state says. No record's value is in it.

`metrics.py` writes it for Prometheus, `alert_rules.py` judges it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.model import When
    from trueup.reports.access import Access

SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
DAYS_S = (60.0, 600.0, 3600.0, 14_400.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0)


class Spread:
    """How values are spread: counts per bucket (the last one beyond all bounds), and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SHORT_S, counts: Sequence[int] | None = None, total: float = 0.0) -> None:
        """Nothing was counted, or this."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1) if counts is None else list(counts)
        self.total = total

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_all(self, more: Spread) -> None:
        """Count all values of another one, which has the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, more.counts, strict=True)]
        self.total += more.total

    def copy(self) -> Spread:
        """As it stands now."""
        return Spread(self.bounds, self.counts, self.total)

    @property
    def number(self) -> int:
        """How many values."""
        return sum(self.counts)


@dataclass
class Verified:
    """What the last verification of one entity found; `systems`: system -> differ, missing, extra, waiting, rows."""

    at: datetime
    systems: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def differing(self) -> dict[str, int]:
        """Per system how many records are not as agreed, where any are."""
        found = {name: sum(counts.get(kind, 0) for kind in ("differ", "missing", "extra")) for name, counts in self.systems.items()}
        return {name: count for name, count in found.items() if count}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as the state tells it. `handled` and `failed` are per entity: rows it had to do with, and those of them that failed."""

    number: int
    command: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    handled: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    entities: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Runs of a kind take about as long as each other: the command and whom it was about."""
        return f"{self.command} ({', '.join(self.entities)})" if self.entities else self.command


@dataclass
class Moved:
    """One entity's passes since the server began."""

    passes: int = 0
    troubles: int = 0
    overruled: int = 0
    seconds: Spread = field(default_factory=lambda: Spread(LONG_S))
    delays: Spread = field(default_factory=lambda: Spread((*SHORT_S, 60.0, 300.0, 3600.0)))
    late: int = 0  # deliveries after `max_delay`
    late_at: datetime | None = None
    latest_s: float | None = None  # how long the last such one took
    observed: Counter[tuple[str, str]] = field(default_factory=Counter)  # (system, outcome)
    delivered: Counter[tuple[str, str]] = field(default_factory=Counter)
    decided: Counter[tuple[str, str]] = field(default_factory=Counter)  # (rule, system that won)
    recovered: Counter[str] = field(default_factory=Counter)  # by system
    recovered_at: datetime | None = None
    recovered_lately: int = 0  # of the last sweep that found any


@dataclass
class Waiting:
    """What waits for a person or another try in one entity, from the state. Keys of the counts begin with the system."""

    records: int = 0
    conflicts: int = 0
    oldest_conflict_at: datetime | None = None
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (system, stage)
    holds: Mapping[tuple[str, str], datetime] = field(default_factory=dict)  # (system, kind) -> since
    parked: Mapping[str, int] = field(default_factory=dict)


@dataclass
class EntityPicture:
    """One entity."""

    owner: str | None = None
    max_delay_s: float | None = None
    when: tuple[When, ...] = ()
    paused: bool = False
    moved: Moved = field(default_factory=Moved)
    waiting: Waiting = field(default_factory=Waiting)
    queue_length: int = 0
    queue_age_s: float = 0.0
    behind_s: Mapping[str, float] = field(default_factory=dict)  # systems that were left out although something moved -> since when
    opened: int = 0  # conflicts since the server began
    settled: Mapping[str, Spread] = field(default_factory=dict)  # how they were settled -> how long that took
    runs: Mapping[str, int] = field(default_factory=dict)  # ended since the server began, by status
    run_seconds: Spread = field(default_factory=lambda: Spread(LONG_S))
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None  # when the last run that did all of it began
    overdue_since: datetime | None = None  # a sweep was due then, and none was made
    verified: Verified | None = None


@dataclass(frozen=True)
class HookPicture:
    """One subscription to the webhooks of a system. `object` empty: all of it; `trouble` None: it is there, as far as is known."""

    object: str = ""
    trouble: str | None = None
    trouble_at: datetime | None = None
    lapsed_at: datetime | None = None  # when the system was last found to have ended it by itself


@dataclass
class SystemPicture:
    """One system."""

    owner: str | None = None
    away_s: float | None = None  # None: it answers, as far as is known
    away_why: str = ""
    answered: bool = False  # since the server began
    calls: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (call, outcome)
    seconds: Mapping[str, Spread] = field(default_factory=dict)  # by call
    watched: str | None = None  # how; None: it is not watched
    lag_bytes: int | None = None
    lag_s: float | None = None
    lag_left_bytes: int | None = None
    access: Access | None = None  # None: it wants no token
    hooks: Sequence[HookPicture] = ()
    spent_until: datetime | None = None  # nothing more may be asked of it until then
    spent_why: str = ""


@dataclass
class ToldPicture:
    """One who is told of changes. `behind_s`: for how long it has not been told everything; `stopped`: why it is told nothing more."""

    owner: str | None = None
    tries: Mapping[str, int] = field(default_factory=dict)  # outcome -> since the server began
    waiting: int = 0  # tried in vain, and tried again
    dead: int = 0
    behind_s: float = 0.0
    why: str | None = None  # what the last failure was
    stopped: str | None = None
    stopped_at: datetime | None = None
    dead_at: datetime | None = None  # when the last one was given up


@dataclass(frozen=True)
class ReportPicture:
    """A morning report that was due at `since` and is not with everybody; what is wrong, and what to do."""

    since: datetime
    what: str
    remedy: str


@dataclass
class PackagePicture:
    """Data packages out or in. `trouble` is one of the kinds of `PackageError`, or `unreachable`."""

    owner: str | None = None
    direction: str = "out"
    entity: str = ""
    sequence: int = 0  # of the last one that was sent, or taken or refused; 0: none
    rows: int = 0  # of the last one that was sent or taken
    at: datetime | None = None  # when that was
    last_refused: bool = False  # here, or by its receiver
    late_since: datetime | None = None  # one should have come then
    missing: bool = False  # and the one after it as well
    trouble: str | None = None
    about: str = ""  # the package that it is about; empty: none
    why: str = ""
    since: datetime | None = None
    refused: str | None = None  # why the receiver refused the last one that it answered
    refused_at: datetime | None = None
    unanswered: str | None = None  # the last one that was sent, where no answer has come for longer than is tolerated
    unanswered_since: datetime | None = None


@dataclass
class Picture:
    """All of it. `webhooks` is what the receiver counts (`web.tally.Tally.plain`); empty where nothing was."""

    at: datetime
    began_at: datetime
    entities: dict[str, EntityPicture] = field(default_factory=dict)
    systems: dict[str, SystemPicture] = field(default_factory=dict)
    runs: list[RunFacts] = field(default_factory=list)  # the newest ones, oldest first
    webhooks: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)  # messages with a wrong signature in the last hour, by system
    failed_logins: int = 0  # in the last hour
    failed_logins_since: datetime | None = None  # the first of them
    inbox_waiting: int | None = None  # None: there is no inbox
    inbox_age_s: float = 0.0
    old_secrets: Mapping[str, datetime] = field(default_factory=dict)  # name -> since when it has its value
    firing: Mapping[str, int] = field(default_factory=dict)  # rule -> how many alerts
    sent: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (to whom, outcome) -> alert messages
    told: dict[str, ToldPicture] = field(default_factory=dict)  # those who are told of changes
    packages: dict[str, PackagePicture] = field(default_factory=dict)  # data packages, by name
    reports: bool = False  # whether a morning report is to be made at an hour
    report: ReportPicture | None = None  # None: it is there, or none is due
    broken_channels: Mapping[str, datetime] = field(default_factory=dict)  # to whom -> since when its channel does not answer
