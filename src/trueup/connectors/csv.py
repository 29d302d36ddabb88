"""CSV files, read and written in whatever manner each of them has: encoding, delimiter, quoting and line ends are kept as found.

Rows, columns and bytes that are not written stay as they are and in place. Format: RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180),
with the other delimiters in use and `sep=` lines; see `csv_grammar` for what exactly a record is.
"""

from __future__ import annotations

import codecs
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.csv_dialect import Dialect, read_dialect
from trueup.connectors.csv_grammar import grammar
from trueup.connectors.csv_rows import CsvReading
from trueup.connectors.csv_text import allows_delimiter, detect, known_encoding, working_form
from trueup.connectors.file_watch import SETTING
from trueup.connectors.fileconnector import FileConnector
from trueup.errors import ObjectUnreadableError, Problem
from trueup.model import ColumnInfo, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.connectors.filebase import FilePath, Stamp
    from trueup.connectors.filerows import Reading
    from trueup.model import ObjectSpec

_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class CsvConnector(FileConnector):
    """One CSV file, or a directory of them."""

    suffixes = (".csv", ".tsv", ".tab", ".txt")

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See the contract."""
        return {
            "type": "object",
            "title": "CSV file",
            "properties": {
                "path": {
                    "type": "string",
                    "title": "Path",
                    "description": (
                        "the file, or a directory of them; a relative path starts at the configuration file's directory;"
                        " elsewhere: s3://… or sftp://…"
                    ),
                },
                "encoding": {
                    "type": "string",
                    "title": "Encoding",
                    "description": "such as utf-8, utf-16, windows-1252; left out: detected (byte order mark, UTF-8, else Windows-1252)",
                },
                "delimiter": {
                    "type": "string",
                    "title": "Delimiter",
                    "description": "one character, or tab; left out: detected among , ; tab |",
                },
                "quote": {
                    "type": "string",
                    "title": "Quote",
                    "description": 'the character around fields that hold a delimiter or line end, default "; none: the file has no quotes',
                },
                "watch": SETTING,
            },
            "required": ["path"],
            "additionalProperties": False,
        }

    @classmethod
    def _setting_problems(cls, name: str, settings: Mapping[str, Any]) -> list[Problem]:
        problems = super()._setting_problems(name, settings)
        place = f"systems.{name}"
        declared, delimiter, quote = _codec(settings), _delimiter(settings), _quote(settings)
        if settings.get("encoding") and declared is None:
            hint = "utf-8, utf-16, windows-1252, iso-8859-1, shift_jis, … are known"
            problems.append(Problem("", 0, f"{place}.encoding", f"unknown encoding {settings['encoding']!r}", hint))
        if delimiter is not None and not _is_mark(delimiter):
            problems.append(Problem("", 0, f"{place}.delimiter", f"{delimiter!r} is not one ASCII character", "such as ; or tab"))
        elif delimiter and declared and not allows_delimiter(declared, delimiter):
            problems.append(
                Problem("", 0, f"{place}.delimiter", f"{delimiter!r} can be part of a character in {declared}", "use , ; or tab")
            )
        if quote and (not _is_mark(quote) or quote == delimiter):
            problems.append(Problem("", 0, f"{place}.quote", f"{quote!r} cannot be the quote", "one ASCII character, or none"))
        return problems

    def _info(self, obj: ObjectSpec) -> ObjectInfo:
        with ExitStack() as opened:
            dialect = self._opened_dialect(obj, opened)
        doubled = dict.fromkeys(name for name in dialect.header if name and dialect.header.count(name) > 1)
        remark = f"several columns are named {', '.join(map(repr, doubled))}: rename all but one" if doubled else ""
        name = self.path_of(obj).name
        return ObjectInfo(name=name, columns=_columns_of(dialect), kind=self.kind, assigns_key=True, remark=remark)

    def _columns(self, obj: ObjectSpec, opened: ExitStack) -> dict[str, ColumnInfo]:
        return _columns_of(self._opened_dialect(obj, opened))

    def _opened_dialect(self, obj: ObjectSpec, opened: ExitStack) -> Dialect:
        path = self.path_of(obj)
        dialect, source = self._dialect(obj, path, opened.enter_context(self._open(obj, path)))
        opened.enter_context(source)
        return dialect

    def _comparable(self, rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
        return super()._comparable(rows, names).with_columns(pl.col(names).fill_null(""))

    def _working(self, reading: Reading, file: IO[bytes]) -> IO[bytes]:
        assert isinstance(reading, CsvReading)
        return working_form(self.name, reading.path, file, reading.dialect.encoding)[0]

    def _dialect(self, obj: ObjectSpec, path: FilePath, file: IO[bytes]) -> tuple[Dialect, IO[bytes]]:
        encoding = detect(self.name, path, file, _codec(self._settings))
        source, start = working_form(self.name, path, file, encoding)
        try:
            dialect = read_dialect(
                self.name,
                path,
                source,
                start,
                encoding,
                delimiter=_delimiter(self._settings),
                quote=_quote(self._settings),
                header_row=obj.header_row,
            )
        except BaseException:
            if source is not file:
                source.close()
            raise
        return dialect, source

    def _read_file(self, obj: ObjectSpec, path: FilePath, file: IO[bytes], found: Stamp) -> Reading:
        dialect, source = self._dialect(obj, path, file)
        try:
            columns = _columns_of(dialect)
            for name in obj.key:
                self._check_column(path, name, columns, dialect.header)
            return CsvReading(
                system=self.name,
                path=path,
                stamp=found,
                file=file,
                source=source,
                columns=columns,
                key_columns=obj.key,
                dialect=dialect,
                empty_is_text=obj.empty_is_text,
            )
        except BaseException:
            if source is not file:
                source.close()
            raise

    def _check_columns(self, reading: Reading, columns: Sequence[str]) -> None:
        assert isinstance(reading, CsvReading)
        for name in columns:
            self._check_column(reading.path, name, reading.columns, reading.dialect.header)

    def _check_column(self, path: FilePath, name: str, columns: Mapping[str, ColumnInfo], header: Sequence[str]) -> None:
        if header.count(name) > 1:
            raise ObjectUnreadableError(
                f"{path} has {header.count(name)} columns named {name!r}", hint="rename all but one in its header", system=self.name
            )
        if name not in columns:
            raise self.missing_column(path, name, columns)

    def _new_content(self, columns: Sequence[str]) -> bytes:
        """The header line, in UTF-8 unless an encoding is declared."""
        codec = _codec(self._settings) or "utf-8"
        bom = codecs.BOM_UTF16_LE if codec == "utf-16" else codecs.BOM_UTF8 if codec == "utf-8-sig" else b""
        delimiter = _delimiter(self._settings) or ","
        rules = grammar(delimiter.encode(), _quote(self._settings).encode())
        line = delimiter.join(rules.quote_field(name.encode(), always=False).decode() for name in columns) + "\n"
        plain = {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(codec, codec)
        try:
            return bom + line.encode(plain)
        except UnicodeEncodeError:
            raise ObjectUnreadableError(
                f"the column names cannot be written in {codec}", hint="declare utf-8 as this system's `encoding`", system=self.name
            ) from None


def _columns_of(dialect: Dialect) -> dict[str, ColumnInfo]:
    """Columns that can be mapped: those with a name of their own."""
    return {name: ColumnInfo(name=name, type="text") for name in dialect.header if name and dialect.header.count(name) == 1}


def _codec(settings: Mapping[str, Any]) -> str | None:
    declared = settings.get("encoding")
    return known_encoding(str(declared)) if declared else None


def _delimiter(settings: Mapping[str, Any]) -> str | None:
    given = settings.get("delimiter")
    return _NAMED_DELIMITERS.get(str(given).lower(), str(given)) if given else None


def _quote(settings: Mapping[str, Any]) -> str:
    given = settings.get("quote", '"')
    return "" if given in {None, "", "none"} else str(given)


def _is_mark(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text not in "\r\n\0"
