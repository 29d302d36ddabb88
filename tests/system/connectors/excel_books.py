"""Workbooks for the tests: raw ones, whose XML a test writes itself, and a rich one with most of what people put into workbooks."""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import openpyxl
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.formatting.rule import Rule
from openpyxl.styles import Font, PatternFill
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

# Style numbers of a raw workbook.
GENERAL, WHOLE, DATE, MOMENT, TIME, ELAPSED, PADDED, PERCENT, OWN_DATE, TEXT = range(10)
FORMATS = (0, 1, 14, 22, 21, 46, 164, 10, 165, 49)


def raw_book(
    path: Path,
    rows: str,
    *,
    strings: Sequence[str] = (),
    date1904: bool = False,
    head: str = "",
    tail: str = "",
    sheets: Sequence[str] = ("Stock",),
    more: Mapping[str, str | bytes] | None = None,
    sheet: str | None = None,
) -> Path:
    """A workbook whose first sheet holds these row elements (or is the whole `sheet`); `strings` are the insides of `si`."""
    styles = "".join(f'<xf numFmtId="{number}" fontId="0" fillId="0" borderId="0" xfId="0"/>' for number in FORMATS)
    entries = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATION}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n, _ in enumerate(sheets, 1)
    )
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": XML
        + '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        + "".join(
            f'<Override PartName="/xl/{part}" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.{kind}+xml"/>'
            for part, kind in [
                *((f"worksheets/sheet{n}.xml", "worksheet") for n, _ in enumerate(sheets, 1)),
                ("styles.xml", "styles"),
                ("sharedStrings.xml", "sharedStrings"),
            ]
        )
        + "</Types>",
        "_rels/.rels": f'{XML}<Relationships xmlns="{PACKAGE}"><Relationship Id="rId1" Type="{RELATION}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{RELATION}"><workbookPr date1904="{int(date1904)}"/>'
        f"<sheets>{entries}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'{XML}<Relationships xmlns="{PACKAGE}">{links}'
        f'<Relationship Id="rId90" Type="{RELATION}/styles" Target="styles.xml"/>'
        f'<Relationship Id="rId91" Type="{RELATION}/sharedStrings" Target="/xl/sharedStrings.xml"/></Relationships>',
        "xl/styles.xml": f'{XML}<styleSheet xmlns="{MAIN}"><numFmts count="2"><numFmt numFmtId="164" formatCode="00000"/>'
        '<numFmt numFmtId="165" formatCode="[$-409]d\\-mmm\\-yyyy;@"/></numFmts><fonts count="1"><font/></fonts>'
        '<fills count="1"><fill><patternFill/></fill>'
        '</fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/>'
        f'</cellStyleXfs><cellXfs count="{len(FORMATS)}">{styles}</cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
        "xl/sharedStrings.xml": f'{XML}<sst xmlns="{MAIN}" count="{len(strings)}" uniqueCount="{len(strings)}">'
        + "".join(f"<si>{inside}</si>" for inside in strings)
        + "</sst>",
        "xl/worksheets/sheet1.xml": sheet
        if sheet is not None
        else f'{XML}<worksheet xmlns="{MAIN}" xmlns:r="{RELATION}">{head}<sheetData>{rows}</sheetData>{tail}</worksheet>',
    }
    for number, _ in enumerate(sheets[1:], 2):
        parts[f"xl/worksheets/sheet{number}.xml"] = f'{XML}<worksheet xmlns="{MAIN}"><sheetData/></worksheet>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**parts, **(more or {})}.items():
            archive.writestr(name, content)
    return path


def text(cell: str, value: str, style: int = 0) -> str:
    return f'<c r="{cell}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def number(cell: str, value: str, style: int = 0) -> str:
    return f'<c r="{cell}" s="{style}"><v>{value}</v></c>'


def header(*names: str) -> str:
    return row(1, *(text(f"{chr(65 + place)}1", name) for place, name in enumerate(names)))


def rich_book(path: Path) -> Path:
    """A workbook with a table, formulas, styles, a chart, comments, links, validation, conditional formats, names, macros, 6 records."""
    book = openpyxl.Workbook()
    stock = book.worksheets[0]
    stock.title = "Stock"
    stock.append(["No", "Name", "Qty", "Price", "Checked", "Total", "Active"])
    for n in range(1, 7):
        stock.append([f"{n:03d}", f"Item {n} <&> é", n * 10, n + 0.25, dt.date(2026, 1, n), f"=C{n + 1}*D{n + 1}", n % 2 == 0])
        stock.cell(n + 1, 4).number_format = "#,##0.00"
        stock.cell(n + 1, 5).number_format = "dd/mm/yyyy"
        stock.cell(n + 1, 2).font = Font(bold=True, color="FF0000")
    stock["B2"].comment = Comment("count again", "Store")
    stock["B3"].hyperlink = "https://example.com/item"
    stock["I1"] = "note beside the list"
    stock.merge_cells("I1:K1")
    stock.conditional_formatting.add(
        "C2:C7", Rule(type="expression", formula=["C2<20"], dxf=DifferentialStyle(fill=PatternFill(bgColor="FFC7CE")))
    )
    choice = DataValidation(type="whole", operator="between", formula1="0", formula2="1000")
    choice.add("C2:C7")
    stock.add_data_validation(choice)
    stock.freeze_panes = "A2"
    stock.column_dimensions["B"].width = 31
    report = book.create_sheet("Report")
    report["A1"] = "=SUM(Stock!F2:F7)"
    report.merge_cells("A3:C4")
    chart = BarChart()
    chart.add_data(Reference(stock, min_col=3, min_row=1, max_row=7), titles_from_data=True)
    report.add_chart(chart, "B6")
    listing = book.create_sheet("Listing")
    listing.append(["Code", "City"])
    listing.append(["A1", "Leeds"])
    listing.add_table(Table(displayName="Cities", ref="A1:B2"))
    book.defined_names["rate"] = DefinedName("rate", attr_text="Stock!$D$2")
    book.save(path)
    _add_part(path, "xl/vbaProject.bin", bytes(range(256)) * 64)
    return path


def _add_part(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.comment = b"kept"


def members(path: Path) -> dict[str, bytes]:
    """The bytes of each member as they stand in the file: local header, name, extra field and packed data."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        starts = sorted(info.header_offset for info in archive.infolist())
        ends = dict(zip(starts, [*starts[1:], archive.start_dir], strict=True))
        return {info.filename: data[info.header_offset : ends[info.header_offset]] for info in archive.infolist()}


def part(path: Path, name: str = "xl/worksheets/sheet1.xml") -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode()


def rows_of(path: Path, name: str = "xl/worksheets/sheet1.xml") -> dict[int, str]:
    """The text of each row element by its number."""
    found = re.finditer(r'<row r="(\d+)"[^>]*?(?:/>|>.*?</row>)', part(path, name), re.DOTALL)
    return {int(each[1]): each[0] for each in found}
