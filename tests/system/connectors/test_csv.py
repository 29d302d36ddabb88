"""CSV files of every manner, read and written on a real disk; an own naive parser is the judge of what a file holds."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.connectors import csv_rows, filebase
from trueup.connectors.base import Page, WriteBatch
from trueup.connectors.csv import CsvConnector
from trueup.errors import (
    ChangedUnderneathError,
    ConfigError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemUnreachableError,
    WriteRefusedError,
)
from trueup.model import ObjectSpec

OBJ = ObjectSpec(name=None, key=("id",), assign="sequence")


def connector(path: Path, **options: Any) -> CsvConnector:
    return CsvConnector.open("sheet", {"path": path.name, **options}, directory=str(path.parent))


def read_all(sheet: CsvConnector, columns: list[str], obj: ObjectSpec = OBJ, **options: Any) -> tuple[list[dict[str, Any]], Page, list]:
    pages = list(sheet.read(obj, columns, **options))
    assert [page.complete for page in pages[:-1]] == [False] * (len(pages) - 1)
    rows = pl.concat([page.rows for page in pages], how="diagonal").to_dicts()
    return rows, pages[-1], [reject for page in pages for reject in page.rejected]


def batch(
    kind: str, rows: list[dict[str, Any]], expected: list[dict[str, Any]] | None = None, returning: tuple[str, ...] = ()
) -> WriteBatch:
    numbered = [{"__op": number, "__key": None, **row} for number, row in enumerate(rows)]
    was = None if expected is None else pl.DataFrame([{"__op": number, **row} for number, row in enumerate(expected)])
    frame = pl.DataFrame(numbered, schema_overrides={"__key": pl.String}, infer_schema_length=None)
    return WriteBatch(kind=kind, rows=frame, expected=was, returning=returning)  # type: ignore[arg-type]


def statuses(outcomes: pl.DataFrame) -> list[str]:
    return outcomes.sort("__op")["__status"].to_list()


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("id,name\n1,Zoë\n2,Ann\n".encode(), {}),
        (b"\xef\xbb\xbf" + "id,name\n1,Zoë\n2,Ann\n".encode(), {}),
        ("\ufeffid;name\r\n1;Zoë\r\n2;Ann\r\n".encode("utf-16-le"), {}),
        ("\ufeffid\tname\r\n1\tZoë\r\n2\tAnn".encode("utf-16-be"), {}),
        ("id,name\n1,Zoë\n2,Ann\n".encode("utf-16-le"), {}),
        ("id|name\n1|Zoë\n2|Ann\n".encode("cp1252"), {}),
        ("id;name\r1;Zoë\r2;Ann\r".encode("cp1252"), {}),
        ("sep=;\r\nid;name\r\n1;Zoë\r\n2;Ann\r\n".encode("cp1252"), {}),
        ("'id','name'\n'1','Zoë'\n2,Ann\n".encode(), {"quote": "'"}),
        ("id,name\n1,Zoë\n2,Ann\n".encode("iso8859-15"), {"encoding": "iso-8859-15"}),
        ("id,name\n1,Zoë\n2,Ann\n".encode("utf-16"), {"encoding": "utf-16", "delimiter": ","}),
    ],
)
def test_encodings_delimiters_and_line_ends_are_found(tmp_path, content, options):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    rows, last, rejected = read_all(connector(path, **options), ["name"])
    assert rows == [{"__key": "1", "name": "Zoë"}, {"__key": "2", "name": "Ann"}]
    assert last.complete
    assert not rejected
    info = connector(path, **options).describe(OBJ)
    assert list(info.columns) == ["id", "name"]
    assert info.kind == "file"


def test_values_come_as_they_stand(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,v,w\n007,"a ""b"", c\r\nd", x \n8,"",\n9,NULL,0.10\n')
    rows, _, _ = read_all(connector(path), ["w", "v"])
    assert rows == [
        {"__key": "007", "w": " x ", "v": 'a "b", c\r\nd'},
        {"__key": "8", "w": None, "v": None},
        {"__key": "9", "w": "0.10", "v": "NULL"},
    ]


def test_an_empty_cell_is_text_where_the_mapping_says_so(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,v,w\n1,,""\n')
    sheet = connector(path)
    said = ObjectSpec(name=None, key=("id",), empty_is_text=True)
    assert read_all(sheet, ["v", "w"], said)[0] == [{"__key": "1", "v": "", "w": ""}]
    assert read_all(sheet, ["v", "w"])[0] == [{"__key": "1", "v": None, "w": None}]


def test_short_rows_lack_columns_and_long_ones_are_rejected_with_their_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v,w\n1,a\n2,b,c\n3,d,e,f\n4\n\n5,g,h\n")
    rows, last, rejected = read_all(connector(path), ["v", "w"])
    assert rows == [
        {"__key": "1", "v": "a", "w": None, "__absent": ["w"]},
        {"__key": "2", "v": "b", "w": "c", "__absent": []},
        {"__key": "4", "v": None, "w": None, "__absent": ["v", "w"]},
        {"__key": "5", "v": "g", "w": "h", "__absent": []},
    ]
    assert [(item.key, item.where) for item in rejected] == [(None, "line 4")]
    assert "4 fields, the header has 3" in rejected[0].reason
    assert not last.complete, "the long row may be one that is known: nothing may be believed gone"


def test_empty_and_doubled_keys_are_rejected_with_their_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,v\n1,a\n,b\n2,"c\nc"\n1,d\n3,e\n')
    rows, last, rejected = read_all(connector(path), ["v"])
    assert [row["__key"] for row in rows] == ["2", "3"]
    assert sorted((item.key or "", item.where) for item in rejected) == [("", "line 3"), ("1", "line 2"), ("1", "line 6")]
    assert last.complete


def test_a_key_that_tells_nothing_apart_is_an_error_not_a_million_rejects(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n" + b"1,a\n" * 20_000)
    with pytest.raises(ObjectUnreadableError, match="20000 rows share"):
        read_all(connector(path), ["v"])


def test_bytes_that_are_no_text_reject_their_row_alone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id,v,w\n1,Zoë,a\n2,".encode() + b"\xff,b\n" + "3,Ünal,c\n".encode())
    rows, last, rejected = read_all(connector(path), ["v"])
    assert [row["__key"] for row in rows] == ["1", "3"]
    assert [(item.key, item.where, item.column) for item in rejected] == [("2", "line 3", "v")]
    assert last.complete
    rows, _, rejected = read_all(connector(path), ["w"])
    assert [row["__key"] for row in rows] == ["1", "2", "3"], "a column that is not asked for rejects nothing"
    assert not rejected


def test_text_after_a_closing_quote_stops_one_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,v\n1,"a"b\n2,"c"\n3,d"e\n')
    rows, last, rejected = read_all(connector(path), ["v"])
    assert rows == [{"__key": "2", "v": "c"}, {"__key": "3", "v": 'd"e'}]
    assert [item.where for item in rejected] == ["line 2"]
    assert not last.complete


@pytest.mark.parametrize("content", [b'id,v\n1,a\n2,"b\n3,c\n', b"id,v\n1,a\n2"])
def test_half_a_file_is_never_a_complete_listing_and_never_written(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    rows, last, rejected = read_all(connector(path), ["v"])
    assert [row["__key"] for row in rows] == ["1"]
    assert not last.complete
    assert "cut off" in rejected[0].reason
    with pytest.raises(ObjectUnreadableError, match="line 3"):
        connector(path).write(OBJ, batch("create", [{"v": "x"}]))
    assert path.read_bytes() == content


def test_an_empty_file_is_an_error_and_a_bare_header_zero_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    with pytest.raises(ObjectUnreadableError, match="no header"):
        connector(path).read(OBJ, ["v"])
    path.write_bytes(b"id,v")
    rows, last, _ = read_all(connector(path), ["v"])
    assert (rows, last.complete) == ([], True)


def test_a_missing_file_names_its_whole_path(tmp_path):
    with pytest.raises(SystemUnreachableError, match=str(tmp_path / "none.csv")):
        connector(tmp_path / "none.csv").read(OBJ, ["v"])


def test_a_directory_holds_objects_by_the_names_of_its_files(tmp_path):
    (tmp_path / "north.csv").write_bytes(b"id,v\n1,a\n")
    (tmp_path / "south.tsv").write_bytes(b"id\tv\n5\tb\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "notes.md").write_bytes(b"no table")
    sheets = CsvConnector.open("sheets", {"path": str(tmp_path)})
    assert [info.name for info in sheets.discover()] == ["north.csv", "south.tsv"]
    north, south = (ObjectSpec(name=name, key=("id",), assign="sequence") for name in ("north", "south.tsv"))
    assert read_all(sheets, ["v"], north)[0] == [{"__key": "1", "v": "a"}]
    assert sheets.write(south, batch("create", [{"v": "n"}]))["__key"].item() == "6"
    assert sheets.write(north, batch("create", [{"v": "n"}]))["__key"].item() == "2"
    with pytest.raises(ObjectMissingError, match=r"west[.]csv does not exist"):
        sheets.read(ObjectSpec(name="west", key=("id",)), ["v"])
    with pytest.raises(ObjectMissingError, match="is not a file but a directory"):
        sheets.read(OBJ, ["v"])


def test_columns_that_are_missing_or_doubled_matter_only_when_mapped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,x,x,,v\n1,a,b,c,d\n")
    assert read_all(connector(path), ["v"])[0] == [{"__key": "1", "v": "d"}]
    with pytest.raises(ObjectUnreadableError, match="2 columns named 'x'"):
        connector(path).read(OBJ, ["x"])
    with pytest.raises(ObjectMissingError, match=r"did you mean 'id'"):
        connector(path).describe(ObjectSpec(name=None, key=("idd",)))


def test_header_row_keeps_what_stands_above(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'Report of "May\n\nid,v\n1,a\n')
    obj = ObjectSpec(name=None, key=("id",), header_row=3)
    assert read_all(connector(path), ["v"], obj)[0] == [{"__key": "1", "v": "a"}]
    assert statuses(connector(path).write(obj, batch("update", [{"__key": "1", "v": "b"}]))) == ["done"]
    assert path.read_bytes() == b'Report of "May\n\nid,v\n1,b\n'


def test_composite_keys(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b,v\n1,x|y,p\n1,z,q\n,z,r\n")
    obj = ObjectSpec(name=None, key=("a", "b"))
    sheet = connector(path)
    rows, _, rejected = read_all(sheet, ["v"], obj)
    assert rows == [{"__key": "1|x\\|y", "v": "p"}, {"__key": "1|z", "v": "q"}]
    assert [item.where for item in rejected] == ["line 4"]
    assert statuses(sheet.write(obj, batch("update", [{"__key": "1|x\\|y", "v": "new"}, {"__key": "1|w", "v": "-"}]))) == ["done", "gone"]
    assert statuses(sheet.write(obj, batch("create", [{"__key": "2|n", "v": "s"}, {"v": "t"}]))) == ["done", "rejected"]
    assert path.read_bytes() == b"a,b,v\n1,x|y,new\n1,z,q\n,z,r\n2,n,s\n"


def test_keys_pages_and_find(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v,w\n" + b"".join(b"%d,v%d,%d\n" % (i, i % 3, i % 2) for i in range(10)))
    sheet = connector(path)
    rows, last, _ = read_all(sheet, ["v"], keys=["3", "7", "77"])
    assert [row["__key"] for row in rows] == ["3", "7"]
    assert last.complete
    pages = list(sheet.read(OBJ, ["v"], page_rows=4))
    assert [page.rows.height for page in pages] == [4, 4, 2, 0]
    assert read_all(sheet, [])[0] == [{"__key": str(i)} for i in range(10)]
    found = sheet.find(OBJ, ["w"], pl.DataFrame({"v": ["v0", "v1"], "w": ["1", "0"]}))
    assert found.to_dicts() == [
        {"__key": "3", "w": "1"},
        {"__key": "4", "w": "0"},
        {"__key": "9", "w": "1"},
    ]


class NotWellFormed(Exception):  # noqa: N818 - a verdict on the data, not an error
    """The judge cannot say what the text holds."""


def naive_quoted(data: str, position: int) -> tuple[str, int]:
    """The value of the quoted field that starts at `position`, and the position after it."""
    value, position = "", position + 1
    while position < len(data):
        if data[position] == '"':
            if data[position + 1 : position + 2] != '"':
                return value, position + 1
            position += 1
        value += data[position]
        position += 1
    raise NotWellFormed


def naive_plain(data: str, position: int) -> tuple[str, int]:
    """The same for a field without quotes."""
    end = position
    while end < len(data) and data[end] not in ",\n":
        end += 1
    value = data[position:end]
    return (value if data[end : end + 1] == "," else value.removesuffix("\r")), end


def naive(data: str) -> list[list[str]]:
    """RFC 4180, one character at a time. Raises NotWellFormed."""
    rows: list[list[str]] = []
    row: list[str] = []
    position = 0
    while position < len(data) or row:
        read = naive_quoted if data[position : position + 1] == '"' else naive_plain
        value, position = read(data, position)
        row.append(value)
        if data[position:].startswith("\r\n") or data[position:] == "\r":
            position += 1
        if data[position : position + 1] not in {",", "\n", ""}:
            raise NotWellFormed
        if data[position : position + 1] != ",":
            rows.append(row)
            row = []
        position += 1
    return rows


CELL = st.text(alphabet='ab",;\n\r \u00e9', max_size=5)


def as_cell(value: str, quoted: bool) -> str:
    if quoted or any(char in value for char in '",\n\r'):
        return '"' + value.replace('"', '""') + '"'
    return value


@st.composite
def well_formed(draw: st.DrawFn) -> tuple[str, list[list[str]]]:
    width = draw(st.integers(2, 3))
    rows = draw(st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=5))
    ends = [draw(st.sampled_from(["\n", "\r\n"])) for _ in rows]
    lines = [",".join(as_cell(cell, draw(st.booleans())) for cell in row) + end for row, end in zip(rows, ends, strict=True)]
    text = ",".join(f"c{n}" for n in range(width)) + "\n" + "".join(f"{n},{line}" for n, line in enumerate(lines))
    return "id," + text, rows


@given(file=well_formed(), exact=st.booleans())
@settings(max_examples=300)
def test_any_well_formed_file_reads_as_the_naive_parser_reads_it(tmp_path_factory, file, exact):
    text, rows = file
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.encode())
    sheet = connector(path, delimiter=",", encoding="utf-8")
    columns = [f"c{n}" for n in range(len(rows[0]) if rows else 2)]
    with pytest.MonkeyPatch.context() as patch:
        if exact:
            patch.setattr(csv_rows.CsvReading, "_fast_chunk", lambda *_, **__: (None, pl.Series("__key", [], dtype=pl.String)))
        found, last, rejected = read_all(sheet, columns)
    assert [[row[name] or "" for name in columns] for row in found] == rows
    assert naive(text)[1:] == [[str(n), *row] for n, row in enumerate(rows)]
    assert last.complete
    assert not rejected


@given(body=st.text(alphabet='a",\n\r', max_size=24))
@settings(max_examples=500)
def test_the_fast_reader_is_only_used_where_it_is_right(tmp_path_factory, body):
    """Whatever the bytes: with the fast reader and without, the same rows and rejects; and no byte is lost on the way back."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    content = ("id,v\n" + body).encode()
    path.write_bytes(content)

    def outcome() -> Any:
        rows, last, rejected = read_all(connector(path, delimiter=",", encoding="utf-8"), ["v"])
        return [(row["__key"], row["v"] or "") for row in rows], last.complete, sorted(str(item) for item in rejected)

    fast = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows.CsvReading, "_fast_chunk", lambda *_, **__: (None, pl.Series("__key", [], dtype=pl.String)))
        assert outcome() == fast
    try:
        rows = [row for row in naive("id,v\n" + body)[1:] if row != [""]]
    except NotWellFormed:
        assert fast[2], "what is not well-formed is told"
        return
    only_quotes = '""' in body  # which makes a record of one field, unlike an empty line
    if not only_quotes and all(len(row) == 2 for row in rows) and len({row[0] for row in rows} - {""}) == len(rows):
        assert fast == ([tuple(row) for row in rows], True, [])


def test_blocks_end_anywhere(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    rows = [(str(n), ("x" * (n % 7)) + ('"\n,' if n % 5 == 0 else "") + "é") for n in range(400)]
    path.write_bytes(b"id,v\n" + "".join(f"{key},{as_cell(value, False)}\r\n" for key, value in rows).encode())
    for size in (16, 17, 64, 301):
        monkeypatch.setattr(csv_rows, "BLOCK_BYTES", size)
        found, last, rejected = read_all(connector(path), ["v"])
        assert [(row["__key"], row["v"] or "") for row in found] == rows
        assert (last.complete, rejected) == (True, [])


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'id,name,other\r\n1,"A",x\r\n2,B,"keep ""this"""\n', b'id,name,other\r\n1,"new, n",x\r\n2,B,"keep ""this"""\n3,made,\r\n'),
        (b'"id","name"\n"1","A"\n"2","B"', b'"id","name"\n"1","new, n"\n"2","B"\n"3","made"'),
        (
            "\ufeffid;name;é\r\n1;A;\r\n2;B;ü\r\n".encode("utf-16-le"),
            "\ufeffid;name;é\r\n1;new, n;\r\n2;B;ü\r\n3;made;\r\n".encode("utf-16-le"),
        ),
        (b"\xef\xbb\xbfid\tname\n1\tA\n2\tB\n\n\n", b"\xef\xbb\xbfid\tname\n1\tnew, n\n2\tB\n3\tmade\n\n\n"),
        (b"id|name|z\n1|A\n2|B|\xe9\n", b"id|name|z\n1|new, n\n2|B|\xe9\n3|made|\n"),
        (b'id,name,n\n1,"A",1\n2,"B",2\n', b'id,name,n\n1,"new, n",1\n2,"B",2\n3,"made",\n'),
    ],
)
def test_writing_keeps_the_files_manner_and_every_other_byte(tmp_path, before, after):
    path = tmp_path / "a.csv"
    path.write_bytes(before)
    sheet = connector(path)
    updated = sheet.write(OBJ, batch("update", [{"__key": "1", "name": "new, n"}], [{"name": "A"}], ("name",)))
    assert statuses(updated) == ["done"]
    assert updated["name"].to_list() == ["new, n"]
    made = sheet.write(OBJ, batch("create", [{"name": "made"}], returning=("id", "name")))
    assert made.select("__status", "__key", "__stored", "id", "name").rows() == [("done", "3", True, "3", "made")]
    assert path.read_bytes() == after


def test_a_short_row_grows_only_as_far_as_needed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,a,b,c,d\n1\n2,x\n")
    assert statuses(connector(path).write(OBJ, batch("update", [{"__key": "1", "b": "new"}], [{"b": None}]))) == ["done"]
    assert path.read_bytes() == b"id,a,b,c,d\n1,,new\n2,x\n"


def test_each_operation_has_its_own_outcome(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,a,b\n1,x,p\n2,y,q\n3,z,r\n4,w,s\n4,w,s\n")
    sheet = connector(path, encoding="cp1252")
    outcomes = sheet.write(
        OBJ,
        batch(
            "update",
            [
                {"__key": "1", "a": "X", "b": "-", "__write": ["a"]},
                {"__key": "2", "a": "Y", "b": "-", "__write": ["a"]},
                {"__key": "9", "a": "Z", "b": "-", "__write": ["a"]},
                {"__key": "3", "a": "\u2192 \u0416", "b": "-", "__write": ["a"]},
                {"__key": "4", "a": "W", "b": "-", "__write": ["a"]},
            ],
            [{"a": "x", "b": "changed"}, {"a": "other", "b": "q"}, {"a": "", "b": ""}, {"a": "z", "b": "r"}, {"a": "w", "b": "s"}],
            ("a",),
        ),
    )
    assert statuses(outcomes) == ["done", "stale", "gone", "rejected", "rejected"]
    rejected = outcomes.filter(pl.col("__op") == 3).row(0, named=True)
    assert rejected["__field"] == "a"
    assert "encoding" in rejected["__reason"]
    assert "line 5" in outcomes.filter(pl.col("__op") == 4)["__reason"].item()
    assert path.read_bytes() == b"id,a,b\n1,X,p\n2,y,q\n3,z,r\n4,w,s\n4,w,s\n"


def test_deletes_take_whole_records_and_only_as_last_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,a\n1,"x\ny"\n2,z\n3,w')
    outcomes = connector(path).write(
        OBJ,
        batch(
            "delete", [{"__key": "1"}, {"__key": "2"}, {"__key": "3"}, {"__key": "9"}], [{"a": "x\ny"}, {"a": "old"}, {"a": "w"}, {"a": ""}]
        ),
    )
    assert statuses(outcomes) == ["done", "stale", "done", "gone"]
    assert path.read_bytes() == b"id,a\n2,z\n"


@pytest.mark.parametrize(
    ("content", "assign", "made"),
    [
        (b"id,v\n007,a\n", "sequence", ["008", "009"]),
        (b"id,v\n098,a\n7,b\n", "auto", ["099", "100"]),
        (b"id,v\n999,a\n", "sequence", ["1000", "1001"]),
        (b"id,v\nK1,a\n5,b\n", "sequence", ["6", "7"]),
        (b"id,v\n", "sequence", ["1", "2"]),
        (b"id,v\n3,a\n3,b\n", "sequence", ["4", "5"]),
    ],
)
def test_keys_given_in_sequence(tmp_path, content, assign, made):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    outcomes = connector(path).write(ObjectSpec(name=None, key=("id",), assign=assign), batch("create", [{"v": "n"}, {"v": "m"}]))
    assert outcomes.sort("__op")["__key"].to_list() == made


def test_keys_given_by_chance_by_the_caller_or_taken(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\nK1,a\n")
    sheet = connector(path)
    by_chance = sheet.write(ObjectSpec(name=None, key=("id",), assign="auto"), batch("create", [{"v": "n"}]))
    assert len(by_chance["__key"].item()) == 36
    given_keys = ObjectSpec(name=None, key=("id",), assign="field:number")
    outcomes = sheet.write(
        given_keys, batch("create", [{"__key": "K1", "v": "n"}, {"__key": "K2", "v": "m"}, {"__key": "K2", "v": "o"}, {"v": "p"}])
    )
    assert statuses(outcomes) == ["rejected", "done", "rejected", "rejected"]
    assert "exists" in outcomes.sort("__op")["__reason"][0]
    assert read_all(sheet, ["v"])[0][-1] == {"__key": "K2", "v": "m"}


def test_a_number_given_once_is_not_given_again_after_a_delete(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    sheet = connector(path)
    assert sheet.write(OBJ, batch("create", [{"v": "n"}]))["__key"].item() == "2"
    sheet.write(OBJ, batch("delete", [{"__key": "2"}]))
    assert sheet.write(OBJ, batch("create", [{"v": "n"}]))["__key"].item() == "3"


def test_a_key_column_may_be_written_unless_the_new_key_is_taken(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n2,b\n")
    outcomes = connector(path).write(OBJ, batch("update", [{"__key": "1", "id": "2"}, {"__key": "2", "id": "3"}], returning=("id",)))
    assert statuses(outcomes) == ["rejected", "done"]
    assert outcomes.sort("__op")["__key"].to_list() == ["1", "3"]
    assert path.read_bytes() == b"id,v\n1,a\n3,b\n"


def test_one_column_of_empty_text_stays_a_record(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id\n1\n")
    sheet = connector(path)
    assert sheet.write(OBJ, batch("create", [{"__key": "a b"}]))["__status"].item() == "done"
    assert path.read_bytes() == b"id\n1\na b\n"


@given(
    file=well_formed(),
    value=CELL,
    chosen=st.integers(0, 4),
    wide=st.booleans(),
)
@settings(max_examples=150)
def test_an_update_changes_one_cell_and_no_other(tmp_path_factory, file, value, chosen, wide):
    text, rows = file
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    data = ("\ufeff" + text).encode("utf-16-be") if wide else text.encode()
    path.write_bytes(data)
    sheet = connector(path, delimiter=",", **({} if wide else {"encoding": "utf-8"}))
    outcomes = sheet.write(OBJ, batch("update", [{"__key": str(chosen), "c1": value}], returning=("c1",)))
    columns = [f"c{n}" for n in range(len(rows[0]) if rows else 2)]
    found = [[row[name] or "" for name in columns] for row in read_all(sheet, columns)[0]]
    if chosen >= len(rows):
        assert statuses(outcomes) == ["gone"]
        assert path.read_bytes() == data
        return
    assert statuses(outcomes) == ["done"]
    assert outcomes["c1"].item() == (value or None)
    assert found == [[*row[:1], value, *row[2:]] if number == chosen else row for number, row in enumerate(rows)]
    sheet.write(OBJ, batch("delete", [{"__key": str(chosen)}]))
    left = path.read_bytes().decode("utf-16" if wide else "utf-8")
    assert naive(left)[1:] == [[str(number), *row] for number, row in enumerate(rows) if number != chosen]


# ---------------------------------------------------------------- the file as a whole


def test_a_change_by_another_program_during_the_write_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    commit = filebase.Replacement.commit

    def edited_just_before(self, expected):
        path.write_bytes(b"id,v\n1,b\n")
        commit(self, expected)

    monkeypatch.setattr(filebase.Replacement, "commit", edited_just_before)
    with pytest.raises(ChangedUnderneathError):
        connector(path).write(OBJ, batch("update", [{"__key": "1", "v": "ours"}]))
    assert path.read_bytes() == b"id,v\n1,b\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_change_during_a_read_is_noticed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    pages = connector(path).read(OBJ, ["v"])
    next(pages)
    with path.open("ab") as file:
        file.write(b"2,b\n")
    with pytest.raises(ChangedUnderneathError):
        list(pages)


def test_a_write_between_two_pages_leaves_the_read_on_the_old_content(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n2,b\n")
    sheet = connector(path)
    pages = sheet.read(OBJ, ["v"], page_rows=1)
    shown = [next(pages)]
    assert statuses(sheet.write(OBJ, batch("update", [{"__key": "2", "v": "new"}]))) == ["done"]
    shown += list(pages)
    assert pl.concat(page.rows for page in shown)["v"].to_list() == ["a", "b"]


def test_links_modes_and_leftovers(tmp_path):
    real = tmp_path / "real.csv"
    real.write_bytes(b"id,v\n1,a\n")
    real.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    (tmp_path / ".real.csv.deadbeef.trueup-tmp").write_bytes(b"left by a killed process")
    assert statuses(connector(link).write(OBJ, batch("update", [{"__key": "1", "v": "b"}]))) == ["done"]
    assert link.is_symlink()
    assert real.read_bytes() == b"id,v\n1,b\n"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.csv", "real.csv"]


def test_a_read_only_file_is_refused_even_where_the_directory_is_not(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    path.chmod(0o444)
    with pytest.raises(WriteRefusedError, match="read-only"):
        connector(path).write(OBJ, batch("update", [{"__key": "1", "v": "b"}]))
    assert path.read_bytes() == b"id,v\n1,a\n"


FULL_DISK = """
import resource, signal, sys
sys.path[:0] = {search_path!r}
import polars as pl
from trueup.connectors.base import WriteBatch
from trueup.connectors.csv import CsvConnector
from trueup.errors import WriteRefusedError
from trueup.model import ObjectSpec
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sheet = CsvConnector.open("sheet", {{"path": {path!r}}})
batch = WriteBatch(kind="create", rows=pl.DataFrame({{"__op": [1], "__key": ["x"], "v": ["y" * 100]}}))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    sheet.write(ObjectSpec(name=None, key=("id",)), batch)
except WriteRefusedError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are a matter of POSIX systems")
def test_no_room_for_the_new_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.csv"
    content = b"id,v\n" + b"".join(b"%d,%s\n" % (n, b"z" * 50) for n in range(1000))
    path.write_bytes(content)
    program = FULL_DISK.format(search_path=sys.path, path=str(path))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "the disk is full" in ended.stdout
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_two_writers_take_turns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n")

    def write_ten() -> None:
        sheet = connector(path)
        for _ in range(10):
            sheet.write(OBJ, batch("create", [{"v": "n"}]))

    threads = [threading.Thread(target=write_ten) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(row["__key"]) for row in read_all(connector(path), [])[0]) == list(range(1, 31))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_lock_held_too_long_is_an_error_that_can_be_retried(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n")
    begun = time.monotonic()
    with (
        filebase.locked("sheet", path),
        pytest.raises(SystemUnreachableError, match="another trueup"),
        filebase.locked("sheet", path, wait_s=0.1),
    ):
        pass
    assert time.monotonic() - begun < 5


KILLED = """
import os, sys
sys.path[:0] = {search_path!r}
import polars as pl
from trueup.connectors import filebase
from trueup.connectors.base import WriteBatch
from trueup.connectors.csv import CsvConnector
from trueup.model import ObjectSpec
filebase.Replacement.commit = lambda *_: os.kill(os.getpid(), 9)
CsvConnector.open("sheet", {{"path": {path!r}}}).write(
    ObjectSpec(name=None, key=("id",)), WriteBatch(kind="create", rows=pl.DataFrame({{"__op": [1], "__key": ["x"], "v": ["y"]}})))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a matter of POSIX systems")
def test_a_process_killed_while_writing_leaves_the_file_and_blocks_nobody(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    program = KILLED.format(search_path=sys.path, path=str(path))
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == -9
    assert path.read_bytes() == b"id,v\n1,a\n"
    assert statuses(connector(path).write(OBJ, batch("create", [{"v": "b"}]))) == ["done"]
    assert path.read_bytes() == b"id,v\n1,a\n2,b\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


# ---------------------------------------------------------------- making a file, settings


@pytest.mark.parametrize(
    ("options", "content"),
    [({}, b"id,name\n"), ({"delimiter": "tab"}, b"id\tname\n"), ({"encoding": "utf-16"}, "\ufeffid,name\n".encode("utf-16-le"))],
)
def test_a_file_is_made_where_the_mapping_allows_it(tmp_path, options, content):
    path = tmp_path / "a.csv"
    allowed = ObjectSpec(name=None, key=("id",), create=True)
    sheet = connector(path, **options)
    sheet.prepare(OBJ, {"name": "text"})
    assert not path.exists()
    with pytest.raises(ObjectMissingError):
        sheet.read(allowed, ["name"])
    sheet.prepare(allowed, {"name": "text"})
    assert path.read_bytes() == content
    assert statuses(sheet.write(allowed, batch("create", [{"__key": "1", "name": "é"}]))) == ["done"]
    sheet.prepare(allowed, {"name": "text", "more": "text"})
    assert read_all(connector(path, **options), ["name"])[0] == [{"__key": "1", "name": "é"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "path"),
        ({"path": "a.csv", "delimeter": ";"}, "did you mean 'delimiter'"),
        ({"path": "a.csv", "delimiter": "::"}, "not one ASCII character"),
        ({"path": "a.csv", "encoding": "utf-99"}, "unknown encoding"),
        ({"path": "a.csv", "encoding": "base64"}, "unknown encoding"),
        ({"path": "a.csv", "quote": ",", "delimiter": ","}, "cannot be the quote"),
        ({"path": "a.csv", "encoding": "shift_jis", "delimiter": "|"}, "part of a character"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_opened(options, message):
    with pytest.raises(ConfigError, match=message):
        CsvConnector.open("sheet", options)


def test_memory_stays_bounded_while_a_large_file_is_read(tmp_path):
    path = tmp_path / "a.csv"
    line = b",".join([b"x" * 40] * 10)
    with path.open("wb") as file:
        file.write(b"id," + b",".join(b"c%d" % n for n in range(10)) + b"\n")
        for number in range(0, 400_000, 10_000):
            file.write(b"".join(b"%d,%s\n" % (n, line) for n in range(number, number + 10_000)))
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from trueup.connectors.csv import CsvConnector\nfrom trueup.model import ObjectSpec\n"
        f"sheet = CsvConnector.open('s', {{'path': {str(path)!r}}})\n"
        "pages = sheet.read(ObjectSpec(name=None, key=('id',)), ['c' + str(n) for n in range(10)])\n"
        "rows = sum(page.rows.height for page in pages)\n"
        # Not ru_maxrss: a started process counts what the one that started it held.
        "peak_kb = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(rows, int(peak_kb) // 1024)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    rows, peak_mb = map(int, ended.stdout.split())
    assert rows == 400_000
    assert peak_mb < 300, "the file alone has 167 MB"
    assert path.stat().st_size > 160_000_000
