"""Retold: records of which nobody touched a row, and which all systems that have them tell otherwise now, and alike.

The same decision as `rebase` and `reconcile` would reach, without comparing cell by cell: nobody edited anything, whoever stood for the
golden value stands for it as it is told now, and nothing is due. A changed cleaning rule over a whole table is made of these.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import GID, NULL, STILL, WAS, json_to_records, records_to_json
from trueup.core.fingerprint import match_hash
from trueup.core.frames import differ, found, is_given, keep, one_of, sure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trueup.model import Entity

_PLAIN_TYPES = frozenset({"text", "integer", "decimal", "boolean", "date", "datetime"})
"""Types of which a value in JSON and its cell are the same text, but for the quotes."""
_VALUE = r'"[^"\\]*"|-?(?:0|[1-9][0-9]*)|true|false|null'
"""A value in JSON that is told without an escape."""


def fields_alike(entity: Entity, reread: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The fields that may read otherwise, where each system that has one shows it, is heard, and may read it otherwise; else none.

    `reread` is as in `Facts`. Where a system says nothing of such a field, or reads it as before, what becomes of it is for the rebase.
    """
    names = [name for name in entity.fields if any(name in fields for fields in reread.values())]
    for name in names:
        having = [system for system in entity.mappings if name in entity.mapped(system)]
        owner = entity.fields[name].source_of_truth
        if entity.fields[name].type not in _PLAIN_TYPES or (owner in entity.mappings and owner not in having):
            return ()
        for system in having:
            heard = entity.mappings[system].direction != "write" and name in entity.shown(system)
            if not heard or name not in reread.get(system, ()):
                return ()
    return tuple(names)


def candidates(entity: Entity, fields: Sequence[str], rows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What rows (per system, as in `Facts.observed`) say alike: __gid, a column per field, and `__was:FIELD:SYSTEM` (as `__was:FIELD`).

    Of the records of which every system that has one of the fields shows a row that nobody touched.
    """
    said: pl.DataFrame | None = None
    systems = [system for system in entity.mappings if any(name in entity.mapped(system) for name in fields)]
    for system in systems:
        observed = rows.get(system)
        if observed is None or STILL not in observed.columns:
            return pl.DataFrame(schema={GID: pl.Int64()})
        mine = keep(observed, sure(observed[STILL]))
        names = [name for name in fields if name in entity.mapped(system)]
        mine = mine.select(
            GID,
            *(pl.col(name).alias(f"{name}:{system}") for name in names),
            *(pl.col(WAS + name).alias(f"{WAS}{name}:{system}") for name in names),
        ).sort(GID)
        said = mine if said is None else _beside(said, mine)
    if said is None:
        return pl.DataFrame(schema={GID: pl.Int64()})
    agree = pl.repeat(value=True, n=said.height, dtype=pl.Boolean, eager=True)
    now = []
    for name in fields:
        told = [said[f"{name}:{system}"] for system in systems if name in entity.mapped(system)]
        agree &= is_given(told[0])
        for other in told[1:]:
            agree &= ~differ(told[0], other)
        now.append(told[0].alias(name))
    before = [said[name] for name in said.columns if name.startswith(WAS)]
    return keep(pl.DataFrame([said[GID], *now, *before]), agree)


def _beside(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """The records that both have."""
    if not left[GID].equals(right[GID]):
        left, right = keep(left, one_of(left[GID], right[GID])), keep(right, one_of(right[GID], left[GID]))
    return found(left, right, [GID])


def retold(entity: Entity, fields: Sequence[str], said: pl.DataFrame, golden: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The records (TOLD_SCHEMA) of which a golden value is told otherwise now, with all that they say; and the ids of all decided about.

    `said` is of `candidates`; `golden` (TOLD_SCHEMA) are living records of which every system holds what is golden, and stands for it.
    Those of which this cannot be told from the texts alone are left for the rebase.
    """
    rows = keep(golden, one_of(golden["id"], said[GID]) & ~sure(golden["data"].str.slice(1).str.contains("{", literal=True)))
    rows = found(rows.rename({"id": GID}), said, [GID])
    data, fits = rows["data"], is_given(rows["data"])
    for name in fields:
        key = orjson.dumps(name).decode()
        pattern = rf"([{{,]){re.escape(key)}:({_VALUE})([,}}])"
        token = data.str.extract(pattern, 2)
        cell = _cell_of(token)
        fits &= is_given(cell)
        for column in rows.columns:
            if column.startswith(f"{WAS}{name}:"):
                fits &= sure(rows.select(pl.col(column).list.contains(cell.alias("cell"))).to_series())
        member = records_to_json(rows.select(name), {name: entity.fields[name]}).str.slice(1)
        member = member.str.slice(0, member.str.len_chars() - 1).str.replace_all("$", "$$", literal=True)
        moved = pl.DataFrame({"data": data, "member": member})
        data = moved.select(pl.col("data").str.replace(pattern, pl.concat_str(pl.lit("${1}"), "member", pl.lit("${3}")))).to_series()
    after = keep(pl.DataFrame({"id": rows[GID], "data": data, "before": rows["data"]}), sure(fits))
    return keep(after, differ(after["data"], after["before"])).drop("before"), after["id"].alias(GID)


def _cell_of(token: pl.Series) -> pl.Series:
    """The cell of a value as it stands in JSON."""
    text = pl.col("token")
    quoted = text.str.starts_with('"')
    cell = pl.when(text == "null").then(pl.lit(NULL)).when(quoted).then(text.str.strip_chars('"')).otherwise(text)
    return token.to_frame("token").select(cell.alias("cell")).to_series()


def index_of(entity: Entity, fields: Collection[str], after: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The match hashes (rule, hash, __gid) of these records (TOLD_SCHEMA), where a match value may be told otherwise; and of which."""
    nothing = pl.DataFrame(schema={"rule": pl.Int64(), "hash": pl.Int64(), GID: pl.Int64()})
    names = {name for rule in entity.match for name in rule}
    if names.isdisjoint(fields):
        return nothing, after["id"].clear().alias(GID)
    cells = json_to_records(after["data"], {name: item for name, item in entity.fields.items() if name in names})
    parts = [
        pl.DataFrame({"rule": [number] * after.height, "hash": match_hash(cells, rule, number), GID: after["id"]}, schema=nothing.schema)
        for number, rule in enumerate(entity.match)
    ]
    return pl.concat([nothing, *parts]).drop_nulls("hash"), after["id"].alias(GID)
