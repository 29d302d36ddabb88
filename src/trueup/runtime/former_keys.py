"""Keys that rows had: who names them is told of others, and a record that is made again gets its own back.

Rows that name another record's row by a key that it no longer has are looked at again once that record has a row under another key. What
they name is then told from the keys that the record's rows had (`references.to_golden`), and written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, json_to_records
from trueup.core.facts import MISSING
from trueup.runtime.references import reference_fields
from trueup.store import former_key, golden, unsettled_key
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.model import Entity
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store


def referrers_of(entity: str, entities: Mapping[str, Entity]) -> tuple[Entity, ...]:
    """The entities of which a mapped field refers to this one."""
    return tuple(
        other
        for other in entities.values()
        if any(target == entity for system in other.mappings for _name, target in reference_fields(other, system))
    )


def wake_referrers(store: Store, entity: str, referrers: Sequence[Entity], now: datetime) -> None:
    """Let the next reading look at every row that refers to a record of which a row was made again."""
    if not referrers:
        return
    with store.read() as db:
        due = former_key.due(db, entity)
        if due.is_empty():
            return
        rows = [naming(db, other, entity, due) for other in referrers]
    with store.write() as tx:
        for other, keys in zip(referrers, rows, strict=True):
            wake(tx, other, keys, "refers to a row that was made again", now)
        former_key.told(tx, entity, due)


def wake(tx: Db, entity: Entity, keys: pl.DataFrame, why: str, now: datetime) -> None:
    """Let the next reading look at these rows (system, key), whether they read as before or not."""
    moment = pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("since")
    for (system,), mine in keys.partition_by("system", as_dict=True).items():
        prints = mine.select("key", pl.lit(None, dtype=pl.Int64).alias("fingerprint"))
        shadow_table.set_fingerprint(tx, entity.name, str(system), prints)
        unsettled_key.put(tx, entity.name, str(system), mine.select("key", pl.lit(why).alias("why"), moment))


def naming(db: Db, other: Entity, target: str, due: pl.DataFrame) -> pl.DataFrame:
    """The rows (system, key) of another entity whose record refers to one of those that are `due` (system, gid) in the same system."""
    found = [pl.DataFrame(schema={"system": pl.String(), "key": pl.String()})]
    fields = {system: [name for name, to in reference_fields(other, system) if to == target] for system in other.mappings}
    names = sorted({name for mine in fields.values() for name in mine})
    wanted = due["gid"].unique().cast(pl.String)
    for frame in golden.stream(db, other.name):
        cells = json_to_records(frame["data"], {name: other.fields[name] for name in names})
        said = pl.concat([frame.select("id"), cells], how="horizontal")
        said = said.filter(pl.any_horizontal(pl.col(name).is_in(wanted.implode()) for name in names))
        if said.is_empty():
            continue
        shadows = shadow_table.by_golden(db, other.name, said["id"], list(fields)).filter(pl.col("state") != MISSING)
        found.append(shadows.select("system", "key"))
    return pl.concat(found).filter(pl.col("system").is_in(due["system"].unique().implode()))


def own_again(store: Store, entity: Entity, seat: Seat, made: pl.DataFrame) -> pl.Series:
    """Per new row (__gid, __key) its key: where none is given, that of its record's row which was deleted there, if nobody has it now.

    A key that another row has had, or that stands in a row which cannot be read, is nobody's to give.
    """
    if not seat.connector.caps.takes_keys or made[KEY].null_count() == 0:
        return made[KEY]
    with store.read() as db:
        owed = former_key.of_deleted(db, entity.name, seat.name, made.filter(pl.col(KEY).is_null())[GID])
        if owed.is_empty():
            return made[KEY]
        known = shadow_table.by_key(db, entity.name, seat.name, owed["key"])["key"]
    taken = set(known.to_list())
    for page in seat.connector.read(seat.mapping.object, [], keys=owed["key"].to_list()):
        taken |= {*page.rows[KEY].to_list(), *(reject.key for reject in page.rejected if reject.key is not None)}
    free = owed.filter(~pl.col("key").is_in(list(taken))).select(pl.col("gid").alias(GID), pl.col("key").alias("_own"))
    return (
        made.select(GID, KEY).join(free, on=GID, how="left", maintain_order="left").select(pl.coalesce(KEY, "_own").alias(KEY)).to_series()
    )


def not_again(store: Store, entity: Entity, seat: Seat, keys: pl.Series) -> None:
    """A system has refused new rows under these keys: the next attempt leaves it to the system how it calls them."""
    keys = keys.drop_nulls()
    if seat.connector.caps.takes_keys and not keys.is_empty():
        with store.write() as tx:
            former_key.not_again(tx, entity.name, seat.name, keys)
