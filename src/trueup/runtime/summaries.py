"""A run's summary as JSON, as `plan`, `sync` and `run N` print it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from trueup.runtime.identify import PROVISIONAL

if TYPE_CHECKING:
    from trueup.model import EntitySummary, PlannedChange, RunSummary


SHOWN_CHANGES = 100


def summary_dict(result: RunSummary, *, shown_changes: int | None = SHOWN_CHANGES) -> dict[str, Any]:
    """The public form; see docs/reference. Of a plan's changes the first `shown_changes` are in it; None: all."""
    body: dict[str, Any] = {
        "run": result.run,
        "status": result.status,
        "started_at": result.started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(result.seconds, 3),
        "entities": {name: _entity(summary) for name, summary in result.entities.items()},
    }
    if result.run is None:
        body["changes"] = [_change(change) for summary in result.entities.values() for change in summary.changes][:shown_changes]
    if result.error is not None:
        body["error"] = result.error
    return body


def summary_json(result: RunSummary) -> str:
    """`summary_dict` as text."""
    return orjson.dumps(summary_dict(result)).decode()


def _entity(summary: EntitySummary) -> dict[str, Any]:
    systems: dict[str, Any] = {}
    for name, system in summary.systems.items():
        systems[name] = {"observed": asdict(system.observed), "delivered": asdict(system.delivered)}
        if system.error is not None:
            systems[name]["error"] = system.error
    return {
        "golden": {
            "total": summary.total,
            "created": summary.created,
            "updated": summary.updated,
            "deleted": summary.deleted,
            **({"reread": summary.reread} if summary.reread else {}),
        },
        "conflicts": {"opened": summary.conflicts_opened, "open": summary.conflicts_open},
        "overruled": summary.overruled,
        "parked": summary.parked,
        "missing": summary.missing,
        "held": summary.held,
        "failures": {"open": summary.failures_open},
        "systems": systems,
        **({"unbelieved": summary.unbelieved} if summary.unbelieved else {}),
        **({"apart": summary.apart} if summary.apart else {}),
        **({"left": summary.left} if summary.left else {}),
        **({"notes": summary.notes} if summary.notes else {}),
        **({"decided": summary.decided} if summary.decided else {}),
    }


def _change(change: PlannedChange) -> dict[str, Any]:
    return {
        "system": change.system,
        "entity": change.entity,
        "record": change.record if change.record < PROVISIONAL else None,  # a record that is not born yet has no number
        "key": change.key,
        "kind": change.kind,
        "fields": {name: list(values) for name, values in change.fields.items()},
    }
