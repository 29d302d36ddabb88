"""Makes a report, keeps it as one that was handed over, and knows which one the schedule asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trueup.reports.morning_lines import morning_lines
from trueup.reports.morning_page import morning_page
from trueup.reports.morning_words import message, title
from trueup.runtime.reporting import comparing
from trueup.runtime.reporting.gathering import gathered, since_when
from trueup.runtime.reporting.sending import recipients
from trueup.runtime.schedule import next_after
from trueup.store import report as reports

if TYPE_CHECKING:
    from trueup.model import Config, When
    from trueup.reports.morning_facts import Morning
    from trueup.reports.verify_facts import Agreement
    from trueup.store import Db, Store

LOOKED_BACK = timedelta(days=8)
"""A moment of the schedule that has passed for longer is not caught up."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A report that was kept: its number, and whether it was made now, or was there already for this moment of the schedule."""

    number: int
    fresh: bool


def make(store: Store, config: Config, now: datetime, found: Agreement | None, *, since: datetime | None = None) -> Morning:
    """The report of this moment; see `gathered`. Raises StateError."""
    with store.read() as db:
        start, because = since_when(db, now, since)
        return gathered(db, config, now, start, because, found)


def note(store: Store, report: Morning, found: Agreement) -> None:
    """Keep what a comparison found, and since when, although the report is only looked at. Raises StateError."""
    with store.write() as tx:
        _compared(tx, report, found)


def hand_over(store: Store, config: Config, report: Morning, found: Agreement | None, *, send: bool, due_at: datetime | None) -> Handed:
    """Keep a report as the last one; with `send`, for everybody who gets it. Where the moment has one, that one. Raises StateError."""
    content = (message(report, config.file), morning_page(report), morning_lines(report)) if send else None
    with store.write() as tx:
        there = reports.made_for(tx, due_at) if due_at is not None else None
        if there is not None:
            return Handed(there, fresh=False)
        if found is not None:
            _compared(tx, report, found)
        number = reports.keep(
            tx,
            at=report.at,
            since=report.since,
            due_at=due_at,
            title=title(report),
            counts=report.counts(),
            content=content,
            recipients=list(recipients(config)) if send else [],
        )
    return Handed(number, fresh=True)


def _compared(tx: Db, report: Morning, found: Agreement) -> None:
    for name, one in found.entities.items():
        comparing.keep(tx, name, one, report.at)


def moment_due(term: When, now: datetime) -> datetime | None:
    """The last moment of a schedule that has come; None where none has lately."""
    found, moment = None, next_after(term, now - LOOKED_BACK)
    while moment is not None and moment <= now:
        found, moment = moment, next_after(term, moment)
    return found
