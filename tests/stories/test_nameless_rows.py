"""Rows that lost their key, or were given the key of another row: nobody takes the record that they were for deleted."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import openpyxl
import pytest

from trueup.runtime.workspace import open_workspace
from trueup.store import failure

Row = tuple[int | str | None, str | None, str]
ADA, BOB, CLEO, DORA = ((number, f"{name.lower()}@example.org", name) for number, name in enumerate(("Ada", "Bob", "Cleo", "Dora"), 1))
NAMES = ["Ada", "Bob", "Cleo", "Dora"]
CONFIGURATION = """
systems:
  list: {source}
  office: {{connector: sqlite, path: office.db}}
entities:
  customer:
    match: {match}
    guard: off
    deletes: {{from: [list], action: propagate}}
    fields: {{email: text, name: text}}
    mappings:
      list: {{object: contacts, key: id, fields: {{email: email, name: name}}{more}}}
      office: {{object: people, key: id, fields: {{email: email, name: name}}}}
"""


def _csv(path: Path, rows: list[Row]) -> None:
    with (path / "contacts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "email", "name"), *rows])


def _excel(path: Path, rows: list[Row]) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = "contacts"
    for row in [("id", "email", "name"), *rows]:
        book.active.append(row)
    book.save(path / "contacts.xlsx")


def _sqlite(path: Path, rows: list[Row]) -> None:
    with closing(sqlite3.connect(path / "list.db")) as db:
        db.execute("CREATE TABLE IF NOT EXISTS contacts (id INTEGER, email TEXT, name TEXT)")
        db.execute("DELETE FROM contacts")
        db.executemany("INSERT INTO contacts VALUES (?, ?, ?)", rows)
        db.commit()


SOURCES: dict[str, tuple[str, Callable[[Path, list[Row]], None]]] = {
    "csv": ("{connector: csv, path: contacts.csv}", _csv),
    "excel": ("{connector: excel, path: contacts.xlsx}", _excel),
    "sqlite": ("{connector: sqlite, path: list.db}", _sqlite),
}


class Firm:
    """A list that people keep by hand, and a database that follows it."""

    def __init__(self, folder: Path, source: str, match: str, more: str = "") -> None:
        self.folder = folder
        said, self._write = SOURCES[source]
        self.file = folder / "trueup.yaml"
        self.file.write_text(CONFIGURATION.format(source=said, match=match, more=more), encoding="utf-8")
        with closing(sqlite3.connect(folder / "office.db")) as db:
            db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")

    def save(self, *rows: Row) -> None:
        """The list holds these rows now."""
        self._write(self.folder, list(rows))

    def sync(self) -> list[str]:
        """One run; whom the office knows then."""
        with open_workspace(self.file) as workspace:
            workspace.sync()
        with closing(sqlite3.connect(self.folder / "office.db")) as db:
            return [name for (name,) in db.execute("SELECT name FROM people ORDER BY name")]

    def look(self, *keys: str) -> list[str]:
        """One run over rows of the list by key, as `serve` makes them."""
        with open_workspace(self.file) as workspace:
            workspace.look_again("customer", {"list": keys}, ())
        with closing(sqlite3.connect(self.folder / "office.db")) as db:
            return [name for (name,) in db.execute("SELECT name FROM people ORDER BY name")]

    def told(self) -> int:
        """How many rows wait to be mended."""
        with open_workspace(self.file) as workspace, workspace.store.read() as db:
            return failure.of(db).height


KEYS = pytest.mark.parametrize("key", [1, None], ids=["the key of another row", "no key"])


@pytest.mark.parametrize("source", ["csv", pytest.param("excel", marks=pytest.mark.slow), pytest.param("sqlite", marks=pytest.mark.slow)])
@KEYS
@pytest.mark.parametrize("match", [pytest.param("[[email]]", id="matched"), pytest.param("[]", id="never matched", marks=pytest.mark.slow)])
def test_a_row_whose_key_was_mistyped_is_not_deleted_elsewhere(tmp_path: Path, source: str, key: int | None, match: str) -> None:
    firm = Firm(tmp_path, source, match)
    firm.save(ADA, BOB, CLEO, DORA)
    assert firm.sync() == NAMES
    firm.save(ADA, (key, *BOB[1:]), CLEO, DORA)
    assert [firm.sync(), firm.sync(), firm.look("2"), firm.look("1", "2")] == [NAMES] * 4
    assert firm.told(), "the row is told"
    firm.save(ADA, BOB, CLEO, DORA)
    assert (firm.sync(), firm.told()) == (NAMES, 0)
    firm.save(ADA, CLEO, DORA)
    assert firm.sync() == ["Ada", "Cleo", "Dora"], "that was a delete"


@pytest.mark.slow
@KEYS
def test_one_that_no_rule_tells_from_such_a_row_waits_and_the_others_do_not(tmp_path: Path, key: int | None) -> None:
    """Bob has no address. Dora, whose row was taken out in the same moment, has one that no such row shows."""
    firm = Firm(tmp_path, "csv", "[[email]]")
    firm.save(ADA, (2, None, "Bob"), CLEO, DORA)
    assert firm.sync() == NAMES
    firm.save(ADA, (key, None, "Bob"), CLEO)
    assert [firm.sync(), firm.sync()] == [["Ada", "Bob", "Cleo"]] * 2


@pytest.mark.slow
@KEYS
def test_where_most_rows_show_no_address_nothing_is_told_by_it(tmp_path: Path, key: int | None) -> None:
    many: list[Row] = [(number, None, f"Z{number}") for number in range(10, 250)]
    firm = Firm(tmp_path, "csv", "[[email]]")
    firm.save(ADA, BOB, *many)
    everybody = firm.sync()
    firm.save(ADA, (key, *BOB[1:]), *many)
    assert firm.sync() == everybody


def test_a_row_that_waits_for_a_person_may_be_the_one_that_is_gone(tmp_path: Path) -> None:
    """Ada has another number, and no address any more: by her name the row may be either Ada whom the office knows."""
    firm = Firm(tmp_path, "csv", "[[email], [name]]", more=", direction: read")
    firm.save(ADA, CLEO)
    firm.sync()
    with closing(sqlite3.connect(firm.folder / "office.db")) as db:
        db.execute("INSERT INTO people (email, name) VALUES ('lovelace@example.org', 'Ada')")
        db.commit()
    firm.sync()
    firm.save((9, None, "Ada"), CLEO)
    assert [firm.sync(), firm.sync()] == [["Ada", "Ada", "Cleo"]] * 2
    firm.save(CLEO)
    assert [firm.sync(), firm.sync()][1] == ["Ada", "Cleo"], "nothing is left that may be the first Ada"


@pytest.mark.slow
def test_an_address_as_the_list_showed_it_counts_as_well(tmp_path: Path) -> None:
    """Bob's address was changed in the office, and has not come into the list when his key is mistyped there."""
    firm = Firm(tmp_path, "sqlite", "[[email]]")
    firm.save(ADA, BOB, CLEO)
    with closing(sqlite3.connect(firm.folder / "list.db")) as db:
        db.execute("CREATE TRIGGER short AFTER UPDATE ON contacts BEGIN UPDATE contacts SET email = 'bob' WHERE id = 2; END")
        db.commit()
    firm.sync()
    with closing(sqlite3.connect(firm.folder / "office.db")) as db:
        db.execute("UPDATE people SET email = 'robert@example.org' WHERE name = 'Bob'")
        db.commit()
    firm.sync()
    firm.sync()
    firm.save(ADA, (1, "bob", "Bob"), CLEO)
    assert [firm.sync(), firm.sync()] == [["Ada", "Bob", "Cleo"]] * 2
