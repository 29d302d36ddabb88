"""The state is lost, and there is no backup: it is made anew from the systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.project import ANN, BEN, CLEO, NearProject, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = NearProject(tmp_path)
    made.add_sqlite("crm", (ANN, BEN, CLEO))
    made.add_csv("list")
    made.configure()
    made.sync()
    return made


def lose(project: Project) -> None:
    for path in project.folder.glob(".trueup/state.db*"):
        path.unlink()


def test_a_lost_state_is_made_anew_and_nothing_is_written(project: Project) -> None:
    project.run("rebuild", expect=1).says("there is a state already", "--replace")
    lose(project)
    before = {name: project.rows(name) for name in project.readers}
    done = project.run("rebuild", "--json").body
    assert done["aside"] is None
    assert done["entities"]["customer"] == {
        "records": 3,
        "conflicts": 0,
        "parked": 0,
        "failures": 0,
        "settled": 0,
        "systems": {"crm": {"linked": 3, "alone": 0}, "list": {"linked": 3, "alone": 0}},
    }
    assert any("deleted" in line for line in done["unknown"])
    assert {name: project.rows(name) for name in project.readers} == before
    project.run("rebuild", expect=1).says("there is a state already")
    quiet = project.sync()
    assert not any(quiet.system("list")["delivered"].values())
    project.sql("crm", "UPDATE customers SET points = points + 5 WHERE id = 1")
    project.mended([("ann@example.org", "Ann", "6", "1980-01-31"), BEN, CLEO])


def test_what_differs_is_reported_and_waits_for_the_next_sync(project: Project) -> None:
    project.fields["name"] = "{type: text}"
    project.configure()
    project.sync()
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1", "DELETE FROM customers WHERE id = 3")
    text = (project.folder / "trueup.yaml").read_text().replace("    precedence: [crm, list]\n", "")
    (project.folder / "trueup.yaml").write_text(text)
    lose(project)
    before = {name: project.rows(name) for name in project.readers}
    shown = project.run("rebuild")
    shown.says("customer: 3 records", "nowhere else", "1 conflict", "deleted", "Nothing was written")
    assert {name: project.rows(name) for name in project.readers} == before
    planned = project.run("plan", "--json").body["changes"]
    assert [(change["system"], change["kind"]) for change in planned] == [("crm", "create")]


def test_a_state_that_is_there_is_replaced_only_where_that_is_said(project: Project) -> None:
    state = project.folder / ".trueup/state.db"
    garbage = b"x" * 50_000
    state.write_bytes(garbage)
    project.run("rebuild", expect=1).says("--replace", "restore")
    assert state.read_bytes() == garbage
    aside = project.run("rebuild", "--replace", "--json").body["aside"]
    assert Path(aside).read_bytes() == garbage
    project.mended([ANN, BEN, CLEO])


def test_it_is_not_made_without_a_system(project: Project) -> None:
    project.add_csv("third", [ANN])
    project.configure()
    lose(project)
    (project.folder / "third.csv").rename(project.folder / "away.csv")
    project.run("rebuild", expect=1).says("third", "nothing was changed")
    assert not (project.folder / ".trueup/state.db").exists()
    assert not list(project.folder.glob(".trueup/*restoring*"))
    (project.folder / "away.csv").rename(project.folder / "third.csv")
    project.run("rebuild")
    project.mended([ANN, BEN, CLEO])


def test_a_state_in_postgresql_is_made_anew(tmp_path: Path, postgres_url: str) -> None:
    project = NearProject(tmp_path, state=postgres_url)
    project.add_sqlite("crm", (ANN, BEN, CLEO))
    project.add_csv("list")
    project.configure()
    assert project.run("rebuild", "--json").body["entities"]["customer"]["systems"]["crm"] == {"linked": 3, "alone": 3}
    assert project.rows("list") == []
    project.sync()
    assert "trueup_replaced_" in project.run("rebuild", "--replace", "--json").body["aside"]
    project.mended([ANN, BEN, CLEO])
