"""Webhooks of an application: how its messages are verified and read, and how one subscribes to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.connectors.rest.template import moment_of, places, render
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.message import Response
    from trueup.connectors.rest.schema import HookShape, RequestShape

LOOK_S = 3600.0
"""Where a file does not say how often an application is asked whether a subscription lives."""
MESSAGE = "message"
"""The setting of `verify` whose places are the receiver's, and not ours."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_of(text: str) -> float:
    """How long `90s`, `15m`, `12h` or `6d` is. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"`{text}` is no span of time: write for example 90s, 15m, 12h or 6d")
    return float(found[1]) * _UNITS[found[2]]


def own_places(verify: Mapping[str, Any]) -> dict[str, Any]:
    """What of `verify` may hold places of a connector file."""
    return {name: value for name, value in verify.items() if name != MESSAGE}


def said_of(shape: HookShape | None, scope: Mapping[str, Any]) -> dict[str, Any] | None:
    """`verify`, `event` and `reply` as a configuration would say them; None where nothing is said, or a secret is not given."""
    if shape is None or any(place.value(scope) is None for place in places(own_places(shape.verify))):
        return None
    kept = {MESSAGE: shape.verify[MESSAGE]} if MESSAGE in shape.verify else {}
    verify = {**render(own_places(shape.verify), scope), **kept}
    more = {name: dict(said) for name, said in (("event", shape.event), ("reply", shape.reply)) if said is not None}
    return {"verify": verify, **more}


@dataclass(frozen=True, slots=True)
class Subscription:
    """See `hooking.Subscribed`."""

    number: str
    ends_at: datetime | None = None


class RestHooks:
    """See `hooking.Hooks`. `shape` says how to subscribe."""

    def __init__(self, client: Client, shape: HookShape, scope: Mapping[str, Any]) -> None:
        """`scope` are the secrets and values of the system."""
        self._client = client
        self._shape = shape
        self._scope = scope
        subscribe = shape.subscribe
        assert subscribe is not None
        self.by_object = any(
            place.name == "object" for place in places((subscribe.path, subscribe.query, subscribe.headers, subscribe.body))
        )
        self.renew_s = seconds_of(shape.renew_every) if shape.renew_every is not None and shape.renew is not None else None
        self.look_s = (seconds_of(shape.alive_every) if shape.alive_every is not None else LOOK_S) if shape.alive is not None else None
        self.ends = shape.unsubscribe is not None

    def subscribe(self, callback: str, secret: str | None, obj: str | None) -> Subscription:
        """See Hooks."""
        assert self._shape.subscribe is not None
        response = self._asked(self._shape.subscribe, callback, secret, obj, None)
        assert response is not None
        found = self._told(response)
        needs_number = any(
            place.name == "id"
            for request in (self._shape.renew, self._shape.alive, self._shape.unsubscribe)
            if request is not None
            for place in places((request.path, request.query, request.headers, request.body))
        )
        if needs_number and not found.number:
            raise ObjectUnreadableError(
                "it was subscribed to, and the answer does not tell the subscription's id",
                hint="correct `webhook: {subscribe: {id: …}}` in the connector file",
                system=self._client.system,
            )
        return found

    def renew(self, number: str, callback: str, secret: str | None, obj: str | None) -> Subscription | None:
        """See Hooks."""
        assert self._shape.renew is not None
        response = self._asked(self._shape.renew, callback, secret, obj, number, gone=True)
        if response is None:
            return None
        found = self._told(response)
        return Subscription(found.number or number, found.ends_at)

    def alive(self, number: str) -> bool:
        """See Hooks."""
        shape = self._shape.alive
        assert shape is not None
        response = self._asked(shape, None, None, None, number, gone=True)
        if response is None:
            return False
        if shape.at is None:
            return True
        value = at(response.json(), parse(shape.at))
        if shape.equals is not None:
            return value in shape.equals
        return value is not ABSENT and value not in (None, False, "", [], {})

    def unsubscribe(self, number: str) -> None:
        """See Hooks."""
        assert self._shape.unsubscribe is not None
        self._asked(self._shape.unsubscribe, None, None, None, number, gone=True)

    def _asked(
        self, shape: RequestShape, callback: str | None, secret: str | None, obj: str | None, number: str | None, *, gone: bool = False
    ) -> Response | None:
        """The answer; None where there is no such subscription and that is an answer. Raises for everything else."""
        scope = {**self._scope, "callback": callback, "secret": secret, "object": obj, "id": number}
        request = built(shape, scope)
        response, trouble = self._client.ask(request, repeat=request.is_read or gone)
        if trouble is None:
            return response
        if gone and trouble.means == "gone":
            return None
        raise self._client.error(trouble, f"its webhooks ({shape.method} {shape.path})")

    def _told(self, response: Response) -> Subscription:
        shape = self._shape.subscribe
        assert shape is not None
        body = response.json()
        number = at(body, parse(shape.id)) if shape.id is not None else ABSENT
        ends = at(body, parse(self._shape.ends)) if self._shape.ends is not None else ABSENT
        told = "" if number is ABSENT or number is None else str(number)
        try:
            return Subscription(told, None if ends is ABSENT or ends is None else moment_of(ends))
        except ValueError:
            return Subscription(told)
