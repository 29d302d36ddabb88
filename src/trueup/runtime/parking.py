"""Parked rows and a person's word about them. A decision is recorded here and carried out by the next pass (`identify`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import cell_to_python
from trueup.core.match import ALIKE, REUSED, UNLINKED
from trueup.errors import UsageError
from trueup.reports.queues import Parked, Placed
from trueup.runtime import trail
from trueup.runtime.explain import golden_cells
from trueup.runtime.records import find_record
from trueup.runtime.unite import alive, tell_apart, unite_records
from trueup.store import audit, golden, history, parked, shadow, unsettled_key

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Config, Entity
    from trueup.runtime.workspace import Workspace
    from trueup.store import Db, Store


@dataclass(frozen=True, slots=True)
class _Row:
    """A parked row as stored."""

    id: int
    entity: str
    system: str
    key: str
    candidates: tuple[int, ...]
    why: str


def parked_rows(db: Db, config: Config, described: int = 0) -> list[Parked]:
    """What is parked, oldest first; entities not configured any more are left out.

    Only the first `described` rows say what tells their candidates apart, which takes a look at each of them.
    """
    rows = parked.of(db)
    found: list[Parked] = []
    for row in rows.filter(pl.col("entity").is_in(list(config.entities))).iter_rows(named=True):
        entity = config.entities[row["entity"]]
        candidates = orjson.loads(row["candidates"] or "[]")
        found.append(
            Parked(
                id=row["id"],
                entity=row["entity"],
                system=row["system"],
                key=row["key"],
                candidates={gid: _telling(db, entity, gid) if len(found) < described else {} for gid in candidates},
                why=row["why"],
                since=row["since"],
                decision=orjson.loads(row["decision"]) if row["decision"] else None,
            )
        )
    return found


def place_row(workspace: Workspace, store: Store, id_: int, to: str | None, now: datetime) -> Placed:
    """Say which record a parked row is: `to` names it as `find_record` reads it; None: a record of its own.

    Raises UsageError for an unknown number, and for a record that is deleted or has another row in that system.
    """
    with store.read() as db:
        question = _parked_row(db, id_)
    if question.why.startswith(ALIKE):
        return _answer(workspace, store, question, to, now)
    with store.write() as tx:
        row = _parked_row(tx, id_)
        gid = None if to is None else _target(workspace, tx, row, to)
        if gid is None:
            tell_apart(tx, row.entity, row.system, row.key, row.candidates, now)
        if row.why == REUSED and gid not in row.candidates:
            _release(tx, row.entity, row.system, row.key)
        parked.decide(tx, id_, orjson.dumps({"new": True} if gid is None else {"to": gid}).decode(), now)
        trail.decided(tx, "match", {"id": row.id, "entity": row.entity, "system": row.system, "linked": gid or "a record of its own"}, now)
        if gid is not None:
            _tell(tx, row.entity, gid, row.system, "linked", f"a person said that {row.system}:{row.key} is this record", now)
    return Placed(row.id, row.entity, row.system, row.key, gid)


def _answer(workspace: Workspace, store: Store, row: _Row, to: str | None, now: datetime) -> Placed:
    """Say whether the record of a linked row is the same as another one (`to`), which it becomes at once, or one of its own."""
    keys = pl.Series([row.key], dtype=pl.String)
    entity = workspace.config.entities[row.entity]
    with store.write() as tx:
        linked = shadow.by_key(tx, row.entity, row.system, keys)["gid"].drop_nulls()
        own = None if linked.is_empty() else int(linked[0])
        other = None if to is None else _living(workspace, tx, row, to)
        if other in {None, own}:
            tell_apart(tx, row.entity, row.system, row.key, row.candidates, now)
            parked.remove(tx, row.entity, row.system, keys)
            told = {"id": row.id, "entity": row.entity, "system": row.system, "linked": "a record of its own"}
            trail.decided(tx, "match", told, now)
            return Placed(row.id, row.entity, row.system, row.key, None)
    assert other is not None
    if own is not None:
        with store.read() as db:
            asked = {own, other} - alive(db, entity, pl.Series([own, other], dtype=pl.Int64)).keys()
        if asked:
            raise UsageError(
                f"{row.entity} {min(asked)} has values that wait for a person", hint="`trueup conflicts` first; then say this again"
            )
        why = f"a person said that {row.system}:{row.key} is this record"
        unite_records(store, workspace.config, entity, [((own, other), why)], run=None, now=now)
    with store.write() as tx:
        parked.forget_question(tx, row.entity, row.system, row.key, ALIKE)
        trail.decided(tx, "match", {"id": row.id, "entity": row.entity, "system": row.system, "linked": other}, now)
    return Placed(row.id, row.entity, row.system, row.key, other)


def _living(workspace: Workspace, tx: Db, row: _Row, name: str) -> int:
    """The record that a person named, what it stands for now. Raises UsageError for one that was deleted."""
    ids = pl.Series([find_record(workspace, tx, row.entity, name)], dtype=pl.Int64)
    gid = int(golden.resolve_alias(tx, row.entity, ids)["gid"][0])
    if golden.fetch(tx, row.entity, pl.Series([gid], dtype=pl.Int64))["deleted_at"][0] is not None:
        raise UsageError(f"{row.entity} {gid} was deleted", hint="name another record, or say --new")
    return gid


def unlink_row(store: Store, config: Config, name: str, entity: str | None, now: datetime) -> Placed:
    """Take a row (`system:key`) from its record and park it, until a person says where it belongs. Raises UsageError."""
    system, colon, key = name.partition(":")
    if not colon or system not in config.systems:
        raise UsageError(f"{name!r} is not SYSTEM:KEY", hint=f"systems: {', '.join(config.systems)}")
    if entity is not None and entity not in config.entities:
        raise UsageError(f"there is no entity {entity!r}", hint=f"configured: {', '.join(config.entities)}")
    with store.write() as tx:
        linked = {
            one.name: int(rows["gid"][0])
            for one in config.entities.values()
            if system in one.mappings and entity in {None, one.name}
            for rows in [shadow.by_key(tx, one.name, system, pl.Series([key], dtype=pl.String))]
            if not rows.is_empty() and rows["gid"][0] is not None
        }
        if not linked:
            raise UsageError(f"no record is linked to {key!r} in {system}", hint="`trueup record ENTITY KEY` shows a record's rows")
        if len(linked) > 1:
            raise UsageError(f"{name} is a row of several entities: {', '.join(linked)}", hint="say which with --entity")
        where, gid = next(iter(linked.items()))
        _release(tx, where, system, key)
        _park(tx, where, system, key, gid, now)
        _tell(tx, where, gid, system, "unlinked", f"a person took {system}:{key} from this record", now)
        number = parked.of(tx, where, system).filter(pl.col("key") == key)["id"][0]
        trail.decided(tx, "match", {"id": int(number), "entity": where, "system": system, "unlinked": gid}, now)
    return Placed(int(number), where, system, key, gid)


def _parked_row(tx: Db, id_: int) -> _Row:
    row = parked.get(tx, id_)
    if row is None:
        raise UsageError(f"no row is parked under {id_}", hint="`trueup matches` lists them")
    return _Row(row["id"], row["entity"], row["system"], row["key"], tuple(orjson.loads(row["candidates"] or "[]")), row["why"])


def _target(workspace: Workspace, tx: Db, row: _Row, name: str) -> int:
    """The record that a person named, if this row can be a row of it."""
    gid = find_record(workspace, tx, row.entity, name)
    ids = pl.Series([gid], dtype=pl.Int64)
    gid = int(golden.resolve_alias(tx, row.entity, ids)["gid"][0])
    ids = pl.Series([gid], dtype=pl.Int64)
    if golden.fetch(tx, row.entity, ids)["deleted_at"][0] is not None:
        raise UsageError(f"{row.entity} {gid} was deleted", hint="link the row to another record, or say --new")
    held = shadow.by_golden(tx, row.entity, ids, [row.system]).filter((pl.col("state") != shadow.MISSING) & (pl.col("key") != row.key))
    if not held.is_empty():
        other = held["key"][0]
        raise UsageError(
            f"{row.entity} {gid} already has the row {other} in {row.system}",
            hint=f"take that one away first: trueup matches unlink {row.system}:{other}; or say --new",
        )
    return gid


def _release(tx: Db, entity: str, system: str, key: str) -> None:
    """Forget a link; the row is a new one from now on."""
    shadow.delete(tx, entity, system, pl.Series([key], dtype=pl.String))


def _park(tx: Db, entity: str, system: str, key: str, gid: int, now: datetime) -> None:
    moment = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    row = pl.DataFrame({"system": [system], "key": [key], "candidates": [f"[{gid}]"], "why": [UNLINKED]})
    parked.remove(tx, entity, system, row["key"])  # an older decision must not be taken for this one's
    parked.put(tx, entity, row.with_columns(pl.lit(None, dtype=pl.Int64).alias("run"), moment.alias("since")))
    unsettled_key.put(tx, entity, system, row.select("key", pl.lit("parked").alias("why"), moment.alias("since")))


def _tell(tx: Db, entity: str, gid: int, system: str, kind: str, rule: str, now: datetime) -> None:
    line = pl.DataFrame({"gid": [gid], "kind": [kind], "system": [system], "rule": [rule]}).with_columns(
        pl.lit(golden.next_version(tx), dtype=pl.Int64).alias("version"),
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("at"),
        pl.lit(history.said_by(audit.me())).alias("detail"),
    )
    history.append(tx, entity, line)


def _telling(db: Db, entity: Entity, gid: int) -> dict[str, Any]:
    """Keys and a few values by which a person recognises a record."""
    ids = pl.Series([gid], dtype=pl.Int64)
    rows = golden.fetch(db, entity.name, ids)
    if rows.is_empty():
        return {}
    cells = golden_cells(rows["data"][0], entity)
    names = list(dict.fromkeys([*entity.fields][:1] + [name for rule in entity.match for name in rule]))[:3]
    values = {name: cell_to_python(cells[name], entity.fields[name]) for name in names if cells.get(name) is not None}
    links = shadow.by_golden(db, entity.name, ids)
    return {"keys": dict(links.select("system", "key").rows()), "values": values}
