"""From the checklist to a configuration: what follows from answers, what systems hold, what is proposed, and what would come of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field, StrictBool, StrictInt, StrictStr
from starlette.responses import Response

from trueup.decide.answers import Ability, Answers, Budget, Cost, Delay, Frequency, Ownership, Quality, contradiction
from trueup.decide.verdict import recommend
from trueup.errors import UsageError
from trueup.reports.verdict_text import verdict_dict
from trueup.runtime.summaries import summary_dict
from trueup.setup.written import proposals
from trueup.web.access.problems import Problem
from trueup.web.api.configuration import Text
from trueup.web.api.deciding import Body
from trueup.web.api.parts import LARGEST, Admin, Here, Once, Viewer, Why, answer, done_for
from trueup.web.desk.changing import mark_of, text_of
from trueup.web.desk.draft import look_ahead, where
from trueup.web.desk.place import Place

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["set up"])


class Given(Body):
    """Answers for one kind of record, as in a file for `trueup decide`."""

    frequency: Frequency
    delay: Delay
    error_cost: Cost
    people: StrictInt = Field(ge=1, le=LARGEST)
    systems: StrictInt = Field(ge=2, le=LARGEST)
    ownership: Ownership
    quality: Quality
    maintenance: StrictBool
    kind: StrictStr | None = Field(None, max_length=200)
    abilities: list[Ability] = Field(default_factory=list, max_length=3)
    volume: StrictInt | None = Field(None, ge=0, le=LARGEST)
    volume_in_two_years: StrictInt | None = Field(None, ge=0, le=LARGEST)
    regulated: StrictBool | None = None
    budget: Budget | None = None


class Records(Body):
    """The answers, by kind of record."""

    records: dict[StrictStr, Given] = Field(min_length=1, max_length=50)


class System(Body):
    """A system as `trueup init` takes it."""

    name: StrictStr = Field(max_length=100)
    address: StrictStr = Field(max_length=10_000, description="A database's URL, or a file on the server.")


@router.post("/decide", summary="What follows from answers to the checklist")
def decide(user: Viewer, said: Records) -> Response:
    """As `trueup decide --json`. Keeps nothing."""
    del user
    records: dict[str, Answers] = {}
    for name, given in said.records.items():
        why = contradiction(given.frequency, given.delay)
        if why is not None:
            raise Problem(422, f"two answers do not go together: {why}", kind="not-valid", hint=f"records/{name}: frequency, delay")
        records[name] = Answers(**(given.model_dump() | {"abilities": tuple(given.abilities)}))
    return answer(verdict_dict(records, recommend(records)))


@router.get("/setup", summary="The project that is being put together")
def setting_up(user: Admin, here: Here) -> Response:
    """The systems that were connected, what is proposed of them, and the file as it would be. Null where nothing belongs together yet."""
    with done_for(user, here, "setup"), here.store.write():
        pass  # whoever is shown what systems hold is told in the audit trail
    return answer(_standing(here))


@router.post("/setup/systems", summary="Connect a system to the project that is being put together", status_code=201)
def connect(user: Admin, here: Here, said: System, *, why: Why = "") -> Response:
    """Reads it, and keeps the address of a database sealed; saves no configuration. Only where there is none yet."""
    if not here.draft.begins:
        raise Problem(409, "there is a configuration already", kind="refused", hint="PUT /api/v1/config changes it")
    item = here.draft.connect(said.name, said.address)
    if item.url is not None:
        try:
            with done_for(user, here, "secrets set", why, secret=item.variable):
                here.draft.seal(here.store, item, here.clock())
        except BaseException:
            here.draft.remove(item.name)
            raise
    return answer(_standing(here), 201)


@router.delete("/setup/systems/{name}", summary="Leave a system out again")
def leave_out(user: Admin, here: Here, name: str) -> Response:
    """Of what was connected and not saved."""
    del user
    if name not in {item.name for item in here.draft.addresses}:
        raise UsageError(f"there is no system {name[:100]!r}", hint="GET /api/v1/setup lists them")
    here.draft.remove(name)
    return answer(_standing(here))


@router.post("/config/plan", summary="What would come of a configuration: the difference, what is wrong with it, and what a sync would do")
def plan(user: Admin, here: Here, said: Text) -> Response:
    """Reads the systems, and changes nothing anywhere. `plan` is null where something stops a run."""
    before = text_of(here)
    with done_for(user, here, "plan"), here.store.write():
        pass  # whoever is shown records is told in the audit trail
    found = look_ahead(here, said.text, before)
    planned = None if found.plan is None else summary_dict(found.plan)
    return answer({"diff": found.diff, "etag": mark_of(before), "check": found.findings.as_json(), "plan": planned})


def _standing(here: Place) -> dict[str, Any]:
    draft = here.draft
    systems = [
        {
            "name": item.name,
            "connector": item.connector,
            "where": where(item),
            "objects": [
                {"name": one.name, "rows": one.rows, "columns": len(one.columns), "key": list(one.key)}
                for one in draft.seen.samples[item.name]
            ],
        }
        for item in draft.addresses
    ]
    try:
        entities: list[dict[str, object]] | None = proposals(draft.entities)
        text: str | None = draft.text()
        missing = None
    except UsageError as error:
        entities = text = None
        missing = error.message
    return {"systems": systems, "entities": entities, "text": text, "missing": missing, "left_out": draft.seen.left_out}
