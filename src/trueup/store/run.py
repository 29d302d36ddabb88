"""Runs: when each began and ended, and how."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from trueup.store.moments import to_micros
from trueup.store.prepared import Prepared, given
from trueup.store.schema import run as table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trueup.model import RunStatus
    from trueup.store.db import Db
    from trueup.store.prepared import Value

STOPPED = "stopped before its end"
LONGEST = timedelta(days=30)
"""A run that began longer ago is not looked for among those that ended lately."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `finished_at`, `seconds` and `summary` (JSON) are None while it runs; `error` is None where none was told."""

    id: int
    command: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    summary: str | None
    pid: int | None
    host: str | None
    error: str | None
    who: str | None = None  # user@host


_START = Prepared(
    lambda _backend: (
        table.insert()
        .values({name: given(f"its_{name}") for name in ("command", "status", "started_at", "pid", "host", "who")})
        .returning(table.c.id)
    )
)
_FINISH = Prepared(
    lambda _backend: (
        table.update()
        .where(table.c.id == given("id_"))
        .values({name: given(f"its_{name}") for name in ("status", "finished_at", "seconds", "summary", "error")})
    )
)


_OF_NO_MEMBER = (
    "NOT EXISTS (SELECT 1 FROM member WHERE NOT member.gone AND member.pid = run.pid AND member.host = run.host"
    " AND member.joined_at <= run.started_at)"
)
"""Members share a state in PostgreSQL, and each has runs of its own."""
_RUNNING = Prepared(  # the constant lets the small index of runs that have not ended answer
    lambda backend: sa.select(table.c.id).where(
        table.c.status == sa.literal_column("'running'"), *([sa.text(_OF_NO_MEMBER)] if backend == "postgresql" else [])
    )
)


def start(tx: Db, command: str, *, at: datetime, who: str | None = None) -> int:
    """Begin a run and give its number; `who` asked for it.

    To be called under `Store.lock`: runs that another process left running are then known to be dead, and are marked as failed.
    """
    for (left,) in _RUNNING.rows(tx):
        if left not in tx.runs:
            finish(tx, left, "failed", at=at, error=STOPPED)
    values: dict[str, Value] = {"its_command": command, "its_status": "running", "its_started_at": to_micros(at)}
    values |= {"its_pid": os.getpid(), "its_host": socket.gethostname(), "its_who": who}
    number = int(_START.rows(tx, **values)[0][0])
    tx.runs.add(number)
    return number


def finish(
    tx: Db, id_: int, status: RunStatus, *, at: datetime, seconds: float | None = None, summary: str | None = None, error: str | None = None
) -> None:
    """End a run; `summary` is JSON. An unknown number changes nothing."""
    values: dict[str, Value] = {"its_status": status, "its_finished_at": to_micros(at), "its_seconds": seconds}
    values |= {"its_summary": summary, "its_error": error}
    _FINISH.change(tx, id_=id_, **values)
    tx.runs.discard(id_)


def list_(db: Db, limit: int = 50) -> list[Run]:
    """The newest runs, newest first."""
    return [_run(row) for row in db.execute(sa.select(table).order_by(table.c.id.desc()).limit(limit))]


def first_started(db: Db) -> datetime | None:
    """When the oldest run that is known began; None before the first."""
    row = db.execute(sa.select(table.c.started_at).order_by(table.c.id).limit(1)).one_or_none()
    return None if row is None else row.started_at


def first_since(db: Db, moment: datetime, look_at: int = 5_000) -> int | None:
    """The first run that had not ended before a moment; None where there is none, or more than `look_at` have run since."""
    newest = db.execute(sa.select(table.c.id, table.c.finished_at).order_by(table.c.id.desc()).limit(look_at)).all()
    since = [row.id for row in newest if row.finished_at is None or row.finished_at >= moment]
    return min(since) if since and len(since) < look_at else None


def ended_since(db: Db, moment: datetime) -> list[Run]:
    """Runs that ended after a moment, or are at work still, oldest first."""
    over = sa.or_(table.c.finished_at.is_(None), table.c.finished_at > moment)
    return [_run(row) for row in db.execute(sa.select(table).where(over, table.c.started_at > moment - LONGEST).order_by(table.c.id))]


def some(db: Db, ids: Sequence[int]) -> list[Run]:
    """These runs, oldest first; unknown numbers are left out."""
    return [_run(row) for row in db.execute(sa.select(table).where(table.c.id.in_(list(ids))).order_by(table.c.id))] if ids else []


def after(db: Db, id_: int) -> list[Run]:
    """Runs that began after that one, oldest first."""
    return [_run(row) for row in db.execute(sa.select(table).where(table.c.id > id_).order_by(table.c.id))]


def get(db: Db, id_: int) -> Run | None:
    """One run; None where there is none."""
    row = db.execute(sa.select(table).where(table.c.id == id_)).one_or_none()
    return None if row is None else _run(row)


def _is_dead(row: sa.Row[tuple[object, ...]]) -> bool:
    """Whether a run that was never ended was one of this machine, and its process is not there any more."""
    if row.status != "running" or row.host != socket.gethostname() or not row.pid:
        return False
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's process
        pass
    return False


def _run(row: sa.Row[tuple[object, ...]]) -> Run:
    if _is_dead(row):  # as the next run will write it down
        return Run(row.id, row.command, "failed", row.started_at, None, None, None, row.pid, row.host, STOPPED, row.who)
    return Run(
        row.id,
        row.command,
        cast("RunStatus", row.status),
        row.started_at,
        row.finished_at,
        row.seconds,
        row.summary,
        row.pid,
        row.host,
        row.error,
        row.who,
    )
