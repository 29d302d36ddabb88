"""What is known about one record, and why each of its values is what it is; from the state alone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import orjson
import polars as pl

from trueup.core.cells import NULL, cell_to_python, json_to_records
from trueup.core.shadow import decode_delta
from trueup.core.undo import SETTING
from trueup.errors import UsageError
from trueup.reports.record_facts import Candidate, Event, FieldStory, Holding, OpenConflict, Origin, RecordView, Waiting
from trueup.reports.record_words import story_sentences
from trueup.store import conflict, failure, golden, history, outsider, parked, paused, shadow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.model import Config, Entity
    from trueup.reports.record_facts import RowState
    from trueup.store import Db

STATES: tuple[RowState, ...] = ("present", "missing", "outside", "unreadable", "withdrawn")
WHY_LEFT_ALONE = {
    "missing": "the row has vanished there",
    "outside": "the row is outside of the mapping's filter",
    "withdrawn": "the row is to be taken out again",
}


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
        )
        shown = name in view.golden or events or story.conflict or story.elsewhere
        if field is not None or shown:
            story.sentences = story_sentences(view, story, entity.fields[name])
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
    )


# ---------------------------------------------------------------- systems


def _holdings(db: Db, config: Config, entity: Entity, gid: int, cells: Mapping[str, str | None], view: RecordView) -> dict[str, Holding]:
    shadows = {row["system"]: row for row in shadow.by_golden(db, entity.name, pl.Series([gid], dtype=pl.Int64)).iter_rows(named=True)}
    reasons = _Reasons(db, config, entity, gid, view)
    found: dict[str, Holding] = {}
    for system in entity.precedence:
        row = shadows.get(system)
        if row is None:
            if view.deleted_at is None and entity.written(system):
                why = reasons.of(system, None, None)
                found[system] = Holding(system, None, "none", waiting=[Waiting(None, None, why)])
            continue
        item = Holding(system, row["key"], STATES[row["state"]])
        if item.state != "missing":
            held = held_cells(cells, row["seen"], entity.mapped(system))
            item.holds = _typed(held, entity)
        item.waiting = _waiting(system, row, cells, entity, reasons, deleted=view.deleted_at is not None)
        found[system] = item
    return found


def _waiting(
    system: str, row: Mapping[str, Any], cells: Mapping[str, str | None], entity: Entity, reasons: _Reasons, *, deleted: bool
) -> list[Waiting]:
    """The fields whose golden value a system does not stand for yet, and why they wait."""
    if deleted:
        return [Waiting(None, None, f"is to be deleted: {reasons.of(system, row['key'], None)}")]
    delta = decode_delta(row["sent"])
    due = [name for name in entity.written(system) if name in delta and cells.get(name) is not None]
    if row["state"] != 0:
        why = WHY_LEFT_ALONE.get(STATES[row["state"]], "the row cannot be read: see `trueup failures`")
        return [Waiting(name, cell_to_python(cells[name], entity.fields[name]), f"waits because {why}") for name in due]
    return [Waiting(name, cell_to_python(cells[name], entity.fields[name]), reasons.of(system, row["key"], name)) for name in due]


class _Reasons:
    """Why deliveries of one record wait."""

    def __init__(self, db: Db, config: Config, entity: Entity, gid: int, view: RecordView) -> None:
        self._conflicts = {item.field: item.id for item in view.conflicts}
        self._failures = [row for row in failure.of(db, entity.name).iter_rows(named=True) if row["gid"] == gid and row["stage"] == "write"]
        self._parked = {(row["system"], row["key"]): row["id"] for row in parked.of(db, entity.name).iter_rows(named=True)}
        self._candidate_of = {
            row["system"]: row["id"]
            for row in parked.of(db, entity.name).iter_rows(named=True)
            if gid in orjson.loads(row["candidates"] or "[]")
        }
        self._outsiders = {name: outsider.key_in_place_of(db, entity.name, name, gid) for name in entity.precedence}
        pauses = set(paused.list_(db))
        everything = ("all", "") in pauses or ("entity", entity.name) in pauses
        self._paused = {name for name, system in config.systems.items() if everything or system.paused or ("system", name) in pauses}

    def of(self, system: str, key: str | None, field: str | None) -> str:
        """A clause that follows a value or a row."""
        if field is not None and field in self._conflicts:
            return f"waits for a person to settle conflict {self._conflicts[field]}"
        if key is not None and (system, key) in self._parked:
            return f"waits because the row is parked: see `trueup matches` {self._parked[system, key]}"
        if key is None and system in self._candidate_of:
            return f"waits because a row there may be this record: see `trueup matches` {self._candidate_of[system]}"
        if key is None and self._outsiders.get(system):
            return f"waits because a row there may be this record, which is outside of the mapping's filter: {self._outsiders[system]}"
        for row in self._failures:
            if row["system"] == system and (row["field"] is None or field is None or row["field"] == field):
                again = f", to be tried again {_moment(row['next_try_at'])}" if row["next_try_at"] else ""
                return f"waits because {system} did not take it: {row['reason']}{again}"
        if system in self._paused:
            return f"waits because deliveries to {system} are paused"
        return "waits for the next `trueup sync`"


def _moment(at: Any) -> str:
    return cast("datetime", at).strftime("at %Y-%m-%d %H:%M:%SZ")
