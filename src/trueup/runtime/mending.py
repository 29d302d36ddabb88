"""Mend what a system refused: a person gives another value for a field of the record, and the delivery is tried again with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.resolve import Ruling
from trueup.errors import UsageError
from trueup.runtime import trail
from trueup.runtime.resolve import carry_out, given_cell, settled
from trueup.store import conflict, failure, golden

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Config, Entity
    from trueup.reports.queues import Settled
    from trueup.store import Db, Store

LARGEST = 2**63 - 2
RULE = "a person gave this value, because {} had refused the one before"


def fields_to_mend(config: Config, row: dict[str, Any]) -> list[str]:
    """The fields of which another value may help a failure (a row of `failure.of`); none where nothing of an agreed record was refused."""
    entity = config.entities.get(row["entity"])
    if row["stage"] != "write" or row["gid"] is None or entity is None or row["system"] not in entity.mappings:
        return []
    names = [name for name in entity.mapped(row["system"]) if name in entity.fields and _settable(entity, name)]
    return [row["field"]] if row["field"] in names else [] if row["field"] in entity.fields else names


def mend_failure(store: Store, config: Config, number: int, name: str | None, value: object, now: datetime) -> Settled:
    """Give a field another value (text is read as its type; None is no value), and let the next run try its failures again.

    `name` may be None where the failure names its field. Raises UsageError for an unknown failure, one that no value mends, a field about
    which somebody has to settle a conflict first, or a value that does not suit the field.
    """
    with store.write() as tx:
        row = _row(tx, number)
        known = fields_to_mend(config, row)
        if not known:
            raise UsageError(
                f"failure {number} is not about a value that trueup could not write",
                hint=f"mend it in {row['system']}; `trueup failures retry {number}` tries again",
            )
        name = known[0] if name is None and len(known) == 1 else name
        if name not in known:
            said = f"failure {number} does not say which field is at fault" if name is None else f"failure {number} is not about {name!r}"
            raise UsageError(said, hint=f"name one with --field: {', '.join(known)}")
        entity, gid = config.entities[row["entity"]], int(row["gid"])
        _free(tx, entity, gid, name)
        ruling = Ruling(gid, name, given_cell(tx, entity, name, value, f"failure {number}"), None, RULE.format(row["system"]))
        before = carry_out(tx, entity, ruling, now)
        again = failure.of(tx, entity.name).filter((pl.col("gid") == gid) & (pl.col("stage") == "write"))
        failure.retry_now(tx, again["id"].to_list(), now)
        what = {"mend": number, "entity": entity.name, "record": gid, "field": name, "took": "a value"}
        trail.decided(tx, "failures", what, now)
        return settled(number, entity, ruling, before)


def _settable(entity: Entity, name: str) -> bool:
    """Whether a value that a person gives reaches the system whose word counts for the field."""
    owner = entity.fields[name].source_of_truth
    return owner is None or owner not in entity.mappings or entity.mappings[owner].writes


def _row(tx: Db, number: int) -> dict[str, Any]:
    found = failure.of(tx).filter(pl.col("id") == number) if 0 < number <= LARGEST else None
    if found is None or found.is_empty():
        raise UsageError(f"there is no failure {number}", hint="`trueup failures` lists them")
    return found.row(0, named=True)


def _free(tx: Db, entity: Entity, gid: int, name: str) -> None:
    """Nobody has another question about this value, and there is a record that has it."""
    ids = pl.Series([gid], dtype=pl.Int64)
    record = golden.fetch(tx, entity.name, ids).filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
    if record.is_empty():
        raise UsageError(f"there is no {entity.name} {gid} any more", hint="the next `trueup sync` forgets the failure")
    asked = conflict.open_of(tx, entity.name, ids).filter(pl.col("field") == name)
    if not asked.is_empty():
        raise UsageError(
            f"{name} of {entity.name} {gid} is in conflict {asked['id'][0]}",
            hint=f"`trueup conflicts resolve {asked['id'][0]}` settles it, and the next run delivers what you say",
        )
