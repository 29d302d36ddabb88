"""Whether a request is one that an application's own description allows: its path, parameters and body.

The descriptions are small extracts, made by hand or by a program from what the vendors publish; each names its source and licence.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator

HERE = Path(__file__).parent / "presets"


class Judge:
    """One description. `wrong` collects what was asked and is not allowed; `seen` the operations that were asked for."""

    def __init__(self, name: str) -> None:
        self.described: dict[str, Any] = json.loads((HERE / f"{name}.openapi.json").read_text(encoding="utf-8"))
        self.wrong: list[str] = []
        self.seen: set[str] = set()
        told = sorted(self.described["paths"], key=_exact)
        self._paths = [(re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)) + "$"), path) for path in told]

    def look_at(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        """Note what is wrong with a request."""
        prefix = self.described.get("x-prefix", "")
        fitting = [told for pattern, told in self._paths if path.startswith(prefix) and pattern.match(path.removeprefix(prefix))]
        known = next((told for told in fitting if method.lower() in self.described["paths"][told]), None)
        operation = self.described["paths"][known][method.lower()] if known is not None else None
        if operation is None:
            self.wrong.append(f"{method} {path} is not described")
            return
        self.seen.add(f"{method} {known}")
        self._parameters(f"{method} {known}", operation, dict(parse_qsl(query, keep_blank_values=True)), headers)
        shape = operation.get("body")
        if shape is None:
            if body and json.loads(body) not in ({}, None):
                self.wrong.append(f"{method} {known} takes no body")
        elif not body:
            self.wrong.append(f"{method} {known} needs a body")
        else:
            whole = {**shape, "components": self.described.get("components", {})}
            for error in Draft202012Validator(whole).iter_errors(json.loads(body)):
                self.wrong.append(f"{method} {known}: {error.json_path}: {error.message[:200]}")

    def _parameters(self, what: str, operation: dict[str, Any], query: dict[str, str], headers: dict[str, str]) -> None:
        known = {one["name"]: one for one in operation.get("query", [])}
        for name, value in query.items():
            if name not in known:
                self.wrong.append(f"{what}: there is no parameter {name}")
            elif "enum" in known[name] and value not in known[name]["enum"]:
                self.wrong.append(f"{what}: {name} cannot be {value}")
        for name, one in known.items():
            if one.get("required") and name not in query:
                self.wrong.append(f"{what}: {name} is missing")
        for name in operation.get("headers", []):
            if name.lower() not in headers:
                self.wrong.append(f"{what}: the header {name} is missing")


def _exact(path: str) -> int:
    """Paths without places come first."""
    return path.count("{")
