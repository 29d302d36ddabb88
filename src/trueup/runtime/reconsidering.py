"""Rows that share their key with other rows, which is known only once a list has shown several: nothing that is read of them counts.

Asked for such a key alone, the system shows one of them. Until a complete reading shows no more than one, they are not asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY
from trueup.core.frames import is_given, keep, one_of
from trueup.runtime.observation import SHARED
from trueup.store import unsettled_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.runtime.observation import Observation
    from trueup.runtime.spill import Spill
    from trueup.store import Store


def not_shared(store: Store, entity: str, system: str, keys: Sequence[str]) -> Sequence[str]:
    """Those of the keys under which no list has shown several rows."""
    with store.read() as db:
        standing = unsettled_key.of(db, entity, system)
    shared = {key for key, why in zip(standing["key"].to_list(), standing["why"].to_list(), strict=True) if why == SHARED}
    return [key for key in keys if key not in shared] if shared else keys


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
