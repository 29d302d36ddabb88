"""How large the state is and of what, how fast it grows, and what `trueup compact` would take out of it."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trueup.runtime.compaction import to_be_taken_out
from trueup.store import audit, retention, schema

if TYPE_CHECKING:
    from trueup.reports.health import Diagnosis
    from trueup.runtime.workspace import Workspace
    from trueup.store import Db

MEASURED_BYTES = 2 * 1024**3
"""Up to this size it is told what each table of a SQLite state takes: to know that, every page is read."""
LATELY = timedelta(days=30)
DAYS_LEFT = 30


def look_at_growth(found: Diagnosis, db: Db, facts: dict[str, Any], workspace: Workspace, now: datetime) -> None:
    """Put it into the facts, and say where a disk will be full soon."""
    measured = db.backend != "sqlite" or facts.get("bytes", 0) <= MEASURED_BYTES
    tables = retention.table_bytes(db) if measured else {}
    facts["tables"] = [{"table": name, "bytes": taken} for name, taken in tables.items()]
    first = db.execute(sa.select(schema.run.c.started_at).order_by(schema.run.c.id).limit(1)).scalar_one_or_none()
    for line in audit.lines(db, few=1):  # old runs may have been taken out; of the trail nothing is
        told = datetime.fromisoformat(line.told["at"])
        first = told if first is None else min(first, told)
    size = retention.size(db, now, now - LATELY)
    facts["bytes"] = max(size.size_bytes, facts.get("bytes", 0))
    rules = workspace.config.retention
    lines = to_be_taken_out(db, rules, now) if rules else None
    each = tables.get("history", 0) / size.lines if size.lines else 0.0
    facts["compact_would_free"] = None if lines is None else {"lines": lines, "bytes": int(lines * each) if tables else None}
    days = 0.0 if first is None else (now - first).total_seconds() / 86_400
    if days < 1:
        return
    facts["days"] = round(days, 1)
    facts["bytes_per_day"] = int(facts["bytes"] / days)
    facts["history_per_day"] = int(size.lines / days)
    facts["history_per_day_lately"] = int(size.lines_lately / size.days)
    facts["runs_per_day"] = round(facts["rows"]["run"] / days, 1)
    if db.backend != "sqlite":
        return
    free = shutil.disk_usage(Path(workspace.state_target).parent).free
    if facts["bytes_per_day"] and free / facts["bytes_per_day"] < DAYS_LEFT:
        message = f"the state grows by {facts['bytes_per_day'] // 1024**2:,} MiB a day: its disk is full in less than {DAYS_LEFT} days"
        found.add("risk", "growth", message, "make room, or shorten what it remembers: `retention:`, then `trueup compact`")
