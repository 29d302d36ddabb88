"""Who may use the dashboard and the API: people, passwords, sessions, keys, and what each role may do.

For pages and the API: `current_user(request)`, `require(role)`, and `acting(user, …)` around whatever is done for somebody.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.web.access.asking import acting, current_user, record_action, require
    from trueup.web.access.roles import ROLES, Role
    from trueup.web.access.user import User

__all__ = ["ROLES", "Role", "User", "acting", "current_user", "record_action", "require"]

_HOMES = {
    **dict.fromkeys(("acting", "current_user", "record_action", "require"), "asking"),
    **dict.fromkeys(("ROLES", "Role"), "roles"),
    "User": "user",
}


def __getattr__(name: str) -> Any:
    """Loaded when it is first asked for: the command line needs no web framework."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(name)
