"""What every part of a connector file is made of, and its first part: where an application is, who asks, and what its answers mean."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trueup.connectors.rest.pointer import parse
from trueup.connectors.rest.template import places

ErrorClass = Literal["throttled", "reauth", "forbidden", "gone", "duplicate", "stale", "rejected", "transient", "page_size", "none"]


def _pointer(text: str) -> str:
    parse(text)
    return text


def _place(text: str) -> str:
    return text if re.fullmatch(r"header [A-Za-z0-9-]+", text) else _pointer(text)


def _templated(value: Any) -> Any:
    places(value)
    return value


def _target(text: str) -> str:
    head, _, rest = text.partition(".")
    if head not in {"query", "body", "header"} or not rest:
        raise ValueError("write query.NAME, header.NAME or body.NAME.NAME")
    return text


def listed(value: Any) -> Any:
    """A list of what stands alone; a list as it is."""
    return value if isinstance(value, list) else [value]


def _span(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?[smhd]", text):
        raise ValueError(f"`{text}` is no span of time: write for example 90s, 15m, 12h or 6d")
    return text


Pointer = Annotated[str, AfterValidator(_pointer)]
Place = Annotated[str, AfterValidator(_place)]
"""A pointer into the answer, or `header NAME`."""
Span = Annotated[str, AfterValidator(_span)]
Templated = Annotated[Any, AfterValidator(_templated)]
TemplatedText = Annotated[str, AfterValidator(_templated)]
Target = Annotated[str, AfterValidator(_target)]
Status = Annotated[str, BeforeValidator(str, json_schema_input_type=int | str), Field(pattern=r"^[1-5]([0-9]{2}|xx)$")]
Anything = Annotated[list[Any], BeforeValidator(listed, json_schema_input_type=Any)]


class Shape(BaseModel):
    """What every part has in common: nothing unknown is let through."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AuthShape(Shape):
    """Who asks: `none`, `bearer` (`token`), `basic` (`user`, `password`), `header` or `query` (`name`, `value`), or `oauth2`."""

    model_config = ConfigDict(extra="allow", frozen=True)  # oauth2 has settings of its own, looked at by whoever keeps its tokens
    kind: Literal["none", "bearer", "basic", "header", "query", "oauth2"]
    token: TemplatedText | None = None
    prefix: str = "Bearer"
    user: TemplatedText | None = None
    password: TemplatedText | None = None
    name: str | None = None
    value: TemplatedText | None = None

    @model_validator(mode="after")
    def _complete(self) -> AuthShape:
        needs = {"bearer": ("token",), "basic": ("user", "password"), "header": ("name", "value"), "query": ("name", "value")}
        missing = [name for name in needs.get(self.kind, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.kind} needs `{missing[0]}`")
        if self.kind != "oauth2" and self.model_extra:
            raise ValueError(f"`{next(iter(self.model_extra))}` is no setting of {self.kind}")
        return self


class AnyAuthShape(Shape):
    """Several ways of which the first is taken whose secrets are given."""

    any_of: list[AuthShape] = Field(min_length=1)


class LimitShape(Shape):
    """`requests` in any `per_s` seconds, or so many at once (`concurrency`); `match`: of such paths; `cost`: what one request counts."""

    requests: int | None = Field(None, ge=1)
    per_s: float = Field(1.0, gt=0)
    concurrency: int | None = Field(None, ge=1)
    match: str | None = None
    cost: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _one(self) -> LimitShape:
        if (self.requests is None) == (self.concurrency is None):
            raise ValueError("write either requests: with per_s:, or concurrency:")
        return self


class BudgetShape(Shape):
    """Headers that tell what is left: `remaining`, `reset` (seconds from now, or a moment as epoch seconds, milliseconds or HTTP date).

    `ratelimit`: they are those of the draft for all of HTTP, in any of its versions.
    """

    remaining: str | None = None
    reset: str | None = None
    ratelimit: bool = False
    keep: int = Field(0, ge=0)  # how much of it is left for others

    @model_validator(mode="after")
    def _one(self) -> BudgetShape:
        if self.ratelimit == (self.remaining is not None):
            raise ValueError("write either remaining: with reset:, or ratelimit: true")
        return self


class ErrorShape(Shape):
    """What an answer means. All that is said must hold: `status`, and something is there at the pointer `at` (`is`: one of these)."""

    status: Annotated[list[Status], BeforeValidator(listed, json_schema_input_type=list[int | str] | int | str)] | None = None
    at: Pointer | None = None
    equals: Anything | None = Field(None, alias="is")
    contains: str | None = None  # a word of the body, whatever its case
    means: ErrorClass = Field(alias="class")
    message: Pointer | None = None
    field: Pointer | None = None
    wait: list[str] = Field(default_factory=list)  # header NAME, seconds N, backoff

    @model_validator(mode="after")
    def _something(self) -> ErrorShape:
        if self.status is None and self.at is None and self.contains is None:
            raise ValueError("it says nothing about the answer: add status:, at: or contains:")
        for word in self.wait:
            kind, _, rest = word.partition(" ")
            if not ((kind == "header" and rest) or (kind == "seconds" and rest.replace(".", "", 1).isdigit()) or word == "backoff"):
                raise ValueError(f"`{word}` is no way to wait: write header NAME, seconds N or backoff")
        return self


class HttpShape(Shape):
    """Where the application is, and how it may be asked."""

    base_url: TemplatedText
    hosts: list[str] = Field(default_factory=list)  # further hosts that may be asked: for next pages and downloads
    headers: dict[str, TemplatedText] = Field(default_factory=dict)
    limits: list[LimitShape] = Field(default_factory=list)
    budget_headers: BudgetShape | None = None
    errors: list[ErrorShape] = Field(default_factory=list)
    timeout_s: float = Field(60, gt=0, le=900)
    max_body_mb: float = Field(64, gt=0, le=2048)
    parallel: int = Field(4, ge=1, le=32)
    most_wait_s: float = Field(90, ge=0, le=3600)  # longer waits end the work for now, instead of sleeping
    attempts: int = Field(4, ge=1, le=10)
