"""Notices of changes: who is told, how far each of them has been told, and what could not be told.

What is due is not kept: it is derived from the golden records that moved after a subscriber's position. A position is a version and, as
many records share one, the last golden id within it. Beside it stand only notices that were tried in vain, at most one per record.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
import sqlalchemy as sa

from trueup.store import golden, identity
from trueup.store.golden import ALIVE
from trueup.store.schema import golden as records
from trueup.store.schema import history
from trueup.store.schema import notice_birth as births
from trueup.store.schema import notice_open as table
from trueup.store.schema import notice_subscriber as subscribers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from trueup.store.db import Db

_ANYBODY = "SELECT EXISTS (SELECT 1 FROM notice_subscriber)"
_NEWEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One who is told. `stopped`: why it is not told any more; None: it is. `next_try_at` None: it may be told now."""

    name: str
    token: str
    since: datetime
    version: int
    golden_id: int
    failures: int = 0
    failing_since: datetime | None = None
    next_try_at: datetime | None = None
    reason: str | None = None
    sent_at: datetime | None = None
    stopped: str | None = None
    stopped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """A notice that was tried in vain; `id` is None for one that is not stored yet. `dead_at` None: it will be tried again."""

    id: int | None
    subscriber: str
    entity: str
    golden_id: int
    born: bool
    since_version: int
    version: int
    attempts: int
    first_at: datetime
    last_at: datetime
    next_try_at: datetime | None
    dead_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How many of a subscriber's notices wait for another try or are given up, and since when the oldest of them waits."""

    waiting: int = 0
    dead: int = 0
    oldest_at: datetime | None = None
    next_try_at: datetime | None = None
    dead_at: datetime | None = None  # when the last one was given up


# ---------------------------------------------------------------- subscribers


def list_(db: Db) -> list[Subscriber]:
    """All of them, by name."""
    return [Subscriber(**row._mapping) for row in db.execute(sa.select(subscribers).order_by(subscribers.c.name))]  # noqa: SLF001  its name


def get(db: Db, name: str) -> Subscriber | None:
    """One of them; None where it is not known yet."""
    return next((one for one in list_(db) if one.name == name), None)


def begin(tx: Db, name: str, now: datetime) -> None:
    """From here on somebody is told of what changes. Nothing happens where it is known already."""
    if get(tx, name) is not None:
        return
    identity.ensure(tx)
    values = {"name": name, "token": uuid4().hex[:12], "since": now, "version": golden.current_version(tx), "golden_id": _NEWEST_ID}
    tx.execute(subscribers.insert().values(**values))


def keep_only(tx: Db, names: Collection[str]) -> list[str]:
    """Forget all that are not named, and whatever was kept for them; who that was."""
    gone = [one.name for one in list_(tx) if one.name not in names]
    if gone:
        tx.execute(table.delete().where(table.c.subscriber.in_(gone)))
        tx.execute(subscribers.delete().where(subscribers.c.name.in_(gone)))
        _forget_births(tx)
    return gone


def advance(tx: Db, known: Subscriber, to: Subscriber) -> bool:
    """Keep how far a subscriber was told, and how the last tries went. False where it was told further: nothing is kept then.

    What a person said meanwhile stands: it is stopped by this where `to` says so, and not begun again.
    """
    same = (subscribers.c.name == known.name, subscribers.c.token == known.token)
    there = (subscribers.c.version == known.version, subscribers.c.golden_id == known.golden_id)
    kept = {"name", "token", "since"} | ({"stopped", "stopped_at"} if to.stopped is None else set())
    values = {one.name: getattr(to, one.name) for one in fields(Subscriber) if one.name not in kept}
    if tx.execute(subscribers.update().where(*same, *there).values(**values)).rowcount == 0:
        return False
    if to.version > known.version:
        _forget_births(tx)
    return True


def stop(tx: Db, name: str, why: str | None, now: datetime) -> None:
    """Tell a subscriber nothing any more; `why` None: tell it again, from where it stood, at once."""
    mine = subscribers.update().where(subscribers.c.name == name)
    if why is not None:
        tx.execute(mine.values(stopped=why, stopped_at=now))
        return
    tx.execute(mine.values(stopped=None, stopped_at=None, failures=0, failing_since=None, next_try_at=None, reason=None))
    tx.execute(table.update().where(table.c.subscriber == name, table.c.dead_at.is_(None)).values(next_try_at=now))


# ---------------------------------------------------------------- what is due


def born(tx: Db, entity: str, version: int, ids: pl.Series) -> None:
    """Note which records a commit made, where anybody is told of changes."""
    if ids.is_empty() or not tx.rows(_ANYBODY)[0][0]:
        return
    tx.execute(births.insert().values(version=version, entity=tx.entity(entity), first_id=ids.min(), last_id=ids.max()))


def moved(db: Db, entity: str, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """Version and golden id of the records that moved after a position, in that order; those that are gone among them."""
    version, gid = after
    later = sa.and_(records.c.version >= version, sa.or_(records.c.version > version, records.c.id > gid))
    found = []
    # Two statements, as each has an index of its own.
    for only in (ALIVE, sa.or_(records.c.deleted_at.is_not(None), records.c.alias_of.is_not(None))):
        wanted = sa.select(records.c.version, records.c.id).where(records.c.entity == db.entity(entity), later, only)
        rows = db.execute(wanted.order_by(records.c.version, records.c.id).limit(limit))
        found += [(int(row.version), int(row.id)) for row in rows]
    return sorted(found)[:limit]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of history about a record: `field` None: about all of it; `moved`: whether the value is another one since."""

    gid: int
    version: int
    field: str | None
    kind: str
    moved: bool
    recorded_at: datetime


def lines(db: Db, entity: str, gids: Sequence[int], after: int, kinds: Collection[str]) -> list[Line]:
    """Lines of history of these kinds, later than a version, oldest first."""
    wanted = sa.select(history).where(
        history.c.entity == db.entity(entity),
        history.c.golden_id.in_(db.each(pl.Series(gids, dtype=pl.Int64))),
        history.c.version > after,
        history.c.kind.in_(list(kinds)),
    )
    rows = db.execute(wanted.order_by(history.c.id))
    return [Line(row.golden_id, row.version, row.field, row.kind, row.before != row.after, row.recorded_at) for row in rows]


def births_among(db: Db, entity: str, gids: Sequence[int], after: int) -> list[tuple[int, int, int]]:
    """Version, first and last id of the commits later than a version that may have made some of these records."""
    wanted = sa.select(births.c.version, births.c.first_id, births.c.last_id).where(
        births.c.entity == db.entity(entity), births.c.version > after, births.c.first_id <= max(gids), births.c.last_id >= min(gids)
    )
    return [(int(row.version), int(row.first_id), int(row.last_id)) for row in db.execute(wanted)]


def _forget_births(tx: Db) -> None:
    """Forget which records were made before what every subscriber was told."""
    oldest = sa.select(sa.func.min(subscribers.c.version)).scalar_subquery()
    tx.execute(births.delete().where(births.c.version < sa.func.coalesce(oldest, _NEWEST_ID)))


# ---------------------------------------------------------------- what was tried in vain


def waiting(db: Db, name: str, limit: int, *, due_at: datetime | None = None) -> list[Open]:
    """Notices that wait for another try, the first due first; `due_at`: only those whose time has come."""
    mine = sa.select(table).where(table.c.subscriber == name, table.c.dead_at.is_(None))
    if due_at is not None:
        mine = mine.where(table.c.next_try_at <= due_at)
    return _named(db, mine.order_by(table.c.next_try_at, table.c.id).limit(limit))


def dead(db: Db, name: str | None = None) -> list[Open]:
    """Notices that were given up, oldest first; `name` None: everybody's."""
    mine = sa.select(table).where(table.c.dead_at.is_not(None))
    return _named(db, (mine if name is None else mine.where(table.c.subscriber == name)).order_by(table.c.id))


def about(db: Db, name: str, gids: Iterable[int]) -> dict[int, Open]:
    """Whatever waits or was given up about these records, by golden id."""
    mine = table.c.golden_id.in_(db.each(pl.Series(list(gids), dtype=pl.Int64)))
    return {one.golden_id: one for one in _named(db, sa.select(table).where(table.c.subscriber == name, mine))}


def standings(db: Db) -> dict[str, Standing]:
    """How it stands with everybody who has any such notice."""
    alive = table.c.dead_at.is_(None)
    wanted = sa.select(
        table.c.subscriber,
        sa.func.count().filter(alive).label("waiting"),
        sa.func.count().filter(table.c.dead_at.is_not(None)).label("dead"),
        sa.type_coerce(sa.func.min(table.c.first_at).filter(alive), table.c.first_at.type).label("oldest_at"),
        sa.type_coerce(sa.func.min(table.c.next_try_at).filter(alive), table.c.first_at.type).label("next_try_at"),
        sa.type_coerce(sa.func.max(table.c.dead_at), table.c.first_at.type).label("dead_at"),
    )
    rows = db.execute(wanted.group_by(table.c.subscriber))
    return {row.subscriber: Standing(row.waiting, row.dead, row.oldest_at, row.next_try_at, row.dead_at) for row in rows}


def keep(tx: Db, one: Open) -> None:
    """Keep a notice that was tried in vain, in the place of what was kept about that record."""
    values = {item.name: getattr(one, item.name) for item in fields(Open) if item.name != "id"} | {"entity": tx.entity(one.entity)}
    if one.id is not None and tx.execute(table.update().where(table.c.id == one.id).values(**values)).rowcount:
        return
    tx.execute(table.delete().where(table.c.subscriber == one.subscriber, table.c.golden_id == one.golden_id))
    tx.execute(table.insert().values(**values))


def drop(tx: Db, ids: Sequence[int]) -> int:
    """Forget notices by id; how many there were."""
    return int(tx.execute(table.delete().where(table.c.id.in_(tx.each(pl.Series(ids, dtype=pl.Int64))))).rowcount)


def again(tx: Db, ids: Sequence[int], now: datetime) -> int:
    """Try notices again, as if for the first time, also those that were given up; how many there were."""
    mine = table.c.id.in_(tx.each(pl.Series(ids, dtype=pl.Int64)))
    return int(tx.execute(table.update().where(mine).values(dead_at=None, next_try_at=now, first_at=now, attempts=0)).rowcount)


def due_now(tx: Db, name: str, now: datetime) -> None:
    """Let everything of a subscriber that waits be tried now: it answers again."""
    late = (table.c.subscriber == name, table.c.dead_at.is_(None), table.c.next_try_at > now)
    tx.execute(table.update().where(*late).values(next_try_at=now))


def _named(db: Db, statement: sa.Select[Any]) -> list[Open]:
    rows = list(db.execute(statement))
    names = db.decode("entity", pl.Series([row.entity for row in rows], dtype=pl.Int64)).to_list() if rows else []
    return [Open(**{**row._mapping, "entity": name}) for row, name in zip(rows, names, strict=True)]  # noqa: SLF001  its name
