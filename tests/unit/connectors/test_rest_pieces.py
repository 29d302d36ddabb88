"""Small parts of the REST connector that presets rest upon."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.pointer import place
from trueup.connectors.rest.tables import cells_of, header_of, records_of
from trueup.connectors.rest.template import render
from trueup.connectors.rest.values import MisfitError, RestColumn


def test_a_value_is_put_into_a_list_that_is_there():
    body = {"groups": [{"filters": [{"value": "old"}]}]}
    place(body, ("groups", "0", "filters", "0", "value"), "new")
    assert body == {"groups": [{"filters": [{"value": "new"}]}]}
    with pytest.raises(ValueError, match="there is no item 1 on the way to /groups/1/x"):
        place(body, ("groups", "1", "x"), 1)


def test_filters_follow_each_other_and_places_lead_into_values():
    moment = "2026-03-01T00:00:00Z"
    assert render("${value|epoch_ms|text}", {"value": moment}) == "1772323200000"
    assert render("${version|integer}", {"version": "007"}) == 7
    assert render("${row./product/id}", {"row": {"product": {"id": "gid://9"}}}) == "gid://9"
    assert render({"a": "${row./product/none}", "b": 1}, {"row": {"product": {}}}) == {"b": 1}
    assert render("${object|single_quoted}", {"object": "Jon's"}) == "'Jon''s'"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("/Date(1551459777193+0000)/", datetime(2019, 3, 1, 17, 2, 57, 193000, UTC)),
        ("/Date(1551459777193+1300)/", datetime(2019, 3, 1, 17, 2, 57, 193000, UTC)),
        ("/Date(-86400000)/", datetime(1969, 12, 31, tzinfo=UTC)),
    ],
)
def test_moments_as_xero_writes_them(text, moment):
    assert RestColumn(name="a", type="datetime", path=("a",), format="ms_json").read(text) == moment
    assert RestColumn(name="a", type="date", path=("a",), format="ms_json").read(text) == moment.date()


@pytest.mark.parametrize("text", ["2019-03-01", "/Date(x)/", "/Date(99999999999999999)/", "/Date(999999999999999)/", 7, None])
def test_what_is_no_such_moment_is_told(text):
    column = RestColumn(name="a", type="datetime", path=("a",), format="ms_json")
    if text is None:
        assert column.read(text) is None
        return
    with pytest.raises(MisfitError, match="no point in time"):
        column.read(text)


def test_days_are_written_as_days():
    assert RestColumn(name="a", type="date", path=("a",), format="ms_json").write(date(2026, 3, 1)) == "2026-03-01"


def test_a_table_becomes_records_and_back():
    header, records = records_of([["No", " Name ", "", 7], ["1", "a", "x", 2.5], [], ["", ""], ["2"], "odd"])
    assert header == ["No", "Name", None, "7"]
    assert records == [{"$row": 2, "No": "1", "Name": "a", "7": 2.5}, {"$row": 5, "No": "2", "Name": None, "7": None}, "odd"]
    assert cells_of(header, {"Name": "b"}) == [None, "b"]
    with pytest.raises(ValueError, match="there is no column 'Gone' any more"):
        cells_of(header, {"Gone": 1})
    with pytest.raises(ValueError, match="two columns are called 'a'"):
        header_of(["a", "b", " a"])
    assert records_of([]) == ([], [])
    assert ABSENT not in records
