"""Which records are the same: what `trueup dedupe` found, as values and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one field says of a pair: `said` in words (`nearly the same`), `bits` for it or (negative) against it."""

    field: str
    said: str
    bits: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two records and how sure it is that they are the same (0 to 1), the telling fields first.

    `rule` are the fields of the match rule in which they agree; empty: none. `why` says why a person is asked; empty: not sure enough.
    """

    records: tuple[int, int]
    probability: float
    evidence: tuple[Evidence, ...]
    rule: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A record by which people know it: its keys by system, and its values."""

    record: int
    keys: Mapping[str, str]
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The value of a field that stands, why, and those that give way."""

    field: str
    value: Any
    why: str
    beaten: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Records that are the same: the first one stays and takes the others in. `doubles` are rows (system, key) to be parked."""

    records: tuple[Known, ...]
    pairs: tuple[Likeness, ...]
    values: tuple[Chosen, ...]
    doubles: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """Two records that a person is asked about, the one that would stay first."""

    records: tuple[Known, Known]
    pair: Likeness


@dataclass
class Duplicates:
    """What was found about one entity.

    first      there is no state yet: the systems were read, and linked by the match rules, for this report alone
    compared   the fields by which records were compared, with their kinds; `left_out`: why others were not
    trained    whether the model learned from the data; else what is expected beforehand held
    looked_at  pairs of records that were compared
    expected   duplicate pairs that the model expects there to be, among all
    waiting    records that take no part, because values of theirs wait for a person
    parked     rows that are parked already
    run        the run that made the groups one; None: nothing was changed. `asked` are questions that are new then
    """

    entity: str
    records: int
    systems: tuple[str, ...]
    threshold: float
    review: float
    first: bool = False
    compared: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    trained: bool = False
    looked_at: int = 0
    expected: float = 0.0
    waiting: int = 0
    parked: int = 0
    groups: list[Group] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    run: int | None = None
    united: int = 0
    doubles: int = 0
    asked: int = 0

    @property
    def fewer(self) -> int:
        """How many records there are fewer once the groups are one each."""
        return sum(len(group.records) - 1 for group in self.groups)


def duplicates_dict(found: Duplicates) -> dict[str, Any]:
    """The JSON form."""
    return {
        "entity": found.entity,
        "records": found.records,
        "systems": list(found.systems),
        "first": found.first,
        "threshold": found.threshold,
        "review": found.review,
        "compared": dict(found.compared),
        "left_out": dict(found.left_out),
        "trained": found.trained,
        "looked_at": found.looked_at,
        "expected": round(found.expected, 1),
        "waiting": found.waiting,
        "parked": found.parked,
        "groups": [_group(group) for group in found.groups],
        "questions": [
            {"records": [_known(one) for one in question.records], **_pair(question.pair), "why": question.pair.why}
            for question in found.questions
        ],
        "run": found.run,
        "united": found.united,
        "doubles": found.doubles,
        "asked": found.asked,
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "records": [_known(one) for one in group.records],
        "pairs": [{"records": list(pair.records), **_pair(pair)} for pair in group.pairs],
        "values": {one.field: {"value": one.value, "why": one.why, "instead_of": list(one.beaten)} for one in group.values},
        "doubles": [f"{system}:{key}" for system, key in group.doubles],
    }


def _known(one: Known) -> dict[str, Any]:
    return {"record": one.record, "keys": dict(one.keys), "values": dict(one.values)}


def _pair(pair: Likeness) -> dict[str, Any]:
    return {
        "probability": round(pair.probability, 4),
        "rule": list(pair.rule) or None,
        "because": [{"field": one.field, "is": one.said, "bits": round(one.bits, 1)} for one in pair.evidence],
    }
