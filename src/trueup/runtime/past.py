"""A record as it was at an earlier moment: what is agreed now, with the history since then taken back, newest first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.undo import DELETED, REVIVED, SETTING
from trueup.errors import UsageError
from trueup.reports.record_facts import Origin
from trueup.store import history
from trueup.store.retention import refuse_past

if TYPE_CHECKING:
    from trueup.reports.record_facts import RecordView
    from trueup.store import Db


def moment_named(text: str) -> datetime:
    """The moment that a person means: an ISO 8601 date (its first instant) or time; one without a zone is UTC. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time", hint="for example 2026-11-20, or 2026-11-20T14:30:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def as_of(db: Db, view: RecordView, moment: datetime) -> RecordView:
    """The record as it was agreed at a moment. What systems held then is not kept, and is left out.

    Raises UsageError where the record was not there yet, StateError where the history of then was taken out.
    """
    refuse_past(db, moment)
    if view.born is not None and view.born.at is not None and moment < view.born.at:
        seen = view.born.at.isoformat().replace("+00:00", "Z")
        raise UsageError(f"there was no {view.entity} {view.id} then", hint=f"it was first seen in {view.born.system} at {seen}")
    lines = history.of(db, view.entity, view.id)
    golden, origin = dict(view.golden), dict(view.origin)
    later = lines.filter(pl.col("recorded_at") > moment).reverse()
    for line in later.iter_rows(named=True):
        name = line["field"]
        if name is not None and line["kind"] in SETTING:
            golden.pop(name, None)
            origin.pop(name, None)
            if line["before"] is not None:
                golden[name] = orjson.loads(line["before"])
                origin[name] = _said_by(lines, name, moment) or view.born or Origin(None, None)
    return replace(
        view,
        golden=golden,
        origin=origin,
        systems={},
        conflicts=[],
        history=[event for event in view.history if event.recorded_at <= moment],
        deleted_at=_deleted_before(lines, moment),
        at=moment,
    )


def _said_by(lines: pl.DataFrame, name: str, moment: datetime) -> Origin | None:
    """Who set a field last, up to a moment; None where nobody did since the record was first seen."""
    earlier = lines.filter((pl.col("recorded_at") <= moment) & (pl.col("field") == name) & pl.col("kind").is_in(SETTING))
    return None if earlier.is_empty() else Origin(earlier["system"][-1], earlier["at"][-1])


def _deleted_before(lines: pl.DataFrame, moment: datetime) -> datetime | None:
    """When the record was deleted, if it was at a moment."""
    told = lines.filter((pl.col("recorded_at") <= moment) & pl.col("kind").is_in([DELETED, REVIVED]))
    return None if told.is_empty() or told["kind"][-1] == REVIVED else told["recorded_at"][-1]
