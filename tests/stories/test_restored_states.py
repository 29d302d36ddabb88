"""A state comes back from a backup: it is older than the systems, and replays nothing over what happened since."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.project import ANN, BEN, CLEO, PRIVATE, NearProject, Project, Result, Row, people
from trueup.reports.runs import attention

NOTHING = {"created": 0, "updated": 0, "deleted": 0, "failed": 0, "pending": 0, "stale": 0}
DELETES = "deletes: {from: [crm, list], action: propagate}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = NearProject(tmp_path, extra=DELETES)
    made.add_sqlite("crm", (ANN, BEN, CLEO))
    made.add_csv("list")
    made.configure()
    made.sync()
    return made


def back_up(project: Project) -> str:
    path: str = project.run("backup", "--json").body["file"]
    return path


def lose(project: Project) -> None:
    """The state is lost; its backups are not."""
    for path in project.folder.glob(".trueup/state.db*"):
        path.unlink()


def write_list(project: Project, rows: list[Row]) -> None:
    project.write_csv("list", rows)


def quiet(result: Result) -> None:
    """Nothing was written anywhere, and nobody is asked anything."""
    entity = result.body["entities"]["customer"]
    assert entity["conflicts"] == {"opened": 0, "open": 0}
    assert entity["overruled"] == entity["held"] == 0
    for name, part in entity["systems"].items():
        assert part["delivered"] == NOTHING, name


def golden(project: Project, key: str) -> dict[str, object]:
    found: dict[str, object] = project.run("record", "customer", key, "--json").body["golden"]
    return found


def wait_then_arrive(project: Project, edit: str, *since: str, lost: bool) -> None:
    """An edit in crm waits for the list when the backup is taken, and arrives there before it is put back."""
    project.run("pause", "list")
    project.sql("crm", edit)
    project.sync()
    kept = back_up(project)
    project.run("resume", "list")
    project.sql("crm", *since)
    project.sync()
    if lost:
        lose(project)
    project.run("restore", kept)
    project.run("resume", "list")


LOST = pytest.mark.parametrize("lost", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["state lost", "state there"])


# ---------------------------------------------------------------- what happened since


@LOST
def test_what_all_systems_agree_on_is_taken_as_it_is(project: Project, lost: bool) -> None:
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET name = 'Anna', points = points + 5 WHERE id = 1")
    project.sync()
    write_list(project, [("ann@example.org", "Anna", "6", "1980-01-31"), ("ben@example.org", "Benjamin", "9", "1981-02-28"), CLEO])
    project.sync()
    before = {name: project.rows(name) for name in project.readers}
    if lost:
        lose(project)
    project.run("restore", kept)
    planned = project.run("plan", "--json")
    quiet(planned)
    assert planned.body["changes"] == []
    done = project.sync()
    quiet(done)
    assert "restored from a backup" in str(done.body["entities"]["customer"]["notes"])
    assert {name: project.rows(name) for name in project.readers} == before
    assert golden(project, "crm:1")["points"] == 6
    assert golden(project, "list:2") == {"email": "ben@example.org", "name": "Benjamin", "points": 9, "born": "1981-02-28"}
    again = project.sync()
    quiet(again)
    assert "notes" not in again.body["entities"]["customer"]
    project.sql("crm", "UPDATE customers SET points = points + 1 WHERE id = 1")
    project.mended([("ann@example.org", "Anna", "7", "1980-01-31"), ("ben@example.org", "Benjamin", "9", "1981-02-28"), CLEO])


@LOST
def test_a_value_that_went_there_and_back_is_not_replayed(project: Project, lost: bool) -> None:
    project.fields["name"] = "{type: text}"
    project.configure()
    project.sync()
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    project.sql("crm", "UPDATE customers SET name = 'Ann' WHERE id = 1")  # nobody has heard of this one yet
    if lost:
        lose(project)
    project.run("restore", kept)
    done = project.sync()
    assert done.body["entities"]["customer"]["conflicts"]["open"] == 1
    assert done.system("crm")["delivered"]["updated"] == done.system("list")["delivered"]["updated"] == 0
    (asked,) = project.run("conflicts", "--json").body
    assert {(item["system"], item["value"]) for item in asked["candidates"]} == {("crm", "Ann"), ("list", "Anna")}
    project.run("conflicts", "resolve", str(asked["id"]), "--take", "crm")
    project.mended([ANN, BEN, CLEO])


def test_an_edit_that_nobody_has_heard_of_is_one_where_the_state_there_tells_so(project: Project) -> None:
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    project.sql("crm", "UPDATE customers SET name = 'Benjamin', points = points + 3 WHERE id = 2")
    project.run("restore", kept)
    done = project.sync()
    assert done.body["entities"]["customer"]["conflicts"]["open"] == 0
    assert done.system("list")["delivered"]["updated"] == 1
    project.mended([("ann@example.org", "Anna", "1", "1980-01-31"), ("ben@example.org", "Benjamin", "5", "1981-02-28"), CLEO])


@LOST
def test_a_counter_that_moved_in_two_systems_is_asked_about(project: Project, lost: bool) -> None:
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET points = points + 5 WHERE id = 1")
    project.sync()
    project.sql("crm", "UPDATE customers SET points = points + 2 WHERE id = 1")
    if lost:
        lose(project)
    project.run("restore", kept)
    done = project.sync()
    assert done.body["entities"]["customer"]["conflicts"]["open"] == 1
    (asked,) = project.run("conflicts", "--json").body
    assert {(item["system"], item["value"]) for item in asked["candidates"]} == {("crm", 8), ("list", 6)}
    project.run("conflicts", "resolve", str(asked["id"]), "--take", "crm")
    project.mended([("ann@example.org", "Ann", "8", "1980-01-31"), BEN, CLEO])


@LOST
def test_a_delivery_that_waited_then_and_arrived_since_counts_once(project: Project, lost: bool) -> None:
    wait_then_arrive(project, "UPDATE customers SET points = points + 5 WHERE id = 1", lost=lost)
    quiet(project.sync())
    assert golden(project, "crm:1")["points"] == 6
    project.agree([("ann@example.org", "Ann", "6", "1980-01-31"), BEN, CLEO])


@LOST
def test_the_source_of_truth_is_believed_as_it_is_now(project: Project, lost: bool) -> None:
    project.fields["name"] = "{type: text, source_of_truth: crm}"
    project.configure()
    project.sync()
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    project.sql("crm", "UPDATE customers SET name = 'Annabel' WHERE id = 1", "UPDATE customers SET name = 'Benny' WHERE id = 2")
    if lost:
        lose(project)
    project.run("restore", kept)
    project.mended([("ann@example.org", "Annabel", "1", "1980-01-31"), ("ben@example.org", "Benny", "2", "1981-02-28"), CLEO])


@LOST
def test_a_record_made_since_is_linked_again(project: Project, lost: bool) -> None:
    kept = back_up(project)
    dora: Row = ("dora@example.org", "Dora", "4", None)
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dora@example.org', 'Dora', 4)")
    project.sync()
    if lost:
        lose(project)
    project.run("restore", kept)
    quiet(project.sync())
    project.agree([ANN, BEN, CLEO, dora])
    quiet(project.sync("--full"))


@LOST
def test_a_row_that_has_another_key_since_is_counted_once(project: Project, lost: bool) -> None:
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET id = 11, points = points + 5 WHERE id = 1")
    project.sync()
    if lost:
        lose(project)
    project.run("restore", kept)
    for _ in range(2):
        quiet(project.sync(expect={0, 3}))
    project.agree([("ann@example.org", "Ann", "6", "1980-01-31"), BEN, CLEO])


@LOST
def test_an_edit_of_a_record_made_since_is_asked_about(project: Project, lost: bool) -> None:
    """Nobody had heard of it, and the backup does not know the record: no rule can tell it from what was agreed before."""
    kept = back_up(project)
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dora@example.org', 'Dora', 4)")
    project.sync()
    write_list(project, [ANN, BEN, CLEO, ("dora@example.org", "Dorothy", "4", None)])
    if lost:
        lose(project)
    project.run("restore", kept)
    done = project.sync()
    assert done.system("crm")["delivered"]["updated"] == done.system("list")["delivered"]["updated"] == 0
    (asked,) = project.run("conflicts", "--json").body
    assert {(item["system"], item["value"]) for item in asked["candidates"]} == {("crm", "Dora"), ("list", "Dorothy")}
    project.run("conflicts", "resolve", str(asked["id"]), "--take", "list")
    project.mended([ANN, BEN, CLEO, ("dora@example.org", "Dorothy", "4", None)])


@LOST
def test_a_record_that_was_on_its_way_is_not_made_twice(project: Project, lost: bool) -> None:
    """What it is recognised by has changed since, too."""
    new = "INSERT INTO customers (email, name, points) VALUES ('dora@example.org', 'Dora', 4)"
    wait_then_arrive(project, new, "UPDATE customers SET email = 'dora@home.example' WHERE name = 'Dora'", lost=lost)
    for _ in range(3):
        project.sync(expect={0, 3})
    project.agree([ANN, BEN, CLEO, ("dora@home.example", "Dora", "4", None)])


@LOST
def test_a_record_deleted_since_stays_deleted(project: Project, lost: bool) -> None:
    kept = back_up(project)
    project.sql("crm", "DELETE FROM customers WHERE id = 2")
    project.sync()
    project.agree([ANN, CLEO])
    if lost:
        lose(project)
    project.run("restore", kept)
    done = project.sync()
    quiet(done)
    assert done.body["entities"]["customer"]["golden"]["total"] == 2
    project.agree([ANN, CLEO])


@LOST
def test_no_delete_is_believed_from_the_first_reading(project: Project, lost: bool) -> None:
    kept = back_up(project)
    project.sql("crm", "DELETE FROM customers WHERE id = 2")  # or it was made again in the list since: nobody knows
    if lost:
        lose(project)
    project.run("restore", kept)
    done = project.sync(expect=3)
    assert done.system("list")["delivered"] == done.system("crm")["delivered"] == NOTHING
    assert project.rows("list") == [ANN, BEN, CLEO]
    assert (done.body["entities"]["customer"]["missing"], done.body["entities"]["customer"]["unbelieved"]) == (1, 1)
    (said,) = attention(done.body)
    assert said.startswith("customer: 1 row vanished, and may never have been there")
    assert "deletes:" not in said
    project.sync()
    assert project.rows("crm") == [ANN, CLEO]
    project.sql("crm", "DELETE FROM customers WHERE id = 3")  # from now on they are
    project.sync()
    assert project.rows("list") == [ANN, BEN]


@LOST
@pytest.mark.parametrize("alike", [True, False], ids=["alike", "one of them edited since"])
def test_rows_that_were_made_again_under_other_keys_count_once(project: Project, lost: bool, alike: bool) -> None:
    """Everything was imported anew since the backup, after a counter had moved: what both systems agree on is nobody's edit."""
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET points = points + 5")
    project.sync()
    project.sql("crm", "UPDATE customers SET id = id + 100")
    rows = [(11, "ann@example.org", "Ann", "6", "1980-01-31"), (12, "ben@example.org", "Ben", "7", "1981-02-28")]
    (project.folder / "list.csv").write_text(
        "id,email,name,points,born,private\n"
        + "".join(",".join(map(str, [*row, PRIVATE])) + "\n" for row in [*rows, (13, "cleo@example.org", "Cleo", "8", "")]),
        encoding="utf-8",
    )
    if not alike:
        project.sql("crm", "UPDATE customers SET points = 9 WHERE id = 101")
    if lost:
        lose(project)
    project.run("restore", kept)
    before = {name: project.rows(name) for name in project.readers}
    done = project.sync()
    assert {name: project.rows(name) for name in project.readers} == before
    assert [item["field"] for item in project.run("conflicts", "--json").body] == ([] if alike else ["points"])
    assert golden(project, "crm:102")["points"] == 7
    if alike:
        quiet(done)
        project.sql("crm", "UPDATE customers SET points = points + 1 WHERE id = 101")  # from now on it counts
    else:
        (asked,) = project.run("conflicts", "--json").body
        assert {(item["system"], item["value"]) for item in asked["candidates"]} == {("crm", 9), ("list", 6)}
        project.run("conflicts", "resolve", str(asked["id"]), "--take", "crm")
    project.mended(
        [("ann@example.org", "Ann", "7" if alike else "9", "1980-01-31"), *[row[1:] for row in rows[1:]], (*CLEO[:2], "8", None)]
    )


@LOST
def test_a_row_that_was_still_to_be_deleted_is_left_to_a_person(project: Project, lost: bool) -> None:
    project.run("pause", "list")
    project.sql("crm", "DELETE FROM customers WHERE id = 2")
    project.sync()
    kept = back_up(project)
    project.run("resume", "list")
    write_list(project, [ANN, ("ben@example.org", "Ben is back", "2", "1981-02-28"), CLEO])
    project.sync()
    before = {name: project.rows(name) for name in project.readers}
    if lost:
        lose(project)
    project.run("restore", kept)
    project.run("resume", "list")
    done = project.sync(expect={0, 3})
    for name in project.readers:
        assert done.system(name)["delivered"]["deleted"] == done.system(name)["delivered"]["created"] == 0
        assert project.rows(name) == before[name]
    (row,) = project.run("matches", "--json").body
    assert row["system"] == "list"
    project.run("matches", "link", str(row["id"]), "--new")
    project.sync(expect={0, 3})
    project.sync()
    assert "Ben is back" in {name for _email, name, *_rest in project.rows("list")}


def test_without_match_rules_what_is_new_since_waits_for_a_person(project: Project) -> None:
    text = (project.folder / "trueup.yaml").read_text().replace("    match: [[email]]\n", "")
    (project.folder / "trueup.yaml").write_text(text)
    project.sync()
    kept = back_up(project)
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dora@example.org', 'Dora', 4)")
    project.sync()
    assert len(project.rows("list")) == 4
    lose(project)
    project.run("restore", kept)
    done = project.sync(expect={0, 3})
    assert done.system("crm")["delivered"]["created"] == done.system("list")["delivered"]["created"] == 0
    assert [(row["system"], row["key"]) for row in project.run("matches", "--json").body] == [("crm", "4"), ("list", "4")]
    project.sync(expect={0, 3})
    assert len(project.rows("list")) == len(project.rows("crm")) == 4


@LOST
def test_many_rows_that_moved_since_are_not_held_and_a_blanked_column_is(tmp_path: Path, lost: bool) -> None:
    project = NearProject(tmp_path, fields={name: text.replace("conflict: last_write_wins", "source_of_truth: crm") for name, text in
                                        {"email": "{type: text, required: true}", "name": "{type: text, conflict: last_write_wins}",
                                         "points": "{type: integer}", "born": "{type: date}"}.items()})  # fmt: skip
    project.add_sqlite("crm", people(100))
    project.add_csv("list")
    project.configure()
    project.sync()
    kept = back_up(project)
    project.sql("crm", "UPDATE customers SET name = name || '!'")
    project.sync(expect=4)
    (held,) = project.run("holds", "--json").body
    project.run("holds", "approve", str(held["id"]))
    project.sync()
    if lost:
        lose(project)
    project.run("restore", kept)
    done = project.sync()
    quiet(done)
    project.sql("crm", "UPDATE customers SET name = 'X'")
    assert project.sync(expect=4).system("list")["delivered"]["updated"] == 0
    lose(project)
    project.run("restore", kept)
    assert project.sync(expect=4).system("list")["delivered"]["updated"] == 0, "a restore is no way around the guard"


def test_nothing_is_written_before_every_system_was_read_again(project: Project) -> None:
    kept = back_up(project)
    project.fields["name"] = "{type: text, source_of_truth: crm}"
    project.configure()
    project.sync()
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    lose(project)
    project.run("restore", kept)
    project.add_csv("third")
    project.configure()
    (project.folder / "crm.db").rename(project.folder / "away.db")
    failed = project.run("sync", expect=1)
    failed.says("restored from a backup", "crm")
    assert ("ann@example.org", "Anna", "1", "1980-01-31") in project.rows("list")
    assert project.rows("third") == []
    (project.folder / "away.db").rename(project.folder / "crm.db")
    project.mended([("ann@example.org", "Anna", "1", "1980-01-31"), BEN, CLEO])


def test_an_open_conflict_that_was_settled_since_is_over(project: Project) -> None:
    project.fields["name"] = "{type: text}"
    project.configure()
    project.sync()
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    write_list(project, [("ann@example.org", "Annie", "1", "1980-01-31"), BEN, CLEO])
    project.sync()
    kept = back_up(project)
    (asked,) = project.run("conflicts", "--json").body
    project.run("conflicts", "resolve", str(asked["id"]), "--take", "list")
    project.sync()
    lose(project)
    project.run("restore", kept)
    quiet(project.sync())
    project.agree([("ann@example.org", "Annie", "1", "1980-01-31"), BEN, CLEO])
