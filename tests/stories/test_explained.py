"""Every reason for which something waits is named by `trueup explain`, with what to do about it; and so is whose word it was."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from tests.stories.project import ANN, BEN, PEOPLE, NearProject, people
from trueup.connectors.csv import CsvConnector
from trueup.reports.record_facts import WaitKind
from trueup.store import Store, sending

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"


@pytest.fixture
def project(tmp_path: Path) -> NearProject:
    """A database and a sheet that agree about three customers."""
    return synced(tmp_path)


def synced(folder: Path, **fields: str) -> NearProject:
    """A project after its first sync; `fields` says more about fields."""
    made = NearProject(folder)
    made.fields |= fields
    made.add_sqlite("crm", PEOPLE)
    made.add_csv("sheet", PEOPLE)
    made.configure()
    made.sync()
    return made


def story(project: NearProject, *words: str) -> dict[str, Any]:
    """`trueup explain customer … --json`."""
    found: dict[str, Any] = project.run("explain", "customer", *words, "--json").body
    return found


def waits(kind: str, project: NearProject, key: str, field: str, system: str, *says: str) -> str:
    """The delivery of a value waits for this reason, and text and JSON say so, with what to do. Returns the next step."""
    assert kind in get_args(WaitKind)
    told = story(project, key, field)["fields"][field]["waiting"][system]
    return checked(kind, told, project.run("explain", "customer", key, field).out, says)


def row_waits(kind: str, project: NearProject, key: str, system: str, *says: str) -> str:
    """The same of a whole row."""
    told = story(project, key)["systems"][system]["waiting"]
    return checked(kind, told, project.run("explain", "customer", key).out, says)


def checked(kind: str, told: dict[str, Any], text: str, says: tuple[str, ...]) -> str:
    assert told["kind"] == kind, told
    assert told["why"] in text
    for words in says:
        assert words in told["why"], told["why"]
    step: str = told["step"]
    assert step or kind == "nothing to write"
    if kind not in {"conflict", "held change", "next run"}:  # these are told in sentences of their own
        assert not step or step in text, f"{step!r} is not said in\n{text}"
    return step


def edit(project: NearProject, statement: str) -> None:
    project.sql("crm", statement)


# ---------------------------------------------------------------- what a person must settle


def test_a_conflict(tmp_path: Path) -> None:
    project = synced(tmp_path, name="{type: text}")
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.write_csv("sheet", [("ann@example.org", "Annie", "1", "1980-01-31"), *PEOPLE[1:]])
    project.sync()
    waits("conflict", project, "crm:1", "name", "sheet", "conflict 1")
    project.run("conflicts", "resolve", "1", "--take", "sheet")
    out = project.run("explain", "customer", "crm:1", "name").out
    assert re.search(r"name is “Annie”: a person \(\S+@\S+\) took the value of sheet", out)
    assert "crm said “Anna”" in out
    waits("next run", project, "crm:1", "name", "crm", "next `trueup sync`")
    assert story(project, "crm:1", "name")["fields"]["name"]["chain"][-2]["who"]


def test_a_change_that_hold_if_stopped(tmp_path: Path) -> None:
    project = synced(tmp_path, points='{type: integer, conflict: last_write_wins, hold_if: "incoming > base * 10"}')
    edit(project, "UPDATE customers SET points = 5000 WHERE id = 1")
    project.sync()
    waits("held change", project, "crm:1", "points", "crm", "conflict 1")
    asked = story(project, "crm:1", "points", "--expected", "5000")["fields"]["points"]["expected"]
    assert [item["what"] for item in asked["found"]][-1] == "asked"
    assert "hold_if" in asked["why"]


def test_a_parked_row(project: NearProject) -> None:
    project.run("matches", "unlink", "sheet:2")
    edit(project, "UPDATE customers SET name = 'Benno' WHERE id = 2")
    project.sync()
    step = row_waits("may be parked", project, "crm:2", "sheet", "a row there may be this record")
    assert "trueup matches link" in step
    about = project.run("explain", "customer", "crm:2").out
    assert re.search(r"a person \(\S+@\S+\) took sheet:2 from this record", about)
    number = project.run("matches", "--json").body[0]["id"]
    project.run("matches", "link", str(number), "--to", "crm:2")
    row_waits("may be parked", project, "crm:2", "sheet", "places row")
    project.sync()
    assert re.search(r"a person \(\S+@\S+\) said that sheet:2 is this record", project.run("explain", "customer", "crm:2").out)


def test_a_row_that_may_have_become_another_record(project: NearProject) -> None:
    project.write_csv("sheet", [("zoe@example.org", "Zoe", "90", "2001-01-01"), *PEOPLE[1:]])
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    step = waits("parked", project, "crm:1", "name", "sheet", "the row is parked")
    assert "--new" in step


# ---------------------------------------------------------------- what the system answered


def test_a_value_that_the_system_refuses(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE, columns="email TEXT, name TEXT CHECK (length(name) < 9), points INT, born TEXT")
    project.add_csv("sheet", PEOPLE)
    project.configure()
    project.sync()
    project.write_csv("sheet", [("ann@example.org", "Annabelle the Great", "1", "1980-01-31"), *PEOPLE[1:]])
    project.sync(expect=3)
    step = waits("rejected", project, "crm:1", "name", "crm", "did not take it", "CHECK")
    assert "trueup failures retry 1" in step


def test_a_reference_that_the_system_does_not_hold_yet(tmp_path: Path) -> None:
    project = two_entities(tmp_path)
    project.run("pause", "customer")
    project.sql("crm", "INSERT INTO people VALUES (2, 'Ben')", "UPDATE orders SET customer = 2 WHERE id = 1")
    project.sync()
    told = project.run("explain", "order", "crm:1", "customer", "--json").body["fields"]["customer"]["waiting"]["shop"]
    assert told["kind"] == "reference"
    assert "has no row in shop yet" in told["why"]
    assert told["step"] == "trueup explain customer 3"
    project.run(*told["step"].split()[1:])
    found = project.run("explain", "order", "crm:1", "customer", "--expected", "crm:2", "--json").body["fields"]["customer"]["expected"]
    assert found["found"][0]["what"] == "agreed"


def two_entities(folder: Path) -> NearProject:
    """Customers and orders that name them, in two databases."""
    project = NearProject(folder)
    for name in ("crm", "shop"):
        project.sql(
            name,
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, no TEXT, customer INT)",
        )
    project.sql("crm", "INSERT INTO people VALUES (1, 'Ann')", "INSERT INTO orders VALUES (1, 'A1', 1)")
    mapped = "{object: people, key: id, fields: {name: name}}"
    ordered = "{object: orders, key: id, fields: {no: no, customer: customer}}"
    (folder / "trueup.yaml").write_text(
        "systems:\n  crm: {connector: sqlite, path: crm.db}\n  shop: {connector: sqlite, path: shop.db}\n"
        f"entities:\n  customer:\n    match: [[name]]\n    fields: {{name: {{}}}}\n    mappings: {{crm: {mapped}, shop: {mapped}}}\n"
        "  order:\n    match: [[no]]\n    precedence: [crm, shop]\n    fields: {no: {}, customer: {type: reference, entity: customer}}\n"
        f"    mappings: {{crm: {ordered}, shop: {ordered}}}\n",
        encoding="utf-8",
    )
    project.sync()
    return project


def test_a_delivery_that_is_tried_again_later(project: NearProject) -> None:
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.run("pause", "sheet")
    project.sync()
    project.run("resume", "sheet")
    with Store.open(str(project.folder / ".trueup" / "state.db")) as store, store.write() as tx:
        tx.connection.exec_driver_sql(
            "INSERT INTO failure (entity, system, subject, key, golden_id, stage, field, reason, attempts, first_at, last_at, next_try_at)"
            " VALUES (1, 2, 'k1', '1', 1, 'write', '', 'the file is open elsewhere', 3, 1, 1, 4102444800000000)"
        )
    waits("retry", project, "crm:1", "name", "sheet", "the file is open elsewhere (3 times so far)", "tried again at 2100-01-01")


def test_a_delivery_that_is_on_its_way(project: NearProject) -> None:
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.run("pause", "sheet")
    project.sync()
    with Store.open(str(project.folder / ".trueup" / "state.db")) as store, store.write() as tx:
        frame = pl.DataFrame({"__op": [0], "__gid": [1], "__key": ["1"]})
        at = pl.Series(["2026-11-20T12:00:00Z"]).str.to_datetime(time_unit="us", time_zone="UTC")[0]
        sending.add(tx, "customer", "sheet", "update", sending.packed(frame), run=2, at=at)
    waits("on its way", project, "crm:1", "name", "sheet", "since 2026-11-20 12:00:00Z", "run 2 was interrupted")


def test_a_row_that_cannot_be_read(project: NearProject) -> None:
    project.write_csv("sheet", [("ann@example.org", "Ann", "1", "not a day"), *PEOPLE[1:]])
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync(expect=3)
    step = waits("unreadable", project, "crm:1", "name", "sheet", "not a day", "born")
    assert "mend the row 1 in sheet" in step
    asked = story(project, "crm:1", "name", "--expected", "Annie")["fields"]["name"]["expected"]
    assert asked["found"] == []
    assert "sheet: the row 1 cannot be read" in asked["why"]


# ---------------------------------------------------------------- what keeps a whole system


@pytest.mark.parametrize("what", ["sheet", "customer", "--all"])
def test_a_pause(project: NearProject, what: str) -> None:
    project.run("pause", what)
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dot@example.org', 'Dot', 1)")
    project.sync()
    assert waits("paused", project, "crm:1", "name", "sheet", "are paused").split()[:2] == ["trueup", "resume"]
    step = row_waits("paused", project, "crm:4", "sheet")
    project.run(*step.split()[1:])
    project.mended()


def test_a_pause_in_the_configuration(project: NearProject) -> None:
    project.systems["sheet"] = "{connector: csv, path: sheet.csv, paused: true}"
    project.configure()
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    assert "take `paused: true` of sheet out" in waits("paused", project, "crm:1", "name", "sheet")


def test_a_system_that_is_left_alone(project: NearProject) -> None:
    before = project.systems["sheet"]
    project.systems["sheet"] = "{connector: csv, path: sheet.csv, limits: {days: daily}}"
    project.configure()
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    planned = project.run("plan", "--json").body["entities"]["customer"]
    assert "sheet is left alone until" in planned["notes"][0]
    assert not any(planned["systems"]["sheet"]["observed"].values())
    done = project.sync()
    assert done.body["entities"]["customer"]["golden"]["updated"] == 1
    assert done.system("sheet")["delivered"]["updated"] == 0
    waits("resting", project, "crm:1", "name", "sheet", "left alone until")
    standing = project.run("status", "--json").body["entities"]["customer"]["systems"]
    assert (standing["sheet"]["pending"], standing["crm"]["left_alone_until"]) == (1, None)
    assert standing["sheet"]["left_alone_until"] is not None
    project.run("status").says("left alone until")
    project.systems["sheet"] = before
    project.configure()
    project.mended()


def test_where_every_system_is_left_alone_nothing_runs(project: NearProject) -> None:
    project.systems = {name: text.replace("{", "{limits: {days: daily}, ", 1) for name, text in project.systems.items()}
    project.configure()
    project.sync(expect=1).says("left alone until")


def test_a_system_that_was_left_out(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE)
    project.add_csv("sheet", PEOPLE)
    project.add_jsonl("feed", PEOPLE)
    project.configure()
    project.sync()
    (tmp_path / "sheet.csv").rename(tmp_path / "away.csv")
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync(expect=3)
    assert "trueup check" in waits("left out", project, "crm:1", "name", "sheet", "left out of run 2", "sheet.csv")
    said = story(project, "crm:1", "name", "--expected", "Annie")["fields"]["name"]["expected"]["why"]
    assert "sheet: it was left out of run 2" in said
    (tmp_path / "away.csv").rename(tmp_path / "sheet.csv")
    project.mended()


def test_a_state_that_was_put_back(project: NearProject) -> None:
    project.run("pause", "sheet")
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    project.run("resume", "sheet")
    project.run("backup", str(project.folder / "kept.trueup"))
    project.run("restore", str(project.folder / "kept.trueup"))
    waits("restored", project, "crm:1", "name", "sheet", "put back from a backup")
    project.mended()


def test_a_connector_that_cannot(project: NearProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CsvConnector, "caps", replace(CsvConnector.caps, creates=False, updates=False))
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dot@example.org', 'Dot', 1)")
    project.sync()
    waits("cannot", project, "crm:1", "name", "sheet", "the connector csv of sheet cannot change rows")
    assert "by hand in sheet" in row_waits("cannot", project, "crm:4", "sheet", "cannot make rows")


# ---------------------------------------------------------------- what the last run left


def test_a_limit(project: NearProject) -> None:
    edit(project, "UPDATE customers SET name = name || '!'")
    project.sync("--limit", "1")
    left = {row["key"]: row for row in project.run("sql", "SELECT * FROM links WHERE system = 'sheet'", "--json").body}
    assert left
    kinds = {key: story(project, f"crm:{key}", "name")["fields"]["name"]["waiting"].get("sheet", {}).get("kind") for key in ("1", "2", "3")}
    assert sorted(kinds.values(), key=str) == [None, "limit", "limit"]
    key = next(key for key, kind in kinds.items() if kind)
    assert waits("limit", project, f"crm:{key}", "name", "sheet", "--limit", "run 2") == "trueup sync"


def test_a_change_since_the_last_run_waits_for_the_next_one(tmp_path: Path) -> None:
    project = synced(tmp_path, name="{type: text}")
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.write_csv("sheet", [("ann@example.org", "Annie", "1", "1980-01-31"), *PEOPLE[1:]])
    project.sync("--limit", "1")
    project.run("conflicts", "resolve", "1", "--value", "Ann Marie")
    waits("next run", project, "crm:1", "name", "sheet")


def test_a_filter_that_keeps_a_new_row_out(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE)
    project.add_csv("sheet")
    project.mappings["sheet"] = project.mappings["sheet"].replace("key: id", "key: id, where: \"points <> '1'\"")
    project.configure()
    project.sync()
    step = row_waits("filter", project, "crm:1", "sheet", "outside of the mapping's filter (points <> '1')")
    assert "once its values are inside" in step
    assert "no row there: it is not made" in story(project, "crm:1", "name", "--expected", "Annie")["fields"]["name"]["expected"]["why"]


def test_a_row_that_left_the_filter(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE)
    project.add_csv("sheet", PEOPLE)
    project.mappings["sheet"] = project.mappings["sheet"].replace("key: id", "key: id, where: \"private <> 'out'\"")
    project.configure()
    project.secrets = []
    project.sync()
    sheet = tmp_path / "sheet.csv"
    lines = sheet.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[1] = lines[1].replace("PRIVATE-7f3a", "out")
    sheet.write_text("".join(lines), encoding="utf-8")
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    assert "inside of the filter again" in waits("outside", project, "crm:1", "name", "sheet", "outside of the mapping's filter")


def test_a_row_outside_of_the_filter_in_the_place_of_a_new_one(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", [ANN])
    project.add_csv("sheet", [ANN])
    project.mappings["sheet"] = project.mappings["sheet"].replace("key: id", "key: id, where: \"private = 'in'\", set: {private: in}")
    project.secrets = []
    project.configure()
    project.sync()
    assert "sheet:1" in row_waits("outsider", project, "crm:1", "sheet", "outside of the mapping's filter: 1")


def test_a_failure_that_was_dropped(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", columns="email TEXT, name TEXT CHECK (length(name) < 9), points INT, born TEXT")
    project.add_csv("sheet", [ANN, ("zoe@example.org", "Zoe Zoe Zoe Zoe", "3", None)])
    project.configure()
    project.sync(expect=3)
    row_waits("rejected", project, "sheet:2", "crm", "CHECK")
    project.run("failures", "drop", "1")
    step = row_waits("given up", project, "sheet:2", "crm", "dropped from the failures")
    project.run(*step.split()[1:], expect=3)
    row_waits("rejected", project, "sheet:2", "crm")


def test_nothing_that_could_be_written(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.fields |= {"nick": "{type: text}"}
    project.add_sqlite("crm", columns="email TEXT, name TEXT, points INT, born TEXT, nick TEXT")
    project.add_csv("sheet", [ANN])
    project.systems["hints"] = "{connector: jsonl, path: hints.jsonl}"
    project.mappings["hints"] = "key: id, fields: {nick: nick}"
    (tmp_path / "hints.jsonl").write_text('{"id": 7, "nick": "Annie"}\n', encoding="utf-8")
    project.mappings["sheet"] = project.mappings["sheet"].replace(", nick: nick", "")
    project.extra = "guard: off"
    project.configure()
    project.sync(expect={0, 3})
    told = story(project, "sheet:1")["systems"]["hints"]["waiting"]
    assert told["kind"] == "nothing to write"
    assert "nothing is agreed that could be written there" in told["why"]


def test_a_connector_that_must_be_read_completely(project: NearProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CsvConnector, "caps", replace(CsvConnector.caps, find=False))
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dot@example.org', 'Dot', 1)")
    project.sync("--record", "customer", "crm:4", expect={0, 3})
    with Store.open(str(project.folder / ".trueup" / "state.db")) as store, store.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM failure")
    assert row_waits("not read", project, "crm:4", "sheet", "a complete reading") == "trueup sync --full"
    project.mended()


def test_a_row_that_moved_while_it_was_written(project: NearProject) -> None:
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync("--limit", "0")
    with Store.open(str(project.folder / ".trueup" / "state.db")) as store, store.write() as tx:
        tx.connection.exec_driver_sql("INSERT INTO unsettled_key VALUES (1, 2, '1', 'read later than it was written', 1)")
    waits("looked at again", project, "crm:1", "name", "sheet", "read later than it was written")


# ---------------------------------------------------------------- guards


def test_held_edits_and_who_let_them_pass(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    many = people(60)
    project.add_sqlite("crm", many)
    project.add_csv("sheet", many)
    project.configure()
    project.sync()
    project.write_csv("sheet", [(email, f"{name}?", points, born) for email, name, points, born in many])
    edit(project, "UPDATE customers SET name = 'One' WHERE id = 1")
    project.sync(expect=4)
    waits("held", project, "crm:1", "name", "sheet", "a guard holds updates of sheet (hold 1)")
    said = story(project, "crm:2", "name", "--expected", "Customer 2?")["fields"]["name"]["expected"]
    assert said["found"] == []
    assert "a guard holds 60 updates" in said["why"]
    project.run("holds", "approve", "1")
    project.sync()
    told = story(project, "crm:2", "name")
    assert told["fields"]["name"]["value"] == "Customer 2?"
    assert [(word["decision"], word["kind"], word["id"]) for word in told["holds"]] == [("approved", "updates", 1)]
    out = project.run("explain", "customer", "crm:2", "name").out
    assert re.search(r"A guard had held updates of sheet then: a person \(\S+@\S+\) approved them on .* \(hold 1\)", out)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            "refuse",
            [r"sheet said “Customer 2\?”", "was overruled: a person refused the edits of sheet", r"a person \(\S+@\S+\) refused them"],
        ),
        ("leave", [r"sheet holds “Customer 2\?”: a person left both as they are", r"a person \(\S+@\S+\) left them"]),
    ],
)
def test_edits_that_a_person_did_not_let_cross(answer: str, told: list[str], tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    many = people(60)
    project.add_sqlite("crm", many)
    project.add_csv("sheet", many)
    project.configure()
    project.sync()
    project.write_csv("sheet", [(email, f"{name}?", points, born) for email, name, points, born in many])
    project.sync(expect=4)
    project.run("holds", answer, "1")
    project.sync()
    out = project.run("explain", "customer", "crm:2", "name", "--expected", "Customer 2?").out
    assert [words for words in told if re.search(words, out) is None] == []


# ---------------------------------------------------------------- rows that are gone, or to go


def test_a_row_that_vanished(project: NearProject) -> None:
    project.write_csv("sheet", [ANN, BEN])
    edit(project, "UPDATE customers SET name = 'Clea' WHERE id = 3")
    project.sync(expect=3)
    told = story(project, "crm:3")
    assert told["systems"]["sheet"]["state"] == "missing"
    assert "deletes:" in waits("missing", project, "crm:3", "name", "sheet", "vanished")


def test_a_row_that_is_to_be_deleted(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE)
    project.add_csv("sheet", PEOPLE)
    project.add_jsonl("feed", PEOPLE)
    project.mappings["feed"] = project.mappings["feed"].replace("key: id", "key: id, direction: read")
    project.extra = "deletes: {from: [crm], action: propagate}"
    project.configure()
    project.sync()
    project.run("pause", "sheet")
    edit(project, "DELETE FROM customers WHERE id = 3")
    project.sync()
    step = row_waits("paused", project, "sheet:3", "sheet", "is to be deleted", "are paused")
    assert step == "trueup resume sheet"
    assert "delete 3 in feed" in row_waits("read only", project, "sheet:3", "feed", "only read")
    out = project.run("explain", "customer", "sheet:3").out
    assert "crm: deleted on" in out
    project.run("resume", "sheet")
    project.sync()
    assert story(project, "3")["systems"].get("sheet") is None


def test_a_row_whose_creation_was_undone(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", [ANN])
    project.add_csv("sheet", PEOPLE)
    project.configure()
    project.sync()
    edit(project, "CREATE TRIGGER kept BEFORE DELETE ON customers BEGIN SELECT raise(ABORT, 'rows are kept for the auditors'); END")
    project.run("undo", "1", expect={0, 3})
    assert story(project, "sheet:2")["systems"]["crm"]["state"] == "withdrawn"
    row_waits("rejected", project, "sheet:2", "crm", "is to be deleted", "rows are kept for the auditors")
    out = project.run("explain", "customer", "sheet:2").out
    assert re.search(r"crm: row taken out, because a person \(\S+@\S+\) undid run 1 on .* \(run 2\)", out)


def test_who_undid_a_value(project: NearProject) -> None:
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    project.run("undo", "2")
    out = project.run("explain", "customer", "crm:1", "name").out
    assert re.search(r"name is “Ann”: a person \(\S+@\S+\) undid run 2 on .* \(run 3\), instead of “Anna”", out)
    chain = story(project, "crm:1", "name")["fields"]["name"]["chain"]
    assert [(event["kind"], event["after"]) for event in chain] == [("edit", "Ann"), ("edit", "Anna"), ("undo", "Ann")]
    assert chain[2]["who"]
    asked = story(project, "crm:1", "name", "--expected", "Anna")["fields"]["name"]["expected"]
    assert "It stood until this" in asked["why"]


# ---------------------------------------------------------------- complete


def test_every_reason_has_a_story_here_and_a_word_on_the_page() -> None:
    told = Path(__file__).read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    for kind in get_args(WaitKind):
        assert f'waits("{kind}"' in told or f'== "{kind}"' in told, f"no story waits for the reason {kind!r}"
        assert f"`{kind}`" in page, f"docs/reference/json.md does not say what {kind!r} means"
