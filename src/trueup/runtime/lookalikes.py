"""Rows that cannot be read may still be a record: while they are not mended, none like them is created beside them or taken for gone.

A row may be unreadable because of its key (empty, doubled) or because of a value that has nothing to do with who it is. What tells records
apart is therefore read again on its own: the columns of one match rule, and nothing else. A link says nothing about an unreadable row: it
may have become another record since it was read.

A row whose key is at fault is *nameless*: its key was lost, or is the key of another row as well. It may have been any row that is not seen
under its key any more. That such a row is gone is believed only where a match rule tells it from every nameless one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import join_key, split_key
from trueup.core.cells import GID, KEY, json_to_records
from trueup.core.facts import MISSING
from trueup.core.fingerprint import key_hash, match_hash
from trueup.core.shadow import decode_delta
from trueup.errors import ObjectMissingError, ObjectUnreadableError, TrueupError
from trueup.store import golden
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.base import Page
    from trueup.model import Entity
    from trueup.runtime.systems import Seat
    from trueup.store import Store

PERHAPS_UNREAD = "a row that cannot be read may be this one"
"""Why a row that is gone is not believed to be: it may stand there unread under another key."""
KEYED_ROWS = 10_000
"""Up to so many rows are read by key; beyond that the whole column is read."""


class Lookalikes:
    """What the unreadable rows of one system show in the columns of the match rules; read when first asked."""

    def __init__(self, store: Store, entity: Entity, seat: Seat, unreadable: pl.Series, *, nameless: bool) -> None:
        """Read nothing yet. `unreadable` are keys; `nameless`: there are rows besides whose key is at fault."""
        self._unreadable = unreadable
        self._by_key = not nameless and unreadable.len() <= KEYED_ROWS
        self._nameless = nameless
        self._unheard = False  # a row shows nothing at all, or a rule could not be read: nothing tells records from such a row
        self._untold = False  # a rule is asked for in vain: nothing is read in this system but by its own key
        self._store = store
        self._entity = entity
        self._seat = seat
        self._hashes: dict[int, pl.Series] | None = None

    def among(self, records: pl.DataFrame) -> pl.Series:
        """Golden ids of the records (`__gid` and cells) that equal such a row in a match rule. Raises the connector's errors.

        All of them where the system shows such rows to nobody.
        """
        if self._hashes is None:
            self._hashes = dict(self._read())
        if self._untold:
            return records[GID].unique()
        found = [pl.Series(GID, [], dtype=pl.Int64)]
        for number, hashes in self._hashes.items():
            alike = match_hash(records, self._entity.match[number], number).is_in(hashes.implode())
            found.append(records.filter(alike.fill_null(value=False))[GID])
        return pl.concat(found).unique()

    def among_known(self, gids: pl.Series) -> pl.Series:
        """Golden ids of those records, as they are kept and as this system showed them, that such a row may be.

        All of them where that cannot be read.
        """
        if gids.is_empty():
            return gids
        records = as_known(self._store, self._entity, self._seat.name, gids)
        try:
            alike = self.among(records)
        except TrueupError:
            return gids
        return pl.concat([alike, gids.filter(gids.is_in(self._like_anybody(records).implode()))]).unique() if self._nameless else alike

    def _like_anybody(self, records: pl.DataFrame) -> pl.Series:
        """Golden ids of those records that no rule tells from a nameless row."""
        if self._unheard:
            return records[GID].unique()
        told = [match_hash(records, self._entity.match[number], number).is_not_null() for number in self._hashes or {}]
        return records.filter(~pl.any_horizontal(told))[GID].unique() if told else records[GID].unique()

    def _read(self) -> Iterator[tuple[int, pl.Series]]:
        """Per rule that this system shows, the match hashes of these rows."""
        readers = {reader.field.name: reader for reader in self._seat.compiled.readers}
        for number, rule in enumerate(self._entity.match):
            if set(rule) <= readers.keys():
                columns = list(dict.fromkeys(column for name in rule for column in readers[name].columns))
                try:
                    yield number, self._hashes_of(number, rule, columns)
                except ObjectUnreadableError:  # columns that hardly ever have a value, or one value for most rows, tell no records apart
                    self._unheard = True
                except ObjectMissingError:  # rows of this system are known by their key alone
                    self._unheard = self._untold = True

    def _hashes_of(self, number: int, rule: Sequence[str], columns: Sequence[str]) -> pl.Series:
        seat, own = self._seat, self._seat.mapping.object.key
        spec = replace(seat.mapping.object, key=tuple(columns), modified=None)
        parts = [pl.Series(dtype=pl.Int64)]
        if self._by_key:
            spec = replace(seat.mapping.object, modified=None)
            pages = seat.connector.read(spec, columns, keys=self._unreadable.to_list())
            cells = (seat.compiled.cells_of(page.rows.select(columns), rule) for page in pages)
            return pl.concat([*parts, *(match_hash(rows, rule, number).drop_nulls() for rows in cells)]).unique()
        for page in seat.connector.read(spec, list(dict.fromkeys([*columns, *own]))):
            rows = pl.concat([self._unlinked(page.rows, own).select(columns), self._doubled(page, columns)], how="vertical_relaxed")
            parts.append(match_hash(seat.compiled.cells_of(rows, rule), rule, number).drop_nulls())
            self._unheard |= any(item.key is None and item.column is None for item in page.rejected)
        return pl.concat(parts).unique()

    def _unlinked(self, rows: pl.DataFrame, own: Sequence[str]) -> pl.DataFrame:
        """Without the readable rows whose own key is linked."""
        texts = rows.select(pl.col(name).cast(pl.String) for name in own)
        if len(own) == 1:
            keys = texts.to_series().alias(KEY)
        else:
            keys = pl.Series(KEY, [None if None in parts else join_key(parts) for parts in texts.rows()], dtype=pl.String)
        with self._store.read() as db:
            known = shadow_table.index(db, self._entity.name, self._seat.name).filter(pl.col("state") != MISSING)["khash"]
        hashes = key_hash(keys)
        return rows.filter(~hashes.is_in(known.implode()).fill_null(value=False) | hashes.is_in(key_hash(self._unreadable).implode()))

    def _doubled(self, page: Page, columns: Sequence[str]) -> pl.DataFrame:
        """Values that several rows share: as a key of their own they are rejected, and the reject tells them."""
        shared = [split_key(item.key, len(columns)) for item in page.rejected if item.key is not None]
        texts = pl.DataFrame(shared, schema=dict.fromkeys(columns, pl.String()), orient="row")
        return texts.cast({name: page.rows.schema[name] for name in columns}, strict=False)


def as_known(store: Store, entity: Entity, system: str, gids: pl.Series) -> pl.DataFrame:
    """Records (`__gid` and cells) as they were agreed, and once more with what a system held where that was something else."""
    with store.read() as db:
        known = golden.fetch(db, entity.name, gids)
        shadows = shadow_table.by_golden(db, entity.name, gids, [system])
    records = pl.concat([known.select(pl.col("id").alias(GID)), json_to_records(known["data"], entity.fields)], how="horizontal")
    held = {gid: decode_delta(seen) for gid, seen in shadows.select("gid", "seen").rows() if seen is not None}
    here = [row | held[row[GID]] for row in records.rows(named=True) if row[GID] in held]
    return pl.concat([records, pl.DataFrame(here, schema=records.schema)])


def put_off(gids: pl.Series, system: str) -> pl.DataFrame:
    """The troubles of new rows that an unreadable row of a system may be already."""
    return pl.DataFrame({GID: gids}).select(
        GID,
        pl.lit(None, dtype=pl.String).alias(KEY),
        pl.lit(None, dtype=pl.String).alias("field"),
        pl.lit(f"a row of {system} that cannot be read may be this record: mend that row first").alias("reason"),
        pl.lit(0.0).alias("retry_s"),
    )
