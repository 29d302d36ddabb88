"""Errors as the API tells them (RFC 9457): what happened, and what to do now."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from trueup.errors import ConfigError, StateLockedError, StateMissingError, SystemUnreachableError, TrueupError, UsageError

KIND = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not valid",
    428: "Precondition required",
    429: "Too many requests",
    500: "Defect",
    503: "Not available now",
}


class Problem(Exception):  # noqa: N818 - the name of the thing that is sent
    """A request is answered with this instead."""

    def __init__(self, status: int, detail: str, *, kind: str = "", hint: str | None = None, **more: Any) -> None:
        """Say what happened and (`hint`) what to do now; `kind` tells programs apart what people read in `detail`."""
        super().__init__(detail)
        self.status, self.detail, self.kind, self.hint, self.more = status, detail, kind, hint, more

    def body(self) -> dict[str, Any]:
        """The problem as it is sent."""
        told: dict[str, Any] = {
            "type": f"urn:trueup:{self.kind}" if self.kind else "about:blank",
            "title": TITLES.get(self.status, "Error"),
        }
        told |= {"status": self.status, "detail": self.detail}
        return told | ({"hint": self.hint} if self.hint else {}) | self.more

    def response(self) -> Response:
        """The answer, whole."""
        headers = {"www-authenticate": "Bearer"} if self.status == 401 else {}
        if "retry_after_s" in self.more:
            headers["retry-after"] = str(self.more["retry_after_s"])
        return Response(orjson.dumps(self.body(), default=str), self.status, headers, media_type=KIND)


def problem_of(error: TrueupError) -> Problem:
    """An error of ours as a problem."""
    hint = error.hint
    if isinstance(error, ConfigError):
        found = [{"file": one.file, "line": one.line, "path": one.path, "message": one.message, "hint": one.hint} for one in error.problems]
        return Problem(422, "the configuration cannot be used", kind="configuration", problems=found)
    if isinstance(error, UsageError):
        status = 404 if error.message.startswith(("there is no ", "nobody is named")) or ": no record is linked" in error.message else 422
        return Problem(status, str(error.message), kind="not-found" if status == 404 else "not-valid", hint=hint)
    if isinstance(error, StateLockedError):
        return Problem(503, error.message, kind="busy", hint="try again in a moment", retry_after_s=5)
    if isinstance(error, StateMissingError):
        return Problem(409, error.message, kind="no-state", hint=hint)
    if isinstance(error, SystemUnreachableError):
        return Problem(503, str(error), kind="unreachable", hint=hint, retry_after_s=30)
    if error.remedy == "retry":
        return Problem(503, str(error), kind="try-again", hint=hint, retry_after_s=5)
    return Problem(409, str(error), kind="refused", hint=hint)
