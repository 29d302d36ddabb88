"""What a rehearsal showed: the facts, and their public JSON form. Every value in them is a masked one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.reports.verify_facts import Agreement

Outcome = Literal["agreed", "merged", "gave way", "overruled", "waits", "rejected", "held", "replaced", "gone", "alone", "lost"]
"""What became of one edit: `agreed` its value stands everywhere; `merged` it counts in a value made of several; `gave way` another one
stands by the field's rule, and it is in the history; `overruled` another system owns the field; `waits` for a person; `rejected` with a
reason; `held` by a guard; `replaced` by a later edit of the same row and field; `gone` with its row; `alone` no other system has the field;
`lost` nobody knows of it any more, which must not be."""
OUTCOME_WORDS: Mapping[Outcome, str] = {
    "agreed": "stand everywhere",
    "merged": "counted in",
    "gave way": "gave way by the rule, kept in the history",
    "overruled": "overruled: another system owns the field",
    "waits": "wait for a person",
    "rejected": "rejected, with the reason",
    "held": "held by a guard",
    "replaced": "edited again before anybody looked",
    "gone": "went with their row",
    "alone": "in no other system",
    "lost": "LOST",
}


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """One object that was copied: how many rows there are, and how many copies were made. `columns`: name -> how it was masked."""

    system: str
    object: str
    entities: tuple[str, ...]
    rows: int
    copied: int
    unreadable: int
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """One system in one entity over a part of the rehearsal: what was noticed there, and what was written there."""

    entity: str
    system: str
    read: int = 0
    rejected: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class MoveFacts:
    """One move of the script: in words, how many rows it changed, and what became of these edits."""

    round: str
    said: str
    rows: int
    outcomes: Mapping[Outcome, int]


@dataclass(frozen=True, slots=True)
class SettledFacts:
    """One field in which edits met. `settled`: by which rule, and how often; `waiting`: how many a person decides; `asks`: who."""

    entity: str
    field: str
    settled: Mapping[str, int]
    waiting: int
    asks: str | None


@dataclass(frozen=True, slots=True)
class HeldFacts:
    """What a guard stopped, out of how many rows, and how many it lets pass. `when`: `first` or `script`."""

    entity: str
    system: str
    kind: str
    count: int
    rows: int | None
    allowed: int | None
    when: Literal["first", "script"]


@dataclass(frozen=True, slots=True)
class RejectFacts:
    """Rows or values that could not be read or written, by their reason. `when`: `first` or `script`."""

    entity: str
    system: str
    field: str | None
    stage: str
    reason: str
    count: int
    when: Literal["first", "script"]


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What one system was asked, and how long a first load would take it. `rows_per_s`: its limit, None where there is none."""

    system: str
    calls: Mapping[str, int]
    rows_read: int
    rows_written: int
    troubles: Mapping[str, int]
    rows_per_s: float | None
    first_load_rows: int
    first_load_s: float | None


@dataclass(slots=True)
class Rehearsal:
    """A whole rehearsal.

    retries     calls that failed and were made again
    duplicates  rows that trueup made although the record had one there
    lost        edits that nobody knows of any more
    status      what its first run would exit with
    """

    began_at: datetime
    seed: int
    weather: str
    config: str
    copies: list[CopyFacts] = dataclasses.field(default_factory=list)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    first: list[FlowFacts] = dataclasses.field(default_factory=list)
    first_status: str = "done"
    first_conflicts: int = 0
    first_parked: int = 0
    after: list[FlowFacts] = dataclasses.field(default_factory=list)
    moves: list[MoveFacts] = dataclasses.field(default_factory=list)
    settled: list[SettledFacts] = dataclasses.field(default_factory=list)
    held: list[HeldFacts] = dataclasses.field(default_factory=list)
    rejected: list[RejectFacts] = dataclasses.field(default_factory=list)
    loads: list[LoadFacts] = dataclasses.field(default_factory=list)
    runs: int = 0
    kills: list[str] = dataclasses.field(default_factory=list)
    made: int = 0
    duplicates: int = 0
    agreement: Agreement | None = None
    quiet: bool = True
    seconds: float = 0.0
    copy_seconds: float = 0.0
    first_seconds: float = 0.0
    advice: list[str] = dataclasses.field(default_factory=list)

    @property
    def edits(self) -> Counter[Outcome]:
        """What became of all edits of the script."""
        counted: Counter[Outcome] = Counter()
        for move in self.moves:
            counted.update(move.outcomes)
        return counted

    @property
    def lost(self) -> int:
        """Edits of which nothing is known any more."""
        return self.edits["lost"]

    @property
    def troubles(self) -> Counter[str]:
        """What the weather did, in all systems."""
        counted: Counter[str] = Counter()
        for load in self.loads:
            counted.update(load.troubles)
        return counted

    @property
    def agrees(self) -> bool:
        """Whether all copies agree at the end, and stay so."""
        return self.agreement is not None and self.agreement.agrees and self.quiet

    @property
    def rows_per_s(self) -> float | None:
        """Rows written in a second of the first run; None where none were."""
        written = sum(flow.created + flow.updated for flow in self.first)
        return written / self.first_seconds if written and self.first_seconds else None

    @property
    def status(self) -> Literal["done", "partial", "held"]:
        """`held`: a guard would stop the first run; `partial`: that run leaves something for a person, or a promise was broken."""
        if any(held.when == "first" for held in self.held):
            return "held"
        sound = self.agrees and not self.lost and not self.duplicates and not self.left_out
        return "done" if sound and not any(reject.when == "first" for reject in self.rejected) else "partial"


def rehearsal_dict(found: Rehearsal) -> dict[str, Any]:
    """The public form; documented in docs/reference."""
    agreement = found.agreement
    return {
        "status": found.status,
        "began_at": found.began_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(found.seconds, 3),
        "seed": found.seed,
        "weather": found.weather,
        "copies": [
            _plain(item) | {"columns": [{"column": name, "masked": how} for name, how in item.columns.items()]} for item in found.copies
        ],
        "left_out": dict(found.left_out),
        "notes": list(found.notes),
        "first_run": {
            "status": found.first_status,
            "seconds": round(found.first_seconds, 3),
            "conflicts": found.first_conflicts,
            "parked": found.first_parked,
            "systems": [_plain(item) for item in found.first],
        },
        "script": [_plain(item) | {"outcomes": _edits(item.outcomes)} for item in found.moves],
        "after": [_plain(item) for item in found.after],
        "edits": _edits(found.edits),
        "settled": [
            _plain(item) | {"settled": [{"rule": rule, "times": times} for rule, times in item.settled.items()]} for item in found.settled
        ],
        "held": [_plain(item) for item in found.held],
        "rejected": [_plain(item) for item in found.rejected],
        "systems": [
            _plain(item) | {"troubles": [{"what": what, "times": times} for what, times in item.troubles.items()]} for item in found.loads
        ],
        "runs": found.runs,
        "kills": list(found.kills),
        "lost": found.lost,
        "made": found.made,
        "duplicates": found.duplicates,
        "agree": found.agrees,
        "entities": {
            name: {
                system: {kind: getattr(item, kind) for kind in ("rows", "differ", "missing", "extra", "waiting")}
                for system, item in entity.systems.items()
            }
            for name, entity in (agreement.entities if agreement is not None else {}).items()
        },
        "advice": list(found.advice),
    }


def _edits(outcomes: Mapping[Outcome, int]) -> list[dict[str, Any]]:
    return [{"outcome": outcome, "edits": number} for outcome, number in outcomes.items()]


def _plain(item: Any) -> dict[str, Any]:
    return dataclasses.asdict(item)
