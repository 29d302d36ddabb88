"""A run is undone: what it changed is put back, what people did since stands, and the undo can be undone."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trueup.core.undo import TAKEN_OUT
from trueup.errors import UsageError
from trueup.reports.undone import Undone, reason
from trueup.runtime.explain import explain_record, view_record
from trueup.runtime.past import as_of
from trueup.runtime.resolve import open_conflicts, take_system
from trueup.runtime.workspace import open_workspace
from trueup.store import Store, failure, history, paused

CONFIGURATION = """
systems:
  crm: {connector: sqlite, path: crm.db}
  shop: {connector: sqlite, path: shop.db}
  list: {connector: csv, path: list.csv}
entities:
  customer:
    match: [[email]]
    precedence: [crm, shop, list]
    fields:
      email: {type: text}
      name: {type: text, conflict: last_write_wins}
      points: {type: integer, conflict: {merge: add}}
      tags: {type: list, conflict: {merge: union}}
      notes: {type: text, conflict: {merge: text}}
    mappings:
      crm: {object: people, key: id, fields: {email: email, name: name, points: points, tags: tags, notes: notes}}
      shop: {object: people, key: id, fields: {email: email, name: name, points: points, tags: tags, notes: notes}}
      list: {key: Nr, fields: {email: Mail, name: Name}}
    deletes: {from: [crm], action: propagate}
"""
COLUMNS = "id INTEGER PRIMARY KEY, email TEXT, name TEXT, points INTEGER, tags TEXT, notes TEXT"
ANN = ("ann@example.org", "Ann", 5, "a;b", "one\ntwo\nthree")
OHARA = ("ohara@example.org", "O'Hara 🎈 שלום", 7, "c", "none")


class Company:
    """Two databases and a list of the same customers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
        (folder / "list.csv").write_text("Nr,Mail,Name\n", encoding="utf-8")
        for name in ("crm", "shop"):
            self.ask(name, f"CREATE TABLE people ({COLUMNS})")

    def ask(self, system: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a database."""
        db = sqlite3.connect(self.folder / f"{system}.db")
        with db:
            rows = db.execute(statement, values).fetchall()
        db.close()
        return rows

    def add(self, system: str, *people: tuple[Any, ...]) -> None:
        for person in people:
            self.ask(system, "INSERT INTO people (email, name, points, tags, notes) VALUES (?, ?, ?, ?, ?)", *person)

    def people(self, system: str) -> dict[str, tuple[Any, ...]]:
        """What a database holds, by e-mail address."""
        return {row[0]: row[1:] for row in self.ask(system, "SELECT email, name, points, tags, notes FROM people")}

    def list_(self) -> list[str]:
        """The lines of the list, without their numbers."""
        return sorted(line.split(",", 1)[1] for line in (self.folder / "list.csv").read_text(encoding="utf-8").splitlines()[1:])

    def sync(self) -> int:
        with open_workspace(self.folder / "trueup.yaml") as workspace:
            result = workspace.sync()
        assert result.run is not None
        return result.run

    def undo(self, run: int, **asked: Any) -> tuple[Undone, int | None]:
        with open_workspace(self.folder / "trueup.yaml") as workspace:
            undone, result = workspace.undo(run, **asked)
        assert result is None or result.status == "done"
        return undone, result.run if result is not None else None

    def as_of(self, moment: datetime | None) -> dict[str, Any]:
        """The first customer as agreed at a moment, or (None) now."""
        with open_workspace(self.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
            view = view_record(db, workspace.config, workspace.config.entities["customer"], 1)
            view = view if moment is None else as_of(db, view, moment)
        return {**view.golden, "deleted": view.deleted_at is not None}

    def explained(self, field: str) -> list[str]:
        """Why a field of the first customer is what it is."""
        with open_workspace(self.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
            entity = workspace.config.entities["customer"]
            (story,) = explain_record(view_record(db, workspace.config, entity, 1), entity, field)
        return story.sentences

    def quiet(self) -> None:
        """The next run has nothing to do, and everything agrees."""
        with open_workspace(self.folder / "trueup.yaml") as workspace:
            entity = workspace.sync().entities["customer"]
            delivered = [part.delivered for part in entity.systems.values()]
            assert [part.created + part.updated + part.deleted for part in delivered] == [0, 0, 0]
            assert entity.created + entity.updated + entity.deleted == 0
            assert workspace.verify().agrees


@pytest.fixture
def company(tmp_path: Path) -> Company:
    made = Company(tmp_path)
    made.add("crm", ANN, OHARA)
    return made


def test_values_are_put_back_everywhere_and_the_undo_can_be_undone(company: Company) -> None:
    company.sync()
    company.ask("crm", "UPDATE people SET name = 'Anna', points = 15, tags = 'b;z', notes = 'one' || char(10) || 'TWO' WHERE id = 1")
    after = company.people("crm")
    run = company.sync()
    assert company.people("shop")[ANN[0]][:3] == ("Anna", 15, "b;z")
    undone, number = company.undo(run)
    assert (undone.values, undone.refused) == (4, [])
    assert company.people("crm") == company.people("shop") == {person[0]: person[1:] for person in (ANN, OHARA)}
    assert company.list_() == ["ann@example.org,Ann", "ohara@example.org,O'Hara 🎈 שלום"]
    company.quiet()
    assert not company.undo(run)[0].anything
    assert number is not None
    company.undo(number)
    assert company.people("crm") == after
    assert company.people("shop")[ANN[0]][1] == 15
    company.quiet()


def test_what_was_edited_since_stands_and_is_told_with_the_reason(company: Company) -> None:
    company.sync()
    company.ask(
        "crm", "UPDATE people SET name = 'Anna', points = 15, tags = 'a;b;z', notes = 'ONE' || char(10) || 'two' || char(10) || 'three'"
    )
    run = company.sync()
    more = "points = points + 100, tags = tags || ';new', notes = notes || char(10) || 'four'"
    company.ask("shop", f"UPDATE people SET name = 'Annette', {more} WHERE id = 1")
    later = company.sync()
    undone, _number = company.undo(run)
    assert [item.field for item in undone.refused] == ["name"]
    (refused,) = undone.refused
    assert (refused.field, refused.by, refused.run) == ("name", "shop", later)
    assert "shop changed it afterwards" in reason(refused)
    for system in ("crm", "shop"):
        name, points, tags, notes = company.people(system)[ANN[0]]
        assert (name, points) == ("Annette", 105)
        assert sorted(tags.split(";")) == ["a", "b", "new"]
        assert notes == "one\ntwo\nthree\nfour"
        assert company.people(system)[OHARA[0]][:2] == OHARA[1:3]
    company.quiet()


def test_a_change_that_nobody_has_read_yet_is_not_trampled(company: Company) -> None:
    company.sync()
    company.ask("crm", "UPDATE people SET name = 'Anna' WHERE id = 1")
    run = company.sync()
    company.ask("shop", "UPDATE people SET name = 'Typed a moment ago' WHERE id = 1")
    with open_workspace(company.folder / "trueup.yaml") as workspace:
        workspace.undo(run)
        workspace.sync()
    assert {company.people(system)[ANN[0]][0] for system in ("crm", "shop")} == {"Typed a moment ago"}


def test_rows_that_a_run_made_are_taken_out_and_stay_out_until_the_undo_is_undone(company: Company) -> None:
    run = company.sync()
    undone, number = company.undo(run)
    assert undone.rows == 4
    assert (company.people("shop"), company.list_()) == ({}, [])
    assert len(company.people("crm")) == 2
    company.quiet()
    company.ask("crm", "UPDATE people SET name = 'Anna' WHERE id = 1")
    company.sync()
    assert company.people("shop") == {}
    assert number is not None
    company.undo(number)
    assert company.people("shop") == company.people("crm")
    assert company.list_() == ["ann@example.org,Anna", "ohara@example.org,O'Hara 🎈 שלום"]
    company.quiet()


def test_rows_that_are_to_be_made_again_in_a_system_that_is_paused_are_made_when_it_goes_on(company: Company) -> None:
    run = company.sync()
    _undone, number = company.undo(run)
    company.sync()
    assert number is not None
    configuration = company.folder / "trueup.yaml"
    text = configuration.read_text(encoding="utf-8")
    configuration.write_text(text.replace("path: shop.db", "path: shop.db, paused: true"), encoding="utf-8")
    company.undo(number)
    assert company.people("shop") == {}
    assert len(company.list_()) == 2
    company.sync()
    configuration.write_text(text, encoding="utf-8")
    company.sync()
    assert company.people("shop") == company.people("crm")
    company.quiet()


def test_a_row_that_was_edited_after_it_was_made_stays(company: Company) -> None:
    run = company.sync()
    company.ask("shop", "UPDATE people SET name = 'Anna' WHERE id = 1")
    company.sync()
    undone, _number = company.undo(run)
    assert {(item.record, item.why) for item in undone.refused} == {(1, "record edited since")}
    assert set(company.people("shop")) == {ANN[0]}
    company.quiet()


def test_the_last_row_of_a_record_is_not_taken(company: Company) -> None:
    run = company.sync()
    configuration = company.folder / "trueup.yaml"
    configuration.write_text(
        configuration.read_text(encoding="utf-8").replace("from: [crm], action: propagate", "from: [crm], action: ignore")
    )
    company.ask("crm", "DELETE FROM people WHERE id = 1")
    (company.folder / "list.csv").write_text("Nr,Mail,Name\n2,ohara@example.org,O'Hara 🎈 שלום\n", encoding="utf-8")
    company.sync()
    undone, _number = company.undo(run)
    assert [(item.record, item.why) for item in undone.refused] == [(1, "last row")]
    assert set(company.people("shop")) == {ANN[0]}


def test_deleted_records_are_made_again_and_deleted_again_when_that_is_undone(company: Company) -> None:
    company.sync()
    company.ask("crm", "DELETE FROM people WHERE id = 1")
    run = company.sync()
    assert company.list_() == ["ohara@example.org,O'Hara 🎈 שלום"]
    undone, number = company.undo(run)
    assert undone.records == 1
    assert company.people("crm")[ANN[0]] == company.people("shop")[ANN[0]] == ANN[1:]
    company.quiet()
    assert number is not None
    company.undo(number)
    assert set(company.people("crm")) == set(company.people("shop")) == {OHARA[0]}
    company.quiet()


def test_records_that_are_made_again_have_their_old_keys_where_these_are_free(company: Company) -> None:
    """Of Ann, only the key in the CRM is somebody else's by now; SQLite gives numbers that are free to the next who comes."""
    company.add("crm", ("cy@example.org", "Cy", 1, "", ""))
    company.sync()
    keys = {system: dict(company.ask(system, "SELECT email, id FROM people")) for system in ("crm", "shop")}
    rows = sorted((company.folder / "list.csv").read_text(encoding="utf-8").splitlines())
    company.ask("crm", "DELETE FROM people WHERE email != ?", OHARA[0])
    run = company.sync()
    company.ask("crm", "INSERT INTO people (id, email, name) VALUES (?, 'new@example.org', 'New')", keys["crm"][ANN[0]])
    company.undo(run)
    found = {system: dict(company.ask(system, "SELECT email, id FROM people")) for system in ("crm", "shop")}
    assert {name: found["shop"][name] for name in keys["shop"]} == keys["shop"]
    assert sorted((company.folder / "list.csv").read_text(encoding="utf-8").splitlines()) == rows
    assert {name for name in keys["crm"] if found["crm"][name] != keys["crm"][name]} == {ANN[0]}
    company.sync()
    company.quiet()


def test_rows_that_an_undo_took_out_have_their_old_keys_once_that_is_undone(company: Company) -> None:
    run = company.sync()
    before = company.ask("shop", "SELECT * FROM people ORDER BY id")
    _undone, number = company.undo(run)
    assert number is not None
    assert company.people("shop") == {}
    company.undo(number)
    assert company.ask("shop", "SELECT * FROM people ORDER BY id") == before
    company.quiet()


def test_a_key_that_a_system_does_not_take_again_is_not_given_to_it_again(company: Company) -> None:
    """Numbers that were used up are refused by a trigger, as by systems that keep their own books."""
    company.sync()
    company.ask("crm", "DELETE FROM people WHERE id = 1")
    run = company.sync()
    refuse = "CREATE TRIGGER used BEFORE INSERT ON people WHEN new.id = 1 BEGIN SELECT raise(ABORT, 'this number was used'); END"
    company.ask("shop", refuse)
    with open_workspace(company.folder / "trueup.yaml") as workspace:
        _undone, result = workspace.undo(run)
        assert result is not None
        assert result.entities["customer"].systems["shop"].delivered.failed == 1
        with workspace.store.read() as db:
            ids = failure.of(db)["id"].to_list()
        with workspace.store.write() as tx:
            failure.retry_now(tx, ids, datetime.now(UTC))
    company.sync()
    assert company.ask("shop", "SELECT id FROM people WHERE email = ?", ANN[0]) == [(3,)]
    company.quiet()


def test_a_record_that_was_deleted_since_is_not_brought_back_by_a_value(company: Company) -> None:
    company.sync()
    company.ask("crm", "UPDATE people SET name = 'X'")
    run = company.sync()
    company.ask("crm", "DELETE FROM people WHERE id = 1")
    later = company.sync()
    undone, _number = company.undo(run)
    assert [(item.record, item.why, item.by, item.run) for item in undone.refused] == [(1, "deleted since", "crm", later)]
    assert [set(company.people(system)) for system in ("crm", "shop")] == [{OHARA[0]}, {OHARA[0]}]
    assert company.people("shop")[OHARA[0]][0] == OHARA[1]
    company.quiet()


def test_one_record_or_one_field_alone(company: Company) -> None:
    company.sync()
    company.ask("crm", "UPDATE people SET name = 'X', points = points + 1")
    run = company.sync()
    assert company.undo(run, record=("customer", "crm:1"), field="name")[0].values == 1
    assert [company.people("shop")[person[0]][:2] for person in (ANN, OHARA)] == [("Ann", 6), ("X", 8)]
    assert company.undo(run, record=("customer", "crm:2"))[0].values == 2
    assert company.undo(run)[0].values == 1
    assert company.people("shop") == {person[0]: person[1:] for person in (ANN, OHARA)}
    company.quiet()


def test_a_plan_says_what_the_undo_then_does(company: Company) -> None:
    run = company.sync()
    company.ask("crm", "UPDATE people SET name = 'Anna' WHERE id = 1")
    company.ask("crm", "DELETE FROM people WHERE id = 2")
    run = company.sync()
    before = [company.people(system) for system in ("crm", "shop")]
    with open_workspace(company.folder / "trueup.yaml") as workspace:
        planned, plan = workspace.undo(run, plan=True)
        assert [company.people(system) for system in ("crm", "shop")] == before
        done, result = workspace.undo(run)
    assert plan is not None
    assert result is not None
    assert (planned.values, planned.records) == (done.values, done.records) == (1, 1)
    for name, part in plan.entities["customer"].systems.items():
        made = result.entities["customer"].systems[name].delivered
        assert (part.delivered.created, part.delivered.updated) == (made.created, made.updated)
    assert {change.kind for change in plan.entities["customer"].changes} == {"create", "update"}


def test_a_system_that_is_not_configured_any_more_keeps_its_rows(company: Company) -> None:
    run = company.sync()
    configuration = company.folder / "trueup.yaml"
    lines = [line for line in configuration.read_text(encoding="utf-8").splitlines() if not line.strip().startswith("list:")]
    configuration.write_text("\n".join(lines).replace("shop, list]", "shop]"), encoding="utf-8")
    undone, _number = company.undo(run)
    assert {(item.system, item.why) for item in undone.refused} == {("list", "cannot delete")}
    assert company.people("shop") == {}
    assert len(company.list_()) == 2


def test_a_system_that_is_paused_keeps_what_it_has_until_it_is_undone_again(company: Company) -> None:
    company.ask("shop", "INSERT INTO people VALUES (7, ?, 'Annie', 1, 'b;c', '')", ANN[0])
    run = company.sync()
    configuration = company.folder / "trueup.yaml"
    text = configuration.read_text(encoding="utf-8")
    configuration.write_text(text.replace("path: shop.db", "path: shop.db, paused: true"), encoding="utf-8")
    undone, _number = company.undo(run, record=("customer", "crm:1"))
    assert {(item.system, item.why) for item in undone.refused} == {("shop", "cannot write")}
    undone, _number = company.undo(run, record=("customer", "crm:2"))
    assert {(item.system, item.why) for item in undone.refused} == {("shop", "cannot delete")}
    assert all(item.system in reason(item) for item in undone.refused if item.system)
    assert company.list_() == []
    assert company.people("shop")[ANN[0]][0] == "Ann"
    configuration.write_text(text, encoding="utf-8")
    undone, _number = company.undo(run)
    assert undone.refused == []
    assert set(company.people("shop")) == {ANN[0]}
    assert company.people("shop")[ANN[0]][0] == "Annie"


def test_an_undo_that_is_killed_between_its_decision_and_its_deliveries_is_finished_by_the_next_run(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The end of the process."""

    def killed(*_arguments: object, **_named: object) -> None:
        raise Killed

    run = company.sync()
    with monkeypatch.context() as patch:
        patch.setattr("trueup.connectors.sqlite.SqliteConnector.write", killed)
        patch.setattr("trueup.connectors.csv.CsvConnector.write", killed)
        with pytest.raises(Killed):
            company.undo(run)
    with Store.open(str(company.folder / ".trueup" / "state.db")) as store, store.read() as db:
        assert TAKEN_OUT in history.of(db, "customer", 1)["kind"].to_list()
    company.sync()
    assert (company.people("shop"), company.list_()) == ({}, [])
    company.quiet()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"run": 99}, "there is no run 99"),
        ({"run": 1, "field": "nmae"}, "no entity has a field 'nmae'"),
        ({"run": 1, "record": ("customer", "crm:77")}, "no record is linked to '77' in crm"),
        ({"run": 1, "record": ("custmer", "crm:1")}, "there is no entity 'custmer'"),
    ],
)
def test_what_is_not_there_is_told(company: Company, asked: dict[str, Any], words: str) -> None:
    company.sync()
    with pytest.raises(UsageError, match=words):
        company.undo(**asked)


def test_a_record_is_shown_as_it_was_agreed_at_any_earlier_moment(company: Company) -> None:
    moments, shown = [], []
    for statement in (
        "SELECT 1",
        "UPDATE people SET name = 'Anna', points = 6 WHERE id = 1",
        "UPDATE people SET name = NULL WHERE id = 1",
        "UPDATE people SET name = 'Annette' WHERE id = 1",
        "DELETE FROM people WHERE id = 1",
    ):
        company.ask("crm", statement)
        run = company.sync()
        moments.append(datetime.now(UTC))
        shown.append(company.as_of(None))
    company.undo(run)
    assert shown[2] == {"email": ANN[0], "name": None, "points": 6, "tags": ["a", "b"], "notes": ANN[4], "deleted": False}
    assert [company.as_of(moment) for moment in moments] == shown
    assert [item["deleted"] for item in (*shown, company.as_of(None))] == [False, False, False, False, True, False]
    with pytest.raises(UsageError, match="there was no customer 1 then"):
        company.as_of(datetime(2020, 1, 1, tzinfo=UTC))


def test_what_lost_when_the_systems_first_met_is_its_own_systems_again_and_a_person_is_asked(company: Company) -> None:
    company.ask("shop", "INSERT INTO people VALUES (7, ?, 'Annie', 1, 'b;c', '')", ANN[0])
    before = company.people("shop")[ANN[0]]
    run = company.sync()
    assert company.people("shop")[ANN[0]][0] == "Ann"
    undone, number = company.undo(run, record=("customer", "crm:1"), field="name")
    assert undone.values == 1
    assert company.people("shop")[ANN[0]][0] == before[0] == "Annie"
    assert company.people("crm")[ANN[0]][0] == "Ann"
    company.sync()
    assert company.people("shop")[ANN[0]][0] == "Annie"
    with open_workspace(company.folder / "trueup.yaml") as workspace:
        with workspace.store.read() as db:
            (asked,) = open_conflicts(db, workspace.config)
        assert {(side.system, side.value) for side in asked.candidates} == {("shop", "Annie"), (None, "Ann")}
        with workspace.lock("conflicts resolve"):
            take_system(workspace.store, workspace.config, asked.id, "shop", workspace.clock())
        workspace.sync()
    assert {company.people(system)[ANN[0]][0] for system in ("crm", "shop")} == {"Annie"}
    assert number is not None
    assert not company.undo(number)[0].anything
    company.quiet()


def test_such_an_undo_that_is_killed_before_it_writes_gives_the_value_back_when_it_is_called_again(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The end of the process."""

    def killed(*_arguments: object, **_named: object) -> None:
        raise Killed

    company.ask("shop", "INSERT INTO people VALUES (7, ?, 'Annie', 1, 'b;c', '')", ANN[0])
    run = company.sync()
    with monkeypatch.context() as patch:
        patch.setattr("trueup.connectors.sqlite.SqliteConnector.write", killed)
        with pytest.raises(Killed):
            company.undo(run, field="name")
    assert company.people("shop")[ANN[0]][0] == "Ann"
    undone, _number = company.undo(run, field="name")
    assert (undone.values, undone.refused) == (1, [])
    assert company.people("shop")[ANN[0]][0] == "Annie"
    assert company.people("crm")[ANN[0]][0] == "Ann"
    again, _number = company.undo(run, field="name")
    assert not again.values, "it is back"
    company.sync()
    with open_workspace(company.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
        (asked,) = open_conflicts(db, workspace.config)
        kinds = history.of(db, "customer", asked.record)["kind"].to_list()
    assert {(side.system, side.value) for side in asked.candidates} == {("shop", "Annie"), (None, "Ann")}
    assert kinds.count("restored") == 1, "told once"


def test_the_undo_of_such_an_undo_settles_the_question_as_it_was_settled(company: Company) -> None:
    company.ask("shop", "INSERT INTO people VALUES (7, ?, 'Annie', 1, 'b;c', '')", ANN[0])
    run = company.sync()
    _undone, number = company.undo(run, field="name")
    assert number is not None
    assert company.undo(number)[0].values == 1
    assert {company.people(system)[ANN[0]][0] for system in ("crm", "shop")} == {"Ann"}
    company.quiet()


def test_what_was_empty_when_the_systems_first_met_is_empty_again_and_a_person_is_asked(company: Company) -> None:
    company.ask("shop", "INSERT INTO people VALUES (7, ?, NULL, NULL, 'b;c', NULL)", ANN[0])
    before = company.people("shop")[ANN[0]]
    run = company.sync()
    assert company.people("shop")[ANN[0]] == ("Ann", 5, "a;b;c", ANN[4])
    with open_workspace(company.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
        filled = history.of(db, "customer", 1).filter(pl.col("kind") == "filled")
    assert set(filled.select("field", "system", "after").rows()) == {(name, "shop", "null") for name in ("name", "points", "notes")}
    assert not any("nothing" in line for line in company.explained("name")), "it is no reason for what is agreed"
    undone, number = company.undo(run)
    assert number is not None
    assert undone.refused == []
    assert company.people("shop")[ANN[0]][0::3] == (before[0], before[3]) == (None, None)
    assert company.people("shop")[ANN[0]][1] is None
    assert company.people("crm")[ANN[0]][0] == "Ann"
    company.sync()
    assert company.people("shop")[ANN[0]][0] is None, "nobody has settled it yet"
    with open_workspace(company.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
        asked = {item.field: {(side.system, side.value) for side in item.candidates} for item in open_conflicts(db, workspace.config)}
    assert asked["name"] == {("shop", None), (None, "Ann")}
    assert any("holds its own again" in line for line in company.explained("name"))
    company.undo(number)
    assert company.people("shop")[ANN[0]] == ("Ann", 5, "a;b;c", ANN[4])
    assert not any("holds its own again" in line for line in company.explained("name")), "it does not any more"
    company.quiet()


def test_nothing_is_filled_where_a_change_is_held(company: Company) -> None:
    held = "conflict: last_write_wins, hold_if: \"incoming = 'Anne'\"}"
    (company.folder / "trueup.yaml").write_text(CONFIGURATION.replace("conflict: last_write_wins}", held), "utf-8")
    company.ask("crm", "DELETE FROM people WHERE name <> 'Ann'")
    (company.folder / "list.csv").write_text(f"Nr,Mail,Name\n1,{ANN[0]},Ann\n", encoding="utf-8")
    with open_workspace(company.folder / "trueup.yaml") as workspace:
        with workspace.store.write() as tx:
            paused.set_(tx, "system", "shop")
        workspace.sync()
    company.ask("crm", "UPDATE people SET name = 'Anne'")
    company.ask("shop", "INSERT INTO people VALUES (7, ?, NULL, 1, 'b;c', '')", ANN[0])
    company.sync()
    with open_workspace(company.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
        lines = history.of(db, "customer", 1).filter(pl.col("field") == "name")
    assert "candidate" in lines["kind"].to_list()
    assert "filled" not in lines["kind"].to_list()
