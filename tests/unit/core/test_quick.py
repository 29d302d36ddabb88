"""What Polars' own core makes is what its Python makes, errors included; where the core is another one, its Python is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.core import quick

VALUES: dict[pl.DataType, st.SearchStrategy[Any]] = {
    pl.String(): st.text(st.characters(codec="utf-8")),
    pl.Int64(): st.integers(-(2**63), 2**63 - 1),
    pl.UInt32(): st.integers(0, 2**32 - 1),
    pl.Boolean(): st.booleans(),
    pl.List(pl.String()): st.lists(st.text("ab")),
    pl.Datetime("us", "UTC"): st.datetimes() | st.datetimes(timezones=st.just(UTC)),
}


def both_ways() -> Iterator[None]:
    """Once as it is, once as with another Polars."""
    yield None
    with mock.patch.object(quick, "_new_frame", None), mock.patch.object(quick, "_MAKERS", {}):
        yield None


def test_the_short_way_is_there() -> None:
    assert quick._new_frame is not None
    assert set(quick._MAKERS) == {pl.String(), pl.Int64(), pl.UInt32(), pl.Boolean(), pl.Datetime("us", "UTC")}


@given(st.data())
@settings(max_examples=settings().max_examples // 2)
def test_columns_and_frames(data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 4))
    told = {str(kind): data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows)) for kind, values in VALUES.items()}
    expected = [pl.Series(str(kind), told[str(kind)], dtype=kind) for kind in VALUES]
    for _way in both_ways():
        columns = [quick.series(str(kind), told[str(kind)], kind) for kind in VALUES]
        for column, known in zip(columns, expected, strict=True):
            assert column.dtype == known.dtype
            assert column.name == known.name
            assert column.equals(known, null_equal=True)
        frame = quick.frame(columns)
        assert frame.equals(pl.DataFrame(expected))
        assert frame.schema == pl.DataFrame(expected).schema
        names = data.draw(st.permutations(frame.columns))[:3]
        assert quick.chosen(frame, names).equals(frame.select(names))
        places = data.draw(st.lists(st.integers(0, max(0, rows - 1)), max_size=6 if rows else 0))
        assert quick.taken(frame, places).equals(frame[places] if places else frame.clear())
        assert quick.table({"a": columns[0], "b": columns[1]}).equals(pl.DataFrame({"a": columns[0], "b": columns[1]}))


@pytest.mark.parametrize(("values", "kind"), [([1], pl.String()), (["x"], pl.Int64()), ([1.5], pl.Int64()), ([1], pl.Boolean())])
def test_a_value_of_another_type_is_refused(values: list[Any], kind: pl.DataType) -> None:
    for _way in both_ways():
        with pytest.raises(TypeError):
            quick.series("a", values, kind)


def test_columns_that_do_not_fit_together_are_refused() -> None:
    one, two = pl.Series("a", [1]), pl.Series("b", [1, 2])
    with pytest.raises(pl.exceptions.ShapeError):
        quick.frame([two, one.extend_constant(1, 2)])
    with pytest.raises(pl.exceptions.DuplicateError):
        quick.frame([two, two])
    for _way in both_ways():
        with pytest.raises(pl.exceptions.ColumnNotFoundError):
            quick.chosen(two.to_frame(), ["c"])
