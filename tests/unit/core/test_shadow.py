"""Shadow deltas: only what differs from the golden record is named, and absent, null and empty stay three things."""

from __future__ import annotations

from unittest import mock

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.tools import shadow
from trueup.core.cells import GID, NULL, SYSTEM
from trueup.core.facts import SHADOW_SCHEMA
from trueup.core.shadow import DELTA_SCHEMA, decode_delta, encode_delta, encode_deltas, long_deltas

DELTAS = st.dictionaries(st.text(min_size=1, max_size=8), st.one_of(st.none(), st.just(NULL), st.text(max_size=8)), max_size=4)


def test_a_shadow_that_differs_nowhere_has_no_delta():
    assert encode_delta({}) is None
    assert decode_delta(None) == {}


def test_a_delta_that_names_no_field_is_not_the_same_as_none():
    """It marks rows of deleted records: something is due there."""
    assert decode_delta("{}") == {}


def test_absent_null_and_empty_are_three_things():
    cells = {"name": None, "email": NULL, "phone": ""}
    assert decode_delta(encode_delta(cells)) == cells
    assert encode_delta(cells) == '{"email":null,"phone":"","":["name"]}'


def test_a_text_that_looks_like_null_is_a_text():
    assert decode_delta(encode_delta({"name": "null"})) == {"name": "null"}


@given(DELTAS)
def test_a_delta_comes_back_as_it_was(cells: dict[str, str | None]) -> None:
    assert decode_delta(encode_delta(cells)) == cells


@given(st.dictionaries(st.tuples(st.integers(1, 5), st.sampled_from(["crm", "shop"])), DELTAS, max_size=6))
def test_deltas_of_many_shadows_come_back_each_to_its_own(deltas: dict[tuple[int, str], dict[str, str | None]]) -> None:
    shadows = pl.DataFrame([shadow(gid, system, seen=cells) for (gid, system), cells in deltas.items()], schema=SHADOW_SCHEMA)
    long = long_deltas(shadows, "seen")
    assert long.schema == DELTA_SCHEMA
    assert long.height == sum(map(len, deltas.values()))
    assert encode_deltas(shadows, long).to_list() == shadows["seen"].to_list()


@given(st.lists(st.one_of(st.none(), DELTAS, st.dictionaries(st.just("name"), st.text('a\\"\n\x00é', max_size=3), min_size=1)), max_size=6))
def test_many_deltas_are_read_and_written_as_few_are(deltas: list[dict[str, str | None] | None]) -> None:
    shadows = pl.DataFrame([shadow(number, "crm", seen=cells or {}) for number, cells in enumerate(deltas)], schema=SHADOW_SCHEMA)
    one_by_one = long_deltas(shadows, "seen")
    with mock.patch("trueup.core.shadow.FEW_ROWS", 0):
        together = long_deltas(shadows, "seen")
        assert together.equals(one_by_one)
        assert encode_deltas(shadows, together).to_list() == shadows["seen"].to_list()


def test_seen_and_sent_are_read_from_their_own_column():
    shadows = pl.DataFrame([shadow(1, "crm", seen={"name": "ADA"}, sent={"email": NULL})], schema=SHADOW_SCHEMA)
    assert long_deltas(shadows, "seen").rows() == [(1, "crm", "name", "ADA")]
    assert long_deltas(shadows, "sent").rows() == [(1, "crm", "email", NULL)]


def test_a_shadow_of_which_no_cell_differs_is_written_without_a_delta():
    cells = pl.DataFrame([(1, "crm", "name", "Ada")], schema=[GID, SYSTEM, "field", "cell"], orient="row")
    pairs = pl.DataFrame({"gid": [2, 1, 1], "system": ["crm", "shop", "crm"]})
    assert encode_deltas(pairs, cells).to_list() == [None, None, '{"name":"Ada"}']
