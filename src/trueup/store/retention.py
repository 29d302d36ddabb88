"""What is only for looking back is taken out by age and number: lines of history, what runs created, runs, settled conflicts.

A line that tells why a value is what it is stays, however old. What was taken out is known by its last run: no run up to that one can be
told from what is left.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from trueup.errors import StateError
from trueup.store import meta, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.store.database import Store
    from trueup.store.db import Db

META_KEY = "compacted"
STEP_LINES = 20_000
"""So many lines are looked at in one transaction: others may write in between."""
NEWEST_RUNS = 200
SAMPLES, SAMPLED_LINES = 40, 250
"""How many lines are looked at to tell how many would go."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """The newest run of which a line of history was taken out, when that line was written, and when it was taken out."""

    run: int
    until: str
    at: str


@dataclass(frozen=True, slots=True)
class Removed:
    """How much one compaction took out."""

    lines: int = 0
    runs: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """How large a state is, and how its history grows. `days` is the time of which `lines_lately` tells."""

    size_bytes: int
    lines: int
    lines_lately: int
    days: float


def compacted(db: Db) -> Compacted | None:
    """What was taken out so far; None: nothing."""
    text = meta.get(db, META_KEY)
    return None if text is None else Compacted(**orjson.loads(text))


def refuse_compacted(db: Db, run: int) -> None:
    """Raise StateError for a run of which lines of history were taken out."""
    known = compacted(db)
    if known is not None and run <= known.run:
        raise StateError(
            f"run {run} is too old to be undone: the history of the runs up to {known.run} was compacted on {known.at[:10]}",
            hint="`retention:` says how long it is kept; nothing was changed",
        )


def refuse_past(db: Db, moment: datetime) -> None:
    """Raise StateError for a moment of which lines of history were taken out."""
    known = compacted(db)
    if known is not None and moment < datetime.fromisoformat(known.until):
        raise StateError(
            f"what was agreed then is not known any more: the history up to {known.until[:19].replace('T', ' at ')}Z was compacted",
            hint="`retention:` says how long it is kept; later moments are known",
        )


def compact(
    store: Store,
    setting: Sequence[str],
    standing: Sequence[str],
    *,
    at: datetime,
    before: datetime | None,
    lines: int | None,
    runs_before: datetime | None,
) -> Removed:
    """Take out what is older, or beyond the newest `lines` lines of history; None: nothing for that reason.

    `setting` are the kinds of history that set a value: the newest of them per value stays. Those of the kinds `standing` stay until a
    value was set after them.
    """
    with store.read() as db:
        last = _last_line(db, before, lines)
        first = db.execute(sa.select(sa.func.min(schema.history.c.id))).scalar_one()
    removed = conflicts = runs = 0
    start = first
    while last is not None and start is not None and start <= last:
        with store.write() as tx:
            step = min(start + STEP_LINES - 1, last)
            removed += _take_out(tx, setting, standing, start, step, at)
            start = tx.execute(sa.select(sa.func.min(schema.history.c.id)).where(schema.history.c.id > step)).scalar_one()
    if before is not None:
        closed = schema.conflict.c.closed_at
        with store.write() as tx:
            conflicts = tx.execute(schema.conflict.delete().where(closed.is_not(None), closed < before)).rowcount
    if runs_before is not None:
        runs = _old_runs(store, runs_before)
    return Removed(removed, runs, conflicts)


def _last_line(db: Db, before: datetime | None, lines: int | None) -> int | None:
    """The newest line that may go; None where there is none. Lines are numbered as they are written, so a moment is found by halving."""
    table = schema.history
    lowest = db.execute(sa.select(sa.func.min(table.c.id))).scalar_one()
    highest = db.execute(sa.select(sa.func.max(table.c.id))).scalar_one()
    if lowest is None or highest is None:
        return None
    found = highest - lines if lines is not None else lowest - 1
    if before is not None:
        low, high = lowest - 1, highest
        while low < high:
            middle = (low + high + 1) // 2
            line = sa.select(table.c.recorded_at).where(table.c.id <= middle).order_by(table.c.id.desc()).limit(1)
            at = db.execute(line).scalar_one_or_none()
            low, high = (middle, high) if at is None or at < before else (low, middle - 1)
        found = max(found, low)
    return found if found >= lowest else None


def _doomed(setting: Sequence[str], standing: Sequence[str], first: int, last: int) -> sa.ColumnElement[bool]:
    """Which of the lines from one number to another go: all but the newest that sets a value, and of those that stand the newest."""
    table, later = schema.history, schema.history.alias("later")
    newer = sa.exists(
        sa.select(sa.literal(1)).where(
            later.c.entity == table.c.entity,
            later.c.golden_id == table.c.golden_id,
            later.c.field.is_not_distinct_from(table.c.field),
            later.c.kind.in_(list(setting)),
            later.c.id > table.c.id,
        )
    )
    return sa.and_(table.c.id.between(first, last), sa.or_(table.c.kind.not_in([*setting, *standing]), newer))


def doomed_lines(db: Db, setting: Sequence[str], standing: Sequence[str], *, before: datetime | None, lines: int | None) -> int:
    """How many lines of history `compact` would take out: counted where they are few, else told from samples of all ages."""
    table = schema.history
    last = _last_line(db, before, lines)
    first = db.execute(sa.select(sa.func.min(table.c.id))).scalar_one()
    if last is None or first is None or first > last:
        return 0
    every = last - first + 1
    if every <= SAMPLES * SAMPLED_LINES:
        return _count_doomed(db, _doomed(setting, standing, first, last))
    step = every // SAMPLES
    starts = range(first, last - SAMPLED_LINES + 2, step)
    found = sum(_count_doomed(db, _doomed(setting, standing, start, start + SAMPLED_LINES - 1)) for start in starts)
    return int(found / (len(starts) * SAMPLED_LINES) * every)


def _count_doomed(db: Db, doomed: sa.ColumnElement[bool]) -> int:
    return int(db.execute(sa.select(sa.func.count()).select_from(schema.history).where(doomed)).scalar_one())


def _take_out(tx: Db, setting: Sequence[str], standing: Sequence[str], first: int, last: int, at: datetime) -> int:
    table = schema.history
    doomed = _doomed(setting, standing, first, last)
    run = tx.execute(sa.select(sa.func.max(table.c.run)).where(doomed)).scalar_one()
    until = tx.execute(sa.select(sa.func.max(table.c.recorded_at)).where(doomed)).scalar_one()
    removed = tx.execute(table.delete().where(doomed)).rowcount
    if removed:
        known = compacted(tx)
        newest = max(run or 0, known.run if known else 0)
        tx.execute(schema.created.delete().where(schema.created.c.run <= newest))
        meta.set_(tx, META_KEY, orjson.dumps(asdict(Compacted(newest, until.isoformat(), at.isoformat()))).decode())
    return removed


def _old_runs(store: Store, before: datetime) -> int:
    table = schema.run
    with store.write() as tx:
        newest = tx.execute(sa.select(sa.func.max(table.c.id))).scalar_one()
        if newest is None:
            return 0
        old = (table.c.started_at < before, table.c.status != "running", table.c.id <= newest - NEWEST_RUNS)
        return tx.execute(table.delete().where(*old)).rowcount


def size(db: Db, now: datetime, lately: datetime) -> Size:
    """How large the state is, and how many lines of history came since `lately`."""
    table = schema.history
    if db.backend == "sqlite":
        pages, page = (db.connection.exec_driver_sql(f"PRAGMA {word}").scalar_one() for word in ("page_count", "page_size"))
        size_bytes = int(pages) * int(page)
    else:
        tables = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r'"
        size_bytes = int(db.connection.exec_driver_sql(f"{tables} AND relnamespace = current_schema()::regnamespace").scalar_one())
    lines = int(db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
    first = db.execute(sa.select(table.c.recorded_at).order_by(table.c.id).limit(1)).scalar_one_or_none()
    since = lately if first is None else max(first, lately)
    before = _last_line(db, lately, None)
    recent = table.c.id > (before if before is not None else 0)
    lately_lines = int(db.execute(sa.select(sa.func.count()).select_from(table).where(recent)).scalar_one())
    return Size(size_bytes, lines, lately_lines, max((now - since).total_seconds() / 86_400, 1.0))


def table_bytes(db: Db) -> dict[str, int]:
    """What each table takes with its indexes, the largest first; empty where the library of a SQLite state cannot tell."""
    if db.backend == "postgresql":
        statement = (
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 2 DESC, 1"
        )
    else:
        statement = (
            "SELECT about.tbl_name, sum(dbstat.pgsize) FROM dbstat JOIN sqlite_schema AS about ON about.name = dbstat.name"
            " WHERE dbstat.aggregate = 1 GROUP BY about.tbl_name ORDER BY 2 DESC, 1"
        )
    try:
        rows = db.connection.exec_driver_sql(statement).all()
    except sa.exc.OperationalError:  # built without dbstat
        return {}
    return {str(name): int(size) for name, size in rows if name in schema.metadata.tables}


def shrink(store: Store) -> int:
    """Give free space of a SQLite state back to the disk; how many bytes. A database server sees to that by itself."""
    if store.backend != "sqlite":
        return 0
    with store.read() as db:
        free, pages, page = (
            int(db.connection.exec_driver_sql(f"PRAGMA {word}").scalar_one()) for word in ("freelist_count", "page_count", "page_size")
        )
    if free * 5 < pages:  # to write everything anew for less is not worth it
        return 0
    store.vacuum()
    return free * page
