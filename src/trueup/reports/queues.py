"""What waits for a person, as text: conflicts and parked rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, counted, moment, show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import RunSummary
    from trueup.reports.record_facts import OpenConflict
    from trueup.reports.table import Style


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


def conflicts_text(found: Sequence[OpenConflict], style: Style = PLAIN) -> str:
    """The review queue; empty for none."""
    if not found:
        return ""
    rows = []
    for item in found:
        for number, one in enumerate(item.candidates):
            head = [item.id, item.entity, item.record, item.field, show(item.base), show(item.golden)] if number == 0 else [""] * 6
            rows.append([*map(str, head), one.system or "agreed", show(one.value), moment(one.at), _kind(item) if number == 0 else ""])
    body = table(["id", "entity", "record", "field", "before", "agreed", "system", "says", "since", ""], rows, style)
    first = found[0]
    taker = next((one.system for one in first.candidates if one.system), "SYSTEM")
    advice = (
        f"Settle one with `trueup conflicts resolve {first.id} --take {taker}`, or `--value VALUE`; the next `trueup sync` delivers it."
    )
    return f"{counted(len(found), 'value')} to settle\n\n{body}\n\n{advice}"


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
