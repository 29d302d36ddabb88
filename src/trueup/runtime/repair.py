"""Repair what a verification found: the rows that differ are observed again by an ordinary pass, so that nobody's edit is trampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.runtime.apart import bring_together
from trueup.runtime.renames import carry_out
from trueup.runtime.verify import verify_systems
from trueup.store import shadow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.reports.verify_facts import Agreement
    from trueup.runtime.verify import Suspects
    from trueup.runtime.workspace import Workspace


def verify_and_repair(workspace: Workspace, names: Sequence[str], found: Agreement, again: Mapping[str, Suspects]) -> Agreement:
    """Run a pass over everything that differs, and verify once more. Raises StateLockedError where another process works."""
    before = {
        name: sum(item.differ + item.missing + item.extra for item in entity.systems.values()) for name, entity in found.entities.items()
    }
    for name in names:
        if again[name].anything:
            _repair(workspace, name, again[name])
    after, _rest = verify_systems(workspace.config, workspace.systems, workspace.store, names)
    after.seconds += found.seconds
    after.repaired = before
    return after


def _repair(workspace: Workspace, name: str, suspects: Suspects) -> None:
    """One entity's pass over the suspects and every other row of their records."""
    records = pl.Series("gid", sorted(suspects.records), dtype=pl.Int64)
    keys = {system: dict.fromkeys(found) for system, found in suspects.keys.items()}
    with workspace.lock("verify --repair"):
        carry_out(workspace.store, workspace.config)
        with workspace.store.read() as db:
            for system, key in shadow.by_golden(db, name, records).select("system", "key").rows():
                keys.setdefault(system, {})[key] = None
        with workspace.store.write() as tx:
            for system, found in keys.items():
                # Forget how these rows read, so that they are compared value by value whatever they look like.
                unknown = pl.DataFrame(
                    {"key": list(found), "fingerprint": [None] * len(found)}, schema={"key": pl.String(), "fingerprint": pl.Int64()}
                )
                shadow.set_fingerprint(tx, name, system, unknown)
            bring_together(tx, workspace.config.entities[name], records)
        workspace.look_again(name, {system: list(found) for system, found in keys.items()}, suspects.records)
