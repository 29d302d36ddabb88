"""What is known about one record, and why each of its values is what it is; from the state alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import NULL, cell_to_python, json_to_records
from trueup.core.shadow import decode_delta
from trueup.core.undo import SETTING
from trueup.errors import UsageError
from trueup.reports.record_facts import Candidate, Decided, Event, FieldStory, Holding, OpenConflict, Origin, RecordView, Waiting, Why
from trueup.reports.story_words import story_sentences
from trueup.runtime.reasons import Reasons
from trueup.store import conflict, golden, history, retention, shadow
from trueup.store import run as run_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.model import Config, Entity
    from trueup.reports.record_facts import RowState
    from trueup.store import Db

LOOKED_BACK_RUNS = 100
"""Of so many runs that changed a record it is told what people said about them."""
STATES: tuple[RowState, ...] = ("present", "missing", "outside", "unreadable", "withdrawn")


def view_record(db: Db, config: Config, entity: Entity, gid: int) -> RecordView:
    """Everything about the record with this golden id, which exists (`find_record`); an alias shows what it stands for."""
    gid = int(golden.resolve_alias(db, entity.name, pl.Series([gid], dtype=pl.Int64))["gid"][0])
    ids = pl.Series([gid], dtype=pl.Int64)
    row = golden.fetch(db, entity.name, ids).row(0, named=True)
    cells = golden_cells(row["data"], entity)
    conflicts = [open_conflict(item, entity) for item in conflict.open_of(db, entity.name, ids).iter_rows(named=True)]
    view = RecordView(
        id=gid,
        entity=entity.name,
        golden=_typed(cells, entity),
        origin=_origins(row, cells),
        systems={},
        history=[_event(item) for item in history.of(db, entity.name, gid).iter_rows(named=True)],
        conflicts=conflicts,
        deleted_at=row["deleted_at"],
        born=Origin(row["origin_system"], row["origin_at"]) if row["origin_system"] else None,
        version=row["version"],
        fields=tuple(entity.fields),
    )
    _tell_people(db, view)
    known = retention.compacted(db)
    view.compacted = None if known is None else known.until
    view.systems = _holdings(db, config, entity, gid, cells, view)
    return view


def explain_record(view: RecordView, entity: Entity, field: str | None = None) -> list[FieldStory]:
    """The story of one field, or (None) of all that anything is known about. Raises UsageError for a field that is not configured."""
    if field is not None and field not in entity.fields:
        raise UsageError(f"{entity.name} has no field {field!r}", hint=f"its fields: {', '.join(entity.fields)}")
    stories = []
    for name in [field] if field is not None else list(entity.fields):
        events = [event for event in view.history if event.field == name]
        open_now = next((item for item in view.conflicts if item.field == name), None)
        story = FieldStory(
            field=name,
            value=view.golden.get(name),
            origin=view.origin.get(name),
            last=next((event for event in reversed(events) if event.kind in SETTING), None),
            beaten=_beaten(events, is_open=open_now is not None),
            conflict=open_now,
            elsewhere={
                system: item.holds[name]
                for system, item in view.systems.items()
                if name in item.holds and item.holds[name] != view.golden.get(name)
            },
            waiting={system: waiting for system, item in view.systems.items() for waiting in item.waiting if waiting.field == name},
            chain=events,
        )
        shown = name in view.golden or events or story.conflict or story.elsewhere
        if field is not None or shown:
            story.sentences = story_sentences(view, story, entity)
            stories.append(story)
    return stories


def _beaten(events: list[Event], *, is_open: bool) -> list[Event]:
    """What others said and did not get; a candidate of which the end is told later, or that is still open, is not told twice."""
    ended = {(event.system, repr(event.after)) for event in events if event.kind in {"lost", *SETTING}}
    return [
        event
        for event in events
        if event.kind not in SETTING and not (event.kind == "candidate" and (is_open or (event.system, repr(event.after)) in ended))
    ]


def golden_cells(data: str | None, entity: Entity) -> dict[str, str | None]:
    """The golden cells of one record, absent ones as None."""
    frame = json_to_records(pl.Series("data", [data], dtype=pl.String), entity.fields)
    return dict(frame.row(0, named=True)) if frame.width else {}


def held_cells(cells: Mapping[str, str | None], seen: str | None, names: Iterable[str]) -> dict[str, str | None]:
    """What a system holds: the golden cells overlaid by what it was seen to hold instead."""
    delta = decode_delta(seen)
    return {name: delta.get(name) if name in delta else cells.get(name) for name in names}


def open_conflict(row: Mapping[str, Any], entity: Entity) -> OpenConflict:
    """One open conflict as stored, with typed values."""
    known = entity.fields.get(row["field"])

    def value(cell: str | None) -> Any:
        return cell_to_python(cell, known) if known is not None else (None if cell == NULL else cell)

    candidates = tuple(
        Candidate(item["system"], value(item["value"]), datetime.fromisoformat(item["at"]) if item["at"] else None)
        for item in orjson.loads(row["candidates"] or "[]")
    )
    return OpenConflict(
        id=row["id"],
        entity=entity.name,
        record=row["gid"],
        field=row["field"],
        kind=row["kind"],
        base=value(row["base"]),
        golden=value(row["golden"]),
        candidates=candidates,
        opened_at=row["opened_at"],
    )


def _typed(cells: Mapping[str, str | None], entity: Entity) -> dict[str, Any]:
    return {name: cell_to_python(cell, entity.fields[name]) for name, cell in cells.items() if cell is not None}


def _origins(row: Mapping[str, Any], cells: Mapping[str, str | None]) -> dict[str, Origin]:
    named = orjson.loads(row["origins"]) if row["origins"] else {}
    whole = Origin(row["origin_system"], row["origin_at"])
    found = {}
    for name, cell in cells.items():
        if name in named:
            system, at = named[name]
            found[name] = Origin(system, datetime.fromisoformat(at) if at else None)
        elif cell is not None:
            found[name] = whole
    return found


def _event(row: Mapping[str, Any]) -> Event:
    values = {side: orjson.loads(row[side]) if row[side] is not None else None for side in ("before", "after")}
    return Event(
        id=row["id"],
        version=row["version"],
        run=row["run"],
        field=row["field"],
        kind=row["kind"],
        system=row["system"],
        at=row["at"],
        recorded_at=row["recorded_at"],
        rule=row["rule"],
        before=values["before"],
        after=values["after"],
        who=orjson.loads(row["detail"]).get("who") if row["detail"] else None,
    )


def _tell_people(db: Db, view: RecordView) -> None:
    """Whose word it was that an undo was made, or that a guard let edits pass or put them back: the runs know."""
    numbers = dict.fromkeys(event.run for event in view.history if event.run is not None)
    undone: dict[int, str | None] = {}
    for run in run_table.some(db, list(numbers)[-LOOKED_BACK_RUNS:]):
        if run.command.startswith("undo "):
            undone[run.id] = run.who
            view.undone[run.id] = run.command
        if run.summary is None or '"decided"' not in run.summary:
            continue
        for item in orjson.loads(run.summary).get("entities", {}).get(view.entity, {}).get("decided", []):
            at = datetime.fromisoformat(item["at"]) if item["at"] else None
            word = Decided(item["id"], item["kind"], item["decision"], item["who"], at)
            view.decided.setdefault((run.id, item["system"]), []).append(word)
    if undone:
        view.history[:] = [replace(event, who=event.who or undone.get(event.run or 0)) for event in view.history]


# ---------------------------------------------------------------- systems


def _holdings(db: Db, config: Config, entity: Entity, gid: int, cells: Mapping[str, str | None], view: RecordView) -> dict[str, Holding]:
    shadows = {row["system"]: row for row in shadow.by_golden(db, entity.name, pl.Series([gid], dtype=pl.Int64)).iter_rows(named=True)}
    keys = {system: shadows[system]["key"] if system in shadows else None for system in entity.precedence}
    reasons = Reasons(db, config, entity, gid, view, keys)
    found: dict[str, Holding] = {}
    for system in entity.precedence:
        row = shadows.get(system)
        if row is None:
            if view.deleted_at is None and entity.written(system):
                found[system] = Holding(system, None, "none", waiting=[Waiting(None, None, reasons.of_new_row(system, cells))])
            continue
        item = Holding(system, row["key"], STATES[row["state"]])
        if item.state != "missing":
            held = held_cells(cells, row["seen"], entity.mapped(system))
            item.holds = _typed(held, entity)
        if view.deleted_at is not None or item.state == "withdrawn":
            item.waiting = _to_be_deleted(item, entity, reasons)
        else:
            item.waiting = _waiting(item, row, cells, entity, reasons)
        found[system] = item
    return found


def _to_be_deleted(item: Holding, entity: Entity, reasons: Reasons) -> list[Waiting]:
    """Why a row that is to go is there still; nothing of one that is gone."""
    if item.key is None or item.state == "missing":
        return []
    if not entity.written(item.system):
        return [Waiting(None, None, Why("read only", f"stays, because {item.system} is only read", f"delete {item.key} in {item.system}"))]
    if item.state in {"outside", "unreadable"}:
        why = reasons.of_row_left_alone(item.system, item.key, item.state)
    else:
        why = reasons.of_delete(item.system, item.key)
    return [Waiting(None, None, replace(why, why=f"is to be deleted: {why.why}"))]


def _waiting(item: Holding, row: Mapping[str, Any], cells: Mapping[str, str | None], entity: Entity, reasons: Reasons) -> list[Waiting]:
    """The fields whose golden value a system does not stand for yet, and why they wait."""
    delta = decode_delta(row["sent"])
    due = [name for name in entity.written(item.system) if name in delta and cells.get(name) is not None]
    found = []
    for name in due:
        if item.state == "present":
            why = reasons.of_field(item.system, row["key"], name, cells[name])
        else:
            why = reasons.of_row_left_alone(item.system, row["key"], item.state)
        found.append(Waiting(name, cell_to_python(cells[name], entity.fields[name]), why))
    return found
