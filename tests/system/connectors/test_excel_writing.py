"""Writing to workbooks: what changes, what must not, what is refused, and what a crash or a full disk leaves behind."""

from __future__ import annotations

import datetime as dt
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import fastexcel
import openpyxl
import polars as pl
import pytest

from tests.system.connectors.excel_books import (
    DATE,
    MAIN,
    RELATION,
    header,
    members,
    number,
    part,
    raw_book,
    rich_book,
    row,
    rows_of,
    text,
)
from tests.system.connectors.excel_tools import batch, connector, everything, moment, read_all, reasons, types
from tests.system.connectors.file_tools import statuses
from trueup.connectors import excel, filebase
from trueup.errors import ChangedUnderneathError, ObjectUnreadableError, SystemUnreachableError, WriteRefusedError
from trueup.model import ObjectSpec

OBJ = ObjectSpec(name=None, key=("id",))
STOCK = ObjectSpec(name="Stock", key=("No",))
TABLE = "xl/tables/table1.xml"
SHEET = "xl/worksheets/sheet1.xml"


def grid(path: Path, sheet: str = "Stock") -> list[list[object]]:
    return [[cell.value for cell in cells] for cells in openpyxl.load_workbook(path)[sheet].iter_rows()]


# ---------------------------------------------------------------- only what is meant changes


def test_an_update_changes_the_touched_cells_and_nothing_else(tmp_path):
    path = rich_book(tmp_path / "stock.xlsm")
    before, rows_before, seen = members(path), rows_of(path), grid(path)
    changes = [
        {"__key": "002", "Name": "Renamed <b> & ünï", "Checked": dt.date(2027, 3, 4)},
        {"__key": "005", "Price": "99.5", "Active": True},
    ]
    outcomes = connector(path).write(STOCK, batch("update", changes, returning=("Name", "Qty", "Checked")))
    assert statuses(outcomes) == ["done", "done"]
    after, rows_after = members(path), rows_of(path)
    assert list(after) == list(before)
    assert {name for name in before if before[name] != after[name]} <= {SHEET, "xl/workbook.xml"}
    assert {n for n in rows_before if rows_before[n] != rows_after[n]} == {3, 6}
    seen[2][1], seen[2][4] = "Renamed <b> & ünï", moment("2027-03-04")
    seen[5][3], seen[5][6] = 99.5, True
    assert grid(path) == seen
    frame = fastexcel.read_excel(path).load_sheet("Stock", use_columns="A:E").to_polars()
    assert frame["Name"].to_list()[1] == "Renamed <b> & ünï"
    assert frame["Checked"].to_list()[1] == moment("2027-03-04")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"kept"


def test_cells_that_are_not_written_keep_their_bytes_and_written_ones_their_style(tmp_path):
    path = rich_book(tmp_path / "stock.xlsx")
    before = rows_of(path)[3]
    connector(path).write(STOCK, batch("update", [{"__key": "002", "Qty": "7"}]))
    after = rows_of(path)[3]
    assert after == before.replace('<c r="C3" t="n"><v>20</v></c>', '<c r="C3"><v>7</v></c>')
    connector(path).write(STOCK, batch("update", [{"__key": "002", "Price": None, "Checked": dt.date(2026, 2, 2)}]))
    sheet = openpyxl.load_workbook(path)["Stock"]
    assert (sheet["D3"].value, sheet["D3"].number_format) == (None, "#,##0.00")
    assert (sheet["E3"].value, sheet["E3"].number_format) == (moment("2026-02-02"), "dd/mm/yyyy")


def test_the_workbook_asks_to_be_recalculated(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id", "n") + row(2, text("A2", "a"), number("B2", "1")))
    connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))
    assert '</sheets><calcPr fullCalcOnLoad="1"/></workbook>' in part(path, "xl/workbook.xml")
    once = part(path, "xl/workbook.xml")
    connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "3"}]))
    assert part(path, "xl/workbook.xml") == once


def test_new_rows_take_the_look_of_the_last_one(tmp_path):
    path = rich_book(tmp_path / "stock.xlsx")
    rows_before = rows_of(path)
    made: list[dict[str, Any]] = [
        {"Name": "New", "Qty": "3", "Price": "4.5", "Checked": dt.date(2026, 9, 9), "Active": False},
        {"__key": "x-1", "Name": "Other"},
    ]
    outcomes = connector(path).write(STOCK, batch("create", made, returning=("No", "Checked")))
    assert statuses(outcomes) == ["done", "done"]
    assert outcomes.sort("__op")["__key"].to_list() == ["007", "x-1"]
    rows_after = rows_of(path)
    assert {n: rows_after[n] for n in rows_before} == rows_before
    sheet = openpyxl.load_workbook(path)["Stock"]
    assert [cell.value for cell in sheet[8]][:7] == ["007", "New", 3, 4.5, moment("2026-09-09"), None, False]
    assert sheet["D8"].number_format == "#,##0.00"
    assert sheet["B9"].font.b
    assert sheet["E9"].number_format == "dd/mm/yyyy"
    assert sheet.dimensions == "A1:K9"


def test_a_table_grows_over_new_rows(tmp_path):
    path = rich_book(tmp_path / "stock.xlsx")
    before = members(path)
    cities = ObjectSpec(name="Listing", key=("Code",))
    connector(path).write(cities, batch("create", [{"__key": "A2", "City": "York"}, {"__key": "A3", "City": "Hull"}]))
    after = members(path)
    assert {name for name in before if before[name] != after[name]} <= {"xl/worksheets/sheet3.xml", TABLE, "xl/workbook.xml"}
    assert 'ref="A1:B4"' in part(path, TABLE)
    assert 'ref="A1:B2"' not in part(path, TABLE)
    assert openpyxl.load_workbook(path)["Listing"].tables["Cities"].ref == "A1:B4"


def with_table(path: Path, totals: int) -> Path:
    table = f'<table xmlns="{MAIN}" id="1" name="T" displayName="T" ref="A1:B4" totalsRowCount="{totals}"><autoFilter ref="A1:B3"/></table>'
    links = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{RELATION}/table" Target="../tables/table1.xml"/></Relationships>'
    )
    rows = "".join(row(n, text(f"A{n}", f"k{n}"), number(f"B{n}", str(n))) for n in (2, 3))
    rows += row(4, text("A4", "Total"), '<c r="B4"><f>SUM(B2:B3)</f><v>5</v></c>')
    return raw_book(path, header("id", "n") + rows, more={"xl/worksheets/_rels/sheet1.xml.rels": links, TABLE: table})


def test_a_totals_row_is_no_record_and_stops_new_rows(tmp_path):
    book = connector(with_table(tmp_path / "book.xlsx", 1))
    assert [each["__key"] for each in everything(book, ["n"], OBJ)] == ["k2", "k3"]
    outcomes = book.write(OBJ, batch("create", [{"__key": "k9", "n": "1"}]))
    assert statuses(outcomes) == ["rejected"]
    assert "totals row" in str(reasons(outcomes)[0])


def test_the_sheets_own_filter_grows(tmp_path):
    rows = header("id", "n") + row(2, text("A2", "a"), number("B2", "1"))
    path = raw_book(tmp_path / "book.xlsx", rows, head='<dimension ref="A1:B2"/>', tail='<autoFilter ref="A1:B2"/>')
    connector(path).write(OBJ, batch("create", [{"__key": "b", "n": "2"}]))
    assert '<autoFilter ref="A1:B3"/>' in part(path)
    assert '<dimension ref="A1:B3"/>' in part(path)


def test_a_deleted_row_is_emptied_in_place_and_skipped(tmp_path):
    rows = header("id", "n") + "".join(row(n, text(f"A{n}", f"k{n}"), number(f"B{n}", str(n), DATE)) for n in (2, 3, 4))
    path = raw_book(tmp_path / "book.xlsx", rows)
    before = rows_of(path)
    book = connector(path)
    assert statuses(book.write(OBJ, batch("delete", [{"__key": "k3"}, {"__key": "zz"}]))) == ["done", "gone"]
    after = rows_of(path)
    assert after == {**before, 3: '<row r="3"><c r="A3"/><c r="B3" s="2"/></row>'}
    assert [each["__key"] for each in everything(book, ["n"], OBJ)] == ["k2", "k4"]
    book.write(OBJ, batch("delete", [{"__key": "k4"}]))
    book.write(OBJ, batch("create", [{"__key": "k5", "n": dt.date(2026, 1, 1)}]))
    assert [each["__key"] for each in everything(book, ["n"], OBJ)] == ["k2", "k5"]
    assert 'r="A3" t="inlineStr"' in rows_of(path)[3]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ('<c r="B2"><f>1+1</f><v>2</v></c>', "cell B2 of the row holds a formula"),
        (text("D2", "a remark"), "outside the columns named"),
    ],
)
def test_a_row_with_more_than_its_record_is_not_deleted(tmp_path, cells, words):
    path = raw_book(tmp_path / "book.xlsx", header("id", "n") + row(2, text("A2", "a"), cells))
    before = path.read_bytes()
    outcomes = connector(path).write(OBJ, batch("delete", [{"__key": "a"}]))
    assert statuses(outcomes) == ["rejected"]
    assert words in str(reasons(outcomes)[0])
    assert path.read_bytes() == before


def test_formulas_and_covered_cells_are_never_overwritten(tmp_path):
    rows = header("id", "n", "name") + row(2, text("A2", "a"), '<c r="B2"><f>1+1</f><v>2</v></c>', text("C2", "x"))
    rows += row(3, text("A3", "b"), '<c r="B3"><v>5</v></c>') + row(
        4, text("A4", "c"), '<c r="B4"><f t="array" ref="B4:B5">A1:A2</f><v>1</v></c>'
    )
    rows += row(5, text("A5", "d"), number("B5", "2"))
    path = raw_book(tmp_path / "book.xlsx", rows, tail='<mergeCells count="1"><mergeCell ref="C2:C3"/></mergeCells>')
    changes = [{"__key": key, "n": "9"} for key in "abcd"] + [{"__key": "b", "name": "y"}, {"__key": "a", "name": "z"}]
    frame = pl.DataFrame([{"__op": n, "__write": [next(k for k in each if k != "__key")], **each} for n, each in enumerate(changes)])
    outcomes = connector(path).write(OBJ, excel_batch(frame))
    assert statuses(outcomes) == ["rejected", "done", "rejected", "rejected", "rejected", "done"]
    assert "cell B2 holds a formula" in str(reasons(outcomes)[0])
    assert "C2:C3" in str(reasons(outcomes)[4])
    assert outcomes.sort("__op")["__field"].to_list() == ["n", None, "n", "n", "name", None]


def excel_batch(frame: pl.DataFrame):
    from trueup.connectors.base import WriteBatch

    return WriteBatch(kind="update", rows=frame)


# ---------------------------------------------------------------- what a cell can hold


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 32_768, "32,767"),
        ("😀" * 16_384, "32,768"),
    ],
)
def test_text_that_no_cell_holds_is_rejected(tmp_path, value, words):
    path = raw_book(tmp_path / "book.xlsx", header("id", "t") + row(2, text("A2", "a"), text("B2", "x")))
    outcomes = connector(path).write(OBJ, batch("update", [{"__key": "a", "t": value}]))
    assert statuses(outcomes) == ["rejected"]
    assert words in str(reasons(outcomes)[0])


def test_numbers_of_more_than_15_digits_are_rejected_in_number_columns_and_kept_in_text(tmp_path):
    rows = header("id", "n", "t") + row(2, text("A2", "a"), number("B2", "1"), text("C2", "x"))
    path = raw_book(tmp_path / "book.xlsx", rows)
    book = connector(path)
    outcomes = book.write(OBJ, batch("update", [{"__key": "a", "n": "1234567890.123456"}]))
    assert statuses(outcomes) == ["rejected"]
    assert "significant digits" in str(reasons(outcomes)[0])
    outcomes = book.write(OBJ, batch("update", [{"__key": "a", "t": "1234567890.123456"}], returning=("t",)))
    assert outcomes["t"].to_list() == ["1234567890.123456"]


def test_dates_before_the_workbooks_first_are_rejected(tmp_path):
    rows = header("id", "d") + row(2, text("A2", "a"), number("B2", "46023", DATE)) + row(3, text("A3", "b"))
    path = raw_book(tmp_path / "book.xlsx", rows)
    outcomes = connector(path).write(OBJ, batch("update", [{"__key": "a", "d": dt.date(1899, 12, 31)}]))
    assert statuses(outcomes) == ["rejected"]
    raw_book(path, rows, date1904=True)
    book = connector(path)
    changes = [{"__key": "a", "d": dt.date(1903, 12, 31)}, {"__key": "b", "d": dt.date(1904, 1, 1)}]
    outcomes = book.write(OBJ, batch("update", changes))
    assert statuses(outcomes) == ["rejected", "done"]
    assert everything(book, ["d"], OBJ)[1]["d"] == dt.date(1904, 1, 1)
    assert rows_of(path)[3].endswith('<c r="B3" s="2"><v>0</v></c></row>')


def test_a_number_in_a_mixed_column_stays_a_number(tmp_path):
    rows = header("id", "code") + row(2, text("A2", "a"), number("B2", "7")) + row(3, text("A3", "b"), text("B3", "X7"))
    path = raw_book(tmp_path / "book.xlsx", rows)
    book = connector(path)
    book.write(OBJ, batch("update", [{"__key": "a", "code": "8"}, {"__key": "b", "code": "9"}]))
    assert '<c r="B2"><v>8</v></c>' in rows_of(path)[2]
    assert 't="inlineStr"' in rows_of(path)[3].split("B3")[1]
    book.write(OBJ, batch("update", [{"__key": "a", "code": "008"}]))
    assert everything(book, ["code"], OBJ)[0]["code"] == "008"


@pytest.mark.parametrize("written", ["tab\t\x01 _x0041_ \r\n end ", "\ufffe", "]]>&amp;"])
def test_text_that_xml_cannot_hold_comes_back(tmp_path, written):
    path = raw_book(tmp_path / "book.xlsx", header("id", "t") + row(2, text("A2", "a")))
    book = connector(path)
    assert statuses(book.write(OBJ, batch("update", [{"__key": "a", "t": written}]))) == ["done"]
    assert everything(connector(path), ["t"], OBJ)[0]["t"] == written


# ---------------------------------------------------------------- keys and preconditions


def test_new_keys_continue_the_sequence_in_its_width(tmp_path):
    rows = header("id", "n") + row(2, text("A2", "007"), number("B2", "1"))
    path = raw_book(tmp_path / "book.xlsx", rows)
    outcomes = connector(path).write(OBJ, batch("create", [{"n": "2"}, {"n": "3"}, {"__key": "007", "n": "4"}]))
    assert outcomes.sort("__op")["__key"].to_list() == ["008", "009", "007"]
    assert statuses(outcomes) == ["done", "done", "rejected"]
    raw_book(path, header("id", "n") + row(2, text("A2", "AX"), number("B2", "1")))
    made = connector(path).write(OBJ, batch("create", [{"n": "2"}]))
    assert len(made["__key"][0]) == 36
    by_field = ObjectSpec(name=None, key=("id",), assign="field:code")
    refused = connector(path).write(by_field, batch("create", [{"n": "2"}]))
    assert statuses(refused) == ["rejected"]


def test_numeric_keys_are_written_as_numbers(tmp_path):
    rows = header("id", "n") + row(2, number("A2", "41"), number("B2", "1"))
    path = raw_book(tmp_path / "book.xlsx", rows)
    outcomes = connector(path).write(OBJ, batch("create", [{"n": "2"}]))
    assert outcomes["__key"].to_list() == ["42"]
    assert '<c r="A3"><v>42</v></c>' in rows_of(path)[3]


def test_a_row_that_changed_is_stale_and_kept(tmp_path):
    rows = header("id", "n", "t", "d") + "".join(
        row(n, text(f"A{n}", f"k{n}"), number(f"B{n}", "1.50"), text(f"C{n}", "x"), number(f"D{n}", "46023", DATE)) for n in (2, 3, 4)
    )
    path = raw_book(tmp_path / "book.xlsx", rows)
    book = connector(path)
    seen = {"n": "1.5", "t": "x", "d": dt.date(2026, 1, 1)}
    changes = [{"__key": "k2", "n": "2"}, {"__key": "k3", "n": "2"}, {"__key": "k4", "n": "2"}, {"__key": "k9", "n": "2"}]
    expected = [seen, {**seen, "n": "1.6"}, {**seen, "t": "other"}, seen]
    outcomes = book.write(OBJ, batch("update", changes, expected))
    assert statuses(outcomes) == ["done", "stale", "done", "gone"]
    deletes = [{"__key": "k3"}, {"__key": "k4"}]
    assert statuses(book.write(OBJ, batch("delete", deletes, [seen, {**seen, "n": "2", "t": "other"}]))) == ["done", "stale"]


def test_rows_of_a_doubled_key_are_not_written(tmp_path):
    rows = header("id", "n") + row(2, text("A2", "d"), number("B2", "1")) + row(3, text("A3", "d"), number("B3", "2"))
    path = raw_book(tmp_path / "book.xlsx", rows)
    outcomes = connector(path).write(OBJ, batch("update", [{"__key": "d", "n": "9"}]))
    assert statuses(outcomes) == ["rejected"]
    assert "rows 2, 3" in str(reasons(outcomes)[0])


def test_a_change_by_another_program_during_the_write_wins(tmp_path, monkeypatch):
    path = raw_book(tmp_path / "book.xlsx", header("id", "n") + row(2, text("A2", "a"), number("B2", "1")))
    other = raw_book(tmp_path / "other.xlsx", header("id", "n") + row(2, text("A2", "a"), number("B2", "77"))).read_bytes()
    plain = filebase.Replacement.commit

    def commit_late(self, expected):
        path.write_bytes(other)
        plain(self, expected)

    monkeypatch.setattr(filebase.Replacement, "commit", commit_late)
    with pytest.raises(ChangedUnderneathError, match="changed by another program"):
        connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))
    assert path.read_bytes() == other


# ---------------------------------------------------------------- the world around the file


@pytest.mark.parametrize(
    ("mark", "content", "words"),
    [
        (".~lock.book.xlsx#", b",ada,desk-4,20.11.2026 09:00,file:///home/ada;", "open in LibreOffice.*ada on desk-4"),
        ("~$book.xlsx", b"\x09Ada Smith" + bytes(50), "open in Excel.*Ada Smith"),
    ],
)
def test_a_workbook_open_elsewhere_is_read_but_not_written(tmp_path, mark, content, words):
    path = raw_book(tmp_path / "book.xlsx", header("id", "n") + row(2, text("A2", "a"), number("B2", "1")))
    (tmp_path / mark).write_bytes(content)
    book = connector(path)
    assert everything(book, ["n"], OBJ) == [{"__key": "a", "n": "1"}]
    with pytest.raises(SystemUnreachableError, match=words) as caught:
        book.write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))
    assert caught.value.remedy == "retry"
    (tmp_path / mark).unlink()
    assert statuses(book.write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))) == ["done"]


def test_a_read_only_workbook_is_left_alone(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id", "n") + row(2, text("A2", "a"), number("B2", "1")))
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(WriteRefusedError, match="read-only"):
        connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))
    assert path.read_bytes() == before


def test_the_files_mode_is_kept(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id", "n") + row(2, text("A2", "a"), number("B2", "1")))
    path.chmod(0o640)
    connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["book.xlsx"]


WRITER = """
import sys, itertools
from tests.system.connectors.excel_tools import batch, connector
from trueup.model import ObjectSpec
from pathlib import Path
book = connector(Path(sys.argv[1]))
print("ready", flush=True)
for n in itertools.count(1):
    book.write(ObjectSpec(name=None, key=("id",)), batch("update", [{"__key": f"k{each}", "n": str(n)} for each in range(2, 400)]))
"""


def python(script: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join(str(Path(excel.__file__).parents[levels]) for levels in (2, 3))
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def many(path: Path) -> Path:
    cells = "".join(row(n, text(f"A{n}", f"k{n}"), number(f"B{n}", "0")) for n in range(2, 400))
    return raw_book(path, header("id", "n") + cells)


def test_a_killed_writer_leaves_the_old_or_the_new_workbook(tmp_path):
    path = many(tmp_path / "book.xlsx")
    for pause_s in (0.05, 0.11, 0.23):
        writer = python(WRITER, str(path))
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(pause_s)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        found = everything(connector(path), ["n"], OBJ)
        assert len(found) == 398
        assert len({each["n"] for each in found}) == 1
    outcomes = connector(path).write(OBJ, batch("update", [{"__key": "k2", "n": "-1"}]))
    assert statuses(outcomes) == ["done"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["book.xlsx"]


def test_a_full_disk_leaves_the_old_workbook(tmp_path):
    path = many(tmp_path / "book.xlsx")
    before = path.read_bytes()

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    writer = python(WRITER, str(path), preexec_fn=no_room)
    _, errors = writer.communicate(timeout=60)
    assert "WriteRefusedError" in errors
    assert "the disk is full" in errors
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["book.xlsx"]


def test_a_signed_workbook_is_not_written(tmp_path):
    rows = header("id", "n") + row(2, text("A2", "a"), number("B2", "1"))
    path = raw_book(tmp_path / "book.xlsx", rows, more={"_xmlsignatures/sig1.xml": "<x/>"})
    with pytest.raises(WriteRefusedError, match="digitally signed"):
        connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))


# ---------------------------------------------------------------- XML of other shapes, and objects that are not there yet


def test_prefixes_comments_and_missing_addresses_are_written_around(tmp_path):
    sheet = (
        f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData><!-- <x:row r="2"> --><x:row><x:c t="inlineStr"><x:is><x:t>id</x:t></x:is></x:c>'
        '<x:c t="inlineStr"><x:is><x:t>n</x:t></x:is></x:c></x:row><x:row spans="1:1"><x:c t="inlineStr"><x:is><x:t>a</x:t></x:is></x:c>'
        "</x:row><x:row><x:c t='inlineStr'><x:is><x:t>b</x:t></x:is></x:c><x:c><x:v>5</x:v></x:c></x:row></x:sheetData></x:worksheet>"
    )
    path = raw_book(tmp_path / "book.xlsx", "", sheet=sheet)
    book = connector(path)
    book.write(OBJ, batch("update", [{"__key": "a", "n": "1"}, {"__key": "b", "n": "2"}]))
    book.write(OBJ, batch("create", [{"__key": "c", "n": "3"}]))
    assert [(each["__key"], each["n"]) for each in everything(book, ["n"], OBJ)] == [("a", "1"), ("b", "2"), ("c", "3")]
    assert '<!-- <x:row r="2"> -->' in part(path)
    assert 'spans="1:2"' in part(path)
    assert [[cell.value for cell in cells] for cells in openpyxl.load_workbook(path)["Stock"].iter_rows()][1:] == [
        ["a", 1],
        ["b", 2],
        ["c", 3],
    ]


def test_an_empty_sheet_takes_header_and_rows(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", "", sheet=f'<worksheet xmlns="{MAIN}"><dimension ref="A1"/><sheetData /></worksheet>')
    book = connector(path)
    made = ObjectSpec(name="Stock", key=("id",), create=True)
    book.prepare(made, {"id": "text", "n": "decimal"})
    assert statuses(book.write(made, batch("create", [{"n": "1.5"}, {"n": "2"}]))) == ["done", "done"]
    assert grid(path) == [["id", "n"], ["1", "1.5"], ["2", "2"]]


@pytest.mark.parametrize("rich", [True, False])
def test_a_sheet_is_added_to_a_workbook_that_stays_as_it_is(tmp_path, rich):
    path = tmp_path / "book.xlsx"
    if rich:
        rich_book(path)
    else:
        raw_book(path, header("id"))
    before = members(path)
    kinds = {"id": "text", "n": "decimal", "on": "boolean", "day": "date", "at": "timestamp", "count": "integer"}
    made = ObjectSpec(name="New & own", key=("id",), create=True)
    book = connector(path)
    book.prepare(made, kinds)
    after = members(path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"[Content_Types].xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"}
    assert types(book, made) == kinds
    record = {"__key": "k1", "n": "1.25", "on": True, "day": dt.date(2026, 1, 2), "at": moment("2026-01-02T03:04:05"), "count": 4}
    assert statuses(book.write(made, batch("create", [record]))) == ["done"]
    assert everything(book, list(kinds)[1:], made) == [record]
    shown = [list(cells) for cells in openpyxl.load_workbook(path)["New & own"].iter_rows(min_row=2, values_only=True)]
    assert shown == [["k1", 1.25, True, moment("2026-01-02"), moment("2026-01-02T03:04:05"), 4]]


def test_a_new_workbook_is_made_once(tmp_path):
    path = tmp_path / "book.xlsx"
    made = ObjectSpec(name="Customers", key=("Customer No",), create=True, header_row=3)
    book = connector(path)
    book.prepare(made, {"Customer No": "integer", "=Name": "text"})
    book.write(made, batch("create", [{"=Name": "Ada"}]))
    once = path.read_bytes()
    book.prepare(made, {"Customer No": "integer", "=Name": "text"})
    assert path.read_bytes() == once
    assert grid(path, "Customers")[2:] == [["Customer No", "=Name"], [1, "Ada"]]


def test_pages_of_an_older_reading_stay_whole_while_the_workbook_is_written(tmp_path):
    path = many(tmp_path / "book.xlsx")
    book = connector(path)
    pages = book.read(OBJ, ["n"], page_rows=100)
    first = next(pages)
    book.write(OBJ, batch("update", [{"__key": "k399", "n": "5"}]))
    rest = list(pages)
    assert first.rows.height + sum(page.rows.height for page in rest) == 398
    assert read_all(book, ["n"], OBJ, keys=["k399"]).rows == [{"__key": "k399", "n": "5"}]


@pytest.mark.parametrize("opening", ['<row r="9">', '<row r="/">'])
def test_a_sheet_that_contradicts_itself_is_not_written(tmp_path, opening):
    rows = header("id", "n") + row(2, text("A2", "a"), number("B2", "1")).replace('<row r="2">', opening)
    path = raw_book(tmp_path / "book.xlsx", rows)
    before = path.read_bytes()
    with pytest.raises(ObjectUnreadableError, match="cannot be written"):
        connector(path).write(OBJ, batch("update", [{"__key": "a", "n": "2"}]))
    assert path.read_bytes() == before
