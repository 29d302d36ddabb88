"""Cleaned values that go back to where they came from (`write_back`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.project import Project, Row

DIRTY: Row = (" Ann@Example.org ", "Ann", "1", "1980-01-31")
CLEAN: Row = ("ann@example.org", "Ann", "1", "1980-01-31")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.fields["email"] = "{type: text, required: true, clean: [trim, lower], write_back: true}"
    return made


def test_the_cleaned_value_goes_back_to_a_table_and_a_file(project: Project) -> None:
    project.add_sqlite("crm", [DIRTY])
    project.add_csv("list")
    project.configure()
    plan = project.run("plan", "--json")
    assert [(change["system"], change["kind"]) for change in plan.body["changes"]] == [("crm", "update"), ("list", "create")]
    back = next(change for change in plan.body["changes"] if change["system"] == "crm")
    assert back["fields"]["email"] == [" Ann@Example.org ", "ann@example.org"]
    first = project.sync(expect={0, 3})
    assert first.system("crm")["delivered"]["updated"] == 1
    assert project.rows("crm") == project.rows("list") == [CLEAN]
    quiet = project.sync("--full")
    assert [quiet.system(name)["delivered"]["updated"] for name in ("crm", "list")] == [0, 0]


def test_later_edits_and_rows_of_a_file_are_cleaned_as_well(project: Project) -> None:
    project.add_sqlite("crm", [CLEAN])
    project.add_csv("list")
    project.configure()
    project.sync()
    project.write_csv("list", [("ANN@EXAMPLE.ORG", "Anna", "1", "1980-01-31"), (" Ben@Example.org", "Ben", "2", "1981-02-28")])
    project.sync()
    wanted = [("ann@example.org", "Anna", "1", "1980-01-31"), ("ben@example.org", "Ben", "2", "1981-02-28")]
    assert project.rows("crm") == project.rows("list") == wanted
    assert project.sync("--full").system("list")["delivered"]["updated"] == 0


def test_a_system_with_a_writing_of_its_own_is_written_once(project: Project) -> None:
    project.add_sqlite("crm", [DIRTY])
    project.add_csv("list")
    project.configure()
    shout = "UPDATE customers SET email = upper(new.email) WHERE id = new.id AND email <> upper(new.email)"
    project.sql("crm", f"CREATE TRIGGER shouts AFTER UPDATE ON customers BEGIN {shout}; END")
    assert project.sync(expect={0, 3}).system("crm")["delivered"]["updated"] == 1
    assert project.rows("crm")[0][0] == "ANN@EXAMPLE.ORG"
    for _ in range(2):
        assert project.sync("--full").system("crm")["delivered"]["updated"] == 0
    assert project.rows("list") == [CLEAN]


def test_a_system_that_is_only_read_keeps_what_it_has(project: Project) -> None:
    project.add_sqlite("crm", [DIRTY])
    project.mappings["crm"] += ", direction: read"
    project.add_csv("list")
    project.configure()
    result = project.sync(expect={0, 3})
    assert (result.code, result.system("crm")["delivered"]["pending"]) == (0, 0)
    assert project.rows("crm") == [DIRTY]
    assert project.rows("list") == [CLEAN]


def test_what_could_not_be_written_back_waits(project: Project) -> None:
    project.add_sqlite("crm", [DIRTY])
    project.add_csv("list")
    project.configure()
    project.sql("crm", "CREATE TRIGGER closed BEFORE UPDATE ON customers BEGIN SELECT RAISE(ABORT, 'the books are closed'); END")
    refused = project.sync(expect={0, 3})
    assert refused.system("crm")["delivered"]["failed"] == 1
    project.run("failures").says("the books are closed")
    project.sql("crm", "DROP TRIGGER closed")
    project.run("failures", "retry", *(str(item["id"]) for item in project.failures()))
    project.sync()
    assert project.rows("crm") == [CLEAN]
    assert project.failures() == []


def test_it_begins_with_the_configuration_that_asks_for_it(project: Project) -> None:
    project.fields["email"] = "{type: text, required: true, clean: [trim, lower]}"
    project.add_sqlite("crm", [DIRTY])
    project.add_csv("list")
    project.configure()
    project.sync()
    assert project.rows("crm") == [DIRTY]
    project.fields["email"] = "{type: text, required: true, clean: [trim, lower], write_back: true}"
    project.configure()
    project.sync()
    assert project.rows("crm") == [CLEAN]
