from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.connectors.base import join_key
from trueup.connectors.sql_read import split_name
from trueup.connectors.sql_types import cell_text, key_text, key_values, plain_decimal, typed


@pytest.mark.parametrize(
    ("column_type", "value", "text"),
    [
        ("integer", -12, "-12"),
        ("decimal", "1.50", "1.5"),
        ("decimal", "1.0e+20", "100000000000000000000"),
        ("decimal", "-0.00", "0"),
        ("decimal", "100", "100"),
        ("float", 0.1, "0.1"),
        ("boolean", True, "true"),
        ("date", date(1, 1, 1), "0001-01-01"),
        ("datetime", datetime(2026, 11, 20, 2, 0, 0, 120000, UTC), "2026-11-20T02:00:00.12Z"),
        ("datetime", datetime(2026, 11, 20, 2, 0, 0, 0, UTC), "2026-11-20T02:00:00Z"),
        ("timestamp", datetime(9999, 12, 31, 23, 59, 59, 999999), "9999-12-31T23:59:59.999999"),  # noqa: DTZ001
        ("text", "a|b", "a|b"),
    ],
)
def test_values_have_one_text_and_come_back_from_it(column_type, value, text):
    frame = pl.DataFrame({"x": [value, None]})
    texts = frame.select(cell_text(pl.col("x"), column_type))
    assert texts.to_series().to_list() == [text, None]
    back = texts.select(typed(pl.col("x"), column_type)).to_series().to_list()
    assert back == [text if column_type == "decimal" else value, None]


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**25), max_value=10**25))
def test_decimals_lose_nothing_but_zeros(number):
    plain = pl.select(plain_decimal(pl.lit(str(number)))).item()
    assert Decimal(plain) == number
    assert "E" not in plain
    assert not ("." in plain and plain.endswith("0"))


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_composite_keys_come_back(keys):
    frame = pl.DataFrame({"k0": [key[0] for key in keys], "k1": [key[1] for key in keys]}, schema={"k0": pl.String, "k1": pl.Int64})
    texts = frame.select(key_text([("k0", "text"), ("k1", "integer")])).to_series()
    assert texts.to_list() == [join_key([text, str(number)]) for text, number in keys]
    assert key_values(texts, ["text", "integer"]).equals(frame)


def test_text_that_is_no_key_has_no_value():
    assert key_values(pl.Series(["007", "abc", "", "1.0", "9" * 30, "7"]), ["integer"]).to_series().to_list() == [None] * 5 + [7]
    assert key_values(pl.Series(["a|1|2", "a"]), ["text", "integer"]).rows() == [(None, None), (None, None)]


def test_names_are_split_where_they_are_not_quoted():
    assert split_name('sales."Odd.Name"') == ("sales", "Odd.Name")
    assert split_name('"a""b"') == ('a"b',)
    assert split_name("orders") == ("orders",)
