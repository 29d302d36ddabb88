"""A workbook as a package: a zip file of parts that name each other. Opening it safely, and finding the parts that matter.

Nothing here trusts the file: sizes are limited before anything is unpacked, a document type declaration (the door to entities of any
kind) is refused, and what is not a whole, unencrypted .xlsx or .xlsm is refused with what to do about it. Sources: ECMA-376 part 2 (open
packaging), part 1 §18.2 (workbook), §12.3 (parts of a spreadsheet).
"""

from __future__ import annotations

import difflib
import posixpath
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

from lxml import etree

from trueup.errors import ObjectMissingError, ObjectUnreadableError, TrueupError

if TYPE_CHECKING:
    from collections.abc import Iterator

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
SMALL_PART_BYTES = 256 * 1024 * 1024
DEFLATE_LIMIT = 1100  # deflate cannot shrink more than 1032-fold; a higher ratio is a forged size
TRUE_WORDS = {"1", "true", "on"}

BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
"""What reading a damaged zip file raises (RuntimeError: encrypted; NotImplementedError: a compression that nobody has)."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A worksheet: its name as people see it, and its part."""

    name: str
    part: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A pointer from one part to another. `kind` is the last word of its type (`worksheet`, `table`, …)."""

    kind: str
    target: str


class Package:
    """An open workbook file. All errors name the system and the file."""

    def __init__(self, system: str, path: str, file: IO[bytes], *, max_unpacked_bytes: int) -> None:
        """Open the zip directory of `file`. Raises ObjectUnreadableError when it is not a workbook that can be used."""
        self.system = system
        self.path = path
        self.file = file
        self._refuse_other_kinds(file)
        try:
            self.zip = zipfile.ZipFile(file)
        except BROKEN_ZIP:
            message = f"the workbook {path} is damaged or only half there"
            raise self.unreadable(message, "copy it again, or open and save it in Excel") from None
        self._refuse_dangerous(max_unpacked_bytes)
        self.workbook_part = self._find_workbook()
        root = self.tree(self.workbook_part)
        properties = root.find("{*}workbookPr")
        self.date1904 = properties is not None and properties.get("date1904", "0") in TRUE_WORDS
        related = self.relations(self.workbook_part)
        by_id = {key: relation for key, relation in related.items() if relation.kind == "worksheet"}
        self.sheets = tuple(
            Sheet(entry.get("name", ""), by_id[identity].target)
            for entry in root.iterfind("{*}sheets/{*}sheet")
            if (identity := _relation_id(entry)) in by_id
        )
        kinds = {relation.kind: relation.target for relation in related.values()}
        self.strings_part = kinds.get("sharedStrings")
        self.styles_part = kinds.get("styles")

    def _refuse_other_kinds(self, file: IO[bytes]) -> None:
        file.seek(0)
        start = file.read(8)
        if start.startswith(OLE_MAGIC):
            encrypted = _contains(file, ENCRYPTED_STREAM)
            file.seek(0)
            if encrypted:
                message = f"the workbook {self.path} is protected by a password"
                raise self.unreadable(message, "remove the password in Excel: File, Info, Protect Workbook, Encrypt with Password")
            message = f"the workbook {self.path} has the old .xls format"
            raise self.unreadable(message, "open it in Excel or LibreOffice and save it as .xlsx")
        if not start:
            raise self.unreadable(f"the workbook {self.path} is empty (0 bytes)", "copy it again, or restore it from a backup")
        if not start.startswith(b"PK"):
            raise self.unreadable(f"the file {self.path} is not an Excel workbook", "let `path` name an .xlsx or .xlsm file")

    def _refuse_dangerous(self, max_unpacked_bytes: int) -> None:
        entries = self.zip.infolist()
        if len({entry.filename for entry in entries}) != len(entries):
            raise self.unreadable(f"the workbook {self.path} holds two parts of the same name", "open and save it in Excel")
        if any(entry.flag_bits & 1 for entry in entries):
            raise self.unreadable(f"the workbook {self.path} is an encrypted zip file", "save it without a password")
        total = sum(entry.file_size for entry in entries)
        forged = any(entry.file_size > (entry.compress_size + 64) * DEFLATE_LIMIT for entry in entries)
        if total > max_unpacked_bytes or forged:
            message = (
                f"the workbook {self.path} unpacks to {total / 1e6:,.0f} MB, more than the limit of {max_unpacked_bytes / 1e6:,.0f} MB"
            )
            raise self.unreadable(message, "if that is right, raise `max_unpacked_mb` of this system")

    def _find_workbook(self) -> str:
        for relation in self.relations("").values():
            if relation.kind == "officeDocument":
                if relation.target.endswith(".bin"):
                    message = f"the workbook {self.path} has the binary .xlsb format"
                    raise self.unreadable(message, "save it as .xlsx in Excel")
                if self.has(relation.target):
                    return relation.target
        raise self.unreadable(f"the file {self.path} is not an Excel workbook", "let `path` name an .xlsx or .xlsm file")

    def unreadable(self, message: str, hint: str) -> ObjectUnreadableError:
        """An ObjectUnreadableError of this system."""
        return ObjectUnreadableError(message, hint=hint, system=self.system)

    def has(self, part: str) -> bool:
        """Whether the package holds this part."""
        return part in self.zip.NameToInfo

    def stream(self, part: str) -> IO[bytes]:
        """A part's unpacked bytes, to be read once. Raises ObjectUnreadableError."""
        try:
            return self.zip.open(part)
        except KeyError:
            raise self.unreadable(f"the workbook {self.path} lacks its part {part}", "open and save it in Excel") from None
        except BROKEN_ZIP:
            raise self.damaged(part) from None

    def damaged(self, part: str) -> ObjectUnreadableError:
        """The error for a part that cannot be unpacked or is no proper XML."""
        return self.unreadable(f"the workbook {self.path} is damaged in {part}", "restore it from a backup, or let Excel repair it")

    def read(self, part: str) -> bytes:
        """A small part whole. Raises ObjectUnreadableError."""
        if self.has(part) and self.zip.getinfo(part).file_size > SMALL_PART_BYTES:
            raise self.unreadable(f"the part {part} of the workbook {self.path} is too large", "open and save it in Excel")
        try:
            with self.stream(part) as stream:
                return stream.read()
        except TrueupError:
            raise
        except BROKEN_ZIP:
            raise self.damaged(part) from None

    def tree(self, part: str) -> etree._Element:
        """A small part parsed, without entities. Raises ObjectUnreadableError."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True)
        try:
            root = etree.fromstring(self.read(part), parser)
        except etree.XMLSyntaxError:
            raise self.damaged(part) from None
        if getattr(root.getroottree().docinfo, "doctype", None):
            raise self.unreadable(f"{part} of the workbook {self.path} declares entities", "open and save it in Excel")
        return root

    def relations(self, part: str, *, external: bool = False) -> dict[str, Relation]:
        """The relations of a part (`""`: of the package) by their id; empty when it has none. `external`: with links to the outside."""
        folder, name = posixpath.split(part)
        related = posixpath.join(folder, "_rels", f"{name}.rels")
        if not self.has(related):
            return {}
        found = {}
        for entry in self.tree(related).iterfind("{*}Relationship"):
            if external or entry.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, unquote(entry.get("Target", "")))).lstrip("/")
                found[entry.get("Id", "")] = Relation(entry.get("Type", "").rsplit("/", 1)[-1], target)
        return found

    def sheet(self, name: str | None) -> Sheet:
        """The sheet of that name, or the first (None). Raises ObjectMissingError with the nearest names."""
        if not self.sheets:
            raise self.unreadable(f"the workbook {self.path} has no worksheet", "add one")
        if name is None:
            return self.sheets[0]
        for sheet in self.sheets:
            if sheet.name == name:
                return sheet
        known = [sheet.name for sheet in self.sheets]
        near = {each.casefold(): each for each in known}.get(name.strip().casefold()) or next(
            iter(difflib.get_close_matches(name, known, n=1)), None
        )
        message = f"the workbook {self.path} has no sheet {name!r}"
        raise ObjectMissingError(
            message, hint=f"did you mean {near!r}?" if near else f"its sheets are {', '.join(map(repr, known))}", system=self.system
        )


def _relation_id(entry: etree._Element) -> str:
    return next((str(value) for key, value in entry.attrib.items() if str(key).endswith("}id")), "")


def _contains(file: IO[bytes], needle: bytes) -> bool:
    file.seek(0)
    rest = b""
    for block in _blocks(file):
        if needle in rest + block:
            return True
        rest = block[-len(needle) :]
    return False


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


# ---------------------------------------------------------------- cell addresses


def column_letters(column: int) -> str:
    """`A` for 1, `AA` for 27."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def column_number(letters: str) -> int:
    """1 for `A`, 27 for `AA`."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?(\d+)(?::\$?([A-Z]{1,3})\$?(\d+))?")


@dataclass(frozen=True, slots=True)
class Range:
    """A rectangle of cells, both ends included, 1-based."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def parse(cls, text: str) -> Range | None:
        """The range of `A1:C3` or `B2`; None for anything else (whole columns, several ranges)."""
        found = _RANGE.fullmatch(text.strip())
        if found is None:
            return None
        left, top, right, bottom = found.groups()
        return cls(int(top), column_number(left), int(bottom or top), column_number(right or left))

    def __str__(self) -> str:
        start = f"{column_letters(self.left)}{self.top}"
        end = f"{column_letters(self.right)}{self.bottom}"
        return start if start == end else f"{start}:{end}"

    def holds(self, row: int, column: int) -> bool:
        """Whether the cell lies inside."""
        return self.top <= row <= self.bottom and self.left <= column <= self.right
