"""Verify: proof that systems agree with the golden records, or where they do not; and repair without trampling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.cli.tool import CONFIG, TABLE, Project, company, two_offices
from trueup.model import RunSummary
from trueup.reports.verify_facts import Agreement
from trueup.runtime.repair import verify_and_repair
from trueup.runtime.verify import verify_systems
from trueup.runtime.workspace import Workspace, open_workspace

QUIET = {"differ": 0, "missing": 0, "extra": 0, "waiting": 0}


@contextmanager
def at_work(project: Project) -> Iterator[Workspace]:
    """The project's workspace, in this process."""
    with open_workspace(project.folder / "trueup.yaml") as workspace:
        yield workspace


def sync(project: Project) -> RunSummary:
    with at_work(project) as workspace:
        return workspace.sync()


def counts(project: Project, entity: str = "customer", *, repair: bool = False) -> tuple[dict[str, Any], Agreement]:
    """Per system what a verification counts, without the rows; and the whole finding."""
    with at_work(project) as workspace:
        found, again = verify_systems(workspace.config, workspace.systems, workspace.store, list(workspace.config.entities))
        if repair:
            found = verify_and_repair(workspace, list(workspace.config.entities), found, again)
    systems = found.entities[entity].systems
    return {
        name: {"differ": item.differ, "missing": item.missing, "extra": item.extra, "waiting": item.waiting}
        for name, item in systems.items()
    }, found


def agreed(folder: Path, config: str = CONFIG, **more: Any) -> Project:
    project = company(folder, config, **more)
    sync(project)
    return project


def test_agreement_and_its_exit_status(tmp_path):
    project = agreed(tmp_path)
    body = project.trueup("verify", "--json").expect(0).json
    assert body["entities"]["customer"]["agree"] is True
    assert body["entities"]["customer"]["systems"] == {name: {"rows": 4, **QUIET, "apart": 0} for name in ("crm", "sheet")}
    assert "both systems agree with 4 agreed records" in project.trueup("verify").expect(0).out


def test_differences_are_counted_shown_and_change_nothing(tmp_path):
    project = agreed(tmp_path)
    project.sql("UPDATE contacts SET name = 'Adda' WHERE id = 1")
    project.sql("DELETE FROM contacts WHERE id = 2")
    project.sql("INSERT INTO contacts VALUES (50, 'Dot', 'dot@example.com', 1)")
    before = {name: (tmp_path / name).read_bytes() for name in ("crm.db", "customers.csv")}
    ended = project.trueup("verify").expect(3)
    assert "3 differences from 4 agreed records" in ended.out
    assert "Adda" in ended.out
    body = project.trueup("verify", "customer", "--json").expect(3).json["entities"]["customer"]
    assert body["agree"] is False
    assert body["systems"]["crm"] == {"rows": 4, "differ": 1, "missing": 1, "extra": 1, "waiting": 0, "apart": 0}
    assert body["systems"]["sheet"] == {"rows": 4, **QUIET, "apart": 0}
    found = {item["kind"]: item for item in body["differences"]}
    assert found["differ"]["fields"] == {"name": ["Ada", "Adda"]}
    assert (found["missing"]["key"], found["extra"]["key"]) == ("2", "50")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_repair_treats_edits_as_any_run_would(tmp_path):
    project = agreed(tmp_path)
    project.sql("UPDATE contacts SET name = 'Adda' WHERE id = 1")
    project.sql("INSERT INTO contacts VALUES (50, 'Dot', 'dot@example.com', 1)")
    body = project.trueup("verify", "--repair", "--json").expect(0).json
    assert body["repaired"] == {"customer": 2}
    assert body["entities"]["customer"]["agree"] is True
    text = project.read("customers.csv")
    assert "001,Adda," in text, "a person's edit is carried on, never undone"
    assert "Dot" in text
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


def test_repair_delivers_what_never_arrived(tmp_path):
    """A pause leaves a delivery undone; afterwards no row moves any more, and the repair still delivers it."""
    project = agreed(tmp_path)
    project.trueup("pause", "sheet").expect(0)
    project.sql("UPDATE contacts SET name = 'Adda' WHERE id = 1")
    project.sql("INSERT INTO contacts VALUES (50, 'Dot', 'dot@example.com', 1)")
    sync(project)
    assert counts(project)[0]["sheet"] == {"differ": 1, "missing": 1, "extra": 0, "waiting": 0}
    project.trueup("resume", "sheet").expect(0)
    after, found = counts(project, repair=True)
    assert after == {"crm": QUIET, "sheet": QUIET}
    assert found.repaired == {"customer": 2}
    assert "001,Adda," in project.read("customers.csv")


def test_a_state_that_is_wrong_about_a_row_is_mended(tmp_path):
    """The state believes that a row agrees and that it has been read; only a comparison of values shows otherwise."""
    import sqlite3

    project = agreed(tmp_path)
    with sqlite3.connect(tmp_path / ".trueup" / "state.db") as state:
        state.execute("UPDATE golden SET data = replace(data, '\"Ada\"', '\"Eda\"')")
    state.close()
    assert sync(project).entities["customer"].updated == 0
    assert counts(project)[0]["crm"]["differ"] == 1
    assert counts(project, repair=True)[0] == {"crm": QUIET, "sheet": QUIET}


def test_rows_that_wait_for_a_person_are_no_differences(tmp_path):
    config = CONFIG.replace("    precedence: [crm, sheet]\n", "")
    people = [
        (1, "Ada", "ada@example.com", "10.5"),
        (2, "Béa", "bea@example.com", None),
        (3, "Ada again", "ada@example.com", "1"),
        (4, "Dee", "dee@example.com", "4"),
        (5, "Eve", "eve@example.com", "5"),
    ]
    project = agreed(tmp_path, config, people=people)
    project.sql("UPDATE contacts SET name = 'Béa One' WHERE id = 2")  # frozen: both sides changed it
    project.write("customers.csv", project.read("customers.csv").replace("Béa", "Béa Two"))
    project.sql("UPDATE contacts SET credit = 'lots' WHERE id = 4")  # cannot be read
    project.sql("DELETE FROM contacts WHERE id = 5")  # vanished where deletes are off
    sync(project)
    found, whole = counts(project)
    assert found["crm"] == {"differ": 0, "missing": 0, "extra": 0, "waiting": 4}  # with the parked twin
    assert found["sheet"] == {"differ": 0, "missing": 0, "extra": 0, "waiting": 1}
    assert whole.agrees
    ended = project.trueup("verify").expect(0)
    assert "4 rows waiting for a person" in ended.out
    assert "1 row vanished" in ended.out
    assert "links WHERE state = 'missing'" in ended.out


def test_a_record_that_waits_and_differs_besides_is_counted_once(tmp_path):
    config = CONFIG.replace("    precedence: [crm, sheet]\n", "")
    project = agreed(tmp_path, config)
    project.sql("UPDATE contacts SET name = 'One' WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada", "001,Two"))
    sync(project)
    project.sql("UPDATE contacts SET credit = 99 WHERE id = 1")
    found, whole = counts(project)
    assert found["crm"] == {"differ": 1, "missing": 0, "extra": 0, "waiting": 0}
    assert whole.entities["customer"].examples[0].fields == {"credit": ("10.5", "99")}


def test_a_failed_delivery_waits(tmp_path):
    project = company(tmp_path)
    project.sql("CREATE TRIGGER no_cy BEFORE INSERT ON contacts WHEN NEW.name LIKE 'Cy%' BEGIN SELECT RAISE(ABORT, 'no') ; END")
    project.sql("CREATE TRIGGER no_z BEFORE UPDATE ON contacts WHEN NEW.name = 'Zed' BEGIN SELECT RAISE(ABORT, 'no Zed'); END")
    sync(project)
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada", "001,Zed"))
    sync(project)
    assert counts(project)[0]["crm"] == {"differ": 0, "missing": 0, "extra": 0, "waiting": 2}


def test_a_systems_own_form_of_a_value_is_agreement(tmp_path):
    config = CONFIG.replace("name: name, email: email", "name: {read: upper(name), write: {name: name}, lossy: true}, email: email")
    project = agreed(tmp_path, config)
    assert counts(project)[0] == {"crm": QUIET, "sheet": QUIET}
    project.sql("UPDATE contacts SET name = 'Other' WHERE id = 1")
    assert counts(project)[0]["crm"]["differ"] == 1


def test_filters_narrow_mappings_and_read_only_systems(tmp_path):
    config = """\
systems:
  crm:   {connector: sqlite, path: crm.db}
  sheet: {connector: csv, path: customers.csv}
  feed:  {connector: csv, path: feed.csv}
entities:
  customer:
    match: [[email]]
    precedence: [crm, sheet, feed]
    fields:
      name:   {type: text, source_of_truth: crm}
      email:  {type: text}
      credit: {type: decimal}
    mappings:
      crm:   {object: contacts, key: id, fields: {name: name, email: email, credit: credit}}
      sheet: {key: No, where: "length(Credit) = 2", fields: {name: Name, email: E-mail, credit: {column: Credit}}}
      feed:  {key: Nr, direction: read, fields: {name: Wer, email: Mail}}
"""
    project = Project(tmp_path)
    project.write("trueup.yaml", config)
    project.sql(TABLE)
    for person in [(1, "Ada", "ada@example.com", "10"), (2, "Béa", "bea@example.com", "1")]:
        project.sql("INSERT INTO contacts VALUES (?, ?, ?, ?)", person)
    project.write("customers.csv", "No,Name,E-mail,Credit\n1,Ada,ada@example.com,10\n9,Small,small@example.com,2\n")
    project.write("feed.csv", "Nr,Wer,Mail\n7,ADA,ada@example.com\n")
    sync(project)
    found, whole = counts(project)
    assert found == {"crm": QUIET, "sheet": QUIET, "feed": QUIET}
    assert whole.entities["customer"].systems["sheet"].rows == 1
    project.write("feed.csv", "Nr,Wer,Mail\n7,Adda,ada@example.com\n")
    assert counts(project)[0]["feed"]["differ"] == 1, "what nobody has seen yet is a difference, also where nothing can be written"
    sync(project)
    assert counts(project)[0]["feed"] == QUIET


@pytest.mark.parametrize("action", ["propagate", "ignore"])
def test_deletes_that_are_wanted_are_agreement(tmp_path, action):
    project = agreed(tmp_path, CONFIG + f"    deletes: {{from: [crm], action: {action}}}\n    guard: off\n")
    project.sql("DELETE FROM contacts WHERE id = 1")
    assert counts(project)[0]["crm"]["missing"] == 1
    sync(project)
    assert counts(project)[0] == {"crm": QUIET, "sheet": QUIET}
    assert ("Ada" in project.read("customers.csv")) is (action == "ignore")


def test_references_agree_through_the_links(tmp_path):
    project = two_offices(tmp_path)
    project.sql("INSERT INTO customers VALUES (5, 'ada@example.com', NULL), (6, 'bea@example.com', NULL)", database="left.db")
    project.sql("INSERT INTO orders VALUES (1, 'A1', 6)", database="left.db")
    project.sql("INSERT INTO customers VALUES (10, 'bea@example.com', NULL)", database="right.db")
    sync(project)
    assert project.sql("SELECT customer FROM orders", database="right.db") == [(10,)]
    assert counts(project, "order")[0] == {"left": QUIET, "right": QUIET}
    project.sql("UPDATE orders SET customer = 5", database="left.db")
    assert counts(project, "order")[0]["left"]["differ"] == 1


def test_a_system_that_cannot_be_read_is_named(tmp_path):
    project = agreed(tmp_path)
    (tmp_path / "customers.csv").unlink()
    ended = project.trueup("verify", "--json").expect(3)
    assert "customers.csv" in ended.json["entities"]["customer"]["left_out"]["sheet"]
    (tmp_path / "crm.db").unlink()
    assert "no system can be read" in project.trueup("verify").expect(1).err


def test_before_the_first_sync(tmp_path):
    project = company(tmp_path)
    assert "trueup sync" in project.trueup("verify").expect(1).err
    assert not (tmp_path / ".trueup").exists()
    sync(project)
    assert "there is no entity 'client'" in project.trueup("verify", "client").expect(2).err


def test_more_than_one_batch(tmp_path, monkeypatch):
    from trueup.runtime import verify
    from trueup.store import golden

    real = golden.stream
    monkeypatch.setattr(verify, "BATCH_ROWS", 2)
    monkeypatch.setattr(golden, "stream", lambda db, entity: real(db, entity, 2))
    project = agreed(tmp_path)
    project.sql("UPDATE contacts SET name = name || '!'")
    found, whole = counts(project)
    assert found == {"crm": QUIET | {"differ": 4}, "sheet": QUIET}
    assert len(whole.entities["customer"].examples) == 4
