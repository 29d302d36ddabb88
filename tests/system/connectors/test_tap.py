"""Singer taps: what a tap prints is what is read, and a tap that misbehaves tells nothing but what is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.python_programs import fetched
from trueup.connectors.base import WriteBatch
from trueup.connectors.tap import TapConnector
from trueup.errors import ConfigError, ObjectMissingError, ObjectUnreadableError, SystemError_, SystemUnreachableError, WriteRefusedError
from trueup.model import ObjectSpec

pytestmark = pytest.mark.slow

TAP = """\
import json, os, sys, time
from pathlib import Path
config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
schema = {"type": "object", "properties": {
    "id": {"type": ["integer"]}, "name": {"type": ["null", "string"]}, "price": {"type": ["null", "number"]},
    "tags": {"type": ["null", "array"], "items": {"type": "string"}}, "open": {"type": "boolean"}}}
def say(**message): print(json.dumps(message), flush=True)
if "--discover" in sys.argv:
    print(json.dumps({"streams": [{"tap_stream_id": name, "stream": name, "schema": schema, "key_properties": ["id"], "metadata": []}
                                  for name in ("things", "others")]}))
    sys.exit()
if "--state" in sys.argv: assert json.loads(Path(sys.argv[sys.argv.index("--state") + 1]).read_text()) == {"at": 1}
catalog = json.loads(Path(sys.argv[sys.argv.index("--catalog") + 1]).read_text())
for stream in catalog["streams"]:
    if not stream["schema"]["selected"]: continue
    if config.get("do") != "no schema": say(type="SCHEMA", stream=stream["stream"], schema=schema, key_properties=["id"])
    say(type="RECORD", stream=stream["stream"], record={"id": 1, "name": "old"})
    newer = '{"id": 1, "name": "Zo\\\\u00eb O\\'Neil", "price": 1.10, "tags": ["a"], "open": true}'
    print('{"type": "RECORD", "stream": "%s", "record": %s}' % (stream["stream"], newer), flush=True)
    say(type="RECORD", stream=stream["stream"], record={"id": 2, "name": None})
    say(type="RECORD", stream=stream["stream"], record={"id": 3, "name": "gone", "_sdc_deleted_at": "2026-01-01"})
    match config.get("do"):
        case "garbage": print("Traceback: not json", flush=True)
        case "fail": print("boom " + config["token"], file=sys.stderr); raise RuntimeError(config["token"])
        case "hang": time.sleep(600)
    if stream["replication_method"] == "INCREMENTAL": say(type="STATE", value={"at": 1})
"""
THINGS = ObjectSpec(name="things", key=("id",))


def tap(folder: Path, **config: Any) -> TapConnector:
    program = folder / "tap.py"
    program.write_text(TAP)
    limit = config.pop("timeout_s", 60)
    settings = {"command": [sys.executable, str(program)], "config": config, "secrets": {"token": "t0p-s3cret"}, "timeout_s": limit}
    return TapConnector.open("tap", settings, directory=str(folder))


def test_a_stream_is_read_with_types_and_the_latest_record_of_each_key(tmp_path: Path):
    connector = tap(tmp_path)
    assert [(info.name, info.key) for info in connector.discover()] == [("things", ("id",)), ("others", ("id",))]
    types = {name: column.type for name, column in connector.describe(THINGS).columns.items()}
    assert types == {"id": "integer", "name": "text", "price": "decimal", "tags": "list", "open": "boolean"}
    pages = list(connector.read(THINGS, ["name", "price", "tags", "open"]))
    assert pages[-1].complete
    rows = [row for page in pages for row in page.rows.select("__key", "name", "price", "tags", "open").rows()]
    assert rows == [("1", "Zoë O'Neil", "1.10", ["a"], True), ("2", None, None, None, None)]
    assert [key for page in connector.read(THINGS, ["name"], keys=["2", "9"]) for key in page.rows["__key"]] == ["2"]


@pytest.mark.parametrize(
    ("does", "error", "words"),
    [
        ("garbage", ObjectUnreadableError, "line 6 of what it prints is no message of a tap"),
        ("no schema", ObjectUnreadableError, "before the SCHEMA"),
        ("fail", SystemUnreachableError, r"ended with status 1 \(RuntimeError\)"),
    ],
)
def test_a_tap_that_misbehaves_tells_nothing(tmp_path: Path, does: str, error: type[SystemError_], words: str):
    with pytest.raises(error, match=words) as caught:
        list(tap(tmp_path, do=does).read(THINGS, ["name"]))
    assert "t0p-s3cret" not in str(caught.value)
    assert "gone" not in str(caught.value)


def test_the_state_of_a_tap_is_the_cursor_of_the_next_reading(tmp_path: Path):
    dated = ObjectSpec(name="things", key=("id",), modified="name")
    first = list(tap(tmp_path).read(dated, ["name"]))[-1]
    assert (first.cursor, first.gone, first.complete) == ('{"at":1}', (), True)
    since = list(tap(tmp_path).read(dated, ["name"], since=first.cursor))[-1]
    assert (since.cursor, since.gone) == ('{"at":1}', ("3",))
    with pytest.raises(SystemUnreachableError, match="AssertionError"):
        list(tap(tmp_path).read(dated, ["name"], since='{"at":2}'))
    assert list(tap(tmp_path).read(THINGS, ["name"]))[-1].cursor is None


def test_a_tap_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begun: list[int] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            begun.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with pytest.raises(SystemUnreachableError, match="ran for more than 3 s"):
        list(tap(tmp_path, do="hang", timeout_s=3).read(THINGS, ["name"]))
    assert begun
    for number in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_what_is_not_there_is_said(tmp_path: Path):
    connector = tap(tmp_path)
    with pytest.raises(ObjectMissingError, match="did you mean 'things'"):
        connector.describe(ObjectSpec(name="thing", key=("id",)))
    with pytest.raises(ObjectMissingError, match="did you mean 'name'"):
        connector.read(THINGS, ["names"])
    with pytest.raises(WriteRefusedError, match="only reads"):
        connector.write(THINGS, WriteBatch(kind="delete", rows=next(connector.read(THINGS, [])).rows))
    with pytest.raises(SystemUnreachableError, match="cannot be started"):
        TapConnector.open("tap", {"command": "no-such-tap"}).discover()
    with pytest.raises(ObjectUnreadableError, match="is no catalog"):
        TapConnector.open("tap", {"command": [sys.executable, "-c", "print(1)"]}).discover()
    with pytest.raises(ConfigError, match=r"(?s)`command` is missing.*unknown setting 'x'"):
        TapConnector.open("tap", {"x": 1})


def test_the_configuration_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    list(tap(tmp_path, name=json.dumps("x")).read(THINGS, ["name"]))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_tap_that_others_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """tap-jsonl, on the Singer SDK."""
    lines = ['{"id": 1, "name": "Zoë", "at": "2026-01-02T03:04:05Z"}', '{"id": 2, "name": "O\'Neil", "price": 1.5}']
    (tmp_path / "people.jsonl").write_text("\n".join([*lines, ""]))
    monkeypatch.setenv("PYTHONPATH", str(fetched("taps")))
    command = [sys.executable, "-c", "from tap_jsonl.tap import TapJsonl; TapJsonl.cli()"]
    config = {"path": str(tmp_path / "*.jsonl"), "stream_name": "people", "primary_keys": ["id"]}
    connector = TapConnector.open("tap", {"command": command, "config": config}, directory=str(tmp_path))
    people = ObjectSpec(name="people", key=("id",))
    assert connector.describe(people).key == ("id",)
    rows = [row for page in connector.read(people, ["name", "price"]) for row in page.rows.select("__key", "name", "price").rows()]
    assert sorted(rows) == [("1", "Zoë", None), ("2", "O'Neil", "1.5")]
