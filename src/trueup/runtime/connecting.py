"""Giving trueup access to one system, and how access to all of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from trueup.config.environment import secrets_used
from trueup.connectors.registry import connector_class
from trueup.credentials.endpoint import Endpoint
from trueup.credentials.walk import walk
from trueup.errors import TrueupError, UsageError
from trueup.reports.access import Access
from trueup.runtime.credentials import StateShelf, as_access, grant_for, known_credentials
from trueup.yamlfile import read_yaml

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from trueup.credentials.grant import Grant
    from trueup.credentials.walk import Person
    from trueup.model import Config


@dataclass(frozen=True, slots=True)
class Connected:
    """What came of it. `missing` are scopes that were asked for and not given."""

    access: Access
    missing: tuple[str, ...]
    renewable: bool


class Connecting:
    """One system that is to be connected. Its settings are filled in."""

    def __init__(self, config: Config, name: str) -> None:
        """Look what it wants. Raises what opening it raises, UsageError where its grant cannot be used."""
        self._config = config
        self._system = config.systems[name]
        self._grant = opened_grant(config, name)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is left open."""

    def connect(self, person: Person, *, limit_s: float) -> Connected | None:
        """Ask for access, and keep it; None where the system wants no token. Raises as `walk`, MasterKeyError, StateError."""
        grant = self._grant
        if grant is None:
            return None
        from trueup.sealing import MasterKeys

        MasterKeys(self._config.master_key).current()  # what is given must be kept: nobody is asked before it can be
        shelf, endpoint = StateShelf(self._config.state, self._config.master_key, grant), Endpoint(grant)
        try:
            with shelf.alone():
                pass  # the state is there, and can be written
            token = walk(grant, endpoint, person, limit_s=limit_s)
            with shelf.alone():
                shelf.keep(token, datetime.now(UTC))
        except TrueupError as error:
            error.system = error.system or grant.system
            raise
        finally:
            shelf.close()
        given = set(token.scopes) if token.scopes is not None else set(grant.scopes)
        missing = tuple(scope for scope in grant.scopes if scope not in given)
        found = access_of(self._config)[grant.system]
        return Connected(found, missing, token.refresh is not None or not grant.by_person)

    def forget(self) -> bool:
        """Forget the access; whether it was given back as well. Raises UsageError where there is none, and what the server raises."""
        grant = self._grant
        if grant is None:
            raise UsageError(f"{self._system.name} has no token", hint="`trueup secrets remove` forgets a password or a key")
        shelf, endpoint = StateShelf(self._config.state, self._config.master_key, grant), Endpoint(grant)
        try:
            with shelf.alone():
                kept = shelf.load()
                if kept is None:
                    raise UsageError(f"{grant.system} was never connected")
                revoked = kept.trouble is None and endpoint.revoke(kept.token)
                shelf.forget()
        finally:
            shelf.close()
        return revoked


def opened_grant(config: Config, name: str) -> Grant | None:
    """The grant of a system, from its connector; None where it wants none."""
    system = config.systems[name]
    kind = connector_class(system.connector)
    if system.oauth2 is None and not hasattr(kind, "authorize_by"):
        return None
    connector = kind.open(name, system.settings, directory=config.directory)
    try:
        return grant_for(system, connector)
    finally:
        connector.close()


def secrets_of(path: Path, name: str) -> list[str]:
    """The stored secrets that stand in the settings of a system, in the order of the file."""
    used = secrets_used(read_yaml(path))
    return [secret for secret, paths in used.items() if any(place[:2] == ("systems", name) for place in paths)]


def access_of(config: Config) -> dict[str, Access]:
    """How access to the systems stands that want tokens; those that were never connected as well, where they can be opened."""
    known = known_credentials(config.state)
    found: dict[str, Access] = {}
    for name in config.systems:
        if name in known:
            found[name] = as_access(known[name])
            continue
        try:
            grant = opened_grant(config, name)
        except TrueupError:
            continue  # told by `check`
        if grant is not None:
            found[name] = Access(name, grant.kind)
    return found
