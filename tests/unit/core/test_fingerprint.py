"""Fingerprints: the same row, the same number; any difference, another one; nothing to forge."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.core.cells import NULL
from trueup.core.fingerprint import bucket_sums, cell_fingerprint, checksum, checksums, key_hash, match_hash, native_fingerprint
from trueup.core.frames import FEW_ROWS

CELL = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=4), st.sampled_from(["", "\x00", "\x1f", "a\x1fb", "1", "null"]))


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=2, max_size=6))
def test_rows_have_equal_fingerprints_exactly_when_equal(rows):
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String, "c": pl.String}, orient="row")
    marks = native_fingerprint(frame, ["a", "b", "c"]).to_list()
    assert None not in marks
    for first, one in zip(rows, marks, strict=True):
        for second, other in zip(rows, marks, strict=True):
            assert (first == second) == (one == other)


@given(st.lists(st.tuples(CELL, st.integers(-5, 5), st.none() | st.booleans()), min_size=1, max_size=6))
def test_few_rows_and_many_rows_give_the_same_numbers(rows):
    few = pl.DataFrame(rows, schema={"a": pl.String, "n": pl.Int64, "b": pl.Boolean}, orient="row")
    many = pl.concat([few] * (FEW_ROWS + 1))
    assert native_fingerprint(few, few.columns).to_list() == native_fingerprint(many, few.columns).head(few.height).to_list()
    assert key_hash(few["a"]).to_list() == key_hash(many["a"]).head(few.height).to_list()


def test_known_values_stay_the_same():
    frame = pl.DataFrame({"a": ["x", None], "n": [1, 2]})
    assert native_fingerprint(frame, ["a", "n"]).to_list() == [596464666985659109, 8143654569071600221]
    assert key_hash(pl.Series(["42", None])).to_list() == [1303733993043075473, None]


def test_columns_may_come_in_any_order_but_not_change_places():
    frame = pl.DataFrame({"a": ["x"], "b": ["y"]})
    swapped = pl.DataFrame({"a": ["y"], "b": ["x"]})
    assert native_fingerprint(frame, ["a", "b"]).equals(native_fingerprint(frame.select("b", "a"), ["b", "a"]))
    assert native_fingerprint(frame, ["a", "b"])[0] != native_fingerprint(swapped, ["a", "b"])[0]


def test_every_native_type_counts():
    base = {
        "i": 1, "f": 1.5, "b": True, "d": date(1, 1, 1), "t": datetime(9999, 12, 31, 23, 59, 59, 999999), "l": ["a", "b"], "s": "x",  # noqa: DTZ001
    }  # fmt: skip
    other = {"i": 2, "f": 1.25, "b": False, "d": date(1, 1, 2), "t": datetime(1, 1, 1), "l": ["a", None, "b"], "s": "y"}  # noqa: DTZ001
    rows = (
        [base] + [base | {name: value} for name, value in other.items()] + [base | {name: None} for name in base] + [base | {"l": ["ab"]}]
    )
    marks = native_fingerprint(pl.DataFrame(rows), list(base))
    assert marks.n_unique() == len(rows)


def test_absent_null_and_empty_are_three_things():
    frame = pl.DataFrame({"a": [None, None, ""], "__absent": [["a"], None, []]}, schema_overrides={"a": pl.String})
    assert native_fingerprint(frame, ["a"]).n_unique() == 3
    cells = pl.DataFrame({"a": [None, NULL, ""]})
    assert cell_fingerprint(cells, ["a"]).n_unique() == 3


def test_nothing_never_matches():
    frame = pl.DataFrame({"email": ["a@b.de", None, NULL, "", "a@b.de"], "tags": ['["x"]', '["x"]', '["x"]', '["x"]', "[]"]})
    assert match_hash(frame, ["email", "tags"], 0).is_null().to_list() == [False, True, True, True, True]
    assert match_hash(frame, ["email"], 0).is_null().to_list() == [False, True, True, True, False]


def test_match_hashes_belong_to_their_rule():
    frame = pl.DataFrame({"a": ["x"], "b": ["y"]})
    assert len({match_hash(frame, fields, rule)[0] for fields in (["a"], ["b"], ["a", "b"], ["b", "a"]) for rule in (0, 1)}) == 8


@given(st.lists(st.tuples(st.text(max_size=3), CELL), unique_by=lambda row: row[0], max_size=20), st.randoms(use_true_random=False))
@settings(max_examples=settings().max_examples // 2)
def test_bucket_sums_know_any_difference_and_no_order(rows, random):
    def sums(some: list) -> pl.DataFrame:
        frame = pl.DataFrame(some, schema={"k": pl.String, "v": pl.String}, orient="row")
        return bucket_sums(key_hash(frame["k"]), cell_fingerprint(frame, ["v"]), 8)

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert sums(rows).equals(sums(shuffled))
    if rows:
        assert not sums(rows).equals(sums([(rows[0][0], f"{rows[0][1]}!"), *rows[1:]]))
        assert not sums(rows).equals(sums(rows[1:]))
    assert sums(rows)["rows"].sum() == len(rows)


def test_no_rows_and_no_columns():
    assert native_fingerprint(pl.DataFrame(schema={"a": pl.String}), ["a"]).to_list() == []
    assert native_fingerprint(pl.DataFrame({"a": [1, 2]}), []).to_list() == [0, 0]
    assert bucket_sums(pl.Series([], dtype=pl.Int64), pl.Series([], dtype=pl.Int64), 4).is_empty()


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), st.integers(0, 3))
def test_few_rows_have_the_match_hashes_of_many(rows, rule):
    few = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    many = pl.concat([few] * (FEW_ROWS + 1))
    for names in (["a"], ["a", "b"]):
        assert match_hash(few, names, rule).to_list() == match_hash(many, names, rule).to_list()[: few.height]


def test_a_checksum_tells_which_row_holds_which_values():
    rows = {number: number * 7919 - 2**62 for number in range(-50, 50)}
    keys, prints = pl.Series(list(rows), dtype=pl.Int64), pl.Series(list(rows.values()), dtype=pl.Int64)
    whole = checksum(keys, prints)
    assert checksum(keys.reverse(), prints.reverse()) == whole, "in whatever order"
    assert (checksum(keys[:30], prints[:30]) + checksum(keys[30:], prints[30:])) % 2**64 == whole, "part by part"
    assert sum(checksums(keys, prints).to_list()) % 2**64 == whole, "no sum runs over"
    assert checksum(keys, prints.reverse()) != whole, "two rows that have exchanged their values differ"
    assert checksum(keys[1:], prints[1:]) != whole
    assert checksum(keys[:0], prints[:0]) == 0
