"""Puts a morning report together: from a comparison, and from one look at the state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from trueup.model import ReportPlan
from trueup.reports.morning_facts import (
    SEEN,
    WRITTEN,
    Day,
    EntityMorning,
    Firing,
    Moved,
    Open,
    RunLine,
    SystemMoved,
)
from trueup.reports.morning_facts import Morning as Report
from trueup.runtime.by_hand import due, review
from trueup.runtime.reporting import comparing
from trueup.runtime.status import nothing_yet, standing_of
from trueup.store import alert, by_hand, conflict, failure, hold, parked
from trueup.store import report as reports
from trueup.store import run as runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from trueup.model import Config
    from trueup.reports.morning_facts import Because
    from trueup.reports.verify_facts import Agreement
    from trueup.store import Db
    from trueup.store.run import Run

A_DAY = timedelta(days=1)
TREND_DAYS = 14


def since_when(db: Db | None, now: datetime, asked: datetime | None) -> tuple[datetime, Because]:
    """From when on a report tells, and why from then: as asked, since the last one that was handed over, or a day."""
    if asked is not None:
        return asked, "asked"
    last = None if db is None else reports.last(db)
    return (last.at, "last report") if last is not None and last.at < now else (now - A_DAY, "a day")


def unsynced(config: Config, now: datetime, since: datetime, because: Because) -> Report:
    """The report before there is a state: only what people do by hand is known."""
    report = Report(now, since, because, _plan(config).timezone, synced=False)
    for name, standing in nothing_yet(config, "").entities.items():
        report.entities[name] = EntityMorning(standing, config.entities[name].owner)
    report.due_by_hand = [one for one in due(config, {}, now) if one.is_due]
    return report


def gathered(db: Db, config: Config, now: datetime, since: datetime, because: Because, found: Agreement | None) -> Report:
    """The report of this moment. `found`: what a comparison of just now found; None: the last one that was kept is told."""
    standing = standing_of(db, config, "", now)
    zone = _plan(config).timezone
    report = Report(now, since, because, zone, paused=standing.paused, trail=standing.trail)
    first_day = now.astimezone(ZoneInfo(zone)).date() - timedelta(days=TREND_DAYS - 1)
    start = datetime.combine(first_day, datetime.min.time(), ZoneInfo(zone))
    known = runs.ended_since(db, min(start, since))
    report.runs = [
        RunLine(run.id, run.command, run.status, run.started_at, run.seconds, run.error)
        for run in known
        if run.finished_at is None or run.finished_at > since
    ]
    told = _told(known, since)
    days = _days(config.entities, known, reports.since(db, start), ZoneInfo(zone), first_day)
    for name, entity in config.entities.items():
        one = EntityMorning(standing.entities[name], entity.owner)
        one.moved = _moved(name, told, entity.precedence)
        made = None if found is None else found.entities.get(name)
        compared = comparing.kept(db, name, entity.precedence) if made is None else comparing.fresh(db, name, made, now)
        if compared is not None:
            one.compared_at, one.compared, one.left_out = compared.at, compared.systems, compared.left_out
            one.differing, one.differs_since = compared.differing, compared.oldest
        one.open = sorted(_open(db, name), key=lambda item: item.since)
        one.days = _with_today(days[name], one)
        report.entities[name] = one
    report.firing = [Firing(one.what, one.since, one.owner) for one in alert.list_(db) if one.ended_at is None]
    if config.manual:
        report.due_by_hand = [one for one in due(config, by_hand.last(db), now) if one.is_due]
        report.review = review(config, db, now)
    return report


def _plan(config: Config) -> ReportPlan:
    return config.report or ReportPlan()


# ---------------------------------------------------------------- runs


def _said(run: Run) -> Mapping[str, Any]:
    return orjson.loads(run.summary).get("entities", {}) if run.summary else {}


def _told(known: Sequence[Run], since: datetime) -> list[Mapping[str, Any]]:
    """What the runs of the time said, oldest first."""
    return [_said(run) for run in known if run.finished_at is not None and run.finished_at > since]


def _moved(name: str, told: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> Moved:
    moved = Moved(systems={system: SystemMoved() for system in systems})
    for part in (said[name] for said in told if name in said):
        golden = part.get("golden", {})
        moved.created += golden.get("created", 0)
        moved.updated += golden.get("updated", 0)
        moved.deleted += golden.get("deleted", 0)
        moved.overruled += part.get("overruled", 0)
        moved.conflicts_opened += part.get("conflicts", {}).get("opened", 0)
        for system, counts in part.get("systems", {}).items():
            if system not in moved.systems:
                continue
            one = moved.systems[system]
            for kind in SEEN:
                one.seen[kind] += counts.get("observed", {}).get(kind, 0)
            for kind in WRITTEN:
                one.written[kind] += counts.get("delivered", {}).get(kind, 0)
            one.error = counts.get("error")
    return moved


# ---------------------------------------------------------------- what waits


def _open(db: Db, name: str) -> Iterator[Open]:
    for row in failure.of(db, name).iter_rows(named=True):
        yield Open("failure", row["id"], row["system"], row["key"], row["gid"], row["field"], row["reason"], row["first_at"])
    for row in conflict.open_of(db, name).iter_rows(named=True):
        why = "a change that hold_if stopped" if row["kind"] == "hold" else "systems say different things"
        yield Open("conflict", row["id"], None, None, row["gid"], row["field"], why, row["opened_at"])
    for row in parked.of(db, name).iter_rows(named=True):
        why = "decided, at the next sync" if row["decision"] is not None else row["why"]
        yield Open("parked", row["id"], row["system"], row["key"], None, None, why, row["since"])
    for row in hold.of(db, name, decided=False).iter_rows(named=True):
        counts = orjson.loads(row["counts"])
        yield Open(
            "hold", row["id"], row["system"], None, None, None, f"{counts.get('count', 0):,} {row['kind']} held by a guard", row["since"]
        )


# ---------------------------------------------------------------- the last days


@dataclass
class _Day:
    moved: int = 0
    written: int = 0
    failed: int = 0
    waiting: int | None = None
    differing: int | None = None


def _days(names: Iterable[str], known: Sequence[Run], handed: Sequence[reports.Kept], zone: ZoneInfo, first: date) -> dict[str, list[Day]]:
    """Per entity the days from the first one on, in a time zone, also those of which nothing is known."""
    span = [first + timedelta(days=step) for step in range(TREND_DAYS)]
    found = {name: {day: _Day() for day in span} for name in names}
    for run in known:
        day = None if run.finished_at is None else run.finished_at.astimezone(zone).date()
        for name, part in _said(run).items():
            if name in found and day in found[name]:
                _add(found[name][day], part)
    for kept in handed:
        for name, counts in kept.counts.items():
            day = kept.at.astimezone(zone).date()
            if name in found and day in found[name]:
                found[name][day].differing = counts.get("differing")
    return {
        name: [Day(day, one.moved, one.written, one.failed, one.waiting, one.differing) for day, one in by_day.items()]
        for name, by_day in found.items()
    }


def _add(one: _Day, part: Mapping[str, Any]) -> None:
    """What a run said of an entity, added to its day."""
    golden = part.get("golden", {})
    one.moved += sum(golden.get(kind, 0) for kind in ("created", "updated", "deleted"))
    waiting = (
        part.get("conflicts", {}).get("open", 0),
        part.get("failures", {}).get("open", 0),
        part.get("parked", 0),
        part.get("held", 0),
    )
    one.waiting = sum(waiting)
    for counts in part.get("systems", {}).values():
        delivered = counts.get("delivered", {})
        one.written += sum(delivered.get(kind, 0) for kind in ("created", "updated", "deleted"))
        one.failed += delivered.get("failed", 0) + counts.get("observed", {}).get("rejected", 0)


def _with_today(days: list[Day], one: EntityMorning) -> list[Day]:
    """The days with what is known now as the end of the last one."""
    today = days[-1]
    differing = today.differing if one.compared_at is None else one.differences
    return [*days[:-1], Day(today.day, today.moved, today.written, today.failed, len(one.open), differing)]
