"""Chunks: the rows of a pass dealt by golden id, the same record's rows from all systems together, deletes first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.runtime.spill import Spill

CHUNK_ROWS = 20_000
WAITING_FOR = 2
"""A page whose rows belong to at most so many chunks is read once for each of them; any other one is dealt out at once."""


@dataclass(eq=False)
class Page:
    """One page of a reading, in the spill: `links` (__key, _gid) are the golden ids of its new rows, `known` those of the others.

    `held`: edits of this system are held, so that known rows take no part. `uses` counts the chunks that wait for it.
    """

    system: str
    number: int
    links: pl.DataFrame
    known: pl.Series
    held: bool = False
    uses: int = 0

    @property
    def gids(self) -> pl.Series:
        """The golden ids of the rows that take part."""
        return self.links["_gid"] if self.held else pl.concat([self.links["_gid"], self.known.alias("_gid")])

    def take(self, spill: Spill) -> Iterator[pl.DataFrame]:
        """The rows that have a golden id; they are freed when nobody waits for them any more."""
        self.uses -= 1
        bucket = (self.system, self.number)
        for rows in spill.look(bucket) if self.uses > 0 else spill.take(bucket):
            linked = rows.join(self.links, on=KEY, how="left", maintain_order="left")
            if self.held:
                linked = linked.filter(pl.col(GID).is_null())
            yield linked.with_columns(pl.coalesce(GID, "_gid").alias(GID)).drop("_gid").filter(pl.col(GID).is_not_null())


def _together(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts as one; the same row may come by cursor and by key: the later reading stands."""
    if len(parts) == 1:
        return parts[0]
    return pl.concat(parts, how="vertical_relaxed").unique(KEY, keep="last", maintain_order=True)


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
        self._waiting: dict[int, list[Page]] = defaultdict(list)

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

    def add(self, page: Page) -> None:
        """Deal a page's rows into their chunks.

        The pages of a first load, and those of an ordinary pass, hold rows of one chunk or two: they stay where they are until then.
        """
        numbers = self._numbers(page.gids).unique().to_list() if self.count > 1 else [0]
        if len(numbers) <= WAITING_FOR:
            for number in numbers:
                self._waiting[number].append(page)
                page.uses += 1
            return
        for rows in page.take(self.spill):
            dealt = rows.with_columns(self._numbers(rows[GID]).alias("_chunk"))
            for (number,), part in dealt.partition_by("_chunk", as_dict=True, include_key=False).items():
                self.spill.add(("chunk", page.system, number), part)

    def frames(self, number: int) -> dict[str, pl.DataFrame]:
        """The rows of a chunk, per system; given away."""
        parts: dict[str, list[pl.DataFrame]] = {}
        for bucket in self.spill.buckets():
            if isinstance(bucket, tuple) and bucket[0] == "chunk" and bucket[2] == number:
                parts.setdefault(bucket[1], []).extend(self.spill.take(bucket))
        for page in self._waiting.pop(number, []):
            for rows in page.take(self.spill):
                mine = rows if self.count == 1 else rows.filter(self._numbers(rows[GID]) == number)
                if not mine.is_empty():
                    parts.setdefault(page.system, []).append(mine)
        return {system: _together(rows) for system, rows in parts.items()}

    def gone(self, number: int) -> pl.DataFrame:
        """Disappearances: all of them are in the first chunk."""
        return self.all_gone if number == 0 else self.all_gone.clear()

    def others(self, number: int) -> pl.Series:
        """Other records of a chunk."""
        if self.count == 1 or self.leftovers.is_empty():
            return self.leftovers if number == 0 else self.leftovers.clear()
        return self.leftovers.filter(self._numbers(self.leftovers) == number)
