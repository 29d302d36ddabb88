"""Guards of a pass: count what a system's rows would change, compare with the limits and with what a person has decided."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import GID, SYSTEM
from trueup.core.guard import Verdict, judge
from trueup.core.patterns import LOOKED_AT_SHARE, Edits
from trueup.core.undo import SETTING
from trueup.runtime.commit import value_json
from trueup.store import activity, cursor, history, hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from trueup.core.facts import Decision
    from trueup.core.patterns import Pattern
    from trueup.model import Entity
    from trueup.runtime.identify import Identified
    from trueup.runtime.observe import Observation
    from trueup.store import Db, Store

WINDOW = timedelta(hours=1)
SAID = ("edit", "lost", "overruled", "candidate")
"""Kinds of history that tell what a system said."""


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

    def judge_updates(self, entity: Entity, edits: int, pattern: Pattern | None = None) -> None:
        """Judge the counted edits, and what they have in common."""
        self.suspect = False
        self.edits = edits
        if not self.refused:
            self.updates = judge(
                entity.guard,
                "updates",
                edits,
                rows=self.rows,
                recent=self.recent_updates,
                emptied=False,
                ceiling=self.ceiling_updates,
                pattern=pattern,
            )

    def judge_precisely(self, store: Store, entity: Entity, system: str, decisions: Iterable[Decision]) -> None:
        """Count what would be decided about this system's rows, look for a pattern in it, and judge."""
        edits, seen = 0, Edits(entity)
        for decision in decisions:
            edits += decision.edited.get(system, 0)
            with store.read() as db:
                seen.add(_said(db, entity, system, decision.history))
        self.judge_updates(entity, edits, seen.pattern(self.rows, entity.guard.at_least) if entity.guard is not None else None)

    def is_worth_a_look(self, entity: Entity, changed: int) -> bool:
        """Whether so many rows read differently that it is looked at what their edits have in common."""
        if entity.guard is None or entity.guard.updates is None or self.refused:
            return False
        allowed = self.ceiling_updates is not None and changed <= self.ceiling_updates
        return not allowed and changed >= max(entity.guard.at_least, LOOKED_AT_SHARE * self.rows)

    def has_news(self, db: Db) -> bool:
        """Whether `commit` would change anything."""
        held = self.deletes is not None or self.updates is not None
        return held or (self.whole and hold.any_(db)) or bool(self.gone) or (bool(self.edits) and not self.refused)

    def commit(self, tx: Db, entity: Entity, system: str, now: datetime) -> None:
        """Record what is held, drop decisions that were used, and count for the rolling hour."""
        for kind, verdict in (("deletes", self.deletes), ("updates", self.updates)):
            if verdict is not None:
                told: dict[str, object] = {"count": verdict.count, "rows": verdict.held_rows, "emptied": verdict.emptied}
                if verdict.pattern is not None:
                    told["pattern"] = asdict(verdict.pattern)
                counts = orjson.dumps(told).decode()
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
        state.suspect = state.suspect or state.is_worth_a_look(entity, seen.changed)
        states[name] = state
    return states


def _said(db: Db, entity: Entity, system: str, told: pl.DataFrame) -> Iterator[tuple[str, str | None, str | None, bool]]:
    """What a system said otherwise, from the history that a merge would write: see `core.patterns.Edits.add`."""
    mine = told.filter((pl.col(SYSTEM) == system) & pl.col("field").is_not_null() & pl.col("kind").is_in(list(SAID)))
    if mine.is_empty():
        return
    earlier = {
        (gid, name, text)
        for kind in SETTING
        for gid, name, text in history.lines(db, entity.name, mine[GID].unique(), kind).select("gid", "field", "before").rows()
    }
    for gid, name, before, after in mine.select(GID, "field", "before", "after").rows():
        text = value_json(after, entity, name)
        yield name, before, after, text is not None and (gid, name, text) in earlier
