"""How things stand: per entity and system, what is linked, what waits, and how old the last complete pass is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.reports.access import access_needs, access_table
from trueup.reports.runs import WHICH_VANISHED
from trueup.reports.table import PLAIN, Style, counted, duration, moment, table
from trueup.reports.trail import head_dict, with_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trueup.core.chain import Head
    from trueup.model import RunStatus
    from trueup.reports.access import Access


@dataclass(frozen=True, slots=True)
class Spent:
    """Until when nothing may be asked of a system, and why."""

    until: datetime
    why: str


@dataclass
class SystemStanding:
    """One system in one entity. `last_complete_pass` is None before the first; `delay_s` is its age now."""

    links: int = 0
    pending: int = 0
    failures: int = 0
    parked: int = 0
    holds: int = 0
    missing: int = 0
    apart: int = 0  # values and rows that a person left as they are; such rows are not among those missing
    paused: bool = False
    resting_until: datetime | None = None  # left alone by its limits; None: it is not
    last_complete_pass: datetime | None = None
    delay_s: float | None = None
    late: bool = False  # older than the entity's max_delay


@dataclass
class EntityStanding:
    """One entity: living golden records, and what waits for a person."""

    total: int = 0
    conflicts: int = 0
    parked: int = 0
    failures: int = 0
    holds: int = 0
    paused: bool = False
    max_delay_s: float | None = None
    systems: dict[str, SystemStanding] = field(default_factory=dict)


@dataclass
class Standing:
    """All of it. `state` is where the state lies, `synced` whether there is one; the last run's parts are None before the first."""

    state: str
    synced: bool = False
    paused: list[str] = field(default_factory=list)
    last_run: int | None = None
    last_status: RunStatus | None = None
    last_started_at: datetime | None = None
    entities: dict[str, EntityStanding] = field(default_factory=dict)
    trail: Head | None = None
    size_bytes: int = 0
    history_lines: int = 0
    lines_a_day: float = 0.0  # of the last thirty days
    at: datetime | None = None  # now
    access: dict[str, Access] = field(default_factory=dict)  # of the systems that want tokens and were connected once
    spent: dict[str, Spent] = field(default_factory=dict)  # systems of which nothing more may be asked for now

    def as_json(self) -> dict[str, Any]:
        """The public form; see docs/reference. Delays are in seconds."""
        last = None
        if self.last_run is not None:
            last = {"run": self.last_run, "status": self.last_status, "started_at": _second(self.last_started_at)}
        return {
            "state": self.state,
            "last_run": last,
            "paused": self.paused,
            "size": {"bytes": self.size_bytes, "history_lines": self.history_lines, "lines_a_day": round(self.lines_a_day, 1)},
            "entities": {name: _entity_json(entity) for name, entity in self.entities.items()},
            "access": [one.as_json() for one in self.access.values()],
            "spent": [{"system": name, "until": _second(one.until), "why": one.why} for name, one in self.spent.items()],
            "audit": head_dict(self.trail),
        }

    def as_text(self, style: Style = PLAIN) -> str:
        """For people."""
        if not self.synced:
            return "Nothing was synced yet: `trueup check`, then `trueup plan`, then `trueup sync`."
        lines = []
        if self.last_run is not None:
            lines.append(f"Last run {self.last_run}: {self.last_status}, {moment(self.last_started_at)}")
        growth = f"{counted(self.history_lines, 'line')} of history, about {self.lines_a_day:,.0f} more a day"
        size = f"{self.size_bytes / 1e6:,.1f} MB" if self.size_bytes >= 1e6 else "less than 1 MB"
        lines.append(f"State: {size}; {growth}")
        if self.paused:
            lines.append(style.paint(f"Paused: {', '.join(self.paused)} (`trueup resume`)", "warn"))
        for name, entity in self.entities.items():
            lines += ["", f"{style.paint(name, 'bold')}: {counted(entity.total, 'record')}", _systems_table(entity, style)]
        if self.access and self.at is not None:
            lines += ["", access_table(self.access, self.at, style)]
        needs = [line for name, entity in self.entities.items() for line in _needs(name, entity)]
        if self.at is not None:
            needs += access_needs(self.access, self.at)
        for name, one in self.spent.items():
            needs.append(f"{name} is not asked for anything until {moment(one.until)}: {one.why}; what waits is done then")
        if needs:
            lines += ["", *(f"{style.paint('!', 'warn')} {line}" for line in needs)]
        return with_head("\n".join(lines).lstrip("\n"), self.trail)


def _systems_table(entity: EntityStanding, style: Style) -> str:
    rows = [
        [
            name,
            item.links,
            item.pending,
            item.failures,
            item.parked,
            item.holds,
            moment(item.last_complete_pass),
            duration(item.delay_s) + (" (late)" if item.late else ""),
            "paused" if item.paused else f"left alone until {moment(item.resting_until)}" if item.resting_until else "",
        ]
        for name, item in entity.systems.items()
    ]
    head = ("system", "linked", "waiting", "failures", "parked", "held", "last complete pass", "age", "")
    return table(head, rows, style, indent="  ")


def _needs(name: str, entity: EntityStanding) -> Iterator[str]:
    """What to do next, one line each."""
    if entity.holds:
        yield f"{name}: {counted(entity.holds, 'part')} held by a guard: `trueup holds`, then approve, refuse or leave"
    if entity.failures:
        yield f"{name}: {counted(entity.failures, 'failure')}: `trueup failures` says which and why"
    if entity.conflicts:
        yield f"{name}: {counted(entity.conflicts, 'conflict')} to settle: `trueup conflicts`"
    if entity.parked:
        yield f"{name}: {counted(entity.parked, 'row')} might be one of several records: `trueup matches`"
    for system, item in entity.systems.items():
        if item.missing:
            yield f"{name} in {system}: {counted(item.missing, 'row')} vanished while deletes are off: {WHICH_VANISHED} shows which"
        if item.apart:
            left = counted(item.apart, "value or row", "values and rows")
            yield f"{name} in {system}: {left} left apart on purpose, until either side is edited"
        if item.late and item.delay_s is not None:
            yield f"{name} in {system}: last complete pass {duration(item.delay_s)} ago, {duration(entity.max_delay_s)} are tolerated"


def _entity_json(entity: EntityStanding) -> dict[str, Any]:
    return {
        "golden": {"total": entity.total},
        "conflicts": {"open": entity.conflicts},
        "parked": entity.parked,
        "failures": entity.failures,
        "holds": entity.holds,
        "paused": entity.paused,
        "max_delay": entity.max_delay_s,
        "systems": {
            name: {
                "links": item.links,
                "pending": item.pending,
                "failures": item.failures,
                "parked": item.parked,
                "holds": item.holds,
                "missing": item.missing,
                "apart": item.apart,
                "paused": item.paused,
                "left_alone_until": _second(item.resting_until),
                "last_complete_pass": _second(item.last_complete_pass),
                "delay": None if item.delay_s is None else round(item.delay_s, 3),
                "late": item.late,
            }
            for name, item in entity.systems.items()
        },
    }


def _second(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")
