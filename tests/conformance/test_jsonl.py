"""The JSON Lines connector takes the exam; the judge of what a file holds is Python's own JSON parser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trueup.connectors.jsonl import JsonlConnector
from trueup.model import ObjectSpec
from trueup.testing.conformance import ConnectorSuite, RowsWorld, Traits, Trial, World
from trueup.testing.conformance_world import Row


def dumped(value: Any) -> str:
    """JSON text in which a Decimal is a number with its own digits."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {dumped(item)}" for name, item in value.items()) + "}"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


class JsonlWorld(RowsWorld):
    """A directory; each object is a file of it."""

    connector = JsonlConnector
    traits = Traits(
        types=frozenset({"text", "integer", "decimal", "boolean", "list"}),
        absent=True,
        misfits=True,
        assign="sequence",
        refuses=frozenset({"number"}),
    )

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.decimals: dict[str | None, set[str]] = {}

    def spec(self, name: str, trial: Trial) -> ObjectSpec:
        """Types are declared: an empty file shows none."""
        return replace(super().spec(name, trial), options={"columns": {column: facts.type for column, facts in trial.columns.items()}})

    def settings(self) -> dict[str, Any]:
        return {"path": "."}

    def make(self, name: str, trial: Trial) -> None:
        self.decimals[name] = {column for column, facts in trial.columns.items() if facts.type == "decimal"}
        self.path(name).touch()

    def path(self, name: str | None) -> Path:
        return Path(self.directory) / f"{name}.jsonl"

    def load(self, obj: ObjectSpec) -> list[Row]:
        with self.path(obj.name).open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line, parse_float=Decimal) for line in file]

    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        decimals = self.decimals.get(obj.name, set())
        rows = [{name: Decimal(value) if name in decimals and value is not None else value for name, value in row.items()} for row in rows]
        self.path(obj.name).write_text("".join(dumped(row) + "\n" for row in rows), encoding="utf-8")


class TestJsonl(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return JsonlWorld(str(tmp_path))
