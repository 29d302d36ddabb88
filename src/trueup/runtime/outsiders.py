"""Rows outside of a mapping's filter that stand where records would have theirs.

When one of them is not there any more as it was found, its record is considered again. That is all: what stands there then is asked
before anything is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID
from trueup.core.facts import FINGERPRINT, KHASH
from trueup.core.fingerprint import key_hash
from trueup.store import outsider

if TYPE_CHECKING:
    from trueup.store import Store


class Outsiders:
    """The noted rows of one system during one reading."""

    def __init__(self, store: Store, entity: str, system: str) -> None:
        """Look up what was noted; nearly always nothing."""
        with store.read() as db:
            rows = outsider.of(db, entity, system)
        self._rows = rows.select(pl.col("gid").alias(GID), key_hash(rows["key"]).alias(KHASH), pl.col("fingerprint").alias(FINGERPRINT))
        self._read: list[pl.Series] = []
        self._same: list[pl.Series] = []

    def read(self, hashes: pl.Series) -> None:
        """Keys (hashed) of rows that were read, refused, or told to be gone."""
        self._note(self._read, hashes)

    def untouched(self, keys: pl.Series) -> None:
        """Keys of rows that were told to be as they were."""
        if not self._rows.is_empty():
            self._note(self._same, key_hash(keys))

    def outside(self, rows: pl.DataFrame) -> None:
        """Rows (`__khash`, `__fingerprint`) that stand outside of the filter."""
        if not self._rows.is_empty():
            self._same.append(self._rows.join(rows.select(KHASH, FINGERPRINT), on=[KHASH, FINGERPRINT], how="semi")[KHASH])

    def _note(self, where: list[pl.Series], hashes: pl.Series) -> None:
        if not self._rows.is_empty():
            where.append(hashes.filter(hashes.is_in(self._rows[KHASH].implode())))

    def released(self, *, complete: bool) -> pl.Series:
        """The records in whose place nothing stands any more, or something else; `complete`: what was not shown is not there."""
        if self._rows.is_empty():
            return self._rows[GID]
        read, same = (pl.concat([pl.Series(KHASH, [], dtype=pl.Int64), *parts]) for parts in (self._read, self._same))
        moved = ~pl.col(KHASH).is_in(same.implode())
        return self._rows.filter(moved & (pl.lit(complete) | pl.col(KHASH).is_in(read.implode())))[GID]
