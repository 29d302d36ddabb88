"""Which known rows a reading since a mark accounts for: those told by key alone, and those read.

Nearly always the two are the rows that are known, no more and no less, and sums over the key hashes show it. Only where they do not is
the index of all known rows loaded, to find out which ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.facts import MISSING
from trueup.core.fingerprint import key_hash
from trueup.store.shadow import Census, key_sums, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

_HASH = "__khash"


class Presence:
    """The rows of one reading, as key hashes."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self.untouched_rows = 0
        self.read_rows = 0
        self._untouched: list[pl.Series] = []
        self._read: list[pl.Series] = []
        self._settled: list[pl.Series] = []
        self._sums = True

    def untouched(self, keys: pl.Series) -> None:
        """Rows that were told by key alone."""
        self.untouched_rows += keys.len()
        self._untouched.append(key_hash(keys))

    def read(self, keys: pl.Series, known: pl.DataFrame | None) -> None:
        """Rows that were read, or refused by name; `known` are those of them that are known, None: the index is there to be compared."""
        if keys.is_empty():
            return
        self.read_rows += keys.len()
        self._read.append(key_hash(keys))
        if known is None:
            self._sums = False
        else:
            self._settled.append(_settled(known)[_HASH])

    def adds_up(self, census: Census) -> bool:
        """Whether the rows told by key and the known rows read are all the rows that are known and settled, as counted before."""
        if not self._sums:
            return False
        shown = [*self._untouched, *self._settled]
        sums = [key_sums(hashes) for hashes in shown]
        total = (sum(hashes.len() for hashes in shown), sum(high for high, _ in sums), sum(low for _, low in sums))
        return total == (census.settled, census.high, census.low)

    def unread(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys whose rows were not read, each once."""
        asked = pl.Series(_HASH, list(dict.fromkeys(keys)), dtype=pl.String)
        return asked.filter(~key_hash(asked).is_in(_all(self._read).implode())).to_list()

    def vanished(self, index: pl.DataFrame) -> pl.DataFrame:
        """The known rows of the index that were not shown at all."""
        shown = _all([*self._untouched, *self._read])
        return index.filter(pl.col("state") != MISSING).join(shown.to_frame(), on=_HASH, how="anti")

    def reappeared(self, missing: pl.DataFrame) -> list[str]:
        """Keys of the rows of `missing` (key, khash) that were told by key."""
        return missing.filter(pl.col("khash").is_in(_all(self._untouched).implode()))["key"].to_list()


def census_of(index: pl.DataFrame) -> Census:
    """What `store.shadow.census` counts, from an index that is at hand."""
    settled_rows = _settled(index)
    return Census(index.filter(pl.col("state") != MISSING).height, settled_rows.height, *key_sums(settled_rows[_HASH]))


def _settled(index: pl.DataFrame) -> pl.DataFrame:
    return index.filter(settled(pl.col("state"), pl.col("fingerprint")))


def _all(hashes: list[pl.Series]) -> pl.Series:
    return pl.concat([pl.Series(_HASH, [], dtype=pl.Int64), *(part.alias(_HASH) for part in hashes)])
