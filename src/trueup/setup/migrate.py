"""`trueup migrate`: one system becomes the source of truth of an entity, stage by stage.

    profile       read everything: rows, checksums, how far the systems agree
    duplicates    rows that look like one record
    standardise   values that cleaning changes, and those that cannot be used
    plan          what a run would write
    move          an ordinary run over the entity
    verify        every system against the agreed records
    lock          others are kept from changing what is changed elsewhere

What a stage found is in the state when the next one begins, so that a process that is killed goes on where it was. The stages that only
read are done again where a system or the configuration is not as it was. Everything that is written is written by ordinary runs, and taken
back by undoing them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trueup.core.locks import changed_where
from trueup.errors import UsageError
from trueup.reports.migration_facts import ACCEPTABLE, READING, STAGES, Progress, Returned
from trueup.runtime import locks
from trueup.runtime.contents import contents
from trueup.runtime.trail import decided
from trueup.setup import stages
from trueup.setup.stages import Found, Work, facts_of
from trueup.store import audit, migration, write_lock
from trueup.store.migration import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trueup.model import Config, Entity
    from trueup.runtime.workspace import Workspace

    Tick = Callable[[str, str, int], None]

_DO: Mapping[str, Callable[[Work], Found]] = {
    "profile": stages.profile,
    "duplicates": stages.duplicates,
    "standardise": stages.standardise,
    "plan": stages.plan,
    "move": stages.move,
    "verify": stages.verify,
    "lock": stages.lock,
}
_BEFORE: Mapping[str, Callable[[Work], Mapping[str, Any]]] = {"move": stages.before_move, "lock": stages.before_lock}


def standing(workspace: Workspace, name: str, to: str | None = None) -> Progress:
    """How far a migration is, from the state alone. Raises UsageError where none was begun."""
    entity = _entity(workspace.config, name)
    with workspace.store.read() as db:
        known = migration.of(db, name)
    if not known:
        raise UsageError(
            f"no migration of {name} was begun", hint=f"`trueup migrate {name} --to SYSTEM` begins one, and only looks at first"
        )
    progress = Progress(name, _target(known, to), known, changed_where(workspace.config, [entity.name]))
    stopped = next((stage for stage in known.values() if stage.status == "stopped"), None)
    if stopped is not None:
        progress.stopped_at, progress.why = stopped.name, str(stopped.facts.get("why", ""))
    return progress


def migrate(
    workspace: Workspace, name: str, to: str | None, *, until: str = "plan", accept: Collection[str] = (), tick: Tick | None = None
) -> Progress:
    """Go on with a migration, or begin it, up to a stage; stops where a person has to see to something that is not among `accept`.

    Raises UsageError, StateError, SystemError_'s children.
    """
    _check_stages(until, accept)
    entity = _entity(workspace.config, name)
    with workspace.store.read() as db:
        known = migration.of(db, name)
    target = _target(known, to) if known and (to is None or "move" in known) else to
    if target is None:
        raise UsageError(
            f"say which system becomes the source of truth of {name}", hint=f"--to SYSTEM, one of {', '.join(entity.mappings)}"
        )
    _check_owner(entity, target)
    progress = Progress(name, target, known, changed_where(workspace.config, [name]))
    if progress.next is None:
        return progress
    held, unread = contents(workspace.systems, entity, tick)
    work = Work(workspace, entity, target, held, unread, tick)
    _look_again(work, progress)
    for stage in STAGES[: STAGES.index(until) + 1]:
        if stage in progress.stages and progress.stages[stage].passed:
            continue
        _carry_out(work, progress, stage, accept)
        if progress.stopped_at is not None:
            break
    return progress


def back(workspace: Workspace, name: str, tick: Tick | None = None) -> Returned:
    """Take a migration back: open what it locked, undo its runs, newest first, and compare with what was there before.

    May be called again after it was broken off. Raises UsageError, StateError, StateLockedError.
    """
    entity = _entity(workspace.config, name)
    with workspace.store.read() as db:
        known = migration.of(db, name)
    if not known:
        raise UsageError(f"no migration of {name} was begun", hint="`trueup undo RUN` takes back a run, `trueup lock --remove` a lock")
    work = Work(workspace, entity, next(iter(known.values())).system, {}, {}, tick)
    returned = Returned(name, work.to)
    if "lock" in known:
        returned.locks = _open_again(workspace, name, known["lock"])
    for run in reversed(stages.moving_runs(work, known["move"].facts["after_run"]) if "move" in known else []):
        undone, _result = workspace.undo(run.id, tick=tick)
        returned.runs.append({"run": run.id, "values": undone.values, "rows": undone.rows, "refused": len(undone.refused)})
    if "move" in known:
        now, _unread = contents(workspace.systems, entity, tick)
        before = known["profile"].facts["systems"] if "profile" in known else {}
        held = facts_of(now)
        returned.same = {system: held[system] == content if system in held else None for system, content in before.items()}
    with workspace.store.write() as tx:
        migration.forget(tx, name, list(STAGES))
        decided(tx, "migrate back", {"entity": name, "to": work.to}, workspace.clock())
    return returned


# ---------------------------------------------------------------- what was asked


def _entity(config: Config, name: str) -> Entity:
    if name not in config.entities:
        raise UsageError(f"there is no entity {name!r}", hint=f"configured: {', '.join(config.entities)}")
    return config.entities[name]


def _check_stages(until: str, accept: Collection[str]) -> None:
    if until not in STAGES:
        raise UsageError(f"there is no stage {until!r}", hint=f"stages: {', '.join(STAGES)}")
    for stage in accept:
        if stage not in ACCEPTABLE:
            raise UsageError(f"nobody can go on past the stage {stage!r}", hint=f"--accept takes {', '.join(ACCEPTABLE)}")


def _target(known: Mapping[str, Stage], to: str | None) -> str:
    """The system of a migration that was begun. Raises UsageError where another one is named."""
    target = next(iter(known.values())).system
    if to is not None and to != target:
        raise UsageError(f"the migration to {target} was begun", hint="take it back with --back first, or go on with it")
    return target


def _check_owner(entity: Entity, to: str) -> None:
    """Raises UsageError where the configuration does not say that the system is the source of truth."""
    if to not in entity.mappings:
        raise UsageError(f"{to} does not show {entity.name}", hint=f"these do: {', '.join(entity.mappings)}")
    nobodys = [name for name in entity.shown(to) if entity.fields[name].source_of_truth is None]
    if nobodys:
        hint = f"say `source_of_truth: {to}` beside `match`, for all fields that name no other, and leave out their `conflict`"
        raise UsageError(f"the configuration does not say where {', '.join(nobodys)} of {entity.name} are changed", hint=hint)
    if not any(field.source_of_truth == to for field in entity.fields.values()):
        raise UsageError(f"no field of {entity.name} is changed in {to}", hint=f"say `source_of_truth: {to}` in the configuration")


# ---------------------------------------------------------------- stages


def _digest(config: Config) -> str:
    return hashlib.sha256(json.dumps(dict(config.digests), sort_keys=True).encode()).hexdigest()[:16]


def _look_again(work: Work, progress: Progress) -> None:
    """Forget what was found by stages that only read, where it is not so any more; not once something was moved."""
    profile = progress.stages.get("profile")
    if profile is None or "move" in progress.stages:
        return
    changed = []
    if profile.system != work.to:
        changed.append(f"it was begun for {profile.system}")
    if profile.facts.get("configuration") != _digest(work.workspace.config):
        changed.append("the configuration was changed")
    now = facts_of(work.held)
    moved = [name for name, content in profile.facts.get("systems", {}).items() if now.get(name) != content]
    changed += [f"{', '.join(moved)} changed"] if moved else []
    if profile.passed and changed:
        progress.notes.append(f"looked at anew: {'; '.join(changed)} since")
    if changed:
        with work.workspace.store.write() as tx:
            migration.forget(tx, progress.entity, list(READING))
        for stage in READING:
            progress.stages.pop(stage, None)


def _carry_out(work: Work, progress: Progress, name: str, accept: Collection[str]) -> None:
    """One stage: known to be begun before it begins, and to be over once all that it did is there."""
    workspace = work.workspace
    before = progress.stages.get(name)
    work.begun = before.facts if before is not None else {}
    work.begun = _BEFORE[name](work) if name in _BEFORE else {}
    begun = Stage(name, work.to, "running", workspace.clock(), None, audit.me(), work.begun)
    _keep(workspace, progress, begun)
    found = _DO[name](work)
    facts = {**work.begun, **found.facts}
    if name == "profile":
        facts["configuration"] = _digest(workspace.config)
    progress.details[name] = found.detail
    over = replace(begun, status="done", finished_at=workspace.clock(), facts=facts)
    if found.why and name in accept and found.status != stages.COULD_NOT:
        over = replace(over, status="accepted", facts={**facts, "why": found.why})
    elif found.why:
        over = replace(over, status="stopped", facts={**facts, "why": found.why})
        progress.stopped_at, progress.why, progress.status = name, found.why, found.status
    _keep(workspace, progress, over)


def _keep(workspace: Workspace, progress: Progress, stage: Stage) -> None:
    progress.stages[stage.name] = stage
    with workspace.store.write() as tx:
        migration.keep(tx, progress.entity, stage)
        if stage.status == "accepted":
            decided(tx, "migrate", {"entity": progress.entity, "to": progress.to, "accepted": stage.name}, workspace.clock())


def _open_again(workspace: Workspace, name: str, stage: Stage) -> list[tuple[str, str]]:
    """Take away the locks that the stage made, and no other."""
    before = {tuple(one) for one in stage.facts.get("locked_before", ())}
    with workspace.store.read() as db:
        mine = [one for one in write_lock.list_(db) if (one.system, one.object.label) not in before]
    shown = locks.look(workspace.config, workspace.systems, mine, locks.Asked(entities=(name,), whole_tables=True))
    places = {(one.system, one.object.label) for one in mine} & {(one.system, one.object) for one in shown.findings}
    return [(one.place, problem) for one, problem in locks.remove(workspace, locks.Asked(entities=(name,)), only=places)]
