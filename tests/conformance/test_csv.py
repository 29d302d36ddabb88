"""The CSV connector takes the exam; the judge of what a file holds is Python's csv module."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trueup.connectors.csv import CsvConnector
from trueup.model import ObjectSpec
from trueup.testing.conformance import ConnectorSuite, RowsWorld, Traits, Trial, World
from trueup.testing.conformance_world import Row


class CsvWorld(RowsWorld):
    """A directory; each object is a file of it."""

    connector = CsvConnector
    traits = Traits(types=frozenset({"text"}), empty_text=False, assign="sequence", assigned_type="text")

    def settings(self) -> dict[str, Any]:
        return {"path": "."}

    def make(self, name: str, trial: Trial) -> None:
        with self.path(name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(trial.columns)

    def path(self, name: str | None) -> Path:
        return Path(self.directory) / f"{name}.csv"

    def load(self, obj: ObjectSpec) -> list[Row]:
        with self.path(obj.name).open(newline="", encoding="utf-8") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]

    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        with self.path(obj.name).open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file))
        with self.path(obj.name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([header, *([row.get(name) for name in header] for row in rows)])


class TestCsv(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return CsvWorld(str(tmp_path))
