"""The person behind one open page, asked anew for each decision: a role may be taken away while a page is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.errors import UsageError
from trueup.web.access import current_user, sessions
from trueup.web.access.guard import COOKIE, SECURE, SECURE_COOKIE

if TYPE_CHECKING:
    from starlette.requests import Request

    from trueup.web.access import Role, User
    from trueup.web.desk.place import Place


class Guest:
    """Who asked for a page; its cookie speaks for that person as long as the page is open."""

    def __init__(self, place: Place, request: Request) -> None:
        """The guard has let the request in."""
        self._place = place
        self._cookie = request.cookies.get(SECURE_COOKIE if request.scope.get(SECURE) else COOKIE, "")
        self.user: User | None = current_user(request)

    def require(self, role: Role) -> User:
        """The person, if still logged in and of this role. Raises UsageError."""
        self.user = sessions.of_session(self._place.store, self._cookie, self._place.clock())
        if self.user is None:
            raise UsageError("you are not logged in any more", hint="load the page again, and log in")
        if not self.user.may(role):
            raise UsageError(f"this takes the role {role}; yours is {self.user.role}", hint="an admin changes roles: `trueup users role`")
        return self.user

    def may(self, role: Role) -> bool:
        """Whether to offer something at all."""
        return self.user is not None and self.user.may(role)
