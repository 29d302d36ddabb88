"""Writing to CSV files: the file keeps its manner, and every byte that was not meant."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.system.connectors.csv_tools import CELL, OBJ, connector, naive, read_all, well_formed
from tests.system.connectors.file_tools import batch, statuses
from trueup.model import ObjectSpec


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
