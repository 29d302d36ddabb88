"""Deliver: golden record minus what a system stands for -> operations for that system. Always derived, never stored as a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from trueup.core import quick
from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import PRESENT, WITHDRAWN
from trueup.core.frames import FEW_ROWS, distinct, found, is_given, keep, one_of, without
from trueup.core.shadow import decode_delta, encode_delta, long_deltas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.core.facts import Decision
    from trueup.model import Entity

FIELDS = "__fields"
_NO_DELETES = pl.DataFrame(schema={GID: pl.Int64(), KEY: pl.String(), "fingerprint": pl.Int64()})


@dataclass(frozen=True)
class Due:
    """What one system must be told about a set of records.

    deletes   __gid, __key, and the fingerprint under which the row was last read (null: not known)
    creates   __gid and the golden cells of the fields that may be written
    updates   __gid, __key, __fields (List: the fields due), the golden cells of all writable fields (those not due are context for
              expressions), and `seen:FIELD` for each field that can be read or written: what the system was last seen to hold
    """

    deletes: pl.DataFrame
    creates: pl.DataFrame
    updates: pl.DataFrame

    @property
    def rows(self) -> int:
        """How many operations this is."""
        return self.deletes.height + self.creates.height + self.updates.height


def due(entity: Entity, system: str, decision: Decision, *, frozen: pl.DataFrame, blocked: pl.Series, may_create: bool) -> Due:
    """What is due in `system` for the records of a decision.

    frozen     (__gid, field) that a person must settle first
    blocked    golden ids that must not be created here (a parked row may be one of them)
    may_create whether the system was completely observed, or can be asked for a row before it is created
    """
    writable = list(entity.written(system))
    mine = keep(decision.after, decision.after["system"] == system)
    deletes = _NO_DELETES
    alive = decision.records
    if not decision.deleted.is_empty():
        doomed = pl.col("gid").is_in(decision.deleted.implode()) & (pl.col("state") == PRESENT)
        deletes = _as_deletes(mine.filter(doomed))
        alive = alive.filter(~pl.col(GID).is_in(decision.deleted.implode()))
    withdrawn = keep(mine, mine["state"] == WITHDRAWN)
    if not withdrawn.is_empty():
        deletes = pl.concat([deletes, _as_deletes(withdrawn)])
    if not decision.withdrawn.is_empty():
        deletes = pl.concat([deletes, keep(decision.withdrawn, decision.withdrawn[SYSTEM] == system)[_NO_DELETES.columns]])
    creates = alive.clear()[[GID, *writable]]
    if may_create and writable and mine.height < alive.height + decision.deleted.len():
        lacking = alive if mine.is_empty() else alive.join(mine.select(pl.col("gid").alias(GID)), on=GID, how="anti", maintain_order="left")
        if not blocked.is_empty():
            lacking = lacking.filter(~pl.col(GID).is_in(blocked.implode()))
        creates = lacking.select(GID, *writable)
        if all(creates[name].null_count() for name in writable):
            creates = creates.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in writable))
    return Due(deletes, creates, _updates(writable, entity.mapped(system), mine, alive, frozen))


def _as_deletes(shadows: pl.DataFrame) -> pl.DataFrame:
    return shadows.select(pl.col("gid").alias(GID), pl.col("key").alias(KEY), "fingerprint")


def due_restores(entity: Entity, system: str, decision: Decision) -> tuple[Due, Decision]:
    """What is due in `system` so that it holds its own values again, and the decision as if these were agreed."""
    wanted: dict[int, dict[str, str]] = {}
    for gid, name, cell in decision.restores.filter(pl.col(SYSTEM) == system).select(GID, "field", "cell").rows():
        wanted.setdefault(gid, {})[name] = cell
    agreed = {row[GID]: row for row in decision.records.filter(pl.col(GID).is_in(list(wanted))).iter_rows(named=True)}
    mine = decision.after.filter((pl.col("system") == system) & pl.col("gid").is_in(list(wanted)))
    held = [
        (encode_delta({name: agreed[gid][name] for name in wanted[gid]} | decode_delta(seen)), encode_delta(dict(wanted[gid])))
        for gid, seen in mine.select("gid", "seen").rows()
    ]
    after = mine.with_columns(
        pl.Series("seen", [seen for seen, _sent in held], dtype=pl.String),
        pl.Series("sent", [sent for _seen, sent in held], dtype=pl.String),
    )
    records = decision.records.clear()
    if agreed:
        rows = [{**row, **wanted[gid]} for gid, row in agreed.items()]
        records = pl.DataFrame(rows, schema=decision.records.schema)
    nothing = pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()})
    writable = list(entity.written(system))
    updates = _updates(writable, entity.mapped(system), after, records, nothing)
    return Due(_NO_DELETES, records.clear().select(GID, *writable), updates), replace(decision, records=records, after=after)


def _updates(writable: list[str], mapped: Sequence[str], mine: pl.DataFrame, alive: pl.DataFrame, frozen: pl.DataFrame) -> pl.DataFrame:
    """Rows whose `sent` differs from golden in a field that may be written and is not frozen."""
    if mine["sent"].null_count() == mine.height:
        return _no_updates(tuple(writable), tuple(mapped))
    waiting = keep(mine, is_given(mine["sent"]) & (mine["state"] == PRESENT))
    waiting = keep(waiting, one_of(waiting["gid"], alive[GID]))
    due = long_deltas(waiting, "sent")
    due = without(keep(due, one_of(due["field"], pl.Series(writable, dtype=pl.String))), frozen, [GID, "field"])
    # A golden value that nobody has said yet is nothing to deliver.
    for name in writable:
        if alive[name].null_count():
            unsaid = alive.filter(pl.col(name).is_null())[GID]
            due = due.filter((pl.col("field") != name) | ~pl.col(GID).is_in(unsaid.implode()))
    if due.is_empty():
        return _no_updates(tuple(writable), tuple(mapped))
    if due.height <= FEW_ROWS:
        named: dict[int, list[str]] = {}
        for gid, name in quick.chosen(due, [GID, "field"]).rows():
            named.setdefault(gid, []).append(name)
        lists = pl.Series(FIELDS, list(named.values()), dtype=pl.List(pl.String))
        fields = quick.frame([quick.series(GID, list(named), pl.Int64()), lists])
    else:
        fields = due.group_by(GID, maintain_order=True).agg(pl.col("field").alias(FIELDS))
    rows = quick.table({GID: waiting["gid"], KEY: waiting["key"]})
    rows = found(found(keep(rows, one_of(rows[GID], fields[GID])), fields, [GID]), quick.chosen(alive, [GID, *mapped]), [GID])
    seen = long_deltas(waiting, "seen")
    different = set(distinct(seen["field"]).to_list())
    columns = []
    for name in mapped:
        golden = rows[name]
        if name in different:
            mine = keep(seen, seen["field"] == name)
            told = found(quick.chosen(rows, [GID]), quick.table({GID: mine[GID], "cell": mine["cell"]}), [GID])["cell"]
            golden = told.zip_with(one_of(rows[GID], mine[GID]), golden)
        columns.append(golden.alias(f"seen:{name}"))
    return rows.hstack(columns)[list(_no_updates(tuple(writable), tuple(mapped)).columns)]


@lru_cache(maxsize=256)
def _no_updates(writable: tuple[str, ...], mapped: tuple[str, ...]) -> pl.DataFrame:
    """The form of the updates, without rows."""
    texts = {name: pl.String() for name in mapped if name in writable} | {f"seen:{name}": pl.String() for name in mapped}
    return pl.DataFrame(schema={GID: pl.Int64(), KEY: pl.String(), FIELDS: pl.List(pl.String()), **texts})
