"""Changing a sheet's XML in place: only the bytes of touched cells are replaced, everything else passes through as it is.

New text stands inside the cell (`inlineStr`), so that the shared strings stay untouched. The same is done, in miniature, to the few
other parts that a write must touch: the range of an Excel table that has grown, and the workbook's wish to be recalculated on load.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.connectors.excel_package import Range, column_letters, column_number
from trueup.connectors.excel_scan import attributes_of, decode
from trueup.connectors.excel_values import Kind, escape_text
from trueup.connectors.excel_xml import XmlShapeError, cells_of, checked_pieces, plain, prefix_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.connectors.excel_package import Package
    from trueup.connectors.excel_scan import Scan

_SIDE = re.compile(rb"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>", re.DOTALL)
_CALC_PREDECESSORS = ("definedNames", "externalReferences", "functionGroups", "sheets")


@dataclass(frozen=True, slots=True)
class Edit:
    """The new content of a cell. `raw` is a number, a serial number, `0`/`1`, or the text itself; BLANK empties the cell."""

    kind: Kind
    raw: str = ""


EMPTY = Edit(Kind.BLANK)


def masked(xml: bytes) -> bytes:
    """The same length, with blanks for comments, processing instructions and CDATA, so that a tag found is a tag."""
    if b"<!" not in xml and b"<?" not in xml:
        return xml
    return _SIDE.sub(lambda found: b" " * len(found[0]), xml)


@dataclass(slots=True)
class SheetSplicer:
    """Carries out edits on a sheet's XML.

    edits    per row number and column number; rows that do not exist yet are made
    new      the row numbers of rows that are added: their cells take the styles of the last data row
    stored   afterwards: what each edited cell holds, as a reader sees it
    """

    package: Package
    scan: Scan
    edits: Mapping[int, Mapping[int, Edit]]
    new: frozenset[int]
    stored: dict[tuple[int, int], tuple[Kind, str]] = field(default_factory=dict)
    _prefix: str = ""
    _pending: deque[int] = field(default_factory=deque)
    _template: dict[int, int] = field(default_factory=dict)
    _seen_row: int = 0
    _made: list[str] = field(default_factory=list)

    def xml(self) -> Iterator[bytes]:
        """The sheet's new XML, piece by piece. Raises XmlShapeError when the sheet is not as scanned."""
        self._prefix = self.scan.prefix
        self._pending = deque(sorted(self.edits))
        inside = ended = False
        for piece in checked_pieces(self.package, self.scan.sheet.part, "row"):
            start = 0
            mask = masked(piece)
            if not inside and not ended:
                found = re.search(rb"<%bsheetData(?:\s[^>]*?)?(/?)>" % self._tag_re, mask)
                if found is None:
                    yield piece
                    continue
                yield self._head(piece[: found.start()])
                inside, start = True, found.end()
                if found[1]:
                    yield piece[found.start() : found.end() - 2].rstrip() + b">" + b"".join(self._rows_before(None))
                    yield b"</%bsheetData>" % self._tag + self._tail(piece[start:])
                    inside, ended = False, True
                    continue
                yield piece[found.start() : start]
            if ended:
                yield self._tail(piece)
                continue
            end = mask.find(b"</%bsheetData>" % self._tag, start)
            yield from self._rows(piece, mask, start, len(piece) if end < 0 else end)
            if end >= 0:
                yield from self._rows_before(None)
                yield self._tail(piece[end:])
                inside, ended = False, True
            self._read_back()
        self._finish()

    def _finish(self) -> None:
        """After the last piece: every edit was placed; an edited cell that a reader does not see is blank."""
        if self._pending:
            message = f"row {self._pending[0]} could not be placed"
            raise XmlShapeError(message)
        self._read_back()
        for row, edits in self.edits.items():
            for column in edits:
                self.stored.setdefault((row, column), (Kind.BLANK, ""))

    @property
    def _tag(self) -> bytes:
        return self._prefix.encode()

    @property
    def _tag_re(self) -> bytes:
        return re.escape(self._prefix.encode())

    # ---------------------------------------------------------------- rows

    def _rows(self, piece: bytes, mask: bytes, start: int, end: int) -> Iterator[bytes]:
        closing = b"</%brow>" % self._tag
        done = start
        opening = re.compile(rb"<%brow(?=[\s/>])([^>]*)>" % self._tag_re)
        for found in opening.finditer(mask, start, end):
            number = self._number(found[1])
            self._seen_row = number
            before = bool(self._pending) and self._pending[0] < number
            touched = number in self.edits
            if not (before or touched or number == self.scan.last_row):
                continue
            yield piece[done : found.start()]
            yield from self._rows_before(number)
            done = found.start()
            if not touched and number != self.scan.last_row:
                continue
            row_end = found.end() if found[1].endswith(b"/") else mask.index(closing, found.end()) + len(closing)
            self._note_template(number, mask[found.start() : row_end])
            if touched:
                if not self._pending or self._pending.popleft() != number:
                    message = f"row {number} stands twice or out of order"
                    raise XmlShapeError(message)
                yield self._edited_row(number, piece[found.start() : row_end], mask[found.start() : row_end])
                done = row_end
        yield piece[done:end]

    def _number(self, attributes: bytes) -> int:
        facts = attributes_of(attributes.decode())
        return whole(facts["r"]) if "r" in facts else self._seen_row + 1

    def _rows_before(self, number: int | None) -> Iterator[bytes]:
        """New rows that stand before row `number` (None: at the end)."""
        while self._pending and (number is None or self._pending[0] < number):
            row = self._pending.popleft()
            if row not in self.new:
                message = f"row {row} is not where its cells say that it is"
                raise XmlShapeError(message)
            xml = b'<%brow r="%d"></%brow>' % (self._tag, row, self._tag)
            yield self._edited_row(row, xml, xml)

    def _note_template(self, number: int, mask: bytes) -> None:
        if number == self.scan.last_row and number > self.scan.header_row:
            self._template = {column: style for column, _, _, style in self._cells(mask) if style}

    def _cells(self, mask: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Column, start, end and style of each cell in a row's XML."""
        column = 0
        closing = b"</%bc>" % self._tag
        for found in re.finditer(rb"<%bc(?=[\s/>])([^>]*)>" % self._tag_re, mask):
            facts = attributes_of(found[1].decode())
            column = column_number(facts["r"].rstrip("0123456789")) if "r" in facts else column + 1
            end = found.end() if found[1].endswith(b"/") else mask.index(closing, found.end()) + len(closing)
            yield column, found.start(), end, whole(facts.get("s", "0"))

    def _edited_row(self, number: int, row: bytes, mask: bytes) -> bytes:
        edits = dict(self.edits[number])
        if number in self.new:
            # The look of the row above, as Excel gives it to a row typed below a list.
            for column in self.scan.columns.values():
                if column in self._template or column in self.scan.column_styles:
                    edits.setdefault(column, EMPTY)
        opening = row.index(b">") + 1
        if row[opening - 2 : opening] == b"/>":
            row = mask = row[: opening - 2].rstrip() + b"></%brow>" % self._tag
            opening = row.index(b">") + 1
        out, done = [self._widened(row[:opening], edits)], opening
        cells = list(self._cells(mask))
        existing = {column for column, *_ in cells}
        waiting = sorted(set(edits) - existing)
        for column, start, end, style in cells:
            while waiting and waiting[0] < column:
                out += [row[done:start], self._new_cell(number, waiting.pop(0), edits)]
                done = start
            if column in edits:
                known = self.edits[number].get(column)
                if known is None:  # a styled cell of a blank row that becomes a record keeps its own style
                    continue
                out += [row[done:start], self._cell(number, column, style or self._default_style(number, column), edits[column])]
                done = end
        end = len(row) - len(b"</%brow>" % self._tag)
        out.append(row[done:end])
        out += [self._new_cell(number, column, edits) for column in waiting]
        out.append(row[end:])
        made = b"".join(out)
        self._made.append(self._numbered(number, made))
        return made

    def _numbered(self, number: int, row: bytes) -> str:
        """A row's XML for the reader, its number said also where the sheet leaves it out."""
        text = row.decode()
        start = f"<{self._prefix}row"
        return text if re.match(rf"{re.escape(start)}\s[^>]*\br=", text) else f'{start} r="{number}"{text[len(start) :]}'

    def _default_style(self, number: int, column: int) -> int:
        if number not in self.new:
            return 0
        return self._template.get(column) or self.scan.column_styles.get(column, 0)

    def _new_cell(self, number: int, column: int, edits: Mapping[int, Edit]) -> bytes:
        style = self._default_style(number, column) or self.scan.column_styles.get(column, 0)
        if edits[column].kind is Kind.BLANK and not style:
            return b""
        return self._cell(number, column, style, edits[column])

    def _cell(self, row: int, column: int, style: int, edit: Edit) -> bytes:
        style = self.scan.fitting_style(column, style, edit.kind)
        tag = self._prefix
        start = f'<{tag}c r="{column_letters(column)}{row}"' + (f' s="{style}"' if style else "")
        if edit.kind is Kind.BLANK:
            return f"{start}/>".encode()
        if edit.kind is Kind.TEXT:
            return (
                f'{start} t="inlineStr"><{tag}is><{tag}t xml:space="preserve">{escape_text(edit.raw)}</{tag}t></{tag}is></{tag}c>'.encode()
            )
        kind = ' t="b"' if edit.kind is Kind.BOOLEAN else ""
        return f"{start}{kind}><{tag}v>{edit.raw}</{tag}v></{tag}c>".encode()

    def _widened(self, opening: bytes, edits: Mapping[int, Edit]) -> bytes:
        """The row's start tag with its `spans` (a hint of its first and last column) wide enough."""

        def wider(found: re.Match[bytes]) -> bytes:
            return b'spans="%d:%d"' % (min(int(found[1]), *edits), max(int(found[2]), *edits))

        return re.sub(rb'(?<=\s)spans="(\d+):(\d+)"', wider, opening)

    def _read_back(self) -> None:
        """Note what a reader will see in the edited cells of the rows made since the last time."""
        if not self._made:
            return
        cells = cells_of(plain("".join(self._made), self._prefix), 0)
        self._made.clear()
        for row, column, kind, text in decode(cells, self.scan.book).iter_rows():
            if row not in self.edits:
                message = f"a cell says that it stands in row {row}, its row says otherwise"
                raise XmlShapeError(message)
            if column in self.edits[row]:
                self.stored[row, column] = (Kind(kind), text)

    # ---------------------------------------------------------------- before and after the rows

    def _head(self, head: bytes) -> bytes:
        """The XML before the rows, with the sheet's dimension grown."""
        if not self.edits:
            return head
        columns = [column for edits in self.edits.values() for column in edits]

        def grown(found: re.Match[bytes]) -> bytes:
            area = Range.parse(found[2].decode())
            if area is None:
                return found[0]
            new = Range(
                min(area.top, *self.edits), min(area.left, *columns), max(area.bottom, *self.edits), max(area.right, *columns)
            )  # fmt: skip
            return found[1] + str(new).encode() + found[3]

        return re.sub(rb'(<%bdimension\s[^>]*?ref=["\'])([^"\']*)(["\'])' % self._tag_re, grown, head, count=1)

    def _tail(self, tail: bytes) -> bytes:
        """The XML after the rows, with the sheet's own filter grown over new rows."""
        return grown_ranges(tail, b"%bautoFilter" % self._tag_re, self.scan.header_row, self.scan.last_row, max(self.new, default=0))


def grown_ranges(xml: bytes, element: bytes, top: int, last: int, bottom: int) -> bytes:
    """`xml` with the `ref` of such elements that start in row `top` and reach the old last row extended to row `bottom`."""

    def grown(found: re.Match[bytes]) -> bytes:
        area = Range.parse(found[2].decode())
        if area is None or area.top != top or not last <= area.bottom < bottom:
            return found[0]
        return found[1] + str(Range(area.top, area.left, bottom, area.right)).encode() + found[3]

    return re.sub(rb'(<%b\s[^>]*?\bref=["\'])([^"\']*)(["\'])' % element, grown, xml)


def grown_table(xml: bytes, top: int, bottom: int) -> bytes:
    """The part of an Excel table whose range, and whose filter's range, reach down to row `bottom` at least."""
    tag = re.escape(prefix_of(xml.decode("utf-8", "replace")).encode())
    for element in (b"table", b"autoFilter"):
        xml = grown_ranges(xml, tag + element, top, 0, bottom)
    return xml


def recalculated_on_load(xml: bytes) -> bytes:
    """The workbook part with `fullCalcOnLoad` set: results kept in formula cells no longer fit the changed values."""
    mask = masked(xml)
    tag = prefix_of(xml.decode("utf-8", "replace")).encode()
    tag_re = re.escape(tag)
    found = re.search(rb"<%bcalcPr(?=[\s/>])[^>]*?(/?)>" % tag_re, mask)
    if found is not None:
        known = re.search(rb"\sfullCalcOnLoad=[\"'](\w*)[\"']", found[0])
        if known is None:
            place = found.end() - 1 - len(found[1])
            return xml[:place] + b' fullCalcOnLoad="1"' + xml[place:]
        if known[1] in {b"1", b"true"}:
            return xml
        start = found.start() + known.start(1)
        return xml[:start] + b"1" + xml[start + len(known[1]) :]
    for name in _CALC_PREDECESSORS:
        ends = [each.end() for each in re.finditer(rb"</%b%b\s*>|<%b%b\s*/>" % (tag_re, name.encode(), tag_re, name.encode()), mask)]
        if ends:
            return xml[: ends[-1]] + b'<%bcalcPr fullCalcOnLoad="1"/>' % tag + xml[ends[-1] :]
    message = "the workbook part lists no sheets"
    raise XmlShapeError(message)
