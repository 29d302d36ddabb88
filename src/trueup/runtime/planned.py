"""What a plan shows: the rows that would be written, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, OP, cell_to_python
from trueup.core.shadow import decode_delta
from trueup.model import PlannedChange

if TYPE_CHECKING:
    from trueup.core.facts import Decision
    from trueup.model import Entity
    from trueup.runtime.book import Book
    from trueup.runtime.lane import Preparation, Prepared

SHOWN_CHANGES = 100


def note_planned(book: Book, entity: Entity, system: str, ready: Preparation, decision: Decision, *, every: bool) -> None:
    """Count what would be written, and show the first of it; `every`: all of it."""
    book.wake.update(dict.fromkeys(ready.wake))
    book.failed.update(gid for frame in ready.troubles for gid in frame[GID].to_list())
    for batch in ready.batches:
        count = batch.rows.height
        tally = {"create": "created", "update": "updated", "delete": "deleted"}[batch.kind]
        setattr(book.counts, tally, getattr(book.counts, tally) + count)
        room = count if every else max(0, SHOWN_CHANGES - len(book.changes))
        shown = batch.rows.head(room)
        if shown.is_empty():
            continue
        book.changes += planned_changes(entity, system, batch, shown, decision)


def planned_changes(entity: Entity, system: str, batch: Prepared, rows: pl.DataFrame, decision: Decision) -> list[PlannedChange]:
    """The rows of a prepared batch as a plan shows them: from what the system holds to what it would be given."""
    fields = dict(batch.fields.rows()) if batch.kind != "delete" else {}
    after = {row[GID]: row for row in decision.records.join(rows.select(GID), on=GID, how="semi").iter_rows(named=True)}
    seen = _seen_cells(decision, system, rows[GID]) if batch.kind == "update" else {}
    changes = []
    for op, gid, key in rows.select(OP, GID, KEY).rows():
        values = {}
        for name in fields.get(op, []):
            before = seen.get((gid, name), after[gid][name]) if batch.kind == "update" else None
            values[name] = (cell_to_python(before, entity.fields[name]), cell_to_python(after[gid][name], entity.fields[name]))
        changes.append(PlannedChange(system, entity.name, gid, key, batch.kind, values))
    return changes


def _seen_cells(decision: Decision, system: str, gids: pl.Series) -> dict[tuple[int, str], str | None]:
    """What the system holds where that is not the golden value; where it shows that only once it is cleaned, what it really holds."""
    mine = decision.after.filter((pl.col("system") == system) & pl.col("gid").is_in(gids.implode()))
    return {
        (gid, name): cell
        for gid, seen, sent in mine.select("gid", "seen", "sent").rows()
        for name, cell in (decode_delta(sent) | decode_delta(seen)).items()
    }
