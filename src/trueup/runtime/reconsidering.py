"""Rows that were taken in before it was known that they share their key with other rows: nothing that was read of them counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY
from trueup.core.frames import is_given, keep, one_of

if TYPE_CHECKING:
    from trueup.runtime.observation import Observation
    from trueup.runtime.spill import Spill


def take_back(spill: Spill, seen: Observation, keys: frozenset[str]) -> None:
    """Forget these rows, in the spill as well.

    New ones stay in the spill, as rows beside them are known by their place: they are not matched with any record, and so nothing is
    made of them.
    """
    seen.leave_out(keys)
    left = pl.Series(KEY, sorted(keys), dtype=pl.String)
    for page in range(seen.pages):
        bucket = (seen.system, page)
        for rows in list(spill.take(bucket)):
            spill.add(bucket, keep(rows, ~(one_of(rows[KEY], left) & is_given(rows[GID]))))
