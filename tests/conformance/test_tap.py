"""Singer taps take the exam as far as their abilities go: a tap of a few lines shows what stands in a file that others write."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.conformance.test_jsonl import dumped
from trueup.connectors.tap import TapConnector
from trueup.model import ObjectSpec
from trueup.testing.conformance import ConnectorSuite, RowsWorld, Traits, Trial, World
from trueup.testing.conformance_world import Row

pytestmark = pytest.mark.slow
KINDS = {"text": "string", "integer": "integer", "decimal": "number", "boolean": "boolean"}
TAP = """\
import json, sys
from pathlib import Path
def given(name): return json.loads(Path(sys.argv[sys.argv.index(name) + 1]).read_text()) if name in sys.argv else {}
folder = Path(given("--config")["folder"])
streams = [json.loads(path.read_text()) for path in sorted(folder.glob("*.schema"))]
if "--discover" in sys.argv:
    print(json.dumps({"streams": streams}))
    sys.exit()
for stream in given("--catalog")["streams"]:
    if not stream["schema"]["selected"]: continue
    name, by = stream["stream"], stream.get("replication_key")
    print(json.dumps({"type": "SCHEMA", "stream": name, "schema": stream["schema"], "key_properties": stream["key_properties"]}))
    begin = given("--state").get("bookmarks", {}).get(name, {}).get("replication_key_value")
    end = begin
    for line in (folder / name).read_text().splitlines():
        value = json.loads(line).get(by)
        if begin is not None and (value is None or value < begin): continue
        print('{"type": "RECORD", "stream": %s, "record": %s}' % (json.dumps(name), line))
        end = value if end is None or (value is not None and value > end) else end
    if by: print(json.dumps({"type": "STATE", "value": {"bookmarks": {name: {"replication_key": by, "replication_key_value": end}}}}))
"""


class TapWorld(RowsWorld):
    """A folder with two files per stream: its schema, and a record on each line."""

    connector = TapConnector
    traits: ClassVar[Traits] = Traits(
        types=frozenset({"text", "integer", "decimal", "boolean", "list"}), absent=True, misfits=True, makes_objects=False
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder / "streams"
        self.folder.mkdir()
        (folder / "tap.py").write_text(TAP)
        self.decimals: dict[str | None, set[str]] = {}

    def settings(self) -> dict[str, Any]:
        return {"command": [sys.executable, "-S", "tap.py"], "config": {"folder": str(self.folder)}}

    def make(self, name: str, trial: Trial) -> None:
        said = {
            column: {"type": ["null", "array"], "items": {"type": "string"}}
            if facts.type == "list"
            else {"type": ["null", KINDS[facts.type]]}
            for column, facts in trial.columns.items()
        }
        stream = {"stream": name, "tap_stream_id": name, "schema": {"properties": said}, "key_properties": list(trial.key), "metadata": []}
        self.decimals[name] = {column for column, facts in trial.columns.items() if facts.type == "decimal"}
        (self.folder / f"{name}.schema").write_text(json.dumps(stream))
        (self.folder / name).touch()

    def load(self, obj: ObjectSpec) -> list[Row]:
        with (self.folder / str(obj.name)).open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line, parse_float=Decimal) for line in file]

    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        decimals = self.decimals.get(obj.name, set())
        rows = [{name: Decimal(value) if name in decimals and value is not None else value for name, value in row.items()} for row in rows]
        (self.folder / str(obj.name)).write_text("".join(dumped(row) + "\n" for row in rows), encoding="utf-8")


class TestTap(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return TapWorld(tmp_path)
