"""New sheets: a new workbook with one, or one more in a workbook that exists, with a header row and columns formatted for their values.

A column's format is how its type is known while it is empty. Sources: ECMA-376 part 1 §18.8 (styles), §18.2.19 (sheets), part 2 §10.1
(content types).
"""

from __future__ import annotations

import io
import posixpath
import re
from typing import TYPE_CHECKING

from trueup.connectors.excel_package import column_letters
from trueup.connectors.excel_splice import masked
from trueup.connectors.excel_values import BOOLEAN_FORMAT, escape_text
from trueup.connectors.excel_xml import XmlShapeError, prefix_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.excel_package import Package

FORMATS = {
    "integer": "0",
    "decimal": "General;-General",
    "float": "General;-General",
    "boolean": BOOLEAN_FORMAT,
    "date": "yyyy-mm-dd",
    "datetime": "yyyy-mm-dd hh:mm:ss",
    "timestamp": "yyyy-mm-dd hh:mm:ss",
    "time": "hh:mm:ss",
    "text": "@",
}
"""Number formats of new columns; a General column is a text column while it is empty."""
FIRST_FREE_FORMAT = 164  # numbers below belong to Excel
CONTENT_TYPES = "[Content_Types].xml"
_MAIN = ("http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://purl.oclc.org/ooxml/spreadsheetml/main")
_RELATION = (
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    "http://purl.oclc.org/ooxml/officeDocument/relationships",
)
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
_FORBIDDEN_NAME = re.compile(r"[\\/*?:\[\]]")
_MAX_NAME = 31


def name_problem(name: str) -> str | None:
    """Why Excel does not take this as the name of a sheet; None when it does."""
    if not name or len(name) > _MAX_NAME:
        return f"the name of a sheet has 1 to {_MAX_NAME} characters"
    if _FORBIDDEN_NAME.search(name) or name[0] == "'" or name[-1] == "'":
        return "the name of a sheet holds none of \\ / * ? : [ ] and no ' at its ends"
    return None


def new_workbook(sheet: str | None, header_row: int, columns: Mapping[str, str]) -> bytes:
    """The bytes of a workbook with one sheet (`Sheet1` unless named) and these columns (name -> column type)."""
    from openpyxl import Workbook
    from openpyxl.styles import Font

    book = Workbook()
    page = book.worksheets[0]
    page.title = sheet or "Sheet1"
    for number, (name, kind) in enumerate(columns.items(), 1):
        cell = page.cell(header_row, number, name)
        cell.data_type = "s"  # also where a name looks like a formula
        cell.font = Font(bold=True)
        dimension = page.column_dimensions[column_letters(number)]
        dimension.number_format = FORMATS.get(kind, "General")
        dimension.width = 18
    page.freeze_panes = f"A{header_row + 1}"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def added_sheet(package: Package, name: str, header_row: int, columns: Mapping[str, str]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """One more sheet at the end: the changed parts, and the new one. Raises ObjectUnreadableError, XmlShapeError."""
    part = _free_part(package)
    workbook = package.tree(package.workbook_part)
    strict = str(workbook.tag).startswith(f"{{{_MAIN[1]}}}")
    related = posixpath.join(posixpath.dirname(package.workbook_part), "_rels", posixpath.basename(package.workbook_part) + ".rels")
    identity = _free_identity(package)
    number = 1 + max((whole(entry.get("sheetId", "0")) for entry in workbook.iterfind("{*}sheets/{*}sheet")), default=0)
    prefix = prefix_of(package.read(package.workbook_part).decode("utf-8", "replace"))
    entry = f'<{prefix}sheet xmlns:r="{_RELATION[strict]}" name="{_attribute(name)}" sheetId="{number}" r:id="{identity}"/>'
    relation = f'<Relationship Id="{identity}" Type="{_RELATION[strict]}/worksheet" Target="/{part}"/>'
    override = f'<Override PartName="/{part}" ContentType="{_SHEET_TYPE}"/>'
    changed = {
        package.workbook_part: _before_end(package.read(package.workbook_part), f"{prefix}sheets", entry),
        related: _before_end(package.read(related), "Relationships", relation),
        CONTENT_TYPES: _before_end(package.read(CONTENT_TYPES), "Types", override),
    }
    styles: dict[str, int] = {}
    if package.styles_part is not None and package.has(package.styles_part):
        changed[package.styles_part], styles = _with_styles(package, set(columns.values()))
    return changed, {part: _sheet_xml(_MAIN[strict], header_row, columns, styles)}


def _free_part(package: Package) -> str:
    folder = posixpath.join(posixpath.dirname(package.workbook_part), "worksheets")
    number = 1
    while package.has(f"{folder}/sheet{number}.xml"):
        number += 1
    return f"{folder}/sheet{number}.xml"


def _free_identity(package: Package) -> str:
    taken = package.relations(package.workbook_part, external=True)
    number = len(taken) + 1
    while f"rId{number}" in taken:
        number += 1
    return f"rId{number}"


def _before_end(xml: bytes, element: str, addition: str) -> bytes:
    """`xml` with an addition before the last end tag of an element. Raises XmlShapeError when the element is not there."""
    mask = masked(xml)
    place = mask.rfind(f"</{element}".encode())
    if place >= 0:
        return xml[:place] + addition.encode() + xml[place:]
    closed = re.search(rb"<%b(?:\s[^>]*?)?(/>)" % re.escape(element.encode()), mask)
    if closed is None:
        message = f"a part lacks its element {element}"
        raise XmlShapeError(message)
    return xml[: closed.start(1)] + f">{addition}</{element}>".encode() + xml[closed.end() :]


def _with_styles(package: Package, kinds: set[str]) -> tuple[bytes, dict[str, int]]:
    """The styles part with a cell style per column type, and their numbers."""
    xml = package.read(package.styles_part or "")
    root = package.tree(package.styles_part or "")
    prefix = prefix_of(xml.decode("utf-8", "replace"))
    formats = {entry.get("formatCode", ""): whole(entry.get("numFmtId", "0")) for entry in root.iterfind("{*}numFmts/{*}numFmt")}
    free = max([FIRST_FREE_FORMAT - 1, *formats.values()]) + 1
    known = len(root.findall("{*}cellXfs/{*}xf"))
    styles: dict[str, int] = {}
    new_formats, new_styles = "", ""
    for kind in sorted(kinds & FORMATS.keys()):
        code = FORMATS[kind]
        if code not in formats:
            formats[code] = free
            free += 1
            new_formats += f'<{prefix}numFmt numFmtId="{formats[code]}" formatCode="{_attribute(code)}"/>'
        styles[kind] = known + len(styles)
        new_styles += f'<{prefix}xf numFmtId="{formats[code]}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    xml = _counted(_before_end(xml, f"{prefix}cellXfs", new_styles), f"{prefix}cellXfs", known + len(styles))
    if root.find("{*}numFmts") is None:
        start = re.search(rb"<%bstyleSheet(?:\s[^>]*)?>" % re.escape(prefix.encode()), masked(xml))
        if start is None:
            message = "the styles cannot be extended"
            raise XmlShapeError(message)
        added = f'<{prefix}numFmts count="{len(formats)}">{new_formats}</{prefix}numFmts>'.encode()
        return xml[: start.end()] + added + xml[start.end() :], styles
    return _counted(_before_end(xml, f"{prefix}numFmts", new_formats), f"{prefix}numFmts", len(formats)), styles


def _counted(xml: bytes, element: str, count: int) -> bytes:
    """The element's `count` brought up to date, where it has one."""
    return re.sub(rb"(<%b\s[^>]*?count=[\"'])\d+" % re.escape(element.encode()), rb"\g<1>%d" % count, xml, count=1)


def _sheet_xml(namespace: str, header_row: int, columns: Mapping[str, str], styles: Mapping[str, int]) -> bytes:
    widths = "".join(
        f'<col min="{number}" max="{number}" width="18" customWidth="1"' + (f' style="{styles[kind]}"' if kind in styles else "") + "/>"
        for number, kind in enumerate(columns.values(), 1)
    )
    cells = "".join(
        f'<c r="{column_letters(number)}{header_row}" t="inlineStr"><is><t xml:space="preserve">{escape_text(name)}</t></is></c>'
        for number, name in enumerate(columns, 1)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<worksheet xmlns="{namespace}"><cols>{widths}</cols>'
        f'<sheetData><row r="{header_row}">{cells}</row></sheetData></worksheet>'
    ).encode()


def _attribute(text: str) -> str:
    return escape_text(text).replace('"', "&quot;")
