"""Rows that an application takes as a job, and writes later: what became of each, and jobs that are slow, lost, failed or endless."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.connectors.rest_tools import CONTACTS, contacts, creates, filled, opened, outcomes, updates
from trueup.errors import ConfigError, SystemUnreachableError
from trueup.runtime.workspace import open_workspace
from trueup.testing.conformance_rest import JOB
from trueup.testing.rest_service import TOKEN, RestService, Rule

ROWS = 20
TOLD = {"items": "inputs", "item": {"attributes": "${fields}"}, "max": 50, "results": "/results", "index": "/index", "status": "/status"}
TOLD |= {"message": "/error/message", "field": "/error/field", "id": "/id", "row": "/row"}
CHANGED = {"id": "${id}", "attributes": "${changed}"}


def by_job(**job: Any) -> dict[str, Any]:
    """Contacts that are made and changed by jobs alone."""
    made = contacts(match_on=["email"])
    bulk = {"post": "/imports/contacts", **TOLD, "job": {**JOB, **job}}
    made["write"] = {"bulk": {kind: {**bulk, "body": {"op": kind}} for kind in ("create", "update")}}
    made["write"]["bulk"]["update"]["item"] = CHANGED
    return made


@pytest.fixture
def service():
    with RestService() as made:
        filled(made, 5)
        yield made


@pytest.fixture
def connect(service, tmp_path):
    connectors = []

    def made(obj: dict[str, Any] | None = None) -> Any:
        connectors.append(opened(tmp_path, service, obj or by_job()))
        return connectors[-1]

    yield made
    for one in connectors:
        one.close()


def begun(service: RestService) -> int:
    return sum(asked == ("POST", "/imports/contacts") for asked in service.requests)


def test_each_row_has_the_outcome_that_the_job_tells_of_it(service, connect):
    service.collections["contacts"].rules["email"] = Rule(unique=True)
    service.traps.import_looks = 6
    refused = [f"e{number}" for number in range(1, 6)]  # their addresses are taken
    found = outcomes(connect(), creates(*[name for number in range(5) for name in (f"new{number}", refused[number])]))
    assert [row["__status"] for row in found] == ["done", "rejected"] * 5
    assert {row["__field"] for row in found if row["__status"] == "rejected"} == {"email"}
    assert len(service.rows("contacts")) == 10
    assert begun(service) == 1


def test_rows_are_changed_by_a_job(service, connect):
    assert [row["__status"] for row in outcomes(connect(), updates(k1="x", k2="y"))] == ["done", "done"]
    assert [row["name"] for row in service.rows("contacts")][:3] == ["x", "y", "n3"]


@pytest.mark.parametrize(
    ("trap", "value", "said"),
    [
        ("import_forgets", 1, "import job 1 of contacts: there is no such job"),
        ("import_fails", True, "import job 1 of contacts ended as failed: the disk is full"),
        ("import_stuck", True, r"import job 1 of contacts has not ended after 0\.05 s"),
    ],
)
def test_a_job_that_tells_nothing_is_not_repeated(service, connect, trap, value, said):
    setattr(service.traps, trap, value)
    with pytest.raises(SystemUnreachableError, match=f"not known whether {ROWS} new rows arrived: {said}"):
        outcomes(connect(by_job(at_most_s=0.05)), creates(*[f"new{number}" for number in range(ROWS)]))
    assert begun(service) == 1


def test_no_other_job_is_begun_while_nobody_knows_of_one(service, connect):
    service.traps.import_stuck = True
    with pytest.raises(SystemUnreachableError):
        outcomes(connect(by_job(at_most_s=0.01)), creates(*[f"new{number}" for number in range(120)]))
    assert begun(service) == 1


def test_changes_of_a_job_that_tells_nothing_are_looked_at_again(service, connect):
    service.traps.import_forgets = 1
    with pytest.raises(SystemUnreachableError, match="there is no such job"):
        outcomes(connect(), updates(k1="x", k2="y"))
    assert begun(service) == 1


def test_nothing_is_read_while_a_job_is_under_way(service, connect):
    service.traps.import_stuck = True
    connector = connect(by_job(at_most_s=0.01))
    with pytest.raises(SystemUnreachableError):
        outcomes(connector, creates("new"))

    with pytest.raises(SystemUnreachableError, match="an import job is still under way") as raised:
        list(connector.read(CONTACTS, ["name"]))
    assert "at_most_s" in str(raised.value.hint)
    service.traps.import_stuck = False
    assert sum(page.rows.height for page in connector.read(CONTACTS, ["name"])) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"results": None}, "rows of a job need `results`"),
        ({"job": {name: value for name, value in JOB.items() if name != "running"}}, "running"),
        ({"job": {**JOB, "poll": {"get": "/imports/${number}"}}}, "stands for nothing here"),
    ],
)
def test_a_file_that_leaves_out_what_matters(service, connect, change, said):
    made = by_job()
    made["write"]["bulk"]["create"].update(change)
    with pytest.raises(ConfigError, match=said):
        connect(made)


# ---------------------------------------------------------------- the whole way

CONFIGURATION = f"""
systems:
  office: {{connector: sqlite, path: office.db}}
  directory: {{connector: rest, file: directory.yaml, secrets: {{token: {TOKEN}}}}}
entities:
  customer:
    match: [[email]]
    fields: {{email: text, name: {{type: text, source_of_truth: office}}}}
    mappings:
      office: {{object: people, key: id, fields: {{email: email, name: name}}}}
      directory: {{object: contacts, key: id, fields: {{email: email, name: name}}}}
"""


def project(folder: Path, service: RestService, **job: Any) -> Path:
    opened(folder, service, by_job(**job)).close()
    (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
    with sqlite3.connect(folder / "office.db") as office:
        office.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        office.executemany("INSERT INTO people VALUES (?, ?, ?)", [(n, f"new{n}@example.com", f"new {n}") for n in range(1, ROWS + 1)])
    office.close()
    return folder / "trueup.yaml"


def synced(configuration: Path) -> str:
    with open_workspace(configuration) as workspace:
        return workspace.sync().status


def made_once(service: RestService) -> bool:
    addresses = [row["email"] for row in service.rows("contacts") if row["email"].startswith("new")]
    return sorted(addresses) == sorted(f"new{n}@example.com" for n in range(1, ROWS + 1))


@pytest.mark.slow
@pytest.mark.parametrize(("trap", "value"), [("import_forgets", 1), ("import_fails", True), ("import_stuck", True), ("lose", 1)])
def test_after_a_job_that_told_nothing_each_row_is_there_once(service, tmp_path, trap, value):
    configuration = project(tmp_path, service, at_most_s=0.2)
    setattr(service.traps, trap, value)
    assert synced(configuration) != "done"
    if trap != "import_forgets":
        setattr(service.traps, trap, False)
    for _ in range(2):
        last = synced(configuration)
    assert last == "done"
    assert made_once(service)


@pytest.mark.slow
def test_killed_between_handing_over_and_asking_each_row_is_there_once(service, tmp_path):
    configuration = project(tmp_path, service)
    service.traps.import_stuck = True
    words = [sys.executable, "-m", "trueup", "-c", str(configuration), "sync"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as work:
        until = time.monotonic() + 60
        while ("GET", "/imports/1") not in service.requests:
            assert time.monotonic() < until, "it never asked for its job"
            assert work.poll() is None
            time.sleep(0.01)
        os.kill(work.pid, signal.SIGKILL)
    assert not any(row["email"].startswith("new") for row in service.rows("contacts"))  # the job still makes them
    service.traps.import_stuck, service.traps.import_looks = False, 8
    for _ in range(2):
        last = synced(configuration)
    assert last == "done"
    assert made_once(service)
    assert begun(service) == 1
