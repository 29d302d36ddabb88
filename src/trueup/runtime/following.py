"""What a lane records after its pass: the golden record may have moved on, and shadows are told by how they differ from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, json_to_records
from trueup.core.shadow import decode_delta, encode_delta
from trueup.store import golden

if TYPE_CHECKING:
    from trueup.model import Entity
    from trueup.runtime.outcomes import Results
    from trueup.store import Db


def follow(tx: Db, entity: Entity, system: str, results: Results) -> None:
    """Put outcomes in terms of the golden records as they are in this transaction."""
    records = results.records
    assert records is not None
    gids = pl.concat([results.created["gid"], results.written[GID].alias("gid")])
    if gids.is_empty():
        return
    known = golden.fetch(tx, entity.name, gids)
    now = dict(zip(known["id"].to_list(), json_to_records(known["data"], entity.fields).rows(named=True), strict=True))
    results.golden = now
    if results.created.is_empty():
        return
    mine = results.created.select(pl.col("gid").alias(GID))
    then = {row[GID]: row for row in records.join(mine, on=GID, how="semi").iter_rows(named=True)}

    def told(gid: int, text: str | None) -> str | None:
        said = decode_delta(text)
        values = {name: said[name] if name in said else then[gid].get(name) for name in entity.mapped(system)}
        return encode_delta({name: cell for name, cell in values.items() if cell != now[gid].get(name)})

    for column in ("seen", "sent"):
        deltas = [told(gid, text) for gid, text in results.created.select("gid", column).rows()]
        results.created = results.created.with_columns(pl.Series(column, deltas, dtype=pl.String))
