"""The card file connector takes trueup's exam."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cardfile_trueup import CardFileConnector
from trueup.testing.conformance import ConnectorSuite
from trueup.testing.conformance_world import RowsWorld, Traits


class CardFileWorld(RowsWorld):
    """Card files, made and edited without the connector."""

    connector = CardFileConnector
    traits = Traits(types=frozenset({"text"}), assign="uuid", assigned_type="text")

    def settings(self):
        return {"path": "."}

    def make(self, name, trial):
        self._write(name, {"columns": list(trial.columns), "key": list(trial.key), "rows": []})

    def load(self, obj):
        return self._read(obj.name)["rows"]

    def save(self, obj, rows):
        self._write(obj.name, {**self._read(obj.name), "rows": list(rows)})

    def _read(self, name):
        return json.loads(Path(self.directory, f"{name}.json").read_text(encoding="utf-8"))

    def _write(self, name, box):
        Path(self.directory, f"{name}.json").write_text(json.dumps(box), encoding="utf-8")


class TestCardFile(ConnectorSuite):
    """Every rule of the contract, and every lie that a rule must notice."""

    @pytest.fixture
    def world(self, tmp_path):
        world = CardFileWorld(str(tmp_path))
        yield world
        world.close()
