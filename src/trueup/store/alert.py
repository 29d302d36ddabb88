"""Alerts: what fires now, since when, and when its owner was told; what has ended and was not told yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.store.schema import alert as table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trueup.store.db import Db


@dataclass(frozen=True, slots=True)
class Alert:
    """One trouble. `owner` is None where nobody is named; `told_at` None: not told yet; `ended_at` None: it lasts."""

    rule: str
    subject: str
    owner: str | None
    what: str
    remedy: str
    since: datetime
    told_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """By which it is known."""
        return self.rule, self.subject


def list_(db: Db) -> list[Alert]:
    """All of them, the oldest first."""
    rows = db.execute(sa.select(table).order_by(table.c.since, table.c.rule, table.c.subject))
    return [Alert(row.rule, row.subject, row.owner, row.what, row.remedy, row.since, row.told_at, row.ended_at) for row in rows]


def keep(tx: Db, alert: Alert) -> None:
    """Keep an alert as it is now, new or known."""
    forget(tx, [alert])
    values = {name: getattr(alert, name) for name in ("rule", "subject", "owner", "what", "remedy", "since", "told_at", "ended_at")}
    tx.execute(table.insert().values(**values))


def told(tx: Db, alerts: Sequence[Alert], at: datetime) -> None:
    """Their owner was told now; those that ended are over with that."""
    for alert in alerts:
        if alert.ended_at is None:
            tx.execute(table.update().where(*_is(alert)).values(told_at=at))
        else:
            tx.execute(table.delete().where(*_is(alert), table.c.ended_at.is_not(None)))


def forget(tx: Db, alerts: Sequence[Alert]) -> None:
    """They are over, and nobody need hear of it."""
    for alert in alerts:
        tx.execute(table.delete().where(*_is(alert)))


def _is(alert: Alert) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.rule == alert.rule, table.c.subject == alert.subject
