"""People and keys: admins let others in, everybody looks after keys and the password of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field, StrictBool, StrictInt, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from trueup.store import api_key, person
from trueup.web.access import keys, people
from trueup.web.access.problems import Problem
from trueup.web.access.roles import at_least
from trueup.web.api.deciding import Body
from trueup.web.api.parts import SHOWN_ONCE, Admin, Here, Once, Viewer, Why, answer, done_for

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["people"])
Name = Annotated[str, Path(max_length=200)]
RoleName = Literal["viewer", "reviewer", "operator", "admin"]


class NewPerson(Body):
    """Somebody who is let in."""

    name: StrictStr = Field(max_length=200)
    role: RoleName = "viewer"


class Role(Body):
    """What somebody may do."""

    role: RoleName


class NewKey(Body):
    """A key for a program."""

    name: StrictStr = Field(max_length=200, description="What uses it.")
    scopes: list[Literal["read", "decide", "operate", "administer"]] = Field(min_length=1, max_length=4)
    days: StrictInt = Field(90, ge=1, le=keys.LONGEST_DAYS)
    person: StrictStr | None = Field(None, description="For whom it acts; left out: you. For others an admin alone.")


class Rotated(Body):
    """How a key is given another secret."""

    days: StrictInt = Field(90, ge=1, le=keys.LONGEST_DAYS)
    at_once: StrictBool = Field(default=False, description="The one before is good no more; else it is for a day.")


@router.get("/people", summary="Who may enter, and as what")
def all_people(user: Admin, here: Here) -> Response:
    """As `trueup users list --json`."""
    del user
    with here.store.read() as db:
        return answer({"items": [people.person_dict(one) for one in person.list_(db)], "next": None})


@router.post("/people", summary="Let somebody in", status_code=201)
def add(user: Admin, here: Here, request: Request, said: NewPerson, *, why: Why = "") -> Response:
    """The answer holds the link with which they choose their password, which is shown once."""
    with done_for(user, here, "users add", why, role=said.role):
        one, token = people.add(here.store, said.name, said.role, here.clock())
    return answer(people.person_dict(one) | {"link": _link(request, token)}, 201, {SHOWN_ONCE: "link"})


@router.post("/people/{name}/invite", summary="Make another link for somebody")
def invite(user: Admin, here: Here, request: Request, name: Name, *, why: Why = "") -> Response:
    """Links of before are good no more."""
    with done_for(user, here, "users invite", why):
        one, token = people.invite(here.store, name, here.clock())
    return answer(people.person_dict(one) | {"link": _link(request, token)}, 200, {SHOWN_ONCE: "link"})


@router.put("/people/{name}/role", summary="Change what somebody may do")
def set_role(user: Admin, here: Here, name: Name, said: Role, *, why: Why = "") -> Response:
    """At once, also where they are logged in."""
    with done_for(user, here, "users role", why, role=said.role):
        return answer(people.person_dict(people.set_role(here.store, name, said.role, here.clock())))


@router.post("/people/{name}/disable", summary="Let somebody in no more")
def disable(user: Admin, here: Here, name: Name, *, why: Why = "") -> Response:
    """Sessions, links and keys are over at once."""
    with done_for(user, here, "users disable", why):
        return answer(people.person_dict(people.disable(here.store, name, here.clock())))


@router.post("/people/{name}/enable", summary="Let somebody in again")
def enable(user: Admin, here: Here, name: Name, *, why: Why = "") -> Response:
    """With the role and the password of before."""
    with done_for(user, here, "users enable", why):
        return answer(people.person_dict(people.enable(here.store, name, here.clock())))


@router.get("/keys", summary="Keys of programs: yours, and as an admin everybody's")
def all_keys(user: Viewer, here: Here) -> Response:
    """As `trueup users key list --json`; no key itself is shown."""
    with here.store.read() as db:
        names = {one.id: one.name for one in person.list_(db)}
        found = api_key.list_(db, None if user.may("admin") else user.id)
    return answer({"items": [keys.key_dict(one, names[one.person], here.clock()) for one in found], "next": None})


@router.post("/keys", summary="Make a key", status_code=201)
def make_key(user: Viewer, here: Here, said: NewKey, *, why: Why = "") -> Response:
    """The answer holds the key, which is shown once. Somebody who shows a key cannot make one that may do more."""
    owner = user.name if said.person is None else people.shaped_name(said.person)
    if owner != user.name and not user.may("admin"):
        raise Problem(403, "only an admin makes keys for others", kind="not-allowed")
    if user.key is not None and not (user.may("admin") or set(said.scopes) <= user.scopes):
        raise Problem(403, "a key cannot make one that may do more than itself", kind="not-allowed")
    with done_for(user, here, "users key add", why):
        one, made = keys.make(here.store, owner, said.name, list(said.scopes), said.days, here.clock())
    return answer(keys.key_dict(one, owner, here.clock()) | {"key": made}, 201, {SHOWN_ONCE: "key"})


@router.post("/keys/{number}/rotate", summary="Give a key another secret")
def rotate_key(user: Viewer, here: Here, number: str, said: Rotated, *, why: Why = "") -> Response:
    """The answer holds the key, which is shown once."""
    _mine(user.key, number, may_all=user.may("admin"))
    with done_for(user, here, "users key rotate", why):
        owner = None if user.may("admin") else user.id
        one, made = keys.rotate(here.store, number, said.days, here.clock(), at_once=said.at_once, owner=owner)
    with here.store.read() as db:
        who = person.get(db, one.person)
    return answer(keys.key_dict(one, who.name if who else "", here.clock()) | {"key": made}, 200, {SHOWN_ONCE: "key"})


@router.delete("/keys/{number}", summary="Let a key open nothing any more")
def revoke_key(user: Viewer, here: Here, number: str, *, why: Why = "") -> Response:
    """At once."""
    _mine(user.key, number, may_all=user.may("admin"))
    with done_for(user, here, "users key revoke", why):
        one = keys.revoke(here.store, number, here.clock(), owner=None if at_least(user.role, "admin") and user.may("admin") else user.id)
    return answer({"revoked": one.id})


def _mine(shown: str | None, number: str, *, may_all: bool) -> None:
    """Raises Problem where a program with a key would change another key: it may rotate or revoke its own."""
    if shown is not None and shown != number and not may_all:
        raise Problem(403, "a key looks after no other key", kind="not-allowed")


def _link(request: Request, token: str) -> str:
    """Where the link leads, as whoever asked for it reaches this server."""
    scheme = "https" if request.scope.get("trueup.secure") else "http"
    return f"{scheme}://{request.headers.get('host', '')}/setup?token={token}"
