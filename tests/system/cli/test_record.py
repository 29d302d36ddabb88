"""Record: one record on one page, and as JSON."""

from __future__ import annotations

from tests.system.cli.tool import CONFIG, company

OWNED = CONFIG.replace("name:   {type: text, required: true}", "name:   {type: text, required: true, source_of_truth: crm}")


def test_a_record_that_agrees(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    body = project.trueup("record", "customer", "sheet:001", "--json").expect(0).json
    assert body["entity"] == "customer"
    assert body["golden"] == {"name": "Ada", "email": "ada@example.com", "credit": "10.5"}
    assert {name: origin["system"] for name, origin in body["origin"].items()} == dict.fromkeys(("name", "email", "credit"), "crm")
    assert body["origin"]["name"]["at"].endswith("Z")
    assert body["systems"].keys() == {"crm", "sheet"}
    assert body["systems"]["crm"]["key"] == "1"
    assert body["systems"]["sheet"] == {"key": "001", "state": "present", "holds": body["golden"], "pending": []}
    by_number = project.trueup("record", "customer", str(body["id"]), "--json").expect(0).json
    assert by_number == body
    text = project.trueup("record", "customer", "crm:1").expect(0).out
    assert "crm:1, sheet:001" in text
    assert "ada@example.com" in text


def test_what_a_system_holds_instead_and_what_waits(tmp_path):
    project = company(tmp_path, OWNED)
    project.trueup("sync").expect(0)
    project.trueup("pause", "sheet").expect(0)
    project.sql("UPDATE contacts SET name = 'Ada Lovelace' WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,", "001,Adda,"))
    project.trueup("sync")
    body = project.trueup("record", "customer", "crm:1", "--json").expect(0).json
    assert body["golden"]["name"] == "Ada Lovelace"
    assert body["systems"]["crm"]["holds"]["name"] == "Ada Lovelace"
    sheet = body["systems"]["sheet"]
    assert sheet["holds"]["name"] == "Adda"
    assert [(waiting["field"], waiting["value"]) for waiting in sheet["pending"]] == [("name", "Ada Lovelace")]
    assert "paused" in sheet["pending"][0]["why"]
    kinds = {(event["kind"], event["system"], event["field"], event["after"]) for event in body["history"]}
    assert ("edit", "crm", "name", "Ada Lovelace") in kinds
    assert ("overruled", "sheet", "name", "Adda") in kinds
    edit = next(event for event in body["history"] if event["after"] == "Ada Lovelace")
    assert (edit["before"], edit["run"]) == ("Ada", 2)
    text = project.trueup("record", "customer", "crm:1").expect(0).out
    assert "Adda" in text
    assert "paused" in text


def test_a_row_that_could_not_be_written_says_why(tmp_path):
    project = company(tmp_path)
    project.sql(
        "CREATE TRIGGER no_dots BEFORE INSERT ON contacts WHEN NEW.name LIKE 'Cy%' BEGIN SELECT RAISE(ABORT, 'Cy is not welcome'); END"
    )
    project.trueup("sync").expect(3)
    body = project.trueup("record", "customer", "sheet:002", "--json").expect(0).json
    assert body["systems"]["crm"]["key"] is None
    assert body["systems"]["crm"]["state"] == "none"
    assert "Cy is not welcome" in body["systems"]["crm"]["pending"][0]["why"]


def test_a_vanished_row_holds_nothing(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.sql("DELETE FROM contacts WHERE id = 1")
    project.trueup("sync")
    body = project.trueup("record", "customer", "sheet:001", "--json").expect(0).json
    assert body["systems"]["crm"]["state"] == "missing"
    assert body["systems"]["crm"]["holds"] == {}


def test_wrong_names_are_wrong_usage(tmp_path):
    project = company(
        tmp_path, people=[(1, "Ada", "ada@example.com", "1"), (2, "Ada", "ada@example.com", "2"), (3, "Bo", "bo@example.com", "x")]
    )
    assert "trueup sync" in project.trueup("record", "customer", "1").expect(1).err
    project.trueup("sync").expect(3)
    assert "there is no entity 'client'" in project.trueup("record", "client", "1").expect(2).err
    assert "99" in project.trueup("record", "customer", "99").expect(2).err
    assert "no record is linked to '77' in crm" in project.trueup("record", "customer", "crm:77").expect(2).err
    assert "parked" in project.trueup("record", "customer", "crm:2").expect(2).err
    assert "could not be understood" in project.trueup("record", "customer", "crm:3").expect(2).err
