"""Explain: why each value is what it is, in sentences."""

from __future__ import annotations

from tests.system.cli.tool import CONFIG, company

OWNED = CONFIG.replace("name:   {type: text, required: true}", "name:   {type: text, required: true, source_of_truth: crm}")


def test_a_value_that_came_with_the_record(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    out = project.trueup("explain", "customer", "sheet:002", "name").expect(0).out
    assert "first seen in sheet" in out
    story = project.trueup("explain", "customer", "sheet:002", "name", "--json").expect(0).json["fields"]
    assert story.keys() == {"name"}
    assert story["name"]["origin"]["system"] == "sheet"
    assert story["name"]["rule"] is None


def test_who_was_overruled_and_what_was_replaced(tmp_path):
    project = company(tmp_path, OWNED)
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Ada Lovelace' WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,", "001,Adda,"))
    project.trueup("sync").expect(0)
    out = project.trueup("explain", "customer", "crm:1", "name").expect(0).out
    assert "name is “Ada Lovelace”: from crm" in out
    assert "crm is the source of truth of this field" in out
    assert "It replaced “Ada”." in out
    assert "sheet said “Adda”" in out
    assert "was overruled" in out
    story = project.trueup("explain", "customer", "crm:1", "--json").expect(0).json["fields"]["name"]
    assert story["rule"] == "source of truth"
    assert story["replaced"] == "Ada"
    assert [(event["system"], event["after"]) for event in story["beaten"]] == [("sheet", "Adda")]
    assert story["elsewhere"] == {}


def test_the_loser_of_a_rule_is_named(tmp_path):
    project = company(tmp_path, CONFIG.replace("conflict: last_write_wins", "conflict: {merge: max}"))
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET credit = 50 WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("ada@example.com,10.5", "ada@example.com,40"))
    project.trueup("sync").expect(0)
    out = project.trueup("explain", "customer", "crm:1", "credit").expect(0).out
    assert "credit is “50”" in out
    assert "the largest value wins" in out
    assert "sheet said “40”" in out
    assert "lost" in out


def test_an_open_conflict_and_its_remedy(tmp_path):
    project = company(tmp_path, CONFIG.replace("    precedence: [crm, sheet]\n", ""))
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Ada One' WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,", "001,Ada Two,"))
    project.trueup("sync").expect(0)
    out = project.trueup("explain", "customer", "crm:1", "name").expect(0).out
    assert "A person must settle this" in out
    assert "crm says “Ada One”" in out
    assert "sheet says “Ada Two”" in out
    assert "trueup conflicts resolve 1 --take crm" in out
    story = project.trueup("explain", "customer", "crm:1", "name", "--json").expect(0).json["fields"]["name"]
    assert story["conflict"]["id"] == 1
    assert story["elsewhere"] == {"crm": "Ada One", "sheet": "Ada Two"}


def test_a_form_of_its_own_is_told_apart_from_a_difference(tmp_path):
    config = CONFIG.replace("name: name, email: email", "name: {read: upper(name), write: {name: name}, lossy: true}, email: email")
    project = company(tmp_path, config)
    project.trueup("sync").expect(0)
    project.write("customers.csv", project.read("customers.csv").replace("Cy 👩‍💻", "Cyrus"))
    project.trueup("sync").expect(0)
    out = project.trueup("explain", "customer", "sheet:002", "name").expect(0).out
    assert "name is “Cyrus”" in out
    assert "crm holds “CYRUS”: that is how it shows this value." in out


def test_unknown_fields_are_wrong_usage(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    assert "has no field 'phone'" in project.trueup("explain", "customer", "crm:1", "phone").expect(2).err


def test_who_was_right_at_first_contact(tmp_path):
    project = company(tmp_path, OWNED)
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,", "001,Adda,"))
    project.trueup("sync").expect(0)
    out = project.trueup("explain", "customer", "crm:1", "name").expect(0).out
    assert "sheet said “Adda”" in out
    assert "lost: when the systems first met, crm is the source of truth of this field" in out
    assert "sheet is the source of truth" not in project.trueup("record", "customer", "crm:1").expect(0).out
