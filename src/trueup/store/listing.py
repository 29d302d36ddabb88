"""Open matters, runs, lines and records, a page at a time: what a screen shows of lists that may be long.

A page begins after (or before) the number at which the one before it ended, so that the last page costs what the first one does. Frames
are those of the noun's own module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from trueup.store import golden as records
from trueup.store import lanes
from trueup.store import run as runs
from trueup.store.schema import conflict, failure, golden, history, parked, run

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from trueup.store.db import Db

PAGE = 50
SCANNED = 50_000
"""Golden records that one step of a search looks at."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Open conflicts of one kind about one field."""

    entity: str
    field: str
    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run without its summary. `finished_at` and `seconds` are None while it runs."""

    id: int
    command: str
    status: str
    started_at: datetime
    seconds: float | None
    who: str | None


def conflict_patterns(db: Db) -> list[Pattern]:
    """What open conflicts are about, the most frequent first."""
    if not db.holds(conflict):
        return []
    number = sa.func.count().label("number")
    about = (conflict.c.entity, conflict.c.field, conflict.c.kind)
    frame = lanes.named(db, db.frame(sa.select(*about, number).where(conflict.c.closed_at.is_(None)).group_by(*about)))
    found = [Pattern(row["entity"], row["field"], row["kind"], row["number"]) for row in frame.iter_rows(named=True)]
    return sorted(found, key=lambda one: (-one.number, one.entity, one.field, one.kind))


def open_conflicts(db: Db, *, entity: str | None = None, field: str | None = None, after: int = 0, limit: int = PAGE) -> pl.DataFrame:
    """Open conflicts after a number, oldest first, as `conflict.open_of` gives them."""
    if not db.holds(conflict):
        return lanes.nothing(conflict)
    wanted = [conflict.c.closed_at.is_(None), conflict.c.id > after, *lanes.within(db, conflict, entity, None)]
    if field is not None:
        wanted.append(conflict.c.field == field)
    return lanes.named(db, db.frame(sa.select(*lanes.columns(conflict)).where(*wanted).order_by(conflict.c.id).limit(limit)))


def failures(db: Db, *, entity: str | None = None, after: int = 0, limit: int = PAGE) -> pl.DataFrame:
    """Failures after a number, oldest first, as `failure.of` gives them."""
    if not db.holds(failure):
        return lanes.nothing(failure, without=("subject",))
    statement = sa.select(*lanes.columns(failure, without=("subject",)))
    statement = statement.where(failure.c.id > after, *lanes.within(db, failure, entity, None)).order_by(failure.c.id).limit(limit)
    return lanes.named(db, db.frame(statement))


def parked_rows(db: Db, *, after: int = 0, limit: int = PAGE) -> pl.DataFrame:
    """Parked rows after a number, oldest first, as `parked.of` gives them."""
    if not db.holds(parked):
        return lanes.nothing(parked)
    return lanes.named(db, db.frame(sa.select(*lanes.columns(parked)).where(parked.c.id > after).order_by(parked.c.id).limit(limit)))


def some_runs(db: Db, *, before: int | None = None, status: str | None = None, limit: int = PAGE) -> list[RunLine]:
    """Runs before a number (None: the newest), newest first; only those of one status."""
    wanted = [] if before is None else [run.c.id < before]
    if status is not None:
        wanted.append(run.c.status == status)
    columns = (run.c.id, run.c.command, run.c.status, run.c.started_at, run.c.finished_at, run.c.seconds, run.c.who)
    rows = db.execute(sa.select(*columns).where(*wanted).order_by(run.c.id.desc()).limit(limit)).all()
    running = {row.id for row in rows if row.status == "running"}
    dead = {one.id for one in runs.some(db, sorted(running)) if one.status != "running"}  # their process is not there any more
    return [RunLine(row.id, row.command, "failed" if row.id in dead else row.status, row.started_at, row.seconds, row.who) for row in rows]


def lines_of_run(db: Db, number: int, *, after: int = 0, limit: int = PAGE) -> pl.DataFrame:
    """History that a run wrote after a line, oldest first: id, entity, gid, field, kind, system, rule, before, after."""
    columns = (
        history.c.id, history.c.entity, history.c.golden_id.label("gid"), history.c.field, history.c.kind, history.c.system,
        history.c.rule, history.c.before, history.c.after,
    )  # fmt: skip
    statement = sa.select(*columns).where(history.c.run == number, history.c.id > after).order_by(history.c.id).limit(limit)
    return lanes.named(db, db.frame(statement))


def living_records(db: Db, entity: str, *, after: int = 0, limit: int = PAGE) -> pl.DataFrame:
    """Living records after an id, by id: id, data.

    Where records of the entity lie close together, the next ids hold a whole page of them; elsewhere, all of its ids are sorted.
    """
    near = db.frame(_living(db, entity, after).where(golden.c.id <= after + SCANNED).order_by(golden.c.id).limit(limit))
    if near.height == limit:
        return near
    wanted = (golden.c.entity == db.entity(entity), records.ALIVE, golden.c.id > after)
    return db.frame(sa.select(golden.c.id, golden.c.data).where(*wanted).order_by(golden.c.id).limit(limit))


def _living(db: Db, entity: str, after: int) -> sa.Select[Any]:
    """Living records after an id, found by the id: SQLite would rather sort all records of the entity, were it not for the sum."""
    return sa.select(golden.c.id, golden.c.data).where(golden.c.entity + 0 == db.entity(entity), records.ALIVE, golden.c.id > after)


def records_saying(db: Db, entity: str, said: str, *, after: int = 0, limit: int = PAGE) -> tuple[pl.DataFrame, int | None]:
    """Living records in any of whose values a text stands, among the next ones after an id; and after which id to go on (None: no more).

    No index helps: a step looks at `SCANNED` ids, so that it always takes about as long, however many records there are.
    """
    inside = orjson.dumps(said).decode()[1:-1]
    last = db.execute(sa.select(sa.func.max(golden.c.id))).scalar_one()
    wanted = (golden.c.id <= after + SCANNED, golden.c.data.icontains(inside, autoescape=True))
    found = db.frame(_living(db, entity, after).where(*wanted).order_by(golden.c.id).limit(limit))
    end = int(found["id"][-1]) if found.height == limit else after + SCANNED
    return found, end if last is not None and end < last else None


def run_figures(db: Db, since: datetime, most: int = 20_000) -> list[tuple[datetime, str, float | None]]:
    """When runs began since a moment, their status and how long they took, newest first; of the newest `most`."""
    newest = sa.select(run.c.started_at, run.c.status, run.c.seconds).order_by(run.c.id.desc()).limit(most).subquery()
    rows = db.execute(sa.select(newest).where(newest.c.started_at >= since)).all()
    return [(row.started_at, row.status, row.seconds) for row in rows]


def conflict_openings(db: Db, since: datetime, most: int = 20_000) -> list[datetime]:
    """When conflicts were opened since a moment, settled ones too; of the newest `most`."""
    newest = sa.select(conflict.c.opened_at).order_by(conflict.c.id.desc()).limit(most).subquery()
    return [row.opened_at for row in db.execute(sa.select(newest).where(newest.c.opened_at >= since)).all()]
