"""Asks the application: one pool of connections, the limits kept, slowed down where it says so, repeated where that does no harm."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import random
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpcore2
import httpx2

from trueup.connectors.rest.answers import BACKOFF_S, Trouble, rest_s, trouble_of
from trueup.connectors.rest.auth import Nobody
from trueup.connectors.rest.joined import transport
from trueup.connectors.rest.limits import BudgetSpentError, shared_budget
from trueup.connectors.rest.message import Request, Response
from trueup.connectors.rest.straight import Straight
from trueup.errors import AccessRefusedError, ObjectUnreadableError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trueup.connectors.rest.auth import Authorization
    from trueup.connectors.rest.limits import Budget, Ledger
    from trueup.connectors.rest.schema_http import HttpShape

_MOST_REDIRECTS = 5
_MOST_REST_S = 86_400.0
"""An application that wants to be left alone for longer is asked again after a day."""
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REDIRECTS = {301, 302, 303, 307, 308}
_NOT_REACHED = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpcore2.ConnectError,
    httpcore2.ConnectTimeout,
    httpcore2.PoolTimeout,
)
_TOO_LATE = (httpx2.TimeoutException, httpcore2.TimeoutException)
_BROKEN_OFF = (httpx2.TransportError, httpcore2.NetworkError, httpcore2.ProtocolError)


@functools.lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Whom this machine trusts; to load that takes longer than a hundred requests."""
    return httpx2.create_ssl_context()


class ReplyLostError(SystemUnreachableError):
    """The request may have been carried out: the connection broke before the answer was there."""


class Client:
    """One application, asked by several threads at once. `wait(seconds)` lets time pass (tests put theirs in)."""

    def __init__(
        self,
        system: str,
        http: HttpShape,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        told: Callable[[], str] | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is connected yet. `headers` go with every request. `told`: says the address once somebody asks."""
        self.system = system
        self.authorization: Authorization = Nobody()
        self._http = http
        self._headers = dict(headers or {})
        self._base = base_url.rstrip("/")
        self._host = urlsplit(self._base).netloc
        self._told = told
        self._wait = wait
        self._budget = self._shared_budget(None)
        self._client: httpx2.Client | None = None
        self._straight: Straight | None = None
        self._connecting = threading.Lock()
        self.requests = 0

    def share_limits(self, ledger: Ledger) -> None:
        """Count what is asked there, together with everybody else who does."""
        self._budget = self._shared_budget(ledger)

    def _shared_budget(self, ledger: Ledger | None) -> Budget:
        place = (self.system, self._base, tuple(self._http.limits))
        longest_s = 2 * self._http.timeout_s  # to connect, and to answer
        return shared_budget(place, self._http.limits, most_wait_s=self._http.most_wait_s, longest_s=longest_s, ledger=ledger)

    def _connected(self) -> httpx2.Client:
        with self._connecting:
            if self._client is None:
                limits = httpx2.Limits(max_connections=self._http.parallel + 2, max_keepalive_connections=self._http.parallel + 2)
                verify = _certificates() if self._base.startswith("https:") or self._http.hosts else False  # else nothing is encrypted
                connections = transport(limits=limits, verify=verify)
                self._client = httpx2.Client(
                    timeout=httpx2.Timeout(self._http.timeout_s, connect=min(15.0, self._http.timeout_s)),
                    limits=limits,
                    headers={"accept": "application/json", "user-agent": "trueup", **self._headers},
                    follow_redirects=False,
                    verify=verify,
                    transport=connections,
                )
                self._straight = Straight(self._client, connections.single) if connections is not None else None
            return self._client

    def close(self) -> None:
        """Give back the connections."""
        client, straight = self._client, self._straight
        self._client = self._straight = None
        if straight is not None:
            straight.close()
        if client is not None:
            client.close()

    # ---------------------------------------------------------------- asking

    def ask(self, request: Request, *, repeat: bool | None = None, wants_json: bool = True) -> tuple[Response, Trouble | None]:
        """The answer, and what is wrong with it where something is. What is throttled or passing is tried again, within limits.

        `repeat`: whether it may be sent again when it is not known whether it was carried out; None: where it only reads.
        Raises SystemUnreachableError (ReplyLostError where that is not known), AccessRefusedError.
        """
        repeat = request.is_read if repeat is None else repeat
        attempt, renewed = 0, False
        while True:
            attempt += 1
            last = attempt >= self._http.attempts
            try:
                prepared, response = self._once(request)
            except SystemUnreachableError as error:
                if last or isinstance(error, BudgetSpentError) or not (repeat or not isinstance(error, ReplyLostError)):
                    raise
                self._pause(None, attempt)
                continue
            trouble = trouble_of(response, self._http.errors, wants_json=wants_json)
            rest = rest_s(response, self._http.budget_headers)
            if rest is not None:
                self._budget.rest(rest, f"what may be asked of it is used up; it starts anew in {round(rest)} s")
            if trouble is None:
                return response, None
            if trouble.means == "reauth" and not renewed and self.authorization.rejected(prepared, response):
                renewed = True
                attempt -= 1
                continue
            if trouble.means == "throttled":
                if self._is_too_long(trouble, attempt, last=last):
                    return response, trouble
                continue
            if trouble.means in {"transient", "broken"} and not last and (repeat or (request.is_read and trouble.means == "transient")):
                self._pause(trouble.wait_s, attempt)
                continue
            return response, trouble

    def _is_too_long(self, trouble: Trouble, attempt: int, *, last: bool) -> bool:
        """Leave the application alone for as long as it says; whether that is longer than is waited for here."""
        if last or (trouble.wait_s or 0) > self._http.most_wait_s:
            if trouble.wait_s is not None:
                self._budget.rest(min(trouble.wait_s, _MOST_REST_S), "it asks to be left alone until then")
            return True
        self._budget.rest(self._pause_s(trouble.wait_s, attempt), "it asks to be left alone for a while")
        return False

    def fetch(self, request: Request, what: str) -> Response:
        """The answer to a question that must succeed. Raises for everything else."""
        response, trouble = self.ask(request)
        if trouble is not None:
            raise self.error(trouble, what)
        return response

    def error(self, trouble: Trouble, what: str) -> Exception:
        """Trouble as the error of a whole call."""
        text = f"{what}: {trouble.reason}"
        match trouble.means:
            case "reauth":
                return AccessRefusedError(
                    text,
                    hint="its credential is wrong, expired or revoked: give it another one (`trueup connect`, or its secret)",
                    system=self.system,
                )
            case "forbidden" if trouble.scope is not None:
                return AccessRefusedError(
                    text,
                    hint=f"`trueup grants {self.system}` shows which scopes are needed: give them to its token, "
                    f"or run `trueup connect {self.system}` and agree to all",
                    system=self.system,
                )
            case "forbidden":
                return AccessRefusedError(text, hint="ask who looks after it for the right (scope) to do this", system=self.system)
            case "throttled" | "transient":
                return SystemUnreachableError(text, hint="it is tried again later", system=self.system)
            case _:
                return ObjectUnreadableError(
                    text, hint="compare the request in the connector file with its documentation", system=self.system
                )

    def _pause_s(self, wait_s: float | None, attempt: int) -> float:
        if wait_s is not None:
            return min(wait_s, self._http.most_wait_s)
        return float(min(BACKOFF_S * 2 ** (attempt - 1), 30.0) * random.uniform(0.75, 1.25))  # noqa: S311 - spreads those who wait

    def _pause(self, wait_s: float | None, attempt: int) -> None:
        self._wait(self._pause_s(wait_s, attempt))

    # ---------------------------------------------------------------- one request

    def address(self, url: str) -> str:
        """The whole address of a path. Raises AccessRefusedError for a host that may not be asked.

        An application behind a proxy may tell its own pages by http: they are asked for by https, as the credential goes along.
        """
        whole = url if "://" in url else f"{self._base}/{url.lstrip('/')}" if not url.startswith("?") else self._base + url
        parts = urlsplit(whole)
        if parts.netloc == self._host and parts.scheme == "http" and self._base.startswith("https:"):
            parts = parts._replace(scheme="https")
            whole = parts.geturl()
        allowed = parts.netloc == self._host or any(fnmatch.fnmatch(parts.hostname or "", host) for host in self._http.hosts)
        if not allowed or (parts.scheme != "https" and parts.netloc != self._host):
            raise AccessRefusedError(
                f"the connector file does not allow to ask {parts.scheme}://{parts.netloc}",
                hint="where it should, add the host to `http: {hosts: […]}`; only https is allowed there",
                system=self.system,
            )
        return whole

    def _move(self, base: str) -> None:
        """The address is this one. Raises AccessRefusedError for one that the connector file does not allow: it comes from outside."""
        if base == self._base:
            return
        parts = urlsplit(base)
        if (parts.scheme != "https" and parts.hostname not in _LOOPBACK) or not any(
            fnmatch.fnmatch(parts.hostname or "", host) for host in self._http.hosts
        ):
            raise AccessRefusedError(
                f"its token leads to {parts.scheme}://{parts.netloc}, which the connector file does not allow",
                hint="where it should, add the host to `http: {hosts: […]}`; only https is allowed",
                system=self.system,
            )
        self._base, self._host = base, parts.netloc

    def _once(self, request: Request) -> tuple[Request, Response]:
        prepared = self.authorization.prepare(request)
        if self._told is not None:
            self._move(self._told().rstrip("/"))
        whole = self.address(prepared.url)
        for _ in range(_MOST_REDIRECTS):
            with self._budget.slot(urlsplit(whole).path, self.system):
                response = self._sent(prepared, whole)
            target = response.headers.get("location")
            if response.status not in _REDIRECTS or target is None:
                return prepared, response
            if not prepared.is_read:
                raise ObjectUnreadableError(
                    f"it sends {prepared.method} on to another address ({urlsplit(target).netloc or target})",
                    hint="write the right base_url into the connector file",
                    system=self.system,
                )
            whole = self.address(urljoin(whole, target))
            prepared = Request(prepared.method, whole, {}, prepared.headers, None)
        raise ObjectUnreadableError("it sends from one address to the next without end", hint="check base_url", system=self.system)

    def _sent(self, request: Request, whole: str) -> Response:
        client, straight = self._connected(), self._straight
        self.requests += 1
        try:
            if request.query:
                whole += ("&" if "?" in whole else "?") + urlencode(_pairs(request.query))
            plain = straight.takes(whole) if straight is not None else None
            if straight is not None and plain is not None:
                return straight.ask(request, plain, self._body)
            built = client.build_request(request.method, whole, headers=dict(request.headers), content=request.body)
            with contextlib.closing(client.send(built, stream=True)) as told:
                body = self._body(told.iter_bytes())
        except _NOT_REACHED as error:
            raise self._not_reached(error) from error
        except _TOO_LATE as error:
            raise ReplyLostError(
                f"it did not answer within {self._http.timeout_s:g} s", hint="it is tried again later", system=self.system
            ) from error
        except _BROKEN_OFF as error:
            raise ReplyLostError("the connection broke off", hint="it is tried again later", system=self.system) from error
        except httpx2.DecodingError as error:
            raise ReplyLostError("its answer cannot be unpacked", hint="it is tried again later", system=self.system) from error
        except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
            raise ObjectUnreadableError(
                f"a request cannot be sent: {error}", hint="check addresses and headers in the connector file", system=self.system
            ) from error
        return Response(told.status_code, {name.lower(): value for name, value in told.headers.items()}, body)

    def _body(self, pieces: Iterable[bytes]) -> bytes:
        most = int(self._http.max_body_mb * 1_000_000)
        parts, size = [], 0
        for part in pieces:
            size += len(part)
            if size > most:
                raise ObjectUnreadableError(
                    f"an answer has more than {self._http.max_body_mb:g} MB",
                    hint="ask for smaller pages, or raise `http: {max_body_mb: …}`",
                    system=self.system,
                )
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _not_reached(self, error: Exception) -> Exception:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AccessRefusedError(
                    f"the certificate of {self._host} is not valid: {cause.verify_message}",
                    hint="ask who looks after it; nothing was sent",
                    system=self.system,
                )
            if isinstance(cause, ssl.SSLError):
                return AccessRefusedError(
                    f"no secure connection to {self._host}: {cause.reason}", hint="check base_url", system=self.system
                )
            cause = cause.__cause__ or cause.__context__
        return SystemUnreachableError(f"{self._host} cannot be reached", hint="check base_url and the network", system=self.system)


def _pairs(query: Any) -> list[tuple[str, str]]:
    return [(name, item) for name, value in query.items() for item in (value if isinstance(value, list) else [value])]
