"""Deliver: golden record minus what a system stands for -> operations for that system. Always derived, never stored as a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import PRESENT, WITHDRAWN
from trueup.core.shadow import decode_delta, encode_delta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.core.facts import Decision
    from trueup.model import Entity

FIELDS = "__fields"
_NO_DELETES = pl.DataFrame(schema={GID: pl.Int64(), KEY: pl.String()})


@dataclass(frozen=True)
class Due:
    """What one system must be told about a set of records.

    deletes   __gid, __key
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
    mine = decision.after.filter(pl.col("system") == system)
    deletes = _NO_DELETES
    alive = decision.records
    if not decision.deleted.is_empty():
        doomed = pl.col("gid").is_in(decision.deleted.implode()) & (pl.col("state") == PRESENT)
        deletes = mine.filter(doomed).select(pl.col("gid").alias(GID), pl.col("key").alias(KEY))
        alive = alive.filter(~pl.col(GID).is_in(decision.deleted.implode()))
    withdrawn = mine.filter(pl.col("state") == WITHDRAWN)
    if not withdrawn.is_empty():
        deletes = pl.concat([deletes, withdrawn.select(pl.col("gid").alias(GID), pl.col("key").alias(KEY))])
    creates = alive.clear().select(GID, *writable)
    if may_create and writable and mine.height < alive.height + decision.deleted.len():
        lacking = alive.join(mine.select(pl.col("gid").alias(GID)), on=GID, how="anti", maintain_order="left")
        if not blocked.is_empty():
            lacking = lacking.filter(~pl.col(GID).is_in(blocked.implode()))
        creates = lacking.select(GID, *writable)
        creates = creates.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in writable))
    return Due(deletes, creates, _updates(writable, entity.mapped(system), mine, alive, frozen))


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
        return _no_updates(alive, writable, mapped)
    waiting = mine.filter(pl.col("sent").is_not_null() & (pl.col("state") == PRESENT)).join(
        alive.select(pl.col(GID).alias("gid")), on="gid", how="semi"
    )
    stopped = set(frozen.select(GID, "field").rows()) if frozen.height else set()
    named = [
        (gid, key, [name for name in decode_delta(sent) if name in set(writable) and (gid, name) not in stopped], decode_delta(seen))
        for gid, key, sent, seen in waiting.select("gid", "key", "sent", "seen").rows()
    ]
    named = [row for row in named if row[2]]
    if not named:
        return _no_updates(alive, writable, mapped)
    rows = pl.DataFrame(
        [(gid, key, names) for gid, key, names, _seen in named],
        schema={GID: pl.Int64(), KEY: pl.String(), FIELDS: pl.List(pl.String())},
        orient="row",
    ).join(alive.select(GID, *mapped), on=GID, how="left", maintain_order="left")
    seen_columns = []
    named_in_seen = {name for *_rest, seen in named for name in seen}
    for name in mapped:
        if name not in named_in_seen:
            seen_columns.append(pl.col(name).alias(f"seen:{name}"))
            continue
        differing = pl.Series(f"_{name}", [seen.get(name) for *_rest, seen in named], dtype=pl.String)
        has = pl.Series(f"_has_{name}", [name in seen for *_rest, seen in named], dtype=pl.Boolean)
        seen_columns.append(pl.when(pl.lit(has)).then(pl.lit(differing)).otherwise(pl.col(name)).alias(f"seen:{name}"))
    rows = rows.with_columns(seen_columns).drop([name for name in mapped if name not in writable])
    # A golden value that nobody has said yet is nothing to deliver.
    said = [pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in writable]
    if not said:
        return rows
    return rows.with_columns(pl.col(FIELDS).list.set_intersection(pl.concat_list(said).list.drop_nulls()).alias(FIELDS)).filter(
        pl.col(FIELDS).list.len() > 0
    )


def _no_updates(alive: pl.DataFrame, writable: list[str], mapped: Sequence[str]) -> pl.DataFrame:
    """The form of the updates, without rows."""
    texts = {name: alive.schema[name] for name in mapped if name in writable} | {f"seen:{name}": pl.String() for name in mapped}
    return pl.DataFrame(schema={GID: pl.Int64(), KEY: pl.String(), FIELDS: pl.List(pl.String()), **texts})
