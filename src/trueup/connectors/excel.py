"""Excel workbooks (.xlsx, .xlsm). An object is a sheet; its columns are named by the texts of its header row.

What a write leaves alone: every other part of the workbook, byte for byte, and within the sheet every cell that it does not write. Two
parts may change besides the sheet: an Excel table that must grow over new rows, and the workbook's request to recalculate on load, since
results kept in formula cells are out of date after a write. New rows stand after the last one and take its styles. A deleted row is
emptied in place, never removed, because moving rows would bend formulas, charts and names elsewhere; empty rows are skipped on reading.

Column types follow from the cells: numbers are `decimal`, or `integer` where all cells are whole and formatted so; dates, times and
booleans are what their cells are; a mixture is `text`, with numbers and dates in canonical text.
"""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Self

import polars as pl

from trueup.connectors.base import PAGE_ROWS
from trueup.connectors.excel_create import added_sheet, name_problem, new_workbook
from trueup.connectors.excel_package import Package
from trueup.connectors.excel_rows import SheetRows, comparable
from trueup.connectors.excel_scan import Book, scan_sheet
from trueup.connectors.excel_splice import Edit, SheetSplicer, grown_table, recalculated_on_load
from trueup.connectors.excel_values import Kind
from trueup.connectors.excel_write import WritePlan
from trueup.connectors.excel_xml import MAX_ROWS, XmlShapeError
from trueup.connectors.excel_zip import TooLargeError, rewrite
from trueup.connectors.file_watch import SETTING, excel_lock, file_way, watch_files
from trueup.connectors.filebase import Stamp, check_untouched, has_content, locked, open_to_read, place_of, replacement, stamp
from trueup.connectors.filewrite import Sequence as KeySequence
from trueup.connectors.remotefile import RemoteFile, caps_of, of_system
from trueup.core.cells import KEY
from trueup.errors import ConfigError, ObjectMissingError, Problem, SystemUnreachableError, TrueupError, WriteRefusedError
from trueup.model import Caps, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trueup.connectors.base import Page, WriteBatch
    from trueup.connectors.excel_scan import Scan
    from trueup.connectors.file_watch import FileWatch
    from trueup.connectors.watching import Way

MAX_UNPACKED_MB = 2048
SCANS_KEPT = 4
SUFFIXES = (".xlsx", ".xlsm")


class ExcelConnector:
    """One workbook. Safe for one thread at a time."""

    caps: Caps = Caps(
        kind="file",
        precondition="native",
        stored_row=True,
        find=True,
        assigns_keys=True,
        takes_keys=True,
        atomic=True,
        watch=True,
        browses=True,
    )

    def __init__(self, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> None:
        """Remember the settings; the file is opened by each call. Raises ConfigError for unknown, missing or wrong settings."""
        problems = _setting_problems(name, settings, self.settings_schema())
        if problems:
            raise ConfigError(problems)
        self.name = name
        try:
            self.path = place_of(str(settings["path"]), directory, SUFFIXES)
        except TrueupError as error:
            raise ConfigError([Problem("", 0, f"systems.{name}.path", error.message, error.hint or "")]) from None
        self.caps = caps_of(self.path, self.caps)
        self._max_rows = int(settings.get("max_rows") or MAX_ROWS)
        self._max_unpacked_bytes = int(settings.get("max_unpacked_mb") or MAX_UNPACKED_MB) * 1_000_000
        self._watch_setting: str | None = settings.get("watch")
        self._sequences: dict[str | None, KeySequence] = {}
        self._scans: dict[tuple[Stamp, str, int], Scan] = {}

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See the contract."""
        return cls(name, settings, directory=directory)

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See the contract."""
        return {
            "type": "object",
            "additionalProperties": False,
            "required": ["path"],
            "properties": {
                "path": {
                    "type": "string",
                    "title": "Path",
                    "description": "the .xlsx or .xlsm file, from the configuration's directory; elsewhere: s3://… or sftp://…",
                },
                "max_rows": {
                    "type": "integer",
                    "minimum": 1,
                    "title": "Row limit",
                    "description": f"refuse a sheet with more data rows (Excel's own limit is {MAX_ROWS:,})",
                    "default": MAX_ROWS,
                },
                "max_unpacked_mb": {
                    "type": "integer",
                    "minimum": 1,
                    "title": "Size limit",
                    "description": "refuse a workbook that unpacks to more megabytes",
                    "default": MAX_UNPACKED_MB,
                },
                "watch": SETTING,
            },
        }

    # ---------------------------------------------------------------- reading

    def discover(self) -> list[ObjectInfo]:
        """See the contract: the worksheets, with their first row as header."""
        with self._opened() as (package, found):
            return [
                SheetRows(self._scan(package, found, sheet.name, 1), str(self.path), (), empty_is_text=False).info()
                for sheet in package.sheets
            ]

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See the contract. Raises ObjectUnreadableError for merged header cells and doubled key headers."""
        with self._opened(obj) as (package, found):
            rows = self._rows(package, found, obj)
        if rows.scan.columns or not obj.create:
            rows.check_columns(obj.key)
        return rows.info()

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See the contract. Workbooks have no incremental read, so `since` is not looked at."""
        del since
        return self._keyed(obj, columns).pages(columns, keys, page_rows)

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        with self._opened(obj) as (package, found):
            rows = self._rows(package, found, replace(obj, key=()))
            check_untouched(self.name, self.path, package.file, found)
        rows.check_columns(columns)
        return rows.browsed(columns, page_rows)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See the contract."""
        names = values.columns
        wanted = list(dict.fromkeys([*columns, *names]))
        asked = values.select(comparable(values[name]).alias(name) for name in names)
        found = []
        for page in self._keyed(obj, wanted).pages(wanted, None, PAGE_ROWS):
            texts = page.rows.select(KEY, *(comparable(page.rows[name]).alias(name) for name in names))
            matching = texts.join(asked, on=names, how="semi", nulls_equal=True)
            found.append(page.rows.join(matching.select(KEY), on=KEY, how="semi", maintain_order="left"))
        rows = pl.concat(found)
        return rows.select(KEY, *columns, *(name for name in rows.columns if name.startswith("__") and name != KEY))

    # ---------------------------------------------------------------- writing

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See the contract.

        Raises SystemUnreachableError while another program has the workbook open, ChangedUnderneathError, WriteRefusedError; the file is
        then as it was.
        """
        with locked(self.name, self.path):
            self._refuse_open_elsewhere()
            with self._opened() as (package, found):
                rows = self._rows(package, found, obj)
                rows.check_columns([*obj.key, *batch.columns, *batch.returning])
                rows.settle_keys()
                plan = WritePlan(rows, obj, batch)
                if batch.kind == "create":
                    plan.create(self._sequences.setdefault(obj.name, KeySequence()))
                else:
                    plan.change()
                if not plan.edits:
                    return plan.outcomes({})
                splicer = SheetSplicer(package, rows.scan, plan.edits, frozenset(plan.new))
                self._replace(package, found, splicer)
                return plan.outcomes(splicer.stored)

    def _replace(self, package: Package, found: Stamp, splicer: SheetSplicer) -> None:
        """Write the workbook again with the edits of one sheet. Raises WriteRefusedError, ChangedUnderneathError."""
        self._refuse_signed(package)
        scan = splicer.scan
        try:
            changed: dict[str, Iterable[bytes]] = {
                package.workbook_part: [recalculated_on_load(package.read(package.workbook_part))],
                scan.sheet.part: splicer.xml(),
            }
            table = scan.table()
            if table is not None and splicer.new and max(splicer.new) > table.range.bottom:
                changed[table.part] = [grown_table(package.read(table.part), table.range.top, max(splicer.new))]
            with replacement(self.name, self.path) as target:
                rewrite(package.file, package.zip, changed, target.write)
                check_untouched(self.name, self.path, package.file, found)
                target.commit(found)
        except XmlShapeError as error:
            raise package.unreadable(f"the workbook {self.path} cannot be written: {error}", "open and save it in Excel") from None
        except TooLargeError:
            message = f"the workbook {self.path} would pass 4 GB"
            raise WriteRefusedError(message, hint="move its records to a database", system=self.name) from None

    def _refuse_signed(self, package: Package) -> None:
        if any(name.startswith("_xmlsignatures/") for name in package.zip.namelist()):
            message = f"the workbook {self.path} is digitally signed: any change would break the signature"
            raise WriteRefusedError(message, hint="remove the signature in Excel, or set `direction: read`", system=self.name)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See the contract: makes the workbook, one more sheet in it, or the header of an empty sheet."""
        if not obj.create:
            return
        names = {name: columns.get(name, "text") for name in dict.fromkeys([*obj.key, *columns])}
        with locked(self.name, self.path):
            if not self._has_content():
                self._refuse_bad_name(obj.name)
                with replacement(self.name, self.path) as target:
                    target.write(new_workbook(obj.name, obj.header_row, names))
                    target.commit(None)
                return
            with self._opened() as (package, found):
                if obj.name is not None and all(sheet.name != obj.name for sheet in package.sheets):
                    self._add_sheet(package, found, obj.name, obj.header_row, names)
                    return
                scan = self._scan(package, found, obj.name, obj.header_row)
                if not scan.columns and not scan.rows:
                    self._refuse_open_elsewhere()
                    header = {number: Edit(Kind.TEXT, name) for number, name in enumerate(names, 1)}
                    self._replace(package, found, SheetSplicer(package, scan, {obj.header_row: header}, frozenset([obj.header_row])))

    def _add_sheet(self, package: Package, found: Stamp, name: str, header_row: int, columns: Mapping[str, str]) -> None:
        self._refuse_bad_name(name)
        self._refuse_open_elsewhere()
        self._refuse_signed(package)
        try:
            changed, added = added_sheet(package, name, header_row, columns)
        except XmlShapeError as error:
            raise package.unreadable(f"the workbook {self.path} takes no new sheet: {error}", "add the sheet in Excel") from None
        with replacement(self.name, self.path) as target:
            rewrite(package.file, package.zip, {part: [xml] for part, xml in changed.items()}, target.write, added=added)
            target.commit(found)

    def _refuse_bad_name(self, name: str | None) -> None:
        problem = None if name is None else name_problem(name)
        if problem:
            message = f"the workbook {self.path} cannot have a sheet {name!r}"
            raise ObjectMissingError(message, hint=problem, system=self.name)

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        del objects
        return file_way(self._watch_setting, [self.path])[0]

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> FileWatch:
        """See watching.Watching; nothing is made. That a person closed the workbook in Excel is told as well: it can be written now."""
        del name, since
        paths = dict.fromkeys(range(len(objects)), self.path)
        return watch_files(self.name, self._watch_setting, paths, {}, excel_lock)

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching: nothing was made."""

    def close(self) -> None:
        """See the contract."""
        self._scans.clear()
        if isinstance(self.path, RemoteFile):
            self.path.place.close()

    # ---------------------------------------------------------------- inside

    @contextlib.contextmanager
    def _opened(self, obj: ObjectSpec | None = None) -> Iterator[tuple[Package, Stamp]]:
        """The workbook's package and its stamp, open for one call. Raises SystemUnreachableError, ObjectUnreadableError."""
        with self._file(obj) as file:
            found = stamp(file)
            yield Package(self.name, str(self.path), file, max_unpacked_bytes=self._max_unpacked_bytes), found

    def _has_content(self) -> bool:
        with of_system(self.name):
            return has_content(self.path)

    def _file(self, obj: ObjectSpec | None) -> IO[bytes]:
        try:
            return open_to_read(self.name, self.path)
        except SystemUnreachableError as error:
            if obj is not None and obj.create and not self.path.exists():
                raise ObjectMissingError(f"the workbook {self.path} does not exist yet", system=self.name) from None
            raise error from None

    def _keyed(self, obj: ObjectSpec, columns: Sequence[str]) -> SheetRows:
        """The sheet's rows under the object's key, columns checked."""
        with self._opened(obj) as (package, found):
            rows = self._rows(package, found, obj)
            check_untouched(self.name, self.path, package.file, found)
        rows.check_columns(columns)
        rows.settle_keys()
        return rows

    def _rows(self, package: Package, found: Stamp, obj: ObjectSpec) -> SheetRows:
        scan = self._scan(package, found, obj.name, obj.header_row)
        return SheetRows(scan, str(self.path), obj.key, empty_is_text=obj.empty_is_text)

    def _scan(self, package: Package, found: Stamp, name: str | None, header_row: int) -> Scan:
        """The sheet as it is; the same content is scanned once."""
        sheet = package.sheet(name)
        place = (found, sheet.name, header_row)
        if place not in self._scans:
            self._scans = {key: scan for key, scan in list(self._scans.items())[1 - SCANS_KEPT :] if key[0] == found}
            self._scans[place] = scan_sheet(package, Book.load(package), sheet, header_row=header_row, max_rows=self._max_rows)
        return self._scans[place]

    def _refuse_open_elsewhere(self) -> None:
        """Raise SystemUnreachableError while LibreOffice or Excel has the workbook open; both leave a file that says so."""
        libre = self.path.with_name(f".~lock.{self.path.name}#")
        excel = self.path.with_name(f"~${self.path.name}")
        for program, mark, reader in (("LibreOffice", libre, _libre_user), ("Excel", excel, _excel_user)):
            try:
                content = mark.read_bytes()
            except FileNotFoundError:
                continue
            except OSError:  # Excel keeps its own mark to itself
                content = b""
            user = reader(content)
            message = f"the workbook {self.path} is open in {program}" + (f" ({user})" if user else "")
            hint = f"close it there and run again; if nobody has it open, delete {mark.name}"
            raise SystemUnreachableError(message, hint=hint, system=self.name)


def _libre_user(content: bytes) -> str:
    """Who holds the workbook, from LibreOffice's lock file: `name,login,host,time,profile;`."""
    parts = content.decode("utf-8", "replace").split(",")
    name, host = (parts[0] or (parts[1] if len(parts) > 1 else "")).strip(), (parts[2].strip() if len(parts) > 2 else "")
    return f"{name} on {host}" if name and host else name or host


def _excel_user(content: bytes) -> str:
    """Who holds the workbook, from Excel's owner file: a length, then the name."""
    return content[1 : 1 + content[0]].decode("cp1252", "replace").strip("\x00 ") if content else ""


def _setting_problems(name: str, settings: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    place = f"systems.{name}"
    known: dict[str, dict[str, Any]] = schema["properties"]
    problems = [
        Problem("", 0, f"{place}.{wanted}", "this setting is missing", known[wanted]["description"])
        for wanted in schema["required"]
        if settings.get(wanted) in {None, ""}
    ]
    for given, value in settings.items():
        if given not in known:
            near = difflib.get_close_matches(given, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
            problems.append(Problem("", 0, f"{place}.{given}", "unknown setting", hint))
        elif known[given]["type"] == "integer" and value is not None and (type(value) is not int or value < 1):
            problems.append(
                Problem("", 0, f"{place}.{given}", f"{value!r} is not a whole number of at least 1", known[given]["description"])
            )
    return problems
