"""The morning report as values: how each system stands beside what is agreed, what moved, what waits since when, and the last days.

No value of a record is in it, so that it may be sent around: which fields of which rows differ, not what they hold. `morning_words.py`
says it, `morning_page.py` shows it, `morning_lines.py` lists it for spreadsheets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trueup.reports.by_hand_facts import due_dict, review_dict
from trueup.reports.table import second
from trueup.reports.trail import head_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from trueup.core.chain import Head
    from trueup.reports.by_hand_facts import Due, Review
    from trueup.reports.standing import EntityStanding
    from trueup.reports.verify_facts import SystemAgreement

Because = Literal["asked", "last report", "a day"]
OpenKind = Literal["failure", "conflict", "parked", "hold"]
SEEN = ("created", "updated", "deleted", "rejected")
WRITTEN = ("created", "updated", "deleted", "failed")


@dataclass
class SystemMoved:
    """What runs saw in a system, and what they wrote to it. `error`: why the last of them left it out; None: it did not."""

    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SEEN, 0))
    written: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WRITTEN, 0))
    error: str | None = None


@dataclass
class Moved:
    """What the runs of a time did to one entity."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    overruled: int = 0
    conflicts_opened: int = 0
    systems: dict[str, SystemMoved] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records moved."""
        return self.created + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Differing:
    """A record that a system does not hold as agreed, or a row there that is no record's. `since` None: not noted, they are too many."""

    system: str
    kind: str
    record: int | None
    key: str | None
    fields: tuple[str, ...]
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Open:
    """What waits for a person or another try. `system`, `key`, `record`, `field`: None where it has none."""

    kind: OpenKind
    id: int
    system: str | None
    key: str | None
    record: int | None
    field: str | None
    why: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """One day in the report's time zone. `waiting` and `differing`: at its end, as far as runs and reports told; None: none did."""

    day: date
    moved: int = 0
    written: int = 0
    failed: int = 0
    waiting: int | None = None
    differing: int | None = None


@dataclass
class EntityMorning:
    """One entity. `compared` is by system, of `compared_at`; None: it was never compared. `left_out`: systems that could not be, and why.

    `differing` are the first ones in detail, `differs_since` the oldest of each system.
    """

    standing: EntityStanding
    owner: str | None = None
    moved: Moved = field(default_factory=Moved)
    compared_at: datetime | None = None
    compared: dict[str, SystemAgreement] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    differing: list[Differing] = field(default_factory=list)
    differs_since: dict[str, datetime] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)

    @property
    def differences(self) -> int:
        """How many records of all systems are not as agreed."""
        return sum(item.differ + item.missing + item.extra for item in self.compared.values())

    def of(self, kind: OpenKind) -> list[Open]:
        """What waits, of one kind."""
        return [item for item in self.open if item.kind == kind]


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run of the time."""

    run: int
    command: str
    status: str
    started_at: datetime
    seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires now."""

    what: str
    since: datetime
    owner: str | None


@dataclass
class Morning:
    """All of it. Where an entity's systems were compared for this report, its `compared_at` is `at`; else it says when they were."""

    at: datetime
    since: datetime
    because: Because
    timezone: str = "UTC"
    synced: bool = True
    entities: dict[str, EntityMorning] = field(default_factory=dict)
    runs: list[RunLine] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    firing: list[Firing] = field(default_factory=list)
    due_by_hand: list[Due] = field(default_factory=list)
    review: Review | None = None
    trail: Head | None = None

    @property
    def systems(self) -> int:
        """How many systems were compared."""
        return len({name for entity in self.entities.values() for name in entity.compared})

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(entity.standing.total for entity in self.entities.values())

    @property
    def urgent(self) -> bool:
        """Whether something failed, is held, vanished or differs: what ends a command with status 3."""
        return any(
            entity.differences
            or entity.left_out
            or entity.standing.failures
            or entity.standing.holds
            or any(system.missing for system in entity.standing.systems.values())
            for entity in self.entities.values()
        )

    def counts(self) -> dict[str, Any]:
        """What later reports draw trends from."""
        return {name: {"differing": entity.differences, "open": len(entity.open)} for name, entity in self.entities.items()}


# ---------------------------------------------------------------- for programs


def morning_dict(report: Morning, needs: list[dict[str, Any]]) -> dict[str, Any]:
    """What `trueup report --json` prints; `needs` as `morning_words.needs_list` gives them."""
    return {
        "at": second(report.at),
        "since": second(report.since),
        "because": report.because,
        "timezone": report.timezone,
        "nothing_to_do": not needs,
        "needs": needs,
        "entities": {name: _entity(entity) for name, entity in report.entities.items()},
        "runs": [
            {
                "run": run.run,
                "command": run.command,
                "status": run.status,
                "started_at": second(run.started_at),
                "seconds": run.seconds,
                "error": run.error,
            }
            for run in report.runs
        ],
        "paused": report.paused,
        "alerts": [{"what": one.what, "since": second(one.since), "owner": one.owner} for one in report.firing],
        "manual": {
            "due": [due_dict(one) for one in report.due_by_hand],
            "review": None if report.review is None else review_dict(report.review),
        },
        "audit": head_dict(report.trail),
    }


def _entity(entity: EntityMorning) -> dict[str, Any]:
    moved, standing = entity.moved, entity.standing
    return {
        "owner": entity.owner,
        "records": standing.total,
        "moved": {
            "created": moved.created,
            "updated": moved.updated,
            "deleted": moved.deleted,
            "overruled": moved.overruled,
            "conflicts": moved.conflicts_opened,
        },
        "compared_at": second(entity.compared_at),
        "left_out": entity.left_out,
        "systems": dict(_systems(entity)),
        "differences": [
            {
                "system": one.system,
                "kind": one.kind,
                "record": one.record,
                "key": one.key,
                "fields": list(one.fields),
                "since": second(one.since),
            }
            for one in entity.differing
        ],
        "open": [
            {
                "kind": one.kind,
                "id": one.id,
                "system": one.system,
                "key": one.key,
                "record": one.record,
                "field": one.field,
                "why": one.why,
                "since": second(one.since),
            }
            for one in entity.open
        ],
        "days": [
            {
                "day": day.day.isoformat(),
                "moved": day.moved,
                "written": day.written,
                "failed": day.failed,
                "waiting": day.waiting,
                "differing": day.differing,
            }
            for day in entity.days
        ],
    }


def _systems(entity: EntityMorning) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, standing in entity.standing.systems.items():
        compared, moved = entity.compared.get(name), entity.moved.systems.get(name, SystemMoved())
        body: dict[str, Any] = {"rows": None, "checksum": None, "differ": None, "missing": None, "extra": None, "waiting": None}
        if compared is not None:
            body |= {kind: getattr(compared, kind) for kind in ("rows", "differ", "missing", "extra", "waiting")}
            body["checksum"] = checksums(compared)
        yield (
            name,
            body
            | {
                "differs_since": second(entity.differs_since.get(name)),
                "links": standing.links,
                "pending": standing.pending,
                "failures": standing.failures,
                "parked": standing.parked,
                "holds": standing.holds,
                "vanished": standing.missing,
                "apart": standing.apart,
                "paused": standing.paused,
                "last_complete_pass": second(standing.last_complete_pass),
                "late": standing.late,
                "seen": moved.seen,
                "written": moved.written,
                "error": moved.error,
            },
        )


def checksums(compared: SystemAgreement) -> dict[str, Any] | None:
    """Over how many rows, what they should add up to, and what they do; None where only counts were kept."""
    if not compared.compared and compared.rows:
        return None
    return {"rows": compared.compared, "agreed": f"{compared.agreed:016x}", "held": f"{compared.held:016x}"}
