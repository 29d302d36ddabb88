"""Runs: when each began and ended, and how."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from trueup.store.schema import run as table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import RunStatus
    from trueup.store.db import Db

STOPPED = "stopped before its end"


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


def start(tx: Db, command: str, *, at: datetime) -> int:
    """Begin a run and give its number.

    To be called under `Store.lock`: runs that another process left running are then known to be dead, and are marked as failed.
    """
    # The constant lets the small index of runs that have not ended answer.
    left = sa.and_(table.c.status == sa.literal_column("'running'"), table.c.id.not_in(sorted(tx.runs)))
    tx.execute(table.update().where(left).values(status="failed", finished_at=at, error=STOPPED))
    values = {"command": command, "status": "running", "started_at": at, "pid": os.getpid(), "host": socket.gethostname()}
    number = int(tx.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())
    tx.runs.add(number)
    return number


def finish(
    tx: Db, id_: int, status: RunStatus, *, at: datetime, seconds: float | None = None, summary: str | None = None, error: str | None = None
) -> None:
    """End a run; `summary` is JSON. An unknown number changes nothing."""
    values = {"status": status, "finished_at": at, "seconds": seconds, "summary": summary, "error": error}
    tx.execute(table.update().where(table.c.id == id_).values(**values))
    tx.runs.discard(id_)


def list_(db: Db, limit: int = 50) -> list[Run]:
    """The newest runs, newest first."""
    return [_run(row) for row in db.execute(sa.select(table).order_by(table.c.id.desc()).limit(limit))]


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
        return Run(row.id, row.command, "failed", row.started_at, None, None, None, row.pid, row.host, STOPPED)
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
    )
