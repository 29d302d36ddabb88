"""What an undo put back, and what it left with the reason; as values, as JSON and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

SHOWN_REFUSALS = 20


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that an undo leaves as it is. None: the whole record, every system, nobody in particular."""

    entity: str
    record: int | None
    system: str | None
    field: str | None
    why: str
    by: str | None = None
    at: datetime | None = None
    run: int | None = None


@dataclass
class Undone:
    """What became of the undo of one run: golden values put back, records made to live or deleted again, rows taken out or put back.

    `left`: what the run left apart, and counts again when it is next read.
    """

    run: int
    values: int = 0
    records: int = 0
    rows: int = 0
    left: int = 0
    refused: list[Refused] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether there was something to put back."""
        return bool(self.values or self.records or self.rows or self.left)


def undone_dict(undone: Undone) -> dict[str, Any]:
    """The JSON of an undo, beside the summary of its run."""
    return {
        "run": undone.run,
        "values": undone.values,
        "records": undone.records,
        "rows": undone.rows,
        "left": undone.left,
        "refused": [
            {"entity": item.entity, "record": item.record, "system": item.system, "field": item.field, "reason": reason(item)}
            for item in undone.refused
        ],
    }


def undone_text(undone: Undone, style: Style = PLAIN, *, planned: bool = False) -> str:
    """The undo in words, before the counts of its run."""
    parts = [
        counted(number, *words)
        for number, words in (
            (undone.values, ("value",)),
            (undone.records, ("record",)),
            (undone.rows, ("created row",)),
        )
        if number
    ]
    verb = "would put back" if planned else "puts back"
    lines = [f"The undo of run {undone.run} {verb} {', '.join(parts)}." if parts else "" if undone.left else _nothing(undone)]
    if undone.left:
        left = counted(undone.left, "value or row", "values and rows")
        lines.append(f"{left} that run {undone.run} left apart {'would count' if planned else 'count'} again at the next `trueup sync`.")
    lines += list(_refusals(undone, style))
    return "\n".join(line for line in lines if line)


def _nothing(undone: Undone) -> str:
    if undone.refused:
        return f"Nothing of run {undone.run} is put back."
    return f"Run {undone.run} changed nothing that is not put back already."


def _refusals(undone: Undone, style: Style) -> Iterator[str]:
    for item in undone.refused[:SHOWN_REFUSALS]:
        whole = item.why == "record edited since"  # the field is then what was edited
        place = " ".join(str(part) for part in (item.entity, item.record, None if whole else item.field) if part is not None)
        where = f" in {item.system}" if item.system else ""
        yield f"{style.paint('!', 'warn')} {place}{where} stays as it is: {reason(item)}"
    if len(undone.refused) > SHOWN_REFUSALS:
        yield f"… and {counted(len(undone.refused) - SHOWN_REFUSALS, 'more')}: --json lists all"


def reason(item: Refused) -> str:
    """Why something is not undone, and what can be done about it."""
    who = item.by or "a person"
    when = f" on {item.at:%Y-%m-%d} at {item.at:%H:%M:%S}Z" if item.at else ""
    within = f" (run {item.run})" if item.run is not None else ""
    edit = f"{who} changed {'it' if item.field else 'the record'} afterwards{when}{within}"
    words = {
        "edited since": f"{edit}, and that stands",
        "record edited since": f"{who} changed {item.field or 'it'} afterwards{when}{within}, and that stands",
        "open conflict": "a conflict about it is open: `trueup conflicts` first",
        "unknown field": "the configuration has no such field any more",
        "unknown entity": "the configuration has no such entity any more",
        "other type": "the field is of another type now, and the old value does not fit it",
        "beyond counting": "the numbers are too large to be added up exactly",
        "united again": "the record was united with another one afterwards: undo that run first",
        "united and edited": f"{who} changed {item.field or 'it'} afterwards{when}{within}: `trueup matches unlink` takes single rows out",
        "deleted since": f"{who} deleted the record afterwards{when}{within}, and that stands",
        "deleted again": f"{who} deleted it again afterwards{when}{within}",
        "cannot delete": f"rows of {item.system} cannot be deleted now: it is only read, takes no deletes, is paused, or cannot be reached",
        "cannot write": f"{item.system} had a value of its own, and cannot be given it now: it is only read, paused, or not reached",
        "last row": "the row is the last one of this record; delete it there if it is to go",
    }
    return words[item.why]
