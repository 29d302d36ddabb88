"""What waits for a person: failures, holds and pauses, and the exit statuses that tell of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.system.cli.tool import CONFIG, Project, company

MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
GUARDED = (
    CONFIG
    + """\
    deletes: {from: [crm, sheet], action: propagate}
    guard: {deletes: "5%", updates: "10%", at_least: 5}
"""
)
CROWD = [(number, f"N{number}", f"n{number}@example.com", "1") for number in range(1, 41)]
EMPTY = "No,Name,E-mail,Credit\n"


def crowd(folder: Path, config: str = GUARDED) -> Project:
    """Forty people in both systems."""
    project = company(folder, config, EMPTY, CROWD)
    project.trueup("sync").expect(0)
    assert len(project.read("customers.csv").splitlines()) == 41
    return project


def keep_lines(project: Project, count: int) -> None:
    """Somebody saves the sheet with its first rows only."""
    project.write("customers.csv", "".join(project.read("customers.csv").splitlines(keepends=True)[: count + 1]))


def held(project: Project) -> Any:
    """The one hold there is."""
    holds = project.trueup("holds", "--json").expect(0).json
    assert len(holds) == 1
    assert holds[0].keys() == {"id", "entity", "system", "kind", "counts", "limit", "since"}
    assert MOMENT.match(holds[0]["since"])
    return holds[0]


def test_a_rejected_row_is_listed_and_harms_no_other(tmp_path):
    sheet = "No,Name,E-mail,Credit\n001,Ada,ada@example.com,ten\n002,Cy,cy@example.com,7\n,Nobody,no@example.com,1\n"
    project = company(tmp_path, sheet=sheet)
    ended = project.trueup("sync").expect(3)
    assert "customer in sheet: 2 rows could not be read or understood: `trueup failures`" in ended.out
    assert project.sql("SELECT count(*) FROM contacts WHERE name = 'Cy'") == [(1,)]
    failures = project.trueup("failures", "--json").expect(0).json
    assert {failure["stage"] for failure in failures} <= {"read", "map", "match", "write"}
    bad = next(failure for failure in failures if failure["key"] == "001")
    assert {"id", "entity", "system", "key", "record", "stage", "reason", "attempts", "next_try_at"} <= bad.keys()
    assert (bad["entity"], bad["system"], bad["stage"], bad["attempts"]) == ("customer", "sheet", "map", 1)
    assert "ten" in bad["reason"]
    told = project.trueup("failures").expect(0).out
    assert "001" in told
    assert "ten" in told
    assert project.trueup("failures", "--system", "crm", "--json").expect(0).json == []
    assert "there is no system 'till'" in project.trueup("failures", "--system", "till").expect(2).err

    run = project.trueup("sync", "--json").expect(3).json
    assert run["status"] == "partial"
    listed = project.trueup("failures", "--json").expect(0).json
    standing = project.trueup("status", "--json").expect(0).json["entities"]["customer"]["systems"]
    assert standing["sheet"]["failures"] == len([failure for failure in listed if failure["system"] == "sheet"]) >= 2
    project.write("customers.csv", project.read("customers.csv").replace(",ten", ",10").replace("\n,Nobody", "\n009,Nobody"))
    project.trueup("sync").expect(0)
    assert project.trueup("failures").expect(0).out == "No failures.\n"


def test_a_record_that_a_system_refuses_is_retried_when_told(tmp_path):
    project = company(tmp_path)
    project.sql("CREATE TRIGGER rich BEFORE INSERT ON contacts WHEN NEW.credit > 5 BEGIN SELECT RAISE(ABORT, 'too rich for us'); END")
    ended = project.trueup("sync").expect(3)
    assert "customer in crm: 1 record could not be written: `trueup failures`" in ended.out
    assert len(project.read("customers.csv").splitlines()) == 5, "the others are done"
    failure = project.trueup("failures", "--json").expect(0).json[0]
    assert failure["stage"] == "write"
    assert "too rich for us" in failure["reason"]
    project.sql("DROP TRIGGER rich")
    again = project.trueup("sync").expect(3)
    assert "1 failure of earlier runs still open" in again.out, "a refused record is not tried again by itself"
    assert "tried again by the next" in project.trueup("failures", "retry", str(failure["id"])).expect(0).out
    project.trueup("sync").expect(0)
    assert project.sql("SELECT count(*) FROM contacts") == [(4,)]
    assert project.trueup("failures", "--json").expect(0).json == []
    assert "there is no failure 99" in project.trueup("failures", "drop", "99").expect(2).err
    assert "there is no failure 99" in project.trueup("failures", "retry", "99").expect(2).err


def test_a_dropped_failure_is_forgotten(tmp_path):
    project = company(tmp_path, sheet="No,Name,E-mail,Credit\n001,Ada,ada@example.com,ten\n")
    project.trueup("sync").expect(3)
    numbers = [failure["id"] for failure in project.trueup("failures", "--json").expect(0).json]
    assert project.trueup("failures", "drop", *map(str, numbers), "--json").expect(0).json == {"dropped": numbers}
    assert project.trueup("failures", "--json").expect(0).json == []


def test_refused_deletes_are_made_again(tmp_path):
    project = crowd(tmp_path)
    keep_lines(project, 30)
    run = project.trueup("sync", "--json").expect(4).json
    assert run["status"] == "held"
    assert project.sql("SELECT count(*) FROM contacts") == [(40,)], "nothing was deleted"
    hold = held(project)
    assert (hold["entity"], hold["system"], hold["kind"]) == ("customer", "sheet", "deletes")
    assert hold["counts"]["count"] == 10
    assert hold["limit"]["count"] == 5
    assert "`trueup holds`" in project.trueup("sync").expect(4).out
    assert held(project)["id"] == hold["id"], "the same hold, asked about once"
    assert project.trueup("holds", "refuse", str(hold["id"]), "--json").expect(0).json["decision"] == "refused"
    assert "there is no open hold" in project.trueup("holds", "refuse", str(hold["id"])).expect(2).err
    project.trueup("sync").expect(0)
    assert len(project.read("customers.csv").splitlines()) == 41
    assert project.sql("SELECT count(*) FROM contacts") == [(40,)]
    assert project.trueup("holds").expect(0).out == "Nothing is held.\n"
    quiet = project.trueup("sync", "--json").expect(0).json["entities"]["customer"]
    assert quiet["systems"]["sheet"]["delivered"]["created"] == 0
    assert quiet["golden"]["total"] == 40


def test_refused_deletes_are_made_again_even_if_only_a_few_at_a_time(tmp_path):
    project = crowd(tmp_path)
    keep_lines(project, 30)
    project.trueup("sync").expect(4)
    project.trueup("holds", "refuse", str(held(project)["id"])).expect(0)
    project.trueup("sync", "--limit", "4").expect(0)
    assert len(project.read("customers.csv").splitlines()) == 35
    project.trueup("sync").expect(0)
    assert len(project.read("customers.csv").splitlines()) == 41


def test_approved_deletes_go_through_and_the_approval_is_used_up(tmp_path):
    project = crowd(tmp_path)
    keep_lines(project, 30)
    project.trueup("sync").expect(4)
    assert project.trueup("holds", "approve", str(held(project)["id"]), "--json").expect(0).json["ceiling"] == 10
    project.trueup("sync").expect(0)
    assert project.sql("SELECT count(*) FROM contacts") == [(30,)]
    assert project.trueup("holds", "--json").expect(0).json == []
    keep_lines(project, 20)
    project.trueup("sync").expect(4)
    assert project.sql("SELECT count(*) FROM contacts") == [(30,)]


def test_an_approval_covers_no_more_than_was_counted(tmp_path):
    project = crowd(tmp_path)
    keep_lines(project, 30)
    project.trueup("sync").expect(4)
    project.trueup("holds", "approve", str(held(project)["id"])).expect(0)
    keep_lines(project, 25)
    project.trueup("sync").expect(4)
    assert project.sql("SELECT count(*) FROM contacts") == [(40,)]
    assert held(project)["counts"]["count"] == 15


def test_updates_refused_are_put_back_and_approved_go_through(tmp_path):
    project = crowd(tmp_path)
    before = project.read("customers.csv")
    edited = re.sub(r",N(\d),", r",X\1,", before)
    project.write("customers.csv", edited)
    project.trueup("sync").expect(4)
    assert held(project)["kind"] == "updates"
    assert held(project)["counts"]["count"] == 9
    project.trueup("sync", "--record", "customer", "crm:40").expect(0)
    project.trueup("holds", "refuse", str(held(project)["id"])).expect(0)
    run = project.trueup("sync", "--json").expect(0).json["entities"]["customer"]
    assert run["systems"]["sheet"]["delivered"]["updated"] == 9
    assert project.read("customers.csv") == before
    assert project.sql("SELECT count(*) FROM contacts WHERE name LIKE 'X%'") == [(0,)]

    project.sql("UPDATE contacts SET name = 'Y' || id WHERE id < 10")
    project.trueup("sync").expect(4)
    project.trueup("holds", "approve", str(held(project)["id"])).expect(0)
    project.trueup("sync").expect(0)
    assert len(re.findall(",Y\\d,", project.read("customers.csv"))) == 9


def test_a_row_that_became_another_record_is_not_doubled_while_its_edits_are_held(tmp_path):
    """Ten rows of the CRM are edited, which is held; one of them now shows a customer that the sheet has just got."""
    project = crowd(tmp_path)
    project.sql("UPDATE contacts SET name = 'Y' || id WHERE id < 10")
    project.sql("UPDATE contacts SET name = 'Zoe', email = 'zoe@example.com', credit = 7 WHERE id = 10")
    project.write("customers.csv", project.read("customers.csv") + "77,Zoe,zoe@example.com,7\n78,Yan,yan@example.com,8\n")
    project.trueup("sync").expect(4)
    project.trueup("sync").expect(4)  # in the first run the row might have become the record at once
    found = project.sql("SELECT email, count(*) FROM contacts WHERE email IN ('zoe@example.com', 'yan@example.com') GROUP BY email")
    assert dict(found) == {"zoe@example.com": 1, "yan@example.com": 1}
    assert [item["reason"] for item in project.trueup("failures", "--json").expect(0).json] == [
        "a row that changed meanwhile may be this record"
    ]


def test_an_emptied_sheet_is_held(tmp_path):
    project = crowd(tmp_path)
    project.write("customers.csv", EMPTY)
    project.trueup("sync").expect(4)
    assert held(project)["counts"]["emptied"] is True
    assert "every row vanished" in project.trueup("holds").expect(0).out
    assert project.sql("SELECT count(*) FROM contacts") == [(40,)]


def test_a_vanished_row_where_deletes_are_off_is_told_once(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.sql("DELETE FROM contacts WHERE id = 1")
    ended = project.trueup("sync").expect(3)
    assert "1 row vanished" in ended.out
    (shown,) = re.findall(r'`trueup sql "([^"]*)"` shows which', ended.out)
    assert [(row["system"], row["key"]) for row in project.trueup("sql", shown, "--json").expect(0).json] == [("crm", "1")]
    assert "001,Ada" in project.read("customers.csv")
    project.trueup("sync").expect(0)
    assert project.trueup("status", "--json").expect(0).json["entities"]["customer"]["systems"]["crm"]["missing"] == 1


def test_a_paused_system_is_read_but_not_written(tmp_path):
    project = company(tmp_path)
    assert project.trueup("pause", "sheet", "--json").expect(0).json == {"paused": [{"kind": "system", "name": "sheet"}]}
    run = project.trueup("sync", "--json").expect(0).json["entities"]["customer"]["systems"]
    assert run["sheet"]["delivered"]["created"] == 0
    assert run["sheet"]["delivered"]["pending"] == 2
    assert project.sql("SELECT count(*) FROM contacts") == [(4,)], "what was read from it reaches the others"
    standing = project.trueup("status", "--json").expect(0).json
    assert standing["paused"] == ["system sheet"]
    assert standing["entities"]["customer"]["systems"]["sheet"]["paused"] is True
    assert standing["entities"]["customer"]["systems"]["sheet"]["pending"] == 2
    assert "Paused: system sheet" in project.trueup("status").expect(0).out
    assert "Nothing is paused." in project.trueup("resume", "sheet").expect(0).out
    project.trueup("sync").expect(0)
    assert len(project.read("customers.csv").splitlines()) == 5


def test_pausing_entities_and_everything(tmp_path):
    project = company(tmp_path)
    project.trueup("pause", "customer").expect(0)
    project.trueup("pause", "--all").expect(0)
    assert "Paused: everything, entity customer." in project.trueup("pause", "customer").expect(0).out
    project.trueup("sync").expect(0)
    assert project.sql("SELECT count(*) FROM contacts") == [(3,)]
    assert project.trueup("resume", "--all", "--json").expect(0).json == {"paused": []}
    project.trueup("sync").expect(0)
    assert project.sql("SELECT count(*) FROM contacts") == [(4,)]
    assert "there is no system or entity 'till'" in project.trueup("pause", "till").expect(2).err
