"""Reports that were handed over, and who has them.

A copy is `waiting` to be sent, then `sending` while one process is about it, and then `sent`, `waiting` again, or `given up`. One whose
sender ended before its end is `unknown`: it may have arrived, and is not sent again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson
import sqlalchemy as sa

from trueup.store.schema import report as table
from trueup.store.schema import report_copy as copies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.store.db import Db

CopyState = Literal["waiting", "sending", "sent", "unknown", "given up"]
OPEN: tuple[CopyState, ...] = ("waiting", "sending")


@dataclass(frozen=True, slots=True)
class Kept:
    """One report. `due_at` None: somebody asked for it; `message`, `page` and `lines` are None once everybody has it."""

    id: int
    at: datetime
    since: datetime
    due_at: datetime | None
    title: str
    counts: Mapping[str, Any]
    message: str | None
    page: str | None
    lines: str | None


@dataclass(frozen=True, slots=True)
class Copy:
    """A report's copy for one recipient. `next_try_at` None: it may be tried now, or is over."""

    report: int
    recipient: str
    state: CopyState
    attempts: int = 0
    tried_at: datetime | None = None
    next_try_at: datetime | None = None
    reason: str | None = None


def keep(
    tx: Db,
    *,
    at: datetime,
    since: datetime,
    due_at: datetime | None,
    title: str,
    counts: Mapping[str, Any],
    content: tuple[str, str, str] | None,
    recipients: Sequence[str],
) -> int:
    """Keep a report and whom it is for; its number. `content`: message, page and lines of what is to be sent."""
    message, page, lines = content if content is not None and recipients else (None, None, None)
    values = {"at": at, "since": since, "due_at": due_at, "title": title, "counts": orjson.dumps(counts).decode()}
    values |= {"message": message, "page": page, "lines": lines}
    number = int(tx.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())
    for recipient in dict.fromkeys(recipients):
        tx.execute(copies.insert().values(report=number, recipient=recipient, state="waiting", attempts=0))
    return number


def last(db: Db) -> Kept | None:
    """The newest report; None before the first."""
    row = db.execute(sa.select(table).order_by(table.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _kept(row)


def get(db: Db, number: int) -> Kept | None:
    """One report; None where there is none."""
    row = db.execute(sa.select(table).where(table.c.id == number)).one_or_none()
    return None if row is None else _kept(row)


def list_(db: Db, limit: int) -> list[Kept]:
    """The newest reports, newest first."""
    return [_kept(row) for row in db.execute(sa.select(table).order_by(table.c.id.desc()).limit(limit))]


def since(db: Db, moment: datetime) -> list[Kept]:
    """Reports made from a moment on, oldest first."""
    return [_kept(row) for row in db.execute(sa.select(table).where(table.c.at >= moment).order_by(table.c.id))]


def newest_due(db: Db) -> Kept | None:
    """The report that was made for the latest moment of the schedule; None where none was."""
    row = db.execute(sa.select(table).where(table.c.due_at.is_not(None)).order_by(table.c.due_at.desc(), table.c.id.desc()).limit(1))
    found = row.one_or_none()
    return None if found is None else _kept(found)


def made_for(db: Db, due_at: datetime) -> int | None:
    """The number of the report that was made for this moment of the schedule, or a later one; None where none was."""
    found = db.execute(sa.select(sa.func.max(table.c.id)).where(table.c.due_at >= due_at)).scalar_one()
    return None if found is None else int(found)


# ---------------------------------------------------------------- copies


def copies_of(db: Db, numbers: Sequence[int]) -> list[Copy]:
    """The copies of these reports, in order."""
    return _copies(db, copies.c.report.in_(list(numbers)))


def open_copies(db: Db) -> list[Copy]:
    """The copies that are not over, those of the oldest report first."""
    return _copies(db, copies.c.state.in_(OPEN))


def claim(tx: Db, copy: Copy, now: datetime) -> bool:
    """Be the one who sends this copy now; False where somebody else is, or was."""
    mine = tx.execute(
        copies.update()
        .where(*_is(copy), copies.c.state == "waiting", copies.c.attempts == copy.attempts)
        .values(state="sending", tried_at=now, next_try_at=None, attempts=copy.attempts + 1)
    )
    return mine.rowcount == 1


def settle(tx: Db, copy: Copy, state: CopyState, *, reason: str | None = None, next_try_at: datetime | None = None) -> None:
    """What became of a copy that is being sent; what is sent of a report goes once nobody waits for it any more."""
    now = copies.update().where(*_is(copy), copies.c.state.in_(OPEN)).values(state=state, reason=reason, next_try_at=next_try_at)
    tx.execute(now)
    waits = sa.select(copies.c.report).where(copies.c.report == copy.report, copies.c.state.in_(OPEN))
    emptied = table.update().where(table.c.id == copy.report, ~sa.exists(waits))
    tx.execute(emptied.values(message=None, page=None, lines=None))


def _is(copy: Copy) -> tuple[sa.ColumnElement[bool], ...]:
    return copies.c.report == copy.report, copies.c.recipient == copy.recipient


def _copies(db: Db, wanted: sa.ColumnElement[bool]) -> list[Copy]:
    rows = db.execute(sa.select(copies).where(wanted).order_by(copies.c.report, copies.c.recipient))
    return [Copy(row.report, row.recipient, row.state, row.attempts, row.tried_at, row.next_try_at, row.reason) for row in rows]


def _kept(row: Any) -> Kept:
    return Kept(row.id, row.at, row.since, row.due_at, row.title, orjson.loads(row.counts), row.message, row.page, row.lines)
