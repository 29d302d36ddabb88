"""Rows that are gone under their key, and stand outside of the mapping's filter under another one: nobody deleted those.

A row whose key was changed is found again by the match rules. One that left the filter in the same moment is matched with nothing: it is
looked for here, and keeps its link, as any row does that leaves the filter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY
from trueup.core.facts import FILTERED
from trueup.core.fingerprint import key_hash, match_hash, native_fingerprint
from trueup.runtime.lookalikes import as_known
from trueup.store import former_key
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trueup.model import Entity
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store

PERHAPS_OUTSIDE = "a row outside of the filter may be this one"
"""Why a row that is gone is not believed to be: it may stand outside of the filter under another key."""
MOVED_SCHEMA = pl.Schema({GID: pl.Int64(), KEY: pl.String(), "fingerprint": pl.Int64()})


def moved_out(store: Store, entity: Entity, seat: Seat, gids: pl.Series) -> pl.DataFrame:
    """Which rows outside of the filter, of no record yet, equal those of the records whose row is gone: __gid, __key, fingerprint.

    As everywhere, a rule says nothing where a stronger one tells the two apart. Raises the connector's errors.
    """
    readable = set(seat.compiled.readable)
    rules = [rule for rule in entity.match if readable.issuperset(rule)]
    found = pl.DataFrame(schema=MOVED_SCHEMA)
    if seat.compiled.where is None or gids.is_empty() or not rules:
        return found
    records = as_known(store, entity, seat.name, gids)
    for rows in _standing(seat, records, rules):
        outside = _unknown(store, entity, seat, rows.filter(~seat.compiled.takes_part(rows)))
        if not outside.is_empty():
            found = pl.concat([found, _alike(seat, records, outside, rules)])
    return found.unique()


def _standing(seat: Seat, records: pl.DataFrame, rules: Sequence[Sequence[str]]) -> Iterable[pl.DataFrame]:
    """Native rows among which all are that equal a record in a rule: looked for by value where values can be told, else every row."""
    wanted = []
    for rule in rules:
        native = seat.compiled.to_native(records, list(rule)).rows
        columns = [column for name in rule for column in seat.compiled.columns_of(name)]
        if not seat.connector.caps.find or not columns or not set(columns) <= set(native.columns):
            spec = replace(seat.mapping.object, modified=None)
            return (page.rows for page in seat.connector.read(spec, seat.compiled.read_columns))
        wanted.append(native.select(columns).drop_nulls().unique())
    asked = (values for values in wanted if not values.is_empty())
    return (seat.connector.find(seat.mapping.object, seat.compiled.read_columns, values) for values in asked)


def _unknown(store: Store, entity: Entity, seat: Seat, rows: pl.DataFrame) -> pl.DataFrame:
    """Without the rows that the state knows."""
    with store.read() as db:
        known = shadow_table.by_key(db, entity.name, seat.name, rows[KEY])["key"]
    return rows.filter(~pl.col(KEY).is_in(known.implode()))


def _alike(seat: Seat, records: pl.DataFrame, outside: pl.DataFrame, rules: Sequence[Sequence[str]]) -> pl.DataFrame:
    names = [f"h{number}" for number in range(len(rules))]
    said = [match_hash(records, rule, number).alias(name) for number, (name, rule) in enumerate(zip(names, rules, strict=True))]
    shown = [
        match_hash(seat.compiled.cells_of(outside, rule), rule, number).alias(name)
        for number, (name, rule) in enumerate(zip(names, rules, strict=True))
    ]
    prints = native_fingerprint(outside, seat.compiled.value_columns).alias("fingerprint")
    here = pl.DataFrame([outside[KEY], prints, *shown])
    there = pl.DataFrame([records[GID], *said])
    found = [pl.DataFrame(schema=MOVED_SCHEMA)]
    for number, name in enumerate(names):
        pairs = there.join(here, left_on=name, right_on=name, how="inner", suffix=":here")
        for stronger in names[:number]:
            pairs = pairs.filter((pl.col(stronger) == pl.col(f"{stronger}:here")).fill_null(value=True))
        found.append(pairs.select(list(MOVED_SCHEMA)))
    return pl.concat(found)


def keep_links(tx: Db, entity: str, system: str, gone: pl.DataFrame, moved: pl.DataFrame, *, referred: bool) -> None:
    """Let the rows of `gone` (__gid, __key) stand for their records under the keys that they have now, outside of the filter."""
    both = gone.select(GID, pl.col(KEY).alias("old_key")).join(moved.rename({KEY: "new_key"}), on=GID)
    if referred:
        former_key.note(tx, entity, system, both["old_key"])
    shadow_table.rekey(tx, entity, system, both.select("old_key", "new_key").with_columns(khash=key_hash(both["new_key"])))
    shadow_table.set_state(tx, entity, system, both["new_key"], FILTERED)
    shadow_table.set_fingerprint(tx, entity, system, both.select(pl.col("new_key").alias("key"), "fingerprint"))
    if referred:
        former_key.made_again(tx, entity, system, both[GID])
