"""The configuration of a running company is changed: what nobody typed is told otherwise in silence, and edits stay edits."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.stories.project import Project, Result, Row, people

LOUD: tuple[Row, ...] = (
    ("ANN@example.org", "Ann", "1", "1980-01-31"),
    ("BEN@example.org", "Ben", "2", "1981-02-28"),
    ("cleo@example.org", "Cleo", "3", None),
)
NOTHING = {"created": 0, "updated": 0, "deleted": 0, "failed": 0, "pending": 0, "stale": 0}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.add_sqlite("crm", LOUD)
    made.add_csv("list")
    made.add_jsonl("feed", LOUD)
    made.configure()
    made.sync()
    return made


def silent(result: Result, *systems: str) -> None:
    """The run asked nobody anything, and wrote nothing."""
    assert result.code == 0
    entity = result.body["entities"]["customer"]
    assert entity["conflicts"] == {"opened": 0, "open": 0}
    assert entity["overruled"] == entity["held"] == entity["golden"]["updated"] == 0
    for name in systems or entity["systems"]:
        assert entity["systems"][name]["delivered"] == NOTHING, name
        assert entity["systems"][name]["observed"]["updated"] == 0, name


def agreed(project: Project, key: str, field: str) -> object:
    return project.run("record", "customer", key, "--json").body["golden"][field]


def test_a_field_is_cleaned_from_now_on(project: Project) -> None:
    before = {name: project.rows(name) for name in project.readers}
    project.fields["email"] = "{type: text, required: true, clean: [lower]}"
    project.configure()
    plan = project.run("plan", "--json")
    silent(plan)
    assert plan.body["changes"] == []
    assert plan.body["entities"]["customer"]["golden"]["reread"] == 2
    done = project.sync()
    silent(done)
    assert done.body["entities"]["customer"]["golden"]["reread"] == 2
    assert {name: project.rows(name) for name in project.readers} == before
    assert agreed(project, "crm:1", "email") == "ann@example.org"
    assert project.run("verify", "--json").body["entities"]["customer"]["agree"]
    again = project.sync("--full")
    silent(again)
    assert "reread" not in again.body["entities"]["customer"]["golden"]


def test_a_field_is_cleaned_with_the_state_and_a_system_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    project = Project(tmp_path, state=postgres_url)
    project.add_postgres("crm", postgres_url, LOUD)
    project.add_csv("list")
    project.configure()
    project.sync()
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.fields["email"] = "{type: text, required: true, clean: [lower]}"
    project.configure()
    done = project.sync()
    assert done.body["entities"]["customer"]["golden"]["reread"] == 2
    assert [done.system(name)["delivered"]["updated"] for name in ("crm", "list")] == [0, 1]
    assert project.rows("list") == [("ANN@example.org", "Anna", "1", "1980-01-31"), *LOUD[1:]]
    silent(project.sync("--full"))


def test_an_edit_beside_the_change_is_an_edit_and_nothing_else_moves(project: Project) -> None:
    project.sql("crm", "UPDATE customers SET name = 'ANNA' WHERE id = 1")
    project.write_csv("list", [LOUD[0], ("BEN@example.org", "Ben", "5", "1981-02-28"), LOUD[2]])
    project.fields["email"] = "{type: text, required: true, clean: [lower]}"
    project.fields["name"] = "{type: text, conflict: last_write_wins, clean: [upper]}"
    project.configure()
    done = project.sync()
    assert [done.system(name)["delivered"]["updated"] for name in ("crm", "list", "feed")] == [1, 1, 2]
    assert [done.system(name)["observed"]["updated"] for name in ("crm", "list", "feed")] == [1, 1, 0]
    assert project.rows("crm") == [
        ("ANN@example.org", "ANNA", "1", "1980-01-31"),
        ("BEN@example.org", "Ben", "5", "1981-02-28"),
        LOUD[2],
    ]
    silent(project.sync("--full"))


def test_a_new_row_finds_its_record_although_it_is_told_otherwise_now(project: Project) -> None:
    """The list gets a row for a customer whom the crm writes in another way, in the moment in which cleaning makes them the same."""
    project.sql("crm", "INSERT INTO customers (email, name, points, born) VALUES ('DORA@example.org', 'Dora', 4, NULL)")
    project.mappings["list"] += ", direction: read"
    project.mappings["feed"] += ", direction: read"
    project.configure()
    project.sync()
    project.write_csv("list", [*LOUD, ("dora@EXAMPLE.org", "Dora", "4", None)])
    project.fields["email"] = "{type: text, required: true, clean: [lower]}"
    project.configure()
    for _ in range(3):
        project.sync()
    assert project.sync().body["entities"]["customer"]["golden"]["total"] == 4
    assert len(project.rows("crm")) == 4


def test_a_system_that_cannot_be_reached_meanwhile_is_read_both_ways_when_it_is_back(project: Project) -> None:
    away = project.folder / "list.csv"
    away.rename(project.folder / "list.away")
    project.fields["email"] = "{type: text, required: true, clean: [lower]}"
    project.configure()
    done = project.sync(expect=3)
    assert done.system("crm")["delivered"] == done.system("feed")["delivered"] == NOTHING
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync(expect=3)
    (project.folder / "list.away").rename(away)
    back = project.sync()
    assert back.system("list")["delivered"] == NOTHING | {"updated": 1}
    assert back.body["entities"]["customer"]["overruled"] == 0
    assert project.rows("list")[0] == ("ANN@example.org", "Anna", "1", "1980-01-31")
    silent(project.sync("--full"))


def test_a_mass_of_values_is_told_otherwise_without_a_guard(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.add_sqlite("crm", [(email.upper(), *rest) for email, *rest in people(300) if email])
    project.add_csv("list")
    project.extra = 'guard: {updates: "10%", at_least: 5}'
    project.configure()
    project.sync()
    project.fields["email"] = "{type: text, required: true, clean: [lower]}"
    project.configure()
    done = project.sync()
    silent(done)
    assert done.body["entities"]["customer"]["golden"]["reread"] == 300


@pytest.mark.slow
def test_a_field_gets_another_type_and_back(tmp_path: Path) -> None:
    """Values that are no numbers wait while numbers are asked for; all others are told in the form of the type."""
    project = Project(tmp_path)
    project.add_sqlite("crm", [(*row[:2], f"00{row[2]}", row[3]) for row in LOUD], columns="email TEXT, name TEXT, points TEXT, born TEXT")
    project.add_csv("list")
    project.configure()
    project.sync()
    assert agreed(project, "crm:1", "points") == 1
    project.sql("crm", "UPDATE customers SET points = 'many' WHERE id = 3")
    project.sync(expect=3)
    project.fields["points"] = "{type: text, conflict: last_write_wins}"
    project.configure()
    done = project.sync()
    assert done.body["entities"]["customer"]["conflicts"]["opened"] == 0
    assert done.system("crm")["delivered"] == NOTHING
    assert done.system("list")["delivered"] == NOTHING | {"updated": 1}
    assert project.failures() == []
    assert [agreed(project, f"crm:{number}", "points") for number in (1, 2, 3)] == ["001", "002", "many"]
    assert [row[2] for row in project.rows("list")] == ["1", "2", "many"]
    silent(project.sync("--full"))
    project.fields["points"] = "{type: integer, conflict: {merge: add}}"
    project.configure()
    for _ in range(2):
        assert project.sync(expect=3).system("crm")["delivered"] == NOTHING
    assert [agreed(project, f"crm:{number}", "points") for number in (1, 2)] == [1, 2]
    project.sql("crm", "UPDATE customers SET points = points + 10 WHERE id = 1")
    project.sync(expect=3)
    assert [row[2] for row in project.rows("list")] == ["11", "2", "many"]
    project.sql("crm", "UPDATE customers SET points = 7 WHERE id = 3")
    project.write_csv("list", [(*row[:2], points, row[3]) for row, points in zip(LOUD, ("11", "2", "7"), strict=True)])
    project.sync()
    assert [row[2] for row in project.rows("crm")] == ["11", "002", "7"]


def test_the_time_zone_of_a_system_was_wrong(tmp_path: Path) -> None:
    """All its moments are others now: the records follow it, where the values came from it, and the other system keeps what it has."""
    project = Project(tmp_path)
    project.fields["born"] = "{type: datetime, conflict: last_write_wins}"
    project.add_sqlite("crm", [("ann@example.org", "Ann", "1", "2020-07-01T10:00:00")])
    project.add_csv("list")
    project.configure()
    project.sync()
    held = project.rows("list")
    project.systems["crm"] = "{connector: sqlite, path: crm.db, timezone: Europe/London}"
    project.configure()
    silent(project.sync())
    assert agreed(project, "crm:1", "born") == "2020-07-01T09:00:00Z"
    assert project.rows("list") == held


def test_words_that_were_mapped_wrongly(tmp_path: Path) -> None:
    """What the records say follows the system from which it came; the others keep what they hold, until somebody edits it."""
    project = Project(tmp_path)
    project.fields["born"] = "{type: text, conflict: last_write_wins}"
    project.add_sqlite("crm", [("ann@example.org", "Ann", "1", "A"), ("ben@example.org", "Ben", "2", "B")])
    project.add_csv("list")
    mapped = project.mappings["crm"]
    project.mappings["crm"] = mapped.replace("born: born", "born: {column: born, values: {active: B, closed: A}}")
    project.configure()
    project.sync()
    assert [row[3] for row in project.rows("list")] == ["closed", "active"]
    project.mappings["crm"] = mapped.replace("born: born", "born: {column: born, values: {active: A, closed: B}}")
    project.configure()
    assert project.run("plan", "--json").body["entities"]["customer"]["apart"] == 2
    done = project.sync()
    silent(done)
    assert done.body["entities"]["customer"]["apart"] == 2
    assert [agreed(project, f"crm:{number}", "born") for number in (1, 2)] == ["active", "closed"]
    assert [row[3] for row in project.rows("list")] == ["closed", "active"], "nothing is written because a mapping changed"
    project.run("explain", "customer", "crm:1", "born").says("was not told when a mapping changed")
    project.sql("crm", "UPDATE customers SET born = 'A' WHERE id = 2")
    project.sync("--full")
    assert [row[3] for row in project.rows("list")] == ["closed", "active"], "what it holds already need not be written"
    found = project.run("verify", "--json", expect=3).body["entities"]["customer"]
    assert (found["systems"]["list"]["differ"], found["systems"]["crm"]["differ"]) == (1, 0)
    assert project.run("verify", "--repair", "--json").body["entities"]["customer"]["agree"]
    assert [row[3] for row in project.rows("list")] == ["active", "active"]
    quiet = project.sync("--full")
    silent(quiet)
    assert "apart" not in quiet.body["entities"]["customer"]


def test_cleaned_values_that_go_back_are_written_and_no_others(project: Project) -> None:
    project.fields["email"] = "{type: text, required: true, clean: [lower], write_back: true}"
    project.configure()
    plan = project.run("plan", "--json")
    assert [plan.system(name)["delivered"]["updated"] for name in ("crm", "list", "feed")] == [2, 2, 2]
    project.sync()
    assert [row[0] for row in project.rows("crm")] == ["ann@example.org", "ben@example.org", "cleo@example.org"]
    silent(project.sync("--full"))


def test_what_a_system_missed_while_it_was_only_read_and_away_is_due_when_it_may_be_written_again(project: Project) -> None:
    """Nobody could read it meanwhile, so nothing about it was learned: that it was not written is known all the same."""
    feed = project.folder / "feed.jsonl"
    mapping = project.mappings["feed"]
    project.mappings["feed"] = f"direction: read, {mapping}"
    project.configure()
    feed.rename(project.folder / "away")
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync(expect=3)
    (project.folder / "away").rename(feed)
    project.mappings["feed"] = mapping
    project.configure()
    assert project.run("plan", "--json").system("feed")["delivered"]["updated"] == 1
    project.sync()
    assert project.rows("feed") == project.rows("crm")
    silent(project.sync("--full"))


@pytest.mark.parametrize("first", ["one record", "everything"])
def test_a_field_that_comes_back_to_a_mapping_takes_nothing_from_the_others(tmp_path: Path, first: str) -> None:
    """What moved while a system did not show the field was never seen there: its empty column empties nothing."""
    project = Project(tmp_path)
    project.add_sqlite("crm", [("ann@example.org", "Ann", "1", None), ("ben@example.org", "Ben", "2", None)])
    project.add_sqlite("shop")
    whole = project.mappings["shop"]
    project.configure()
    project.sync()
    project.mappings["shop"] = whole.replace(", born: born", "")
    project.configure()
    project.sync()
    project.sql("crm", "UPDATE customers SET born = '1980-01-31'")
    project.sync()
    project.mappings["shop"] = whole
    project.configure()
    if first == "one record":  # which takes the mapping up for this one alone
        project.sync("--record", "customer", "crm:1")
    project.sync()
    assert {row[3] for row in project.rows("crm")} == {row[3] for row in project.rows("shop")} == {"1980-01-31"}
    assert agreed(project, "crm:2", "born") == "1980-01-31"


def test_a_field_that_comes_back_while_its_system_was_away_takes_nothing_from_the_others(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.add_sqlite("crm", [("ann@example.org", "Ann", "1", None), ("ben@example.org", "Ben", "2", None)])
    project.add_csv("list")
    shop = project.add_sqlite("shop")
    whole = project.mappings["shop"]
    project.configure()
    project.sync()
    away = shop.rename(tmp_path / "away.db")
    project.mappings["shop"] = whole.replace(", born: born", "")
    project.configure()
    project.sql("crm", "UPDATE customers SET born = '1980-01-31'")
    project.sync(expect=3)
    project.mappings["shop"] = whole
    project.configure()
    away.rename(shop)
    project.sync()
    assert {row[3] for name in ("crm", "list", "shop") for row in project.rows(name)} == {"1980-01-31"}
