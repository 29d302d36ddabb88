"""How many records live is kept beside them, and is what counting them would say."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from tests.system.store.older import make_state_of
from trueup.store import Store, golden
from trueup.store.schema import counter

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
SCHEMA: dict[str, Any] = {"id": pl.Int64, "version": pl.Int64, "deleted_at": pl.Datetime("us", "UTC"), "alias_of": pl.Int64}


def test_the_living_are_counted_whatever_becomes_of_them(store: Store) -> None:
    chance = random.Random(7)
    for round_ in range(40):
        ids = chance.sample(range(1, 60), chance.choice((1, 5, 30)))
        columns: dict[str, list[Any]] = {"id": [*ids, ids[0]], "version": [round_] * (len(ids) + 1)}
        for name, value in (("deleted_at", NOW), ("alias_of", 1)):
            if chance.random() < 0.7:
                columns[name] = [chance.choice((None, value)) for _ in columns["id"]]
        rows = pl.DataFrame(columns, schema={name: SCHEMA[name] for name in columns})
        with suppress(KeyError), store.write() as tx:
            golden.upsert(tx, "customer", rows)
            golden.upsert(tx, "product", rows.with_columns(id=pl.col("id") + 1000 * (round_ + 1)).unique("id"), new=True)
            if chance.random() < 0.2:
                raise KeyError  # the transaction is undone
        with store.read() as db:
            for entity in ("customer", "product"):
                frames = [frame.filter(pl.col("deleted_at").is_null(), pl.col("alias_of").is_null()) for frame in golden.stream(db, entity)]
                assert golden.count(db, entity) == sum(frame.height for frame in frames)


def test_an_older_state_is_counted_when_its_tables_are_brought_up_to_date(target: str) -> None:
    golden_row = "INSERT INTO golden (id, entity, version, deleted_at) VALUES"
    names = "INSERT INTO entity_name (id, name) VALUES (1, 'customer'), (2, 'product')"
    make_state_of(target, "0004", [names, f"{golden_row} (1, 1, 1, NULL), (2, 1, 1, NULL), (4, 1, 1, 7)", f"{golden_row} (3, 2, 1, NULL)"])
    with Store.open(target) as store, store.read() as db:
        kept = db.execute(sa.select(counter.c.name, counter.c.value).order_by(counter.c.name)).all()
        assert [tuple(row) for row in kept] == [(f"alive:{db.entity('customer')}", 2), (f"alive:{db.entity('product')}", 1)]


def test_a_state_that_never_counted_counts_once(store: Store) -> None:
    with store.write() as tx:
        golden.upsert(tx, "customer", pl.DataFrame({"id": [1, 2, 3], "version": [1, 1, 1]}), new=True)
        tx.execute(counter.delete())
        assert golden.count(tx, "customer") == 3
        golden.upsert(tx, "customer", pl.DataFrame({"id": [1], "version": [2]}))
        assert tx.execute(sa.select(counter.c.value)).scalars().all() == [3]
        golden.upsert(tx, "customer", pl.DataFrame({"id": [3, 4], "version": [2, 2]}))
        assert golden.count(tx, "customer") == 4
