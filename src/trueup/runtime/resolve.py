"""Settle an open conflict or a held change as a person says; the next pass delivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import cell_to_python
from trueup.core.facts import GOLDEN_SCHEMA, GONE_SCHEMA, SHADOW_SCHEMA, Facts
from trueup.core.resolve import Ruling, resolve, settled_cell
from trueup.errors import UsageError
from trueup.reports.queues import Settled
from trueup.runtime import trail
from trueup.runtime.commit import commit_decision, frozen_candidates
from trueup.runtime.explain import golden_cells, held_cells, open_conflict
from trueup.store import audit, conflict, golden, shadow

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Config, Entity
    from trueup.reports.record_facts import OpenConflict
    from trueup.store import Db, Store


def open_conflicts(db: Db, config: Config, entity: str | None = None) -> list[OpenConflict]:
    """What a person must settle, oldest first; entities that are not configured any more are left out."""
    rows = conflict.open_of(db, entity)
    return [open_conflict(row, config.entities[row["entity"]]) for row in rows.iter_rows(named=True) if row["entity"] in config.entities]


def take_system(store: Store, config: Config, id_: int, system: str, now: datetime) -> Settled:
    """Settle with what a system says. Raises UsageError for an unknown conflict, or a system that says nothing about the field."""
    with store.write() as tx:
        row, entity = _open_row(tx, config, id_)
        cell = _value_of(tx, row, entity, system)
        return _settle(tx, row, entity, Ruling(row["gid"], row["field"], cell, system, f"a person took the value of {system}"), now)


def take_value(store: Store, config: Config, id_: int, value: object, now: datetime) -> Settled:
    """Settle with a value (text is read as the field's type; None is no value).

    Raises UsageError for an unknown conflict, or a value that does not suit the field.
    """
    with store.write() as tx:
        row, entity = _open_row(tx, config, id_)
        cell = given_cell(tx, entity, row["field"], value, f"conflict {id_}")
        return _settle(tx, row, entity, Ruling(row["gid"], row["field"], cell, None, "a person gave this value"), now)


def _open_row(tx: Db, config: Config, id_: int) -> tuple[dict[str, Any], Entity]:
    row = conflict.get(tx, id_)
    if row is None:
        raise UsageError(f"there is no conflict {id_}", hint="`trueup conflicts` lists the open ones")
    if row["closed_at"] is not None:
        when = row["closed_at"].strftime("%Y-%m-%d %H:%M:%SZ")
        raise UsageError(f"conflict {id_} was settled at {when}: {row['resolution']}", hint="`trueup conflicts` lists the open ones")
    entity = config.entities.get(row["entity"])
    if entity is None or row["field"] not in entity.fields:
        raise UsageError(f"conflict {id_} is about {row['entity']}.{row['field']}, which the configuration does not know any more")
    return row, entity


def _value_of(tx: Db, row: dict[str, Any], entity: Entity, system: str) -> str:
    """What a system says about the field in question: its candidate, or what it was last seen to hold."""
    for item in orjson.loads(row["candidates"] or "[]"):
        if item["system"] == system and item["value"] is not None:
            return str(item["value"])
    if system not in entity.mappings:
        raise UsageError(f"{entity.name} has no system {system!r}", hint=f"its systems: {', '.join(entity.mappings)}")
    ids = pl.Series([row["gid"]], dtype=pl.Int64)
    found = shadow.by_golden(tx, entity.name, ids, [system])
    cell = None
    if not found.is_empty() and found["state"][0] != shadow.MISSING and row["field"] in entity.mapped(system):
        agreed = golden_cells(golden.fetch(tx, entity.name, ids)["data"][0], entity)
        cell = held_cells(agreed, found["seen"][0], [row["field"]])[row["field"]]
    if cell is None:
        raise UsageError(f"conflict {row['id']}: {system} says nothing about {row['field']}", hint="take another system, or give --value")
    return cell


def given_cell(tx: Db, entity: Entity, name: str, value: object, about: str) -> str:
    """The cell of a value that a person gives (None: no value). Raises UsageError, beginning with `about`, for one that does not suit."""
    field = entity.fields[name]
    try:
        cell = settled_cell(value, entity, name)
    except ValueError as error:
        raise UsageError(f"{about}: {error}", hint=f"{name} is of type {field.type}") from error
    if field.type == "reference":
        _check_reference(tx, entity, name, cell)
    return cell


def _check_reference(tx: Db, entity: Entity, name: str, cell: str) -> None:
    target = entity.fields[name].entity or ""
    if cell.isdigit() and golden.fetch(tx, target, pl.Series([int(cell)], dtype=pl.Int64)).is_empty():
        raise UsageError(f"there is no {target} {cell}", hint="a reference is given as the number of the record")


def _settle(tx: Db, row: dict[str, Any], entity: Entity, ruling: Ruling, now: datetime) -> Settled:
    before = carry_out(tx, entity, ruling, now, answers=row["id"])
    taken = "a value" if ruling.system is None else ruling.system
    trail.decided(tx, "conflict", {"id": row["id"], "entity": entity.name, "record": row["gid"], "field": ruling.field, "took": taken}, now)
    return settled(row["id"], entity, ruling, before)


def carry_out(tx: Db, entity: Entity, ruling: Ruling, now: datetime, *, answers: int | None = None) -> str | None:
    """Set one golden value as a person says, and what every system is to be told; the cell that was agreed before.

    `answers`: the conflict that is settled by it, which is closed before the value is set, or it would count as one on which all agree now.
    """
    ids = pl.Series([ruling.gid], dtype=pl.Int64)
    known = golden.fetch(tx, entity.name, ids).select(list(GOLDEN_SCHEMA))
    facts = Facts(
        entity=entity,
        observed={},
        gone=pl.DataFrame(schema=GONE_SCHEMA),
        golden=known,
        shadows=shadow.by_golden(tx, entity.name, ids).cast(SHADOW_SCHEMA).select(list(SHADOW_SCHEMA)),
        frozen=frozen_candidates(conflict.open_of(tx, entity.name, ids)),
        now=now,
    )
    decision = resolve(facts, ruling)
    if answers is not None:
        conflict.close(tx, pl.Series([answers], dtype=pl.Int64), now, ruling.rule)
    commit_decision(tx, entity, decision, run=None, now=now, who=audit.me())
    return golden_cells(known["data"][0], entity).get(ruling.field)


def settled(number: int, entity: Entity, ruling: Ruling, before: str | None) -> Settled:
    """What was settled under a number, with values as they are typed."""
    field = entity.fields[ruling.field]
    was, now = cell_to_python(before, field), cell_to_python(ruling.cell, field)
    return Settled(number, entity.name, ruling.gid, ruling.field, was, now, ruling.system)
