"""Mappings: native rows to cells and there and back, with everything that can be wrong on the way."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.mapping_tools import LONDON, NAME, cell_of, cells, entity, info, mapping, native, one, reason_of
from trueup.core.cells import NULL, cell_from_python
from trueup.core.mapping import MappingError, compile_mapping
from trueup.core.mapping_out import native_dtype
from trueup.model import CleanStep, ColumnInfo, Field, FieldMapping, FieldType, ObjectSpec

# ---------------------------------------------------------------- there and back, every type through every column type

NFC_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10).map(partial(unicodedata.normalize, "NFC"))
TEXT = st.one_of(NFC_TEXT, st.sampled_from(["007", " padded ", "1.50", "👩‍👩‍👧", "שלום", "O'Neil", "2026-11-20", "true", "[x", "a;b"]))
ITEMS = st.lists(NFC_TEXT.map(str.strip).filter(bool), max_size=3).map(lambda items: sorted(set(items)))
SMALL_DECIMAL = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
VALUES = {
    "text": TEXT,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": SMALL_DECIMAL,
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    "list": ITEMS,
    "json": st.dictionaries(NFC_TEXT, st.integers(-9, 9) | st.none() | NFC_TEXT, max_size=2),
    "reference": st.one_of(NFC_TEXT.filter(lambda text: bool(text.strip())), st.integers(1, 99).map(str)),
}
LOSSLESS = [
    ("text", "text"), ("text", "other"), ("text", "json"),
    ("integer", "integer"), ("integer", "decimal"), ("integer", "text"),
    ("decimal", "decimal"), ("decimal", "text"), ("decimal", "float"),
    ("float", "float"), ("float", "text"),
    ("boolean", "boolean"), ("boolean", "text"), ("boolean", "integer"), ("boolean", "float"), ("boolean", "decimal"),
    ("date", "date"), ("date", "text"), ("date", "timestamp"), ("date", "datetime"),
    ("datetime", "datetime"), ("datetime", "text"), ("datetime", "timestamp"),
    ("list", "list"), ("list", "json"),
    ("json", "json"), ("json", "text"),
    ("reference", "text"),
]  # fmt: skip


def intended(field: Field, value: object) -> str:
    return str(value) if field.type == "reference" else cell_from_python(value, field)


@pytest.mark.parametrize(("kind", "column"), LOSSLESS)
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_written_reads_back_the_same(kind, column, data):
    field = Field(name="f", type=kind, entity="other" if kind == "reference" else None)
    compiled = one(field, column)
    meant = cells([{"f": intended(field, data.draw(VALUES[kind]))} for _ in range(2)] + [{"f": NULL}])
    written = compiled.to_native(meant)
    assert written.rejected.is_empty()
    assert written.image.equals(meant)
    assert written.rows.schema["c"] == native_dtype(column)
    page = written.rows.select(pl.col("__op").cast(pl.String).alias("__key"), "c")
    assert compiled.to_cells(page).rows["f"].equals(meant["f"])


@pytest.mark.parametrize("kind", sorted(VALUES))
@pytest.mark.parametrize("column", ["text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp", "list", "json"])
@settings(max_examples=8)
@given(data=st.data())
def test_any_type_in_any_column_is_written_faithfully_or_refused(kind, column, data):
    """Whatever the combination: the mapping is refused, or the value is, or it reads back as meant."""
    field = Field(name="f", type=kind, entity="other" if kind == "reference" else None)
    zone = data.draw(st.sampled_from(["UTC", LONDON, "America/Sao_Paulo", "Pacific/Apia"]))
    try:
        compiled = one(field, column, zone=zone)
    except MappingError as refused:
        assert "cannot be read as" in str(refused)  # noqa: PT017 - a refusal is one of the right outcomes
        return
    meant = cells([{"f": intended(field, data.draw(VALUES[kind]))}])
    written = compiled.to_native(meant)
    if written.rejected.is_empty():
        page = written.rows.select(pl.lit("1").alias("__key"), "c")
        assert compiled.to_cells(page).rows["f"].to_list() == meant["f"].to_list()
        assert written.image.equals(meant)
    else:
        assert written.rejected["reason"][0].startswith("f: ")
        assert written.image["f"].to_list() == [None]


@given(st.lists(VALUES["decimal"], min_size=1, max_size=3), st.sampled_from(["1,234.56", "1.234,56", "1 234,5 kr", "£1,234", "1234,-"]))
def test_formatted_numbers_read_back(numbers, form):
    field = Field(name="f", type="decimal")
    compiled = one(field, "text", kind="file", format=form)
    meant = cells([{"f": cell_from_python(number, field)} for number in numbers])
    written = compiled.to_native(meant)
    assert written.rejected.is_empty()
    assert written.image.equals(meant)


@given(st.dates())
def test_a_date_never_moves(day):
    for zone in ("America/Los_Angeles", "Pacific/Kiritimati", "UTC"):
        compiled = one(Field(name="born", type="date"), "date", zone=zone)
        assert cell_of(compiled, day) == day.isoformat()
        assert compiled.to_native(cells([{"born": day.isoformat()}])).rows["c"].to_list() == [day]


# ---------------------------------------------------------------- reading


def test_a_row_reads_as_the_entity_sees_it():
    compiled = compile_mapping(
        entity(
            Field(name="name", required=True),
            Field(name="email", clean=(CleanStep("trim"), CleanStep("lower")), write_back=True),
            Field(name="status", one_of=("active", "closed")),
        ),
        LONDON,
        mapping(
            NAME,
            FieldMapping(field="email", column="mail"),
            FieldMapping(field="status", column="state", values={"active": "A", "closed": "C"}),
            spec=ObjectSpec(name="contacts", key=("id",), modified="changed"),
        ),
        info(first_name="text", last_name="text", mail="text", state="text", changed="timestamp", unused="text"),
    )
    assert compiled.read_columns == ("first_name", "last_name", "mail", "state", "changed")
    assert compiled.value_columns == ("first_name", "last_name", "mail", "state")
    row = {"first_name": "Ann", "last_name": "O'Neil", "mail": " Ann@Example.com", "state": "A", "changed": datetime(2026, 7, 1, 12)}  # noqa: DTZ001
    clean: dict[str, Any] = {"first_name": "Bo", "mail": "bo@example.com", "state": None}
    mapped = compiled.to_cells(native([row | {"__version": "v1"}, clean | {"__version": "v2"}], compiled))
    assert mapped.rows.to_dicts() == [
        {
            "__key": "0", "__at": datetime(2026, 7, 1, 11, tzinfo=ZoneInfo("UTC")), "__version": "v1",
            "__dirty": '{"email":" Ann@Example.com"}',
            "name": "Ann O'Neil", "email": "ann@example.com", "status": "active",
        },
        {"__key": "1", "__at": None, "__version": "v2", "__dirty": None, "name": "Bo", "email": "bo@example.com", "status": NULL},
    ]  # fmt: skip
    assert mapped.rejected.is_empty()
    assert mapped.cleaned == {"email": 1}


def test_a_bad_row_is_rejected_once_per_bad_field_and_the_others_are_read():
    compiled = compile_mapping(
        entity(Field(name="credit", type="decimal"), Field(name="born", type="date"), Field(name="name", required=True)),
        None,
        mapping(*(FieldMapping(field=name, column=name) for name in ("credit", "born", "name"))),
        info(credit="text", born="text", name="text"),
    )
    rows: list[dict[str, Any]] = [
        {"credit": "1.50", "born": "1990-05-17", "name": "Ann"},
        {"credit": "lots", "born": "17/05/1990", "name": ""},
        {"credit": "", "born": None, "name": "Bo"},
    ]
    mapped = compiled.to_cells(native(rows, compiled))
    assert mapped.rows["__key"].to_list() == ["0", "2"]
    assert mapped.rows["credit"].to_list() == ["1.5", NULL]
    assert mapped.rejected.rows() == [
        ("1", "credit", 'credit: "lots" is not a decimal number'),
        ("1", "born", 'born: "17/05/1990" is not a date: 2026-11-20 is expected; other ways of writing need format'),
        ("1", "name", "name is required, but empty"),
    ]


def test_an_empty_cell_of_a_file_is_null_and_of_a_database_is_a_text():
    assert cell_of(one(Field(name="f"), "text", kind="file"), "") == NULL
    assert cell_of(one(Field(name="f"), "text", kind="table"), "") == ""
    assert cell_of(one(Field(name="f", type="integer"), "text", kind="table"), " ") == NULL
    keeps = mapping(FieldMapping(field="f", column="c"), spec=ObjectSpec(name=None, key=("id",), empty_is_text=True))
    assert cell_of(compile_mapping(entity(Field(name="f")), None, keeps, info("file", c="text")), "") == ""


def test_an_empty_text_written_to_a_file_is_no_loss_and_the_image_tells():
    written = one(Field(name="f"), "text", kind="file").to_native(cells([{"f": ""}]))
    assert written.rejected.is_empty()
    assert written.image["f"].to_list() == [NULL]


def test_absent_columns_are_absent_cells():
    compiled = compile_mapping(
        entity(Field(name="name"), Field(name="email")),
        None,
        mapping(NAME, FieldMapping(field="email", column="mail")),
        info("file", first_name="text", last_name="text", mail="text"),
    )
    mapped = compiled.to_cells(
        native([{"first_name": "A", "__absent": ["mail"]}, {"mail": "x", "__absent": ["last_name"]}, {"__absent": None}], compiled)
    )
    assert mapped.rows.select("name", "email").rows() == [("A", None), (None, "x"), ("", NULL)]


def test_where_filters_and_a_row_on_which_it_fails_is_rejected():
    compiled = compile_mapping(
        entity(Field(name="f")),
        None,
        mapping(FieldMapping(field="f", column="c"), where="CAST(size AS INTEGER) > 3 AND credit > 1.5"),
        info(c="text", size="text", credit="decimal"),
    )
    rows = native(
        [
            {"size": "5", "credit": "2.0"},
            {"size": "x", "credit": "2"},
            {"size": "1", "credit": "2"},
            {"size": None, "credit": "2"},
            {"size": "9"},
        ],
        compiled,
    )
    assert compiled.takes_part(rows).to_list() == [True, False, False, False, False]
    assert compiled.where_rejects(rows)["__key"].to_list() == ["1"]
    assert compiled.to_cells(rows).rejected["__key"].to_list() == ["1"]
    assert compiled.takes_part(rows.drop("credit")).to_list() == [False] * 5
    assert compiled.read_columns == ("c", "size", "credit")


def test_an_expression_that_fails_on_one_row_rejects_that_row():
    compiled = compile_mapping(
        entity(Field(name="f", type="integer")), None, mapping(FieldMapping(field="f", read="CAST(c AS BIGINT) + 1")), info(c="text")
    )
    mapped = compiled.to_cells(native([{"c": "1"}, {"c": "x"}, {"c": None}], compiled))
    assert mapped.rows["f"].to_list() == ["2", NULL]
    assert mapped.rejected.select("__key", "field").rows() == [("1", "f")]


def test_decimals_stay_exact_in_expressions():
    compiled = compile_mapping(
        entity(Field(name="f", type="decimal")), None, mapping(FieldMapping(field="f", read="net * 1.1 + 0.1")), info(net="decimal")
    )
    mapped = compiled.to_cells(native([{"net": "0.3"}, {"net": "99999999999999999.99"}, {"net": "NaN"}], compiled))
    assert mapped.rows["f"].to_list() == ["0.43", "110000000000000000.089"]
    assert "not a finite number" in mapped.rejected["reason"][0]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (Field(name="f", pattern="[A-Z]{2}"), "GBR", 'f: "GBR" does not match the pattern [A-Z]{2}'),
        (Field(name="f", pattern="(?!X).*"), "Xavier", 'f: "Xavier" does not match the pattern (?!X).*'),
        (Field(name="f", type="integer", minimum=1), "0", 'f: "0" is below the minimum of 1'),
        (Field(name="f", type="decimal", maximum="9.99"), "10", 'f: "10" is above the maximum of 9.99'),
        (Field(name="f", type="date", minimum="1900-01-01"), "1066-10-14", 'f: "1066-10-14" is below the minimum of 1900-01-01'),
        (Field(name="f", maximum=3), "four", 'f: "four" is above the maximum of 3 characters'),
        (Field(name="f", one_of=("a", "b")), "c", 'f: "c" is not one of a, b'),
        (Field(name="f", type="list", one_of=("a", "b")), "a;c", 'f: "["a","c"]" is not one of a, b'),
        (Field(name="f", required=True), "", "f is required, but empty"),
        (Field(name="f", type="list", required=True), ";", "f is required, but empty"),
    ],
)
def test_each_check_names_the_field_the_value_and_the_rule(field, value, reason):
    assert reason_of(one(field, "text"), value) == reason


def test_checks_look_at_the_cleaned_value_and_leave_nothing_alone():
    field = Field(name="f", pattern="[a-z]+", minimum=2, one_of=("ab",), clean=(CleanStep("lower"),))
    assert cell_of(one(field, "text"), "AB") == "ab"
    assert cell_of(one(field, "text"), "") == ""
    assert cell_of(one(field, "text"), None) == NULL


@pytest.mark.parametrize(
    ("column", "values", "native_value", "cell"),
    [
        ("text", {"active": "A", "closed": "C"}, "C", "closed"),
        ("integer", {"active": 1, "closed": 0}, 0, "closed"),
        ("float", {"active": 1, "closed": 0}, 1.0, "active"),
        ("decimal", {"active": 1.5, "closed": 0}, "1.50", "active"),
        ("boolean", {"active": True, "closed": False}, False, "closed"),
        ("text", {"active": "A", "closed": None}, None, "closed"),
    ],
)
def test_value_maps_work_both_ways(column, values, native_value, cell):
    compiled = one(Field(name="f"), column, values=values)
    assert cell_of(compiled, native_value) == cell
    written = compiled.to_native(cells([{"f": cell}]))
    assert written.rejected.is_empty()
    assert cell_of(compiled, written.rows["c"][0]) == cell


def test_values_outside_a_map_are_rejected_in_both_directions():
    compiled = one(Field(name="f"), "text", values={"active": "A", "closed": "C"})
    assert reason_of(compiled, "Z") == 'f: "Z" is not among the values given: A, C'
    assert compiled.to_native(cells([{"f": "lost"}])).rejected["reason"][0] == 'f: "lost" has no native value: values gives active, closed'


# ---------------------------------------------------------------- what is wrong with a mapping


def test_all_problems_show_at_once_with_the_nearest_name():
    with pytest.raises(MappingError) as caught:
        compile_mapping(
            entity(
                Field(name="email", clean=(CleanStep("lowr"),)),
                Field(name="name"),
                Field(name="credit", type="decimal"),
                Field(name="born", type="date"),
            ),
            "Europe/Lundon",
            mapping(
                FieldMapping(field="emial", column="x"),
                FieldMapping(field="email", column="email_adress"),
                FieldMapping(field="name", read="lower(vip)", write={"vip": "sum(name)"}),
                FieldMapping(field="credit", column="credit", format="0.00"),
                FieldMapping(field="born", column="vip"),
                spec=ObjectSpec(name="contacts", key=("idd",), modified="changed"),
                where="credit",
                set={"contry": "GB", "rate": "many"},
            ),
            info(email_address="text", credit="text", vip="boolean", country="text", rate="decimal"),
        )
    problems = "\n".join(caught.value.problems)
    for expected in (
        "timezone: unknown time zone 'Europe/Lundon'",
        "fields.emial: unknown field 'emial': did you mean 'email'?",
        "fields.email: unknown column 'email_adress' in contacts: did you mean 'email_address'?",
        "fields.email: unknown cleaning step 'lowr': did you mean 'lower'?",
        "fields.name.read: 'lower(vip)' cannot run",
        "fields.name.write.vip: function sum()",
        "fields.credit: cannot read the number format '0.00'",
        "fields.born: 'vip' holds yes or no, which cannot be read as date",
        "where: 'credit' is not a condition",
        "key: unknown column 'idd' in contacts: did you mean 'id'?",
        "modified: unknown column 'changed'",
        "set: unknown column 'contry' in contacts: did you mean 'country'?",
        'set.rate: "many" is not a decimal number',
    ):
        assert expected in problems
    assert len(caught.value.problems) == len(set(caught.value.problems))


@pytest.mark.parametrize(
    ("fields", "columns", "problem"),
    [
        ([FieldMapping(field="a", column="c"), FieldMapping(field="b", column="c")], {"c": "text"}, "already written by the field 'a'"),
        ([FieldMapping(field="a", column="c")], {"c": ColumnInfo(name="c", type="text", writable=False)}, "cannot be written"),
        ([FieldMapping(field="a", column="c")], {"c": "binary"}, "binary data"),
        ([FieldMapping(field="a", column="c", values={"x": 1, "y": 1})], {"c": "integer"}, "stands for both 'x' and 'y'"),
        ([FieldMapping(field="a", read="c", write={"d": "b"})], {"c": "text"}, "unknown column 'd'"),
        ([FieldMapping(field="a", read="c", write={"c": "nothing"})], {"c": "text"}, "unknown column 'nothing'"),
    ],
)
def test_mappings_that_cannot_be_written_are_refused(fields, columns, problem):
    with pytest.raises(MappingError) as caught:
        compile_mapping(entity(Field(name="a"), Field(name="b")), None, mapping(*fields), info(**columns))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (Field(name="f", pattern="("), "pattern"),
        (Field(name="f", type="integer", minimum="low"), "is not a whole number"),
        (Field(name="f", type="boolean", minimum=1), "min and max mean nothing"),
        (Field(name="f", type="integer", one_of=("one",)), "is not a whole number"),
    ],
)
def test_checks_that_make_no_sense_are_refused(field, problem):
    with pytest.raises(MappingError) as caught:
        one(field, "text")
    assert problem in str(caught.value)


def test_a_born_date_is_a_date_whatever_the_day():
    assert cell_of(one(Field(name="born", type="date"), "date"), date(9999, 12, 31)) == "9999-12-31"


FORMLESS: list[tuple[FieldType, str, dict[str, Any]]] = [
    ("integer", "integer", {}),
    ("integer", "text", {"format": "1,234"}),
    ("boolean", "boolean", {}),
    ("boolean", "text", {}),
    ("boolean", "integer", {}),
    ("date", "date", {}),
    ("date", "text", {"format": "%d.%m.%Y"}),
    ("datetime", "datetime", {}),
    ("datetime", "text", {}),
    ("list", "text", {}),
]


@pytest.mark.parametrize(("kind", "column", "more"), FORMLESS)
def test_a_value_from_before_its_field_had_this_type_is_not_written(kind: FieldType, column: str, more: dict[str, Any]) -> None:
    """It would be written as nothing, or as something else."""
    written = one(Field(name="f", type=kind), column, **more).to_native(cells([{"f": "many"}, {"f": NULL}]))
    assert written.rejected["__op"].to_list() == [0]
    assert "many" in written.rejected["reason"][0]
