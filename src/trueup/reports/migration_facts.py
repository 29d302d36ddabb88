"""A migration to a single source of truth: its stages, how far it is, as values, as JSON and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.reports.drift_text import DIRTY_WORDS
from trueup.reports.table import PLAIN, counted, show, table, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trueup.core.locks import ChangedWhere
    from trueup.reports.drift_facts import EntityDrift
    from trueup.reports.table import Style
    from trueup.store.migration import Stage

STAGES = ("profile", "duplicates", "standardise", "plan", "move", "verify", "lock")
EXAMPLES = 3
READING = STAGES[:4]
"""Stages that write to no system."""
ACCEPTABLE = ("duplicates", "standardise", "move", "verify")
"""Stages past which a person may go although something is left to see to."""


@dataclass(slots=True)
class Progress:
    """How far the migration of an entity to a system is.

    `notes` are about this call (what was done again, and why); `details` are examples by stage, which are shown and kept nowhere.
    `stopped_at`: the stage that found what a person has to see to, or could not be carried out; `why` says it, `status` how it ends.
    """

    entity: str
    to: str
    stages: dict[str, Stage] = field(default_factory=dict)
    fields: list[ChangedWhere] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    stopped_at: str | None = None
    why: str = ""
    status: int = 0

    @property
    def next(self) -> str | None:
        """The stage that comes next; None where all are passed."""
        return next((name for name in STAGES if name not in self.stages or not self.stages[name].passed), None)


@dataclass(slots=True)
class Returned:
    """What became of taking a migration back.

    locks: objects that are open again, and why one is not. runs: (run, values, rows, refused) put back. same: system -> whether it holds
    what it held before the migration began; None: it cannot be told.
    """

    entity: str
    to: str
    locks: list[tuple[str, str]] = field(default_factory=list)
    runs: list[Mapping[str, Any]] = field(default_factory=list)
    same: dict[str, bool | None] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether everything is as it was."""
        return all(self.same.values()) and not any(why for _place, why in self.locks) and not any(run["refused"] for run in self.runs)


def progress_dict(found: Progress) -> dict[str, Any]:
    """The public form."""
    return {
        "entity": found.entity,
        "to": found.to,
        "next": found.next,
        "stopped_at": found.stopped_at,
        "why": found.why,
        "notes": list(found.notes),
        "stages": [
            {
                "stage": name,
                "status": stage.status if stage else "waiting",
                "started_at": stage.started_at if stage else None,
                "finished_at": stage.finished_at if stage else None,
                "who": stage.who if stage else None,
                "facts": dict(stage.facts) if stage else {},
            }
            for name in STAGES
            for stage in (found.stages.get(name),)
        ],
        "fields": [{"entity": one.entity, "field": one.field, "changed_in": one.system, "by": one.by} for one in found.fields],
    }


def returned_dict(found: Returned) -> dict[str, Any]:
    """The public form."""
    return {
        "entity": found.entity,
        "to": found.to,
        "locks": [{"place": place, "why": why} for place, why in found.locks],
        "runs": [dict(run) for run in found.runs],
        "as_before": dict(found.same),
        "whole": found.whole,
    }


def progress_text(found: Progress, style: Style = PLAIN) -> str:
    """For people: a line per stage, examples of what was found now, and what to do next."""
    rows = []
    for name in STAGES:
        stage = found.stages.get(name)
        rows.append([name, _status(name, found, style), _joined(_facts(name, stage.facts)) if stage else ""])
    blocks = [style.paint(f"{found.entity}: {found.to} becomes the source of truth", "bold")]
    blocks += [f"{style.paint('!', 'warn')} {note}" for note in found.notes]
    blocks.append(table(["stage", "", ""], rows, style, indent="  ", open_end=True))
    blocks += [f"{style.paint(name, 'bold')}\n{text}" for name, text in found.details.items() if text]
    if found.next is None:
        fields = [[one.field, one.system or "any system", one.by or ""] for one in found.fields]
        blocks.append(table(["field", "is changed in", "by"], fields, style))
    blocks.append(_next(found, style))
    return "\n\n".join(blocks)


def returned_text(found: Returned, style: Style = PLAIN) -> str:
    """For people."""
    lines = [f"{place}: {f'NOT opened: {why}' if why else 'open to everybody again'}" for place, why in found.locks]
    for run in found.runs:
        left = (
            f", {counted(run['refused'], 'value or row', 'values or rows')} left: edited since (`trueup undo {run['run']} --plan`)"
            if run["refused"]
            else ""
        )
        lines.append(f"run {run['run']}: {counted(run['values'], 'value')} and {counted(run['rows'], 'row')} put back{left}")
    words = {True: "as before the migration", False: style.paint("not as before", "warn"), None: "cannot be compared"}
    lines += [f"{system}: {words[same]}" for system, same in found.same.items()]
    return "\n".join(lines or ["Nothing was moved or locked; what was known of the stages is forgotten."])


def _status(name: str, found: Progress, style: Style) -> str:
    stage = found.stages.get(name)
    if stage is None:
        return "–"
    if name == found.stopped_at:
        return style.paint("STOPPED", "warn")
    words = {"done": "done", "accepted": "accepted", "stopped": "STOPPED", "running": "BROKEN OFF"}
    return words[stage.status] if stage.passed else style.paint(words[stage.status], "warn")


def _joined(parts: Iterable[str]) -> str:
    return " ".join(parts).replace(" ; ", "; ")


def _facts(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """What a stage found and did, in a line."""
    match name:
        case "profile" if "systems" in facts:
            yield _systems(facts["systems"]) + ";"
            yield f"{counted(facts['records'], 'record')}, {facts['in_all']:,} of them in all systems"
        case "duplicates" if "within" in facts:
            yield _counts(facts["within"], "look like another row of the same system", "no duplicates")
            if any(facts["ambiguous"].values()):
                yield "; " + _counts(facts["ambiguous"], "may be one of several records", "")
        case "standardise" if "values" in facts:
            words = ("clean", "to clean"), ("untidy", "with needless spaces"), ("unclear", "that cleaning cannot make sense of")
            said = [f"{counted(facts['values'][kind], 'value')} {what}" for kind, what in words if facts["values"].get(kind)]
            said += [f"{counted(facts['refused'], 'row')} that cannot be used"] if facts["refused"] else []
            yield ", ".join(said) or "nothing to clean"
        case "plan" if "systems" in facts:
            yield _deliveries(facts["systems"])
            yield from _waiting(facts)
        case "move" if "runs" in facts:
            yield f"{_runs(facts['runs'])}: {_deliveries(facts['delivered'])};"
            yield f"now {_systems(facts['contents'])}"
        case "verify" if "systems" in facts:
            differ = {system: counts["differ"] + counts["missing"] + counts["extra"] for system, counts in facts["systems"].items()}
            agree = (
                f"{counted(len(differ), 'system')} {'agree' if len(differ) > 1 else 'agrees'} with {counted(facts['records'], 'record')}"
            )
            yield _counts(differ, "differ", agree)
            if any(counts["waiting"] for counts in facts["systems"].values()):
                yield "; " + _counts({name: counts["waiting"] for name, counts in facts["systems"].items()}, "wait for a person", "")
        case "lock" if "locks" in facts:
            yield ", ".join(f"{one['object']} in {one['system']} {one['standing']}" for one in facts["locks"]) or "nothing to lock"


def _systems(systems: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {counted(one['rows'], 'row')} ({one['checksum'].partition(':')[2][:8]})" for name, one in systems.items())


def _counts(counts: Mapping[str, int], words: str, nothing: str) -> str:
    said = [f"{count:,} in {name}" for name, count in counts.items() if count]
    return f"{', '.join(said)} {words}" if said else nothing


def _deliveries(systems: Mapping[str, Mapping[str, int]]) -> str:
    parts = []
    for name, counts in systems.items():
        kinds = [f"{counts[kind]:,} {kind}" for kind in ("created", "updated", "deleted") if counts.get(kind)]
        parts += [f"{name} {', '.join(kinds)}"] if kinds else []
    return "; ".join(parts) or "nothing to write"


def _waiting(facts: Mapping[str, Any]) -> Iterator[str]:
    for kind, words in (("overruled", "overruled"), ("conflicts", "for a person to decide"), ("parked", "parked"), ("held", "held")):
        if facts.get(kind):
            yield f"({facts[kind]:,} {words})"


def _runs(runs: Sequence[int]) -> str:
    return f"run{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}"


def _next(found: Progress, style: Style) -> str:
    call = f"`trueup migrate {found.entity} --to {found.to}"
    if found.stopped_at is not None:
        past = f"\nOr go on all the same: {call} --accept {found.stopped_at}`." if found.stopped_at in ACCEPTABLE else ""
        return f"{style.paint('!', 'warn')} {found.stopped_at}: {found.why}{past}"
    if found.next is None:
        page = "`trueup runbook ownership` writes the page about who changes what where."
        return f"All stages are passed. {page} `trueup migrate {found.entity} --back` takes all of it back."
    if found.next in READING:
        return f"Next: {found.next}. {call}` goes on; nothing was written to any system."
    if found.next == "move":
        return f"Nothing was written to any system yet. {call} --until lock` moves, verifies and locks; --until move only moves."
    return f"Next: {found.next}. {call} --until lock` goes on; --back takes it back."


def duplicates_text(drift: EntityDrift) -> str:
    """Examples of rows that look like one record."""
    lines = [
        f"  {one.key} in {name} looks like {', '.join(one.like)} in {one.like_system}"
        for found in (drift.duplicates, drift.ambiguous)
        for name, items in found.items()
        for one in items[:EXAMPLES]
    ]
    return "\n".join(map(visible, lines))


def dirty_text(drift: EntityDrift) -> str:
    """Examples of values that cleaning changes, and of those that cannot be used."""
    rows = [
        [item.system, item.field, f"{item.count:,}", DIRTY_WORDS.get(item.kind, item.kind), _example(sample)]
        for item in drift.dirty
        for sample in item.samples[:1]
    ]
    return table(["system", "field", "values", "", "for example"], rows, indent="  ", open_end=True) if rows else ""


def _example(sample: Mapping[str, Any]) -> str:
    key, value, becomes = sample.get("key") or "", sample.get("value"), sample.get("becomes")
    if sample.get("reason"):
        return f"{key}: {sample['reason']}"
    return f"{key}: {show(value)} → {show(becomes)}"
