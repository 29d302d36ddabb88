"""Conflicts: the review queue, and a person's word about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.cli.tool import CONFIG, Project, company

MANUAL = CONFIG.replace("    precedence: [crm, sheet]\n", "").replace(
    "{type: decimal, conflict: last_write_wins}", "{type: decimal, min: 0}"
)


def disputed(folder: Path, config: str = MANUAL) -> Project:
    """A company of which two people changed the same two values differently."""
    project = company(folder, config)
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Ada One', credit = 20 WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,ada@example.com,10.5", "001,Ada Two,ada@example.com,30"))
    project.trueup("sync").expect(0)
    return project


def queue(project: Project) -> Any:
    return {item["field"]: item for item in project.trueup("conflicts", "--json").expect(0).json}


def held(project: Project) -> tuple[Any, str]:
    """Name and credit of the first record in both systems."""
    row = next(line for line in project.read("customers.csv").splitlines() if line.startswith("001"))
    return project.sql("SELECT name, credit FROM contacts WHERE id = 1")[0], row


def test_the_list(tmp_path):
    project = disputed(tmp_path)
    found = queue(project)
    assert found.keys() == {"name", "credit"}
    item = found["credit"]
    assert (item["entity"], item["base"], item["golden"]) == ("customer", "10.5", "10.5")
    assert {one["system"]: one["value"] for one in item["candidates"] if one["system"]} == {"crm": "20", "sheet": "30"}
    assert item["opened_at"].endswith("Z")
    out = project.trueup("conflicts").expect(0).out
    assert "Ada Two" in out
    assert "conflicts resolve" in out


def test_what_waits_for_a_person_stays_when_other_records_are_born(tmp_path):
    project = disputed(tmp_path)
    before = held(project)
    project.sql("INSERT INTO contacts (name, email, credit) VALUES ('Dan', 'dan@example.com', 1)")
    project.sql("UPDATE contacts SET credit = 21 WHERE id = 1")
    project.trueup("sync").expect(0)
    assert "Dan" in project.read("customers.csv")
    (name, credit), row = held(project)
    assert ((name, 20), row) == before
    assert credit == 21
    assert {one["system"]: one["value"] for one in queue(project)["credit"]["candidates"]} == {"crm": "21", "sheet": "30"}


def test_taking_a_system_brings_all_into_agreement(tmp_path):
    project = disputed(tmp_path)
    number = queue(project)["name"]["id"]
    out = project.trueup("conflicts", "resolve", str(number), "--take", "sheet").expect(0).out
    assert "“Ada Two”" in out
    assert queue(project).keys() == {"credit"}
    project.trueup("sync").expect(0)
    assert held(project) == (("Ada Two", 20), "001,Ada Two,ada@example.com,30")
    story = project.trueup("explain", "customer", "crm:1", "name", "--json").expect(0).json["fields"]["name"]
    assert story["origin"]["system"] == "sheet"
    assert [event["after"] for event in story["beaten"]] == ["Ada One"]
    assert "took the value of sheet" in story["why"]
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


def test_a_value_of_a_persons_own(tmp_path):
    project = disputed(tmp_path)
    number = queue(project)["credit"]["id"]
    body = project.trueup("conflicts", "resolve", str(number), "--value", "25.50", "--json").expect(0).json
    assert (body["field"], body["before"], body["value"], body["system"]) == ("credit", "10.5", "25.5", None)
    project.trueup("sync").expect(0)
    (_name, credit), row = held(project)
    assert credit == 25.5
    assert row == "001,Ada Two,ada@example.com,25.5"
    record = project.trueup("record", "customer", "crm:1", "--json").expect(0).json
    assert record["origin"]["credit"]["system"] is None
    assert [waiting["field"] for waiting in record["systems"]["crm"]["pending"]] == ["name"], "the other conflict is still open"
    assert ("resolved", "25.5") in {(event["kind"], event["after"]) for event in record["history"]}


def test_sync_at_once(tmp_path):
    project = disputed(tmp_path)
    number = queue(project)["name"]["id"]
    out = project.trueup("conflicts", "resolve", str(number), "--take", "crm", "--sync").expect(0).out
    assert "It was delivered." in out
    assert held(project)[1].startswith("001,Ada One,")


def test_a_later_edit_is_not_lost(tmp_path):
    """Between the decision and its delivery somebody edits again: that edit did not know the decision, and is asked about."""
    project = disputed(tmp_path)
    number = queue(project)["name"]["id"]
    project.trueup("conflicts", "resolve", str(number), "--take", "sheet").expect(0)
    project.sql("UPDATE contacts SET name = 'Ada Three' WHERE id = 1")
    project.trueup("sync").expect(0)
    again = queue(project)["name"]
    assert {one["value"] for one in again["candidates"]} == {"Ada Three", "Ada Two"}
    assert held(project)[0][0] == "Ada Three"


def test_an_edit_of_the_system_taken_goes_on(tmp_path):
    project = disputed(tmp_path)
    number = queue(project)["name"]["id"]
    project.trueup("conflicts", "resolve", str(number), "--take", "sheet").expect(0)
    project.write("customers.csv", project.read("customers.csv").replace("Ada Two", "Ada Four"))
    project.trueup("sync").expect(0)
    assert held(project)[0][0] == "Ada Four"


def test_held_changes(tmp_path):
    config = CONFIG.replace(
        "{type: decimal, conflict: last_write_wins}", '{type: decimal, source_of_truth: crm, hold_if: "incoming < base * 0.5"}'
    )
    project = company(tmp_path, config)
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET credit = 1 WHERE id IN (1, 3)")
    project.trueup("sync").expect(0)
    found = {item["record"]: item for item in project.trueup("conflicts", "--json").expect(0).json}
    assert {item["kind"] for item in found.values()} == {"hold"}
    first, third = (project.trueup("record", "customer", key, "--json").json["id"] for key in ("crm:1", "crm:3"))
    project.trueup("conflicts", "resolve", str(found[first]["id"]), "--take", "crm").expect(0)
    project.trueup("conflicts", "resolve", str(found[third]["id"]), "--value", "3").expect(0)
    project.trueup("sync").expect(0)
    assert project.sql("SELECT credit FROM contacts WHERE id IN (1, 3) ORDER BY id") == [(1,), (3,)]
    assert "ada@example.com,1\n" in project.read("customers.csv")
    assert project.trueup("conflicts", "--json").json == []


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["99", "--take", "crm"], "there is no conflict 99"),
        (["1"], "--take SYSTEM"),
        (["1", "--take", "crm", "--value", "x"], "--take SYSTEM"),
        (["1", "--take", "nosuch"], "has no system 'nosuch'"),
    ],
)
def test_wrong_usage(tmp_path, args, text):
    project = disputed(tmp_path)
    assert text in project.trueup("conflicts", "resolve", *args).expect(2).err
    assert len(queue(project)) == 2


def test_values_are_checked_against_the_field(tmp_path):
    project = disputed(tmp_path)
    found = queue(project)
    credit, name = str(found["credit"]["id"]), str(found["name"]["id"])
    assert "lots" in project.trueup("conflicts", "resolve", credit, "--value", "lots").expect(2).err
    assert "minimum" in project.trueup("conflicts", "resolve", credit, "--value", "-1").expect(2).err
    assert "required" in project.trueup("conflicts", "resolve", name, "--empty").expect(2).err
    project.trueup("conflicts", "resolve", credit, "--empty").expect(0)
    assert "was settled" in project.trueup("conflicts", "resolve", credit, "--take", "crm").expect(2).err
    project.trueup("sync").expect(0)
    assert held(project)[0][1] is None


def test_before_the_first_sync_there_is_nothing(tmp_path):
    project = company(tmp_path)
    assert project.trueup("conflicts", "--json").expect(0).json == []
    assert "nothing to settle" in project.trueup("conflicts").expect(0).out
    assert "trueup sync" in project.trueup("conflicts", "resolve", "1", "--take", "crm").expect(1).err
    assert not (tmp_path / ".trueup").exists()
