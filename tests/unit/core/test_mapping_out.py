"""Mappings: cells to native rows, with everything that cannot be written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest

from tests.unit.core.mapping_tools import LONDON, NAME, cell_of, cells, entity, info, mapping, native, one
from trueup.core.cells import NULL
from trueup.core.mapping import compile_mapping
from trueup.model import CleanStep, ColumnInfo, Field, FieldMapping


def test_a_name_is_split_and_what_cannot_be_put_together_again_is_rejected():
    compiled = compile_mapping(entity(Field(name="name")), None, mapping(NAME), info(first_name="text", last_name="text"))
    written = compiled.to_native(
        cells([{"name": "Ann O'Neil"}, {"name": "Cher"}, {"name": "José García M."}, {"name": "two  spaces"}, {"name": NULL}])
    )
    assert written.rows.select("first_name", "last_name").rows() == [
        ("Ann", "O'Neil"), ("Cher", None), ("José", "García M."), ("two", " spaces"), (None, None),
    ]  # fmt: skip
    assert written.rejected.is_empty()
    assert compiled.columns_of("name") == ("first_name", "last_name")
    assert compiled.fields_of("last_name") == ("name",)
    lossy_pair: dict[str, Any] = {"field": "name", "read": "lower(c)", "write": {"c": "upper(name)"}}
    strict = compile_mapping(entity(Field(name="name")), None, mapping(FieldMapping(**lossy_pair)), info(c="text"))
    refused = strict.to_native(cells([{"name": "Ann"}, {"name": "bo"}]))
    assert refused.rejected.rows() == [(0, "name", 'name: "Ann" would read back as "ann" (lossy: true allows it)')]
    assert refused.image["name"].to_list() == [None, "bo"]
    lossy = compile_mapping(entity(Field(name="name")), None, mapping(FieldMapping(**lossy_pair, lossy=True)), info(c="text"))
    allowed = lossy.to_native(cells([{"name": "Ann"}]))
    assert allowed.rejected.is_empty()
    assert allowed.image["name"].to_list() == ["ann"]


def test_new_rows_get_the_constants_and_others_do_not():
    compiled = compile_mapping(
        entity(Field(name="f")),
        LONDON,
        mapping(
            FieldMapping(field="f", column="c"), set={"country": "GB", "since": "2026-07-01 12:00:00", "rate": 1.5}, where="country = 'GB'"
        ),
        info(c="text", country="text", since="timestamp", rate="decimal"),
    )
    new = compiled.to_native(cells([{"f": "x"}]), new=True)
    assert new.rows.to_dicts() == [{"__op": 0, "c": "x", "country": "GB", "since": datetime(2026, 7, 1, 12), "rate": "1.5"}]  # noqa: DTZ001
    assert compiled.takes_part(new.rows).to_list() == [True]
    assert compiled.to_native(cells([{"f": "x"}])).rows.columns == ["__op", "c"]


def test_a_text_too_long_for_its_column_is_rejected_before_it_is_sent():
    compiled = one(Field(name="f"), ColumnInfo(name="c", type="text", max_length=3))
    written = compiled.to_native(cells([{"f": "äöü"}, {"f": "four"}]))
    assert written.rejected.rows() == [(1, "f", "f: \"four\" is too long for column 'c': 4 characters, and it takes 3")]


def test_absent_cells_write_nothing_and_bookkeeping_is_carried():
    compiled = compile_mapping(
        entity(Field(name="name"), Field(name="n", type="integer")),
        None,
        mapping(NAME, FieldMapping(field="n", column="n")),
        info(first_name="text", last_name="text", n="integer"),
    )
    frame = pl.DataFrame({"__gid": [7], "__op": [3], "name": [None], "n": [None]}, schema_overrides={"name": pl.String, "n": pl.String})
    written = compiled.to_native(frame)
    assert written.rows.rows(named=True) == [{"__gid": 7, "__op": 3, "n": None, "first_name": None, "last_name": None}]
    assert written.image.rows(named=True) == [{"__gid": 7, "__op": 3, "name": None, "n": None}]
    assert written.rejected.is_empty()


def test_only_the_fields_asked_for_are_written():
    compiled = compile_mapping(
        entity(Field(name="a"), Field(name="b")),
        None,
        mapping(*(FieldMapping(field=name, column=name) for name in "ab")),
        info(a="text", b="text"),
    )
    assert compiled.to_native(cells([{"a": "1", "b": "2"}]), ["b"]).rows.columns == ["__op", "b"]


@pytest.mark.parametrize(
    ("field", "column", "cell", "expected", "more"),
    [
        (Field(name="f", type="datetime"), "text", "2026-07-01T11:00:00Z", "2026-07-01 12:00:00", {}),
        (Field(name="f", type="datetime"), "text", "2026-07-01T11:00:00.500000Z", "2026-07-01 12:00:00.500000", {}),
        (Field(name="f", type="datetime"), "timestamp", "2026-07-01T11:00:00Z", datetime(2026, 7, 1, 12), {}),  # noqa: DTZ001
        (Field(name="f", type="datetime"), "text", "2026-07-01T11:00:00Z", "01.07.2026 12:00 +0100", {"format": "%d.%m.%Y %H:%M %z"}),
        (Field(name="f", type="date"), "text", "1999-12-31", "31/12/1999", {"format": "%d/%m/%Y"}),
        (Field(name="f", type="boolean"), "text", "true", "true", {}),
        (Field(name="f", type="boolean"), "text", "false", "Nein", {"format": "Ja/Nein"}),
        (Field(name="f", type="list"), "text", '["a","b"]', "a|b", {"separator": "|"}),
        (Field(name="f", type="decimal"), "decimal", "1.5", "1.5", {}),
        (Field(name="f"), "text", NULL, None, {}),
        (Field(name="f", type="reference", entity="x"), "integer", "42", 42, {}),
    ],
)
def test_native_form(field, column, cell, expected, more):
    written = one(field, column, zone=LONDON, **more).to_native(cells([{"f": cell}]))
    assert written.rejected.is_empty()
    assert written.rows["c"].to_list() == [expected]


@pytest.mark.parametrize(
    ("found", "true", "false"),
    [
        (["yes", "no", None, ""], "yes", "no"),
        (["Yes"], "Yes", "No"),
        (["NO"], "YES", "NO"),
        (["1", "0"], "1", "0"),
        (["Y"], "Y", "N"),
        (["FALSE", "TRUE"], "TRUE", "FALSE"),
        (["yes", "0"], "true", "false"),
        ([None], "true", "false"),
    ],
)
def test_booleans_in_text_keep_the_words_found(found, true, false):
    compiled = one(Field(name="f", type="boolean"), "text", kind="file")
    compiled = compiled.with_words_of(native([{"c": word} for word in found], compiled))
    written = compiled.to_native(cells([{"f": "true"}, {"f": "false"}]))
    assert written.rows["c"].to_list() == [true, false]
    assert written.rejected.is_empty()


def test_trailing_zeros_of_a_decimal_column_mean_nothing():
    assert cell_of(one(Field(name="f", type="reference", entity="x"), "decimal"), "100.00") == "100"
    assert cell_of(one(Field(name="f"), "decimal"), "100") == "100"


@pytest.mark.parametrize(
    ("field", "column", "cell", "reason"),
    [
        (Field(name="f", type="list"), "text", '["a;b"]', "contains the separator"),
        (Field(name="f"), "integer", "007", 'would read back as "7"'),
        (Field(name="f"), "integer", "seven", "is not a whole number"),
        (Field(name="f", type="decimal"), "integer", "1.5", "is not a whole number"),
        (Field(name="f", type="datetime"), "date", "2026-07-01T11:30:00Z", "has a time of day"),
        (Field(name="f", type="datetime"), "timestamp", "2026-10-25T01:30:00Z", 'would read back as "2026-10-25T00:30:00Z"'),
        (Field(name="f", type="reference", entity="x"), "integer", "key-7", "is not a whole number"),
    ],
)
def test_what_a_column_cannot_hold_is_rejected(field, column, cell, reason):
    rejected = one(field, column, zone=LONDON).to_native(cells([{"f": cell}])).rejected
    assert rejected["field"].to_list() == ["f"]
    assert reason in rejected["reason"][0]


def test_cleaning_is_no_difference():
    compiled = one(Field(name="f", clean=(CleanStep("lower"),)), "text")
    written = compiled.to_native(cells([{"f": "Ann"}]))
    assert written.rejected.is_empty()
    assert written.image["f"].to_list() == ["ann"]


def test_nothing_is_written_to_a_read_only_mapping():
    compiled = compile_mapping(
        entity(Field(name="f")), None, mapping(FieldMapping(field="f", column="c"), direction="read"), info(c="text")
    )
    assert compiled.writable == ()
    assert compiled.columns_of("f") == ()


def test_no_rows_are_fine_both_ways():
    compiled = compile_mapping(entity(Field(name="name")), None, mapping(NAME), info(first_name="text", last_name="text"))
    mapped = compiled.to_cells(native([], compiled))
    assert mapped.rows.columns == ["__key", "__at", "__dirty", "name"]
    written = compiled.to_native(cells([{"name": "x"}]).clear(), new=True)
    assert written.rows.columns == ["__op", "first_name", "last_name"]
    assert written.rejected.columns == ["__op", "field", "reason"]
