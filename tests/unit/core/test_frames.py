"""The small steps give what the operations of Polars give, on few rows and on many, with nulls and doubles, in the same order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.core import frames
from trueup.core.frames import FEW_ROWS

IDS = st.one_of(st.none(), st.integers(0, 5))
WORDS = st.one_of(st.none(), st.sampled_from(["", "a", "b"]))
ON = ["id", "word"]


def table(rows: list[tuple[Any, ...]], third: str = "value") -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"id": pl.Int64(), "word": pl.String(), third: pl.String()}, orient="row")


TABLES = st.lists(st.tuples(IDS, WORDS, WORDS), max_size=8).map(table)
OTHERS = st.lists(st.tuples(IDS, WORDS, WORDS), max_size=8, unique_by=lambda row: row[:2]).map(lambda rows: table(rows, "other"))


def many(rows: pl.DataFrame) -> pl.DataFrame:
    """So many that they are not looked up one by one."""
    return pl.concat([rows] * (1 + FEW_ROWS // max(1, rows.height)))


@given(TABLES, OTHERS)
@settings(max_examples=settings().max_examples // 2)
def test_joins(rows: pl.DataFrame, others: pl.DataFrame) -> None:
    for some in (rows, many(rows)):
        assert frames.only(some, others, ON).equals(some.join(others, on=ON, how="semi", maintain_order="left"))
        assert frames.without(some, others, ON).equals(some.join(others, on=ON, how="anti", maintain_order="left"))
        assert frames.found(some, others, ON).equals(some.join(others, on=ON, how="left", maintain_order="left"))
        each = others.join(rows.select("id", word_too="word"), on="id", maintain_order="left_right")
        assert frames.with_each(others, rows.select("id", word_too="word"), "id").equals(each)
        there = some.join(others.with_columns(there=pl.lit(value=True)), on=ON, how="left", maintain_order="left")["there"]
        assert frames.among(some, others, ON).to_list() == there.fill_null(value=False).to_list()


def test_rows_that_stand_side_by_side_are_put_together_whatever_their_types() -> None:
    rows = pl.DataFrame({"id": [1, 2]})
    others = pl.DataFrame({"id": [1, 2], "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 2, "names": [["a"], []]})
    assert frames.found(rows, others, ["id"]).equals(others)
    assert frames.found(rows, others.reverse(), ["id"]).equals(others)
    assert frames.found(rows, others.clear(), ["id"])["names"].dtype == pl.List(pl.String)


@given(TABLES, st.lists(TABLES, max_size=3))
def test_parts_become_one(rows: pl.DataFrame, more: list[pl.DataFrame]) -> None:
    for parts in ([rows, *more], [many(rows), *more] if rows.height else [rows]):
        assert frames.stacked(parts).equals(pl.concat(parts))
        ids = [part["id"] for part in parts]
        assert frames.united(ids).to_list() == list(dict.fromkeys(pl.concat(ids).to_list()))


@given(TABLES)
def test_cells_of_rows_become_rows(rows: pl.DataFrame) -> None:
    for some in (rows, rows.head(1), many(rows)):
        told = frames.long(some, ["id"], ["value", "word"], "cell")
        assert told.equals(some.unpivot(index=["id"], on=["value", "word"], variable_name="field", value_name="cell"))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "ä", "é", "🙂", "\uffff"]), WORDS), max_size=8).map(table))
def test_order(rows: pl.DataFrame) -> None:
    for some in (rows, many(rows)):
        assert frames.sorted_by(some, ON).select(ON).equals(some.sort(ON).select(ON))
        assert frames.in_order(some["word"]).equals(some["word"].sort())


@given(st.lists(st.none() | st.datetimes(), max_size=4))
def test_times_as_golden_records_keep_them(times: list[datetime | None]) -> None:
    texts = [None if at is None else f"{at.isoformat(timespec='microseconds')}Z" for at in times] + ["soon"]
    expected = [None if at is None else at.replace(tzinfo=UTC) for at in times] + [None]
    assert frames.moments_of(texts).to_list() == expected
    assert frames.moments_of(texts * FEW_ROWS).unique().sort().to_list() == frames.moments_of(texts).unique().sort().to_list()


def test_a_moment_is_the_same_in_every_row() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    for kind in (pl.Datetime("us", "UTC"), pl.Datetime("ms", "UTC")):
        assert frames.constant("at", at, 2, kind).equals(pl.Series("at", [at, at], dtype=kind))


@given(TABLES, st.lists(st.one_of(st.none(), st.booleans()), min_size=8, max_size=8))
@settings(max_examples=settings().max_examples // 2)
def test_what_is_kept(rows: pl.DataFrame, chosen: list[bool | None]) -> None:
    mask = pl.Series(chosen[: rows.height], dtype=pl.Boolean)
    assert frames.keep(rows, mask).equals(rows.filter(mask))
    assert frames.kept(rows["id"], mask).equals(rows["id"].filter(mask))
    assert frames.sure(mask).to_list() == [item is True for item in mask.to_list()]


@given(TABLES, OTHERS)
def test_columns(rows: pl.DataFrame, others: pl.DataFrame) -> None:
    for some in (rows, many(rows)):
        assert frames.one_of(some["id"], others["id"]).to_list() == [
            item is not None and item in others["id"].to_list() for item in some["id"].to_list()
        ]
        assert frames.differ(some["word"], some["value"]).equals(some["word"].ne_missing(some["value"]))
        assert frames.is_given(some["word"]).equals(some["word"].is_not_null())
        assert frames.distinct(some["id"]).equals(some["id"].unique(maintain_order=True))
        looked_up = frames.looked_up("said", some["word"], {"a": 1, "b": None}, pl.Int64())
        assert looked_up.to_list() == [{"a": 1}.get(word) for word in some["word"].to_list()]
        assert frames.first_of_each(some, ON).equals(some.unique(ON, keep="first", maintain_order=True))
        assert frames.last_of_each(some, ON).equals(some.unique(ON, keep="last", maintain_order=True))
    assert frames.united([rows["id"], others["id"]]).equals(pl.concat([rows["id"], others["id"]]).unique(maintain_order=True))


@given(TABLES)
def test_cells_in_long_form(rows: pl.DataFrame) -> None:
    long = frames.long(rows, ["id"], ["word", "value"], "cell")
    assert long.rows() == [(row["id"], name, row[name]) for name in ("word", "value") for row in rows.iter_rows(named=True)]
    assert long.schema == {"id": pl.Int64, "field": pl.String, "cell": pl.String}


def test_frames_put_together() -> None:
    rows = table([(1, "a", "x"), (2, "b", "y"), (3, "a", "z")])
    assert frames.stacked([rows.clear(), rows.head(1), rows.tail(2)]).equals(rows)
    assert frames.stacked([rows.clear(), rows.clear()]).equals(rows.clear())
    assert [(word, part["id"].to_list()) for word, part in frames.by_value(rows, "word")] == [("a", [1, 3]), ("b", [2])]
    assert frames.renamed(rows, "word", "said").columns == ["id", "said", "value"]
    assert frames.dropped(rows, ["word", "missing"]).columns == ["id", "value"]
    assert frames.exchanged(rows, rows["value"].alias("word"))["word"].to_list() == ["x", "y", "z"]
    assert frames.typed(rows, pl.Schema({"value": pl.String(), "id": pl.Int32()})).schema == {"value": pl.String, "id": pl.Int32}


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_one_value_in_every_row(rows: int) -> None:
    assert frames.constant("said", value=True, rows=rows, dtype=pl.Boolean()).to_list() == [True] * rows
    assert frames.constant("said", 1, rows, pl.Int64()).to_list() == [1] * rows
    assert frames.constant("said", None, rows, pl.String()).dtype == pl.String
