"""Keeping the state small: what `retention:` says is taken out, after a run once a day, or when asked to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trueup.core.merge import APART
from trueup.core.undo import DELETED, REVIVED, SETTING
from trueup.store import meta, retention

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Retention
    from trueup.store import Db, Store
    from trueup.store.retention import Removed

DAY = timedelta(days=1)
LAST = "looked for old history at"
KEPT_KINDS = (*SETTING, DELETED, REVIVED)
"""Of each value the newest line of these kinds stays."""


def compact(store: Store, rules: Retention, now: datetime) -> Removed:
    """Take out what is older or more than the rules say. Raises StateError."""
    removed = retention.compact(
        store,
        KEPT_KINDS,
        (APART,),
        at=now,
        before=_before(now, rules.history_s),
        lines=rules.lines,
        runs_before=_before(now, rules.runs_s),
    )
    with store.write() as tx:
        meta.set_(tx, LAST, now.isoformat())
    return removed


def to_be_taken_out(db: Db, rules: Retention, now: datetime) -> int:
    """About how many lines of history `compact` would take out now."""
    return retention.doomed_lines(db, KEPT_KINDS, (APART,), before=_before(now, rules.history_s), lines=rules.lines)


def compact_daily(store: Store, rules: Retention, now: datetime) -> None:
    """The same, where it was not done for a day."""
    if not rules:
        return
    with store.read() as db:
        last = meta.get(db, LAST)
    if last is None or last < (now - DAY).isoformat() or last > now.isoformat():
        compact(store, rules, now)


def _before(now: datetime, age_s: float | None) -> datetime | None:
    return None if age_s is None else now - timedelta(seconds=age_s)
