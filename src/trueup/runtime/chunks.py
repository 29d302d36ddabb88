"""Chunks: the rows of a pass dealt by golden id, the same record's rows from all systems together, deletes first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY
from trueup.core.frames import distinct, is_given, keep, united

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.runtime.spill import Spill

CHUNK_ROWS = 20_000
SORTED_ROWS = 500_000
SAMPLED_ROWS = 10_000
NO_LINKS = pl.DataFrame(schema={"page": pl.Int32(), "place": pl.Int32(), "_gid": pl.Int64()})
UNLINKED = pl.DataFrame(schema={"place": pl.Int32(), "_gid": pl.Int64()})
"""The links of a page without new rows that are linked."""
WAITING_FOR = 2
"""A page whose rows belong to at most so many chunks is read once for each of them; any other one is dealt out at once."""


@dataclass(eq=False)
class Page:
    """One page of a reading, in the spill. `links` (place, _gid): the golden ids of its new rows, which are numbered from 0 in `place`.

    `known` are the ids of the other rows.

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
        return self.links["_gid"] if self.held else united([self.links["_gid"], self.known.alias("_gid")])

    def take(self, spill: Spill) -> Iterator[pl.DataFrame]:
        """The rows that have a golden id; they are freed when nobody waits for them any more."""
        self.uses -= 1
        bucket = (self.system, self.number)
        for rows in spill.look(bucket) if self.uses > 0 else spill.take(bucket):
            if self.held:
                rows = keep(rows, ~is_given(rows[GID]))  # noqa: PLW2901  the rows that take part
            linked = self._linked(rows)
            yield keep(linked, is_given(linked[GID]))

    def _linked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the golden ids of new ones."""
        fresh = ~is_given(rows[GID])
        if not fresh.any():
            return rows
        if fresh.all() and self.links.height == rows.height and self.links["place"].is_sorted():
            return rows.with_columns(self.links["_gid"].alias(GID))
        place = pl.when(fresh).then(fresh.cum_sum() - 1).cast(pl.Int32).alias("place")
        linked = rows.with_columns(place).join(self.links, on="place", how="left", maintain_order="left")
        return linked.with_columns(pl.coalesce(GID, "_gid").alias(GID)).drop("place", "_gid")


def _together(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts as one; the same row may come by cursor and by key: the later reading stands."""
    if len(parts) == 1:
        return parts[0]
    alike = all(part.columns == parts[0].columns for part in parts)  # of rows that nobody touched there may be less
    return pl.concat(parts, how="vertical_relaxed" if alike else "diagonal_relaxed").unique(KEY, keep="last", maintain_order=True)


def bare(links: pl.DataFrame) -> pl.DataFrame:
    """Links without keys, as NO_LINKS. Column by column, as in core/match.py: a `select` would copy the keys before it drops them."""
    return pl.DataFrame({"page": links["page"], "place": links["place"], "_gid": links[GID]})


def bounds_of(gids: Sequence[pl.Series]) -> pl.Series:
    """The first ids of all chunks but the first, of CHUNK_ROWS records each; `gids` may name a record several times.

    They are put in order some at a time, as sorting takes memory; where to cut is told by a sample.
    """
    total = sum(part.len() for part in gids)
    if total <= CHUNK_ROWS:
        return pl.Series(GID, [], dtype=pl.Int64)
    sample = pl.concat([part.gather_every(1 + total // SAMPLED_ROWS).alias(GID) for part in gids]).unique().sort()
    cuts = sample.gather_every(1 + sample.len() * SORTED_ROWS // total).slice(1).to_list()
    firsts: list[pl.Series] = []
    done = 0
    for low, high in pairwise([None, *cuts, None]):
        some = pl.concat([_between(part, low, high).alias(GID) for part in gids]).unique().sort()
        firsts.append(some.gather_every(CHUNK_ROWS, -done % CHUNK_ROWS))
        done += some.len()
    return pl.concat(firsts).slice(1)


def _between(gids: pl.Series, low: int | None, high: int | None) -> pl.Series:
    """Those from `low` on and before `high`; None: no end."""
    wanted = gids.is_not_null()
    if low is not None:
        wanted &= gids >= low
    if high is not None:
        wanted &= gids < high
    return gids.filter(wanted)


@dataclass
class Chunks:
    """Rows, disappearances and other records, dealt into chunks by golden id; the first chunk holds every delete.

    Chunks are ranges of ids, in order, so that a first load appends to the state. `bounds` are the first ids of all but the first.
    """

    bounds: pl.Series
    spill: Spill
    all_gone: pl.DataFrame
    leftovers: pl.Series

    def __post_init__(self) -> None:
        self._doomed = distinct(self.all_gone[GID])
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
                mine = rows if self.count == 1 else keep(rows, self._numbers(rows[GID]) == number)
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
