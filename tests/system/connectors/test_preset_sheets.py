"""The Google Sheets preset against answers of the shapes in Google's discovery document, by which each request is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.connectors.openapi_judge import Judge
from tests.system.connectors.preset_tools import Exchange, Vendor, batch, opened, outcomes, read, rows
from trueup.errors import ObjectUnreadableError
from trueup.model import ObjectSpec

V = "/v4/spreadsheets/the-spreadsheet/values"
STOCK = ObjectSpec(name="Jon's stock", key=("Number",))
RANGE = "'Jon''s stock'"
TABLE: list[list[Any]] = [
    ["Number", "Name", "", "Price", "Left"],
    ["007", "Chair", "x", 12.5, True],
    [],
    ["8", "Table", "", "", False],
    ["9"],
]


def _values(values: list[list[Any]]) -> dict[str, Any]:
    return {"range": f"{RANGE}!A1:Z1000", "majorDimension": "ROWS", "values": values}


@pytest.fixture
def sheets() -> Iterator[Any]:
    made: list[Vendor] = []

    def open_(*exchanges: Exchange, **settings: Any) -> tuple[Vendor, Any]:
        vendor = Vendor(Judge("google-sheets"), list(exchanges))
        made.append(vendor)
        return vendor, opened("google-sheets", vendor, "/v4", values={"spreadsheet": "the-spreadsheet"}, **settings)

    yield open_
    for vendor in made:
        vendor.close()
        vendor.check()


def test_the_first_row_has_the_names_and_the_cells_their_types(sheets):
    _, book = sheets(Exchange("GET", f"{V}/{RANGE}", _values(TABLE), times=2))
    info = book.describe(STOCK)
    assert {name: column.type for name, column in info.columns.items()} == {
        "Number": "text",
        "Name": "text",
        "Price": "decimal",
        "Left": "boolean",
    }
    pages = read(book, STOCK, ("Name", "Price", "Left"))
    assert [(row["__key"], row["Name"], row["Price"], row["Left"]) for row in rows(pages)] == [
        ("007", "Chair", "12.5", True),
        ("8", "Table", None, False),
        ("9", None, None, None),
    ]
    assert pages[-1].complete


def test_the_sheets_are_its_objects(sheets):
    told = {"sheets": [{"properties": {"title": "Jon's stock"}}]}
    _, book = sheets(Exchange("GET", "/v4/spreadsheets/the-spreadsheet", told), Exchange("GET", f"{V}/{RANGE}", _values(TABLE)))
    assert [info.name for info in book.discover()] == ["Jon's stock"]


def test_rows_are_written_in_their_places_and_other_cells_stay(sheets):
    vendor, book = sheets(
        Exchange("GET", f"{V}/{RANGE}", _values(TABLE), times=3),
        Exchange(
            "POST", "/v4/spreadsheets/the-spreadsheet/values:batchUpdate", {"spreadsheetId": "the-spreadsheet", "responses": [{}, {}]}
        ),
        Exchange("PUT", f"{V}/{RANGE}!5:5", {"updatedRange": f"{RANGE}!A5:D5"}),
    )
    seen: list[dict[str, Any]] = [
        {"__version": None, "Price": "12.5"},
        {"__version": None, "Price": "1"},
        {"__version": None, "Price": None},
    ]
    price = {"Price": "13"}
    done = outcomes(book, STOCK, batch("update", ("007", price), ("8", price), ("9", price), expected=seen))
    assert [one["status"] for one in done] == ["done", "stale", "done"]
    data = vendor.bodies("POST", "/v4/spreadsheets/the-spreadsheet/values:batchUpdate")[0]
    assert data == {
        "valueInputOption": "RAW",
        "data": [
            {"range": f"{RANGE}!2:2", "values": [[None, None, None, 13]]},
            {"range": f"{RANGE}!5:5", "values": [[None, None, None, 13]]},
        ],
    }
    single = batch("update", ("9", {"Name": None, "Left": True}), expected=[{"__version": None, "Name": None, "Left": None}])
    assert outcomes(book, STOCK, single)[0]["status"] == "done"
    assert vendor.bodies("PUT", f"{V}/{RANGE}!5:5") == [{"values": [[None, "", None, None, True]]}]


def test_new_rows_come_below_and_deleted_ones_are_cleared(sheets):
    vendor, book = sheets(
        Exchange("GET", f"{V}/{RANGE}", _values(TABLE), times=2),
        Exchange("GET", f"{V}/{RANGE}!1:1", _values([["Number", "Price", "Name"]])),
        Exchange("POST", f"{V}/{RANGE}!1:1:append", {"spreadsheetId": "the-spreadsheet", "updates": {"updatedRows": 2}}),
        Exchange("POST", f"{V}/{RANGE}!4:4:clear", {"clearedRange": f"{RANGE}!A4:Z4"}),
    )
    new = batch("create", (None, {"Number": "10", "Name": "=1+1"}), (None, {"Number": "11", "Name": "Bett 🛏"}))
    assert [(one["status"], one["key"]) for one in outcomes(book, STOCK, new)] == [("done", "10"), ("done", "11")]
    sent = vendor.bodies("POST", f"{V}/{RANGE}!1:1:append")
    assert sent == [{"values": [["10", None, "=1+1"], ["11", None, "Bett 🛏"]]}]  # in the order of now, and never taken for a formula
    gone = batch("delete", ("8", {}), expected=[{"__version": None, "Name": "Table"}])
    assert outcomes(book, STOCK, gone)[0]["status"] == "done"


def test_a_key_that_is_there_twice_is_told_and_never_written(sheets):
    twice = [["Number", "Name"], ["1", "Chair"], ["1", "Table"], ["", "Nobody"]]
    _, book = sheets(Exchange("GET", f"{V}/{RANGE}", _values(twice), times=4))
    pages = read(book, STOCK, ("Name",))
    assert {(reject.key, reject.where) for page in pages for reject in page.rejected} == {("1", "row 2"), ("1", "row 3"), (None, "row 4")}
    assert [reject.key for page in read(book, STOCK, ("Name",), keys=["1"]) for reject in page.rejected] == ["1", "1"]
    written = batch("update", ("1", {"Name": "Bed"}), expected=[{"__version": None, "Name": "Chair"}])
    assert outcomes(book, STOCK, written)[0]["status"] == "rejected"


def test_two_columns_of_one_name_are_refused(sheets):
    _, book = sheets(Exchange("GET", f"{V}/{RANGE}", _values([["Number", "Name", "Name"], ["1", "a", "b"]])))
    with pytest.raises(ObjectUnreadableError, match="two columns are called 'Name'"):
        book.describe(STOCK)


def test_an_empty_sheet_has_the_columns_that_are_declared(sheets):
    _, book = sheets(
        Exchange("GET", f"{V}/{RANGE}", {"range": f"{RANGE}!A1:Z1000", "majorDimension": "ROWS"}, times=2),
        columns={"Jon's stock": {"Number": "text", "Price": "decimal"}},
    )
    assert list(book.describe(STOCK).columns) == ["Number", "Price"]
    assert rows(read(book, STOCK, ("Price",))) == []


def test_what_is_spent_is_waited_for(sheets):
    told = {"error": {"code": 429, "message": "Quota exceeded for quota metric 'Read requests'", "status": "RESOURCE_EXHAUSTED"}}
    _, book = sheets(Exchange("GET", f"{V}/{RANGE}", told, 429, {"Retry-After": "0"}), Exchange("GET", f"{V}/{RANGE}", _values(TABLE)))
    assert "Name" in book.describe(STOCK).columns
