"""The description of the API: OpenAPI for programs, and a page for people, which needs no script and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from trueup.reports.page import Safe, page, table
from trueup.web.access.asking import role_required
from trueup.web.access.roles import Role, scope_of
from trueup.web.api.parts import Viewer, answer

router = APIRouter(include_in_schema=False)
WORDS = """What the commands of trueup look at and decide, by the same functions. Programs show a key as `Authorization: Bearer KEY`
(`trueup users key add`). Lists come a page at a time: go on with `next`. Errors are problems (RFC 9457). A request with an
`Idempotency-Key` is done once, however often it is sent within a day."""


def role_of(route: APIRoute) -> Role | None:
    """The role that a route needs; None where it says none."""
    for part in route.dependant.dependencies:
        if (role := role_required(part.call)) is not None:
            return role
    return None


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the role and scope of each operation."""
    if app.openapi_schema is None:
        routes = [route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith("/api/v1/")]
        found = get_openapi(title="trueup", version=app.version, description=WORDS, routes=routes)
        found.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        problem = {"description": "A problem", "content": {"application/problem+json": {"schema": {"type": "object"}}}}
        for route in routes:
            role = role_of(route)
            for method in route.methods or ():
                operation = found["paths"].get(route.path, {}).get(method.lower())
                if operation is None or role is None:
                    continue
                operation["security"] = [{"key": [scope_of(role)]}]
                operation["x-role"] = role
                operation["responses"] = {"default": problem} | operation["responses"]
                operation["responses"].pop("422", None)
                if route.status_code == 202:
                    operation["responses"]["200"] = {"description": "It has ended within `wait_s`"}
        app.openapi_schema = found
    return app.openapi_schema


@router.get("/api/v1/openapi.json")
def openapi(user: Viewer, request: Request) -> Response:
    """The description for programs."""
    del user
    return answer(described(request.app))


@router.get("/api/docs")
def docs(user: Viewer, request: Request) -> Response:
    """The description for people."""
    del user
    found = described(request.app)
    rows: list[list[Any]] = []
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            given = ", ".join(f"{one['name']}{'' if one['required'] else '?'}" for one in operation.get("parameters", []))
            what = Safe(f"{escape(operation['summary'])}<br><small>{escape(operation.get('description', ''))}</small>")
            rows.append([f"{method.upper()} {path}", what, operation.get("x-role", ""), given])
    body = [
        "<h1>The API of trueup</h1>",
        f"<p>{escape(WORDS)}</p>",
        '<p>For programs: <a href="/api/v1/openapi.json">openapi.json</a></p>',
        table("Operations", ["operation", "what it does", "role", "parameters"], rows),
    ]
    return HTMLResponse(page("The API of trueup", body))
