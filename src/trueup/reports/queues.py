"""What waits for a person, as text: conflicts and parked rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.core.match import DUPLICATE
from trueup.reports.table import PLAIN, counted, moment, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.model import RunSummary
    from trueup.reports.record_facts import OpenConflict
    from trueup.reports.table import Style


SHOWN = 50
"""How many entries of a queue the text shows; the JSON form has all."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A conflict that was settled: `before` and `value` are the golden values; `system` whose value it is, None: a person's own."""

    id: int
    entity: str
    record: int
    field: str
    before: Any
    value: Any
    system: str | None


@dataclass(frozen=True, slots=True)
class Parked:
    """A row that nobody but a person can place. `candidates`: golden id -> {"keys": {system: key}, "values": {field: value}}."""

    id: int
    entity: str
    system: str
    key: str
    candidates: Mapping[int, Mapping[str, Any]]
    why: str
    since: datetime
    decision: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A row that a person placed: `record` is its golden record (None: one of its own), or the one it was taken from."""

    id: int
    entity: str
    system: str
    key: str
    record: int | None


def matches_text(found: Sequence[Parked], style: Style = PLAIN) -> str:
    """The parked rows; empty for none."""
    if not found:
        return ""
    rows = []
    for item in found[:SHOWN]:
        options = [(str(gid), _candidate(telling)) for gid, telling in item.candidates.items()] or [("", "")]
        for number, option in enumerate(options):
            head = [str(item.id), item.entity, f"{item.system}:{item.key}"] if number == 0 else ["", "", ""]
            rows.append([*head, *option, _reason(item) if number == 0 else ""])
    body = table(["id", "entity", "row", "may be", "which is", "why"], rows, style)
    first = next((item for item in found if item.why != DUPLICATE), found[0])  # of a duplicate there is rarely anything to say
    target = next(iter(first.candidates), "RECORD")
    advice = (
        f"Say which record a row is with `trueup matches link {first.id} --to {target}`, or that it is one of its own with `--new`;"
        " the next `trueup sync` carries it out."
    )
    return f"{counted(len(found), 'row')} parked\n\n{body}{_more(len(found))}\n\n{advice}"


def _more(count: int) -> str:
    return f"\n… and {count - SHOWN:,} more: `--json` lists all" if count > SHOWN else ""


def _candidate(telling: Mapping[str, Any]) -> str:
    keys = ", ".join(f"{system}:{key}" for system, key in telling.get("keys", {}).items())
    values = ", ".join(show(value) for value in telling.get("values", {}).values())
    return f"{values} ({keys})" if values and keys else values or keys


def _reason(item: Parked) -> str:
    if item.decision is None:
        return item.why
    word = f"record {item.decision['to']}" if "to" in item.decision else "a record of its own"
    return f"decided: {word}, at the next sync"


def matches_list(found: Sequence[Parked]) -> list[dict[str, Any]]:
    """The JSON form."""
    return [
        {
            "id": item.id,
            "entity": item.entity,
            "system": item.system,
            "key": item.key,
            "candidates": list(item.candidates),
            "why": item.why,
            "since": item.since.isoformat().replace("+00:00", "Z"),
            "decision": item.decision,
        }
        for item in found
    ]


def placed_text(done: Placed) -> str:
    """What a person said about a row."""
    what = "a record of its own" if done.record is None else f"{done.entity} {done.record}"
    return f"Noted: {done.system}:{done.key} is {what}. The next `trueup sync` carries it out."


def unlinked_text(done: Placed) -> str:
    """What became of a link."""
    return (
        f"{done.system}:{done.key} is no row of {done.entity} {done.record} any more, and is parked as {done.id}.\n"
        f"Say where it belongs: `trueup matches link {done.id} --to RECORD`, or `--new`."
    )


def placed_dict(done: Placed) -> dict[str, Any]:
    """The JSON form."""
    return {"id": done.id, "entity": done.entity, "system": done.system, "key": done.key, "record": done.record}


def conflicts_text(found: Sequence[OpenConflict], style: Style = PLAIN) -> str:
    """The review queue; empty for none."""
    if not found:
        return ""
    rows = []
    for item in found[:SHOWN]:
        for number, one in enumerate(item.candidates):
            head = [item.id, item.entity, item.record, item.field, show(item.base), show(item.golden)] if number == 0 else [""] * 6
            rows.append([*map(str, head), one.system or "agreed", show(one.value), moment(one.at), _kind(item) if number == 0 else ""])
    body = table(["id", "entity", "record", "field", "before", "agreed", "system", "says", "since", ""], rows, style)
    first = found[0]
    taker = next((one.system for one in first.candidates if one.system), "SYSTEM")
    advice = (
        f"Settle one with `trueup conflicts resolve {first.id} --take {taker}`, or `--value VALUE`; the next `trueup sync` delivers it."
    )
    return f"{counted(len(found), 'value')} to settle\n\n{body}{_more(len(found))}\n\n{advice}"


def _kind(item: OpenConflict) -> str:
    return "held by hold_if" if item.kind == "hold" else ""


def settled_text(done: Settled, result: RunSummary | None) -> str:
    """What became of a conflict."""
    whose = f" (what {done.system} says)" if done.system else ""
    text = f"Conflict {done.id} is settled: {done.field} of {done.entity} {done.record} is “{show(done.value)}”{whose}."
    if result is None:
        return f"{text} The next `trueup sync` delivers it."
    waiting = sum(system.delivered.pending for summary in result.entities.values() for system in summary.systems.values())
    return f"{text} " + (
        "It was delivered." if not waiting else f"{counted(waiting, 'delivery', 'deliveries')} still waiting: `trueup status`."
    )


def mended_text(done: Settled) -> str:
    """What became of a value that a system refused."""
    said = "has no value" if done.value is None else f"is “{show(done.value)}”"
    return f"{done.field} of {done.entity} {done.record} {said} from now on, in all systems. The next `trueup sync` delivers it."


def settled_dict(done: Settled, result: RunSummary | None) -> dict[str, Any]:
    """The JSON form."""
    return {
        "id": done.id,
        "entity": done.entity,
        "record": done.record,
        "field": done.field,
        "before": done.before,
        "value": done.value,
        "system": done.system,
        "run": None if result is None else result.run,
    }
