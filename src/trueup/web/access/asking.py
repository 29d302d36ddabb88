"""What pages and the API ask: who is it, may they, and for whom is this done."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads it when the program runs

from trueup.store import audit
from trueup.web.access.problems import Problem
from trueup.web.access.roles import Role, scope_of
from trueup.web.access.user import User  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trueup.model import Config
    from trueup.store import Store

USER = "trueup.user"
"""Under this name the guard keeps who asks, in the scope of a request."""
LONGEST_WHY = 500


def current_user(request: HTTPConnection) -> User | None:
    """Who asks; None where nobody logged in (only public pages are asked for then)."""
    found: User | None = request.scope.get(USER)
    return found


@cache
def require(role: Role) -> Callable[[HTTPConnection], User]:
    """What a route depends on, as in `Depends(require("reviewer"))`: who asks has this role or a higher one. It gives who it is."""

    def required(connection: HTTPConnection) -> User:
        """Raises Problem: 401 for nobody, 403 for somebody who may not."""
        user = current_user(connection)
        if user is None:
            raise Problem(401, "log in first, or show a key", kind="not-authenticated")
        if not user.may(role):
            needed = f"the role {role}" if user.key is None else f"the role {role} and a key with the scope {scope_of(role)}"
            raise Problem(403, f"this needs {needed}", kind="not-allowed", hint="an admin changes roles: `trueup users role`")
        return user

    _required[required] = role
    return required


def role_required(dependency: object) -> Role | None:
    """The role that a dependency of a route asks for; None for another dependency."""
    return _required.get(dependency)


_required: dict[object, Role] = {}


@contextmanager
def acting(
    user: User, what: str, arguments: Mapping[str, Any] | None = None, *, why: str = "", config: Config | None = None
) -> Iterator[None]:
    """What is changed within the block is done for this user: the audit trail says who asked for `what`, and why.

    `what` is named as the command that does the same; `arguments` hold no value of a record.
    """
    command = audit.Command(what, dict(arguments or {}), datetime.now(UTC), why=" ".join(why.split())[:LONGEST_WHY])
    if config is not None:
        command.file, command.configuration = config.file, config.digests
    with audit.acting(user.actor, command):
        yield


def record_action(store: Store, user: User, what: str, arguments: Mapping[str, Any] | None = None, *, why: str = "") -> None:
    """Add a line to the audit trail for something that changes nothing in the state: who did `what`, and why."""
    with acting(user, what, arguments, why=why), store.write():
        pass  # the line goes with any transaction
