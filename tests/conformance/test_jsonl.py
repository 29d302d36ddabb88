"""The JSON Lines connector takes the exam; the judge of what a file holds is Python's own JSON parser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trueup.connectors.jsonl import JsonlConnector
from trueup.model import ObjectSpec
from trueup.testing.conformance import ConnectorSuite, RowsWorld, Traits, Trial, World
from trueup.testing.conformance_world import Row


class JsonlWorld(RowsWorld):
    """A directory; each object is a file of it. A file declares no types, so only text has one before there are values."""

    connector = JsonlConnector
    traits = Traits(types=frozenset({"text"}), absent=True, assign="sequence", assigned_type="text")

    def settings(self) -> dict[str, Any]:
        return {"path": "."}

    def make(self, name: str, trial: Trial) -> None:
        del trial
        self.path(name).touch()

    def path(self, name: str | None) -> Path:
        return Path(self.directory) / f"{name}.jsonl"

    def load(self, obj: ObjectSpec) -> list[Row]:
        with self.path(obj.name).open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line, parse_float=Decimal) for line in file]

    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        self.path(obj.name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class TestJsonl(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return JsonlWorld(str(tmp_path))
