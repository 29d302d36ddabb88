"""What the overview shows, as values: from the state alone, and nothing that grows with the number of records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from trueup.reports.table import duration
from trueup.runtime.serving.knowing import VERIFIED, verified_from
from trueup.runtime.status import standing_of
from trueup.store import alert, listing, meta

if TYPE_CHECKING:
    from trueup.model import Config
    from trueup.reports.picture import Verified
    from trueup.reports.standing import Standing
    from trueup.store import Db
    from trueup.store.alert import Alert
    from trueup.store.listing import RunLine

DAYS = 14
RUNS_SHOWN = 8
Health = Literal["good", "warn", "bad"]
Way = Literal["both", "in", "out"]


@dataclass(frozen=True, slots=True)
class SystemFlow:
    """One system on the map. `way`: whether its edits count (in), it is written (out), or both. `notes`: what is to be said of it."""

    name: str
    connector: str
    health: Health
    way: Way
    waiting: int
    delay_s: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntityAgreement:
    """How far one entity is agreed: `apart` of its records have something that waits or differs. `proof`: the last verification."""

    name: str
    records: int
    apart: int
    last_pass: datetime | None
    late: bool
    proof: Verified | None

    @property
    def share(self) -> float:
        """Of its records, those that agree everywhere: 0 to 1."""
        return 1.0 if not self.records else max(0.0, 1.0 - self.apart / self.records)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs a person. `page` is where it is done: the parts of its path; empty: the words say what to do."""

    what: str
    page: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class DayOfRuns:
    """One day, in UTC: runs by how they ended, how long they took on average, conflicts opened."""

    day: str
    ended: int = 0
    unwell: int = 0
    seconds: float | None = None
    conflicts: int = 0


@dataclass
class Overview:
    """All of it."""

    at: datetime
    standing: Standing
    systems: list[SystemFlow] = field(default_factory=list)
    entities: list[EntityAgreement] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    runs: list[RunLine] = field(default_factory=list)
    days: list[DayOfRuns] = field(default_factory=list)

    @property
    def calm(self) -> bool:
        """Whether nothing needs anybody."""
        return not self.needs and not self.alerts and all(one.health == "good" for one in self.systems)

    def waiting(self, page: str) -> int:
        """How much waits for a person on one page."""
        return sum(need.number for need in self.needs if need.page == (page,))


def overview_of(db: Db, config: Config, shown: str, now: datetime) -> Overview:
    """Look at the state."""
    standing = standing_of(db, config, shown, now)
    found = Overview(at=now, standing=standing)
    found.alerts = [one for one in alert.list_(db) if one.ended_at is None]
    found.systems = [_flow(config, standing, name) for name in config.systems if _entities(config, name)]
    for name, part in standing.entities.items():
        text = meta.get(db, VERIFIED + name)
        waiting = max((item.pending + item.missing for item in part.systems.values()), default=0)
        passes = [item.last_complete_pass for item in part.systems.values()]
        found.entities.append(
            EntityAgreement(
                name=name,
                records=part.total,
                apart=min(part.total, max(waiting, part.conflicts)),
                last_pass=min(known) if (known := [one for one in passes if one is not None]) and len(known) == len(passes) else None,
                late=any(item.late for item in part.systems.values()),
                proof=None if text is None else verified_from(text),
            )
        )
    found.needs = _needs(standing)
    found.runs = listing.some_runs(db, limit=RUNS_SHOWN)
    found.days = _days(db, now)
    return found


def _entities(config: Config, system: str) -> list[str]:
    return [name for name, entity in config.entities.items() if system in entity.mappings]


def _flow(config: Config, standing: Standing, system: str) -> SystemFlow:
    parts = [
        (name, standing.entities[name].systems[system]) for name in _entities(config, system) if system in standing.entities[name].systems
    ]
    mappings = [config.entities[name].mappings[system] for name, _ in parts]
    reads = any(mapping.direction != "write" for mapping in mappings)
    writes = any(mapping.writes for mapping in mappings)
    delays = [part.delay_s for _, part in parts if part.delay_s is not None]
    failures = sum(part.failures for _, part in parts)
    notes = []
    health: Health = "good"
    if failures:
        health = "warn"
        notes.append(f"{failures:,} failed")
    if any(part.late for _, part in parts):
        health = "bad"
        notes.append("late")
    if any(part.last_complete_pass is None for _, part in parts) and standing.synced:
        health = "bad"
        notes.append("not read yet")
    if any(part.holds for _, part in parts):
        health = "warn" if health == "good" else health
        notes.append("held by a guard")
    if all(part.paused for _, part in parts) and parts:
        health = "warn" if health == "good" else health
        notes.append("paused")
    resting = [part.resting_until for _, part in parts if part.resting_until is not None]
    if resting:
        notes.append("left alone by its limits")
    access = standing.access.get(system)
    if access is not None and standing.at is not None and access.words(standing.at):
        health = "bad"
        notes.append("access needs a person")
    return SystemFlow(
        name=system,
        connector=config.systems[system].connector,
        health=health,
        way="both" if reads and writes else "out" if writes else "in",
        waiting=sum(part.pending for _, part in parts),
        delay_s=max(delays, default=None),
        notes=tuple(notes),
    )


def _needs(standing: Standing) -> list[Need]:  # noqa: C901  one need after the other
    """What needs a person, the hardest first."""
    entities = standing.entities
    total = Counter[str]()
    for part in entities.values():
        total.update(holds=part.holds, failures=part.failures, conflicts=part.conflicts, matches=part.parked)
    found = []
    for page, one, several in (
        ("holds", "change was held by a guard: approve or refuse it", "changes were held by a guard: approve or refuse them"),
        ("conflicts", "value to settle", "values to settle"),
        ("failures", "record could not be read or written", "records could not be read or written"),
        ("matches", "row that might be one of several records", "rows that might be one of several records"),
    ):
        if total[page]:
            found.append(Need(one if total[page] == 1 else several, (page,), total[page]))
    for name, part in entities.items():
        for system, item in part.systems.items():
            if item.missing:
                rows = "row" if item.missing == 1 else "rows"
                found.append(Need(f"{rows} of {name} vanished in {system}, where nothing says that deletes are meant", number=item.missing))
            if item.late and item.delay_s is not None:
                late = f"{name} in {system}: read {duration(item.delay_s)} ago, {duration(part.max_delay_s)} are tolerated"
                found.append(Need(late, ("schedules",)))
    for name, access in standing.access.items():
        if standing.at is not None and (said := access.words(standing.at)):
            found.append(Need(f"Access to {name}: {said}"))
    if standing.paused:
        found.append(Need(f"Paused: {', '.join(standing.paused)}", ("schedules",)))
    return found


def _days(db: Db, now: datetime) -> list[DayOfRuns]:
    first = (now - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    ended, unwell, conflicts = Counter[str](), Counter[str](), Counter[str]()
    seconds: dict[str, list[float]] = {}
    for began, status, took in listing.run_figures(db, first):
        day = f"{began:%Y-%m-%d}"
        if status != "running":
            ended[day] += 1
        if status in {"failed", "held", "partial"}:
            unwell[day] += 1
        if took is not None:
            seconds.setdefault(day, []).append(took)
    for opened in listing.conflict_openings(db, first):
        conflicts[f"{opened:%Y-%m-%d}"] += 1
    days = [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range(DAYS)]
    return [
        DayOfRuns(day, ended[day], unwell[day], sum(seconds[day]) / len(seconds[day]) if day in seconds else None, conflicts[day])
        for day in days
    ]
