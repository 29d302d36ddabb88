"""`trueup lock`: who changes in one system what is changed in another is refused there; the state, `check` and `doctor` know of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.system.cli.tool import Project
from tests.system.kills import killed_at_each_step
from trueup.connectors.sqlite import SqliteConnector
from trueup.errors import AccessRefusedError
from trueup.runtime import locks
from trueup.runtime.workspace import Workspace, open_workspace
from trueup.store import write_lock

CONFIG = """\
systems:
  staff:  {connector: csv, path: staff.csv}
  phones: {connector: sqlite, path: phones.db, owner: Telephone desk}
  pay:    {connector: sqlite, path: pay.db}
entities:
  person:
    match: [[number]]
    source_of_truth: staff
    owner: Personnel
    fields:
      number: {required: true}
      name: {}
      phone: {source_of_truth: phones}
    mappings:
      staff:  {key: {column: No, assign: number}, fields: {number: No, name: Name, phone: Phone}}
      phones: {object: people, key: {column: no, assign: number}, fields: {number: no, name: name, phone: phone}}
      pay:    {object: staff, key: {column: no, assign: number}, fields: {number: no, name: name}}
"""
SHEET = "No,Name,Phone\nS1,Ada O'Neil,1\nS2,Béa 🙂,2\n"


def company(folder: Path, config: str = CONFIG) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", config)
    project.write("staff.csv", SHEET)
    project.sql("CREATE TABLE people (no TEXT PRIMARY KEY, name TEXT, phone TEXT)", database="phones.db")
    project.sql("CREATE TABLE staff (no TEXT PRIMARY KEY, name TEXT, grade TEXT)", database="pay.db")
    return project


def standings(project: Project, *names: str, status: int = 0) -> dict[str, str]:
    return {one["system"]: one["standing"] for one in project.trueup("lock", *names, "--json").expect(status).json["locks"]}


def refused(project: Project, statement: str, database: str) -> str:
    with pytest.raises(sqlite3.IntegrityError) as error:
        project.sql(statement, database=database)
    return str(error.value)


@contextmanager
def at_work(folder: Path) -> Iterator[Workspace]:
    with open_workspace(folder / "trueup.yaml") as workspace:
        yield workspace


def apply(workspace: Workspace) -> list[Any]:
    return locks.apply(workspace, locks.Asked())


def test_a_lock_from_its_plan_to_its_end(tmp_path):
    project = company(tmp_path)
    before = {name: project.folder.joinpath(name).read_bytes() for name in ("phones.db", "pay.db")}
    shown = project.trueup("lock", "--show").expect(0).out
    assert "RAISE(ABORT, 'name, no are changed in staff, not here (locked by trueup)')" in shown
    assert "overruled: a file cannot be locked" in shown
    assert {name: project.folder.joinpath(name).read_bytes() for name in before} == before
    assert not (tmp_path / ".trueup").exists(), "looking makes no state"
    done = project.trueup("lock", "--apply").expect(0).out
    assert done == "people in phones: locked (name, no)\nstaff in pay: locked (name, no; rows)\n"
    assert standings(project) == {"staff": "overruled", "phones": "locked", "pay": "locked"}
    project.trueup("sync").expect(0)
    assert project.sql("SELECT no, name FROM staff ORDER BY no", database="pay.db") == [("S1", "Ada O'Neil"), ("S2", "Béa 🙂")]
    assert "changed in staff, not here" in refused(project, "UPDATE people SET name = 'x'", "phones.db")
    assert "rows are added and removed in staff" in refused(project, "DELETE FROM staff", "pay.db")
    project.sql("UPDATE people SET phone = '9' WHERE no = 'S1'", database="phones.db")
    project.sql("UPDATE staff SET grade = 'A'", database="pay.db")
    project.write("staff.csv", SHEET.replace("Béa 🙂", "שלום"))
    project.trueup("sync").expect(0)
    assert "S1,Ada O'Neil,9" in project.read("staff.csv")
    assert project.sql("SELECT name, grade FROM staff WHERE no = 'S2'", database="pay.db") == [("שלום", "A")]
    assert project.trueup("lock", "--remove").expect(0).out.count("open to everybody again") == 2
    project.sql("UPDATE people SET name = 'free'", database="phones.db")
    for database in before:
        assert project.sql("SELECT name FROM sqlite_schema WHERE name LIKE 'trueup%'", database=database) == []
    assert standings(project) == {"staff": "overruled", "phones": "open", "pay": "open"}
    assert project.trueup("lock", "--remove").expect(0).out == "Nothing was locked.\n"


def test_it_says_where_each_field_is_changed_and_by_whom(tmp_path):
    project = company(tmp_path)
    fields = project.trueup("lock", "--json").expect(0).json["fields"]
    assert [(one["field"], one["changed_in"], one["by"]) for one in fields] == [
        ("number", "staff", "Personnel"),
        ("name", "staff", "Personnel"),
        ("phone", "phones", "Telephone desk"),
    ]


def test_only_what_is_named(tmp_path):
    project = company(tmp_path)
    project.trueup("lock", "pay", "--apply").expect(0)
    assert standings(project) == {"staff": "overruled", "phones": "open", "pay": "locked"}
    assert standings(project, "phones", "person") == {"phones": "open"}
    assert "there is no system or entity 'pya'" in project.trueup("lock", "pya").expect(2).err
    assert "not several" in project.trueup("lock", "--show", "--apply").expect(2).err


def test_a_lock_that_is_gone_or_altered_is_told_by_check_and_doctor(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.trueup("lock", "--apply").expect(0)
    assert "lock" not in project.trueup("check").expect(0).out
    (trigger,) = project.sql("SELECT name FROM sqlite_schema WHERE type = 'trigger'", database="phones.db")[0]
    project.sql(f"DROP TRIGGER {trigger}", database="phones.db")
    project.sql("DELETE FROM trueup_lock", database="pay.db")
    assert standings(project, status=3) == {"staff": "overruled", "phones": "missing", "pay": "altered"}
    checked = project.trueup("check").expect(0).out
    assert "people in phones was locked, and is open to everybody now (`trueup lock phones --apply` locks it again)" in checked
    assert "staff in pay has a lock that somebody altered" in checked
    found = [one["message"] for one in project.trueup("doctor", "--json").json["findings"] if one["check"] == "locks"]
    assert len(found) == 2
    project.trueup("lock", "--apply").expect(0)
    assert standings(project) == {"staff": "overruled", "phones": "locked", "pay": "locked"}


def test_a_configuration_that_says_something_else_makes_a_lock_outdated(tmp_path):
    project = company(tmp_path)
    project.trueup("lock", "--apply").expect(0)
    project.write("trueup.yaml", CONFIG.replace("      name: {}\n", "      name: {source_of_truth: phones}\n"))
    assert standings(project, status=3) == {"staff": "overruled", "phones": "outdated", "pay": "outdated"}
    project.trueup("lock", "--apply").expect(0)
    project.sql("INSERT INTO people (no) VALUES ('S9')", database="phones.db")
    project.sql("UPDATE people SET name = 'mine'", database="phones.db")
    refused(project, "UPDATE people SET no = 'S8'", "phones.db")
    without = CONFIG.replace("    source_of_truth: staff\n", "").replace("{source_of_truth: phones}", "{}")
    project.write("trueup.yaml", without)
    assert standings(project, status=3) == {"phones": "leftover", "pay": "leftover"}
    project.trueup("lock", "--remove").expect(0)
    project.sql("UPDATE people SET no = 'S8'", database="phones.db")
    assert standings(project) == {}


def test_a_lost_state_loses_no_lock(tmp_path):
    project = company(tmp_path)
    project.trueup("lock", "--apply").expect(0)
    for path in (tmp_path / ".trueup").iterdir():
        path.unlink()
    assert standings(project, status=3) == {"staff": "overruled", "phones": "stranger", "pay": "stranger"}
    project.trueup("lock", "phones", "--remove").expect(0)
    project.sql("UPDATE people SET name = 'free'", database="phones.db")
    project.trueup("lock", "--apply").expect(0)
    assert standings(project) == {"staff": "overruled", "phones": "locked", "pay": "locked"}


def test_a_table_of_which_some_rows_take_part_is_locked_only_when_that_is_said(tmp_path):
    project = company(tmp_path, CONFIG.replace("pay:    {object: staff,", "pay:    {object: staff, where: \"grade <> 'X'\","))
    assert "Nothing can be locked" in project.trueup("lock", "pay", "--apply").expect(0).out
    assert standings(project, "pay") == {"pay": "overruled"}
    project.trueup("lock", "pay", "--apply", "--whole-tables").expect(0)
    assert standings(project, "pay") == {"pay": "locked"}


def test_a_system_that_is_away_or_refuses_harms_no_other(tmp_path, monkeypatch):
    project = company(tmp_path)
    (tmp_path / "pay.db").rename(tmp_path / "away.db")
    ended = project.trueup("lock", "--apply").expect(3)
    assert "people in phones: locked" in ended.out
    assert "there is no database file" in ended.out
    (tmp_path / "away.db").rename(tmp_path / "pay.db")

    def refuse(*_: object) -> str:
        raise AccessRefusedError("permission denied")

    with at_work(tmp_path) as workspace, monkeypatch.context() as patched:
        patched.setattr(SqliteConnector, "lock", refuse)
        assert [problem for _one, problem in apply(workspace)] == ["", "permission denied"]
    assert standings(project) == {"staff": "overruled", "phones": "locked", "pay": "open"}, "what was not made is not known as made"


def test_a_lock_that_was_broken_off_is_known_and_completed(tmp_path, monkeypatch):
    project = company(tmp_path)
    make = SqliteConnector.lock

    def broken_off(connector: SqliteConnector, *what: Any) -> str:
        make(connector, *what)
        raise KeyboardInterrupt

    with at_work(tmp_path) as workspace, monkeypatch.context() as patched:
        patched.setattr(SqliteConnector, "lock", broken_off)
        with pytest.raises(KeyboardInterrupt):
            apply(workspace)
    assert standings(project, "phones", status=3) == {"phones": "unfinished"}
    project.trueup("lock", "phones", "--apply").expect(0)
    assert standings(project, "phones") == {"phones": "locked"}


def test_a_state_that_cannot_be_opened_keeps_check_from_nothing(tmp_path):
    project = company(tmp_path, f"master_key: {{file: master.key}}\n{CONFIG}")
    project.trueup("keys", "new").expect(0)
    project.trueup("sync").expect(0)
    project.trueup("lock", "--apply").expect(0)
    project.trueup("keys", "encrypt").expect(0)
    (tmp_path / "master.key").rename(tmp_path / "elsewhere.key")
    with at_work(tmp_path) as workspace:
        assert workspace.check().problems == [], "what is configured can be compared with the systems all the same"
    (tmp_path / "elsewhere.key").rename(tmp_path / "master.key")
    assert standings(project) == {"staff": "overruled", "phones": "locked", "pay": "locked"}


def test_a_renamed_system_keeps_its_lock(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.trueup("lock", "--apply").expect(0)
    renamed = CONFIG.replace("  phones: {connector: sqlite", "  lines: {was: phones, connector: sqlite")
    renamed = renamed.replace("      phones: {object", "      lines: {object")
    project.write("trueup.yaml", renamed.replace("source_of_truth: phones", "source_of_truth: lines"))
    project.trueup("sync").expect(0)
    assert standings(project) == {"staff": "overruled", "lines": "locked", "pay": "locked"}
    with at_work(tmp_path) as workspace, workspace.store.read() as db:
        assert [one.system for one in write_lock.list_(db)] == ["lines", "pay"]


def test_a_lock_that_an_administrator_made_is_taken_over(tmp_path, postgres_server, postgres_url):
    """A login that may write a table, and make nothing there: it shows the statements, its administrator carries them out."""
    project = company(tmp_path, CONFIG.replace("{connector: sqlite, path: pay.db}", "{connector: postgres, url: '${PAY}'}"))
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE TABLE staff (no text PRIMARY KEY, name text, grade text)")
        admin.execute("DROP ROLE IF EXISTS courier; CREATE ROLE courier LOGIN PASSWORD 'courier-secret'")
        admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON staff TO courier")
        pay = postgres_server.url(admin.info.dbname, user="courier", password="courier-secret")
        ended = project.trueup("lock", "pay", "--apply", PAY=pay).expect(1)
        assert "let its owner run what --show shows" in ended.out
        assert project.trueup("lock", "pay", "--json", PAY=pay).expect(0).json["locks"][0]["standing"] == "open"
        (shown,) = project.trueup("lock", "pay", "--json", PAY=pay).json["locks"]
        for statement in shown["make"]:
            admin.execute(statement.encode())
        assert project.trueup("lock", "pay", "--json", PAY=pay).expect(3).json["locks"][0]["standing"] == "stranger"
        project.trueup("lock", "pay", "--apply", PAY=pay).expect(0)
        assert project.trueup("lock", "pay", "--json", PAY=pay).expect(0).json["locks"][0]["standing"] == "locked"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            admin.execute("INSERT INTO staff VALUES ('S9', 'x', 'y')")
        project.trueup("sync", PAY=pay).expect(0)
        assert admin.execute("SELECT no FROM staff ORDER BY no").fetchall() == [("S1",), ("S2",)]
        assert "owner" in project.trueup("lock", "pay", "--remove", PAY=pay).expect(1).out
        for statement in shown["remove"]:
            admin.execute(statement.encode())
        project.trueup("lock", "pay", "--remove", PAY=pay).expect(0)
        assert project.trueup("lock", "pay", "--json", PAY=pay).expect(0).json["locks"][0]["standing"] == "open"
        admin.execute("DROP OWNED BY courier; DROP ROLE courier")


@pytest.mark.slow
def test_killed_at_any_step_it_is_completed_or_taken_away(tmp_path):
    template = tmp_path / "template"
    template.mkdir()
    company(template)

    def work(folder: Path) -> None:
        with at_work(folder) as workspace:
            apply(workspace)

    def then(folder: Path) -> None:
        project = Project(folder)
        with at_work(folder) as workspace:
            found = locks.look(workspace.config, workspace.systems, locks.kept_locks(workspace.state_target))
            assert {one.standing for one in found.findings} <= {"overruled", "open", "unfinished", "locked"}
            assert [problem for _one, problem in apply(workspace)] == ["", ""]
            refused(project, "INSERT INTO staff (no) VALUES ('x')", "pay.db")
            locks.remove(workspace, locks.Asked())
        for database in ("phones.db", "pay.db"):
            assert project.sql("SELECT name FROM sqlite_schema WHERE name LIKE 'trueup%'", database=database) == []

    assert killed_at_each_step(template, work, then) > 10
