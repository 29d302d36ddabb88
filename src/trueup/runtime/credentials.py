"""The tokens of systems: kept in the state, sealed, for all processes that share it (`trueup.credentials` knows how they are renewed)."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from trueup.credentials.bearer import Authorized, Bearer
from trueup.credentials.endpoint import Endpoint
from trueup.credentials.grant import grant_of, merged
from trueup.credentials.keeper import Keeper, Kept
from trueup.credentials.token import from_text
from trueup.errors import StateError, StateMissingError, SystemUnreachableError, UsageError
from trueup.reports.access import Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.connectors.base import Connector
    from trueup.credentials.grant import Grant
    from trueup.credentials.token import Token
    from trueup.model import Config, KeyPlace, System
    from trueup.store import Store
    from trueup.store.credential import Credential
    from trueup.store.vault import Vault

WAIT_FOR_OTHERS_S = 120.0
"""Whoever renews a token has three tries of half a minute each."""


class StateShelf:
    """The token of one system, in the state. Opened when first asked; usable from several threads."""

    def __init__(self, target: str, master_key: KeyPlace, grant: Grant) -> None:
        """Open nothing yet."""
        self._target = target
        self._master_key = master_key
        self._grant = grant
        self._turn = Lock()
        self._store: Store | None = None

    def load(self) -> Kept | None:
        """See `keeper.Shelf`."""
        store = self._opened()
        if store is None:
            return None
        from trueup.store import credential

        for _again in range(3):
            with store.read() as db:
                row = credential.get(db, self._grant.system)
            if row is None:
                return None
            kept = self._opened_token(store, row)
            with store.read() as db:
                if credential.get(db, self._grant.system) == row:
                    return kept
        raise SystemUnreachableError("its token is being renewed again and again", system=self._grant.system)

    def _opened_token(self, store: Store, row: Credential) -> Kept:
        text = self._vault(store).values([row.secret]).get(row.secret)
        try:
            token = from_text(text or "")
        except ValueError:
            raise StateError(
                f"the token of {row.system} in the state is none", hint=f"connect it anew: `trueup connect {row.system}`"
            ) from None
        return Kept(token, row.version, row.asked_at, row.trouble)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `keeper.Shelf`."""
        with self._made().alone(f"renews.{self._grant.system}", WAIT_FOR_OTHERS_S):
            yield

    def begin(self, at: datetime) -> None:
        """See `keeper.Shelf`."""
        from trueup.store import credential

        with self._made().write(lasting=True) as tx:
            credential.asked(tx, self._grant.system, at)

    def keep(self, token: Token, connected_at: datetime | None = None) -> int:
        """See `keeper.Shelf`. `connected_at`: a person gave access just now; None: as it was."""
        from trueup.store import credential

        store, system = self._made(), self._grant.system
        with store.write(lasting=True) as tx:
            before = credential.get(tx, system)
            name = before.secret if before is not None else _free_name(credential.rows(tx), system)
            version = self._vault(store).set_(name, token.as_text(), token.obtained_at)
            row = credential.Credential(
                system=system,
                secret=name,
                version=version,
                kind=self._grant.kind,
                connected_at=connected_at or (before.connected_at if before is not None else token.obtained_at),
                obtained_at=token.obtained_at,
                expires_at=token.expires_at,
                renew_by=token.renew_by or (before.renew_by if before is not None and connected_at is None else None),
                scopes=token.scopes,
            )
            credential.put(tx, row)
        return version

    def ended(self, why: str, at: datetime) -> None:
        """See `keeper.Shelf`."""
        from trueup.store import credential

        with self._made().write(lasting=True) as tx:
            credential.ended(tx, self._grant.system, why, at)

    def forget(self) -> None:
        """Keep nothing of the token any more."""
        from trueup.store import credential

        store = self._made()
        with store.write(lasting=True) as tx:
            row = credential.get(tx, self._grant.system)
            if row is not None:
                self._vault(store).remove(row.secret, datetime.now(UTC))
                credential.forget(tx, self._grant.system)

    def close(self) -> None:
        """Close the state; it is opened again when asked."""
        with self._turn:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def _vault(self, store: Store) -> Vault:
        from trueup.sealing import MasterKeys
        from trueup.store.vault import Vault

        return Vault(store, MasterKeys(self._master_key))

    def _opened(self) -> Store | None:
        """The state; None where there is none yet."""
        try:
            return self._made(create=False)
        except StateMissingError:
            return None

    def _made(self, *, create: bool = True) -> Store:
        from trueup.store import Store

        with self._turn:
            if self._store is None:
                self._store = Store.open(self._target, create=create)
            return self._store


def _free_name(known: dict[str, Credential], system: str) -> str:
    """A name for the secret that no other system's token has: a renamed system keeps the one that it had."""
    from trueup.store.credential import PREFIX

    taken = {row.secret for row in known.values()}
    names = (f"{PREFIX}{system}{'' if number == 1 else f'.{number}'}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


class Credentials:
    """The keepers of a configuration's tokens in this process, made when first asked for."""

    def __init__(self, config: Config, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open nothing yet."""
        self._config = config
        self._clock = clock
        self._turn = Lock()
        self._keepers: dict[str, tuple[Keeper, StateShelf]] = {}

    def authorize(self, system: System, connector: Connector) -> None:
        """Hand a connector its credential where somebody else has to keep it."""
        grant = grant_for(system, connector)
        if grant is not None:
            assert isinstance(connector, Authorized)
            connector.authorize_by(Bearer(self._keeper(grant)))

    def _keeper(self, grant: Grant) -> Keeper:
        with self._turn:
            if grant.system not in self._keepers:
                shelf = StateShelf(self._config.state, self._config.master_key, grant)
                self._keepers[grant.system] = (Keeper(grant, shelf, Endpoint(grant, clock=self._clock), clock=self._clock), shelf)
            return self._keepers[grant.system][0]

    def close(self) -> None:
        """Close everything that was opened; it is opened again when asked."""
        with self._turn:
            keepers, self._keepers = self._keepers, {}
        for _keeper, shelf in keepers.values():
            shelf.close()


def grant_for(system: System, connector: object) -> Grant | None:
    """The grant of a system: what its connector file says, and `oauth2` of the configuration over it. None: it needs none.

    Raises UsageError where these cannot be used, or a connector is given one that shows no tokens.
    """
    takes = isinstance(connector, Authorized)
    said = connector.grant if isinstance(connector, Authorized) else None
    if system.oauth2 is not None and not takes:
        raise UsageError(f"a system of the kind {system.connector} shows no tokens", hint=f"take `oauth2` out of `systems: {system.name}`")
    if said is None and system.oauth2 is None:
        return None
    try:
        return grant_of(system.name, merged(said, system.oauth2))
    except UsageError as error:
        instead = getattr(connector, "instead", ())
        if system.oauth2 is None and instead:
            raise UsageError(
                f"nothing says who asks: `{instead[0]}` is not among its secrets, and it has no `oauth2`",
                hint=f"add `secrets: {{{instead[0]}: …}}`, or `oauth2: {{client_id: …, client_secret: …}}`",
                system=system.name,
            ) from None
        raise UsageError(error.message, hint=error.hint, system=system.name) from None


def known_credentials(target: str) -> dict[str, Credential]:
    """What the state knows of tokens, by system; nothing where there is no state."""
    from trueup.store import Store, credential

    try:
        with Store.open(target, read_only=True, older=True) as store, store.read() as db:
            return credential.rows(db)
    except StateMissingError:
        return {}


def as_access(row: Credential) -> Access:
    """What the state knows of a token, for people."""
    return Access(
        row.system,
        row.kind,
        row.connected_at,
        row.obtained_at,
        row.expires_at,
        row.renew_by,
        row.scopes,
        row.asked_at is not None,
        row.trouble,
        row.trouble_at,
    )
