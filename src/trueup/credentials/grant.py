"""What is to be asked for, and of whom: a grant as the configuration and a connector file describe it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from trueup.errors import Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal["authorization_code", "device_code", "client_credentials", "jwt_bearer"]
ClientAuth = Literal["basic", "post", "none"]

KINDS = ("authorization_code", "device_code", "client_credentials", "jwt_bearer")
ALONE = frozenset({"client_credentials", "jwt_bearer"})
"""Kinds for which nobody is asked: a new token is asked for where others are renewed."""
CLIENT_AUTHS = ("basic", "post", "none")
_NEEDS = {
    "authorization_code": ("authorize_url",),
    "device_code": ("device_url",),
    "client_credentials": ("client_secret",),
    "jwt_bearer": ("private_key",),
}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WORDS = {"grant": KINDS, "client_auth": CLIENT_AUTHS, "redirect_host": _LOOPBACK}
_TEXTS = ("authorize_url", "token_url", "device_url", "revoke_url", "client_id", "client_secret", "redirect_path", "redirect_host")
_SIGNED = ("private_key", "key_id", "subject", "audience")
_OTHERS = (
    "kind",
    "grant",
    "client_auth",
    "scopes",
    "optional_scopes",
    "scope_separator",
    "params",
    "redirect_port",
    "keep",
    "lifetime_s",
    "prefix",
)
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749, 3.3


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant. `scopes` and `optional_scopes` are asked for; it works without the latter. `lifetime_s`: where nobody says."""

    system: str
    kind: Kind
    token_url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    client_auth: ClientAuth = "basic"
    authorize_url: str = ""
    device_url: str = ""
    revoke_url: str = ""
    scopes: tuple[str, ...] = ()
    optional_scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    params: Mapping[str, str] = field(default_factory=dict)  # sent along with every question
    redirect_port: int = 0  # 0: any free one
    redirect_path: str = "/"
    redirect_host: str = "127.0.0.1"
    keep: tuple[str, ...] = ()  # members of the answer that the connector wants to know
    lifetime_s: float | None = None
    private_key: str | None = field(default=None, repr=False)  # PEM; signs what the client says of itself
    key_id: str = ""
    subject: str = ""  # on whose behalf; empty: its own, and nothing is said
    audience: str = ""  # empty: the token_url

    @property
    def scope(self) -> str:
        """The scopes as one text."""
        return self.scope_separator.join((*self.scopes, *self.optional_scopes))

    @property
    def by_person(self) -> bool:
        """Whether somebody has to agree."""
        return self.kind not in ALONE


def merged(*said: Mapping[str, Any] | None) -> dict[str, Any]:
    """What several places say about one grant; the later ones win."""
    found: dict[str, Any] = {}
    for one in said:
        found |= {name: value for name, value in (one or {}).items() if value is not None}
    return found


def grant_of(system: str, said: Mapping[str, Any]) -> Grant:
    """The grant that these settings describe. Raises UsageError with everything that is wrong with them."""
    problems = [problem.message for problem in problems_of(said)]
    if problems:
        raise UsageError(f"its `oauth2` cannot be used: {'; '.join(problems)}", hint=f"see `systems: {system}` in the configuration")
    secret = said.get("client_secret")
    return Grant(
        system=system,
        kind=cast("Kind", said.get("grant", "authorization_code")),
        token_url=str(said["token_url"]),
        client_id=str(said["client_id"]),
        client_secret=None if secret is None else str(secret),
        client_auth=cast("ClientAuth", (said.get("client_auth") or "basic") if secret else "none"),
        authorize_url=str(said.get("authorize_url", "")),
        device_url=str(said.get("device_url", "")),
        revoke_url=str(said.get("revoke_url", "")),
        scopes=tuple(map(str, said.get("scopes", ()))),
        optional_scopes=tuple(map(str, said.get("optional_scopes", ()))),
        scope_separator=str(said.get("scope_separator", " ")),
        params={str(name): str(value) for name, value in dict(said.get("params", {})).items()},
        redirect_port=int(said.get("redirect_port", 0)),
        redirect_path=str(said.get("redirect_path", "/")),
        redirect_host=str(said.get("redirect_host", "127.0.0.1")),
        keep=tuple(map(str, said.get("keep", ()))),
        lifetime_s=said.get("lifetime_s"),
        private_key=None if said.get("private_key") is None else str(said["private_key"]),
        key_id=str(said.get("key_id", "")),
        subject=str(said.get("subject", "")),
        audience=str(said.get("audience", "")),
    )


def problems_of(said: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with these settings; `path` is the setting. No value is shown."""
    found = [*_missing(said), *_wrong(said)]
    return [Problem("", 0, name, f"`{name}` {what}") for name, what in found]


def _missing(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = str(said.get("grant", "authorization_code"))
    for name in ("token_url", "client_id", *_NEEDS.get(kind, ())):
        if not said.get(name):
            yield name, "is missing"
    if said.get("client_auth") in {"basic", "post"} and not said.get("client_secret") and kind not in ALONE:
        yield "client_secret", "is missing: without one, `client_auth` is none"


def _wrong(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in said.items():
        if name not in {*_TEXTS, *_SIGNED, *_OTHERS}:
            yield name, "is not known in `oauth2`"
        elif value is not None and (what := _what_is_wrong(name, value)):
            yield name, what


def _what_is_wrong(name: str, value: Any) -> str | None:
    """What is wrong with one setting; None: nothing."""
    if name in _WORDS:
        return None if value in _WORDS[name] else f"is none of {', '.join(_WORDS[name])}"
    if name in {*_TEXTS, *_SIGNED} and not isinstance(value, str):
        return "is not text"
    if name.endswith("_url"):
        return _wrong_address(value) if value else None
    if name in {"scopes", "optional_scopes", "keep"}:
        return _wrong_list(value, scopes=name != "keep")
    if name == "redirect_port":
        return None if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65_535 else "is no port"
    if name == "redirect_path":
        return None if value.startswith("/") else "does not begin with /"
    return None


def _wrong_list(value: Any, *, scopes: bool) -> str | None:
    if isinstance(value, str) or not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        return "is no list of names"
    return "holds something that cannot be a scope" if scopes and not all(_SCOPE.fullmatch(item) for item in value) else None


def _wrong_address(address: str) -> str | None:
    """Why an address is none for secrets; None: it is one."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in {"https", "http"} or not host:
        return "is no address: write https://…"
    if parts.scheme == "http" and host not in _LOOPBACK:
        return "is not encrypted: write https://…"
    if parts.username is not None or parts.fragment:
        return "holds a user name or a fragment: write it without"
    return None
