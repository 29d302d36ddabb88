"""History: every accepted, losing and overruled edit and why.

Frames: version Int64, gid Int64, run Int64, field String (null: the whole record), kind String, system String, at (when it was edited;
null: unknown), recorded_at, rule, before, after, detail String (JSON: `who` decided).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import sqlalchemy as sa

from trueup.core.frames import exchanged, renamed
from trueup.store import bulk
from trueup.store.moments import to_micros
from trueup.store.prepared import Prepared, given, given_many
from trueup.store.schema import history as table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trueup.store.db import Db

_PAGE_LINES = 100_000
_OF_RUN = Prepared(
    lambda _backend: (
        sa.select(*_columns())
        .where(table.c.run == given("run"), table.c.id > given("after"))
        .order_by(table.c.id)
        .limit(sa.literal_column(str(_PAGE_LINES)))
    )
)

_AFTER_RUN = Prepared(
    lambda backend: (
        sa.select(table.c.golden_id.label("gid"), *(table.c[name] for name in ("field", "kind", "system", "at", "run", "rule")))
        .where(
            table.c.entity == given("entity"),
            table.c.golden_id.in_(given_many("gids", backend, sa.BigInteger)),
            sa.or_(table.c.run > given("run"), sa.and_(table.c.run.is_(None), table.c.recorded_at >= given("ended_at"))),
        )
        .order_by(table.c.id)
    )
)

_LINES, _UNDOS = table.alias("line"), table.alias("undo")
_PERHAPS_EDITED = Prepared(
    lambda backend: (
        sa.select(_LINES.c.golden_id.label("gid"))
        .where(
            _LINES.c.entity == given("entity"),
            _LINES.c.golden_id.in_(given_many("gids", backend, sa.BigInteger)),
            sa.or_(_LINES.c.run > given("run"), sa.and_(_LINES.c.run.is_(None), _LINES.c.recorded_at >= given("ended_at"))),
            _LINES.c.field.is_not(None),
            (_LINES.c.kind != sa.literal_column("'undo'"))
            != sa.exists().where(
                _UNDOS.c.golden_id == _LINES.c.golden_id,
                _UNDOS.c.entity == _LINES.c.entity,
                _UNDOS.c.field == _LINES.c.field,
                _UNDOS.c.kind == sa.literal_column("'undo'"),
                _UNDOS.c.rule == sa.literal_column("'undo of run '").concat(sa.cast(_LINES.c.run, sa.Text)),
            ),
        )
        .distinct()
    )
)


def said_by(who: str) -> str:
    """The `detail` of a line that a person made: user@host."""
    return orjson.dumps({"who": who}).decode()


def append(tx: Db, entity: str, frame: pl.DataFrame) -> None:
    """Add lines; `version`, `gid`, `kind` and `recorded_at` are needed, other columns may be missing (null)."""
    if "system" in frame.columns:
        frame = exchanged(frame, tx.encode("system", frame["system"]))
    bulk.insert(tx, table, renamed(frame, "gid", "golden_id"), {"entity": tx.entity(entity)})


def of(db: Db, entity: str, gid: int) -> pl.DataFrame:
    """All lines of one golden record, oldest first, with `id` and `entity`."""
    return _frame(db, sa.select(*_columns()).where(table.c.entity == db.entity(entity), table.c.golden_id == gid))


def about(db: Db, entity: str, gids: pl.Series) -> pl.DataFrame:
    """All lines of these golden records, oldest first, as `of` gives them."""
    return _frame(
        db, sa.select(*_columns()).where(table.c.entity == db.entity(entity), table.c.golden_id.in_(db.each(gids.cast(pl.Int64))))
    )


def of_run(db: Db, run: int) -> pl.DataFrame:
    """All lines of one run, oldest first, with `id` and `entity`."""
    pages = [_OF_RUN.many(db, run=run, after=0)]
    while pages[-1].height == _PAGE_LINES:
        pages.append(_OF_RUN.many(db, run=run, after=int(pages[-1]["id"][-1])))
    return _named(db, pl.concat(pages))


def latest(db: Db, entity: str, gids: pl.Series, fields: Sequence[str] | None = None, kinds: Sequence[str] | None = None) -> pl.DataFrame:
    """The newest line per golden record and field (None: all fields, all kinds), as `of` gives them; none where there is no history."""
    newest = sa.select(sa.func.max(table.c.id)).where(
        table.c.entity == db.entity(entity), table.c.golden_id.in_(db.each(gids.cast(pl.Int64)))
    )
    if fields is not None:
        newest = newest.where(table.c.field.in_(db.each(pl.Series(fields, dtype=pl.String))))
    if kinds is not None:
        newest = newest.where(table.c.kind.in_(db.each(pl.Series(kinds, dtype=pl.String))))
    return _frame(db, sa.select(*_columns()).where(table.c.id.in_(newest.group_by(table.c.golden_id, table.c.field))))


def after_run(db: Db, entity: str, gids: pl.Series, run: int, ended_at: datetime) -> pl.DataFrame:
    """What was done to these golden records after a run that ended at a moment, oldest first, as `of` tells it, but without the values."""
    frame = _AFTER_RUN.frame(db, entity=db.entity(entity), gids=gids.cast(pl.Int64), run=run, ended_at=to_micros(ended_at))
    return exchanged(frame, db.decode("system", frame["system"]))


def perhaps_edited(db: Db, entity: str, gids: pl.Series, run: int, ended_at: datetime) -> pl.Series:
    """Those of these golden records of whose values anything was said after a run that ended at a moment, and stands.

    And some more: what was said and did not count is among it, and so is every undo that was undone itself.
    """
    after = to_micros(ended_at)
    return _PERHAPS_EDITED.frame(db, entity=db.entity(entity), gids=gids.cast(pl.Int64), run=run, ended_at=after)["gid"]


def since(db: Db, entity: str, moment: datetime) -> pl.DataFrame:
    """All lines of an entity that were recorded after a moment, oldest first, as `of` gives them."""
    return _frame(db, sa.select(*_columns()).where(table.c.entity == db.entity(entity), table.c.recorded_at > moment))


def lines(db: Db, entity: str, gids: pl.Series, kind: str) -> pl.DataFrame:
    """All lines of one kind about these golden records, oldest first, as `of` gives them."""
    wanted = (table.c.entity == db.entity(entity), table.c.golden_id.in_(db.each(gids.cast(pl.Int64))), table.c.kind == kind)
    return _frame(db, sa.select(*_columns()).where(*wanted))


def of_kind(db: Db, entity: str, kind: str) -> pl.DataFrame:
    """All lines of one kind about any golden record of an entity, oldest first, as `of` gives them."""
    return _frame(db, sa.select(*_columns()).where(table.c.entity == db.entity(entity), table.c.kind == sa.literal_column(f"'{kind}'")))


def records(db: Db, entity: str, system: str, kinds: Sequence[str], *, run: int) -> int:
    """How many golden records have a line of these kinds from a system since a run, it among them."""
    told = (table.c.entity == db.entity(entity), table.c.system == db.system(system), table.c.kind.in_(list(kinds)))
    return int(db.execute(sa.select(sa.func.count(table.c.golden_id.distinct())).where(table.c.run >= run, *told)).scalar_one())


def count(db: Db, entity: str, kinds: Sequence[str]) -> int:
    """How many lines of these kinds there are."""
    wanted = (table.c.entity == db.entity(entity), table.c.kind.in_(list(kinds)))
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(*wanted)).scalar_one())


def _columns() -> list[Any]:
    return [table.c.golden_id.label("gid") if column.name == "golden_id" else column for column in table.c]


def _frame(db: Db, statement: sa.Select[Any]) -> pl.DataFrame:
    return _named(db, db.frame(statement.order_by(table.c.id)))


def _named(db: Db, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(entity=db.decode("entity", frame["entity"]), system=db.decode("system", frame["system"]))
