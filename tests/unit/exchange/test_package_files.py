"""What goes into a package comes out of it, whatever it is; and the judge of the format agrees."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from frictionless import Package
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.exchange.packages import COLUMNS, GONE, NOBODY, ROWS, read, written
from trueup.core.cells import NULL
from trueup.exchange.naming import PackageName, package_name, packages_among
from trueup.exchange.statement import FILE, ID, Column, read_statement

FORMS = ("csv", "jsonl")
EVERY_TYPE = pl.DataFrame(
    {
        ID: [1, 2, 3],
        "t": ['a "q", \n\r x', "\\N", ""],
        "i": ["9223372036854775807", NULL, "-5"],
        "d": ["12345678901234567890.123456789012", "0.1", None],
        "f": ["1e-7", "0.5", NULL],
        "b": ["true", "false", None],
        "da": ["2026-11-20", "1900-01-01", None],
        "dt": ["2026-11-20T02:00:00Z", "2026-11-20T02:00:00.123456Z", None],
        "l": ['["a","b,c"]', "[]", None],
        "j": ['{"a":1.10}', "[1,2]", '"x"'],
        "r": ["7", None, None],
    }
)
KINDS = ("integer", "text", "integer", "decimal", "float", "boolean", "date", "datetime", "list", "json", "reference")
TYPED = tuple(Column(name, kind) for name, kind in zip(EVERY_TYPE.columns, KINDS, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_every_type_comes_back_as_it_was_and_frictionless_agrees(tmp_path, form):
    statement = written(tmp_path, form, rows=EVERY_TYPE, columns=TYPED)
    records, gone = read(tmp_path)
    assert records.equals(EVERY_TYPE.with_columns(pl.col(ID).cast(pl.String)))
    assert gone.equals(GONE)
    assert statement.totals == {
        "i": "9223372036854775802", "d": "12345678901234567890.223456789012", "f": "0.5000001", "r": "7",
    }  # fmt: skip
    judged = Package(str(tmp_path / FILE)).validate()
    assert judged.valid, judged.flatten(["type", "rowNumber", "fieldName", "note"])
    assert judged.stats["tasks"] == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_package_of_nothing_is_a_package(tmp_path, form):
    written(tmp_path, form, rows=ROWS.clear(), gone=NOBODY)
    assert [frame.height for frame in read(tmp_path)] == [0, 0]
    judged = Package(str(tmp_path / FILE)).validate()
    # Of JSON Lines without a line the judge says that its own generator stopped; an empty file is what the format asks for.
    problems = [note for (note,) in judged.flatten(["note"]) if form == "csv" or note != "generator raised StopIteration"]
    assert problems == []


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
CELLS = st.one_of(st.none(), st.just(NULL), TEXTS, st.sampled_from(["\\N", "\\A", "\\NN", '"', "\r", "\n", ",", " x "]))
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**20), max_value=10**20)


@given(
    st.lists(st.tuples(CELLS, st.one_of(st.none(), st.just(NULL), NUMBERS.map(lambda value: f"{value:f}"))), max_size=8),
    st.sampled_from(FORMS),
)
@settings(max_examples=60)
def test_any_text_and_any_number_come_back_and_totals_are_exact(values, form):
    rows = pl.DataFrame(
        {ID: [number * 3 for number in range(1, len(values) + 1)], "number": [one for one, _ in values], "net": [one for _, one in values]},
        schema={ID: pl.Int64, "number": pl.String, "net": pl.String},
    )
    with tempfile.TemporaryDirectory() as folder:
        statement = written(Path(folder), form, rows=rows)
        records, _gone = read(Path(folder))
        assert read_statement((Path(folder) / FILE).read_bytes()).totals == statement.totals
    assert records.rows() == rows.with_columns(pl.col(ID).cast(pl.String)).rows()
    total = sum((Fraction(Decimal(one)) for _, one in values if one not in {None, NULL}), Fraction(0))
    assert Fraction(statement.totals["net"]) == total


def test_names():
    assert package_name("invoice-000123") == PackageName("invoice", 123)
    assert str(PackageName("a-b_c", 1_234_567, ending=".zip.sealed")) == "a-b_c-1234567.zip.sealed"
    assert package_name("a-b_c-1234567.zip.sealed") == PackageName("a-b_c", 1_234_567, ending=".zip.sealed")
    assert package_name("invoice-000123-ack") == PackageName("invoice", 123, answer=True)
    for other in ("invoice-123", "invoice-0000123", "invoice-000123.zip.part", ".invoice-000123.zip", "invoice-000123.ZIP", "000123", "x"):
        assert package_name(other) is None
    names = ["invoice-000010", "invoice-000009.zip", "invoice-000009-ack", "other-000001", "notes.txt"]
    assert list(map(str, packages_among(names, "invoice"))) == ["invoice-000009.zip", "invoice-000010"]
    assert list(map(str, packages_among(names, "invoice", answers=True))) == ["invoice-000009-ack"]


def test_columns_are_told_with_their_types(tmp_path):
    statement = written(tmp_path)
    assert read_statement((tmp_path / FILE).read_bytes()).records.columns == statement.records.columns == COLUMNS
