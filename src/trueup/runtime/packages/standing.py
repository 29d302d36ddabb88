"""How far packages are, as the state keeps it: a fact per entity and place going out, per entity and system coming in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from trueup.runtime.schedule import next_after
from trueup.store import meta

if TYPE_CHECKING:
    from trueup.model import Package, When
    from trueup.store import Db

SEEN = 10
"""Of so many packages it is known which one it was that was taken under its number."""
LOOKED_BACK = timedelta(days=15)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong now, and since when. `kind` is a PackageTrouble, or `unreachable`; `name` the package, empty where none is meant."""

    kind: str
    name: str
    why: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """Packages of one entity to one place. `sequence` is that of the last one there (0: none), `statement` the SHA-256 of what it says.

    `writing` holds the same facts of one that is being put there, until it is known to be there. `answer`: what the last answer said:
    sequence, status, kind, why, waiting.
    """

    sequence: int = 0
    at: datetime | None = None
    cutoff: datetime | None = None
    rows: int = 0
    gone: int = 0
    name: str = ""
    statement: str = ""
    writing: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    unanswered_since: datetime | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """Packages of one entity that become one system. `sequence` is the last one taken or refused (0: none), `status` which of the two.

    `digest` is the SHA-256 of the file that the last accepted package became; `settled`: a pass has looked at all of it; `before` what the
    sequence was before that one. `answered`: the answer to the last one is where it belongs. `seen`: number -> which package it was.
    """

    since: datetime
    sequence: int = 0
    before: int = 0
    at: datetime | None = None
    cutoff: datetime | None = None
    name: str = ""
    status: str = ""
    kind: str | None = None
    why: str | None = None
    rows: int = 0
    totals: dict[str, str] = field(default_factory=dict)
    statement: str = ""
    digest: str = ""
    accepted: int = 0
    settled: bool = True
    run: int | None = None
    waiting: int = 0
    answered: bool = True
    seen: dict[str, str] = field(default_factory=dict)
    trouble: Trouble | None = None

    def took(self, number: int, stamp: str) -> dict[str, str]:
        """`seen` with one more."""
        kept = [*((name, text) for name, text in self.seen.items() if name != str(number)), (str(number), stamp)]
        return dict(kept[-SEEN:])


_MOMENTS = ("since", "at", "cutoff", "unanswered_since")


def sent(db: Db, package: Package, place: str) -> Sent:
    """How far the packages to a place are."""
    text = meta.get(db, _out(package, place))
    return Sent() if text is None else Sent(**_loaded(text))


def keep_sent(tx: Db, package: Package, place: str, known: Sent) -> None:
    """Keep it."""
    meta.set_(tx, _out(package, place), _dumped(known))


def received(db: Db, package: Package) -> Received | None:
    """How far the packages that become a system are; None where none was ever looked for."""
    text = meta.get(db, _in(package))
    return None if text is None else Received(**_loaded(text))


def keep_received(tx: Db, package: Package, known: Received) -> None:
    """Keep it."""
    meta.set_(tx, _in(package), _dumped(known))


def troubled(known: Trouble | None, kind: str, name: str, why: str, now: datetime) -> Trouble:
    """A trouble that is found now; the same one as before goes on since then."""
    if known is not None and (known.kind, known.name) == (kind, name):
        return replace(known, why=why)
    return Trouble(kind, name, why, now)


def _out(package: Package, place: str) -> str:
    return f"packages out {package.entity} {place}"


def _in(package: Package) -> str:
    return f"packages in {package.entity} {package.system}"


def _dumped(known: Sent | Received) -> str:
    return orjson.dumps(asdict(known), option=orjson.OPT_UTC_Z).decode()


def _loaded(text: str) -> dict[str, Any]:
    said: dict[str, Any] = orjson.loads(text)
    for name in _MOMENTS:
        if said.get(name) is not None:
            said[name] = datetime.fromisoformat(said[name])
    if said.get("trouble") is not None:
        trouble = said["trouble"]
        said["trouble"] = Trouble(**(trouble | {"since": datetime.fromisoformat(trouble["since"])}))
    return said


# ---------------------------------------------------------------- times


def last_before(term: When, now: datetime) -> datetime | None:
    """The last occurrence of a time of day up to now; None where there was none within fifteen days."""
    found, moment = None, next_after(term, now - LOOKED_BACK)
    while moment is not None and moment <= now:
        found, moment = moment, next_after(term, moment)
    return found


@dataclass(frozen=True, slots=True)
class Overdue:
    """A package that has not come: since when it is late, and whether another one should have come meanwhile as well."""

    since: datetime
    missing: bool


def overdue(package: Package, known: Received, now: datetime) -> Overdue | None:
    """Whether a package should have come by now. The one that is due at a time is of a cut-off after the time before."""
    term = package.expected_by
    if term is None:
        return None
    due: list[datetime] = []
    moment = next_after(term, max(known.since, now - LOOKED_BACK).astimezone(UTC))
    while moment is not None and moment <= now:
        due.append(moment)
        moment = next_after(term, moment)
    before = last_before(term, known.since)
    starts = [before if before is not None else known.since, *due]
    # One whose cut-off lies within a span between two due times satisfies the second of them.
    lacking = [at for start, at in zip(starts, due, strict=False) if known.cutoff is None or known.cutoff <= start]
    return Overdue(lacking[0], len(lacking) > 1) if lacking else None
