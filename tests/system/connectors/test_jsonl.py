"""JSON Lines files, read and written on a real disk; Python's own parser is the judge of what a file holds."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.system.connectors.file_tools import batch
from trueup.connectors import jsonl_rows
from trueup.connectors.base import Page
from trueup.connectors.jsonl import JsonlConnector
from trueup.errors import ObjectMissingError, ObjectUnreadableError, SystemUnreachableError
from trueup.model import ObjectSpec

OBJ = ObjectSpec(name=None, key=("id",), assign="sequence")


def connector(path: Path) -> JsonlConnector:
    return JsonlConnector.open("feed", {"path": path.name}, directory=str(path.parent))


def read_all(feed: JsonlConnector, columns: list[str], obj: ObjectSpec = OBJ, **options: Any) -> tuple[list[dict[str, Any]], Page, list]:
    pages = list(feed.read(obj, columns, **options))
    rows = pl.concat([page.rows for page in pages], how="diagonal").to_dicts()
    rows = [{name: value for name, value in row.items() if name != "__absent" or value} for row in rows]
    return rows, pages[-1], [reject for page in pages for reject in page.rejected]


def types(feed: JsonlConnector, obj: ObjectSpec = OBJ) -> dict[str, str]:
    return {name: info.type for name, info in feed.describe(obj).columns.items()}


def write(feed: JsonlConnector, kind: str, rows: list[dict[str, Any]], expected: list[dict[str, Any]] | None = None, **options: Any) -> Any:
    return feed.write(options.pop("obj", OBJ), batch(kind, rows, expected, **options)).sort("__op")


def test_types_are_what_all_values_have_in_common(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": 1, "n": 5, "d": 1.10, "b": true, "t": "x", "l": ["p", "q"], "o": {"a": {"b": 3}}, "m": 1, '
        '"big": 12345678901234567890123, "j": [1]}\n'
        '{"id": 2, "n": null, "d": 2, "b": false, "t": "10.5", "l": [], "o": {"a": null, "c/d": "y"}, "m": "01", '
        '"j": {"x": 1.50}, "e": null}\n'
    )
    feed = connector(path)
    assert types(feed) == {
        "id": "integer",
        "n": "integer",
        "d": "decimal",
        "b": "boolean",
        "t": "text",
        "l": "list",
        "o": "json",
        "/o/a": "json",
        "/o/a/b": "integer",
        "/o/c~1d": "text",
        "m": "text",
        "big": "decimal",
        "j": "json",
        "/j/x": "decimal",
        "e": "text",
    }
    columns = ["n", "d", "b", "t", "l", "/o/a/b", "/o/c~1d", "m", "big", "j", "e", "o"]
    rows, last, rejected = read_all(feed, columns)
    assert last.complete
    assert not rejected
    first, second = rows
    assert first.pop("__absent") == ["/o/c~1d", "e"]
    assert second.pop("__absent") == ["/o/a/b", "big"]
    assert list(first.values()) == [
        "1",
        5,
        "1.10",
        True,
        "x",
        ["p", "q"],
        3,
        None,
        "1",
        "12345678901234567890123",
        "[1]",
        None,
        '{"a":{"b":3}}',
    ]
    assert list(second.values()) == ["2", None, "2", False, "10.5", [], None, "y", "01", None, '{"x":1.50}', None, '{"a":null,"c/d":"y"}']


def test_declared_types_reject_what_does_not_fit(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "n": 1}\n{"id": "b", "n": "x", "t": 5}\n{"id": "c"}\n')
    obj = replace(OBJ, options={"columns": {"n": "integer", "t": "text", "later": "decimal"}})
    feed = connector(path)
    rows, last, rejected = read_all(feed, ["n", "later"], obj)
    assert rows == [
        {"__key": "a", "n": 1, "later": None, "__absent": ["later"]},
        {"__key": "c", "n": None, "later": None, "__absent": ["n", "later"]},
    ]
    assert [(item.key, item.where, item.column) for item in rejected] == [("b", "line 2", "n")]
    assert last.complete
    assert read_all(feed, ["t"], obj)[0][1] == {"__key": "b", "t": "5"}
    with pytest.raises(ObjectUnreadableError, match="cannot be declared as 'money'"):
        feed.read(replace(OBJ, options={"columns": {"n": "money"}}), ["n"])


def test_the_same_types_on_every_page(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl_rows, "BLOCK_BYTES", 64)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"id": {n}, "v": {n if n < 40 else json.dumps("x")}}}\n' for n in range(50)))
    pages = list(connector(path).read(OBJ, ["v"], page_rows=7))
    assert {page.rows.schema["v"] for page in pages} == {pl.String()}
    assert [key for page in pages for key in page.rows["__key"]] == [str(n) for n in range(50)]


def test_lines_that_cannot_be_read_are_rejected_with_their_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"id": 1, "v": "a"}\n{"id": 2, \n\n[3]\n{"id": 4, "v": "\xff"}\n{"id": 5, "v": NaN, "w": 1.5}\n{"id": "6", "v": "b"}\n'
        b'{"v": "c"}\n{"id": null}\n{"id": 1}\n{"id": true}\n{"id": 7, "w": 1.5, "v": "\\ud800"}\n'
    )
    rows, last, rejected = read_all(connector(path), ["v"])
    assert rows == [{"__key": "6", "v": "b"}]
    assert sorted(int(item.where.removeprefix("line ")) for item in rejected) == [1, 2, 4, 5, 6, 8, 9, 10, 11, 12]
    assert not last.complete


def test_half_a_file_is_never_a_complete_listing_and_never_written(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1, "v": "a"}\n{"id": 2, "v')
    rows, last, rejected = read_all(connector(path), ["v"])
    assert [row["__key"] for row in rows] == ["1"]
    assert not last.complete
    assert "cut off" in rejected[0].reason
    with pytest.raises(ObjectUnreadableError, match="line 2"):
        write(connector(path), "create", [{"v": "x"}])


def test_a_file_without_lines_has_zero_rows_and_a_missing_one_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(SystemUnreachableError, match="does not exist"):
        connector(path).read(OBJ, ["v"])
    allowed = ObjectSpec(name=None, key=("id",), create=True)
    with pytest.raises(ObjectMissingError):
        connector(path).read(allowed, ["v"])
    feed = connector(path)
    feed.prepare(allowed, {"v": "text"})
    assert path.read_bytes() == b""
    rows, last, _ = read_all(feed, ["v"], allowed)
    assert (rows, last.complete) == ([], True)
    assert types(feed, allowed) == {}
    assert write(feed, "create", [{"__key": "A1", "v": "é"}], obj=allowed)["__status"].to_list() == ["done"]
    assert path.read_text() == '{"id": "A1", "v": "é"}\n'
    path.write_bytes("\ufeff{}".encode("utf-16-le"))
    with pytest.raises(ObjectUnreadableError, match="UTF-16"):
        connector(path).read(OBJ, ["v"])


def test_a_key_column_that_no_row_has_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"number": 1}\n')
    with pytest.raises(ObjectMissingError, match=r"no column 'nummer'.*did you mean 'number'"):
        connector(path).describe(ObjectSpec(name=None, key=("nummer",)))


def test_an_update_touches_its_values_and_nothing_else(tmp_path):
    path = tmp_path / "a.jsonl"
    before = (
        '\ufeff{"id":1,"price":1.10,"tags":["a"],"deep":{"x":1.0,"y":null},"z":1e2}\r\n'
        '{ "id" : 2 , "price" : 7 , "extra" : [ 1 , 2.50 ] }\n\n{"id": 3, "on": true, "name": "Zo\u00eb"}'
    )
    path.write_bytes(before.encode())
    feed = connector(path)
    outcomes = write(
        feed,
        "update",
        [
            {"__key": "1", "price": "2.50", "tags": ["b", "c"], "/deep/y": "new", "on": None, "__write": ["price", "tags", "/deep/y"]},
            {"__key": "2", "price": "8", "tags": ["n"], "/deep/y": "in", "on": True, "__write": ["price", "tags", "/deep/y"]},
            {"__key": "3", "price": None, "tags": None, "/deep/y": None, "on": False, "__write": ["on", "price"]},
        ],
        [{"price": "1.10"}, {"price": "7"}, {"price": None}],
        returning=("price", "tags"),
    )
    assert outcomes["__status"].to_list() == ["done", "done", "done"]
    assert outcomes["price"].to_list() == ["2.50", "8", None]
    assert outcomes["tags"].to_list() == [["b", "c"], ["n"], None]
    assert path.read_bytes().decode() == (
        '\ufeff{"id":1,"price":2.50,"tags":["b","c"],"deep":{"x":1.0,"y":"new"},"z":1e2}\r\n'
        '{ "id" : 2 , "price" : 8 , "extra" : [ 1 , 2.50 ] , "tags" : ["n"] , "deep" : {"y" : "in"} }\n\n'
        '{"id": 3, "on": false, "name": "Zoë", "price": null}'
    )


def test_numbers_stay_numbers_and_what_is_none_is_rejected(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "d": 1.5, "m": 7, "o": {"k": 1}}\n{"id": 2, "d": 2, "m": "x", "o": 5}\n')
    feed = connector(path)
    outcomes = write(
        feed,
        "update",
        [
            {"__key": "1", "d": "9.90", "m": "8", "o": '{"k": 1.10}'},
            {"__key": "2", "d": "NaN", "m": "y", "o": "1"},
        ],
    )
    assert outcomes["__status"].to_list() == ["done", "rejected"]
    assert outcomes["__field"].to_list() == [None, "d"]
    assert path.read_text() == '{"id": 1, "d": 9.90, "m": 8, "o": {"k": 1.10}}\n{"id": 2, "d": 2, "m": "x", "o": 5}\n'
    inside = write(feed, "update", [{"__key": "2", "/o/k": "1"}])
    assert inside["__status"].to_list() == ["rejected"]
    assert inside["__field"].to_list() == ["/o/k"]


def test_creates_deletes_and_stale_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 7, "lead": {"email": "a@example.test"}, "n": 1}\n{"id": 8, "lead": {}, "n": 2}\n')
    feed = connector(path)
    declared = replace(OBJ, options={"columns": {"new": "text"}})
    with pytest.raises(ObjectMissingError, match="no column 'new'"):
        write(feed, "create", [{"new": "y"}])
    rows = [{"n": 5, "/lead/email": "x", "new": "y"}, {"__key": "8", "n": 1}]
    made = write(feed, "create", rows, returning=("id", "n", "/lead/email"), obj=declared)
    assert made["__status"].to_list() == ["done", "rejected"]
    assert made.row(0, named=True)["__key"] == "9"
    assert made.row(0, named=True)["id"] == 9
    assert path.read_text().splitlines()[-1] == '{"id": 9, "lead": {"email": "x"}, "n": 5, "new": "y"}'
    gone = write(feed, "delete", [{"__key": "7"}, {"__key": "8"}, {"__key": "70"}], [{"n": 1}, {"n": 3}, {"n": 0}])
    assert gone["__status"].to_list() == ["done", "stale", "gone"]
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [8, 9]
    found = feed.find(OBJ, ["n"], pl.DataFrame({"/lead/email": ["x"], "n": [5]}))
    assert found.select("__key", "n").rows() == [("9", 5)]


def test_keys_of_several_members_within_objects(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"at": {"shop": "N|1"}, "no": 5, "v": "a"}\n{"at": {"shop": "S"}, "no": 5, "v": "b"}\n{"at": {}, "no": 6}\n')
    obj = ObjectSpec(name=None, key=("/at/shop", "no"))
    feed = connector(path)
    rows, _, rejected = read_all(feed, ["v"], obj)
    assert rows == [{"__key": "N\\|1|5", "v": "a"}, {"__key": "S|5", "v": "b"}]
    assert [item.where for item in rejected] == ["line 3"]
    assert write(feed, "create", [{"__key": "T|9", "v": "c"}], obj=obj)["__status"].to_list() == ["done"]
    assert json.loads(path.read_text().splitlines()[-1]) == {"at": {"shop": "T"}, "no": 9, "v": "c"}


def test_files_that_escape_everything_beyond_ascii_stay_so(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "v": "Zo\\u00eb"}\n')
    feed = connector(path)
    assert read_all(feed, ["v"])[0][0]["v"] == "Zoë"
    write(feed, "update", [{"__key": "1", "v": "Ünal"}])
    assert path.read_text() == '{"id": 1, "v": "\\u00dcnal"}\n'


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.decimals(allow_nan=False, allow_infinity=False, places=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def to_json(value: Any, pad: str) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + f",{pad}".join(f"{json.dumps(name)}{pad}:{to_json(item, pad)}" for name, item in value.items()) + pad + "}"
    if isinstance(value, list):
        return "[" + pad + f"{pad},".join(to_json(item, pad) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3).filter(lambda name: name != "id"), JSON_VALUES, max_size=4), min_size=1, max_size=4),
    pad=st.sampled_from(["", " ", "\t "]),
    value=st.text(max_size=5) | st.none(),
    path_names=st.lists(st.text(min_size=1, max_size=3).filter(lambda name: name != "id"), min_size=1, max_size=2),
)
@settings(max_examples=250)
def test_any_file_keeps_all_that_is_not_written(tmp_path_factory, rows, pad, value, path_names):
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    lines = [to_json({"id": number, **row}, pad) for number, row in enumerate(rows)]
    path.write_bytes("\n".join(lines).encode())
    column = "/" + "/".join(name.replace("~", "~0").replace("/", "~1") for name in path_names)
    obj = replace(OBJ, options={"columns": {column: "text"}})
    outcomes = write(connector(path), "update", [{"__key": "0", column: value}], obj=obj)
    after = path.read_bytes().decode().split("\n")
    assert after[1:] == lines[1:]
    if outcomes["__status"].item() == "rejected":
        assert after[0] == lines[0]
        return

    def parsed(line: str) -> Any:
        return json.loads(line, parse_float=Decimal)

    expected, place = parsed(lines[0]), None
    at = expected
    for name in path_names[:-1]:
        if at.get(name) is None:
            at[name] = {}
        at = at[name]
        assert isinstance(at, dict), "through anything else the write is rejected"
    place = path_names[-1]
    found = parsed(after[0])
    got = found
    for name in path_names:
        got = got[name]
    assert got == value or json.dumps(got) == value, "a number may stay a number"
    at[place] = got
    assert found == expected
    assert list(found) == list(expected)
