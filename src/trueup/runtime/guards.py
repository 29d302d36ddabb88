"""Guards of a pass: count what a system's rows would change, compare with the limits and with what a person has decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import SYSTEM
from trueup.core.guard import Verdict, judge
from trueup.store import activity, cursor, hold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Entity
    from trueup.runtime.identify import Identified
    from trueup.runtime.observe import Observation
    from trueup.store import Db

WINDOW = timedelta(hours=1)


@dataclass
class GuardState:
    """One system's guard in one pass. `suspect`: so many rows read differently that the real edits must be counted first."""

    rows: int
    recent_updates: int
    ceiling_updates: int | None
    deletes: Verdict | None = None
    updates: Verdict | None = None
    suspect: bool = False
    refused: bool = False
    refused_deletes: bool = False
    edits: int = 0
    gone: int = 0
    whole: bool = True  # every row was looked at: what is not held now is not held any more
    decided: tuple[str, ...] = ()  # kinds whose decision is used up by this pass

    @property
    def held_updates(self) -> bool:
        """Whether this system's edits wait for a person."""
        return self.updates is not None

    @property
    def held_deletes(self) -> bool:
        """Whether this system's disappearances wait for a person."""
        return self.deletes is not None

    @property
    def held_count(self) -> int:
        """How many parts are held."""
        return int(self.held_updates) + int(self.held_deletes)

    def judge_updates(self, entity: Entity, edits: int) -> None:
        """Judge the counted edits."""
        self.suspect = False
        self.edits = edits
        if not self.refused:
            self.updates = judge(
                entity.guard, "updates", edits, rows=self.rows, recent=self.recent_updates, emptied=False, ceiling=self.ceiling_updates
            )

    def has_news(self, db: Db) -> bool:
        """Whether `commit` would change anything."""
        held = self.deletes is not None or self.updates is not None
        return held or (self.whole and hold.any_(db)) or bool(self.gone) or (bool(self.edits) and not self.refused)

    def commit(self, tx: Db, entity: Entity, system: str, now: datetime) -> None:
        """Record what is held, drop decisions that were used, and count for the rolling hour."""
        for kind, verdict in (("deletes", self.deletes), ("updates", self.updates)):
            if verdict is not None:
                counts = orjson.dumps({"count": verdict.count, "rows": verdict.held_rows, "emptied": verdict.emptied}).decode()
                hold.put(tx, entity.name, system, kind, counts=counts, limit=orjson.dumps({"count": verdict.limit}).decode(), since=now)
            elif self.whole:
                hold.clear(tx, entity.name, system, kind)
        if self.deletes is None and self.gone and not self.refused_deletes:
            activity.add(tx, entity.name, system, "deletes", at=now, rows=self.gone)
        if self.updates is None and self.edits and not self.refused:
            activity.add(tx, entity.name, system, "updates", at=now, rows=self.edits)


def held_lanes(db: Db, entity: Entity) -> set[str]:
    """Systems with a hold, decided or not: they are read whole, so that a decision meets everything that was held."""
    return set(hold.of(db, entity.name)["system"].to_list())


def guard_observations(
    db: Db, entity: Entity, observations: Mapping[str, Observation], found: Identified, now: datetime
) -> dict[str, GuardState]:
    """Judge disappearances, and find the systems whose edits must be counted precisely."""
    states: dict[str, GuardState] = {}
    for name, seen in observations.items():
        decisions = {row["kind"]: row for row in hold.of(db, entity.name, name, decided=True).iter_rows(named=True)}
        standing = cursor.get(db, entity.name, name)
        # Rows that were delivered there since its last complete pass are held as well.
        rows = max(standing.full_rows or 0, seen.known_rows)
        gone = found.gone.filter(pl.col(SYSTEM) == name).height
        # Where nothing happened now, nobody asks what happened before.
        deletes = activity.since(db, entity.name, name, "deletes", now - WINDOW) if gone and entity.guard is not None else 0
        updates = activity.since(db, entity.name, name, "updates", now - WINDOW) if seen.changed and entity.guard is not None else 0
        ceilings = {kind: row["ceiling"] for kind, row in decisions.items() if row["decision"] == "approved"}
        state = GuardState(rows, updates, ceilings.get("updates"), gone=gone, edits=seen.changed, whole=seen.full and seen.complete)
        state.refused = decisions.get("updates", {}).get("decision") == "refused"
        state.refused_deletes = decisions.get("deletes", {}).get("decision") == "refused"
        if not state.refused_deletes:
            state.deletes = judge(
                entity.guard,
                "deletes",
                gone,
                rows=rows,
                recent=deletes,
                emptied=seen.emptied and gone > 0,
                ceiling=ceilings.get("deletes"),
            )
        state.judge_updates(entity, seen.changed)
        if state.updates is not None:
            state.suspect, state.updates = True, None
        states[name] = state
    return states
