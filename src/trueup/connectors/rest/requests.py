"""Requests from their shape: places filled, parameters of a page put where the file says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from trueup.connectors.rest.message import Request, json_bytes
from trueup.connectors.rest.pointer import place
from trueup.connectors.rest.template import NOTHING, render, render_path, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.rest.schema import RequestShape


def built(
    shape: RequestShape, scope: Mapping[str, Any], more: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Request:
    """A request; `more` is target (`query.limit`) -> value, put in over what the shape says. Raises ValueError for a value with no form."""
    query = {name: _parameter(value) for name, value in render(shape.query, scope).items()}
    head = {name: text(value) for name, value in render(shape.headers, scope).items()}
    body = render(shape.body, scope) if shape.body is not None else None
    body = None if body is NOTHING else body
    for target, value in (more or {}).items():
        kind, _, name = target.partition(".")
        if kind == "query":
            query[name] = _parameter(value)
        elif kind == "header":
            head[name] = text(value)
        else:
            body = {} if body is None else body
            place(body, tuple(name.split(".")), value)
    head |= headers or {}
    content = None
    if body is not None:
        content = urlencode(_form(body)).encode() if shape.form else json_bytes(body)
        head = {"content-type": "application/x-www-form-urlencoded" if shape.form else "application/json", **head}
    return Request(shape.method, render_path(shape.path, scope), query, head, content)


def _parameter(value: Any) -> str | list[str]:
    return [text(item) for item in value] if isinstance(value, list | tuple) else text(value)


def _form(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A body as a form: nested members are `name[member]`."""
    if isinstance(value, dict):
        return [pair for name, item in value.items() for pair in _form(item, f"{prefix}[{name}]" if prefix else str(name))]
    if isinstance(value, list):
        return [pair for number, item in enumerate(value) for pair in _form(item, f"{prefix}[{number}]")]
    return [(prefix, "" if value is None else text(value))]
