"""What is wrong with the values of a page, without losing the rows that can still be compared."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.cells import KEY, NULL
from trueup.core.mapping import CompiledMapping, compile_mapping
from trueup.core.quality import Inspected, inspect_rows, same_but_for_form
from trueup.model import CleanStep, ColumnInfo, Entity, Field, FieldMapping, Mapping, ObjectInfo, ObjectSpec


def compiled(*fields: Field) -> CompiledMapping:
    mapping = Mapping(
        entity="customer",
        system="crm",
        object=ObjectSpec(name="people", key=("id",)),
        fields={field.name: FieldMapping(field=field.name, column=field.name) for field in fields},
        direction="read",
    )
    entity = Entity(name="customer", fields={field.name: field for field in fields}, mappings={"crm": mapping}, precedence=("crm",))
    columns = {name: ColumnInfo(name=name, type="text") for name in ("id", *(field.name for field in fields))}
    return compile_mapping(entity, "UTC", mapping, ObjectInfo(name="people", columns=columns, key=("id",)))


def native(**columns: list[str | None]) -> pl.DataFrame:
    height = len(next(iter(columns.values())))
    return pl.DataFrame(
        {KEY: [str(number) for number in range(height)], **{name: pl.Series(values, dtype=pl.String) for name, values in columns.items()}}
    )


def findings(inspected: Inspected) -> list[Any]:
    return [(row["kind"], row[KEY], row["field"], row["value"], row["becomes"]) for row in inspected.findings.iter_rows(named=True)]


def test_rows_that_break_a_check_are_kept_and_noted():
    found = inspect_rows(compiled(Field(name="status", one_of=("a", "b"))), native(status=["a", "z", None]))
    assert found.rows["status"].to_list() == ["a", "z", NULL]
    assert findings(found) == [("invalid", "1", "status", None, None)]
    assert found.refused.to_list() == ["1"]


def test_rows_that_cannot_be_read_are_noted_once_per_value_and_left_out():
    found = inspect_rows(
        compiled(Field(name="n", type="integer"), Field(name="d", type="date")), native(n=["1", "x"], d=["2026-11-20", "never"])
    )
    assert found.rows[KEY].to_list() == ["0"]
    assert sorted(item[:3] for item in findings(found)) == [("unreadable", "1", "d"), ("unreadable", "1", "n")]
    assert found.refused.to_list() == ["1"]


def test_what_cleaning_changes_and_what_it_cannot_make_sense_of():
    field = Field(name="email", clean=(CleanStep("trim"), CleanStep("email")))
    found = inspect_rows(compiled(field), native(email=[" Ada@EXAMPLE.com", "ada@example.com", "not an address", None]))
    kinds = {item[:3]: item[3:] for item in findings(found)}
    assert kinds["clean", "0", "email"][0] == " Ada@EXAMPLE.com"
    assert ("unclear", "2", "email") in kinds
    assert not [item for item in kinds if item[1] in {"1", "3"}]
    assert found.refused.is_empty()


def test_needless_spaces_where_nothing_cleans():
    found = inspect_rows(compiled(Field(name="name")), native(name=[" Ada", "Ada  Lovelace", "Ada Lovelace", "", None]))
    assert findings(found) == [("untidy", "0", "name", " Ada", "Ada"), ("untidy", "1", "name", "Ada  Lovelace", "Ada Lovelace")]


def test_form_only():
    pairs = [
        ("Ada", "ADA", True),
        ("01632 960-001", "01632960001", True),
        ("Ada", "Eda", False),
        ("née", "ne\u0301e", True),
        ("", "-", True),
    ]
    frame = pl.DataFrame({"a": [one for one, _two, _same in pairs], "b": [two for _one, two, _same in pairs]})
    assert frame.select(same_but_for_form(pl.col("a"), pl.col("b"))).to_series().to_list() == [same for *_pair, same in pairs]


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=8))
def test_no_row_is_ever_lost_in_silence(values):
    field = Field(name="n", type="integer", minimum=3)
    found = inspect_rows(compiled(field), native(n=[None if value is None else value.replace("\x00", "") for value in values]))
    noted = {row[KEY] for row in found.findings.iter_rows(named=True)}
    everyone = {str(number) for number in range(len(values))}
    assert everyone - set(found.rows[KEY].to_list()) <= noted
    assert set(found.refused.to_list()) <= noted
