"""What runs and people tell the audit trail: how runs began and ended, decisions, and what left for which system; never a value."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from trueup.core.deliver import FIELDS
from trueup.core.frames import FEW_ROWS
from trueup.store import audit, meta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.model import RunStatus, RunSummary
    from trueup.runtime.lane import Prepared
    from trueup.runtime.outcomes import Results
    from trueup.store import Db
    from trueup.store.sending import Intended

DECIDED = "last decision"
"""The fact of the state that tells a running `serve` that a person decided something."""
WORDS = {"create": "created", "update": "updated", "delete": "deleted"}


def run_begins(tx: Db, run: int, command: str, entities: Sequence[str], *, at: datetime) -> None:
    """A run has its number. The key of a record may be a value of it: it is left out."""
    what, record, _key = command.partition(" --record ")
    audit.tell(tx, "run", {"run": run, "event": "began", "command": what + record.rstrip(), "entities": list(entities)}, at=at)


def run_ends(tx: Db, run: int, status: RunStatus, result: RunSummary | None, *, at: datetime) -> None:
    """A run is over; `result` is None where it was broken off. Systems to which nothing was written are left out."""
    left: dict[str, dict[str, dict[str, int]]] = {}
    for entity, summary in {} if result is None else result.entities.items():
        for system, part in summary.systems.items():
            counts = {name: getattr(part.delivered, name) for name in ("created", "updated", "deleted", "failed")}
            if any(counts.values()):
                left.setdefault(entity, {})[system] = {name: count for name, count in counts.items() if count}
    audit.tell(tx, "run", {"run": run, "event": "ended", "status": status, "wrote": left}, at=at)


def decided(tx: Db, about: str, what: Mapping[str, Any], now: datetime) -> None:
    """A person decided `about` something that waited for one; `what` names it by numbers, and holds no value."""
    audit.tell(tx, "decision", {"about": about, **what}, at=now)
    meta.set_(tx, DECIDED, now.isoformat())


def about_to_leave(tx: Db, entity: str, system: str, prepared: Prepared, intent: int, run: int | None, *, at: datetime) -> None:
    """Rows are about to be written: told with the intent, before anything of it leaves."""
    what: dict[str, Any] = {"intent": intent, "run": run, "entity": entity, "system": system, "operation": prepared.kind}
    what |= {"rows": prepared.rows.height, "fields": _fields(prepared)}
    audit.tell(tx, "sending", what, at=at)


def _fields(prepared: Prepared) -> dict[str, int]:
    """How many rows are told each field."""
    if prepared.kind == "delete":
        return {}
    if prepared.kind == "create":  # all rows of a batch are given the same fields: to ask for all lists would make them
        return {name: prepared.rows.height for names in prepared.fields.head(1)[FIELDS] for name in names}
    lists = prepared.fields[FIELDS]
    if lists.len() <= FEW_ROWS:
        counts = Counter(name for names in lists.to_list() for name in names or ())
        return dict(sorted(counts.items()))
    return dict(lists.explode().drop_nulls().value_counts().sort(FIELDS).rows())


def has_left(tx: Db, entity: str, system: str, intended: Intended, results: Results, *, at: datetime) -> None:
    """What became of rows that were about to be written: told with their outcome."""
    counts = {WORDS[intended.kind]: results.done, "refused": results.failed.height, "stale": results.stale}
    what: dict[str, Any] = {"intent": intended.id, "run": intended.run, "entity": entity, "system": system}
    audit.tell(tx, "sent", what | {name: count for name, count in counts.items() if count}, at=at)
