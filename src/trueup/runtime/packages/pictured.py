"""Packages as the picture of a moment has them, which alerts judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.reports.picture import PackagePicture
from trueup.runtime.packages.chosen import shown
from trueup.runtime.packages.standing import Received, Trouble, overdue, received, sent

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Config, Package
    from trueup.store import Db


def pictured(db: Db, config: Config, package: Package, now: datetime) -> PackagePicture:
    """How one packages stand, from the state alone."""
    found = PackagePicture(package.owner, package.direction, package.entity)
    if package.direction == "in":
        known = received(db, package) or Received(since=now)
        found.sequence, found.rows, found.at = known.sequence, known.rows, known.at
        found.last_refused = known.status == "refused"
        lacking = overdue(package, known, now)
        if lacking is not None:
            found.late_since, found.missing = lacking.since, lacking.missing
        _trouble(found, known.trouble)
        return found
    out = sent(db, package, shown(config, package.place))
    found.sequence, found.rows, found.at = out.sequence, out.rows, out.at
    _trouble(found, out.trouble)
    found.last_refused = out.answer is not None and out.answer["kind"] is not None
    if out.answer is not None and found.last_refused:
        found.refused, found.refused_at = f"{out.answer['kind']}: {out.answer['why']}", out.at
    patience, since = package.answered_within_s, out.unanswered_since
    if patience is not None and since is not None and (now - since).total_seconds() > patience:
        found.unanswered, found.unanswered_since = out.name, since
    return found


def _trouble(found: PackagePicture, trouble: Trouble | None) -> None:
    if trouble is not None:
        found.trouble, found.about, found.why, found.since = trouble.kind, trouble.name, trouble.why, trouble.since
