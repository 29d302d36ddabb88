"""A file behind an API that wants a token: for every call somebody has to show one that the API takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from trueup.connectors.jsonl import JsonlConnector
from trueup.errors import AccessRefusedError


@dataclass(frozen=True)
class Ask:
    """One request."""

    headers: Mapping[str, str] = field(default_factory=dict)

    def with_header(self, name: str, value: str) -> Ask:
        return replace(self, headers={**self.headers, name: value})


class GatedConnector(JsonlConnector):
    """Reads and writes a file; `api` is asked first."""

    grant: Mapping[str, Any] | None = None
    _authorization: Any = None
    _api = ""

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        found = super().settings_schema()
        return {**found, "properties": {**found["properties"], "api": {"type": "string"}}}

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: Any = ".") -> Any:
        opened: Any = super().open(name, {key: value for key, value in settings.items() if key != "api"}, directory=directory)
        opened._api = settings["api"]
        opened.grant = {}
        return opened

    def authorize_by(self, authorization: Any) -> None:
        self._authorization = authorization

    def _enter(self) -> None:
        for _again in range(2):
            ask = self._authorization.prepare(Ask())
            answer = httpx2.get(self._api, headers=dict(ask.headers))
            if answer.status_code == 200:
                return
            if not self._authorization.rejected(ask, answer):
                break
        raise AccessRefusedError("the API does not take the token", system=self.name)

    def describe(self, obj: Any) -> Any:
        self._enter()
        return super().describe(obj)

    def read(self, *args: Any, **more: Any) -> Iterator[Any]:
        self._enter()
        yield from super().read(*args, **more)

    def write(self, *args: Any, **more: Any) -> Any:
        self._enter()
        return super().write(*args, **more)
