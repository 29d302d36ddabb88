"""Packages that two servers send, take in, answer and raise alerts about by themselves."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.stories.test_packages import FIRST, Houses, houses
from tests.stories.test_serve import PATIENCE_S, wait_until
from tests.unit.exchange.packages import edited
from trueup.config.load import load_config
from trueup.reports.alert_rules import judge
from trueup.runtime.serving import exchanging
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.server import Server


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanging, "LOOK_S", 0.2)
    monkeypatch.setattr(exchanging, "TICK_S", 0.05)


@contextmanager
def serving(file: Path) -> Iterator[tuple[Server, io.StringIO]]:
    """A server at work, and its log."""
    told = io.StringIO()
    server = Server(load_config(file), log=Log(told), start=True)
    thread = Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.ready.is_set() or not thread.is_alive(), "the server is ready")
        yield server, told
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        sys.stdout.write(told.getvalue())  # shown where the test fails
        assert '"defect"' not in told.getvalue(), told.getvalue()


def firing(server: Server) -> set[str]:
    return {one.rule for one in judge(server.knowing.picture(), server.config.alerts.thresholds) if one.rule.startswith("package")}


def events(told: io.StringIO, what: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in told.getvalue().splitlines()]
    return [one for one in found if one["event"] == what]


@pytest.fixture
def two(tmp_path: Path) -> Houses:
    made = houses(tmp_path, ", when: [{every: 1d}]", ", owner: Head of Accounting")
    made.export()  # one that waits already
    return made


def test_what_is_sent_is_taken_in_and_answered_and_what_is_wrong_is_told(two):
    folder, hidden, third = two.project.folder, two.project.folder / "hidden", two.project.folder / "third"
    two.export()
    shutil.move(two.place / "invoice-000002", hidden)
    two.shop("A-9,Another,9")
    two.export()
    shutil.move(two.place / "invoice-000003", third)
    with serving(folder / "office.yaml") as (office, told):
        wait_until(lambda: two.ledger == sorted(FIRST), "the records in the ledger")
        wait_until((two.place / "invoice-000001-ack").exists, "the answer")
        assert firing(office) == set()
        with serving(folder / "sales.yaml") as (_sales, said):
            wait_until(lambda: [one["status"] for one in events(said, "package answered")] == ["accepted"], "sales has heard of it")
            assert events(said, "package sent") == []  # the next one is due tomorrow

        shutil.copytree(hidden, two.place / "invoice-000002", ignore=shutil.ignore_patterns("*.csv"))
        wait_until(lambda: events(told, "package waits") != [], "half of a package is told")
        wait_until(lambda: office.knowing.picture().packages["come"].trouble == "half-copied", "and known")
        assert firing(office) == set()  # it may be on its way: fifteen minutes are given

        edited(hidden, "invoice.csv", b"1200.1", b"9200.1")
        for name in ("invoice-gone.csv", "invoice.csv"):
            (hidden / name).replace(two.place / "invoice-000002" / name)
        wait_until(lambda: firing(office) == {"package_tampered"}, "a package that was tampered with")
        wait_until(lambda: [one["status"] for one in events(told, "package taken")] == ["accepted", "refused"], "told in the log")
        (found,) = (one for one in judge(office.knowing.picture(), office.config.alerts.thresholds) if one.rule == "package_tampered")
        assert found.owner == "Head of Accounting"
        page = office.knowing.metrics()[1]
        for line in (
            'trueup_package_sequence{direction="in",packages="come"} 2.0',
            'trueup_package_rows{direction="in",packages="come"} 3.0',
            'trueup_package_refused{direction="in",packages="come"} 1.0',
            'trueup_package_trouble{kind="tampered",packages="come"} 1.0',
        ):
            assert line in page.splitlines(), page

        third.replace(two.place / "invoice-000003")
        wait_until(lambda: two.ledger == ["A-9,Another,9"], "the next one is taken")
        wait_until(lambda: not firing(office), "the trouble is over")
        two.place.replace(folder / "elsewhere")
        wait_until(lambda: firing(office) == {"package_unsent"}, "a place that is away")
        (folder / "elsewhere").replace(two.place)
        wait_until(lambda: not firing(office), "a place that is back")
        assert len(events(told, "package waits")) <= 3  # once per reason, not each time


@pytest.mark.slow
def test_packages_are_sent_when_they_are_due(two):
    file = two.project.folder / "sales.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("every: 1d", "every: 1s"), encoding="utf-8")
    with serving(file) as (_server, told):
        wait_until(lambda: len(events(told, "package sent")) >= 2, "two more packages")
    names = sorted(path.name for path in two.place.iterdir() if not path.name.startswith("."))
    assert names[:3] == ["invoice-000001", "invoice-000002", "invoice-000003"]
    assert [one["status"] for one in two.come()] == ["accepted"] * len(names)
