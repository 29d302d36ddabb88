"""What each stage of a migration does; see setup/migrate.py. A stage says what it found; whether the next may follow is decided there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from trueup.reports.migration_facts import dirty_text, duplicates_text
from trueup.reports.runs import attention, changes_text, planned_total
from trueup.reports.verify_facts import verify_text
from trueup.runtime import locks
from trueup.runtime.contents import contents
from trueup.runtime.drift import measure_drift
from trueup.runtime.summaries import summary_dict
from trueup.store import run as run_table
from trueup.store import write_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trueup.model import Entity, RunSummary
    from trueup.reports.drift_facts import EntityDrift
    from trueup.runtime.contents import Content
    from trueup.runtime.workspace import Workspace
    from trueup.store.run import Run

COULD_NOT, NEEDS_A_PERSON, HELD = 1, 3, 4
SHOWN_CHANGES = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a stage found: facts for the state (names, counts, checksums), examples to be shown, and why the next must not follow.

    `status` is the exit status where `why` says something; empty: the stage is done.
    """

    facts: Mapping[str, Any]
    detail: str = ""
    why: str = ""
    status: int = NEEDS_A_PERSON


@dataclass
class Work:
    """What the stages of one call share. `held` is what the systems held when it began, `begun` what the state knew of the stage."""

    workspace: Workspace
    entity: Entity
    to: str
    held: Mapping[str, Content]
    unread: Mapping[str, str]
    tick: Callable[[str, str, int], None] | None = None
    begun: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def drift(self) -> EntityDrift:
        """How far the systems disagree; measured when first asked for."""
        config, systems = self.workspace.config, self.workspace.systems
        return measure_drift(config, systems, [self.entity.name], self.workspace.clock(), self.tick).entities[self.entity.name]

    @property
    def command(self) -> str:
        """What the list of runs shows of a moving run."""
        return f"migrate {self.entity.name} --to {self.to}"


def facts_of(held: Mapping[str, Content]) -> dict[str, Any]:
    """Counts and checksums for the state."""
    return {name: asdict(content) for name, content in held.items()}


def profile(work: Work) -> Found:
    """Read everything: rows, checksums, how far the systems agree."""
    if work.unread:
        return Found({}, why=f"every system must be read for this: {'; '.join(work.unread.values())}", status=COULD_NOT)
    if work.drift.left_out:
        return Found({}, why="; ".join(work.drift.left_out.values()), status=COULD_NOT)
    return Found(
        {
            "systems": facts_of(work.held),
            "records": work.drift.records,
            "in_all": work.drift.in_all,
            "agreement": work.drift.agreement,
            "only_in": {name: work.drift.only_in(name).records for name in work.drift.systems},
        }
    )


def duplicates(work: Work) -> Found:
    """Rows that look like one record, by the match rules."""
    within = {name: facts.duplicates for name, facts in work.drift.systems.items()}
    ambiguous = {name: facts.ambiguous for name, facts in work.drift.systems.items()}
    facts = {"within": within, "ambiguous": ambiguous}
    if not any(within.values()) and not any(ambiguous.values()):
        return Found(facts)
    merges = f"`trueup dedupe {work.entity.name}` shows and merges them"
    why = f"some rows look like one record: {merges}; those that are left are parked by the move, for `trueup matches`"
    return Found(facts, detail=duplicates_text(work.drift), why=why)


def standardise(work: Work) -> Found:
    """Values that cleaning changes, and those that cannot be used."""
    values: dict[str, int] = {}
    by: dict[str, dict[str, int]] = {}
    for item in work.drift.dirty:
        values[item.kind] = values.get(item.kind, 0) + item.count
        counts = by.setdefault(f"{item.system}.{item.field}", {})
        counts[item.kind] = counts.get(item.kind, 0) + item.count
    refused = sum(facts.refused for facts in work.drift.systems.values())
    facts = {"values": values, "by": by, "refused": refused}
    detail = dirty_text(work.drift)
    if not refused:
        return Found(facts, detail)
    return Found(
        facts, detail, why=f"some rows cannot be used, and would stay behind: mend them (`trueup profile {work.entity.name}` says more)"
    )


def plan(work: Work) -> Found:
    """What a run would write."""
    result = work.workspace.plan([work.entity.name], full=True, tick=work.tick)
    if result.status == "failed":
        return Found({}, why=result.error or "no run is possible", status=COULD_NOT)
    body = summary_dict(result, shown_changes=SHOWN_CHANGES)
    summary = result.entities[work.entity.name]
    facts = {
        "systems": {name: asdict(part.delivered) for name, part in summary.systems.items()},
        "overruled": summary.overruled,
        "conflicts": summary.conflicts_opened + summary.conflicts_open,
        "parked": summary.parked,
        "held": summary.held,
    }
    return Found(facts, detail=changes_text(body["changes"], planned_total(body)))


def before_move(work: Work) -> Mapping[str, Any]:
    """From which run on the runs of this migration are counted; as it was where the stage was begun before."""
    if "after_run" in work.begun:
        return {"after_run": work.begun["after_run"]}
    with work.workspace.store.read() as db:
        newest = run_table.list_(db, 1)
    return {"after_run": newest[0].id if newest else 0}


def move(work: Work) -> Found:
    """An ordinary run over the entity."""
    result = work.workspace.sync([work.entity.name], full=True, command=work.command, tick=work.tick)
    delivered: dict[str, dict[str, int]] = {}
    runs = moving_runs(work, work.begun["after_run"])
    for run in runs:
        for name, part in _parts(run, work.entity.name):
            counts = delivered.setdefault(name, {})
            for kind, number in part["delivered"].items():
                counts[kind] = number if kind == "pending" else counts.get(kind, 0) + number
    held, unread = contents(work.workspace.systems, work.entity, work.tick)
    facts: dict[str, Any] = {"runs": [run.id for run in runs], "delivered": delivered, "contents": facts_of(held)}
    why, status = _ended(result, delivered, unread)
    return Found(facts, why=why, status=status)


def moving_runs(work: Work, after: int) -> list[Run]:
    """The runs of this migration, oldest first."""
    with work.workspace.store.read() as db:
        return [run for run in run_table.after(db, after) if run.command == work.command]


def _parts(run: Run, entity: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """What a run said of each system; nothing of one that was killed."""
    if run.summary is None:
        return ()
    parts: Mapping[str, Mapping[str, Any]] = orjson.loads(run.summary)["entities"].get(entity, {}).get("systems", {})
    return parts.items()


def _ended(result: RunSummary, delivered: Mapping[str, Mapping[str, int]], unread: Mapping[str, str]) -> tuple[str, int]:
    """Why the next stage must not follow a run, and the exit status; no reason where it may."""
    if result.status == "failed":
        return result.error or "the run failed", COULD_NOT
    body = summary_dict(result)
    if result.status == "held":
        return "; ".join(attention(body)) or "a guard holds it: `trueup holds`", HELD
    waiting = {name: counts["pending"] for name, counts in delivered.items() if counts.get("pending")}
    if result.status == "partial":
        return "; ".join(attention(body)) or result.error or "something was left out", NEEDS_A_PERSON
    if unread:
        return "; ".join(unread.values()), NEEDS_A_PERSON
    if waiting:
        listed = ", ".join(f"{count:,} for {name}" for name, count in waiting.items())
        return f"deliveries wait ({listed}): is a system paused? `trueup status` says why", NEEDS_A_PERSON
    return "", 0


def verify(work: Work) -> Found:
    """Every system against the agreed records."""
    found = work.workspace.verify([work.entity.name], tick=work.tick)
    entity = found.entities[work.entity.name]
    held, _unread = contents(work.workspace.systems, work.entity, work.tick)
    facts = {
        "records": entity.records,
        "systems": {
            name: {kind: getattr(counts, kind) for kind in ("rows", "differ", "missing", "extra", "waiting")}
            for name, counts in entity.systems.items()
        },
        "contents": facts_of(held),
    }
    if entity.left_out:
        return Found(facts, why="; ".join(entity.left_out.values()))
    if not entity.agrees:
        why = "the systems do not agree: somebody may have edited meanwhile; `trueup sync` settles that, then go on"
        return Found(facts, detail=verify_text(found), why=why)
    waiting = {name: counts.waiting for name, counts in entity.systems.items() if counts.waiting}
    if waiting:
        listed = ", ".join(f"{count:,} in {name}" for name, count in waiting.items())
        return Found(facts, why=f"something waits for a person ({listed}): `trueup conflicts`, `trueup matches`, `trueup failures`")
    return Found(facts)


def before_lock(work: Work) -> Mapping[str, Any]:
    """What was locked before the stage: taking the migration back leaves that alone."""
    if "locked_before" in work.begun:
        return {"locked_before": work.begun["locked_before"]}
    with work.workspace.store.read() as db:
        return {"locked_before": [[one.system, one.object.label] for one in write_lock.list_(db)]}


def lock(work: Work) -> Found:
    """Others are kept from changing what is changed elsewhere."""
    asked = locks.Asked(entities=(work.entity.name,))
    problems = [f"{one.place}: {problem}" for one, problem in locks.apply(work.workspace, asked) if problem]
    with work.workspace.store.read() as db:
        known = write_lock.list_(db)
    found = locks.look(work.workspace.config, work.workspace.systems, known, asked)
    facts = {"locks": [{"system": one.system, "object": one.object, "standing": one.standing} for one in found.findings]}
    detail = "\n".join(f"{one.place} is not locked: {one.why}" for one in found.findings if one.standing == "overruled")
    return Found(facts, detail, why="; ".join(problems))
