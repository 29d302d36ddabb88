"""The configuration: the file as it is, what a change would make of it, and the change, with comments kept as they are written."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field, StrictStr
from starlette.responses import Response

from trueup.web.access.problems import Problem
from trueup.web.api.deciding import Body
from trueup.web.api.parts import Admin, Here, Matching, Once, Why, answer, done_for, must_match
from trueup.web.desk.changing import difference, mark_of, save, text_of, tried

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["configuration"])
MOST_CHARACTERS = 2_000_000


class Text(Body):
    """The whole file as it is to be."""

    text: StrictStr = Field(max_length=MOST_CHARACTERS)


@router.get("/config", summary="The configuration file")
def read(user: Admin, here: Here) -> Response:
    """Its text, which may hold passwords where somebody wrote them there, and the `etag` for a change. Empty: there is none yet."""
    with done_for(user, here, "config"), here.store.write():
        pass  # whoever looks at it is told in the audit trail
    text = text_of(here)
    return answer({"file": here.config.file, "text": text, "etag": mark_of(text)}, headers={"etag": f'"{mark_of(text)}"'})


@router.post("/config/propose", summary="What a change would be: the difference, or what is wrong with it")
def propose(user: Admin, here: Here, said: Text) -> Response:
    """Changes nothing. 422 with every problem, each with its line, where the file could not be used."""
    del user
    before = text_of(here)
    with tried(here, said.text):
        return answer({"diff": difference(before, said.text), "etag": mark_of(before)})


@router.put("/config", summary="Change the configuration file")
def apply(user: Admin, here: Here, said: Text, *, match: Matching = None, why: Why = "") -> Response:
    """Needs `If-Match` with the `etag` that was read: 412 where somebody has changed it since. `serve` takes it up at once."""
    if match is None:
        raise Problem(428, "say with If-Match which file you have changed", kind="precondition", hint="GET /api/v1/config gives the etag")
    before = text_of(here)
    must_match(match, mark_of(before), "the configuration")
    save(here, user, before, said.text, why)
    return answer({"diff": difference(before, said.text), "etag": mark_of(said.text)})
