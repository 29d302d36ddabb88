"""One record: golden values and where they came from, what each system holds and waits for, and what happened to it; with JSON forms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

RowState = Literal["present", "missing", "outside", "unreadable", "withdrawn", "none"]
"""missing: vanished and left alone; outside: left the mapping's filter; unreadable: there, but rejected; none: no row was linked yet."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who said a value and when; `system` None: a person settled it. `at` None: not known."""

    system: str | None
    at: datetime | None


WaitKind = Literal[
    "conflict", "held change", "parked", "may be parked", "outsider", "rejected", "retry", "on its way", "paused", "resting", "restored",
    "left out", "reference", "cannot", "filter", "given up", "nothing to write",
    "not read", "looked at again", "held", "limit", "unreadable",
    "outside", "missing", "read only", "next run",
]  # fmt: skip
"""Why something waits, for programs; docs/reference/json.md says what each means."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a delivery waits: `why` is a clause ("waits for …"), `step` what to do about it (empty: nothing)."""

    kind: WaitKind
    why: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One field that a system is still to be told; `field` None: the whole row."""

    field: str | None
    value: Any
    reason: Why

    @property
    def why(self) -> str:
        """The reason as a clause."""
        return self.reason.why


@dataclass(slots=True)
class Holding:
    """What one system holds of a record. `holds` leaves out fields that the system does not show. `key` None: no row."""

    system: str
    key: str | None
    state: RowState
    holds: dict[str, Any] = dataclasses.field(default_factory=dict)
    waiting: list[Waiting] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history. `field` None: the whole record. `kind`: edit, lost, overruled, candidate, resolved, delete and others."""

    id: int
    version: int
    run: int | None
    field: str | None
    kind: str
    system: str | None
    at: datetime | None
    recorded_at: datetime
    rule: str | None
    before: Any
    after: Any
    who: str | None = None  # whose word it was (user@host), where a person decided; None: a system's, or not known


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's word about the edits or deletes of a system that a guard had held, and that a run carried out."""

    hold: int
    kind: str
    decision: str
    who: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One value that a conflict is about; `system` None: the golden value."""

    system: str | None
    value: Any
    at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenConflict:
    """A field that a person must settle: `kind` conflict, or hold for a change that the field's `hold_if` stopped."""

    id: int
    entity: str
    record: int
    field: str
    kind: str
    base: Any
    golden: Any
    candidates: tuple[Candidate, ...]
    opened_at: datetime


@dataclass(slots=True)
class RecordView:
    """Everything known about one record. `golden` leaves out fields that nobody said anything about."""

    id: int
    entity: str
    golden: dict[str, Any]
    origin: dict[str, Origin]
    systems: dict[str, Holding]
    history: list[Event]
    conflicts: list[OpenConflict]
    deleted_at: datetime | None = None
    born: Origin | None = None
    version: int = 0
    fields: tuple[str, ...] = ()  # all of the entity's, in its order
    at: datetime | None = None  # as it was at this moment, without what systems held; None: now
    decided: dict[tuple[int, str], list[Decided]] = dataclasses.field(default_factory=dict)  # by run and system
    undone: dict[int, str] = dataclasses.field(default_factory=dict)  # the commands of runs that undid something
    compacted: str | None = None  # lines of history up to this moment were taken out; None: all are there


@dataclass(frozen=True, slots=True)
class Found:
    """One place where a value that somebody expected turned up; `system` None: what is agreed. `why` is a sentence."""

    what: Literal["agreed", "held by", "earlier", "lost", "overruled", "candidate", "asked"]
    system: str | None
    at: datetime | None
    run: int | None
    why: str


@dataclass(slots=True)
class Expected:
    """Where a value went that somebody expected in a field. `value` is how it reads as a value of that field."""

    value: Any
    found: list[Found] = dataclasses.field(default_factory=list)
    sentences: list[str] = dataclasses.field(default_factory=list)


@dataclass(slots=True)
class FieldStory:
    """Why one field has the value it has. `beaten` are values of others that lost or were overruled, oldest first.

    `chain` is everything that happened to it, oldest first.
    """

    field: str
    value: Any
    origin: Origin | None
    last: Event | None
    beaten: list[Event]
    conflict: OpenConflict | None
    elsewhere: dict[str, Any]  # system -> value that it holds instead
    waiting: dict[str, Waiting]
    sentences: list[str] = dataclasses.field(default_factory=list)
    chain: list[Event] = dataclasses.field(default_factory=list)
    expected: Expected | None = None


def iso(moment: datetime | None) -> str | None:
    """A time as the JSON forms show it."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def record_dict(view: RecordView) -> dict[str, Any]:
    """The public form of `record --json`."""
    return {
        "id": view.id,
        "entity": view.entity,
        **({"at": iso(view.at)} if view.at is not None else {}),
        "golden": view.golden,
        "origin": {name: _origin(origin) for name, origin in view.origin.items()},
        "systems": {
            name: {
                "key": item.key,
                "state": item.state,
                "holds": item.holds,
                "pending": [{"field": waiting.field, "value": waiting.value, **_why(waiting.reason)} for waiting in item.waiting],
            }
            for name, item in view.systems.items()
        },
        "conflicts": [conflict_dict(item) for item in view.conflicts],
        "deleted_at": iso(view.deleted_at),
        "history": [event_dict(event) for event in view.history],
    }


def event_dict(event: Event) -> dict[str, Any]:
    """One line of history."""
    return {
        "version": event.version,
        "run": event.run,
        "field": event.field,
        "kind": event.kind,
        "system": event.system,
        "at": iso(event.at),
        "recorded_at": iso(event.recorded_at),
        "rule": event.rule,
        "before": event.before,
        "after": event.after,
        "who": event.who,
    }


def conflict_dict(item: OpenConflict) -> dict[str, Any]:
    """The public form of one entry of `conflicts --json`."""
    return {
        "id": item.id,
        "entity": item.entity,
        "record": item.record,
        "field": item.field,
        "kind": item.kind,
        "base": item.base,
        "golden": item.golden,
        "candidates": [{"system": one.system, "value": one.value, "at": iso(one.at)} for one in item.candidates],
        "opened_at": iso(item.opened_at),
    }


def story_dict(view: RecordView, stories: list[FieldStory]) -> dict[str, Any]:
    """The public form of `explain --json`."""
    return {
        "id": view.id,
        "entity": view.entity,
        "fields": {story.field: _story(story) for story in stories},
        "systems": {
            name: {
                "key": item.key,
                "state": item.state,
                "waiting": next((_why(one.reason) for one in item.waiting if one.field is None), None),
            }
            for name, item in view.systems.items()
        },
        "record": [event_dict(event) for event in view.history if event.field is None],
        "holds": [
            {"id": one.hold, "run": run, "system": system, "kind": one.kind, "decision": one.decision, "who": one.who, "at": iso(one.at)}
            for (run, system), decided in view.decided.items()
            for one in decided
        ],
        "compacted": view.compacted,
    }


def _story(story: FieldStory) -> dict[str, Any]:
    return {
        "value": story.value,
        "origin": None if story.origin is None else _origin(story.origin),
        "rule": None if story.last is None else story.last.rule,
        "replaced": None if story.last is None else story.last.before,
        "chain": [event_dict(event) for event in story.chain],
        "beaten": [event_dict(event) for event in story.beaten],
        "conflict": None if story.conflict is None else conflict_dict(story.conflict),
        "elsewhere": story.elsewhere,
        "pending": {name: waiting.why for name, waiting in story.waiting.items()},
        "waiting": {name: _why(waiting.reason) for name, waiting in story.waiting.items()},
        "why": " ".join(story.sentences),
        **({} if story.expected is None else {"expected": _expected(story.expected)}),
    }


def _expected(expected: Expected) -> dict[str, Any]:
    return {
        "value": expected.value,
        "found": [
            {"what": item.what, "system": item.system, "at": iso(item.at), "run": item.run, "why": item.why} for item in expected.found
        ],
        "why": " ".join(expected.sentences),
    }


def _why(reason: Why) -> dict[str, Any]:
    return {"why": reason.why, "kind": reason.kind, "step": reason.step}


def _origin(origin: Origin) -> dict[str, Any]:
    return {"system": origin.system, "at": iso(origin.at)}
