"""Guards of a pass: count what a system's rows would change, compare with the limits and with what a person has decided."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import GID, SYSTEM, cell_to_python
from trueup.core.frames import keep
from trueup.core.guard import Day, Verdict, drip, judge
from trueup.core.patterns import LOOKED_AT_SHARE, Edits, Usual
from trueup.core.undo import SETTING
from trueup.runtime.commit import value_json
from trueup.store import activity, cursor, history, hold, run
from trueup.store.golden import resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trueup.core.facts import Decision
    from trueup.core.patterns import Pattern
    from trueup.model import Entity
    from trueup.runtime.identify import Identified
    from trueup.runtime.observation import Observation
    from trueup.store import Db, Store

WINDOW = timedelta(hours=1)
DAY = timedelta(days=1)
REMEMBERED = timedelta(days=29)
"""What a system does on its busiest day is looked for so far back."""
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
SAID = ("edit", "lost", "overruled", "candidate")
"""Kinds of history that tell what a system said."""


@dataclass
class GuardState:
    """One system's guard in one pass. `suspect`: so many rows read differently that the real edits must be counted first."""

    rows: int
    recent_updates: float
    ceiling_updates: int | None
    deletes: Verdict | None = None
    updates: Verdict | None = None
    suspect: bool = False
    refused: bool = False
    refused_deletes: bool = False
    left: bool = False
    left_deletes: bool = False
    approved: frozenset[str] = frozenset()  # kinds that a person let pass
    edits: int = 0
    gone: int = 0
    now: datetime = LONG_AGO
    whole: bool = True  # every row was looked at: what is not held now is not held any more
    decided: tuple[Mapping[str, Any], ...] = ()  # holds (`store.hold`) whose decision this pass carries out
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # field -> its column, of another type now, and what became of it

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
        if not (self.refused or self.left):
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
        edits, seen = 0, Edits(entity, self.retyped)
        for decision in decisions:
            with store.read() as db:
                told, unchanged = _without_taken_in(db, entity, _of_system(decision.history, system))
                edits += max(0, decision.edited.get(system, 0) - unchanged)
                seen.add(_said(db, entity, told))
        with store.read() as db:
            usual = _usual(db, entity, system, self.now)
            self.recent_updates = min(self.recent_updates, _edited_lately(db, entity, system, self.now))
        self.judge_updates(entity, edits, seen.pattern(self.rows, entity.guard, usual) if entity.guard is not None else None)

    def is_worth_a_look(self, entity: Entity, changed: int) -> bool:
        """Whether so many rows read differently that it is looked at what their edits have in common."""
        if entity.guard is None or entity.guard.updates is None or self.refused or self.left:
            return False
        allowed = self.ceiling_updates is not None and changed <= self.ceiling_updates
        if self.retyped and changed and not allowed:
            return True
        return not allowed and changed >= max(entity.guard.at_least, LOOKED_AT_SHARE * self.rows)

    def words(self) -> Iterator[dict[str, Any]]:
        """The decisions of people that this pass carries out, as the run's summary keeps them."""
        held = {"updates": self.held_updates, "deletes": self.held_deletes}
        for row in self.decided:
            if not held[row["kind"]]:
                at = row["decided_at"].isoformat().replace("+00:00", "Z")
                names = ("id", "system", "kind", "decision")
                yield {name: row[name] for name in names} | {"who": row["decided_by"], "at": at}

    def has_news(self, *, holds: bool) -> bool:
        """Whether `commit` would change anything that the same pass goes by; `holds`: there are any. Counted edits are not that."""
        held = self.deletes is not None or self.updates is not None
        return held or (self.whole and holds) or bool(self.gone)

    @property
    def counts(self) -> bool:
        """Whether there are edits to be counted for the rolling hour."""
        return bool(self.edits) and not (self.refused or self.left)

    def commit(self, tx: Db, entity: Entity, system: str, now: datetime) -> None:
        """Record what is held, or that nothing is any more, and count for the rolling hour."""
        for name, verdict in (("deletes", self.deletes), ("updates", self.updates)):
            if verdict is not None:
                told: dict[str, object] = {"count": verdict.count, "rows": verdict.held_rows, "emptied": verdict.emptied}
                if verdict.pattern is not None:
                    told["pattern"] = _told(verdict.pattern, entity)
                counts = orjson.dumps(told).decode()
                hold.put(tx, entity.name, system, name, counts=counts, limit=orjson.dumps({"count": verdict.limit}).decode(), since=now)
            elif self.whole:
                hold.clear(tx, entity.name, system, name, decided=False)
        passed: tuple[tuple[activity.Kind, Verdict | None, int, bool], ...] = (
            ("deletes", self.deletes, self.gone, self.refused_deletes or self.left_deletes),
            ("updates", self.updates, self.edits, self.refused or self.left),
        )
        for kind, verdict, rows, said in passed:
            if verdict is None and rows and not said:
                activity.add(tx, entity.name, system, kind, at=now, rows=rows)
                activity.forget(tx, entity.name, system, kind, before=now - REMEMBERED)

    def carried_out(self, tx: Db, entity: Entity, system: str) -> None:
        """Every row was decided about: what a person said of them is done with. Not before, or a pass that is killed would forget it."""
        decisions: tuple[tuple[activity.Kind, Verdict | None], ...] = (("deletes", self.deletes), ("updates", self.updates))
        for kind, verdict in decisions:
            if verdict is None and self.whole:
                if kind in self.approved:  # a person has looked at all of it: what comes now is counted from here on
                    activity.forget(tx, entity.name, system, kind, since=self.now - DAY)
                hold.clear(tx, entity.name, system, kind, decided=True)


def answers(guards: Mapping[str, GuardState]) -> dict[str, frozenset[str]]:
    """What people said of whole systems, as `facts.Facts` wants to know it."""
    names = ("refused", "refused_deletes", "left", "left_deletes")
    return {name: frozenset(system for system, state in guards.items() if getattr(state, name)) for name in names}


@dataclass(frozen=True, slots=True)
class KnownMatters:
    """What the state held of open matters when a round began: any failures, any holds."""

    failures: bool
    holds: bool


def held_lanes(db: Db, entity: Entity) -> set[str]:
    """Systems with a hold, decided or not: they are read whole, so that a decision meets everything that was held."""
    return set(hold.of(db, entity.name)["system"].to_list())


def guard_observations(
    db: Db,
    entity: Entity,
    observations: Mapping[str, Observation],
    found: Identified,
    now: datetime,
    retyped: Mapping[str, Mapping[str, tuple[str, str]]],
) -> dict[str, GuardState]:
    """Judge disappearances, and find the systems whose edits must be counted precisely. `retyped` is told per system."""
    states: dict[str, GuardState] = {}
    for name, seen in observations.items():
        decisions = {row["kind"]: row for row in hold.of(db, entity.name, name, decided=True).iter_rows(named=True)}
        standing = cursor.get(db, entity.name, name)
        # Rows that were delivered there since its last complete pass are held as well.
        rows = max(standing.full_rows or 0, seen.known_rows)
        gone = keep(found.gone, found.gone[SYSTEM] == name).height
        # Where nothing happened now, nobody asks what happened before.
        deletes = activity.since(db, entity.name, name, "deletes", now - WINDOW) if gone and entity.guard is not None else 0
        updates = activity.since(db, entity.name, name, "updates", now - WINDOW) if seen.changed and entity.guard is not None else 0
        ceilings = {kind: row["ceiling"] for kind, row in decisions.items() if row["decision"] == "approved"}
        state = GuardState(
            rows, updates, ceilings.get("updates"), gone=gone, edits=seen.changed, now=now, whole=seen.full and seen.complete
        )
        state.decided = tuple(decisions.values())
        state.retyped = retyped.get(name, {})
        state.refused = decisions.get("updates", {}).get("decision") == "refused"
        state.refused_deletes = decisions.get("deletes", {}).get("decision") == "refused"
        state.approved = frozenset(ceilings)
        state.left = decisions.get("updates", {}).get("decision") == "left"
        state.left_deletes = decisions.get("deletes", {}).get("decision") == "left"
        if not (state.refused_deletes or state.left_deletes):
            state.deletes = _judged_deletes(db, entity, name, state, recent=deletes, emptied=seen.emptied, ceiling=ceilings.get("deletes"))
        state.judge_updates(entity, seen.changed)
        if state.updates is not None:
            state.suspect, state.updates = True, None
        state.suspect = state.suspect or state.is_worth_a_look(entity, seen.changed)
        states[name] = state
    return states


def _judged_deletes(
    db: Db, entity: Entity, system: str, state: GuardState, *, recent: int, emptied: bool, ceiling: int | None
) -> Verdict | None:
    """What is to be thought of the disappearances of this pass, and of those of the hour and the day."""
    guard, gone = entity.guard, state.gone
    found = judge(guard, "deletes", gone, rows=state.rows, recent=recent, emptied=emptied and gone > 0, ceiling=ceiling)
    if found is not None or gone == 0 or guard is None:
        return found
    return drip(guard, gone, _day(db, entity, system, state.now), rows=state.rows, ceiling=ceiling)


def _day(db: Db, entity: Entity, system: str, now: datetime) -> Day:
    """The deletes of a system in the last 24 hours, beside those of its busiest day before."""
    counted = activity.lately(db, entity.name, system, "deletes", now - REMEMBERED)
    today = counted.filter(pl.col("at") >= now - DAY)
    return Day(int(today["rows"].sum()), today.height, _busiest(counted, now))


def _edited_lately(db: Db, entity: Entity, system: str, now: datetime) -> float:
    """How many records a system has edited within the rolling hour: one that is edited again and again counts once."""
    first = run.first_since(db, now - WINDOW)
    return inf if first is None else history.records(db, entity.name, system, SAID, run=first)


def _usual(db: Db, entity: Entity, system: str, now: datetime) -> Usual:
    """What a system changed on its busiest day before the last 24 hours, and since when it is known."""
    known = run.first_started(db)
    days = (now - known).days if known is not None else 0
    return Usual(_busiest(activity.lately(db, entity.name, system, "updates", now - REMEMBERED), now), days)


def _busiest(counted: pl.DataFrame, now: datetime) -> int:
    """The rows of the busiest day, counted back from 24 hours ago."""
    before = counted.filter(pl.col("at") < now - DAY)
    days = before.group_by((pl.lit(now) - pl.col("at")).dt.total_days()).agg(pl.col("rows").sum())
    return int(days["rows"].max() or 0)  # type: ignore[arg-type]  # a sum of integers


def _told(pattern: Pattern, entity: Entity) -> dict[str, object]:
    """A pattern in its public form: what it does not say is left out, and values are as people write them."""

    def value(cell: str | None) -> object:
        known = entity.fields.get(pattern.field or "")
        return cell_to_python(cell, known) if known is not None else cell

    told = {name: said for name, said in asdict(pattern).items() if said is not None and name not in {"value", "examples"}}
    if pattern.value is not None:
        told["value"] = value(pattern.value)
    if pattern.examples:
        told["examples"] = [[value(before), value(after)] for before, after in pattern.examples]
    return {"kind": pattern.kind, "field": pattern.field, **told}


def _of_system(told: pl.DataFrame, system: str) -> pl.DataFrame:
    """What a system said otherwise, of the history that a merge would write."""
    return told.filter((pl.col(SYSTEM) == system) & pl.col("field").is_not_null() & pl.col("kind").is_in(list(SAID)))


def _without_taken_in(db: Db, entity: Entity, mine: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """What a system said otherwise, without references that only follow a record into the one that took it in: nobody edited these.

    And of how many records nothing is left then.
    """
    same = pl.Series([False] * mine.height, dtype=pl.Boolean)
    for name, field_ in entity.fields.items():
        if field_.type != "reference" or field_.entity is None:
            continue
        of_field = mine["field"] == name
        named = mine.select(
            *(pl.when(pl.Series(of_field)).then(pl.col(text).cast(pl.Int64, strict=False)).alias(text) for text in ("before", "after"))
        )
        alive = resolve_alias(db, field_.entity, named["before"])
        now = named.join(alive, left_on="before", right_on="id", how="left", maintain_order="left")
        same |= ((now["gid"] == now["after"]) & (now["before"] != now["after"])).fill_null(value=False)
    left = mine.filter(~same)
    return left, mine.filter(same).join(left, on=GID, how="anti")[GID].n_unique()


def _said(db: Db, entity: Entity, mine: pl.DataFrame) -> Iterator[tuple[str, str | None, str | None, bool]]:
    """What a system said otherwise (`_of_system`): see `core.patterns.Edits.add`."""
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
