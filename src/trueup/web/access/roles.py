"""Roles of people and scopes of keys: each role may do what those before it may."""

from __future__ import annotations

from trueup.errors import UsageError
from trueup.store.person import ROLES, Role

__all__ = ["ROLES", "SCOPES", "Role", "at_least", "known_role", "known_scopes", "scope_of"]

SCOPES: dict[str, Role] = {"read": "viewer", "decide": "reviewer", "operate": "operator", "administer": "admin"}
"""What a key may do, by the role that its person needs for it as well."""
_SCOPE_OF = {role: scope for scope, role in SCOPES.items()}


def at_least(role: Role, needed: Role) -> bool:
    """Whether a role may do what `needed` may."""
    return ROLES.index(role) >= ROLES.index(needed)


def scope_of(needed: Role) -> str:
    """The scope that a key must have for what asks for this role."""
    return _SCOPE_OF[needed]


def known_role(name: str) -> Role:
    """A role by name. Raises UsageError."""
    for role in ROLES:
        if role == name:
            return role
    raise UsageError(f"there is no role {name!r}", hint=f"one of: {', '.join(ROLES)}")


def known_scopes(names: list[str], role: Role) -> tuple[str, ...]:
    """Scopes in their order, once each. Raises UsageError for none, an unknown one, or one that needs more than the role."""
    if not names:
        raise UsageError("a key without a scope opens nothing", hint=f"one or more of: {', '.join(SCOPES)}")
    for name in names:
        if name not in SCOPES:
            raise UsageError(f"there is no scope {name!r}", hint=f"one or more of: {', '.join(SCOPES)}")
        if not at_least(role, SCOPES[name]):
            raise UsageError(f"the scope {name} needs the role {SCOPES[name]}; its person is {role}", hint="`trueup users role` changes it")
    return tuple(scope for scope in SCOPES if scope in names)
