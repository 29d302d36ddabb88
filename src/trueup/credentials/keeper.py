"""Who holds the token of one system, and has it renewed: ahead of its end, and when the system does not take it; one at a time.

A server that gives a new refresh token with each answer takes each of them once: two who ask at the same time, or an answer that is lost,
end what a person agreed to. So whoever renews holds the turn of this process, and then that of all processes (`Shelf.alone`), and looks
again at what is kept before it asks. What it is about to do is kept first, which also shows that the state can be written; the answer is
kept before anybody uses it. Where the process is killed in between, or the answer never came, the next one asks with the old refresh token
at once: most servers that rotate take it for some seconds or minutes more, for this very case.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from trueup.credentials.endpoint import ServerAwayError
from trueup.errors import (
    AccessRefusedError,
    GrantExpiredError,
    StateError,
    SystemUnreachableError,
    forget_secret,
    keep_secret,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from trueup.credentials.endpoint import Endpoint
    from trueup.credentials.grant import Grant
    from trueup.credentials.token import Token

AHEAD_S = 60.0
AHEAD_SHARE = 0.2
"""A token is renewed when a minute of its life is left, or a fifth of it where that is less."""
TRIES = 3
TRY_AGAIN_S = 0.5
LONGEST_WAIT_S = 5.0
"""What a server asks to wait for longer is not waited for here."""
SOFT_S = 10.0
"""While the old token still serves, a server that did not answer is asked again after so long."""
REFUSED_S = 60.0
"""A server that refuses the application itself is asked again after so long."""
LONGEST_REFUSAL_S = 3600.0
FRESH_S = 2.0
"""A token so young is not renewed because a system refuses it: that is not why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A token on the shelf. `asked_at`: somebody was about to renew it, and nothing is known of the end; `trouble`: it ended, and why."""

    token: Token
    version: int
    asked_at: datetime | None = None
    trouble: str | None = None


class Shelf(Protocol):
    """Where the token of one system is kept, for all threads and processes. Everything raises StateError, MasterKeyError."""

    def load(self) -> Kept | None:
        """What is kept now; None: the system was never connected."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """While the block runs nobody else renews this token, in any process. Raises SystemUnreachableError after waiting for long."""
        ...

    def begin(self, at: datetime) -> None:
        """Somebody is about to renew it; on disk when this returns."""
        ...

    def keep(self, token: Token) -> int:
        """Keep a new token; on disk when this returns. Its version."""
        ...

    def ended(self, why: str, at: datetime) -> None:
        """The server does not renew it any more."""
        ...


@dataclass(slots=True)
class _Held:
    """A token at hand, with its end by `time.monotonic`, which nobody sets."""

    token: Token
    version: int
    renew_at: float
    ends_at: float


class Keeper:
    """The token of one system in this process. Used by several threads."""

    def __init__(
        self,
        grant: Grant,
        shelf: Shelf,
        endpoint: Endpoint,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Read nothing yet."""
        self.grant = grant
        self._shelf = shelf
        self._endpoint = endpoint
        self._clock, self._now, self._wait = clock, now, wait
        self._turn = Lock()
        self._held: _Held | None = None
        self._spent: str | None = None  # the one before, which a request on its way may still carry
        self._not_kept: tuple[Token, float, int] | None = None  # given by the server in place of a version, not kept yet: nobody may use it
        self._refusal: tuple[AccessRefusedError | ServerAwayError, float] | None = None
        self._again_at = -math.inf

    def token(self) -> Token:
        """A token that serves for some time yet.

        Raises GrantExpiredError where a person has to connect the system (again), AccessRefusedError where the server refuses the
        application, SystemUnreachableError where none can be had now, StateError and MasterKeyError.
        """
        held = self._held
        if held is not None and self._now() < held.renew_at:
            return held.token
        with self._turn:
            return self._good(None).token

    def refused(self, access: str) -> bool:
        """A system did not take this token. True: there is another one now. Raises as `token`."""
        with self._turn:
            kept = self._look()
            if kept is None:
                raise self._never()
            if kept.token.access != access:
                return True
            if timedelta() <= self._clock() - kept.token.obtained_at < timedelta(seconds=FRESH_S) and kept.trouble is None:
                return False
            return self._good(kept.version).version != kept.version

    # -------------------------------------------------------------- renewing

    def _good(self, but: int | None) -> _Held:
        """A token that is not about to end, nor of the version `but`. The turn of this process is held."""
        if (found := self._fresh(but)) is not None:
            return found
        self._look()
        if (found := self._fresh(but)) is not None:
            return found
        usable = self._held if self._held is not None and self._held.version != but and self._now() < self._held.ends_at else None
        if usable is not None and self._now() < self._again_at:
            return usable
        try:
            with self._shelf.alone():
                kept = self._look()
                if self._not_kept is not None and self._not_kept[2] == _version(kept):
                    self._keep(*self._not_kept)
                return self._fresh(but) or self._renewed(kept)
        except (SystemUnreachableError, StateError):
            if usable is None:
                raise
            self._again_at = self._now() + SOFT_S
            return usable

    def _fresh(self, but: int | None) -> _Held | None:
        held = self._held
        return held if held is not None and held.version != but and self._now() < held.renew_at else None

    def _look(self) -> Kept | None:
        """What is kept now, by whomever; it becomes what is held."""
        kept = self._shelf.load()
        if kept is None:
            self._held = None
        elif self._held is None or self._held.version != kept.version:
            left_s = math.inf
            if kept.token.expires_at is not None and kept.token.lifetime_s is not None:
                left_s = min((kept.token.expires_at - self._clock()).total_seconds(), kept.token.lifetime_s)
            self._hold(kept.token, kept.version, self._now() + left_s)
        return kept

    def _hold(self, token: Token, version: int, ends_at: float) -> None:
        old = self._held
        if old is not None and old.token.access != token.access:
            if self._spent is not None:
                forget_secret(self._spent)
            self._spent = old.token.access
            if old.token.refresh is not None and old.token.refresh != token.refresh:
                forget_secret(old.token.refresh)
        keep_secret(f"token of {self.grant.system}", token.access)
        if token.refresh is not None:
            keep_secret(f"refresh token of {self.grant.system}", token.refresh)
        ahead_s = 0.0 if token.lifetime_s is None else min(AHEAD_S, token.lifetime_s * AHEAD_SHARE)
        self._held = _Held(token, version, ends_at - ahead_s, ends_at)

    def _renewed(self, kept: Kept | None) -> _Held:
        """Ask the server. The turn of all processes is held."""
        refresh = self._refresh_token(kept)
        if self._refusal is not None and self._now() < self._refusal[1]:
            raise self._refusal[0]
        self._shelf.begin(self._clock())
        token, begun = self._asked(refresh, lost=kept is not None and kept.asked_at is not None)
        if kept is not None:
            scopes = kept.token.scopes if token.scopes is None else token.scopes
            token = replace(token, scopes=scopes, kept={**kept.token.kept, **token.kept})
        self._keep(token, begun + (math.inf if token.lifetime_s is None else token.lifetime_s), _version(kept))
        assert self._held is not None
        return self._held

    def _refresh_token(self, kept: Kept | None) -> str | None:
        """What a token is renewed with; None: the client itself is given one."""
        if not self.grant.by_person:
            return None
        if kept is None:
            raise self._never()
        if kept.trouble is not None:
            raise self._expired(kept.trouble)
        if kept.token.refresh is None:
            why = "the token has ended, and its server gave nothing to renew it with"
            self._shelf.ended(why, self._clock())
            raise self._expired(why)
        return kept.token.refresh

    def _asked(self, refresh: str | None, *, lost: bool) -> tuple[Token, float]:
        """What the server gives, and when it was asked. `lost`: an earlier answer never arrived."""
        for number in range(TRIES):
            begun = self._now()
            try:
                return (self._endpoint.alone() if refresh is None else self._endpoint.refresh(refresh)), begun
            except ServerAwayError as error:
                error.system = self.grant.system
                wait_s = TRY_AGAIN_S * 2**number if error.wait_s is None else error.wait_s
                lost = lost or error.sent
                if wait_s > LONGEST_WAIT_S:
                    self._refusal = (error, self._now() + min(wait_s, LONGEST_REFUSAL_S))
                    raise
                if number == TRIES - 1:
                    raise
                self._wait(wait_s)
            except GrantExpiredError as error:
                why = error.message
                if lost:
                    why += "; an answer to an earlier renewal never arrived, so the server may have changed the token unseen"
                self._shelf.ended(why, self._clock())
                raise self._expired(why) from None
            except AccessRefusedError as error:
                error.system = self.grant.system
                self._refusal = (error, self._now() + REFUSED_S)
                raise
        raise AssertionError  # the last try returns or raises

    def _keep(self, token: Token, ends_at: float, before: int) -> None:
        """Keep what the server gave, before anybody uses it; what cannot be kept now is tried again before anything else is asked."""
        self._not_kept = (token, ends_at, before)
        for number in range(TRIES):
            try:
                version = self._shelf.keep(token)
                break
            except StateError:
                if number == TRIES - 1:
                    raise
                self._wait(TRY_AGAIN_S * 2**number)
        self._not_kept = None
        self._refusal, self._again_at = None, -math.inf
        self._hold(token, version, ends_at)

    # -------------------------------------------------------------- words

    def _never(self) -> GrantExpiredError:
        system = self.grant.system
        return GrantExpiredError("it was never connected", hint=f"run `trueup connect {system}`", system=system)

    def _expired(self, why: str) -> GrantExpiredError:
        system = self.grant.system
        hint = f"run `trueup connect {system}`; until then its work waits, and nothing is lost"
        return GrantExpiredError(f"its access has ended: {why}", hint=hint, system=system)


def _version(kept: Kept | None) -> int:
    return 0 if kept is None else kept.version
