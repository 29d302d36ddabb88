"""Cells: typed values, JSON records and single values all survive the way there and back."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.cells import NULL, cell_from_python, cell_to_python, from_cells, json_to_records, records_to_json, to_cells
from trueup.core.frames import FEW_ROWS
from trueup.core.types import canonical_json
from trueup.model import Field, FieldType

KINDS: tuple[FieldType, ...] = ("text", "integer", "decimal", "float", "boolean", "date", "datetime", "list", "json", "reference")
FIELDS: dict[str, Field] = {kind: Field(name=kind, type=kind, entity="other" if kind == "reference" else None) for kind in KINDS}
NFC_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12).map(partial(unicodedata.normalize, "NFC"))

VALUES = {
    "text": st.one_of(NFC_TEXT, st.sampled_from(["", "O'Neil", 'say "hi"\\', "שלום", "👩‍👩‍👧", "a\nb\tc\x01", "\u2028"])),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**25), max_value=10**25),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.just(UTC)),
    "list": st.lists(NFC_TEXT.map(str.strip).filter(bool), max_size=4).map(lambda items: sorted(set(items))),
    "json": st.dictionaries(NFC_TEXT, st.integers() | st.booleans() | NFC_TEXT | st.none(), max_size=3),
    "reference": st.integers(1, 2**62),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_typed_column_survives(kind, data):
    values = [*data.draw(st.lists(VALUES[kind], min_size=1, max_size=4)), None]
    field = FIELDS[kind]
    typed = from_cells(pl.col("c"), field)
    cells = pl.DataFrame({"c": [cell_from_python(value, field) for value in values]})
    assert cells["c"][-1] == NULL
    back = cells.select(typed.alias("c"))
    again = back.select(to_cells(pl.col("c"), field).alias("c"))
    assert again.equals(cells)
    if kind not in {"json", "decimal"}:
        assert back["c"].to_list() == values
    if kind == "decimal":
        assert [None if value is None else Decimal(value) for value in back["c"]] == values


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_equal_values_have_equal_cells_and_others_differ(kind, data):
    first, second = data.draw(VALUES[kind]), data.draw(VALUES[kind])
    cells = cell_from_python(first, FIELDS[kind]), cell_from_python(second, FIELDS[kind])
    same = canonical_json(first) == canonical_json(second) if kind == "json" else first == second
    assert (cells[0] == cells[1]) == same


@given(st.data())
def test_records_survive_json(data):
    rows = data.draw(st.lists(st.fixed_dictionaries({kind: st.sampled_from(["absent", "null", "value"]) for kind in KINDS}), max_size=4))
    records = [
        {
            kind: None if what == "absent" else NULL if what == "null" else cell_from_python(data.draw(VALUES[kind]), FIELDS[kind])
            for kind, what in row.items()
        }
        for row in rows
    ]
    frame = pl.DataFrame(records, schema=dict.fromkeys(KINDS, pl.String))
    column = records_to_json(frame, FIELDS)
    assert json_to_records(column, FIELDS).equals(frame)


@given(data=st.data())
def test_few_records_are_told_as_many_are(data):
    cells = st.one_of(st.none(), st.just(NULL), st.sampled_from(["", "a", "1", "-1.5", "1e5", "true", "[]", '["a"]', 'q"\\', "ä\n", "{}"]))
    fields = {name: item for name, item in FIELDS.items() if name != "json"}
    row = {name: data.draw(cells) for name in fields}
    one = pl.DataFrame(row, schema=dict.fromkeys(fields, pl.String))
    assert set(records_to_json(pl.concat([one] * (1 + FEW_ROWS)), fields).to_list()) == set(records_to_json(one, fields).to_list())


def test_json_is_typed_and_says_what_is_known():
    frame = pl.DataFrame(
        {
            "text": ['a "quoted" word', NULL, None],
            "integer": ["-12", NULL, None],
            "decimal": ["1.5", NULL, None],
            "boolean": ["true", NULL, None],
            "datetime": ["2026-11-20T02:00:00Z", NULL, None],
            "list": ['["a","b"]', NULL, None],
            "json": ['{"a":1}', NULL, None],
            "reference": ["7", NULL, None],
        }
    )
    assert records_to_json(frame, FIELDS).to_list() == [
        (
            '{"text":"a \\"quoted\\" word","integer":-12,"decimal":"1.5","boolean":true,"datetime":"2026-11-20T02:00:00Z",'
            '"list":["a","b"],"json":{"a":1},"reference":7}'
        ),
        '{"text":null,"integer":null,"decimal":null,"boolean":null,"datetime":null,"list":null,"json":null,"reference":null}',
        "{}",
    ]


def test_unknown_keys_are_dropped_and_no_record_is_absent_throughout():
    column = pl.Series([None, '{"gone": 1, "integer": 5}'], dtype=pl.String)
    found = json_to_records(column, {"integer": FIELDS["integer"], "text": FIELDS["text"]})
    assert found.rows() == [(None, None), ("5", None)]


def test_no_rows_are_no_rows():
    empty = pl.DataFrame(schema=dict.fromkeys(KINDS, pl.String))
    assert records_to_json(empty, FIELDS).len() == 0
    assert json_to_records(pl.Series([], dtype=pl.String), FIELDS).equals(empty)


@pytest.mark.parametrize(
    ("kind", "value", "cell", "shown"),
    [
        ("text", "e\u0301", "\u00e9", "\u00e9"),
        ("decimal", "1.500", "1.5", "1.5"),
        ("decimal", Decimal("-0.00"), "0", "0"),
        ("decimal", 100, "100", "100"),
        ("float", -0.0, "0.0", 0.0),
        ("boolean", "yes", "true", True),
        ("date", date(1, 1, 1), "0001-01-01", "0001-01-01"),
        ("datetime", datetime(2026, 1, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-01T02:03:04.000005Z", "2026-01-01T02:03:04.000005Z"),
        ("list", ["b", "a", "b", " "], '["a","b"]', ["a", "b"]),
        ("json", {"b": 1, "a": [1.0]}, '{"a":[1.0],"b":1}', {"a": [1.0], "b": 1}),
        ("reference", "7", "7", 7),
        ("integer", None, NULL, None),
    ],
)
def test_single_values(kind, value, cell, shown):
    assert cell_from_python(value, FIELDS[kind]) == cell
    assert cell_to_python(cell, FIELDS[kind]) == shown


def test_absent_is_shown_as_nothing():
    assert cell_to_python(None, FIELDS["text"]) is None


def test_a_value_of_another_type_is_refused_in_words():
    with pytest.raises(ValueError, match='"twelve" is not a whole number'):
        cell_from_python("twelve", FIELDS["integer"])
    with pytest.raises(ValueError, match="is not a whole number"):
        cell_from_python("key-1", FIELDS["reference"])


def test_a_scale_is_kept():
    price = Field(name="price", type="decimal", scale=2)
    assert cell_from_python("1.005", price) == "1"
    assert pl.DataFrame({"c": ["1.5"]}).select(from_cells(pl.col("c"), price))["c"].dtype == pl.Decimal(38, 2)


# ---------------------------------------------------------------- cells of before the field had its type

ODD = (
    "many",
    "",
    "007",
    'a "quoted" one',
    "[a]",
    '["a", "b"]',
    "{",
    "1.",
    "true!",
    "line\nbreak",
    "true",
    "12",
    "1.5",
    '["a","b"]',
    "null",
)
TYPES: tuple[FieldType, ...] = ("text", "integer", "decimal", "float", "boolean", "date", "datetime", "list", "reference")


@pytest.mark.parametrize("before", TYPES)
@pytest.mark.parametrize("now", TYPES)
@pytest.mark.parametrize("cell", ODD)
def test_a_cell_survives_a_change_of_its_type(cell: str, before: FieldType, now: FieldType) -> None:
    """It is stored under one type and read under another, and stored again."""
    stored = records_to_json(pl.DataFrame({"f": [cell]}), {"f": Field(name="f", type=before)})
    fields = {"f": Field(name="f", type=now)}
    read = json_to_records(stored, fields)
    again = json_to_records(records_to_json(read, fields), fields)
    if now == "float" and cell in ("12", "1.5"):  # the same number, in the form of floats
        assert float(read["f"][0]) == float(again["f"][0]) == float(cell)
    else:
        assert read["f"].to_list() == again["f"].to_list() == [cell]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("cell", ODD)
def test_a_cell_of_another_form_is_no_value_and_shown_as_it_is(cell: str, kind: FieldType) -> None:
    field = Field(name="f", type=kind)
    typed = pl.DataFrame({"f": [cell]}).select(from_cells(pl.col("f"), field)).to_series()
    assert typed.len() == 1
    if typed[0] is None:
        assert cell_to_python(cell, field) in (cell, ["a", "b"])
