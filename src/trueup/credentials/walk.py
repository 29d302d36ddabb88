"""The way to a first token: by a browser (RFC 6749, 4.1 with PKCE, RFC 7636), by a code typed in elsewhere (RFC 8628), or by nobody."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from queue import Empty, Queue
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from trueup.credentials.endpoint import NotYetError, ServerAwayError
from trueup.credentials.loopback import Loopback, known_state, parameters
from trueup.errors import AccessRefusedError, GrantExpiredError, keep_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.credentials.endpoint import DeviceCode, Endpoint
    from trueup.credentials.grant import Grant
    from trueup.credentials.token import Token

SLOWER_S = 5.0
LOOK_S = 0.5
_OWN = {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}


class Person(Protocol):
    """Whoever is asked."""

    pasted: Queue[str]
    """Lines that came by hand: the address that a browser was sent to, where it runs on another machine."""

    def show_page(self, address: str, redirect_uri: str) -> None:
        """A page on which to agree."""
        ...

    def show_code(self, code: DeviceCode) -> None:
        """A code to type in, and where."""
        ...

    def say(self, text: str) -> None:
        """What is wrong with what came by hand; the wait goes on."""
        ...


def walk(grant: Grant, endpoint: Endpoint, person: Person, *, limit_s: float, now: Callable[[], float] = time.monotonic) -> Token:
    """A token for this grant.

    Raises GrantExpiredError where it was refused or not given in time, AccessRefusedError, SystemUnreachableError, UsageError.
    """
    if not grant.by_person:
        return endpoint.alone()
    if grant.kind == "device_code":
        return _by_device(endpoint, person, limit_s, now)
    return _by_browser(grant, endpoint, person, limit_s, now)


def page_address(grant: Grant, redirect_uri: str, state: str, verifier: str) -> str:
    """The page on which a person agrees."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    parts = urlsplit(grant.authorize_url)
    own = {
        "response_type": "code",
        "client_id": grant.client_id,
        "redirect_uri": redirect_uri,
        **({"scope": grant.scope} if grant.scope else {}),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    others = [(name, value) for name, value in [*parse_qsl(parts.query), *grant.params.items()] if name not in _OWN]
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", urlencode([*others, *own.items()]), ""))


def _by_browser(grant: Grant, endpoint: Endpoint, person: Person, limit_s: float, now: Callable[[], float]) -> Token:
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    keep_secret(f"the verifier of {grant.system}", verifier)
    with Loopback(grant, state) as loopback:
        person.show_page(page_address(grant, loopback.redirect_uri, state, verifier), loopback.redirect_uri)
        said = _answer(loopback, person, state, now() + limit_s, now)
        if said is None:
            raise _too_late(limit_s)
        if (error := said.get("error")) is not None:
            words = " ".join(said.get("error_description", "").split())[:300]
            raise GrantExpiredError(f"access was not given ({error[:100]}{': ' + words if words else ''})")
        code = said.get("code", "")
        if not code:
            raise AccessRefusedError("the answer holds no code", hint="look at `authorize_url`")
        keep_secret(f"the code of {grant.system}", code)
        return endpoint.exchange(code, verifier, loopback.redirect_uri)


def _answer(loopback: Loopback, person: Person, state: str, until: float, now: Callable[[], float]) -> dict[str, str] | None:
    """The parameters of the answer, from the browser or by hand; None: none came in time."""
    while (left_s := until - now()) > 0:
        try:
            return loopback.answers.get(timeout=min(LOOK_S, left_s))
        except Empty:
            pass
        try:
            line = person.pasted.get_nowait().strip()
        except Empty:
            continue
        if not line:
            continue
        said = parameters(urlsplit(line).query) if "://" in line else {}
        if known_state(said, state):
            return said
        person.say(f"That is not it: paste the whole address that the browser was sent to; it begins with {loopback.redirect_uri}?")
    return None


def _by_device(endpoint: Endpoint, person: Person, limit_s: float, now: Callable[[], float]) -> Token:
    code = endpoint.device()
    person.show_code(code)
    every_s, until = code.every_s, now() + min(limit_s, code.ends_s)
    while (left_s := until - now()) > 0:
        time.sleep(min(every_s, left_s))
        try:
            return endpoint.poll(code)
        except NotYetError as error:
            every_s += SLOWER_S if error.slower else 0.0
        except ServerAwayError as error:
            every_s = max(every_s, error.wait_s or 0.0)
    raise _too_late(min(limit_s, code.ends_s))


def _too_late(limit_s: float) -> GrantExpiredError:
    return GrantExpiredError(f"nobody gave access within {limit_s:.0f} s", hint="run it again when you are ready; --timeout waits longer")
