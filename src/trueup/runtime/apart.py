"""Values that systems hold apart: they were agreed until a mapping changed, and are left as they are until a person wants otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, json_to_records
from trueup.core.rebase import APART
from trueup.core.shadow import decode_delta, encode_delta
from trueup.runtime.commit import value_json
from trueup.store import golden, history, shadow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import Entity
    from trueup.store import Db


def held_apart(
    db: Db, entity: Entity, shadows: pl.DataFrame, cells: Mapping[int, Mapping[str, str | None]]
) -> dict[tuple[str, int], set[str]]:
    """(system, golden id) -> the fields that the row holds apart still, of these shadows (system, gid, seen, sent) and golden cells."""
    differing = shadows.filter(pl.col("seen").is_not_null())
    if differing.is_empty():
        return {}
    told = {
        (system, gid, name, before, after)
        for system, gid, name, before, after in history.lines(db, entity.name, differing["gid"].unique(), APART)
        .select("system", "gid", "field", "before", "after")
        .rows()
    }
    found: dict[tuple[str, int], set[str]] = {}
    for system, gid, seen, sent in differing.select("system", "gid", "seen", "sent").rows() if told else ():
        due = decode_delta(sent)
        for name, cell in decode_delta(seen).items():
            if name in due or name not in entity.fields or gid not in cells:
                continue
            line = (system, gid, name, value_json(cell, entity, name), value_json(cells[gid][name], entity, name))
            if line in told:
                found.setdefault((system, gid), set()).add(name)
    return found


def bring_together(tx: Db, entity: Entity, gids: pl.Series) -> None:
    """Let the values that systems hold apart of these records be replaced by the agreed ones: from now on these are due there."""
    records = golden.fetch(tx, entity.name, gids)
    values = json_to_records(records["data"], entity.fields).with_columns(records["id"].alias(GID))
    cells = {row[GID]: row for row in values.iter_rows(named=True)}
    shadows = shadow.by_golden(tx, entity.name, gids)
    apart = held_apart(tx, entity, shadows, cells)
    for (system,), rows in shadows.partition_by("system", as_dict=True).items():
        due = []
        for key, gid, seen, sent in rows.select("key", "gid", "seen", "sent").rows():
            names = apart.get((str(system), gid), set()) & set(entity.written(str(system)))
            if names:
                held = decode_delta(seen)
                due.append((key, encode_delta(decode_delta(sent) | {name: held[name] for name in names})))
        if due:
            shadow.update(tx, entity.name, str(system), pl.DataFrame(due, schema={"key": pl.String(), "sent": pl.String()}, orient="row"))
