"""A lost state, made anew from the systems: records are linked by the match rules. Nothing is written to any system."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trueup.errors import StateError
from trueup.runtime import keeping
from trueup.runtime.workspace import Workspace
from trueup.store import Store, conflict, failure, golden, history, parked, restoring
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trueup.connectors.base import Connector
    from trueup.model import RunSummary
    from trueup.store import Db

UNKNOWN = (
    "which rows were deleted while there was no state: a record that one system lacks is made there again by the next sync",
    "what counters, lists and texts were before: they are taken as the systems show them now",
    "who set a value, when, and what it was before: the history begins now",
    "what people decided: links by hand, rows kept apart, pauses, holds that were refused",
    "what was noted with `trueup manual done`, which reports were sent, and since when something differs",
)
"""What no system can tell."""


@dataclass(frozen=True, slots=True)
class RebuiltEntity:
    """One entity: records, what waits for a person, differences settled by rules, and per system (rows linked, of records nowhere else)."""

    records: int
    conflicts: int
    parked: int
    failures: int
    settled: int
    systems: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A rebuild: where the state that was there is now (None: there was none), the run that made the new one, and what came of it."""

    aside: str | None
    run: RunSummary
    entities: Mapping[str, RebuiltEntity]


def rebuild(
    workspace: Workspace,
    *,
    replacing: bool = False,
    connectors: Mapping[str, Connector] | None = None,
    tick: Callable[[str, str, int], None] | None = None,
) -> Rebuilt:
    """Make the state anew. One that is there is refused, or (`replacing`) kept aside; nothing is changed where a system cannot be read.

    Raises StateError, StateLockedError.
    """
    target, at = workspace.state_target, workspace.clock()
    if not replacing and not _nothing_there(target):
        raise StateError(
            "there is a state already",
            hint="`trueup sync` uses it; if it is damaged, `trueup restore` a backup, or `trueup rebuild --replace`, which keeps it aside",
        )
    fresh = keeping.beside(target)
    with restoring.held(target, "rebuild", at):
        restoring.remove(fresh)
        restoring.encrypted_like(target, fresh)
        try:
            with restoring.readable(target) as now, Store.open(fresh) as store, store.write() as tx:
                restoring.carry(tx, now, trail=True)
            with Workspace(replace(workspace.config, state=fresh), connectors=connectors, clock=workspace.clock) as anew:
                run = anew.meet_all("rebuild", tick)
                _whole(run)
                with anew.store.read() as db:
                    entities = {name: _entity(db, name, list(entity.mappings)) for name, entity in anew.config.entities.items()}
            aside = restoring.put_in_place(fresh, target, at)
        except BaseException:
            with suppress(StateError):
                restoring.remove(fresh)
            raise
    return Rebuilt(aside, run, entities)


def _nothing_there(target: str) -> bool:
    try:
        return keeping.missing(target)
    except StateError:
        return False


def _whole(run: RunSummary) -> None:
    """Raise StateError where some system could not be read: its records would be made again elsewhere."""
    wrong = [f"{name}: {part.error}" for entity in run.entities.values() for name, part in entity.systems.items() if part.error]
    if wrong or run.status == "failed":
        raise StateError(
            f"the state cannot be rebuilt without every system: {'; '.join(dict.fromkeys(wrong)) or run.error}",
            hint="see to that system, or take it out of the configuration, and run again; nothing was changed",
        )


def _entity(db: Db, name: str, systems: list[str]) -> RebuiltEntity:
    linked, alone = shadow_table.linked(db, name)
    return RebuiltEntity(
        records=golden.count(db, name),
        conflicts=conflict.count(db, name),
        parked=parked.count(db, name),
        failures=failure.count(db, name),
        settled=history.count(db, name, ("lost", "overruled")),
        systems={system: (linked.get(system, 0), alone.get(system, 0)) for system in systems},
    )
