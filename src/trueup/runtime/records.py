"""Find a record as people name it: `system:key` or a golden id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.errors import UsageError
from trueup.store import failure, golden, parked
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from trueup.runtime.workspace import Workspace
    from trueup.store import Db

LONGEST_ID = 19
"""Digits that no golden id has."""


def find_record(workspace: Workspace, db: Db, entity: str, name: str) -> int:
    """The golden id of a record. Raises UsageError where there is none."""
    if entity not in workspace.config.entities:
        raise UsageError(f"there is no entity {entity!r}", hint=f"configured: {', '.join(workspace.config.entities)}")
    system, colon, key = name.partition(":")
    if colon and system in workspace.config.entities[entity].mappings:
        link = shadow_table.link_of(db, entity, system, key)
        if link is not None and link[0] is not None:
            return link[0]
        raise UsageError(f"{entity}: no record is linked to {key!r} in {system}", hint=_why_unlinked(db, entity, system, key))
    if (
        name.isascii()
        and name.isdigit()
        and len(name) < LONGEST_ID
        and not golden.fetch(db, entity, pl.Series([int(name)], dtype=pl.Int64)).is_empty()
    ):
        return int(name)
    raise UsageError(f"there is no {entity} {name!r}", hint="give a golden id, or system:key")


def record_named(workspace: Workspace, entity: str, name: str) -> tuple[dict[str, list[str]], frozenset[int]]:
    """What to look at for one record as people name it: the keys per system, and its golden id.

    A row that nobody knows yet is looked at in its own system, and has no id. Raises UsageError as `find_record`.
    """
    config = workspace.config.entities[entity]
    system, colon, key = name.partition(":")
    with workspace.store.read() as db:
        if colon and system in config.mappings and shadow_table.link_of(db, entity, system, key) is None:
            return {system: [key]}, frozenset()
        gid = find_record(workspace, db, entity, name)
        return shadow_table.keys_of(db, entity, gid), frozenset({gid})


def _why_unlinked(db: Db, entity: str, system: str, key: str) -> str:
    """What a person can do about a key that has no record."""
    for row in parked.of(db, entity, system).filter(pl.col("key") == key).iter_rows(named=True):
        return f"the row is parked: {row['why']}; see `trueup matches`"
    for row in failure.of(db, entity, system).filter(pl.col("key") == key).iter_rows(named=True):
        return f"the row could not be understood: {row['reason']}; see `trueup failures`"
    return "`trueup sync` first, if the row is new"
