"""Failed deliveries: what waits because of them, and those that are over, because nothing is due any more, however that came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID
from trueup.core.deliver import FIELDS, Due
from trueup.core.facts import MISSING, PRESENT
from trueup.core.shadow import decode_delta
from trueup.store import failure, golden
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trueup.model import Entity
    from trueup.store import Db


def without_failing(todo: Due, failing: pl.DataFrame) -> Due:
    """Without what failed (gid, field) and is not to be tried yet: whole records where no field is named, else those fields alone."""
    whole = failing.filter(pl.col("field").is_null() | (pl.col("field") == ""))[GID]
    waits = pl.col(GID).is_in(failing[GID].implode())
    waits_whole = pl.col(GID).is_in(whole.implode())
    updates = todo.updates.filter(~waits_whole)
    if failing.height > whole.len():
        held = failing.group_by(GID).agg(pl.col("field").alias("_held"))
        updates = (
            updates.join(held, on=GID, how="left", maintain_order="left")
            .with_columns(pl.col(FIELDS).list.set_difference(pl.col("_held").fill_null([])).alias(FIELDS))
            .drop("_held")
            .filter(pl.col(FIELDS).list.len() > 0)
        )
    return Due(todo.deletes.filter(~waits_whole), todo.creates.filter(~waits), updates)


def mended_failures(db: Db, entity: Entity, systems: Iterable[str]) -> list[int]:
    """Failures to write of which nothing is due any more: delivered since, made right by somebody else, or the record is gone."""
    return [number for system in systems for number in _over(db, entity, system)]


def _over(db: Db, entity: Entity, system: str) -> list[int]:
    known = failure.of(db, entity.name, system)
    if known.is_empty():
        return []
    failed = known.filter((pl.col("stage") == "write") & pl.col("gid").is_not_null())
    if failed.is_empty():
        return []
    gids = failed["gid"].unique()
    alive = set(golden.fetch(db, entity.name, gids).filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())["id"].to_list())
    rows = shadow_table.by_golden(db, entity.name, gids, [system]).filter(pl.col("state") != MISSING)
    present = {gid: set(decode_delta(sent)) for gid, sent, state in rows.select("gid", "sent", "state").rows() if state == PRESENT}
    linked = set(rows["gid"].to_list())
    over: list[int] = []
    for number, gid, field in failed.select("id", "gid", "field").rows():
        waits = present.get(gid)
        if gid not in alive:
            is_over = gid not in linked  # else its row is still to be deleted
        else:
            is_over = waits is not None and (field not in waits if field in entity.fields else not waits)
        if is_over:
            over.append(number)
    return over
