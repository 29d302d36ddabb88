"""What goes over the wire: one request and its response, before and after anybody has looked inside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import orjson

from trueup.connectors.jsonl_text import NumberText, parse_line

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `url` is a path below the base address (`/contacts`) or a whole one, quoted already; `body` None: there is none."""

    method: str
    url: str
    query: Mapping[str, str | list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def with_headers(self, **headers: str) -> Self:
        """The same request with more headers; `_` in a name stands for `-`."""
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})

    def with_header(self, name: str, value: str) -> Self:
        """The same request with one more header."""
        return replace(self, headers={**self.headers, name: value})

    def with_query(self, name: str, value: str) -> Self:
        """The same request with one more parameter."""
        return replace(self, query={**self.query, name: value})

    @property
    def is_read(self) -> bool:
        """Whether it may be sent twice without a thought."""
        return self.method in {"GET", "HEAD"}


@dataclass(slots=True)
class Response:
    """One answer. Header names are in lower case; `body` is unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    _value: Any = None
    _parsed: bool = False

    @property
    def is_json(self) -> bool:
        """Whether the body can be read as JSON; an empty one is null."""
        try:
            self.json()
        except ValueError:
            return False
        return True

    def json(self) -> Any:
        """The body's value, numbers with the digits they had (`jsonl_text.NumberText`); None where there is no body. Raises ValueError."""
        if not self._parsed:
            try:
                self._value = parse_line(self.body) if self.body.strip() else None
            except RecursionError as error:
                raise ValueError("it is nested too deep") from error
            self._parsed = True
        return self._value


def json_bytes(value: Any) -> bytes:
    """JSON text of a value; a `NumberText` is a number with just its digits. Raises ValueError for what JSON cannot hold."""
    try:
        return orjson.dumps(value, default=_other, option=orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from error


def _other(value: Any) -> Any:
    if isinstance(value, NumberText):
        return orjson.Fragment(str.encode(value))
    if isinstance(value, bool | int | float | str | dict | list):  # WrittenInt and the like
        return type(value).__mro__[1](value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
