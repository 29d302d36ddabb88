"""Every change of a configuration on a live state, each for itself: a plan tells it; nothing is overruled, deleted or delivered for it.

A CRM in SQLite and a list in CSV agree on sixty customers. Then one thing is said otherwise.
"""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from trueup.cli.main import main
from trueup.config.load import load_config
from trueup.model import RunSummary
from trueup.reports.configured import configuration_text
from trueup.runtime.configured import configuration_changes
from trueup.runtime.summaries import summary_dict
from trueup.runtime.workspace import Workspace

CUSTOMERS = 60
BASE = """
systems:
  crm:  {connector: sqlite, path: crm.db}
  list: {connector: csv, path: list.csv}
entities:
  customer:
    match: [[email]]
    precedence: [crm, list]
    fields:
      email: {required: true}
      name: {}
      city: {}
      credit: {type: decimal, scale: 2}
      state: {}
    mappings:
      crm:
        object: customers
        key: id
        fields: {email: email, name: name, city: city, credit: credit, state: {column: state, values: {active: A, closed: C}}}
      list:
        key: {column: no, assign: sequence}
        fields: {email: email, name: name, city: city, credit: credit, state: state}
    deletes: {from: [crm, list], action: propagate}
"""
COLUMNS = ("email", "name", "city", "credit", "state")


class Shop:
    """Both systems and the configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(BASE)
        with closing(sqlite3.connect(folder / "crm.db")) as db, db:
            db.execute(
                "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, name TEXT, city TEXT, credit TEXT, state TEXT, phone TEXT)"
            )
            rows = [
                (f"C{number}@example.org", f"Customer {number}", f"City {number % 5}", f"{number}.50", "AC"[number % 2], f"0{number}")
                for number in range(1, CUSTOMERS + 1)
            ]
            db.executemany("INSERT INTO customers (email, name, city, credit, state, phone) VALUES (?, ?, ?, ?, ?, ?)", rows)
        (folder / "list.csv").write_text("no,email,name,city,credit,state,phone\n", encoding="utf-8")
        assert self.sync().status == "done"
        assert self.sync().status == "done"

    def write(self, text: str) -> None:
        (self.folder / "trueup.yaml").write_text(text, encoding="utf-8")

    def workspace(self) -> Workspace:
        return Workspace(load_config(self.folder / "trueup.yaml"))

    def sync(self, *, plan: bool = False) -> RunSummary:
        with self.workspace() as workspace:
            return workspace.plan(every_change=True) if plan else workspace.sync()

    def told(self) -> list[dict[str, Any]]:
        """What the plan says of the configuration."""
        with self.workspace() as workspace, workspace.store as store, store.read() as db:
            return [item.as_json() for item in configuration_changes(db, workspace.config, list(workspace.config.entities))]

    def crm(self, statement: str = "SELECT * FROM customers ORDER BY id") -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "crm.db")) as db, db:
            return db.execute(statement).fetchall()

    def list(self) -> list[list[str]]:
        with (self.folder / "list.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    def held(self) -> tuple[Any, Any]:
        return self.crm(), self.list()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def delivered(summary: RunSummary) -> int:
    return sum(
        part.delivered.created + part.delivered.updated + part.delivered.deleted + part.delivered.failed + part.delivered.pending
        for entity in summary.entities.values()
        for part in entity.systems.values()
    )


# what changes -> ((old text, new text), …), and what the plan names: (system, field, setting)
CHANGES: dict[str, tuple[tuple[tuple[str, str], ...], tuple[str | None, str | None, str]]] = {
    "a cleaning": ((("email: {required: true}", "email: {required: true, clean: [lower]}"),), ("crm", "email", "clean")),
    "a type": ((("credit: {type: decimal, scale: 2}", "credit: {}"),), ("crm", "credit", "type")),
    "a scale": ((("scale: 2", "scale: 1"),), ("crm", "credit", "scale")),
    "a value map": ((("{active: A, closed: C}", "{open: A, closed: C}"),), ("crm", "state", "values")),
    "an expression": (
        (("name: name, city: city, credit: credit, state: {", "name: {read: 'upper(name)'}, city: city, credit: credit, state: {"),),
        ("crm", "name", "read"),
    ),
    "a column": ((("city: city, credit: credit, state: {", "city: phone, credit: credit, state: {"),), ("crm", "city", "column")),
    "an owner": ((("      name: {}", "      name: {source_of_truth: list}"),), (None, "name", "source_of_truth")),
    "a rule": ((("      name: {}", "      name: {conflict: last_write_wins}"),), (None, "name", "conflict")),
    "a doubt": ((("      name: {}", "      name: {hold_if: 'length(incoming) > 40'}"),), (None, "name", "hold_if")),
    "a match rule": ((("match: [[email]]", "match: [[email, name]]"),), (None, None, "match")),
    "no match rule": ((("    match: [[email]]\n", ""),), (None, None, "match")),
    "a precedence": ((("precedence: [crm, list]", "precedence: [list, crm]"),), (None, None, "precedence")),
    "who may delete": ((("from: [crm, list]", "from: [crm]"),), (None, None, "deletes")),
    "a guard": ((("    deletes:", "    guard: {deletes: '1%'}\n    deletes:"),), (None, None, "guard")),
    "a filter": ((("        key: id\n", "        key: id\n        where: \"city = 'City 1'\"\n"),), ("crm", None, "where")),
    "a direction": ((("        key: id\n", "        key: id\n        direction: read\n"),), ("crm", None, "direction")),
    "a check": ((("      name: {}", "      name: {pattern: 'Customer [0-9]+'}"),), ("crm", "name", "pattern")),
    "a key": ((("        key: id\n", "        key: email\n"),), ("crm", None, "key")),
    "a field less": ((("      city: {}\n", ""), ("city: city, ", "")), ("crm", "city", "field")),
    "a field more": (
        (
            ("      city: {}\n", "      city: {}\n      phone: {}\n"),
            ("city: city, credit: credit, state: {", "city: city, phone: phone, credit: credit, state: {"),
        ),
        ("crm", "phone", "field"),
    ),
    "a field's name": (
        (("      city: {}\n", "      town: {was: city}\n"), ("city: city", "town: city")),
        ("crm", "town", "was"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told_and_moves_nothing(shop: Shop, change: str) -> None:
    text = BASE
    for old, new in CHANGES[change][0]:
        assert old in text
        text = text.replace(old, new)
    shop.write(text)
    before = shop.held()
    planned = shop.sync(plan=True)
    assert delivered(planned) == 0, summary_dict(planned)
    assert shop.held() == before
    system, field, part = CHANGES[change][1]
    told = shop.told()
    assert any((item["system"], item["field"], item["part"]) == (system, field, part) for item in told), told
    assert all(item["means"] for item in told)
    done = shop.sync()
    summary = done.entities["customer"]
    assert done.status in {"done", "partial"}, summary_dict(done)
    assert (delivered(done), summary.overruled, summary.deleted, summary.conflicts_opened, summary.held, summary.parked) == (
        0,
        0,
        0,
        0,
        0,
        0,
    )
    assert shop.held() == before
    assert shop.told() == []
    quiet = shop.sync()
    assert (delivered(quiet), quiet.entities["customer"].updated) == (0, 0)
    # And back again.
    shop.write(BASE.replace("      city: {}\n", "      city: {was: town}\n") if change == "a field's name" else BASE)
    back = shop.sync()
    assert (delivered(back), back.entities["customer"].overruled, back.entities["customer"].deleted) == (0, 0, 0), summary_dict(back)
    assert shop.held() == before
    # An edit counts as ever.
    shop.crm("UPDATE customers SET name = 'Another' WHERE id = 7")
    shop.sync()
    assert [row[2] for row in shop.list() if row[1].lower() == "c7@example.org"] == ["Another"]


def test_a_system_joins_leaves_and_is_replaced(shop: Shop) -> None:
    """Leaving moves nothing; one that joins is matched and then completed; one that takes another's place is matched as well."""
    before = shop.held()
    third = BASE.replace(
        "  list: {connector: csv, path: list.csv}\n", "  list: {connector: csv, path: list.csv}\n  till: {connector: csv, path: till.csv}\n"
    )
    third = third.replace("precedence: [crm, list]", "precedence: [crm, list, till]").replace(
        "    deletes:", "      till:\n        key: {column: no, assign: sequence}\n        fields: {email: email, name: name}\n    deletes:"
    )
    (shop.folder / "till.csv").write_text("no,email,name\n1,C1@example.org,Customer 1\n2,C2@example.org,Customer 2\n", encoding="utf-8")
    shop.write(third)
    assert [(item["system"], item["part"], item["now"]) for item in shop.told() if item["part"] == "mapping"] == [
        ("till", "mapping", "mapped")
    ]
    planned = shop.sync(plan=True)
    assert delivered(planned) == CUSTOMERS - 2
    assert delivered(shop.sync()) == CUSTOMERS - 2
    assert shop.held() == before
    assert len((shop.folder / "till.csv").read_text(encoding="utf-8").splitlines()) == CUSTOMERS + 1
    shop.write(BASE)
    assert ("till", "mapping", None) in [(item["system"], item["part"], item["now"]) for item in shop.told()]
    assert delivered(shop.sync()) == 0
    assert shop.held() == before
    assert len((shop.folder / "till.csv").read_text(encoding="utf-8").splitlines()) == CUSTOMERS + 1
    assert shop.told() == []
    # Another program takes the place of the list: its rows are found, none is made twice, nothing that lacks is taken for deleted.
    with (shop.folder / "other.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["no", "email", "name", "city", "credit", "state"])
        writer.writerows([f"N{row[0]}", *row[1:6]] for row in shop.list()[1:50])
    shop.write(
        BASE.replace("  list: {connector: csv, path: list.csv}", "  other: {connector: csv, path: other.csv}").replace("list", "other")
    )
    planned, done = shop.sync(plan=True), shop.sync()
    assert delivered(planned) == delivered(done) == CUSTOMERS - 49
    assert (done.entities["customer"].deleted, done.entities["customer"].total, done.entities["customer"].overruled) == (0, CUSTOMERS, 0)
    assert len(shop.crm()) == CUSTOMERS


def test_a_system_moves_to_another_address_and_an_entity_goes(shop: Shop) -> None:
    before = shop.held()
    (shop.folder / "elsewhere").mkdir()
    (shop.folder / "list.csv").rename(shop.folder / "elsewhere" / "list.csv")
    shop.write(BASE.replace("path: list.csv", "path: elsewhere/list.csv"))
    assert [(item["system"], item["part"]) for item in shop.told()] == [("list", "path")]
    assert delivered(shop.sync(plan=True)) == 0
    assert delivered(shop.sync()) == 0
    (shop.folder / "elsewhere" / "list.csv").rename(shop.folder / "list.csv")
    assert shop.held() == before
    shop.write(BASE.replace("  customer:", "  person:"))
    assert ("customer", "entity", None) in [(item["entity"], item["part"], item["now"]) for item in shop.told()]
    planned = shop.sync(plan=True)
    assert delivered(planned) == 0  # the same rows, met again under another name: they agree
    shop.sync()
    assert shop.held() == before


def test_rows_left_behind_by_a_move_are_not_deleted_either_once_they_are_not_held_any_more(shop: Shop) -> None:
    (shop.folder / "elsewhere").mkdir()
    lines = (shop.folder / "list.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (shop.folder / "elsewhere" / "list.csv").write_text("".join(lines[:41]), encoding="utf-8")
    moved = BASE.replace("path: list.csv", "path: elsewhere/list.csv")
    for share, held in (("10%", True), ("10%", True), ("90%", False), ("90%", False)):
        shop.write(moved + f"    guard: {{deletes: {share}, at_least: 2}}\n")
        done = shop.sync()
        assert (done.status == "held", done.entities["customer"].deleted, delivered(done)) == (held, 0, 0)
        assert len(shop.crm()) == CUSTOMERS


def test_a_mass_that_a_changed_mapping_would_release_is_edits_of_nobody(shop: Shop) -> None:
    """A value map that changes what half of the records say is followed by the state, and by no system."""
    shop.write(BASE.replace("{active: A, closed: C}", "{closed: A, active: C}"))
    before = shop.held()
    planned = shop.sync(plan=True).entities["customer"]
    done = shop.sync().entities["customer"]
    assert (planned.apart, done.apart, shop.held()) == (CUSTOMERS, CUSTOMERS, before)


# ---------------------------------------------------------------- a source that drifts


THREE = (
    BASE.replace(
        "  list: {connector: csv, path: list.csv}\n", "  list: {connector: csv, path: list.csv}\n  till: {connector: csv, path: till.csv}\n"
    )
    .replace("precedence: [crm, list]", "precedence: [crm, list, till]")
    .replace(
        "    deletes:", "      till:\n        key: {column: no, assign: sequence}\n        fields: {email: email, name: name}\n    deletes:"
    )
)

DRIFTS = {
    "a column that has another name": (
        "ALTER TABLE customers RENAME COLUMN name TO nmae",
        "column `name` is gone since the last run, and column `nmae` is new: did you rename? Then map `name: nmae`",
    ),
    "a column that is gone": (
        "ALTER TABLE customers DROP COLUMN city",
        "column `city` is gone since the last run: take it out of the mapping",
    ),
    "a table that is gone": ("ALTER TABLE customers RENAME TO clients", "customers"),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_source_that_drifts_holds_that_mapping_only_and_says_what_to_change(tmp_path: Path, drift: str) -> None:
    shop = Shop(tmp_path)
    (tmp_path / "till.csv").write_text("no,email,name\n", encoding="utf-8")
    shop.write(THREE)
    shop.sync()
    statement, words = DRIFTS[drift]
    shop.crm(statement)
    rows = shop.list()
    rows[5][2] = "Edited meanwhile"
    with (tmp_path / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    planned, done = shop.sync(plan=True), shop.sync()
    for summary in (planned, done):
        error = summary.entities["customer"].systems["crm"].error
        assert error is not None
        assert words in error, error
        assert summary.entities["customer"].deleted == 0
    assert done.status == "partial"
    # The others go on.
    assert "Edited meanwhile" in (tmp_path / "till.csv").read_text(encoding="utf-8")
    if "RENAME COLUMN" in statement:
        shop.write(
            THREE.replace(
                "email: email, name: name, city: city, credit: credit, state: {",
                "email: email, name: nmae, city: city, credit: credit, state: {",
            )
        )
        assert shop.sync().status == "done"
        assert [row[0] for row in shop.crm("SELECT nmae FROM customers WHERE nmae = 'Edited meanwhile'")] == ["Edited meanwhile"]


def test_a_column_of_another_type_is_told(shop: Shop) -> None:
    shop.crm("ALTER TABLE customers RENAME TO old")
    shop.crm("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, name TEXT, city TEXT, credit REAL, state TEXT, phone TEXT)")
    shop.crm("INSERT INTO customers SELECT * FROM old")
    before = shop.held()
    done = shop.sync()
    assert any("the column `credit` of crm was text and is float now" in note for note in done.entities["customer"].notes), done.entities
    assert (delivered(done), shop.held()) == (0, before)
    assert shop.sync().entities["customer"].notes == []


# ---------------------------------------------------------------- a rename that is none


def test_a_field_that_goes_while_another_comes_is_asked_about(shop: Shop) -> None:
    shop.write(BASE.replace("      city: {}\n", "      town: {}\n").replace("city: city", "town: city"))
    assert "customer: city is gone and town is new, which starts empty. If it is the same under another name, say `was: city`" in (
        configuration_text(shop.told())
    )


def test_a_rename_that_reads_another_column_as_well_is_told_clearly(shop: Shop) -> None:
    shop.write(BASE.replace("      city: {}\n", "      phone: {was: city}\n").replace("city: city", "phone: phone"))
    with shop.workspace() as workspace:
        workspace.plan()
    assert "customer: phone is city under another name (`was:`), and is read from another column of crm as well" in (
        configuration_text(shop.told())
    )


def test_a_new_name_is_known_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands that look at records know a renamed field and a renamed system before the next run; looking changes nothing."""
    monkeypatch.chdir(shop.folder)
    text = BASE.replace("      city: {}\n", "      town: {was: city}\n").replace("city: city", "town: city").replace("crm", "office")
    shop.write(text.replace("  office:  {connector: sqlite, path: office.db}", "  office: {was: crm, connector: sqlite, path: crm.db}"))

    def told(*words: str) -> Any:
        monkeypatch.setattr("sys.argv", ["trueup", *words, "--json"])
        capsys.readouterr()
        assert main() == 0
        return orjson.loads(capsys.readouterr().out)

    record = told("record", "customer", "office:3")
    assert (record["golden"]["town"], record["systems"]["office"]["holds"]["town"]) == ("City 3", "City 3")
    assert "town is “City 3”" in str(told("explain", "customer", "office:3", "town"))
    assert told("verify")["entities"]["customer"]["agree"] is True
    shop.crm("UPDATE customers SET city = 'Elsewhere' WHERE id = 3")
    assert told("verify", "--repair")["entities"]["customer"]["agree"] is True
    assert delivered(shop.sync()) == 0
    assert told("record", "customer", "office:3")["golden"]["town"] == "Elsewhere"


def test_the_plan_of_the_command_line_says_it_too(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(shop.folder)
    shop.write(BASE.replace("      name: {}", "      name: {source_of_truth: list}"))
    monkeypatch.setattr("sys.argv", ["trueup", "plan", "--json"])
    capsys.readouterr()
    assert main() == 0
    (item,) = orjson.loads(capsys.readouterr().out)["configuration"]
    assert (item["entity"], item["system"], item["field"], item["part"], item["before"], item["now"]) == (
        "customer",
        None,
        "name",
        "source_of_truth",
        None,
        "list",
    )
    assert item["means"] == "decides about edits from now on; no value moves for it"
    monkeypatch.setattr("sys.argv", ["trueup", "plan"])
    assert main() == 0
    assert "decides about edits from now on" in capsys.readouterr().out


def test_a_question_from_before_a_field_had_a_source_of_truth_is_answered_by_what_that_says_next(shop: Shop) -> None:
    shop.crm("UPDATE customers SET name = 'Ada' WHERE id = 1")
    rows = [["1", *row[1:2], "Eve", *row[3:]] if row[0] == "1" else row for row in shop.list()]
    with (shop.folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert shop.sync().entities["customer"].conflicts_opened == 1
    shop.write(BASE.replace("      name: {}", "      name: {source_of_truth: crm}"))
    assert (shop.sync().entities["customer"].conflicts_open, shop.list()[1][2]) == (1, "Eve")
    shop.crm("UPDATE customers SET name = 'Ada Example' WHERE id = 1")
    assert shop.sync().entities["customer"].conflicts_open == 0
    assert (shop.crm()[0][2], shop.list()[1][2]) == ("Ada Example", "Ada Example")
