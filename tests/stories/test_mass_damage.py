"""One mistake in many rows is noticed before it spreads: it is held with what was seen, and a person lets it pass or has it put back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from trueup.model import RunSummary
from trueup.runtime.workspace import open_workspace
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
    mappings:
      crm: {object: products, key: id, fields: {code: code, price: price, note: note}}
      shop: {object: products, key: id, fields: {code: code, price: price, note: note}}
"""
PRODUCTS = 200


class Trade:
    """A CRM and a shop with the same products, in agreement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
        for name in ("crm", "shop"):
            self.ask(name, "CREATE TABLE products (id INTEGER PRIMARY KEY, code TEXT, price TEXT, note TEXT)")
        with sqlite3.connect(folder / "crm.db") as db:
            rows = [(f"P{number}", f"{number}.50", f"note {number}") for number in range(1, PRODUCTS + 1)]
            db.executemany("INSERT INTO products (code, price, note) VALUES (?, ?, ?)", rows)
        db.close()
        self.sync()

    def ask(self, system: str, statement: str) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.folder / f"{system}.db")
        with db:
            rows = db.execute(statement).fetchall()
        db.close()
        return rows

    def sync(self) -> RunSummary:
        with open_workspace(self.folder / "trueup.yaml") as workspace:
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
    trade.decide("approved")
    assert trade.sync().status == "done"
    assert trade.ask("crm", "SELECT code, note FROM products") == [(row[1], row[3]) for row in broken]


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
