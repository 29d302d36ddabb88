"""One mistake in many rows is noticed before it spreads: it is held with what was seen, and a person lets it pass or has it put back."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from trueup.config.load import load_config
from trueup.model import RunSummary
from trueup.reports.waiting import holds_text
from trueup.runtime.workspace import Workspace, open_workspace
from trueup.store import hold

CONFIGURATION = """
systems:
  crm: {connector: sqlite, path: crm.db}
  shop: {connector: sqlite, path: shop.db}
entities:
  product:
    match: [[code]]
    precedence: [crm, shop]
    fields:
      code: {type: text}
      price: {type: decimal, scale: 2, conflict: last_write_wins}
      note: {type: text, conflict: last_write_wins}
      ean: {type: text, conflict: last_write_wins}
    mappings:
      crm: {object: products, key: id, fields: {code: code, price: price, note: note, ean: ean}}
      shop: {object: products, key: id, fields: {code: code, price: price, note: note, ean: ean}}
"""
PRODUCTS = 200


class Trade:
    """A CRM and a shop with the same products, in agreement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.moment = datetime.now(UTC)
        (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
        for name in ("crm", "shop"):
            self.ask(name, "CREATE TABLE products (id INTEGER PRIMARY KEY, code TEXT, price TEXT, note TEXT, ean TEXT)")
        with sqlite3.connect(folder / "crm.db") as db:
            rows = [(f"P{number}", f"{number}.50", f"note {number}", f"00{4006381333931 + number}") for number in range(1, PRODUCTS + 1)]
            db.executemany("INSERT INTO products (code, price, note, ean) VALUES (?, ?, ?, ?)", rows)
        db.close()
        self.sync()

    def ask(self, system: str, statement: str) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.folder / f"{system}.db")
        with db:
            rows = db.execute(statement).fetchall()
        db.close()
        return rows

    def sync(self) -> RunSummary:
        with Workspace(load_config(self.folder / "trueup.yaml"), clock=lambda: self.moment) as workspace:
            return workspace.sync()

    def held(self) -> list[dict[str, Any]]:
        """What was counted in every open hold."""
        with open_workspace(self.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
            return [orjson.loads(text) for text in hold.of(db, decided=False)["counts"].to_list()]

    def decide(self, decision: Any) -> None:
        with open_workspace(self.folder / "trueup.yaml") as workspace, workspace.store.write() as tx:
            (number,) = hold.of(tx, decided=False)["id"].to_list()
            assert hold.decide(tx, number, decision, at=workspace.clock(), ceiling=PRODUCTS if decision == "approved" else None)


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return Trade(tmp_path)


DAMAGES = {
    "a column that is emptied": ("UPDATE products SET note = NULL WHERE id <= 40", "blanked", "note"),
    "a currency that slipped": ("UPDATE products SET price = price * 100 WHERE id <= 40", "scaled", "price"),
    "numbers that a spreadsheet saved": ("UPDATE products SET ean = ltrim(ean, '0') WHERE id <= 25", "re-typed", "ean"),
    "numbers that became powers of ten": ("UPDATE products SET ean = printf('%.5E', ean) WHERE id <= 40", "re-typed", "ean"),
    "decimals that were cut off": ("UPDATE products SET price = CAST(price AS INTEGER) WHERE id <= 40", "re-typed", "price"),
    "one value over all": ("UPDATE products SET note = 'TEST' WHERE id <= 40", "one value", "note"),
    "a unit that is too large": ("UPDATE products SET price = round(price / 12, 2) WHERE id BETWEEN 100 AND 140", "scaled", "price"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_mistake_in_many_rows_is_held_although_the_limits_would_let_it_pass(trade: Trade, damage: str) -> None:
    statement, kind, field = DAMAGES[damage]
    before = trade.ask("crm", "SELECT * FROM products")
    trade.ask("shop", statement)
    broken = trade.ask("shop", "SELECT * FROM products")
    assert trade.sync().status == "held"
    assert trade.ask("crm", "SELECT * FROM products") == before
    (counts,) = trade.held()
    assert (counts["pattern"]["kind"], counts["pattern"]["field"]) == (kind, field)
    assert evidence(trade).count(field) >= 1
    trade.decide("approved")
    assert trade.sync().status == "done"
    assert trade.ask("crm", "SELECT code, note, ean FROM products") == [(row[1], row[3], row[4]) for row in broken]


def evidence(trade: Trade) -> str:
    """What `trueup holds` says."""
    return holds_text(
        [{"id": 1, "entity": "", "system": "", "kind": "", "limit": {"count": 0}, "since": "", "counts": one} for one in trade.held()]
    )


def test_the_evidence_shows_what_became_of_a_value(trade: Trade) -> None:
    trade.ask("shop", "UPDATE products SET ean = ltrim(ean, '0') WHERE id <= 25")
    trade.sync()
    (counts,) = trade.held()
    assert counts["pattern"]["form"] == "leading zeros or a plus sign are gone"
    assert counts["pattern"]["examples"][0] == ["004006381333932", "4006381333932"]
    assert "25 of 25 edits of ean: leading zeros or a plus sign are gone (004006381333932 → 4006381333932)" in evidence(trade)


def test_a_drip_of_deletes_is_noticed_over_the_day(trade: Trade) -> None:
    path = trade.folder / "trueup.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "    deletes: {from: [shop], action: propagate}\n", encoding="utf-8")
    trade.sync()
    for number in range(1, 10):
        trade.moment += timedelta(minutes=75)
        trade.ask("shop", f"DELETE FROM products WHERE id <= {number * 4}")
        status = trade.sync().status
        gone = PRODUCTS - trade.ask("crm", "SELECT count(*) FROM products")[0][0]
        if status == "held":
            break
    assert (status, gone) == ("held", 20)
    (counts,) = trade.held()
    assert counts["pattern"] == {"kind": "drip", "field": None, "count": 24, "of": 200, "usual": 0, "passes": 6}
    assert "24 rows deleted in 24 hours, by 6 runs" in evidence(trade)
    trade.decide("approved")
    assert trade.sync().status == "done"
    assert trade.ask("crm", "SELECT count(*) FROM products") == [(PRODUCTS - 24,)]
    # Who has looked at a day's deletes is not asked again for the next one.
    trade.ask("shop", "DELETE FROM products WHERE id <= 28")
    assert trade.sync().status == "done"


def test_deletes_as_on_other_days_are_no_drip(trade: Trade) -> None:
    path = trade.folder / "trueup.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "    deletes: {from: [shop], action: propagate}\n", encoding="utf-8")
    trade.sync()
    for number in range(1, 13):
        trade.moment += timedelta(minutes=75) if number % 4 else timedelta(days=2)
        trade.ask("shop", f"DELETE FROM products WHERE id <= {number * 4}")
        assert trade.sync().status == "done"


def test_what_is_refused_is_put_back(trade: Trade) -> None:
    before = trade.ask("shop", "SELECT * FROM products")
    trade.ask("shop", "UPDATE products SET note = NULL WHERE id <= 40")
    assert trade.sync().status == "held"
    trade.decide("refused")
    trade.sync()
    assert trade.ask("shop", "SELECT * FROM products") == before


def test_a_restored_backup_is_noticed(trade: Trade) -> None:
    shutil.copy(trade.folder / "shop.db", trade.folder / "backup.db")
    trade.ask("crm", "UPDATE products SET note = 'newer ' || id WHERE id <= 40")
    assert trade.sync().status == "done"
    assert trade.ask("shop", "SELECT note FROM products WHERE id = 1") == [("newer 1",)]
    shutil.copy(trade.folder / "backup.db", trade.folder / "shop.db")
    assert trade.sync().status == "held"
    (counts,) = trade.held()
    assert (counts["pattern"]["kind"], counts["pattern"]["count"]) == ("went back", 40)
    trade.decide("refused")
    trade.sync()
    assert trade.ask("shop", "SELECT note FROM products WHERE id = 1") == [("newer 1",)]


# ---------------------------------------------------------------- a column of another type


def retype(trade: Trade, kind: str, damage: str = "price") -> None:
    """The prices of the shop become a column of another type; `damage` is what is copied into it."""
    trade.ask("shop", "ALTER TABLE products RENAME TO old")
    trade.ask("shop", f"CREATE TABLE products (id INTEGER PRIMARY KEY, code TEXT, price {kind}, note TEXT, ean TEXT)")
    trade.ask("shop", f"INSERT INTO products SELECT id, code, {damage}, note, ean FROM old")
    trade.ask("shop", "DROP TABLE old")


SEVENTH_CUT = "CASE id WHEN 7 THEN CAST(price AS INTEGER) ELSE price END"


def price(trade: Trade, system: str) -> str:
    (row,) = trade.ask(system, "SELECT price FROM products WHERE id = 7")
    return f"{float(row[0]):.2f}"


def test_what_a_column_of_another_type_changed_is_held_be_it_one_value(trade: Trade) -> None:
    retype(trade, "REAL", SEVENTH_CUT)
    done = trade.sync()
    assert done.status == "held"
    assert any("the column `price` of shop was text and is float now" in note for note in done.entities["product"].notes)
    assert (price(trade, "crm"), price(trade, "shop")) == ("7.50", "7.00")
    (counts,) = trade.held()
    assert counts["pattern"] == {
        "kind": "re-typed",
        "field": "price",
        "count": 1,
        "of": 1,
        "form": "was text and is float",
        "column": "price",
        "examples": [["7.5", "7"]],
    }
    assert "1 of 1 edits of price come from the column `price`, which was text and is float (7.5 → 7)" in evidence(trade)
    # Nobody has answered yet: it stays held, and is told again.
    again = trade.sync()
    assert (again.status, len(again.entities["product"].notes)) == ("held", 1)


def test_a_person_lets_pass_what_a_column_of_another_type_changed(trade: Trade) -> None:
    retype(trade, "REAL", SEVENTH_CUT)
    trade.sync()
    trade.decide("approved")
    assert trade.sync().status == "done"
    assert (price(trade, "crm"), price(trade, "shop")) == ("7.00", "7.00")
    trade.ask("shop", "UPDATE products SET price = 8 WHERE id = 7")
    done = trade.sync()
    assert (done.status, done.entities["product"].notes, price(trade, "crm")) == ("done", [], "8.00")


def test_a_person_changes_the_column_back_and_what_it_changed_is_put_back(trade: Trade) -> None:
    retype(trade, "REAL", SEVENTH_CUT)
    trade.sync()
    retype(trade, "TEXT")
    trade.decide("refused")
    assert trade.sync().status == "done"
    assert (price(trade, "crm"), price(trade, "shop")) == ("7.50", "7.50")
    assert trade.sync().status == "done"


def test_a_person_leaves_what_a_column_of_another_type_changed(trade: Trade) -> None:
    retype(trade, "REAL", SEVENTH_CUT)
    trade.sync()
    trade.decide("left")
    assert trade.sync().status == "done"
    assert trade.sync().status == "done"
    assert (price(trade, "crm"), price(trade, "shop")) == ("7.50", "7.00")


def test_a_column_of_another_type_that_reads_as_before_holds_nothing(trade: Trade) -> None:
    retype(trade, "REAL")
    trade.ask("shop", "UPDATE products SET note = 'sold out' WHERE id = 7")
    assert trade.sync().status == "done"
    assert trade.ask("crm", "SELECT note FROM products WHERE id = 7") == [("sold out",)]


ORDINARY = {
    "prices rise by a tenth": "UPDATE products SET price = round(price * 1.1, 2) WHERE id <= 55",
    "notes are written": "UPDATE products SET note = 'Sold out until week ' || id WHERE id <= 55",
    "some notes go, others come": "UPDATE products SET note = CASE WHEN id % 2 THEN NULL ELSE 'new ' || id END WHERE id <= 55",
    "prices are set one by one": "UPDATE products SET price = price + (id * 7 % 13) * id WHERE id <= 55",
    "few notes go": "UPDATE products SET note = NULL WHERE id <= 9",
}


@pytest.mark.parametrize("work", ORDINARY)
def test_the_work_of_people_passes(trade: Trade, work: str) -> None:
    trade.ask("shop", ORDINARY[work])
    assert trade.sync().status == "done"
    assert trade.held() == []


@pytest.mark.slow
def test_rows_that_are_edited_again_and_again_count_once_an_hour(trade: Trade) -> None:
    """A handful of products that sell all the time is no mass; as many edits of as many products are one."""
    for number in range(30):
        trade.moment += timedelta(minutes=1)
        trade.ask("shop", f"UPDATE products SET note = 'sold {number}' || id WHERE id <= 5")
        assert trade.sync().status == "done"
    held = False
    for number in range(1, 30):
        trade.moment += timedelta(minutes=1)
        trade.ask("shop", f"UPDATE products SET note = 'and ' || id || ' {number}' WHERE id BETWEEN {number * 5 + 1} AND {number * 5 + 5}")
        held = trade.sync().status == "held"
        if held:
            break
    assert held
