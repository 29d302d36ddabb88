"""Rows read under the mapping of now and under those of before."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from trueup.core.cells import KEY, NULL, WAS
from trueup.core.fingerprint import native_fingerprint
from trueup.core.mapping import CompiledMapping, compile_mapping
from trueup.core.rereading import Rereading
from trueup.model import CleanStep, ColumnInfo, ColumnType, Entity, Field, FieldMapping, Mapping, ObjectInfo, ObjectSpec

COLUMNS: dict[str, ColumnType] = {"name": "text", "nick": "text", "points": "text"}
ROWS = pl.DataFrame({KEY: ["1", "2", "3"], "name": ["Ann", "ben", None], "nick": ["A", "B", "C"], "points": ["1", "many", "3"]})


def compiled(*fields: tuple[Field, FieldMapping]) -> CompiledMapping:
    spec = ObjectSpec(name="people", key=("name",))
    shown = {field.name: mapping for field, mapping in fields}
    mapping = Mapping(entity="customer", system="crm", object=spec, fields=shown, direction="read")
    entity = Entity(name="customer", fields={field.name: field for field, _ in fields}, mappings={"crm": mapping})
    info = ObjectInfo(name="people", columns={name: ColumnInfo(name=name, type=kind) for name, kind in COLUMNS.items()})
    return compile_mapping(entity, None, mapping, info)


def plain(name: str, column: str | None = None, **settings: Any) -> tuple[Field, FieldMapping]:
    return Field(name=name, **settings), FieldMapping(field=name, column=column or name)


def same(_mapping: CompiledMapping, cells: pl.DataFrame) -> pl.DataFrame:
    return cells


LOWER = (CleanStep("lower"),)
CLEANED = Rereading(now=compiled(plain("name", clean=LOWER)), past=(compiled(plain("name")),), fields=("name",))


def test_what_rows_read_as_before():
    assert CLEANED.was(ROWS, same)[WAS + "name"].to_list() == [["Ann"], ["ben"], [NULL]]


def test_what_reads_otherwise():
    assert CLEANED.otherwise(ROWS).to_list() == [True, False, False]


def test_several_mappings_of_before():
    upper = compiled(plain("name", clean=(CleanStep("upper"),)))
    both = Rereading(now=CLEANED.now, past=(*CLEANED.past, upper), fields=("name",))
    assert [sorted(cells) for cells in both.was(ROWS, same)[WAS + "name"].to_list()] == [["ANN", "Ann"], ["BEN", "ben"], [NULL]]
    assert both.otherwise(ROWS).to_list() == [True, True, False]


def test_a_value_that_could_not_be_understood_was_nothing():
    typed = Rereading(now=compiled(plain("points")), past=(compiled(plain("points", type="integer")),), fields=("points",))
    assert typed.was(ROWS, same)[WAS + "points"].to_list() == [["1"], [], ["3"]]
    assert typed.otherwise(ROWS).to_list() == [False, True, False]


def test_a_value_that_cannot_be_understood_any_more_reads_otherwise():
    typed = Rereading(now=compiled(plain("points", type="integer")), past=(compiled(plain("points")),), fields=("points",))
    assert typed.otherwise(ROWS).to_list() == [False, True, False]


def test_a_value_that_is_not_accepted_any_more_reads_otherwise():
    judged = Rereading(now=compiled(plain("name", required=True)), past=(), fields=(), judged=("name",))
    assert judged.otherwise(ROWS).to_list() == [False, False, True]


def test_a_field_that_no_mapping_could_read_was_nothing():
    fresh = Rereading(now=compiled(plain("name")), past=(), fields=("name",))
    assert fresh.was(ROWS, same)[WAS + "name"].to_list() == [[], [], []]


def test_the_columns_of_all_mappings_are_read():
    moved = Rereading(now=compiled(plain("name")), past=(compiled(plain("name", "nick")),), fields=("name",))
    assert moved.columns == ("name", "nick")
    assert moved.otherwise(ROWS).to_list() == [True, True, True]


@pytest.mark.parametrize("columns", [("name", "nick"), ("nick", "name")])
def test_rows_that_stand_there_as_before(columns: tuple[str, ...]) -> None:
    known = native_fingerprint(ROWS, columns).to_list()
    prints = Rereading(now=CLEANED.now, past=(), fields=(), prints=(("points",), ("name", "nick")))
    assert prints.untouched(ROWS, pl.Series([known[0], 17, None])).to_list() == [True, False, False]
    assert CLEANED.untouched(ROWS, pl.Series(known)).to_list() == [False, False, False], "nobody knows how they were made"


def test_references_are_told_as_records():
    told = CLEANED.was(ROWS, lambda _mapping, cells: cells.with_columns(name=pl.lit("7")))
    assert told[WAS + "name"].to_list() == [["7"], ["7"], ["7"]]
