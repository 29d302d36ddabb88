"""Chunks: the rows of a pass dealt by golden id, the same record's rows from all systems together, deletes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.runtime.spill import Spill

CHUNK_ROWS = 20_000


@dataclass
class Chunks:
    """Rows, disappearances and other records, dealt into chunks by golden id; the first chunk holds every delete.

    Chunks are ranges of ids, in order, so that a first load appends to the state. `bounds` are the first ids of all but the first.
    """

    bounds: pl.Series
    spill: Spill
    all_gone: pl.DataFrame
    leftovers: pl.Series

    @classmethod
    def over(cls, gids: pl.Series, spill: Spill, gone: pl.DataFrame, leftovers: pl.Series) -> Chunks:
        """Chunks of about CHUNK_ROWS records each."""
        bounds = gids.clear() if gids.len() <= CHUNK_ROWS else gids.unique().sort().gather_every(CHUNK_ROWS, CHUNK_ROWS)
        return cls(bounds, spill, gone, leftovers)

    def __post_init__(self) -> None:
        self._doomed = self.all_gone[GID].unique()

    @property
    def count(self) -> int:
        """How many chunks there are; at least one."""
        return self.bounds.len() + 1

    @property
    def order(self) -> Iterator[int]:
        """The chunks, deletes first."""
        return iter(range(self.count))

    def _numbers(self, gids: pl.Series) -> pl.Series:
        """The chunk of each record."""
        dealt = self.bounds.search_sorted(gids, side="right").cast(pl.Int64)
        if self._doomed.is_empty():
            return dealt
        return pl.select(pl.when(gids.is_in(self._doomed.implode())).then(0).otherwise(dealt)).to_series()

    def add(self, system: str, rows: pl.DataFrame) -> None:
        """Deal rows with a golden id into their chunks."""
        if self.count == 1:
            self.spill.add(("chunk", system, 0), rows)
            return
        dealt = rows.with_columns(self._numbers(rows[GID]).alias("_chunk"))
        for (number,), part in dealt.partition_by("_chunk", as_dict=True, include_key=False).items():
            self.spill.add(("chunk", system, number), part)

    def frames(self, number: int) -> dict[str, pl.DataFrame]:
        """The rows of a chunk, per system; given away."""
        found: dict[str, pl.DataFrame] = {}
        for bucket in self.spill.buckets():
            if isinstance(bucket, tuple) and bucket[0] == "chunk" and bucket[2] == number:
                parts = list(self.spill.take(bucket))
                rows = pl.concat(parts, how="vertical_relaxed") if len(parts) > 1 else parts[0]
                # The same row may come by cursor and by key: the later reading stands.
                found[bucket[1]] = rows.unique(KEY, keep="last", maintain_order=True) if len(parts) > 1 else rows
        return found

    def gone(self, number: int) -> pl.DataFrame:
        """Disappearances: all of them are in the first chunk."""
        return self.all_gone if number == 0 else self.all_gone.clear()

    def others(self, number: int) -> pl.Series:
        """Other records of a chunk."""
        if self.count == 1 or self.leftovers.is_empty():
            return self.leftovers if number == 0 else self.leftovers.clear()
        return self.leftovers.filter(self._numbers(self.leftovers) == number)
