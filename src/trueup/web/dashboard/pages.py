"""Which pages there are, and the ways to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.web.dashboard.checklist import checklist
from trueup.web.dashboard.conflicts import conflicts
from trueup.web.dashboard.overview import overview
from trueup.web.dashboard.people import who
from trueup.web.dashboard.project import project
from trueup.web.dashboard.queues import failures, holds, matches
from trueup.web.dashboard.records import all_records, record, records
from trueup.web.dashboard.runs import one_run, runs
from trueup.web.dashboard.steering import alerts, schedules, verification

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WAYS = {
    "": "Overview",
    "conflicts": "Conflicts",
    "failures": "Failures",
    "holds": "Holds",
    "matches": "Matches",
    "records": "Records",
    "runs": "Runs",
    "verification": "Verification",
    "schedules": "Schedules",
    "alerts": "Alerts",
    "checklist": "Checklist",
    "project": "Set up",
    "people": "People and keys",
}
"""The first part of a path -> what its page is called."""

FOR_ADMINS = frozenset({"project"})
"""Pages that nobody else is shown the way to; what is done there asks for the role again."""

PAGES: dict[str, Callable[..., Awaitable[Any]]] = {
    "/": overview,
    "/conflicts": conflicts,
    "/conflicts/{number}": conflicts,
    "/failures": failures,
    "/holds": holds,
    "/matches": matches,
    "/records": all_records,
    "/records/{entity}": records,
    "/records/{entity}/{number}": record,
    "/runs": runs,
    "/runs/{number}": one_run,
    "/verification": verification,
    "/schedules": schedules,
    "/alerts": alerts,
    "/checklist": checklist,
    "/project": project,
    "/project/{step}": project,
    "/people": who,
}
