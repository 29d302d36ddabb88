"""Shows a kept token with each request: the `oauth2` of a connector that speaks HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.credentials.keeper import Keeper

HEADER = "Authorization"
R = TypeVar("R", bound="Request")


class Request(Protocol):
    """What is needed of a request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...

    def with_header(self, name: str, value: str) -> Self:
        """The same request with one more header."""
        ...


@runtime_checkable
class Authorized(Protocol):
    """A connector whose credential is kept by somebody else. `grant` None: it needs none."""

    @property
    def grant(self) -> Mapping[str, Any] | None:
        """What its connector file says of the grant."""
        ...

    def authorize_by(self, authorization: Any) -> None:
        """Ask with this from now on."""
        ...


class Bearer:
    """A bearer token (RFC 6750), always one that serves."""

    def __init__(self, keeper: Keeper) -> None:
        """Ask the keeper for each request."""
        self._keeper = keeper

    def prepare(self, request: R) -> R:
        """The request with a token. Raises as `Keeper.token`."""
        return request.with_header(HEADER, f"Bearer {self._keeper.token().access}")

    def rejected(self, request: Request, response: Any) -> bool:
        """Whether there is another token than the one that this request showed. Raises as `Keeper.token`."""
        del response
        return self._keeper.refused(request.headers.get(HEADER, "").removeprefix("Bearer "))

    @property
    def kept(self) -> Mapping[str, str]:
        """What was kept of the server's answer (`keep`). Raises as `Keeper.token`."""
        return self._keeper.token().kept
