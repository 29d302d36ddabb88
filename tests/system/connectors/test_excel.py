"""Excel workbooks read and written on a real disk; openpyxl, fastexcel and the bytes themselves are the judges."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.system.connectors.excel_books import (
    DATE,
    ELAPSED,
    MAIN,
    MOMENT,
    OWN_DATE,
    PADDED,
    PERCENT,
    TIME,
    WHOLE,
    header,
    number,
    raw_book,
    row,
    text,
)
from tests.system.connectors.excel_tools import batch, connector, everything, moment, read_all, types
from tests.system.connectors.file_tools import statuses
from trueup.connectors.excel import ExcelConnector
from trueup.connectors.excel_create import new_workbook
from trueup.connectors.excel_values import plain_decimal
from trueup.errors import ConfigError, ObjectMissingError, ObjectUnreadableError, SystemUnreachableError
from trueup.model import ObjectSpec

OBJ = ObjectSpec(name=None, key=("id",))

# ---------------------------------------------------------------- what cells hold


def one_column(tmp_path: Path, *cells: str, strings: tuple[str, ...] = (), date1904: bool = False) -> list[Any]:
    """Values of column `value` of a sheet whose data rows hold these cells in B."""
    rows = "".join(row(n, text(f"A{n}", f"k{n}"), cell.replace("B?", f"B{n}")) for n, cell in enumerate(cells, 2))
    path = raw_book(tmp_path / "book.xlsx", header("id", "value") + rows, strings=strings, date1904=date1904)
    return [each["value"] for each in read_all(connector(path), ["value"], OBJ).rows]


def test_numbers_are_exact_to_the_digits_that_excel_shows(tmp_path):
    values = ["0.1", "0.30000000000000004", "2.9999999999999996", "1E+20", "1.5E-3", "-0", "9007199254740991", "123456789.12345678"]
    found = one_column(tmp_path, *(number("B?", value) for value in values))
    assert found == ["0.1", "0.3", "3", "100000000000000000000", "0.0015", "0", "9007199254740991", "123456789.123457"]


def test_whole_numbers_in_a_whole_number_format_are_integers(tmp_path):
    assert one_column(tmp_path, number("B?", "7", WHOLE), number("B?", "-12", PADDED)) == [7, -12]


def test_percentages_are_the_number_behind_them(tmp_path):
    assert one_column(tmp_path, number("B?", "0.125", PERCENT)) == ["0.125"]


def test_text_of_every_storage(tmp_path):
    strings = (
        "<t>plain</t>",
        '<r><t xml:space="preserve">rich </t></r><r><rPr><b/></rPr><t>te&amp;xt</t></r>',
        "<t>漢</t><rPh><t>かん</t></rPh>",
    )
    cells = [f'<c r="B?" t="s"><v>{n}</v></c>' for n in range(3)]
    cells += [
        '<c r="B?" t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r></is></c>',
        '<c r="B?" t="str"><f>"a"&amp;"b"</f><v>ab</v></c>',
    ]
    cells += ['<c r="B?" t="inlineStr"><is><t>_x000B_ _x005F_x000B_ &#10;&lt;</t></is></c>', text("B?", "007")]
    assert one_column(tmp_path, *cells, strings=strings) == ["plain", "rich te&xt", "漢", "inline", "ab", "\x0b _x000B_ \n<", "007"]


def test_a_mixed_column_is_text_in_canonical_form(tmp_path):
    cells = [number("B?", "7"), number("B?", "1.50"), text("B?", "007"), number("B?", "46023", DATE), '<c r="B?" t="b"><v>1</v></c>']
    assert one_column(tmp_path, *cells) == ["7", "1.5", "007", "2026-01-01", "true"]


def test_booleans(tmp_path):
    assert one_column(tmp_path, '<c r="B?" t="b"><v>1</v></c>', '<c r="B?" t="b"><v>0</v></c>', '<c r="B?"/>') == [True, False, None]


@pytest.mark.parametrize(("date1904", "serial"), [(False, 46023), (True, 46023 - 1462)])
def test_dates_in_both_date_systems(tmp_path, date1904, serial):
    found = one_column(tmp_path, number("B?", str(serial), DATE), number("B?", str(serial), OWN_DATE), date1904=date1904)
    assert found == [dt.date(2026, 1, 1)] * 2


def test_a_date_with_a_time_makes_the_column_one_of_timestamps(tmp_path):
    found = one_column(tmp_path, number("B?", "46023", DATE), number("B?", "46023.43751157407", MOMENT))
    assert found == [moment("2026-01-01"), moment("2026-01-01T10:30:01")]


def test_the_first_days_of_1900(tmp_path):
    assert one_column(tmp_path, *(number("B?", serial, DATE) for serial in ("1", "59", "61"))) == [
        dt.date(1900, 1, 1),
        dt.date(1900, 2, 28),
        dt.date(1900, 3, 1),
    ]


def test_times_and_durations(tmp_path):
    assert one_column(tmp_path, number("B?", "0.4375", TIME), number("B?", "1.1458333333333333", ELAPSED)) == ["10:30:00", "27:30:00"]


def test_iso_dates_that_other_programs_write(tmp_path):
    assert one_column(tmp_path, '<c r="B?" t="d"><v>2026-11-20T00:00:00Z</v></c>') == [dt.date(2026, 11, 20)]


def test_an_error_or_an_impossible_date_rejects_its_row_alone(tmp_path):
    cells = [number("B?", "46023", DATE), '<c r="B?" t="e"><v>#N/A</v></c>', number("B?", "60", DATE), number("B?", "-3", DATE)]
    rows = "".join(row(n, text(f"A{n}", f"k{n}"), cell.replace("B?", f"B{n}")) for n, cell in enumerate(cells, 2))
    book = connector(raw_book(tmp_path / "book.xlsx", header("id", "value") + rows))
    found = read_all(book, ["value"], OBJ)
    assert [each["__key"] for each in found.rows] == ["k2"]
    assert [(reject.key, reject.where, reject.column) for reject in found.rejected] == [
        ("k3", "row 3", "value"),
        ("k4", "row 4", "value"),
        ("k5", "row 5", "value"),
    ]
    assert "B3" in found.rejected[0].reason
    assert "#N/A" in found.rejected[0].reason
    assert found.complete
    assert [each["__key"] for each in read_all(book, [], OBJ).rows] == ["k2", "k3", "k4", "k5"]


def test_a_formula_without_a_result_is_absent_and_its_column_is_not_writable(tmp_path):
    rows = row(2, text("A2", "a"), '<c r="B2"><f>1+1</f><v>2</v></c>') + row(3, text("A3", "b"), '<c r="B3"><f>1+1</f></c>')
    rows += row(4, text("A4", "c"), '<c r="B4"><f>1+1</f><v/></c>') + row(5, text("A5", "d"), '<c r="B5" t="str"><f>""</f><v></v></c>')
    book = connector(raw_book(tmp_path / "book.xlsx", header("id", "value") + rows))
    found = {each["__key"]: (each["value"], each["__absent"]) for each in read_all(book, ["value"], OBJ).rows}
    assert found == {"a": ("2", []), "b": (None, ["value"]), "c": (None, ["value"]), "d": (None, [])}
    assert {name: column.writable for name, column in book.describe(OBJ).columns.items()} == {"id": True, "value": False}


def test_empty_is_text_where_the_mapping_says_so(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id", "value") + row(2, text("A2", "a")) + row(3, text("A3", "b"), text("B3", "x")))
    found = read_all(connector(path), ["value"], ObjectSpec(name=None, key=("id",), empty_is_text=True))
    assert [each["value"] for each in found.rows] == ["", "x"]


def test_types_of_empty_columns_follow_from_their_formats(tmp_path):
    kinds = {"id": "text", "n": "integer", "d": "decimal", "day": "date", "at": "timestamp", "on": "boolean", "clock": "time", "t": "text"}
    (tmp_path / "book.xlsx").write_bytes(new_workbook("Stock", 1, kinds))
    assert types(connector(tmp_path / "book.xlsx"), OBJ) == kinds


# ---------------------------------------------------------------- XML of other shapes

USUAL = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c><c r="B1" t="inlineStr"><is><t>value</t></is></c></row>'
    '<row r="2"><c r="A2" t="inlineStr"><is><t>a &amp; b</t></is></c><c r="B2" s="2"><v>46023</v></c></row>'
    '<row r="3"><c r="A3" t="inlineStr"><is><t>c</t></is></c><c r="B3" s="2"/></row>'
)
SHAPES = {
    "usual": f'<worksheet xmlns="{MAIN}"><sheetData>{USUAL}</sheetData></worksheet>',
    "mark": f'\ufeff<?xml version="1.0"?><worksheet xmlns="{MAIN}"><sheetData>{USUAL}</sheetData></worksheet>',
    "prefixes": f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData>' + re.sub("<(/?)", r"<\1x:", USUAL) + "</x:sheetData></x:worksheet>",
    "no addresses": f'<worksheet xmlns="{MAIN}"><sheetData>' + re.sub(r' r="\w+"', "", USUAL) + "</sheetData></worksheet>",
    "single quotes": f"<worksheet xmlns='{MAIN}'><sheetData>{USUAL}</sheetData></worksheet>".replace('"', "'"),
    "comments": f'<worksheet xmlns="{MAIN}"><!-- <sheetData><row r="9"/> --><sheetData>'
    + USUAL.replace("<v>46023", "<!-- </row> --><v>4<!-- x -->6023").replace("a &amp; b", "<![CDATA[a & b]]>")
    + "</sheetData></worksheet>",
    "spread over lines": f'<worksheet xmlns="{MAIN}">\r\n<sheetData>' + USUAL.replace("><", ">\r\n  <") + "</sheetData></worksheet>",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_xml_is_read_alike(tmp_path, shape):
    path = raw_book(tmp_path / "book.xlsx", "", sheet=SHAPES[shape])
    rows = read_all(connector(path), ["value"], OBJ).rows
    assert rows == [{"__key": "a & b", "value": dt.date(2026, 1, 1)}, {"__key": "c", "value": None}]


# ---------------------------------------------------------------- headers, keys, rows


def test_merged_header_cells_are_named_with_a_remedy(tmp_path):
    rows = row(1, text("A1", "Stock list")) + row(2, text("A2", "id"), text("B2", "name")) + row(3, text("A3", "a"), text("B3", "x"))
    merged = '<mergeCells count="1"><mergeCell ref="A1:B1"/></mergeCells>'
    book = connector(raw_book(tmp_path / "book.xlsx", rows, tail=merged))
    with pytest.raises(ObjectUnreadableError, match=r"merged cells in its header \(row 1\): A1:B1.*header_row"):
        book.describe(OBJ)
    with pytest.raises(ObjectUnreadableError, match="A1:B1"):
        book.read(OBJ, ["name"])
    below = ObjectSpec(name="Stock", key=("id",), header_row=2)
    assert read_all(book, ["name"], below).rows == [{"__key": "a", "name": "x"}]


def test_a_doubled_header_matters_only_where_it_is_mapped(tmp_path):
    rows = header("id", "name", "name", "", "city") + row(2, text("A2", "a"), text("B2", "x"), text("E2", "Rome"))
    book = connector(raw_book(tmp_path / "book.xlsx", rows))
    assert read_all(book, ["city"], OBJ).rows == [{"__key": "a", "city": "Rome"}]
    with pytest.raises(ObjectUnreadableError, match="'name': B1, C1"):
        book.read(OBJ, ["name"])


def test_missing_columns_sheets_and_headers_say_what_is_there(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id", "E-mail"), sheets=("Stock", "Old"))
    book = connector(path)
    with pytest.raises(ObjectMissingError, match=r"no column 'email'.*did you mean 'E-mail'"):
        book.read(OBJ, ["email"])
    with pytest.raises(ObjectMissingError, match=r"no sheet 'stock'.*did you mean 'Stock'"):
        book.describe(ObjectSpec(name="stock", key=("id",)))
    with pytest.raises(ObjectMissingError, match="'Stock', 'Old'"):
        book.describe(ObjectSpec(name="Customers", key=("id",)))
    with pytest.raises(ObjectMissingError, match="no column names in row 7"):
        book.describe(ObjectSpec(name=None, key=("id",), header_row=7))
    assert [info.name for info in book.discover()] == ["Stock", "Old"]


def test_rows_without_values_are_skipped_and_keys_must_tell_rows_apart(tmp_path):
    rows = header("id", "name") + row(2, number("A2", "7"), text("B2", "x")) + row(3, '<c r="A3" s="2"/>') + row(4, text("B4", "no key"))
    rows += row(6, text("A6", "d"), text("B6", "1")) + row(7, text("A7", "d"), text("B7", "2")) + row(8, '<c r="B8"><f>A8</f><v>0</v></c>')
    found = read_all(connector(raw_book(tmp_path / "book.xlsx", rows)), ["name"], OBJ)
    assert found.rows == [{"__key": "7", "name": "x"}]
    assert [(reject.key, reject.where) for reject in found.rejected] == [(None, "row 4"), ("d", "row 6"), ("d", "row 7")]
    assert "rows 6, 7" in found.rejected[1].reason
    assert found.complete


def test_a_key_that_cannot_be_read_makes_the_listing_incomplete(tmp_path):
    rows = header("id", "name") + row(2, text("A2", "a"), text("B2", "x")) + row(3, '<c r="A3" t="e"><v>#REF!</v></c>', text("B3", "y"))
    found = read_all(connector(raw_book(tmp_path / "book.xlsx", rows)), ["name"], OBJ)
    assert [each["__key"] for each in found.rows] == ["a"]
    assert not found.complete


def test_pages_have_one_type_and_lose_nothing(tmp_path):
    cells = "".join(row(n, number(f"A{n}", str(n)), number(f"B{n}", "1" if n < 2500 else "1.5")) for n in range(2, 5002))
    book = connector(raw_book(tmp_path / "book.xlsx", header("id", "value") + cells))
    pages = list(book.read(OBJ, ["value"], page_rows=700))
    assert {page.rows.schema["value"] for page in pages} == {pl.String()}
    assert max(page.rows.height for page in pages) <= 700
    assert [key for page in pages for key in page.rows["__key"]] == [str(n) for n in range(2, 5002)]
    keyed = read_all(book, ["value"], OBJ, keys=["2", "5001", "9999"])
    assert [each["value"] for each in keyed.rows] == ["1", "1.5"]


def test_find_by_values_of_every_type(tmp_path):
    rows = header("id", "day", "n") + row(2, text("A2", "a"), number("B2", "46023", DATE), number("C2", "1.5"))
    rows += row(3, text("A3", "b"), number("B3", "46024", DATE)) + row(4, text("A4", "c"), number("C4", "1.5"))
    book = connector(raw_book(tmp_path / "book.xlsx", rows))
    by_both = book.find(OBJ, ["n"], pl.DataFrame({"day": [dt.date(2026, 1, 1)], "n": ["1.5"]}))
    assert by_both.to_dicts() == [{"__key": "a", "n": "1.5"}]
    by_null = book.find(OBJ, ["n"], pl.DataFrame({"day": [None]}, schema={"day": pl.Date}))
    assert by_null["__key"].to_list() == ["c"]


# ---------------------------------------------------------------- files that cannot be read

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"id;name\n1;x\n", "not an Excel workbook"),
        (OLE + "Workbook".encode("utf-16-le"), r"old \.xls format"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (b"PK\x03\x04 half of a file", "damaged or only half there"),
    ],
)
def test_what_is_no_workbook_says_what_it_is(tmp_path, content, words):
    (tmp_path / "book.xlsx").write_bytes(content)
    with pytest.raises(ObjectUnreadableError, match=words):
        connector(tmp_path / "book.xlsx").describe(OBJ)


def test_half_a_workbook(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id") + "".join(row(n, text(f"A{n}", f"k{n}")) for n in range(2, 900)))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ObjectUnreadableError, match="damaged or only half there"):
        connector(path).describe(OBJ)


def test_a_missing_file_is_a_retry(tmp_path):
    with pytest.raises(SystemUnreachableError, match="does not exist"):
        connector(tmp_path / "none.xlsx").describe(OBJ)


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        (f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><worksheet xmlns="{MAIN}"><sheetData/></worksheet>', "declares entities"),
        (f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"></sheetData></worksheet>', "damaged in xl/worksheets/sheet1.xml"),
        (f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1"/><c r="1A"/></row></sheetData></worksheet>', "cell address '1A'"),
        (
            f'<worksheet xmlns="{MAIN}"><sheetData>{header("id")}{row(2, number("A2", "1"), number("A2", "2"))}</sheetData></worksheet>',
            "twice",
        ),
        (
            f'<worksheet xmlns="{MAIN}"><sheetData>{header("id")}<row r="2"><c r="A2" t="s"><v>9</v></c></row></sheetData></worksheet>',
            "shared text",
        ),
    ],
)
def test_broken_sheets_are_refused(tmp_path, sheet, words):
    path = raw_book(tmp_path / "book.xlsx", "", sheet=sheet)
    with pytest.raises(ObjectUnreadableError, match=words):
        connector(path).describe(OBJ)


def test_size_and_row_limits(tmp_path):
    path = raw_book(tmp_path / "book.xlsx", header("id") + "".join(row(n, text(f"A{n}", f"k{n}")) for n in range(2, 14)))
    with pytest.raises(ObjectUnreadableError, match=r"more than 11 rows.*max_rows"):
        connector(path, max_rows=11).describe(OBJ)
    assert connector(path, max_rows=12).describe(OBJ).rows == 12
    raw_book(path, "", more={"xl/media/bomb.bin": bytes(3_000_000)})
    with pytest.raises(ObjectUnreadableError, match="max_unpacked_mb"):
        connector(path, max_unpacked_mb=2).describe(OBJ)


def test_settings_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'max_rows'"):
        ExcelConnector.open("stock", {"path": "x.xlsx", "max_row": 5}, directory=str(tmp_path))
    with pytest.raises(ConfigError, match="whole number"):
        ExcelConnector.open("stock", {"path": "x.xlsx", "max_rows": "many"}, directory=str(tmp_path))


# ---------------------------------------------------------------- anything that fits into a cell comes back

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**10), max_value=10**10)
DAYS = st.dates(min_value=dt.date(1900, 1, 1))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(TEXTS, NUMBERS, DAYS), min_size=1, max_size=30))
def test_what_is_written_is_what_is_read(tmp_path, rows):
    path = tmp_path / "book.xlsx"
    path.write_bytes(new_workbook("Stock", 1, {"id": "text", "t": "text", "n": "decimal", "d": "date"}))
    book = connector(path)
    records = [{"__key": f"k{n}", "t": each[0], "n": plain_decimal(each[1]), "d": each[2]} for n, each in enumerate(rows)]
    outcomes = book.write(OBJ, batch("create", records, returning=("t", "n", "d")))
    assert set(statuses(outcomes)) == {"done"}
    assert everything(book, ["t", "n", "d"], OBJ) == records
    assert outcomes.sort("__op").select("t", "n", "d").to_dicts() == [{key: each[key] for key in ("t", "n", "d")} for each in records]
