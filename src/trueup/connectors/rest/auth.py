"""Who asks: what an `Authorization` adds to each request, and the kinds of which nothing changes while they are used.

`oauth2` is none of these: its tokens are kept, refreshed and shared elsewhere. A connector file that asks for it makes a connector that
is `Authorized`: whoever opens it looks at `grant` and hands in an `Authorization` by `authorize_by` before the first call.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trueup.errors import AccessRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.rest.message import Request, Response


class Authorization(Protocol):
    """Says who asks. Used by several threads at once; may raise SystemError_'s children where there is no usable credential."""

    def prepare(self, request: Request) -> Request:
        """The request with what shows who asks: headers or parameters of the query. Called again for each repetition."""
        ...

    def rejected(self, request: Request, response: Response) -> bool:
        """Called where the system did not accept `request`, as `prepare` had made it. True: there is something newer now, try once more."""
        ...


@runtime_checkable
class Authorized(Protocol):
    """What a connector offers besides where somebody else keeps its credential. `grant` None: nothing is needed from outside."""

    @property
    def grant(self) -> Mapping[str, Any] | None:
        """The `auth` entry of kind oauth2 as the connector file has it, `${secrets.…}` put in; None where the kind is another one."""
        ...

    def authorize_by(self, authorization: Authorization) -> None:
        """Ask with this from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Nobody:
    """Asks without a name (`none`)."""

    def prepare(self, request: Request) -> Request:
        """See Authorization."""
        return request

    def rejected(self, request: Request, response: Response) -> bool:
        """See Authorization."""
        del request, response
        return False


@dataclass(frozen=True, slots=True)
class Header(Nobody):
    """One header that is always the same: a bearer token, a name with a password, an API key."""

    name: str
    value: str

    def prepare(self, request: Request) -> Request:
        """See Authorization."""
        return request.with_header(self.name, self.value)

    def __repr__(self) -> str:
        return f"Header({self.name!r})"


@dataclass(frozen=True, slots=True)
class Parameter(Nobody):
    """One parameter of the query that is always the same."""

    name: str
    value: str

    def prepare(self, request: Request) -> Request:
        """See Authorization."""
        return request.with_query(self.name, self.value)

    def __repr__(self) -> str:
        return f"Parameter({self.name!r})"


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands where somebody was to hand in an authorization, and has not yet."""

    system: str

    def prepare(self, request: Request) -> Request:
        """Raises AccessRefusedError."""
        del request
        raise AccessRefusedError(
            "it has not been connected yet: its credential is missing", hint=f"run `trueup connect {self.system}`", system=self.system
        )

    def rejected(self, request: Request, response: Response) -> bool:
        """See Authorization."""
        del request, response
        return False


def basic(user: str, password: str) -> Header:
    """A user name with a password (RFC 7617)."""
    return Header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
