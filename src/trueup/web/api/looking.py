"""How things stand: what everybody who is let in may look at. Lists come a page at a time, from the database."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from trueup.core.cells import cell_to_python
from trueup.errors import UsageError
from trueup.reports.alert_words import alert_json, rules_json
from trueup.reports.record_facts import record_dict, story_dict
from trueup.reports.trail import head_dict
from trueup.runtime.explain import explain_record, golden_cells, view_record
from trueup.runtime.past import as_of, moment_named
from trueup.runtime.records import find_record
from trueup.runtime.schedule import name_of, next_after, terms_of
from trueup.store import alert, audit, golden, listing, paused, report
from trueup.store import run as run_table
from trueup.web.access.problems import Problem
from trueup.web.api.parts import LARGEST, After, Here, Limit, Number, Once, Viewer, answer, looked, page
from trueup.web.desk.place import Place

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["look"])
Status = Literal["running", "done", "partial", "held", "failed"]


@router.get("/me", summary="Who you are, and what you may do")
def me(user: Viewer) -> Response:
    """The name, the role, and of a key its number and scopes."""
    return answer({"name": user.name, "role": user.role, "key": user.key, "scopes": sorted(user.scopes)})


@router.get("/status", summary="How things stand")
def status(user: Viewer, here: Here) -> Response:
    """As `trueup status --json`."""
    del user
    return answer(here.workspace.status().as_json())


@router.get("/runs", summary="The past runs, newest first")
def runs(
    user: Viewer,
    here: Here,
    *,
    limit: Limit = 50,
    before: Annotated[int | None, Query(ge=1, le=LARGEST, description="Only runs before this one: the `next` of the page before.")] = None,
    status: Annotated[Status | None, Query(description="Only these.")] = None,
) -> Response:
    """One line per run."""
    del user
    with here.store.read() as db:
        found = listing.some_runs(db, before=before, status=status, limit=limit + 1)
    return page([run_line(one) for one in found], limit, at="run")


def run_line(one: listing.RunLine) -> dict[str, Any]:
    """A run as lists show it."""
    line = {"run": one.id, "status": one.status, "started_at": _iso(one.started_at), "command": one.command, "who": one.who}
    return line | {"seconds": None if one.seconds is None else round(one.seconds, 3)}


@router.get("/runs/{number}", summary="One run in detail")
def run(user: Viewer, here: Here, number: Number) -> Response:
    """As `trueup run N --json`."""
    del user
    with here.store.read() as db:
        found = run_table.get(db, number)
        head = audit.head(db)
    if found is None:
        raise Problem(404, f"there is no run {number}", kind="not-found")
    line = listing.RunLine(found.id, found.command, found.status, found.started_at, found.seconds, found.who)
    summary = dict(orjson.loads(found.summary)) if found.summary else {}
    body = run_line(line) | {"entities": {}} | summary | {"status": found.status, "audit": head_dict(head)}
    return answer(body | ({"error": found.error} if found.error else {}))


@router.get("/runs/{number}/changes", summary="What a run changed, line by line")
def changes(user: Viewer, here: Here, number: Number, *, limit: Limit = 50, after: After = 0) -> Response:
    """The history that the run wrote: record, field, from what to what, and why."""
    looked(user, here, "run", number=number)
    with here.store.read() as db:
        rows = listing.lines_of_run(db, number, after=after, limit=limit + 1)
    return page(list(rows.rename({"gid": "record"}).iter_rows(named=True)), limit)


@router.get("/records/{entity}", summary="Agreed records, and a search in their values")
def records(
    user: Viewer,
    here: Here,
    entity: str,
    *,
    q: Annotated[str, Query(max_length=200, description="A text that stands in any value.")] = "",
    limit: Limit = 50,
    after: After = 0,
) -> Response:
    """By number. A search looks at so many records at a time: a page may be short, or empty, and yet have a `next`."""
    known = _entity(here, entity)
    looked(user, here, "records", entity=entity)
    with here.store.read() as db:
        if q:
            rows, following = listing.records_saying(db, entity, q, after=after, limit=limit)
        else:
            rows = listing.living_records(db, entity, after=after, limit=limit + 1)
            following = None if rows.height <= limit else int(rows["id"][limit - 1])
            rows = rows.head(limit)
    items = []
    for row in rows.iter_rows(named=True):
        cells = golden_cells(row["data"], known)
        items.append({"id": row["id"], "golden": {name: cell_to_python(cell, known.fields[name]) for name, cell in cells.items()}})
    return answer({"items": items, "next": following})


@router.get("/records/{entity}/{key}", summary="One record on one page")
def record(
    user: Viewer,
    here: Here,
    entity: str,
    key: str,
    *,
    at: Annotated[str | None, Query(max_length=40, description="As it was agreed then: an ISO date or time.")] = None,
) -> Response:
    """As `trueup record ENTITY KEY --json`; `key` is a golden id or system:key."""
    moment = moment_named(at) if at is not None else None
    known = _entity(here, entity)
    with here.store.read() as db:
        gid = find_record(here.workspace, db, entity, key)
        view = view_record(db, here.config, known, gid)
        view = view if moment is None else as_of(db, view, moment)
    looked(user, here, "record", entity=entity, record=gid)
    return answer(record_dict(view), headers={"etag": f'"{view.version}"'})


@router.get("/records/{entity}/{key}/explain", summary="Why each value is what it is")
def explain(user: Viewer, here: Here, entity: str, key: str, *, field: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """As `trueup explain ENTITY KEY [FIELD] --json`."""
    known = _entity(here, entity)
    with here.store.read() as db:
        gid = find_record(here.workspace, db, entity, key)
        view = view_record(db, here.config, known, gid)
        stories = explain_record(view, known, field)
    looked(user, here, "explain", entity=entity, record=gid)
    return answer(story_dict(view, stories))


@router.get("/reports", summary="The reports that were handed over, newest first")
def reports(user: Viewer, here: Here, *, limit: Limit = 20) -> Response:
    """When each was made, of which time, and what it counted; to make one now is `POST /api/v1/jobs/report`."""
    del user
    with here.store.read() as db:
        kept = report.list_(db, limit)
    items = [{name: getattr(one, name) for name in ("id", "at", "since", "title") if hasattr(one, name)} for one in kept]
    return answer({"items": items, "next": None})


@router.get("/alerts", summary="The rules of the alerts, and what fires now")
def alerts(user: Viewer, here: Here) -> Response:
    """As `trueup alerts --json`."""
    del user
    with here.store.read() as db:
        firing = alert.list_(db)
    now = [alert_json(one) for one in firing if one.ended_at is None]
    return answer({"rules": rules_json(here.config.alerts), "to": list(here.config.alerts.to), "firing": now})


@router.get("/schedules", summary="What runs when, and what is paused")
def schedules(user: Viewer, here: Here) -> Response:
    """Of each entity its terms and the next moment of each; `realtime` has none."""
    del user
    now = here.clock()
    with here.store.read() as db:
        resting = [{"kind": kind, "name": name} for kind, name in paused.list_(db)]
    found = {
        name: [{"term": name_of(term), "next_at": _iso(next_after(term, now))} for term in terms_of(entity)]
        for name, entity in here.config.entities.items()
    }
    return answer({"entities": found, "paused": resting})


@router.get("/entities", summary="What is kept in agreement, where")
def entities(user: Viewer, here: Here) -> Response:
    """Fields with their types and owners, and the systems of each entity."""
    del user
    found: dict[str, Any] = {}
    for name, entity in here.config.entities.items():
        fields = {field.name: {"type": field.type, "source_of_truth": field.source_of_truth} for field in entity.fields.values()}
        found[name] = {"fields": fields, "systems": list(entity.mappings), "precedence": list(entity.precedence)}
    with here.store.read() as db:
        for name, told in found.items():
            told["records"] = golden.count(db, name)
    return answer(found)


def _entity(here: Place, name: str) -> Any:
    if name not in here.config.entities:
        raise UsageError(f"there is no entity {name!r}", hint=f"configured: {', '.join(here.config.entities)}")
    return here.config.entities[name]


def _iso(moment: Any) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
