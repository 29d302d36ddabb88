"""Records of an application that share their key: told apart from a record that its list shows again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.system.connectors.rest_tools import CONTACTS, PAGE, contacts, filled, keys, opened, read
from trueup.connectors.rest import reading
from trueup.connectors.rest.connector import RestConnector
from trueup.errors import ObjectUnreadableError
from trueup.model import ObjectSpec
from trueup.testing.rest_service import RestService

NAMED = ObjectSpec(name="contacts", key=("name",))


@pytest.fixture
def service() -> Iterator[RestService]:
    with RestService() as service:
        filled(service, 5)
        yield service


@pytest.fixture
def connect(tmp_path: Path, service: RestService) -> Iterator[Any]:
    made: list[RestConnector] = []

    def connect(*, rows: int = 10, style: str = "cursor", **more: Any) -> RestConnector:
        """Answers of so many records."""
        page = {**PAGE, "size": {"to": "query.limit", "rows": rows}}
        page = page if style == "cursor" else {"style": style, "to": f"query.{style}", "size": page["size"]}
        full = {"get": "/contacts", "items": "/data", "page": page, "total": "/total"}
        made.append(opened(tmp_path, service, contacts(read={"full": full, **more.pop("read", {})}, **more)))
        return made[-1]

    yield connect
    for connector in made:
        connector.close()


TEXT = {"columns": {"id": {"type": "text", "at": "/id"}, "name": "text", "email": "text"}}


@pytest.mark.parametrize("rows", [10, 2])
def test_a_number_and_a_text_are_the_keys_of_two_records(service, connect, rows):
    service.put("contacts", {"id": "3", "name": "another"})
    pages = read(connect(rows=rows, **TEXT))
    assert keys(pages) == ["1", "2", "4", "5"]
    told = sorted((item.key, item.where, item.reason, item.doubled) for page in pages for item in page.rejected)
    reason = "the key (id) occurs more than once"
    assert told == [("3", 'id "3"', reason, True), ("3", "id 3", reason, True)]
    assert pages[-1].complete, "all were shown"


def test_what_was_shown_before_is_taken_back_by_a_reject(service, connect):
    service.put("contacts", {"id": "1", "name": "another"})
    pages = read(connect(rows=1, **TEXT), page_rows=1)
    assert keys(pages) == ["1", "2", "3", "4", "5"]
    assert [(item.key, item.where, item.doubled) for page in pages for item in page.rejected] == [("1", 'id "1"', True)]


def test_records_of_one_answer_that_share_a_key_are_told(service, connect):
    for number in (6, 7):
        service.put("contacts", {"id": number, "name": "n2", "email": "x@example.org"})
    pages = read(connect(key="/attributes/name"), ("email",), NAMED)
    assert keys(pages) == ["n1", "n3", "n4", "n5"]
    told = [(item.key, item.where, item.column) for page in pages for item in page.rejected]
    assert told == [("n2", 'name "n2"', "name")] * 3


def test_a_key_that_tells_no_records_apart_is_one_error(service, connect, monkeypatch):
    monkeypatch.setattr(reading, "MANY_DOUBLED", 4)
    for number in range(1, 6):
        service.put("contacts", {"id": number, "name": "same"})
    with pytest.raises(ObjectUnreadableError, match=r"share their key \(name\) with another one"):
        read(connect(key="/attributes/name"), ("email",), NAMED)


def test_a_record_that_comes_again_because_rows_moved_is_one_row_also_where_it_was_edited_in_between(service, connect):
    pages = connect(rows=2, style="page", **TEXT).read(CONTACTS, ["name"], page_rows=1)
    first = next(pages)
    service.put("contacts", {"id": 0, "name": "new"})
    service.put("contacts", {"id": 2, "name": "edited"})
    shown = [first, *pages]
    assert keys(shown) == ["1", "2", "3", "4", "5"]
    assert [item for page in shown for item in page.rejected] == []


def test_a_record_that_stands_in_one_answer_twice_is_one_row(service, connect):
    service.traps.repeats = True
    only = {"full": {"get": "/contacts", "items": "/data", "query": {"limit": "8"}}}
    pages = read(connect(read=only))
    assert (keys(pages), [page.rejected for page in pages]) == (["1", "2", "3", "4", "5"], [()])


def test_a_record_that_is_marked_as_deleted_shares_no_key(service, connect):
    service.put("contacts", {"id": "2", "name": "old", "left": True})
    pages = read(connect(gone={"at": "/attributes/left"}, **TEXT))
    assert keys(pages) == ["1", "2", "3", "4", "5"]
    assert [page.gone + page.rejected for page in pages] == [()]


def test_rows_by_key_and_by_value_are_told_apart_as_well(service, connect):
    service.put("contacts", {"id": "2", "name": "n2"})
    many = {"many": {"get": "/contacts", "query": {"ids": "${ids|comma}"}, "items": "/data", "max": 100}}
    connector = connect(rows=1, read=many, **TEXT)
    pages = read(connector, keys=["1", "2"])
    assert (keys(pages), pages[-1].complete, pages[-1].gone) == (["1"], True, ())
    assert {item.key for page in pages for item in page.rejected} == {"2"}
    found = connector.find(CONTACTS, ["email"], pl.DataFrame({"name": ["n1", "n2"]}))
    assert found["__key"].to_list() == ["1"]
