"""The connector contract for files of records: what CSV and JSON Lines have in common once a file can be read and written."""

from __future__ import annotations

import contextlib
import difflib
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Self

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page, WriteBatch
from trueup.connectors.file_watch import file_way, no_lock, watch_files
from trueup.connectors.filebase import has_content, locked, open_to_read, place_of, replacement, stamp
from trueup.connectors.filewrite import Sequence as KeySequence
from trueup.connectors.filewrite import write_rows
from trueup.connectors.remotefile import RemoteFile, caps_of, of_system
from trueup.connectors.watching import Way
from trueup.core.cells import KEY
from trueup.errors import ConfigError, ObjectMissingError, Problem, SystemError_, SystemUnreachableError, TrueupError
from trueup.model import Caps, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.file_watch import FileWatch
    from trueup.connectors.filebase import FilePath, Stamp
    from trueup.connectors.filerows import Reading
    from trueup.model import ColumnInfo

CAPS = Caps(
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


class FileConnector(ABC):
    """A connector whose system is one file of records, or a directory of such files, each an object. Safe for one thread at a time."""

    caps: Caps = CAPS
    kind: ClassVar[Literal["file", "resource"]] = "file"
    """`file`: its cells have no null of their own, an empty one stands for it."""
    suffixes: ClassVar[tuple[str, ...]]
    """Endings of file names, the usual one first; in a directory, `object: customers` finds `customers.csv`."""

    def __init__(self, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> None:
        """Remember the settings; the file is opened by each call. Raises ConfigError for unknown or missing settings."""
        problems = self._setting_problems(name, settings)
        if problems:
            raise ConfigError(problems)
        self.name = name
        try:
            self.path = place_of(str(settings["path"]), directory, self.suffixes)
        except TrueupError as error:
            raise ConfigError([Problem("", 0, f"systems.{name}.path", error.message, error.hint or "")]) from None
        self.caps = caps_of(self.path, self.caps)
        self._settings = dict(settings)
        self._sequences: dict[FilePath, KeySequence] = {}
        self._latest: tuple[Stamp, tuple[Any, ...], Reading] | None = None

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See the contract."""
        return cls(name, settings, directory=directory)

    # ---------------------------------------------------------------- the format's part

    @classmethod
    @abstractmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See the contract."""

    @abstractmethod
    def _read_file(self, obj: ObjectSpec, path: FilePath, file: IO[bytes], found: Stamp) -> Reading:
        """Find the records and keys of an open file. Raises ObjectMissingError, ObjectUnreadableError."""

    def _working(self, reading: Reading, file: IO[bytes]) -> IO[bytes]:
        """The working form of a file whose content is that of `reading`."""
        del reading
        return file

    @abstractmethod
    def _columns(self, obj: ObjectSpec, opened: contextlib.ExitStack) -> dict[str, ColumnInfo]:
        """The columns of the file, which is opened until `opened` is closed."""

    @abstractmethod
    def _new_content(self, columns: Sequence[str]) -> bytes:
        """A new file without rows."""

    @abstractmethod
    def _check_columns(self, reading: Reading, columns: Sequence[str]) -> None:
        """Raise ObjectMissingError when a column cannot be read from, or written to, this file."""

    # ---------------------------------------------------------------- the contract

    def discover(self) -> list[ObjectInfo]:
        """See the contract; an object's name is that of its file. Files of a directory that cannot be read are left out."""
        if not self.path.is_dir():
            return [self._info(ObjectSpec(name=None, key=()))]
        found = []
        files: list[FilePath] = [*self.path.iterdir()]
        for file in sorted(files, key=lambda file: file.name):
            if file.suffix.lower() in self.suffixes and file.is_file():
                with contextlib.suppress(SystemError_):
                    found.append(self._info(ObjectSpec(name=file.name, key=())))
        return found

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See the contract."""
        info = self._info(obj)
        missing = [name for name in obj.key if name not in info.columns]
        if missing and info.columns:  # a file of objects without any row shows no column
            raise self.missing_column(self.path_of(obj), missing[0], info.columns)
        return info

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See the contract. Files have no incremental read, so `since` is not looked at."""
        del since
        opened = contextlib.ExitStack()
        try:
            reading = self._reading(obj, opened)
            self._check_columns(reading, columns)
        except BaseException:
            opened.close()
            raise
        return _closing(opened, reading.pages(columns, keys, page_rows))

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        opened = contextlib.ExitStack()
        try:
            reading = self._reading(replace(obj, key=()), opened)
            self._check_columns(reading, columns)
        except BaseException:
            opened.close()
            raise
        return _closing(opened, reading.browsed(columns, page_rows))

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See the contract."""
        names = values.columns
        wanted = list(dict.fromkeys([*columns, *names]))
        found = []
        for page in self.read(obj, wanted):
            kept = self._comparable(page.rows, names).join(self._comparable(values, names), on=names, how="semi", nulls_equal=True)
            found.append(page.rows.join(kept.select(KEY), on=KEY, how="semi", maintain_order="left"))
        rows = pl.concat(found, how="diagonal")
        return rows.select(KEY, *columns, *(name for name in rows.columns if name.startswith("__") and name != KEY))

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See the contract. Raises ChangedUnderneathError, WriteRefusedError, ObjectUnreadableError; the file is then as it was."""
        with contextlib.ExitStack() as opened:
            path = self.path_of(obj)
            opened.enter_context(locked(self.name, path))
            reading = self._reading(obj, opened)
            self._check_columns(reading, [*batch.columns, *batch.returning])
            return write_rows(reading, obj, batch, self._sequences.setdefault(path, KeySequence()))

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See the contract; a file of zero bytes counts as not there."""
        path = self.path_of(obj)
        if not obj.create or self._has_content(path):
            return
        with locked(self.name, path), replacement(self.name, path) as target:
            if not self._has_content(path):
                target.write(self._new_content(list(dict.fromkeys([*obj.key, *columns]))))
                target.commit(None)

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        paths, unwatched = self._watched(objects)
        way, _ = file_way(self._settings.get("watch"), list(paths.values()))
        return Way(way.how, way.why, unwatched=unwatched)

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> FileWatch:
        """See watching.Watching; nothing is made."""
        del name, since
        return watch_files(self.name, self._settings.get("watch"), *self._watched(objects), no_lock)

    def unwatch(self, *, name: str) -> None:  # noqa: B027 - there is nothing to do for any format
        """See watching.Watching: nothing was made."""

    def _watched(self, objects: Sequence[ObjectSpec]) -> tuple[dict[int, FilePath], dict[int, str]]:
        paths, unwatched = {}, {}
        for index, obj in enumerate(objects):
            try:
                paths[index] = self.path_of(obj)
            except ObjectMissingError as error:
                unwatched[index] = f"{error.message}: {error.hint}"
        return paths, unwatched

    def close(self) -> None:
        """See the contract."""
        self._latest = None
        if isinstance(self.path, RemoteFile):
            self.path.place.close()

    # ---------------------------------------------------------------- inside

    def _reading(self, obj: ObjectSpec, opened: contextlib.ExitStack) -> Reading:
        """The file as it is now, opened until `opened` is closed; what was found the last time is used again for the same content."""
        path = self.path_of(obj)
        file = opened.enter_context(self._open(obj, path))
        found = stamp(file)
        wanted = (path, obj.key, obj.header_row, obj.empty_is_text, dict(obj.options))
        if self._latest is not None and self._latest[:2] == (found, wanted):
            reading = self._latest[2].on(file, self._working(self._latest[2], file))
        else:
            reading = self._read_file(obj, path, file, found)
            self._latest = (found, wanted, reading)
        if reading.source is not file:
            opened.enter_context(reading.source)
        return reading

    def path_of(self, obj: ObjectSpec) -> FilePath:
        """The file behind an object: the system's own file, whatever the object is called, or the one of that name in its directory.

        Raises ObjectMissingError when the system is a directory and the mapping names no file.
        """
        if not self.path.is_dir():
            return self.path
        if not obj.name:
            raise ObjectMissingError(
                f"{self.path} is not a file but a directory", hint="name the file in it as the mapping's `object`", system=self.name
            )
        path = self.path / obj.name
        usual = path.with_name(path.name + self.suffixes[0])
        return path if path.exists() or path.suffix.lower() in self.suffixes else usual

    def _open(self, obj: ObjectSpec, path: FilePath) -> IO[bytes]:
        try:
            return open_to_read(self.name, path)
        except SystemUnreachableError as error:
            if path.exists() or not (obj.create or self.path.is_dir()):
                raise error from None
            raise ObjectMissingError(f"the file {path} does not exist", hint=error.hint, system=self.name) from None

    def _has_content(self, path: FilePath) -> bool:
        with of_system(self.name):
            return has_content(path)

    def _info(self, obj: ObjectSpec) -> ObjectInfo:
        with contextlib.ExitStack() as opened:
            columns = self._columns(obj, opened)
        return ObjectInfo(name=self.path_of(obj).name, columns=columns, kind=self.kind, assigns_key=True)

    def _comparable(self, rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
        """The rows in the form in which `find` compares them."""
        texts = []
        for name in names:
            is_list = isinstance(rows.schema[name], pl.List)
            texts.append(pl.col(name).list.join("\x00") if is_list else pl.col(name).cast(pl.String))
        return rows.select(*([KEY] if KEY in rows.columns else []), *texts)

    def missing_column(self, path: FilePath, name: str, columns: Mapping[str, ColumnInfo]) -> ObjectMissingError:
        """The error for a column that the file does not have."""
        near = difflib.get_close_matches(name, columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "it has: " + ", ".join(map(repr, list(columns)[:20]))
        return ObjectMissingError(f"{path} has no column {name!r}", hint=hint, system=self.name)

    @classmethod
    def _setting_problems(cls, name: str, settings: Mapping[str, Any]) -> list[Problem]:
        schema = cls.settings_schema()
        place = f"systems.{name}"
        problems = [
            Problem("", 0, f"{place}.{wanted}", "this setting is missing", schema["properties"][wanted]["description"])
            for wanted in schema["required"]
            if settings.get(wanted) in {None, ""}
        ]
        for given in settings:
            if given not in schema["properties"]:
                near = difflib.get_close_matches(given, schema["properties"], n=1)
                hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(schema["properties"])
                problems.append(Problem("", 0, f"{place}.{given}", "unknown setting", hint))
        return problems


def _closing(opened: contextlib.ExitStack, pages: Iterator[Page]) -> Iterator[Page]:
    with opened:
        yield from pages
