"""CSV files of every manner, found, read and made on a real disk."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from tests.system.connectors.csv_tools import OBJ, connector, read_all
from tests.system.connectors.file_tools import batch, statuses
from trueup.connectors.csv import CsvConnector
from trueup.errors import (
    ConfigError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemUnreachableError,
)
from trueup.model import ObjectSpec

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
    assert connector(path).describe(OBJ).remark == "several columns are named 'x': rename all but one"
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
