"""The server that gives tokens, asked over HTTP: RFC 6749 (codes, refreshing, client credentials), 7009, 7523 (assertions), 8628 (devices).

Secrets go in bodies and headers, never in an address. Redirects are not followed: what was meant for one host is shown to no other.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from trueup.credentials.assertion import assertion
from trueup.credentials.token import Token
from trueup.errors import AccessRefusedError, GrantExpiredError, SystemUnreachableError, keep_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from trueup.credentials.grant import Grant

CONNECT_S = 10.0
ANSWER_S = 30.0
MOST_BYTES = 1024 * 1024
MOST_WORDS = 300
LONGEST_LIFETIME_S = 10 * 365 * 86_400.0
_JSON = "application/json"
_NOT_ANY_MORE = "does not take the grant any more"
_GONE = {"invalid_grant"}
_WAITING = {"authorization_pending", "slow_down"}
_TRANSIENT = {"temporarily_unavailable", "server_error"}


class ServerAwayError(SystemUnreachableError):
    """The server gave no answer that says anything. `sent`: it may have done what it was asked; `wait_s`: what it said itself, or None."""

    def __init__(self, message: str, *, hint: str | None = None, sent: bool = True, wait_s: float | None = None) -> None:
        """Keep what is known of it."""
        super().__init__(message, hint=hint)
        self.sent = sent
        self.wait_s = wait_s


class NotYetError(Exception):
    """The person has not agreed yet. `slower`: the server wants to be asked less often."""

    def __init__(self, *, slower: bool) -> None:
        """Keep which."""
        super().__init__("slow_down" if slower else "authorization_pending")
        self.slower = slower


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person is told (`user_code`, `address`), and what is asked with meanwhile."""

    device_code: str
    user_code: str
    address: str
    whole_address: str | None
    ends_s: float
    every_s: float


class Endpoint:
    """The token server of one grant. Used by one thread at a time."""

    def __init__(self, grant: Grant, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Ask nothing yet."""
        self._grant = grant
        self._clock = clock
        self.host = urlsplit(grant.token_url).hostname or grant.token_url
        if grant.client_secret:
            keep_secret(f"the client secret of {grant.system}", grant.client_secret)
        if grant.private_key:
            keep_secret(f"the private key of {grant.system}", grant.private_key)

    # -------------------------------------------------------------- questions

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Token:
        """The token for a code. Raises AccessRefusedError, GrantExpiredError (the code is not taken), ServerAwayError."""
        return self._token({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier})

    def refresh(self, refresh: str) -> Token:
        """A new token; its `refresh` is the old one where the server gave no new one. Raises as `exchange`."""
        found = self._token({"grant_type": "refresh_token", "refresh_token": refresh})
        return found if found.refresh is not None else replace(found, refresh=refresh)

    def client_credentials(self) -> Token:
        """A token for the client itself. Raises as `exchange`."""
        scope = {"scope": self._grant.scope} if self._grant.scope else {}
        return self._token({"grant_type": "client_credentials", **scope})

    def assertion(self) -> Token:
        """A token for what the client says of itself, signed with its key (RFC 7523). Raises as `exchange`, and as `assertion`."""
        word = assertion(self._grant, self._clock().timestamp())
        keep_secret(f"the assertion of {self._grant.system}", word)
        try:
            return self._token({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": word})
        except GrantExpiredError as error:
            hint = "look at `client_id`, `private_key`, `subject` and `audience`, and whether the clock of this machine is right"
            raise GrantExpiredError(
                error.message.replace(_NOT_ANY_MORE, "does not take what the account says of itself"), hint=hint
            ) from None

    def alone(self) -> Token:
        """A token that nobody has to agree to. Raises as `exchange`."""
        return self.assertion() if self._grant.kind == "jwt_bearer" else self.client_credentials()

    def device(self) -> DeviceCode:
        """A code that a person types in elsewhere. Raises as `exchange`."""
        scope = {"scope": self._grant.scope} if self._grant.scope else {}
        said = self._answer(self._grant.device_url, {"client_id": self._grant.client_id, **scope})
        address = said.get("verification_uri") or said.get("verification_url")  # the latter before the RFC was one
        if not all(isinstance(part, str) and part for part in (said.get("device_code"), said.get("user_code"), address)):
            raise ServerAwayError(f"{self.host} gave an answer without a device code", hint="look at `device_url`")
        keep_secret(f"the device code of {self._grant.system}", said["device_code"])
        whole = said.get("verification_uri_complete")
        return DeviceCode(
            said["device_code"],
            said["user_code"],
            str(address),
            whole if isinstance(whole, str) else None,
            _seconds(said.get("expires_in")) or 600.0,
            _seconds(said.get("interval")) or 5.0,
        )

    def poll(self, code: DeviceCode) -> Token:
        """The token, once the person has agreed. Raises NotYetError until then, and as `exchange`."""
        return self._token({"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": code.device_code})

    def revoke(self, token: Token) -> bool:
        """Tell the server that the token is not needed any more; False where it knows no way. Raises as `exchange`."""
        if not self._grant.revoke_url:
            return False
        kind = "access_token" if token.refresh is None else "refresh_token"
        self._answer(self._grant.revoke_url, {"token": token.refresh or token.access, "token_type_hint": kind}, empty=True)
        return True

    # -------------------------------------------------------------- answers

    def _token(self, form: Mapping[str, str]) -> Token:
        at = self._clock()
        said = self._answer(self._grant.token_url, form)
        access, refresh = said.get("access_token"), said.get("refresh_token")
        if not isinstance(access, str) or not access:
            raise ServerAwayError(f"the answer of {self.host} holds no token", hint="look at `token_url`")
        if str(said.get("token_type", "bearer")).lower() not in {"bearer", "bot", "user"}:
            raise AccessRefusedError(
                f"{self.host} gives tokens of another kind than bearer", hint="such a system needs a connector in Python"
            )
        scope = said.get("scope")
        separators = f"{self._grant.scope_separator}, "
        scopes = None if not isinstance(scope, str) else tuple(_split(scope, separators))
        lifetime_s = _seconds(said.get("expires_in"))
        return Token(
            access,
            refresh if isinstance(refresh, str) and refresh else None,
            at,
            self._grant.lifetime_s if lifetime_s is None else lifetime_s,
            scopes,
            {name: str(said[name]) for name in self._grant.keep if isinstance(said.get(name), (str, int))},
            _seconds(said.get("refresh_token_expires_in") or said.get("refresh_expires_in") or said.get("x_refresh_token_expires_in")),
        )

    def _answer(self, address: str, form: Mapping[str, str], *, empty: bool = False) -> dict[str, Any]:
        response = self._post(address, form)
        said = _members(response.headers.get("content-type", ""), response.body)
        if "error" in said or response.status in {400, 401, 403}:
            self._refuse(response.status, said)
        if 300 <= response.status < 400:
            raise AccessRefusedError(f"{self.host} sends elsewhere instead of answering", hint="write the address that it names")
        if response.status != 200 and not (empty and response.status == 204):
            wait_s = _wait(response.headers.get("retry-after"), self._clock())
            done = response.status not in {429, 503}  # these say that nothing was done
            if response.status in {404, 405, 410}:
                raise AccessRefusedError(f"{self.host} knows no such address (HTTP {response.status})", hint="look at `token_url`")
            raise ServerAwayError(f"{self.host} answered HTTP {response.status} instead of a token", sent=done, wait_s=wait_s)
        if not said and not empty:
            kind = response.headers.get("content-type", "").partition(";")[0] or "no content type"
            raise ServerAwayError(f"{self.host} answered something that is no JSON ({kind})", hint="look at `token_url`")
        return said

    def _refuse(self, status: int, said: Mapping[str, Any]) -> None:
        """Raise what a refusal means."""
        error = said.get("error")
        code = error if isinstance(error, str) else f"HTTP {status}"
        words = " ".join(str(said.get("error_description", "")).split())[:MOST_WORDS]
        told = f"{code}{': ' + words if words else ''}"
        if code in _WAITING:
            raise NotYetError(slower=code == "slow_down")
        if code in _GONE:
            raise GrantExpiredError(f"{self.host} {_NOT_ANY_MORE} ({told})")
        if code in {"access_denied", "expired_token"}:
            why = "was refused by a person" if code == "access_denied" else "was not given in time"
            raise GrantExpiredError(f"access {why} ({told})")
        if code in _TRANSIENT:
            raise ServerAwayError(f"{self.host} cannot give a token now ({told})", sent=False)
        hints = {
            "invalid_client": "look at `client_id` and `client_secret`: does the application's registration have another secret by now?",
            "invalid_scope": "look at `scopes`: the application may not ask for one of them",
            "unauthorized_client": "the application is not registered for this `grant`",
            "unsupported_grant_type": "this server does not know this `grant`",
        }
        raise AccessRefusedError(f"{self.host} refuses ({told})", hint=hints.get(code, "look at the application's registration there"))

    def _post(self, address: str, form: Mapping[str, str]) -> _Reply:
        import httpx2

        grant = self._grant
        headers, body = {"Accept": _JSON}, {**grant.params, **form}
        if grant.client_auth == "basic":
            login = f"{quote_plus(grant.client_id)}:{quote_plus(grant.client_secret or '')}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        elif grant.kind != "jwt_bearer" or grant.client_auth == "post":  # an assertion says itself of whom it is
            body["client_id"] = grant.client_id
            if grant.client_auth == "post":
                body["client_secret"] = grant.client_secret or ""
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        timeout, limits = httpx2.Timeout(ANSWER_S, connect=CONNECT_S), httpx2.Limits(max_connections=1)
        try:
            # One connection per question: these are rare, and an answer that comes too late is nobody's.
            with (
                httpx2.Client(timeout=timeout, limits=limits, follow_redirects=False) as client,
                client.stream("POST", address, content=urlencode(body).encode(), headers=headers) as response,
            ):
                return _Reply(response.status_code, response.headers, _read(response))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _unconnected(self.host, error) from None
        except (httpx2.HTTPError, OSError, _TooLargeError) as error:
            kind = "its answer is too large" if isinstance(error, _TooLargeError) else type(error).__name__
            raise ServerAwayError(f"{self.host} did not answer to the end ({kind})") from None


class _TooLargeError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


def _read(response: httpx2.Response) -> bytes:
    """The body, of a sane size."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise _TooLargeError
        parts.append(part)
    return b"".join(parts)


def _unconnected(host: str, error: Exception) -> ServerAwayError:
    words = " ".join(str(error).split())[:MOST_WORDS]
    certificate = "CERTIFICATE" in words.upper() or "SSL" in words.upper()
    hint = (
        "its certificate is not one that this machine trusts: somebody may stand in between"
        if certificate
        else "look whether it can be reached"
    )
    return ServerAwayError(f"{host} cannot be connected to ({words or type(error).__name__})", hint=hint, sent=False)


def _members(content_type: str, body: bytes) -> dict[str, Any]:
    """The members of an answer: a JSON object, or a form, which some servers send; {} for anything else."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        form = kind in {"application/x-www-form-urlencoded", "text/plain"} and "=" in text and "<" not in text
        return dict(parse_qsl(text)) if form else {}
    return found if isinstance(found, dict) else {}


def _seconds(value: Any) -> float | None:
    """A length of time; None where there is none that makes sense."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return min(found, LONGEST_LIFETIME_S) if found > 0 else None


def _wait(header: str | None, now: datetime) -> float | None:
    """Retry-After: seconds, or a date."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def _split(text: str, separators: str) -> list[str]:
    for one in set(separators) - {" "}:
        text = text.replace(one, " ")
    return text.split()
