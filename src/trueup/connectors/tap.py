"""Singer taps (https://hub.meltano.com/singer/spec): any program that prints records as SCHEMA, RECORD and STATE messages, for reading.

An object is a stream. A reading runs the tap with a catalog that selects this stream alone; what it prints is kept in a file without a
name until the tap has ended well, so that a tap which breaks off tells nothing. Of several records with one key the last one counts, as
taps repeat themselves. A record whose `_sdc_deleted_at` is set is not there; where only changes are asked for, it is told as gone.

Where the mapping names a `modified` column, the catalog makes that the stream's replication key, and the last STATE that the tap prints is
the cursor: the next run is given it with `--state`. Taps show the moment of their bookmark again, so that it is inclusive.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import orjson
import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page
from trueup.connectors.filebase import stamp
from trueup.connectors.filerows import CellRefusedError
from trueup.connectors.jsonl_rows import JsonlReading
from trueup.core.cells import KEY
from trueup.errors import (
    ConfigError,
    ObjectMissingError,
    ObjectUnreadableError,
    Problem,
    SystemUnreachableError,
    WriteRefusedError,
    keep_secret,
)
from trueup.model import Caps, ColumnInfo, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.base import WriteBatch
    from trueup.model import ColumnType, ObjectSpec

LONGEST_S = 3600
LINE_BYTES = 64 * 1024 * 1024
_STOP_S = 5.0
_DELETED = "_sdc_deleted_at"
_ERROR = re.compile(rb"^([A-Za-z_][\w.]*(?:Error|Exception))\b", re.MULTILINE)


@dataclass(slots=True)
class _Printed:
    """What a tap printed of one stream: records one on each line, and by key the place of the latest."""

    file: IO[bytes]
    columns: dict[str, ColumnType] = field(default_factory=dict)
    declared: bool = False
    places: list[tuple[str | None, int, int]] = field(default_factory=list)
    state: bytes | None = None
    """The last STATE that it printed."""

    def gone(self) -> tuple[str, ...]:
        """Keys of which the latest record says that it was deleted."""
        last = {key: size for key, _, size in self.places if key is not None}
        return tuple(key for key, size in last.items() if not size)


class TapConnector:
    """One tap with one configuration. Used by one thread at a time."""

    caps: Caps = Caps(kind="api", creates=False, updates=False, deletes=False, find=True, incremental=True)

    def __init__(self, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> None:
        """`settings` are checked; nothing runs yet."""
        self.name = name
        self._settings = dict(settings)
        self._directory = directory
        given = settings["command"]
        self._command = [given] if isinstance(given, str) else [str(word) for word in given]
        self._catalog: dict[str, Any] | None = None

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector."""
        known, place = cls.settings_schema()["properties"], f"systems.{name}"
        problems = [
            Problem("", 0, f"{place}.{given}", f"unknown setting {given!r}", f"known: {', '.join(known)}")
            for given in settings
            if given not in known
        ]
        command = settings.get("command")
        if not command or not isinstance(command, str | list):
            problems.append(Problem("", 0, f"{place}.command", "`command` is missing", "the tap's program: command: tap-example"))
        if not isinstance(settings.get("config") or {}, dict):
            problems.append(Problem("", 0, f"{place}.config", "`config` is no mapping", "write what the tap's documentation asks for"))
        limit = settings.get("timeout_s", LONGEST_S)
        if isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0:
            problems.append(Problem("", 0, f"{place}.timeout_s", f"{limit!r} is no number above zero", f"such as {LONGEST_S}"))
        if problems:
            raise ConfigError(problems)
        for secret, value in (settings.get("secrets") or {}).items():
            keep_secret(str(secret), str(value))
        return cls(name, settings, directory=directory)

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        return {
            "type": "object",
            "title": "Singer tap",
            "properties": {
                "command": {
                    "type": ["string", "array"],
                    "items": {"type": "string"},
                    "title": "Command",
                    "description": "the tap's program, or a list of it and its arguments; it is run without a shell",
                    "examples": ["tap-example"],
                },
                "config": {
                    "type": "object",
                    "title": "Configuration",
                    "description": "what the tap's documentation asks for; it is given to it in a file that nobody else can read",
                },
                "secrets": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "title": "Secrets",
                    "description": "further members of the tap's configuration, which no message may show",
                },
                "timeout_s": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "title": "Time limit",
                    "description": "seconds that the tap may run; then it is ended",
                    "default": LONGEST_S,
                },
            },
            "required": ["command"],
            "additionalProperties": False,
        }

    # ---------------------------------------------------------------- the contract

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector: the streams of the tap's catalog."""
        return [self._info(stream, types_of(stream.get("schema") or {})) for stream in self._streams().values()]

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        stream = self._stream(obj)
        types = types_of(stream.get("schema") or {})
        self._need(obj, types, obj.key)
        return self._info(stream, types)

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector. The tap runs to its end before the first page is given, for a few keys as well."""
        stream = self._stream(obj)
        types = types_of(stream.get("schema") or {})
        self._need(obj, types, (*obj.key, *columns, *([obj.modified] if obj.modified is not None else [])))
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(tempfile.TemporaryFile())
            printed = self._printed(obj, stream, types, since)
            reading = self._latest(obj, printed, file)
            gone = () if since is None else printed.gone()
            cursor = None if printed.state is None or keys is not None else printed.state.decode()
            return _closing(opened.pop_all(), _told(reading.pages(columns, keys, page_rows), since, cursor, gone))

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        names, found = values.columns, []
        wanted = _comparable(values, names)
        for page in self.read(obj, list(dict.fromkeys([*columns, *names]))):
            here = _comparable(page.rows, names).with_columns(page.rows[KEY])
            kept = here.join(wanted, on=names, how="semi", nulls_equal=True)
            found.append(page.rows.join(kept.select(KEY), on=KEY, how="semi", maintain_order="left"))
        rows = pl.concat(found, how="diagonal")
        return rows.select(KEY, *columns, *(name for name in rows.columns if name.startswith("__") and name != KEY))

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Refused: raises WriteRefusedError."""
        del obj, batch
        raise WriteRefusedError("a tap only reads", hint="map it with direction: read", system=self.name)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """Nothing is made."""

    def close(self) -> None:
        """See base.Connector; no tap runs between two calls."""
        self._catalog = None

    # ---------------------------------------------------------------- the catalog

    def _streams(self) -> dict[str, dict[str, Any]]:
        if self._catalog is None:
            with tempfile.TemporaryFile() as told, self._running(["--discover"]) as process:
                assert process.stdout is not None
                shutil.copyfileobj(process.stdout, told)
                self._end(process)
                told.seek(0)
                try:
                    catalog = orjson.loads(told.read())
                    streams = {str(stream.get("stream") or stream["tap_stream_id"]): stream for stream in catalog["streams"]}
                except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                    raise self._wrong("what it prints with --discover is no catalog") from None
            self._catalog = streams
        return self._catalog

    def _stream(self, obj: ObjectSpec) -> dict[str, Any]:
        streams = self._streams()
        if obj.name in streams:
            return streams[str(obj.name)]
        near = difflib.get_close_matches(obj.name or "", streams, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the tap has {', '.join(streams) or 'none'}"
        raise ObjectMissingError(f"there is no stream {obj.name!r}", hint=hint, system=self.name)

    def _info(self, stream: Mapping[str, Any], types: Mapping[str, ColumnType]) -> ObjectInfo:
        columns = {name: ColumnInfo(name=name, type=kind, writable=False) for name, kind in types.items()}
        key = tuple(name for name in key_of(stream) if name in columns)
        return ObjectInfo(name=str(stream.get("stream") or stream["tap_stream_id"]), columns=columns, key=key, kind="resource")

    def _need(self, obj: ObjectSpec, types: Mapping[str, ColumnType], names: Sequence[str]) -> None:
        for name in names:
            if name not in types and not name.startswith("/"):
                near = difflib.get_close_matches(name, types, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(list(types)[:20])}"
                raise ObjectMissingError(f"{obj.name} has no column {name!r}", hint=hint, system=self.name)

    # ---------------------------------------------------------------- one run

    def _printed(self, obj: ObjectSpec, stream: Mapping[str, Any], types: Mapping[str, ColumnType], since: str | None) -> _Printed:
        """All that the tap prints of a stream, or what has changed since a state, when it has ended well."""
        catalog = {"streams": [selected(other, chosen=other is stream, modified=obj.modified) for other in self._streams().values()]}
        printed = _Printed(tempfile.TemporaryFile(), dict(types))  # noqa: SIM115 - closed when it was read
        try:
            with tempfile.TemporaryDirectory(prefix="trueup-tap-") as folder:
                path = Path(folder, "catalog.json")
                path.write_bytes(orjson.dumps(catalog))
                probe = self._reading(obj, printed.file, types)
                words = ["--catalog", str(path)]
                if since is not None:
                    Path(folder, "state.json").write_bytes(state_of(obj, since))
                    words += ["--state", str(Path(folder, "state.json"))]
                with self._running(words) as process:
                    self._follow(process, obj, printed, probe)
                    self._end(process)
        except BaseException:
            printed.file.close()
            raise
        return printed

    def _follow(self, process: subprocess.Popen[bytes], obj: ObjectSpec, printed: _Printed, probe: JsonlReading) -> None:
        assert process.stdout is not None
        number, place = 0, 0
        while line := process.stdout.readline(LINE_BYTES):
            number += 1
            if not line.strip():
                continue
            message = self._message(line, number)
            if message["type"] == "STATE" and obj.modified is not None and isinstance(message.get("value"), dict):
                printed.state = orjson.dumps(message["value"])
            if message.get("stream") != obj.name or message.get("type") not in {"SCHEMA", "RECORD"}:
                continue
            if message["type"] == "SCHEMA":
                printed.declared = True
                continue
            record = message.get("record")
            if not isinstance(record, dict) or not printed.declared:
                what = "a RECORD comes before the SCHEMA of its stream" if isinstance(record, dict) else "a RECORD holds no record"
                raise self._wrong(f"{what} (line {number} of what it prints)")
            raw = _raw_record(line) + b"\n"
            try:
                key = probe.learn(raw)
            except CellRefusedError:
                key = None
            printed.file.write(raw)
            printed.places.append((key, place, 0 if record.get(_DELETED) is not None else len(raw)))
            place += len(raw)

    def _message(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise self._wrong(f"line {number} of what it prints is no message of a tap")
        return message

    def _latest(self, obj: ObjectSpec, printed: _Printed, file: IO[bytes]) -> JsonlReading:
        """A reading of the latest record of each key."""
        with printed.file as source:
            source.flush()
            last = {key: index for index, (key, _, _) in enumerate(printed.places) if key is not None}
            for index, (key, place, size) in enumerate(printed.places):
                if size and (key is None or last[key] == index):
                    source.seek(place)
                    file.write(source.read(size))
        file.flush()
        return self._reading(obj, file, printed.columns)

    def _reading(self, obj: ObjectSpec, file: IO[bytes], types: Mapping[str, ColumnType]) -> JsonlReading:
        file.flush()
        return JsonlReading(
            system=self.name,
            path=Path(f"the stream {obj.name}"),
            stamp=stamp(file),
            file=file,
            source=file,
            columns={},
            key_columns=obj.key,
            declared=types,
        )

    @contextlib.contextmanager
    def _running(self, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """The tap at work, with its configuration; whatever is left of it at the end of the block is ended."""
        config = {**(self._settings.get("config") or {}), **(self._settings.get("secrets") or {})}
        with tempfile.TemporaryDirectory(prefix="trueup-tap-") as folder, tempfile.TemporaryFile() as said:
            path = Path(folder, "config.json")
            path.touch(mode=0o600)
            path.write_bytes(orjson.dumps(config))
            try:
                process = subprocess.Popen(  # noqa: S603 - the configuration names it; no shell is between
                    [*self._command, "--config", str(path), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    cwd=self._directory,
                    start_new_session=True,
                )
            except OSError as error:
                raise SystemUnreachableError(
                    f"the tap {self._command[0]!r} cannot be started: {error.strerror}",
                    hint="install it, or correct `command`",
                    system=self.name,
                ) from None
            late = threading.Event()

            def out_of_time() -> None:
                late.set()
                _signal(process, signal.SIGKILL)

            timer = threading.Timer(float(self._settings.get("timeout_s") or LONGEST_S), out_of_time)
            timer.daemon = True
            timer.start()
            self._said, self._late = said, late
            try:
                yield process
            finally:
                timer.cancel()
                _stop(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the tap's end. Raises SystemUnreachableError where it did not end well: nothing that it printed counts then."""
        status = process.wait()
        if self._late.is_set():
            limit = float(self._settings.get("timeout_s") or LONGEST_S)
            raise SystemUnreachableError(f"the tap ran for more than {limit:g} s", hint="raise `timeout_s`", system=self.name)
        if status:
            self._said.seek(0)
            found = _ERROR.findall(self._said.read()[-65_536:])
            what = f" ({found[-1].decode()})" if found else ""
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise SystemUnreachableError(
                f"the tap {how}{what}", hint="run it by hand to see all that it says; nothing that it printed was taken", system=self.name
            )

    def _wrong(self, what: str) -> ObjectUnreadableError:
        return ObjectUnreadableError(what, hint=f"is {self._command[0]!r} a Singer tap?", system=self.name)


def types_of(schema: Mapping[str, Any]) -> dict[str, ColumnType]:
    """The columns of a stream's JSON Schema. Dates are texts in Singer, and read as such."""
    return {str(name): _type_of(said if isinstance(said, dict) else {}) for name, said in (schema.get("properties") or {}).items()}


def _type_of(said: Mapping[str, Any]) -> ColumnType:
    options = [said, *(option for option in said.get("anyOf") or () if isinstance(option, dict))]
    kinds: set[str] = set()
    for option in options:
        told = option.get("type")
        kinds |= {told} if isinstance(told, str) else set(told or ())
    kinds.discard("null")
    if kinds <= {"integer"} and kinds:
        return "integer"
    if kinds <= {"integer", "number"} and kinds:
        return "decimal"
    if kinds == {"boolean"}:
        return "boolean"
    if kinds == {"array"}:
        items = said.get("items")
        return "list" if isinstance(items, dict) and _type_of(items) == "text" else "json"
    return "json" if "object" in kinds else "text"


def key_of(stream: Mapping[str, Any]) -> tuple[str, ...]:
    """The key columns that a stream names: beside its schema, or in its metadata, as older and newer taps do."""
    given = stream.get("key_properties")
    for entry in stream.get("metadata") or ():
        if isinstance(entry, dict) and not entry.get("breadcrumb"):
            given = given or (entry.get("metadata") or {}).get("table-key-properties")
    return tuple(str(name) for name in given or ())


def selected(stream: Mapping[str, Any], *, chosen: bool, modified: str | None = None) -> dict[str, Any]:
    """A stream of a catalog, selected or not: by its metadata, and in its schema, where taps before 2018 look.

    `modified`: its replication key; None: all of it is to be shown.
    """
    found: dict[str, Any] = copy.deepcopy(dict(stream))
    found.setdefault("schema", {})["selected"] = chosen
    metadata = found.setdefault("metadata", [])
    own = next((entry for entry in metadata if not entry.get("breadcrumb")), None)
    if own is None:
        own = {"breadcrumb": [], "metadata": {}}
        metadata.append(own)
    own.setdefault("metadata", {})["selected"] = chosen
    if chosen:
        how = (
            {"replication-method": "FULL_TABLE"} if modified is None else {"replication-method": "INCREMENTAL", "replication-key": modified}
        )
        own["metadata"].update(how)
        found["replication_method"] = how["replication-method"]
        if modified is not None:
            found["replication_key"] = modified
        known = {tuple(entry.get("breadcrumb") or ()): entry for entry in metadata}
        for name in found["schema"].get("properties") or {}:
            entry = known.get(("properties", name))
            if entry is None:
                metadata.append({"breadcrumb": ["properties", name], "metadata": {"selected": True}})
            elif entry.setdefault("metadata", {}).get("inclusion") != "unsupported":
                entry["metadata"]["selected"] = True
    return found


def _raw_record(line: bytes) -> bytes:
    """The record of a message with the digits of its numbers as they were printed."""
    message = json.loads(line, parse_float=_Digits, parse_int=int)
    return _dumped(message["record"]).encode()


class _Digits(str):
    """A number with its own digits."""

    __slots__ = ()


def _dumped(value: Any) -> str:
    match value:
        case _Digits():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)}: {_dumped(item)}" for name, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_dumped, value)) + "]"
        case _:
            return json.dumps(value)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the tap and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _comparable(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    is_list = {name: isinstance(rows.schema[name], pl.List) for name in names}
    return rows.select(pl.col(name).list.join("\x00") if is_list[name] else pl.col(name).cast(pl.String) for name in names)


def state_of(obj: ObjectSpec, since: str) -> bytes:
    """The STATE to begin with: one that the tap printed, or, as the Singer SDK writes it, a bookmark at a value of the column."""
    try:
        state = orjson.loads(since)
    except orjson.JSONDecodeError:
        state = since
    if not isinstance(state, dict):
        state = {"bookmarks": {str(obj.name): {"replication_key": obj.modified, "replication_key_value": state}}}
    return orjson.dumps(state)


def _told(pages: Iterator[Page], since: str | None, cursor: str | None, gone: tuple[str, ...]) -> Iterator[Page]:
    """The pages with their cursors. What a tap prints counts as a whole: until the last page it is the one that it began with."""
    for page in pages:
        yield replace(page, cursor=cursor or since, gone=gone) if page.complete else replace(page, cursor=since)


def _closing(opened: contextlib.ExitStack, pages: Iterator[Page]) -> Iterator[Page]:
    with opened:
        yield from pages
