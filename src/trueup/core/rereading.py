"""Rereading: rows read under the mapping of now and under those of before, so that a changed mapping is not taken for changed data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import WAS
from trueup.core.checks import check_cells
from trueup.core.fingerprint import native_fingerprint
from trueup.core.frames import differ, is_given
from trueup.core.mapping_in import blank_to_null, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trueup.core.mapping import CompiledMapping

_LISTS = pl.List(pl.String())


@dataclass(frozen=True, slots=True)
class BothWays:
    """Native rows, row by row, as they are read now and as they were read before.

    otherwise  Boolean: some field reads otherwise than it did, or cannot be accepted any more
    bad        Boolean: some field cannot be read or accepted now
    now        the cells of the fields that may read otherwise
    past       the same under each mapping of before, for the fields that it can read
    """

    otherwise: pl.Series
    bad: pl.Series
    now: pl.DataFrame
    past: tuple[pl.DataFrame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rereading:
    """How one system's rows were read, beside how they are read now.

    now        the mapping of now
    past       the mappings that may be behind the shadows, oldest first, each for those of `fields` alone which it can still read
    fields     fields that read otherwise now than under any of them; one that none of them can read has no base
    judged     fields of which the checks changed
    every_row  more changed than how fields are read and checked: each row is to be looked at in full
    prints     sets of native columns, one for each way in which the known fingerprints may have been made; empty: that is not known
    """

    now: CompiledMapping
    past: tuple[CompiledMapping, ...]
    fields: tuple[str, ...]
    judged: tuple[str, ...] = ()
    every_row: bool = True
    prints: tuple[tuple[str, ...], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The native columns that all these ways of reading need, those of the mapping of now first."""
        return tuple(dict.fromkeys(name for mapping in (self.now, *self.past) for name in mapping.read_columns))

    def untouched(self, native: pl.DataFrame, known: pl.Series, prints: Mapping[frozenset[str], pl.Series] | None = None) -> pl.Series:
        """Boolean per row: it stands there as it did when its fingerprint was taken, whatever it is taken for now.

        `prints` are fingerprints of these rows that are known already, by the columns that they are made of.
        """
        same = pl.repeat(value=False, n=native.height, dtype=pl.Boolean, eager=True)
        for names in self.prints:
            made = (prints or {}).get(frozenset(names))
            same |= ((native_fingerprint(native, names) if made is None else made) == known).fill_null(value=False)
        return same

    def otherwise(self, native: pl.DataFrame) -> pl.Series:
        """Boolean per row: some field reads otherwise than it did, or cannot be accepted any more."""
        return self.both_ways(native).otherwise

    def both_ways(self, native: pl.DataFrame) -> BothWays:
        """The rows as they are read now and were read before, as far as that may differ."""
        names = {*self.fields, *self.judged}
        rows = blank_to_null(native) if self.now.empty_is_null else native
        readers = [reader for reader in self.now.readers if reader.field.name in names]
        read = read_fields(rows, readers, self.now.decimals, self.now.column_types)
        broken = check_cells(read.cells, [check for check in self.now.checks if check.field in names])
        at_fault = pl.concat([read.issues["row"], broken["row"].cast(pl.UInt32)])
        bad = pl.int_range(native.height, dtype=pl.UInt32, eager=True).is_in(at_fault.implode())
        past = tuple(mapping.understood(native, self.fields) for mapping in self.past)
        differs = bad
        for before in past:
            for name in self.fields:
                differs = differs | (differ(read.cells[name], before[name]) if name in before.columns else is_given(read.cells[name]))
        return BothWays(differs, bad, read.cells[list(self.fields)], past)

    def was(self, native: pl.DataFrame, translated: Callable[[CompiledMapping, pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        """Per field a column `__was:FIELD`: the distinct cells that the mappings of before give for each row, absent ones left out.

        `translated` turns the references among the cells of one of these mappings into golden ids.
        """
        return self.listed([translated(mapping, mapping.understood(native, self.fields)) for mapping in self.past], native.height)

    def listed(self, past: Collection[pl.DataFrame], rows: int) -> pl.DataFrame:
        """What so many rows read as under the mappings of before, as `was` tells it."""
        columns = [pl.Series(WAS + name, [[]], dtype=_LISTS).new_from_index(0, rows) for name in self.fields]
        for number, name in enumerate(self.fields):
            cells = [reading[name].alias(str(at)) for at, reading in enumerate(past) if name in reading.columns]
            if len(cells) == 1 and rows and not cells[0].null_count():  # nearly always
                columns[number] = cells[0].reshape((rows, 1)).arr.to_list().alias(WAS + name)
            elif cells:
                listed = pl.concat_list(pl.all()).list.drop_nulls().list.unique()
                columns[number] = pl.DataFrame(cells).select(listed.alias(WAS + name)).to_series()
        return pl.DataFrame(columns)
