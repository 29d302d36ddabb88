"""A project from the first check to the second sync, as text and as JSON."""

from __future__ import annotations

import re
from typing import Any

import openpyxl
import pytest

import trueup
from tests.system.cli.tool import CONFIG, company
from trueup.errors import ConfigError

COUNTS_OBSERVED = {"read", "created", "updated", "deleted", "unchanged", "rejected"}
COUNTS_DELIVERED = {"created", "updated", "deleted", "failed", "pending", "stale"}
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def entity_of(body: Any) -> Any:
    """The customer's part of a run, after a look at the form of the whole."""
    assert {"run", "status", "started_at", "seconds", "entities"} <= body.keys()
    assert MOMENT.match(body["started_at"])
    assert isinstance(body["seconds"], float)
    entity = body["entities"]["customer"]
    assert entity["golden"].keys() == {"total", "created", "updated", "deleted"}
    assert entity["conflicts"].keys() == {"opened", "open"}
    assert {"overruled", "parked", "systems"} <= entity.keys()
    for system in entity["systems"].values():
        assert system["observed"].keys() == COUNTS_OBSERVED
        assert system["delivered"].keys() == COUNTS_DELIVERED
    return entity


def test_what_a_system_itself_fills_in_for_a_new_row_is_learned_from_it(tmp_path):
    """The sheet knows no credit; the database gives every new contact one of five."""
    project = company(tmp_path, CONFIG.replace(", credit: Credit", ""), "No,Name,E-mail\n001,Dan,dan@example.com\n", [])
    project.sql("DROP TABLE contacts")
    project.sql("CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, credit NUMERIC DEFAULT 5)")
    project.trueup("sync").expect(0)
    assert project.sql("SELECT name, credit FROM contacts") == [("Dan", 5)]
    assert project.trueup("record", "customer", "sheet:001", "--json").expect(0).json["golden"]["credit"] == "5"
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


def test_before_the_first_sync_nothing_is_made(tmp_path):
    project = company(tmp_path)
    before = project.files()
    assert project.trueup("status", "--json").expect(0).json["last_run"] is None
    assert "Nothing was synced yet" in project.trueup("status").expect(0).out
    for args in (["runs"], ["failures"], ["holds"]):
        assert project.trueup(*args, "--json").expect(0).json == []
    assert "trueup sync" in project.trueup("sql", "SELECT 1").expect(1).err
    assert "trueup sync" in project.trueup("failures", "retry").expect(1).err
    project.trueup("run", "1").expect(2)
    project.trueup("check").expect(0)
    project.trueup("plan").expect(0)
    assert project.files() == before


def test_check(tmp_path):
    project = company(tmp_path)
    found = project.trueup("check", "--json").expect(0).json
    assert found["ok"] is True
    assert found["problems"] == []
    assert found["systems"]["crm"] == {"reachable": True, "precondition": "native", "objects": ["contacts"], "connector": "sqlite"}
    assert found["systems"]["sheet"]["reachable"] is True
    sample = next(sample for sample in found["samples"] if sample["system"] == "sheet")
    assert sample["rows"][0] == {"key": "001", "fields": {"name": "Ada", "email": "ada@example.com", "credit": "10.5"}}
    told = project.trueup("check").expect(0).out
    assert "No problems" in told
    assert "cy@example.com" in told


def test_plan_says_what_sync_then_does(tmp_path):
    project = company(tmp_path)
    plan = project.trueup("plan", "--json").expect(0).json
    planned = entity_of(plan)
    assert plan["run"] is None
    assert planned["golden"] == {"total": 4, "created": 4, "updated": 0, "deleted": 0}
    assert len(plan["changes"]) == 3
    new = next(change for change in plan["changes"] if change["system"] == "crm")
    assert new == {
        "system": "crm",
        "entity": "customer",
        "record": None,
        "key": None,
        "kind": "create",
        "fields": {"name": [None, "Cy 👩‍💻"], "email": [None, "cy@example.com"], "credit": [None, "7"]},
    }
    told = project.trueup("plan").expect(0).out
    assert "Plan (nothing was changed)" in told
    assert re.search(r"customer +crm +create +new +\(new\) +name", told)

    run = project.trueup("sync", "--json").expect(0).json
    done = entity_of(run)
    assert run["run"] == 1
    assert run["status"] == "done"
    for system, part in done["systems"].items():
        assert part["delivered"] == planned["systems"][system]["delivered"]
    assert project.sql("SELECT name, email, credit FROM contacts WHERE id = 4") == [("Cy 👩‍💻", "cy@example.com", 7)]
    assert project.read("customers.csv").splitlines()[3:] == ["003,Béa,bea@example.com,", "004,שלום,shalom@example.com,3"]

    quiet = entity_of(project.trueup("sync", "--json").expect(0).json)
    assert all(count == 0 for part in quiet["systems"].values() for count in part["delivered"].values())
    assert "Nothing to write: the systems agree." in project.trueup("plan").expect(0).out


def test_an_edit_is_planned_field_by_field_and_delivered(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,ada@example.com,10.5", "001,Ada,ada@example.com,99.95"))
    changes = project.trueup("plan", "--json").expect(0).json["changes"]
    assert len(changes) == 1
    assert changes[0]["kind"] == "update"
    assert changes[0]["key"] == "1"
    assert isinstance(changes[0]["record"], int)
    assert changes[0]["fields"] == {"credit": ["10.5", "99.95"]}
    assert re.search(r"update +\d+ +1 +credit +10\.5 +99\.95", project.trueup("plan").expect(0).out)
    told = project.trueup("sync").expect(0).out
    assert "1 changed" in told
    assert project.sql("SELECT credit FROM contacts WHERE id = 1") == [(99.95,)]


def test_status_and_the_past_runs(tmp_path):
    project = company(tmp_path)
    first = project.trueup("sync", "--json").expect(0).json
    project.trueup("sync", "--full").expect(0)

    standing = project.trueup("status", "--json").expect(0).json
    assert standing["last_run"]["run"] == 2
    entity = standing["entities"]["customer"]
    assert entity["golden"] == {"total": 4}
    assert entity["conflicts"] == {"open": 0}
    crm = entity["systems"]["crm"]
    assert {name: crm[name] for name in ("links", "pending", "failures", "parked", "holds", "paused")} == {
        "links": 4, "pending": 0, "failures": 0, "parked": 0, "holds": 0, "paused": False,
    }  # fmt: skip
    assert MOMENT.match(crm["last_complete_pass"])
    assert 0 <= crm["delay"] < 120
    assert re.search(r"crm +4 +0 +0", project.trueup("status").expect(0).out)

    runs = project.trueup("runs", "--json").expect(0).json
    assert [(run["run"], run["status"], run["entities"], run["command"]) for run in runs] == [
        (2, "done", ["customer"], "sync --full"),
        (1, "done", ["customer"], "sync"),
    ]
    assert all(MOMENT.match(run["started_at"]) and run["seconds"] >= 0 for run in runs)
    assert len(project.trueup("runs", "--limit", "1", "--json").expect(0).json) == 1
    again = project.trueup("run", "1", "--json").expect(0).json
    assert again["entities"] == first["entities"]
    assert {name: again[name] for name in ("run", "status", "started_at")} == {
        name: first[name] for name in ("run", "status", "started_at")
    }
    assert "Run 1: done" in project.trueup("run", "1").expect(0).out
    assert "`trueup runs` lists them" in project.trueup("run", "77").expect(2).err


def test_limit_and_record(tmp_path):
    project = company(tmp_path)
    part = entity_of(project.trueup("sync", "--limit", "1", "--json").expect(0).json)
    assert part["systems"]["sheet"]["delivered"]["created"] == 1
    assert part["systems"]["sheet"]["delivered"]["pending"] == 1
    assert project.trueup("status", "--json").expect(0).json["entities"]["customer"]["systems"]["sheet"]["pending"] == 1
    assert entity_of(project.trueup("sync", "--json").expect(0).json)["systems"]["sheet"]["delivered"]["created"] == 1

    project.sql("UPDATE contacts SET credit = 11 WHERE id = 1")
    project.sql("UPDATE contacts SET credit = 4 WHERE id = 3")
    project.trueup("sync", "--record", "customer", "crm:1").expect(0)
    sheet = project.read("customers.csv")
    assert "001,Ada,ada@example.com,11" in sheet
    assert "shalom@example.com,3" in sheet
    project.trueup("sync").expect(0)
    assert "shalom@example.com,4" in project.read("customers.csv")
    assert "there is no row crm:404 of customer" in project.trueup("sync", "--record", "customer", "crm:404").expect(2).err
    assert "no customer" in project.trueup("sync", "--record", "customer", "Ada").expect(2).err
    assert "there is no entity 'client'" in project.trueup("sync", "--record", "client", "crm:1").expect(2).err


def test_sql_reads_and_only_reads(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    rows = project.trueup("sql", "SELECT name, credit FROM customer ORDER BY email", "--json").expect(0).json
    assert rows[0] == {"name": "Ada", "credit": "10.5"}
    told = project.trueup("sql", "SELECT name FROM customer ORDER BY email", "--limit", "2").expect(0)
    assert told.out.splitlines() == ["name", "Ada", "Béa"]
    assert "only the first 2 rows" in told.err
    assert project.trueup("sql", "SELECT key FROM links WHERE system = 'sheet' ORDER BY key", "--json").expect(0).json[0] == {"key": "001"}
    for bad in ("DELETE FROM golden", "SELECT nothing FROM nowhere", "", "PRAGMA journal_mode=DELETE"):
        ended = project.trueup("sql", bad).expect(1)
        assert len(ended.err.splitlines()) == 1
    assert len(project.trueup("sql", "SELECT * FROM customer", "--json").expect(0).json) == 4


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_configuration_may_be_named_before_or_after_the_command(tmp_path, where):
    (tmp_path / "place").mkdir()
    project = company(tmp_path / "place")
    project.folder = tmp_path
    named = ["-c", "place/trueup.yaml"]
    project.trueup(*([*named, "sync"] if where == "before" else ["sync", *named])).expect(0)
    args = [*named, "failures", "retry"] if where == "before" else ["failures", "retry", *named]
    assert "0 failures" in project.trueup(*args).expect(0).out
    assert (tmp_path / "place" / ".trueup" / "state.db").exists()


def test_numbers_that_no_state_holds_name_nothing(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    huge = "9" * 30
    for args in (["run", huge], ["failures", "drop", huge], ["holds", "approve", huge], ["sync", "--record", "customer", huge]):
        project.trueup(*args).expect(2)
    for args in (["runs", "--limit", huge], ["sql", "SELECT 1", "--limit", huge], ["sync", "--limit", huge]):
        project.trueup(*args).expect(0)
    assert project.trueup("runs", "--json").expect(0).json[0]["run"] == 2, "a wrong name is no run"


def test_a_workbook_joins_and_a_plan_does_not_make_it(tmp_path):
    more = CONFIG.replace("entities:", "  book: {connector: excel, path: book.xlsx}\nentities:") + (
        "      book:\n        object: Customers\n        key: No\n        create: true\n        fields: {name: Name, credit: Credit}\n"
    )
    project = company(tmp_path, more)
    assert any("is not there yet" in note["message"] for note in project.trueup("check", "--json").expect(0).json["notes"])
    planned = project.trueup("plan", "--json").expect(0).json["entities"]["customer"]["systems"]["book"]
    assert planned["delivered"]["created"] == 4
    assert "book.xlsx" not in project.files()
    project.trueup("sync").expect(0)
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx")["Customers"]
    rows = list(sheet.iter_rows(values_only=True))
    name, credit = rows[0].index("Name"), rows[0].index("Credit")
    assert {(row[name], row[credit]) for row in rows[1:]} == {("Ada", 10.5), ("Béa", None), ("שלום", 3), ("Cy 👩‍💻", 7)}
    quiet = project.trueup("sync", "--json").expect(0).json["entities"]["customer"]["systems"]
    assert all(count == 0 for part in quiet.values() for count in part["delivered"].values())


def test_the_same_from_python(tmp_path):
    company(tmp_path)
    with trueup.open(tmp_path / "trueup.yaml") as workspace:
        assert workspace.check().ok
        assert workspace.status().last_run is None
        plan = workspace.plan()
        assert (plan.run, plan.entities["customer"].systems["crm"].delivered.created) == (None, 1)
        assert not (tmp_path / ".trueup").exists()
        run = workspace.sync()
        assert (run.run, run.status, run.entities["customer"].total) == (1, "done", 4)
        assert workspace.plan().entities["customer"].changes == []
        assert workspace.status().entities["customer"].systems["sheet"].links == 4
    with pytest.raises(ConfigError, match="there is no such file"):
        trueup.open(tmp_path / "none.yaml")
