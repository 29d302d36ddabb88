"""Who asks: a person with a session, or a program with a key of theirs."""

from __future__ import annotations

from dataclasses import dataclass

from trueup.store.audit import Actor
from trueup.web.access.roles import Role, at_least, scope_of


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is known. `key` and `scopes` are of the key that was shown, None and empty for a session, whose hash is `session`."""

    id: int
    name: str
    role: Role
    session: str | None = None
    key: str | None = None
    scopes: frozenset[str] = frozenset()

    def may(self, needed: Role) -> bool:
        """Whether what asks for this role is allowed."""
        return at_least(self.role, needed) and (self.key is None or scope_of(needed) in self.scopes)

    @property
    def actor(self) -> Actor:
        """As the audit trail names them."""
        return Actor(self.name, "dashboard" if self.key is None else "api", self.key)
