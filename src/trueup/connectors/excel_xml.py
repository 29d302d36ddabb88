"""Reading the XML of sheets and shared strings in pieces: checked by a real parser, cut into cells by columnar operations.

Every byte first passes expat (well-formed, UTF-8, no document type, so no entities). Pieces of the shape that Excel and the usual
libraries write are then taken apart by Polars; a piece of any other shape (prefixes, comments, CDATA, cells without addresses) is read
by expat itself, cell by cell, with the same result. Sources: ECMA-376 part 1 §18.3.1 (worksheets), §18.4 (shared strings).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import polars as pl

from trueup.connectors.excel_package import BROKEN_ZIP, column_number
from trueup.connectors.excel_values import unescape_text, unescape_xml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trueup.connectors.excel_package import Package

PIECE_BYTES = 1 << 22
MAX_COLUMNS = 16_384
MAX_ROWS = 1_048_576
MAX_DIGITS = 9  # no number in an attribute that matters here has more

CELL_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.UInt32(),
    "col": pl.UInt32(),
    "style": pl.UInt32(),
    "type": pl.String(),
    "formula": pl.String(),  # the formula element's attributes ("" for none); null: no formula
    "value": pl.String(),  # null: no value element
}


class XmlShapeError(Exception):
    """The XML is well-formed but not what it should be: a cell twice, rows out of order, an address that is none."""


def whole(text: str) -> int:
    """A number in an attribute. Raises XmlShapeError when it is none."""
    if not text.isdecimal() or not text.isascii() or len(text) > MAX_DIGITS:
        message = f"{text!r} stands where a number belongs"
        raise XmlShapeError(message)
    return int(text)


class _DoctypeError(Exception):
    """The XML has a document type declaration, or is not UTF-8."""


def checked_pieces(package: Package, part: str, element: str) -> Iterator[bytes]:
    """The bytes of a part in pieces that end after an `element` (the last one excepted), each checked by expat.

    With comments, processing instructions or CDATA inside, the rest comes as one piece, since a tag in those is no tag. Raises
    ObjectUnreadableError.
    """
    checker = _checker()
    closing, rest, whole = b"", b"", False
    waiting: list[bytes] = []
    try:
        with package.stream(part) as stream:
            while block := stream.read(PIECE_BYTES):
                checker.Parse(block, False)
                if whole:
                    waiting.append(block)
                    continue
                rest += block
                sides_from = 0 if closing else 5  # the first piece begins with <?xml, perhaps after a mark
                closing = closing or f"</{prefix_of(rest.decode('utf-8', 'replace'))}{element}>".encode()
                if b"<!" in rest or b"<?" in rest[sides_from:]:
                    whole = True
                elif (cut := rest.rfind(closing)) >= 0:
                    yield rest[: cut + len(closing)]
                    rest = rest[cut + len(closing) :]
        checker.Parse(b"", True)
    except (_DoctypeError, LookupError):
        message = f"{part} of the workbook {package.path} is in an encoding, or declares entities, that no workbook has"
        raise package.unreadable(message, "open and save it in Excel") from None
    except (expat.ExpatError, *BROKEN_ZIP):
        raise package.damaged(part) from None
    yield b"".join([rest, *waiting])


def _checker() -> expat.XMLParserType:
    checker = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise _DoctypeError

    def declared(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in {"utf-8", "utf8", "us-ascii"}:
            raise _DoctypeError

    checker.StartDoctypeDeclHandler = refuse
    checker.XmlDeclHandler = declared
    return checker


_SIDE = re.compile(r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


def plain(text: str, prefix: str) -> str:
    """XML text without comments, processing instructions, CDATA, the prefix of its elements, and carriage returns."""
    if "<!" in text or "<?" in text:
        text = _SIDE.sub(lambda found: _escaped(found[1] or ""), text)
    if prefix:
        text = text.replace(f"<{prefix}", "<").replace(f"</{prefix}", "</")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_ROOT = re.compile(r"<([A-Za-z_][\w.-]*:)?(?:worksheet|sst|workbook|table|styleSheet)[\s>]")


def prefix_of(text: str) -> str:
    """The prefix of the root element with its colon, mostly empty. `text` starts with the part's first bytes."""
    found = _ROOT.search(_SIDE.sub("", text))
    return (found[1] or "") if found else ""


# ---------------------------------------------------------------- cells of a piece of rows

_ODD_CELL = re.compile(r"<c[^ a-zA-Z]|<ext")
_ATTRIBUTES = r'^r="[A-Z]{1,3}[1-9][0-9]{0,6}"(?: (?:s|t|cm|vm|ph)="[^"]*")* ?/?$'
_INNER = r'^(?:<f(?: [^>]*)?(?:/>|>[^<]*</f>))?(?:<v(?: xml:space="preserve")?>[^<]*</v>|<v ?/>)?$|^<is>.*</is>$'
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def cells_of(rows_xml: str, next_row: int) -> pl.DataFrame:
    """All cells in `rows_xml` (whole `row` elements, made `plain`), as `CELL_SCHEMA`. `next_row` counts where rows have no number.

    Values are unescaped; inline strings are joined from their runs. Raises XmlShapeError.
    """
    cells = _cells_by_columns(rows_xml)
    return _cells_by_expat(rows_xml, next_row) if cells is None else cells


def _cells_by_columns(rows_xml: str) -> pl.DataFrame | None:
    """Fast path; None when the XML has another shape than the usual one."""
    if _ODD_CELL.search(rows_xml):
        return None
    pieces = pl.DataFrame({"p": pl.Series([rows_xml]).str.split("<c ").explode()}).slice(1)
    if pieces.is_empty():
        return pl.DataFrame(schema=CELL_SCHEMA)
    cells = pieces.select(pl.col("p").str.splitn(">", 2).struct.rename_fields(["a", "b"])).unnest("p")
    cells = cells.select(
        pl.col("a"),
        pl.when(pl.col("a").str.ends_with("/")).then(pl.lit("")).otherwise(pl.col("b").str.splitn("</c>", 2).struct[0]).alias("inner"),
    )
    usual = cells.select(pl.col("a").str.contains(_ATTRIBUTES).all() & pl.col("inner").str.contains(f"(?s){_INNER}").all())
    if not usual.item():
        return None
    reference = pl.col("a").str.slice(3).str.splitn('"', 2)
    cells = cells.select(
        reference.struct[0].alias("ref"),
        reference.struct[1].alias("a"),
        pl.col("inner"),
    ).select(
        pl.col("ref").str.strip_chars_start(_LETTERS).cast(pl.UInt32).alias("row"),
        pl.col("ref").str.strip_chars_end("0123456789").alias("letters"),
        pl.when(pl.col("a").str.len_bytes() > 1).then(pl.col("a").str.extract(r' s="(\d+)"').cast(pl.UInt32, strict=False)).alias("style"),
        pl.when(pl.col("a").str.len_bytes() > 1).then(pl.col("a").str.extract(r' t="([A-Za-z]+)"')).alias("type"),
        pl.col("inner"),
    )
    letters = cells["letters"].unique().to_list()
    cells = cells.with_columns(
        pl.col("letters").replace_strict(letters, [column_number(each) for each in letters], return_dtype=pl.UInt32).alias("col")
    )
    simple = pl.col("inner").str.starts_with("<v>")
    inline = pl.col("inner").str.starts_with("<is>")
    keep = ["row", "col", "style", "type", pl.col("formula").cast(pl.String), "value"]
    shares = [
        cells.filter(simple).with_columns(formula=pl.lit(None), value=pl.col("inner").str.slice(3).str.strip_suffix("</v>")),
        cells.filter(~simple & ~inline).with_columns(
            formula=pl.col("inner").str.extract(r"^<f([^>]*?)/?>"),
            value=pl.when(pl.col("inner").str.contains("<v", literal=True)).then(
                pl.col("inner").str.extract(r"<v[^>/]*>([^<]*)</v>$").fill_null("")
            ),
        ),
        cells.filter(inline).with_columns(formula=pl.lit(None), value=pl.col("inner").str.extract(_PLAIN_INLINE)),
    ]
    shares[2] = shares[2].with_columns(
        pl.Series("value", mapped(shares[2]["value"], shares[2]["value"].is_null(), string_text_raw, shares[2]["inner"]))
    )
    whole = pl.concat([share.select(keep) for share in shares if not share.is_empty()])
    escaped = whole["value"].str.contains("&", literal=True).fill_null(value=False)
    return whole.with_columns(pl.Series("value", mapped(whole["value"], escaped, unescape_xml)))


_PLAIN_INLINE = r'^<is><t(?: xml:space="preserve")?>([^<]*)</t></is>$'


def mapped(texts: pl.Series, odd: pl.Series, change: Callable[[str], str], source: pl.Series | None = None) -> pl.Series:
    """`texts` with the `odd` ones replaced by `change` of themselves, or of `source` at their place."""
    if not odd.any():
        return texts
    places = odd.arg_true()
    changed = [change(text) for text in (texts if source is None else source).gather(places).to_list()]
    return texts.scatter(places, pl.Series(changed, dtype=pl.String))


_PHONETIC = re.compile(r"<rPh\b.*?</rPh>", re.DOTALL)
_TEXT = re.compile(r"<t(?:\s[^>]*?)?(?:/>|>([^<]*)</t>)")


def string_text_raw(inner: str) -> str:
    """The text of a string item: its runs joined, phonetic guides left out; still escaped as in the XML."""
    return "".join(_TEXT.findall(_PHONETIC.sub("", inner) if "<rPh" in inner else inner))


class _Collector:
    """Expat handlers that collect cells; the slow path."""

    def __init__(self, next_row: int) -> None:
        self.cells: list[tuple[int, int, int | None, str | None, str | None, str | None]] = []
        self._row, self._col = next_row - 1, 0
        self._cell: dict[str, Any] | None = None
        self._open: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self._open.append(name)
        if name == "row":
            self._row = whole(attributes["r"]) if "r" in attributes else self._row + 1
            self._col = 0
        elif name == "c" and self._open[-2:-1] == ["row"]:
            self._row, self._col = _address(attributes["r"]) if "r" in attributes else (self._row, self._col + 1)
            self._cell = {"style": attributes.get("s"), "type": attributes.get("t"), "formula": None, "value": None}
        elif self._cell is not None and name in {"v", "is"}:
            self._cell["value"] = ""
        elif self._cell is not None and name == "f":
            self._cell["formula"] = "".join(f' {key}="{value}"' for key, value in attributes.items())

    def text(self, data: str) -> None:
        if self._cell is None:
            return
        if self._open[-1] == "v" or (self._open[-1] == "t" and "is" in self._open and "rPh" not in self._open):
            self._cell["value"] += data

    def end(self, _name: str) -> None:
        name = self._open.pop()
        if name == "c" and self._cell is not None:
            style = None if self._cell["style"] is None else whole(self._cell["style"])
            self.cells.append((self._row, self._col, style, self._cell["type"], self._cell["formula"], self._cell["value"]))
            self._cell = None


_ADDRESS = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})")


def _address(text: str) -> tuple[int, int]:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        message = f"the cell address {text!r} is none"
        raise XmlShapeError(message)
    return int(found[2]), column_number(found[1])


def _cells_by_expat(rows_xml: str, next_row: int) -> pl.DataFrame:
    """Slow path: exact for every well-formed XML."""
    collector = _Collector(next_row)
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.CharacterDataHandler = collector.text
    parser.EndElementHandler = collector.end
    try:
        parser.Parse(f"<sheetData>{rows_xml}</sheetData>".encode(), True)
    except (ValueError, expat.ExpatError) as error:
        raise XmlShapeError(str(error)) from None
    return pl.DataFrame(collector.cells, schema=CELL_SCHEMA, orient="row")


# ---------------------------------------------------------------- shared strings


def shared_strings(package: Package, part: str) -> pl.Series:
    """The shared strings by their index. Raises ObjectUnreadableError."""
    shares: list[pl.Series] = []
    prefix = ""
    for number, piece in enumerate(checked_pieces(package, part, "si")):
        text = piece.decode("utf-8-sig" if number == 0 else "utf-8")
        prefix = prefix_of(text) if number == 0 else prefix
        shares.append(_strings_of(plain(text, prefix)))
    return pl.concat(shares) if shares else pl.Series([], dtype=pl.String)


_ITEM = re.compile(r"<si(?:\s[^>]*?)?(?:/>|>(.*?)</si>)", re.DOTALL)


def _strings_of(text: str) -> pl.Series:
    items = pl.Series("item", _ITEM.findall(text), dtype=pl.String)
    texts = items.str.extract(r'^<t(?: xml:space="preserve")?>([^<&]*)</t>$')
    odd = texts.is_null() | texts.str.contains("_x", literal=True).fill_null(value=True)
    return mapped(texts, odd, _item_text, items)


def _item_text(item: str) -> str:
    return unescape_text(unescape_xml(string_text_raw(item)))


def addresses(rows: Sequence[int], column: str) -> str:
    """`C7, C9` for messages, shortened to the first few."""
    shown = ", ".join(f"{column}{row}" for row in rows[:5])
    return f"{shown}, …" if len(rows) > 5 else shown
