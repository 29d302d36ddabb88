"""Times, addresses and error texts of the state, without a database."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import StateError
from trueup.store import bulk, engine
from trueup.store.moments import from_micros, to_micros


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=11))])))
def test_a_time_keeps_its_microseconds(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment
    physical = bulk.stored(pl.DataFrame({"at": pl.Series([moment], dtype=pl.Datetime("us", "UTC"))}))
    assert physical["at"].to_list() == [to_micros(moment)]


def test_times_of_another_unit_and_zone_are_the_same_moment() -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    frame = pl.DataFrame({"ms": [moment], "zone": [moment]}).with_columns(
        pl.col("ms").cast(pl.Datetime("ms", "UTC")), pl.col("zone").dt.convert_time_zone("Europe/Vienna")
    )
    assert bulk.stored(frame).rows() == [(to_micros(moment), to_micros(moment))]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        to_micros(datetime(2026, 3, 29, 1, 30))  # noqa: DTZ001  the point of the test
    with pytest.raises(ValueError, match="without a zone"):
        bulk.stored(pl.DataFrame({"at": [datetime(2026, 3, 29, 1, 30)]}))  # noqa: DTZ001  the point of the test


@pytest.mark.parametrize(
    ("target", "backend"),
    [
        (".trueup/state.db", "sqlite"),
        ("postgresql.db", "sqlite"),
        ("postgresql://h/d", "postgresql"),
        ("postgres://h/d", "postgresql"),
        ("postgresql+psycopg://h/d", "postgresql"),
    ],
)
def test_an_address_says_which_database(target: str, backend: str) -> None:
    assert engine.backend_of(target) == backend


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("database or disk is full", "is full"),
        ("could not extend file: No space left on device", "is full"),
        ("disk I/O error", "cannot be written"),
        ("attempt to write a readonly database", "cannot be written"),
        ("database disk image is malformed", "is damaged"),
        ("permission denied for schema public", "rights"),
        ("something nobody has seen", "something nobody has seen"),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(reason: str, told: str) -> None:
    error = engine.state_error(sqlite3.OperationalError(reason), "state.db")
    assert isinstance(error, StateError)
    assert told in error.message
    assert error.hint
