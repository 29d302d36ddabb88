"""What all routes share: answers as the commands print them, pages of lists, and requests that may come twice."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import Depends, Header, Path, Query
from fastapi.routing import APIRoute
from starlette.responses import Response

from trueup.store import answered
from trueup.web.access.asking import acting, current_user, require
from trueup.web.access.problems import Problem
from trueup.web.access.user import User
from trueup.web.desk.place import Place, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractContextManager

    from starlette.requests import Request

Viewer = Annotated[User, Depends(require("viewer"))]
Reviewer = Annotated[User, Depends(require("reviewer"))]
Operator = Annotated[User, Depends(require("operator"))]
Admin = Annotated[User, Depends(require("admin"))]
Here = Annotated[Place, Depends(place_of)]
LARGEST = 2**63 - 2
MOST = 200
Number = Annotated[int, Path(ge=1, le=LARGEST)]
Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
After = Annotated[int, Query(ge=0, le=LARGEST, description="Go on after this one: the `next` of the page before.")]
Matching = Annotated[str | None, Header(alias="If-Match", description="Only if it is still as it was when this `etag` was shown.")]
Why = Annotated[str, Query(max_length=500, description="Why, for the audit trail.")]
KEPT = timedelta(days=1)
SHOWN_ONCE = "x-trueup-shown-once"
"""An answer with this header is kept without its body: it shows a secret."""


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as `--json` prints it: decimals as exact text, times in UTC with a Z."""
    text = orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return Response(text, status, dict(headers or {}), media_type="application/json")


def page(items: Sequence[Mapping[str, Any]], limit: int, at: str = "id") -> Response:
    """One page of a list that was asked for one more than `limit`; `next` is where the next page begins, null on the last."""
    shown = items[:limit]
    return answer({"items": shown, "next": shown[-1][at] if len(items) > limit else None})


def etag_of(value: Any) -> str:
    """What changes when the value does."""
    return hashlib.sha256(orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()[:32]


def must_match(given: str | None, now: str, what: str) -> None:
    """Raises Problem where somebody decided about something that has changed since they looked."""
    if given is not None and given.strip() != "*" and now not in {part.strip().removeprefix("W/").strip('"') for part in given.split(",")}:
        raise Problem(412, f"{what} has changed since you looked", kind="changed", hint="look at it again, and decide then", etag=now)


def done_for(user: User, here: Place, what: str, why: str = "", **arguments: Any) -> AbstractContextManager[None]:
    """What is changed within the block is done for this user; `what` is the command that does the same."""
    told = {name: value for name, value in arguments.items() if value not in (None, False, "")}
    return acting(user, what, told, why=why, config=here.config)


def looked(user: User, here: Place, what: str, **arguments: Any) -> None:
    """Let the audit trail say that somebody was shown records, as it says so of the command."""
    with done_for(user, here, what, **arguments), here.store.write():
        pass


class Once(APIRoute):
    """A route whose requests may come twice: with the same `Idempotency-Key` it is done once, and answered the same again."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which looks at that header first."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            key, user = request.headers.get("idempotency-key"), current_user(request)
            if key is None or user is None or request.method in {"GET", "HEAD"}:
                return await handle(request)
            if not 1 <= len(key) <= 200 or not key.isprintable():
                raise Problem(422, "an Idempotency-Key has 1 to 200 printable characters", kind="not-valid")
            place = place_of(request)
            who = f"{user.id}/{user.key or ''}"
            asked = etag_of([request.method, request.url.path, request.url.query, (await request.body()).hex()])

            def begin() -> answered.Answered | None:
                now = place.clock()
                with place.store.write() as tx:
                    return answered.begin(tx, who, key, asked, at=now, forget_before=now - KEPT)

            before = await asyncio.to_thread(begin)
            if before is not None:
                return _again(before, asked)
            try:
                found = await handle(request)
            except BaseException:
                await asyncio.to_thread(_forget, place, who, key)
                raise
            body = "" if SHOWN_ONCE in found.headers else bytes(found.body).decode()
            await asyncio.to_thread(_keep, place, who, key, found.status_code, body)
            return found

        return once


def _again(before: answered.Answered, asked: str) -> Response:
    if before.request != asked:
        raise Problem(422, "this Idempotency-Key was used for another request", kind="key-reused", hint="take a new one for each request")
    if before.status is None:
        raise Problem(
            409, "the same request is at work, or was cut off", kind="at-work", hint="look whether it was done before you repeat it"
        )
    if not before.body:
        raise Problem(409, "this was done before; what it showed is not shown again", kind="shown-once", hint="make or rotate another one")
    return Response(before.body, before.status, {"idempotency-replayed": "true"}, media_type="application/json")


def _keep(place: Place, who: str, key: str, status: int, body: str) -> None:
    with place.store.write() as tx:
        answered.ended(tx, who, key, status, body)


def _forget(place: Place, who: str, key: str) -> None:
    with place.store.write() as tx:
        answered.forget(tx, who, key)
