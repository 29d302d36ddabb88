"""Matches: rows that nobody but a person can place."""

from __future__ import annotations

from typing import Any

from tests.system.cli.tool import CONFIG, Project, company

TWINS = [(1, "Ada", "ada@example.com", "10"), (2, "Ada L", "ada@example.com", "20"), (3, "Cy", "cy@example.com", "3")]
SHEET = "No,Name,E-mail,Credit\n001,Ada,ada@example.com,10\n"


def parked(project: Project) -> Any:
    return project.trueup("matches", "--json").expect(0).json


def rows(project: Project) -> list[str]:
    return sorted(project.read("customers.csv").splitlines()[1:])


def record(project: Project, name: str) -> Any:
    return project.trueup("record", "customer", name, "--json").expect(0).json


def test_a_duplicate_is_parked_and_made_a_record_of_its_own(tmp_path):
    project = company(tmp_path, sheet=SHEET, people=TWINS)
    project.trueup("sync").expect(0)
    (item,) = parked(project)
    assert (item["entity"], item["system"], item["key"]) == ("customer", "crm", "2")
    assert item["candidates"] == [record(project, "crm:1")["id"]]
    assert item["why"]
    text = project.trueup("matches").expect(0).out
    assert "Ada, ada@example.com (crm:1, sheet:001)" in text
    project.trueup("sync").expect(0)
    assert [one["id"] for one in parked(project)] == [item["id"]], "a parked row keeps its number"
    assert len(rows(project)) == 2

    project.trueup("matches", "link", str(item["id"]), "--new").expect(0)
    assert parked(project)[0]["decision"] == {"new": True}
    planned = project.trueup("plan", "--json").expect(0).json["entities"]["customer"]["systems"]["sheet"]["delivered"]["created"]
    project.trueup("sync").expect(0)
    assert planned == 1
    assert parked(project) == []
    assert len(rows(project)) == 3
    assert record(project, "crm:2")["id"] != record(project, "crm:1")["id"]
    project.trueup("verify").expect(0)


def test_ambiguous_rows_are_linked_where_a_person_says(tmp_path):
    config = CONFIG.replace("match: [[email]]", "match: [[email], [name]]")
    people = [(1, "Ada", "one@example.com", "1"), (2, "Ada", "two@example.com", "2")]
    project = company(tmp_path, config, sheet="No,Name,E-mail,Credit\n001,Ada,,5\n", people=people)
    project.trueup("sync").expect(0)
    (item,) = parked(project)
    assert (item["system"], item["key"]) == ("sheet", "001")
    first, second = record(project, "crm:1")["id"], record(project, "crm:2")["id"]
    assert item["candidates"] == [first, second]
    assert len(rows(project)) == 1, "while a row may be either, neither is created there"
    project.trueup("matches", "link", str(item["id"]), "--to", "crm:2").expect(0)
    project.trueup("sync").expect(0)
    assert parked(project) == []
    assert record(project, "sheet:001")["id"] == second
    assert len(rows(project)) == 2, "the other one is free to be created now"
    project.trueup("verify").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


def test_a_record_that_has_a_row_there_cannot_be_named(tmp_path):
    project = company(tmp_path, sheet=SHEET, people=TWINS)
    project.trueup("sync").expect(0)
    number = str(parked(project)[0]["id"])
    ended = project.trueup("matches", "link", number, "--to", "crm:1").expect(2)
    assert "already has the row 1 in crm" in ended.err
    assert "unlink crm:1" in ended.err
    assert "there is no customer '999'" in project.trueup("matches", "link", number, "--to", "999").expect(2).err
    assert "no row is parked under 77" in project.trueup("matches", "link", "77", "--new").expect(2).err
    assert "--to RECORD or --new" in project.trueup("matches", "link", number).expect(2).err
    assert parked(project)[0]["decision"] is None


def test_two_answers_that_cannot_both_hold_spoil_no_third_one(tmp_path):
    """What is left of a person's answers makes a record of its own, and so does a row that is new in the same run."""
    project = company(tmp_path, sheet=SHEET, people=[*TWINS, (4, "Cy B", "cy@example.com", "4")])
    project.trueup("sync").expect(0)
    cy = str(record(project, "crm:3")["id"])
    project.trueup("matches", "unlink", "crm:3").expect(0)
    numbers = {item["key"]: str(item["id"]) for item in parked(project)}
    for key in ("2", "3"):
        project.trueup("matches", "link", numbers[key], "--to", cy).expect(0)
    project.trueup("matches", "link", numbers["4"], "--new").expect(0)
    project.sql("INSERT INTO contacts VALUES (9, 'Dan', 'dan@example.com', 5)")
    project.trueup("sync")
    assert [item["key"] for item in parked(project)] == ["3"]
    assert len({record(project, f"crm:{key}")["id"] for key in (1, 2, 4, 9)}) == 4


def test_swapping_a_duplicate_for_the_linked_row(tmp_path):
    """The wrong one of two rows was linked: take it away, link the other."""
    project = company(tmp_path, sheet=SHEET, people=TWINS)
    project.trueup("sync").expect(0)
    (item,) = parked(project)
    golden = record(project, "sheet:001")["id"]
    project.trueup("matches", "unlink", "crm:1").expect(0)
    project.trueup("matches", "link", str(item["id"]), "--to", "sheet:001").expect(0)
    project.trueup("sync").expect(0)
    assert record(project, "crm:2")["id"] == golden
    (left,) = parked(project)
    assert left["key"] == "1"


def test_an_unlinked_row_is_left_alone_until_it_is_placed(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    golden = record(project, "sheet:001")["id"]
    out = project.trueup("matches", "unlink", "sheet:001").expect(0).out
    assert f"no row of customer {golden} any more" in out
    (item,) = parked(project)
    assert (item["key"], item["candidates"]) == ("001", [golden])
    before = rows(project)
    project.sql("UPDATE contacts SET name = 'Ada Lovelace' WHERE id = 1")
    for _ in range(2):
        project.trueup("sync", "--full").expect(0)
    assert rows(project) == before, "neither linked again by a rule, nor written, nor created a second time"
    assert [one["id"] for one in parked(project)] == [item["id"]]
    assert "waits because a row there may be this record" in project.trueup("record", "customer", "crm:1").expect(0).out

    project.trueup("matches", "link", str(item["id"]), "--to", str(golden)).expect(0)
    project.trueup("sync")
    assert parked(project) == []
    assert record(project, "sheet:001")["id"] == golden
    assert len(rows(project)) == len(before)


def test_an_unlinked_row_may_become_a_record_of_its_own(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.trueup("matches", "unlink", "sheet:001").expect(0)
    number = parked(project)[0]["id"]
    project.trueup("matches", "link", str(number), "--new").expect(0)
    project.trueup("sync").expect(0)
    assert record(project, "sheet:001")["id"] != record(project, "crm:1")["id"]
    assert len(rows(project)) == 5, "the old record has a row there again"
    assert project.sql("SELECT count(*) FROM contacts") == [(5,)]
    project.trueup("verify").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


def test_a_reused_key_can_be_its_own_record_after_all(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Grace', email = 'grace@example.com', credit = 77 WHERE id = 1")
    project.trueup("sync").expect(0)
    (item,) = parked(project)
    assert item["why"].startswith("another record?")
    assert "001,Ada," in project.read("customers.csv")
    project.trueup("sync").expect(0)
    assert [one["id"] for one in parked(project)] == [item["id"]]
    project.trueup("matches", "link", str(item["id"]), "--to", "crm:1").expect(0)
    project.trueup("sync").expect(0)
    assert parked(project) == []
    assert "001,Grace,grace@example.com,77" in project.read("customers.csv")
    project.trueup("verify").expect(0)


def test_a_reused_key_can_be_another_record(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    golden = record(project, "sheet:001")["id"]
    project.sql("UPDATE contacts SET name = 'Grace', email = 'grace@example.com', credit = 77 WHERE id = 1")
    project.trueup("sync").expect(0)
    number = parked(project)[0]["id"]
    project.trueup("matches", "link", str(number), "--new").expect(0)
    project.trueup("sync").expect(0)
    assert parked(project) == []
    assert record(project, "crm:1")["id"] != golden
    assert record(project, "sheet:001")["golden"]["name"] == "Ada"
    names = {name for (name,) in project.sql("SELECT name FROM contacts")}
    assert {"Grace", "Ada"} <= names
    assert any(",Grace," in row for row in rows(project))
    project.trueup("verify").expect(0)


def test_a_reused_key_that_goes_back_is_parked_no_more(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Grace', email = 'grace@example.com', credit = 77 WHERE id = 1")
    project.trueup("sync").expect(0)
    assert len(parked(project)) == 1
    project.sql("UPDATE contacts SET name = 'Ada', email = 'ada@example.com', credit = 11 WHERE id = 1")
    project.trueup("sync").expect(0)
    assert parked(project) == []
    project.trueup("sync").expect(0)
    assert "001,Ada,ada@example.com,11" in project.read("customers.csv")


def test_unlinking_what_is_not_linked(tmp_path):
    project = company(tmp_path)
    assert "trueup sync" in project.trueup("matches", "unlink", "crm:1").expect(1).err
    project.trueup("sync").expect(0)
    assert "no record is linked to '99' in crm" in project.trueup("matches", "unlink", "crm:99").expect(2).err
    assert "is not SYSTEM:KEY" in project.trueup("matches", "unlink", "nosuch:1").expect(2).err
    assert "there is no entity 'client'" in project.trueup("matches", "unlink", "crm:1", "--entity", "client").expect(2).err
    assert project.trueup("matches").expect(0).out == "No row is parked.\n"
