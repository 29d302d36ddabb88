"""Records that are the same: found, explained, made one, asked about, synced, and undone; as a person does it, on real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trueup
from tests.system.cli.tool import Project
from trueup.core.unite import unite as united
from trueup.errors import UsageError
from trueup.runtime import unite
from trueup.setup.dedupe import Wanted, apply
from trueup.setup.linkage.model import splink_at_hand

CONFIG = """\
systems:
  crm:   {connector: sqlite, path: crm.db}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    precedence: [crm, sheet]
    fields:
      name:   {type: text}
      email:  {type: text, clean: [trim, lower]}
      phone:  {type: text, clean: [{phone: GB}]}
      born:   {type: date}
      points: {type: integer, conflict: {merge: max}}
    mappings:
      crm:   {object: contacts, key: id, fields: {name: name, email: email, phone: phone, born: born, points: points}}
      sheet: {key: No, fields: {name: Name, email: E-mail, phone: Phone, born: Born}}
"""
TABLE = "CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, born TEXT, points INTEGER)"
PEOPLE = [
    (1, "Ada O'Hara", "ada@example.com", "+44 20 7946 0101", "1985-12-10", 5),
    (2, "Ada O'Harra", "ada.o@example.org", "+44 20 7946 0101", "1985-12-10", 9),
    (3, "Ben Ali", "ben@example.com", "+44 20 7946 0122", "1990-01-01", 1),
    (4, "דנה לוי", "dana@example.com", "+972 3 555 0106", "1988-03-03", 4),
    (5, "Cy 👩‍💻 Young", "cy@example.com", "+44 20 7946 0155", "1970-05-05", 2),
]
SHEET = """\
No,Name,E-mail,Phone,Born
001,Ben Ali,ben@work.example.net,020 7946 0122,1990-01-01
002,דנה לוי,dana.l@example.net,,1988-03-03
003,Cyril Young,,020 7946 0155,
"""


def project_in(folder: Path, config: str = CONFIG, sheet: str = SHEET, people: Any = PEOPLE) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", config)
    project.write("customers.csv", sheet)
    project.sql(TABLE)
    for person in people:
        project.sql("INSERT INTO contacts VALUES (?, ?, ?, ?, ?, ?)", person)
    return project


def keys(found: Any) -> list[set[str]]:
    """The rows of each group."""
    return [{f"{system}:{key}" for one in group["records"] for system, key in one["keys"].items()} for group in found["groups"]]


def contacts(project: Project) -> list[tuple[Any, ...]]:
    return project.sql("SELECT * FROM contacts ORDER BY id")


def test_before_anything_is_synced_the_plan_tells_and_changes_nothing(tmp_path):
    project = project_in(tmp_path)
    before = project.files(), contacts(project), project.read("customers.csv")
    found = project.trueup("dedupe", "customer", "--json", "--html", "found.html").expect(0).json
    assert "Ada O&#x27;Hara" in project.read("found.html")
    (tmp_path / "found.html").unlink()
    assert found["first"]
    assert found["run"] is None
    assert {frozenset(group) for group in keys(found)} == {
        frozenset({"crm:1", "crm:2"}),
        frozenset({"crm:3", "sheet:001"}),
        frozenset({"crm:4", "sheet:002"}),
    }
    ben = next(group for group in found["groups"] if {"crm": "3"} in [one["keys"] for one in group["records"]])
    because = {item["field"]: item for item in ben["pairs"][0]["because"]}
    assert because["phone"]["is"] == because["born"]["is"] == "the same"
    assert because["email"]["bits"] < 0 < because["born"]["bits"]
    (question,) = found["questions"]
    assert {"crm": "5"} in [one["keys"] for one in question["records"]]
    assert question["why"], "what a household shares makes nobody the same"
    assert (project.files(), contacts(project), project.read("customers.csv")) == before


def test_from_first_contact_to_undo(tmp_path):
    project = project_in(tmp_path)
    before = contacts(project)
    done = project.trueup("dedupe", "customer", "--apply", "--json").expect(0).json
    assert (done["united"], done["doubles"], done["asked"]) == (3, 1, 1)
    assert contacts(project) == before, "nothing is written but to the state"
    waiting = {f"{item['system']}:{item['key']}": item for item in project.trueup("matches", "--json").expect(0).json}
    assert waiting.keys() == {"crm:2", "sheet:003"}
    assert waiting["sheet:003"]["why"].startswith("may be the same as another record")

    project.trueup("sync").expect(0)
    rows = {row[0]: row for row in contacts(project)}
    assert rows.keys() == {1, 2, 3, 4, 5}, "no row was made twice, and whoever is asked about is made nowhere"
    assert rows[1][5] == 9, "the field's own rule: the largest"
    assert rows[2] == PEOPLE[1], "a duplicate is left alone"
    assert "ben@example.com" in project.read("customers.csv")
    assert "work.example.net" not in project.read("customers.csv")
    project.trueup("verify").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []
    told = project.trueup("record", "customer", "crm:1").expect(0).out
    assert "took in another record" in told
    assert project.trueup("dedupe", "customer", "--json").expect(0).json["groups"] == []

    undone = project.trueup("undo", str(done["run"]), "--json").expect(0).json["undo"]
    assert (undone["records"], undone["refused"]) == (3, [])
    project.trueup("sync").expect(0)
    rows = {row[0]: row for row in contacts(project)}
    assert rows[1][1:] == PEOPLE[0][1:]
    assert rows[2] == PEOPLE[1]
    assert "ben@work.example.net" in project.read("customers.csv"), "each record has its own values again"
    assert {item["system"] for item in project.trueup("matches", "--json").expect(0).json} == {"sheet"}
    project.trueup("verify").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


@pytest.mark.slow
def test_a_person_answers(tmp_path):
    project = project_in(tmp_path)
    project.trueup("dedupe", "customer", "--apply").expect(0)
    (number,) = [str(item["id"]) for item in project.trueup("matches", "--json").expect(0).json if item["system"] == "sheet"]
    cy = project.trueup("record", "customer", "crm:5", "--json").expect(0).json["id"]
    project.trueup("matches", "link", number, "--to", str(cy)).expect(0)
    project.trueup("sync").expect(0)
    held = project.trueup("record", "customer", str(cy), "--json").expect(0).json
    assert {name: one["key"] for name, one in held["systems"].items()} == {"crm": "5", "sheet": "003"}
    assert "Cy 👩‍💻 Young" in project.read("customers.csv")
    project.trueup("verify").expect(0)
    # and takes it back: the row is a record of its own, and nobody asks again
    project.trueup("matches", "unlink", "sheet:003").expect(0)
    number = next(str(item["id"]) for item in project.trueup("matches", "--json").expect(0).json if item["key"] == "003")
    project.trueup("matches", "link", number, "--new").expect(0)
    project.trueup("sync").expect(0)
    found = project.trueup("dedupe", "customer", "--json").expect(0).json
    assert not [one for one in found["groups"] + found["questions"] if {"sheet": "003"} in [item["keys"] for item in one["records"]]]


@pytest.mark.slow
def test_two_that_are_told_apart_are_not_asked_about_again(tmp_path):
    project = project_in(tmp_path)
    project.trueup("dedupe", "customer", "--apply").expect(0)
    number = next(str(item["id"]) for item in project.trueup("matches", "--json").expect(0).json if item["system"] == "sheet")
    project.trueup("matches", "link", number, "--new").expect(0)
    project.trueup("sync").expect(0)
    assert len(contacts(project)) == 6, "it is a record of its own, in every system"
    assert project.trueup("dedupe", "customer", "--json").expect(0).json["questions"] == []
    project.trueup("verify").expect(0)


@pytest.mark.slow
def test_what_somebody_edited_since_is_not_undone(tmp_path):
    project = project_in(tmp_path)
    run = project.trueup("dedupe", "customer", "--apply", "--json").expect(0).json["run"]
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Benjamin Ali' WHERE id = 3")
    project.trueup("sync").expect(0)
    undone = project.trueup("undo", str(run), "--json").expect(3).json["undo"]
    assert undone["records"] == 2
    (refused,) = undone["refused"]
    assert "matches unlink" in refused["reason"]
    assert "Benjamin Ali" in project.read("customers.csv")
    project.trueup("sync").expect(0)
    project.trueup("verify").expect(0)


@pytest.mark.slow
def test_orders_follow_the_customer_that_stays(tmp_path):
    config = CONFIG.replace("entities:", "  books: {connector: sqlite, path: books.db}\nentities:", 1)
    config += """\
      books: {object: people, key: id, fields: {name: name, email: email, phone: phone, born: born}}
  order:
    match: [[number]]
    fields: {number: {type: text}, customer: {type: reference, entity: customer}}
    mappings:
      crm:   {object: orders, key: id, fields: {number: number, customer: contact}}
      books: {object: orders, key: id, fields: {number: number, customer: person}}
"""
    project = project_in(tmp_path, config)
    project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, contact INTEGER)")
    project.sql("INSERT INTO orders VALUES (1, 'A-1', 1), (2, 'A-2', 2)")
    project.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, born TEXT)", database="books.db")
    project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, person INTEGER)", database="books.db")
    run = project.trueup("dedupe", "customer", "--apply", "--json").expect(0).json["run"]
    project.trueup("sync").expect(0)
    ada = project.sql("SELECT id FROM people WHERE email = 'ada@example.com'", database="books.db")
    assert len(ada) == 1
    project.sql("INSERT INTO orders VALUES (3, 'A-3', 2)")  # by the duplicate's number
    project.trueup("sync").expect(0)
    assert project.sql("SELECT number, person FROM orders ORDER BY number", database="books.db") == [
        (f"A-{n}", ada[0][0]) for n in (1, 2, 3)
    ]
    assert project.sql("SELECT number, contact FROM orders ORDER BY id") == [("A-1", 1), ("A-2", 2), ("A-3", 2)]
    project.trueup("verify").expect(0)
    project.trueup("undo", str(run)).expect(0)
    project.trueup("sync").expect(0)
    project.trueup("sync").expect(0)
    people = dict(project.sql("SELECT id, email FROM people", database="books.db"))
    placed = project.sql("SELECT number, person FROM orders ORDER BY number", database="books.db")
    assert [(number, people[person]) for number, person in placed] == [
        ("A-1", "ada@example.com"), ("A-2", "ada.o@example.org"), ("A-3", "ada.o@example.org")
    ]  # fmt: skip
    project.trueup("verify").expect(0)


@pytest.mark.slow
def test_very_many_orders_of_a_customer_that_is_taken_in_are_nobody_s_edits(tmp_path):
    """Each of them refers to another record from then on: no guard holds that, and what somebody edits beside it is held as ever."""
    config = CONFIG.replace("entities:", "  books: {connector: sqlite, path: books.db}\nentities:", 1)
    config += """\
  order:
    match: [[number]]
    fields: {number: {type: text}, note: {type: text, source_of_truth: crm}, customer: {type: reference, entity: customer}}
    guard: {updates: "5%", at_least: 5}
    mappings:
      crm:   {object: orders, key: id, fields: {number: number, note: note, customer: contact}}
      books: {object: orders, key: id, fields: {number: number, note: note}}
"""
    project = project_in(tmp_path, config)
    project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, note TEXT, contact INTEGER)")
    for number in range(60):
        project.sql("INSERT INTO orders VALUES (?, ?, 'as agreed', ?)", (number, f"A-{number}", 2 if number < 50 else 3))
    project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, note TEXT)", database="books.db")
    project.trueup("sync").expect(0)
    run = project.trueup("dedupe", "customer", "--apply", "--json").expect(0).json["run"]
    assert run is not None
    project.sql("UPDATE orders SET note = 'as agreed by telephone' WHERE id < 3")
    told = project.trueup("sync", "--json").expect(0).json["entities"]["order"]
    assert told["held"] == 0
    assert told["systems"]["books"]["delivered"]["updated"] == 3
    named = project.trueup("record", "order", "crm:0", "--json").expect(0).json["golden"]["customer"]
    ada = project.trueup("record", "customer", "crm:1", "--json").expect(0).json["id"]
    assert str(named) == str(ada)
    assert project.trueup("holds", "--json").expect(0).json == []
    project.sql("UPDATE orders SET contact = 3, note = 'moved' WHERE id < 40")
    project.trueup("sync").expect(4)
    (held,) = project.trueup("holds", "--json").expect(0).json
    assert (held["system"], held["kind"], held["counts"]["count"]) == ("crm", "updates", 40)


def test_only_one_system(tmp_path):
    project = project_in(tmp_path)
    found = project.trueup("dedupe", "customer", "--system", "crm", "--json").expect(0).json
    assert keys(found) == [{"crm:1", "crm:2"}]
    assert found["systems"] == ["crm"]


@pytest.mark.parametrize(
    ("args", "status", "word"),
    [
        (["nobody"], 2, "there is no entity 'nobody'"),
        (["customer", "--system", "shop"], 2, "no system 'shop'"),
        (["customer", "--review", "0.9", "--threshold", "0.5"], 2, "leave no room"),
        (["customer", "--threshold", "7"], 2, "between 0 and 1"),
        (["customer", "--html", "no/such/folder.html"], 2, "cannot be written"),
    ],
)
def test_bad_words(tmp_path, args, status, word):
    project = project_in(tmp_path)
    assert word in project.trueup("dedupe", *args).expect(status).err


def test_there_may_be_nothing_to_compare(tmp_path):
    config = """\
systems: {crm: {connector: sqlite, path: crm.db}, sheet: {connector: csv, path: customers.csv}}
entities:
  customer:
    fields: {points: {type: integer, conflict: {merge: add}}, name: {type: text}}
    mappings:
      crm:   {object: contacts, key: id, fields: {points: points, name: name}}
      sheet: {key: No, fields: {points: Points, name: Name}}
"""
    project = project_in(tmp_path, config, "No,Name,Points\n", [(1, None, None, None, None, 3), (2, None, None, None, None, 4)])
    found = project.trueup("dedupe", "customer", "--json").expect(0).json
    assert (found["records"], found["compared"], found["groups"]) == (2, {}, [])
    assert found["left_out"] == {"points": "is counted or collected", "name": "has no values"}
    assert "No duplicates were found" in project.trueup("dedupe", "customer").expect(0).out


def test_one_record_and_none(tmp_path):
    project = project_in(tmp_path, sheet="No,Name,E-mail,Phone,Born\n", people=PEOPLE[:1])
    assert "No duplicates were found" in project.trueup("dedupe", "customer").expect(0).out
    project.sql("DELETE FROM contacts")
    assert json.loads(project.trueup("dedupe", "customer", "--apply", "--json").expect(0).out)["records"] == 0


def test_a_system_that_cannot_be_read_is_said(tmp_path):
    project = project_in(tmp_path)
    (tmp_path / "customers.csv").unlink()
    ended = project.trueup("dedupe", "customer").expect(1)
    assert "customers.csv" in ended.err


def test_without_splink_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="splink") as raised:
        splink_at_hand()
    assert "trueup[dedupe]" in str(raised.value.hint)


@pytest.mark.slow
def test_broken_off_half_way_the_rest_is_done_by_the_next(tmp_path, monkeypatch):
    project = project_in(tmp_path)
    real, groups = united, []

    def breaks(*args: Any) -> Any:
        groups.append(args)
        if len(groups) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(unite, "GROUPS_AT_ONCE", 1)
    monkeypatch.setattr(unite, "unite", breaks)
    wanted = Wanted("customer")
    with trueup.open(tmp_path / "trueup.yaml") as workspace, pytest.raises(KeyboardInterrupt):
        apply(workspace, wanted)
    assert project.trueup("runs", "--json").expect(0).json[0]["status"] == "failed"
    with trueup.open(tmp_path / "trueup.yaml") as workspace:
        found = apply(workspace, wanted)
    assert (found.united, len(groups)) == (2, 4), "one of the three was done before"
    project.trueup("sync").expect(0)
    project.trueup("verify").expect(0)
    assert len(contacts(project)) == 5
