"""What waits for a person, and a person's word about it. Of two people who decide the same the second is told so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.responses import Response

from trueup.errors import UsageError
from trueup.reports.queues import Parked as ParkedRow
from trueup.reports.queues import matches_list, placed_dict, settled_dict
from trueup.reports.record_facts import conflict_dict
from trueup.runtime import deciding
from trueup.runtime.explain import open_conflict
from trueup.runtime.mending import mend_failure
from trueup.runtime.parking import place_row, unlink_row
from trueup.runtime.resolve import take_system, take_value
from trueup.store import conflict, hold, listing, parked
from trueup.web.access.problems import Problem
from trueup.web.api.parts import (
    LARGEST,
    MOST,
    After,
    Here,
    Limit,
    Matching,
    Number,
    Once,
    Operator,
    Reviewer,
    Viewer,
    Why,
    answer,
    done_for,
    etag_of,
    looked,
    must_match,
    page,
)
from trueup.web.desk.place import Place

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["decide"])


class Body(BaseModel):
    """A body says what is known, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class Settle(Body):
    """How a conflict is settled: by one of the three."""

    take: StrictStr | None = Field(None, description="Take what this system says.")
    value: StrictStr | None = Field(None, description="Take this value, written as its type is.")
    empty: StrictBool = Field(default=False, description="Take no value at all.")


class Ids(Body):
    """Which failures."""

    ids: list[Annotated[StrictInt, Field(ge=1, le=LARGEST)]] = Field(max_length=MOST)


class Mended(Body):
    """Another value for a field that a system refused."""

    field: StrictStr | None = Field(None, max_length=200, description="Of which field, where the failure names none.")
    value: StrictStr | None = Field(None, description="What it is from now on, written as its type is.")
    empty: StrictBool = Field(default=False, description="No value at all.")


class Answered(Body):
    """What is to become of a hold."""

    decision: Literal["approved", "refused", "left"]


class Placed(Body):
    """Which record a parked row is: one that exists, or one of its own."""

    to: StrictStr | None = Field(None, description="A golden id, or system:key of one of its rows: it is the same.")
    new: StrictBool = Field(default=False, description="It is a record of its own: it is another one.")


class Row(Body):
    """A row of a system."""

    row: StrictStr = Field(description="system:key", max_length=2000)
    entity: StrictStr | None = Field(None, description="Its entity, where several have such a row.")


class Resting(Body):
    """What to pause or to take up again."""

    names: list[StrictStr] = Field(default_factory=list, max_length=MOST, description="Systems or entities.")
    all: StrictBool = Field(default=False, description="Everything.")


# ---------------------------------------------------------------- conflicts


@router.get("/conflicts", summary="The review queue, oldest first")
def conflicts(
    user: Viewer,
    here: Here,
    *,
    entity: Annotated[str | None, Query(max_length=200)] = None,
    field: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 50,
    after: After = 0,
) -> Response:
    """As `trueup conflicts --json`, a page at a time; each with the `etag` that `If-Match` takes."""
    looked(user, here, "conflicts")
    if entity is not None and entity not in here.config.entities:
        raise UsageError(f"there is no entity {entity!r}", hint=f"configured: {', '.join(here.config.entities)}")
    with here.store.read() as db:
        rows = listing.open_conflicts(db, entity=entity, field=field, after=after, limit=limit + 1)
    more = rows.height > limit
    shown = rows.head(limit)
    items = [_conflict(here, row) for row in shown.iter_rows(named=True) if row["entity"] in here.config.entities]
    return answer({"items": items, "next": int(shown["id"][-1]) if more else None})


@router.get("/conflicts/{number}", summary="One conflict")
def one_conflict(user: Viewer, here: Here, number: Number) -> Response:
    """Open, or settled: then how."""
    looked(user, here, "conflicts", number=number)
    with here.store.read() as db:
        row = conflict.get(db, number)
    if row is None or row["entity"] not in here.config.entities:
        raise Problem(404, f"there is no conflict {number}", kind="not-found")
    found = _conflict(here, row)
    closed = {"closed_at": row["closed_at"], "resolution": row["resolution"]}
    return answer(found | closed, headers={"etag": f'"{found["etag"]}"'})


@router.post("/conflicts/{number}/resolve", summary="Settle a conflict")
def resolve(user: Reviewer, here: Here, number: Number, said: Settle, *, match: Matching = None, why: Why = "") -> Response:
    """As `trueup conflicts resolve`; the next run delivers it. 409 where somebody else was first, 412 where it is not as it was."""
    if sum((said.take is not None, said.value is not None, said.empty)) != 1:
        raise Problem(422, "say either `take`, or `value`, or `empty`", kind="not-valid")
    with (
        done_for(user, here, "conflicts resolve", why, number=number, take=_known(here, said.take)),
        here.deciding("conflicts resolve") as store,
    ):
        now = here.clock()
        with store.write() as tx:
            row = conflict.get(tx, number)
            if row is None:
                raise Problem(404, f"there is no conflict {number}", kind="not-found")
            if row["closed_at"] is not None:
                raise _settled(f"conflict {number} was settled", row["resolution"], row["closed_at"])
            must_match(match, etag_of(_facts(row)), f"conflict {number}")
            if said.take is not None:
                done = take_system(store, here.config, number, said.take, now)
            else:
                done = take_value(store, here.config, number, None if said.empty else said.value, now)
    return answer(settled_dict(done, None))


def _facts(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in ("kind", "base", "golden", "candidates")]


def _conflict(here: Place, row: dict[str, Any]) -> dict[str, Any]:
    return conflict_dict(open_conflict(row, here.config.entities[row["entity"]])) | {"etag": etag_of(_facts(row))}


def _settled(what: str, how: Any, at: Any) -> Problem:
    return Problem(409, what, kind="settled", hint="look at it again: somebody else was first", how=how, at=at)


# ---------------------------------------------------------------- failures


@router.get("/failures", summary="What could not be read, mapped, matched or written, and why")
def failures(
    user: Viewer, here: Here, *, entity: Annotated[str | None, Query(max_length=200)] = None, limit: Limit = 50, after: After = 0
) -> Response:
    """As `trueup failures --json`, a page at a time."""
    looked(user, here, "failures")
    if entity is not None and entity not in here.config.entities:
        raise UsageError(f"there is no entity {entity!r}", hint=f"configured: {', '.join(here.config.entities)}")
    with here.store.read() as db:
        rows = listing.failures(db, entity=entity, after=after, limit=limit + 1)
    names = ("id", "entity", "system", "key", "gid", "stage", "field", "reason", "attempts", "next_try_at")
    items = [{("record" if name == "gid" else name): row[name] for name in names} for row in rows.iter_rows(named=True)]
    return page(items, limit)


@router.post("/failures/retry", summary="Try failures again at the next run")
def retry(user: Reviewer, here: Here, said: Ids, *, why: Why = "") -> Response:
    """As `trueup failures retry`; no ids: all."""
    with done_for(user, here, "failures retry", why, ids=said.ids):
        return answer({"retry": deciding.retry_failures(here.store, said.ids or None, here.clock())})


@router.post("/failures/drop", summary="Forget failures")
def drop(user: Reviewer, here: Here, said: Ids, *, why: Why = "") -> Response:
    """As `trueup failures drop`: give up on them, until their record changes."""
    if not said.ids:
        raise Problem(422, "say which failures", kind="not-valid")
    with done_for(user, here, "failures drop", why, ids=said.ids):
        return answer({"dropped": deciding.drop_failures(here.store, said.ids, here.clock())})


@router.post("/failures/{number}/mend", summary="Give a refused field another value, and try again")
def mend(user: Reviewer, here: Here, number: Number, said: Mended, *, why: Why = "") -> Response:
    """As `trueup failures mend`: the value counts in all systems, and the next run delivers it."""
    if (said.value is not None) == said.empty:
        raise Problem(422, "say either `value` or `empty`", kind="not-valid")
    with done_for(user, here, "failures mend", why, number=number), here.deciding("failures mend") as store:
        done = mend_failure(store, here.config, number, said.field, said.value, here.clock())
    return answer(settled_dict(done, None))


# ---------------------------------------------------------------- holds


@router.get("/holds", summary="What a guard stopped")
def holds(user: Viewer, here: Here) -> Response:
    """As `trueup holds --json`."""
    del user
    with here.store.read() as db:
        rows = hold.of(db, decided=False)
    names = ("id", "entity", "system", "kind", "since")
    items = [
        {name: row[name] for name in names} | {"counts": orjson.loads(row["counts"]), "limit": orjson.loads(row["limit_"])}
        for row in rows.iter_rows(named=True)
    ]
    return answer({"items": items, "next": None})


@router.post("/holds/{number}", summary="Approve, refuse or leave a hold")
def decide_hold(user: Operator, here: Here, number: Number, said: Answered, *, why: Why = "") -> Response:
    """As `trueup holds approve|refuse|leave`. Approved is what was counted, as a ceiling. 409 where somebody else was first."""
    with done_for(user, here, f"holds {_VERBS[said.decision]}", why, number=number), here.store.write() as tx:
        row = hold.get(tx, number)
        if row is not None and row["decision"] is not None:
            raise _settled(f"hold {number} was answered", row["decision"], row["decided_at"])
        return answer({"id": number, "decision": said.decision, **deciding.decide_hold(here.store, number, said.decision, here.clock())})


_VERBS = {"approved": "approve", "refused": "refuse", "left": "leave"}


# ---------------------------------------------------------------- matches


@router.get("/matches", summary="Rows that only a person can place")
def matches(user: Viewer, here: Here, *, limit: Limit = 50, after: After = 0) -> Response:
    """As `trueup matches --json`, a page at a time."""
    looked(user, here, "matches")
    with here.store.read() as db:
        rows = listing.parked_rows(db, after=after, limit=limit + 1)
    found = [
        ParkedRow(
            row["id"], row["entity"], row["system"], row["key"], {gid: {} for gid in orjson.loads(row["candidates"] or "[]")}, row["why"],
            row["since"], orjson.loads(row["decision"]) if row["decision"] else None,
        )
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip
    return page(matches_list(found), limit)


@router.post("/matches/unlink", summary="Take a row from its record")
def unlink(user: Reviewer, here: Here, said: Row, *, why: Why = "") -> Response:
    """As `trueup matches unlink`: it is parked, until somebody says where it belongs."""
    with done_for(user, here, "matches unlink", why), here.deciding("matches unlink") as store:
        return answer(placed_dict(unlink_row(store, here.config, said.row, said.entity, here.clock())))


@router.post("/matches/{number}/link", summary="Say which record a row is")
def link(user: Reviewer, here: Here, number: Number, said: Placed, *, why: Why = "") -> Response:
    """As `trueup matches link`: `to` says that it is the same, `new` that it is another one. 409 where somebody has said so before."""
    if (said.to is not None) == said.new:
        raise Problem(422, "say either `to` or `new`", kind="not-valid")
    with done_for(user, here, "matches link", why, number=number, new=said.new), here.deciding("matches link") as store:
        with store.read() as db:
            row = parked.get(db, number)
        if row is None:
            raise Problem(404, f"there is no parked row {number}", kind="not-found", hint="somebody may have placed it before")
        if row["decision"] is not None:
            raise _settled(f"the row {number} was placed", orjson.loads(row["decision"]), row["decided_at"])
        return answer(placed_dict(place_row(here.workspace, store, number, said.to, here.clock())))


# ---------------------------------------------------------------- pausing


@router.post("/pause", summary="Stop deliveries and schedules")
def pause(user: Operator, here: Here, said: Resting, *, why: Why = "") -> Response:
    """As `trueup pause`."""
    return _rest(user, here, said, why, pausing=True)


@router.post("/resume", summary="Take deliveries and schedules up again")
def resume(user: Operator, here: Here, said: Resting, *, why: Why = "") -> Response:
    """As `trueup resume`."""
    return _rest(user, here, said, why, pausing=False)


def _rest(user: Any, here: Place, said: Resting, why: str, *, pausing: bool) -> Response:
    if said.all == bool(said.names):
        raise Problem(422, "say `names`, or `all`, not both", kind="not-valid")
    targets = deciding.EVERYTHING if said.all else deciding.targets_of(said.names, here.config.systems, here.config.entities)
    names = [name for _kind, name in targets if name]
    with done_for(user, here, "pause" if pausing else "resume", why, names=names, all=said.all):
        left = deciding.pause(here.store, targets, here.clock(), pausing=pausing)
    return answer({"paused": [{"kind": kind, "name": name} for kind, name in left]})


def _known(here: Place, name: str | None) -> str | None:
    """A name that the configuration knows, for the audit trail; whatever else was sent is not told."""
    return name if name in here.config.systems else None
