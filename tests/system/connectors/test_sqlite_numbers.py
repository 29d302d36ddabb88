"""A SQLite number column whose numbers are stored as REAL reads the same every way."""

from __future__ import annotations

import random
import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.sqlite import SqliteConnector
from trueup.model import ObjectSpec

if TYPE_CHECKING:
    from pathlib import Path


def test_real_numbers_in_a_decimal_column_read_the_same_listed_and_by_key(tmp_path: Path) -> None:
    chance = random.Random(7)
    prices = [round(chance.uniform(0, 10 ** chance.randrange(1, 10)), chance.randrange(0, 8)) for _number in range(5000)]
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, price DECIMAL(20, 6))")
        db.executemany("INSERT INTO items (price) VALUES (?)", [(price,) for price in prices])
    db.close()
    connector = SqliteConnector.open("shop", {"path": "shop.db"}, directory=str(tmp_path))
    items = ObjectSpec(name="items", key=("id",))
    listed = pl.concat([page.rows for page in connector.read(items, ["price"])])
    by_key = pl.concat([page.rows for page in connector.read(items, ["price"], keys=listed["__key"].to_list())])
    connector.close()
    both = listed.join(by_key, on="__key", suffix=":by key")
    assert both.height == len(prices)
    assert both.filter(pl.col("price") != pl.col("price:by key")).is_empty()
    told = dict(listed.select("__key", "price").rows())
    assert all(Decimal(told[str(number)]) == Decimal(repr(price)) for number, price in enumerate(prices, 1))
