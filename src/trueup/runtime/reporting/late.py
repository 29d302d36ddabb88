"""Whether the morning report reached everybody by its hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.reports.table import moment
from trueup.runtime.reporting.making import LOOKED_BACK
from trueup.runtime.reporting.sending import name_of, recipients
from trueup.runtime.schedule import next_after
from trueup.store import Store
from trueup.store import report as reports
from trueup.store import run as runs

if TYPE_CHECKING:
    from trueup.model import Config
    from trueup.store import Db


@dataclass(frozen=True, slots=True)
class Late:
    """A report that was due. `lacking` are those who have not got it, for people; None: it was not even made."""

    since: datetime
    lacking: tuple[str, ...] | None

    @property
    def what(self) -> str:
        """What is wrong, for people."""
        if self.lacking is None:
            return f"the report due at {moment(self.since)} was not made"
        return f"the report due at {moment(self.since)} has not reached {', '.join(self.lacking)}"

    @property
    def remedy(self) -> str:
        """What to do."""
        if self.lacking is None:
            return "look whether `trueup serve` runs, or the timer of `trueup report --send`; `trueup report --send` makes and sends it now"
        return "`trueup report sent` says why; `trueup report --send` tries again now"


def late(db: Db, config: Config, now: datetime, known_since: datetime | None) -> Late | None:
    """The first report of the schedule that is due and was not made, else the last one where somebody lacks it; None: all is well.

    `known_since` is from when on a first report could have been made; None: nothing is expected before there was one. A copy of which
    nobody knows whether it arrived is not called late. Raises StateError.
    """
    term = None if config.report is None else config.report.due
    if term is None:
        return None
    newest = reports.newest_due(db)
    made_for = None if newest is None else newest.due_at
    begin = made_for or known_since
    if begin is None:
        return None
    missed = next_after(term, max(begin, now - LOOKED_BACK))
    if missed is not None and missed <= now:
        return Late(missed, None)
    if newest is None or made_for is None:
        return None
    known = recipients(config)
    lacking = [copy for copy in reports.copies_of(db, [newest.id]) if copy.state not in {"sent", "unknown"} and copy.recipient in known]
    if not lacking:
        return None
    return Late(made_for, tuple(known[copy.recipient].shown if copy.recipient in known else name_of(copy) for copy in lacking))


def late_by_itself(db: Db, config: Config, now: datetime) -> Late | None:
    """As `late`, where no server is asked; one that is late by less than the alert rule `report_late` tolerates is not. Raises StateError.

    A first report is expected from when on there were both a run and the configuration as it is now.
    """
    patience = config.alerts.thresholds.get("report_late")
    if config.report is None or patience is None:
        return None
    first = runs.first_started(db)
    try:
        written = datetime.fromtimestamp(Path(config.file).stat().st_mtime, UTC)
    except OSError:
        written = now  # it was taken away meanwhile
    found = late(db, config, now, None if first is None else max(first, written))
    return found if found is not None and (now - found.since).total_seconds() > patience else None


def kept_late(target: str, config: Config, now: datetime) -> Late | None:
    """As `late_by_itself`, of the state at `target`; None where there is none, or it cannot be read (which is for others to tell)."""
    try:
        with Store.open(target, read_only=True) as store, store.read() as db:
            return late_by_itself(db, config, now)
    except TrueupError:
        return None
