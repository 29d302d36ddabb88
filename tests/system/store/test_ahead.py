"""Rows that were made ready before the state's turn was taken are stored as those that were not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from trueup.errors import StateError
from trueup.store import Store, bulk, golden, match_key, shadow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
ROWS = 2 * bulk.AHEAD_ROWS + 117


def records() -> pl.DataFrame:
    """Many, out of order; columns of one value, of some values and of none, and texts that need care."""
    ids = pl.int_range(1, ROWS + 1, eager=True).reverse()
    return pl.DataFrame({"id": ids}).select(
        "id",
        data=pl.format('O\'Brien "{}" 🦀\\n', "id"),
        origin_system=pl.lit("crm"),
        origin_at=pl.when(pl.col("id") % 2 == 0).then(pl.lit(NOW).cast(pl.Datetime("us", "UTC"))),
        origins=pl.lit(None, pl.String),
        version=pl.lit(None, pl.Int64),
        deleted_at=pl.lit(None, pl.Datetime("us", "UTC")),
        alias_of=pl.lit(None, pl.Int64),
    )


def rows_of(system: int) -> pl.DataFrame:
    return (
        records()
        .select(key=pl.format("k{}", pl.col("id") * system), gid="id", khash=pl.col("id") * -7, fingerprint=pl.col("id") * 11)
        .with_columns(sent=pl.when(pl.col("gid") == 5).then(pl.lit("{}")), state=pl.lit(0, pl.Int64))
    )


def test_golden_records(store: Store) -> None:
    ready = golden.ahead(records(), store.backend)
    assert isinstance(ready, bulk.Ahead)
    with store.write() as tx:
        golden.upsert(tx, "customer", ready, new=True, version=7)
    with store.read() as db:
        stored = golden.fetch(db, "customer", records()["id"])
        assert golden.count(db, "customer") == ROWS
    assert_frame_equal(stored, records().sort("id").with_columns(version=pl.lit(7, pl.Int64)), check_column_order=False)


def test_records_of_several_origins_wait_for_their_turn(store: Store) -> None:
    mixed = records().with_columns(origin_system=pl.when(pl.col("id") == 3).then(pl.lit("shop")).otherwise("origin_system"))
    assert isinstance(golden.ahead(mixed, store.backend), pl.DataFrame)


@pytest.mark.parametrize("system", [1, 3])
def test_shadows(store: Store, system: int) -> None:
    given = rows_of(system)
    ready = shadow.ahead(given, store.backend)
    assert isinstance(ready, bulk.Ahead)
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", ready, new=True)
    with store.read() as db:
        stored = shadow.by_key(db, "customer", "crm", given["key"]).sort("gid")
    assert_frame_equal(stored.select(given.columns), given.sort("gid"))


def test_a_key_that_is_there_undoes_all(store: Store) -> None:
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", rows_of(1).tail(1), new=True)
    with pytest.raises(StateError), store.write() as tx:
        shadow.upsert(tx, "customer", "crm", shadow.ahead(rows_of(1), store.backend), new=True)
    with store.read() as db:
        assert shadow.count(db, "customer", "crm") == 1


def test_match_values(store: Store) -> None:
    frame = records().select(gid="id", rule=pl.lit(0, pl.Int64), hash=pl.col("id") * -3)
    with store.write() as tx:
        match_key.by_record(tx, "customer", match_key.ahead(frame, store.backend))
    with store.read() as db:
        assert_frame_equal(match_key.of(db, "customer", frame["gid"]).sort("gid"), frame.sort("gid"), check_column_order=False)


@pytest.fixture
def checkpointed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("trueup.store.checkpoint.AFTER_ROWS", 1_000)
    monkeypatch.setattr("trueup.store.engine.WAL_CHECKPOINT_PAGES", 0)  # the writer does it at no size
    with Store.open(str(tmp_path / "state.db")) as store:
        yield store


def test_the_log_is_moved_into_the_file_beside_the_transactions(checkpointed: Store, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    small = file.stat().st_size
    with checkpointed.write() as tx:
        golden.upsert(tx, "customer", golden.ahead(records(), "sqlite"), new=True, version=1)
    checkpointed._checkpoints.finish()
    assert file.stat().st_size > small + ROWS * 20
    with checkpointed.write() as tx:  # begins one anew
        golden.upsert(tx, "customer", records().select(pl.col("id") + ROWS, "data"), new=True, version=2)
    with checkpointed.read() as db:
        assert golden.count(db, "customer") == 2 * ROWS


def test_a_log_that_cannot_be_moved_stays_and_nothing_is_lost(checkpointed: Store) -> None:
    with checkpointed.read() as before:  # one that reads keeps what it sees in the log
        assert golden.count(before, "customer") == 0
        with checkpointed.write() as tx:
            golden.upsert(tx, "customer", golden.ahead(records(), "sqlite"), new=True, version=1)
        checkpointed._checkpoints.finish()
        assert golden.count(before, "customer") == 0
    with checkpointed.read() as db:
        assert golden.count(db, "customer") == ROWS
