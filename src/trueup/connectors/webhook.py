"""Systems that only push: what they sent by webhook is what they hold, per key the latest message by its moment.

Nothing of such a system can be asked for again, so its messages are kept (`store/inbox.py`); where they are comes from outside, by
`receive_from`. A message is an object of JSON; columns are its members (`email`) or JSON Pointers into it (`/lead/email`), and a column's
type is what all of its values have in common, as in a JSON Lines file, unless the mapping declares it (`options: {columns: {name: type}}`).
"""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page
from trueup.connectors.filebase import stamp
from trueup.connectors.filerows import CellRefusedError
from trueup.connectors.jsonl_rows import DECLARABLE, JsonlReading
from trueup.core.cells import KEY
from trueup.errors import ConfigError, ObjectMissingError, ObjectUnreadableError, Problem, SystemUnreachableError, WriteRefusedError
from trueup.model import Caps, ColumnInfo, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.connectors.base import Letterbox, Received, WriteBatch
    from trueup.model import ColumnType

AT_ONCE = 5_000
"""So many messages are looked at in one go."""


@dataclass(slots=True)
class _Shelf:
    """What is known of the messages about one object: per key the latest one. Bodies stay where they are."""

    probe: JsonlReading
    seen: set[int] = field(default_factory=set)
    latest: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    loose: set[int] = field(default_factory=set)  # messages without a usable key: each is a row that cannot be read

    def learn(self, message: Received) -> None:
        """Take a message in; they may come in any order."""
        try:
            key = self.probe.learn(_line(message.body))
        except CellRefusedError:
            key = None
        if key is None:
            self.loose.add(message.id)
        else:
            self.latest[key] = max(self.latest.get(key, (message.at, message.id)), (message.at, message.id))

    def numbers(self, keys: Sequence[str] | None) -> list[int]:
        """The messages that count, of all keys or of these."""
        if keys is None:
            return [*(number for _, number in self.latest.values()), *self.loose]
        return [self.latest[key][1] for key in dict.fromkeys(keys) if key in self.latest]


class WebhookConnector:
    """One system that only pushes. Used by one thread at a time."""

    caps = Caps(kind="push", creates=False, updates=False, deletes=False, find=True)

    def __init__(self, name: str, letterbox: Letterbox | None = None) -> None:
        """Remember the name; `letterbox` as in `receive_from`."""
        self.name = name
        self._letterbox = letterbox
        self._shelves: dict[tuple[Any, ...], _Shelf] = {}

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See the contract; there is nothing to set."""
        del directory
        if settings:
            unknown = [Problem("", 0, f"systems.{name}.{given}", "unknown setting", "it has none of its own") for given in settings]
            raise ConfigError(unknown)
        return cls(name)

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See the contract."""
        return {"type": "object", "title": "System that only pushes", "properties": {}, "required": [], "additionalProperties": False}

    def receive_from(self, letterbox: Letterbox) -> None:
        """Read messages there."""
        self._letterbox = letterbox

    # ---------------------------------------------------------------- the contract

    def discover(self) -> list[ObjectInfo]:
        """See the contract: the objects that messages name."""
        letterbox = self._box()
        names = dict.fromkeys(message.object for message in _in_parts(letterbox, letterbox.pushed(self.name)))
        found = []
        for name in names:
            obj = ObjectSpec(name=name, key=())
            infos = _infos(self._columns(obj, self._shelf(obj)))
            found.append(ObjectInfo(name=name or self.name, columns=infos, kind="resource"))
        return found

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See the contract. Raises ObjectMissingError where no message about it has come yet."""
        shelf, columns = self._known(obj)
        missing = [name for name in obj.key if name not in columns]
        if missing:
            raise self._no_member(missing[0], columns)
        return ObjectInfo(name=obj.name or self.name, columns=_infos(columns), kind="resource", rows=len(shelf.latest))

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See the contract. Nothing is read by cursor, so `since` is not looked at. A pointer that leads nowhere is absent in each row."""
        del since
        shelf, known = self._known(obj)
        for name in columns:
            if name not in known and not name.startswith("/"):
                raise self._no_member(name, known)
        file = self._written(shelf.numbers(keys))
        try:
            reading = self._reading(obj, file, known)
        except BaseException:
            file.close()
            raise
        return _closing(file, reading.pages(columns, keys, page_rows))

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See the contract."""
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
        raise WriteRefusedError(
            "this system only pushes, nothing can be written to it", hint="map it with direction: read", system=self.name
        )

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """Nothing is made."""

    def close(self) -> None:
        """See the contract; the letterbox belongs to whoever gave it."""
        self._shelves.clear()

    # ---------------------------------------------------------------- inside

    def _box(self) -> Letterbox:
        if self._letterbox is None:
            raise SystemUnreachableError("nobody has said where its messages are kept", hint="run it by trueup itself", system=self.name)
        return self._letterbox

    def _shelf(self, obj: ObjectSpec) -> _Shelf:
        """What is known of an object, brought up to date: messages that came are read, and after some went all are read again."""
        letterbox, place = self._box(), (obj.name, obj.key)
        shelf = self._shelves.get(place)
        present = set(letterbox.pushed(self.name))
        if shelf is None or not shelf.seen <= present:
            shelf = self._shelves[place] = _Shelf(self._probe(obj))
        for message in _in_parts(letterbox, sorted(present - shelf.seen)):
            if obj.name is None or message.object == obj.name:
                shelf.learn(message)
            shelf.seen.add(message.id)
        return shelf

    def _probe(self, obj: ObjectSpec) -> JsonlReading:
        with self._written([]) as nothing:
            return self._reading(obj, nothing, {})

    def _known(self, obj: ObjectSpec) -> tuple[_Shelf, dict[str, ColumnType]]:
        """What is known of an object, and its columns. Raises ObjectMissingError where nothing is, and no column is declared."""
        shelf = self._shelf(obj)
        columns = self._columns(obj, shelf)
        if not columns:
            raise ObjectMissingError(
                f"nothing about {obj.name or 'anything'} was pushed yet",
                hint=f"let the system send to /hooks/{self.name} while `trueup serve` runs",
                system=self.name,
            )
        return shelf, columns

    def _no_member(self, name: str, known: Mapping[str, ColumnType]) -> ObjectMissingError:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "they have: " + ", ".join(map(repr, list(known)[:20]))
        return ObjectMissingError(f"no message has {name!r}", hint=hint, system=self.name)

    def _columns(self, obj: ObjectSpec, shelf: _Shelf) -> dict[str, ColumnType]:
        declared = dict(obj.options.get("columns") or {})
        unknown = [kind for kind in declared.values() if kind not in DECLARABLE]
        if unknown:
            raise ObjectUnreadableError(
                f"a column cannot be declared as {unknown[0]!r}", hint=f"there are {', '.join(DECLARABLE)}", system=self.name
            )
        known: dict[str, ColumnType] = {**shelf.probe.learned(), **declared}
        # A member of the whole message may be named as a pointer, too: `/number` is `number`.
        return known | {name: known[name[1:]] for name in obj.key if name.startswith("/") and name not in known and name[1:] in known}

    def _written(self, numbers: Sequence[int]) -> IO[bytes]:
        """These messages, one on each line, in a file without a name."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
        for message in _in_parts(self._box(), numbers):
            file.write(_line(message.body))
        file.flush()
        return file

    def _reading(self, obj: ObjectSpec, file: IO[bytes], known: Mapping[str, ColumnType]) -> JsonlReading:
        return JsonlReading(
            system=self.name,
            path=Path(f"the messages of {self.name}"),
            stamp=stamp(file),
            file=file,
            source=file,
            columns={},
            key_columns=obj.key,
            declared=known,
        )


def _infos(columns: Mapping[str, ColumnType]) -> dict[str, ColumnInfo]:
    return {name: ColumnInfo(name=name, type=kind, writable=False) for name, kind in columns.items()}


def _line(body: bytes) -> bytes:
    """A message on one line: in JSON, line ends stand only where a blank may."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def _in_parts(letterbox: Letterbox, numbers: Sequence[int]) -> Iterator[Received]:
    for start in range(0, len(numbers), AT_ONCE):
        yield from letterbox.messages(numbers[start : start + AT_ONCE])


def _comparable(rows: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    is_list = {name: isinstance(rows.schema[name], pl.List) for name in names}
    return rows.select(pl.col(name).list.join("\x00") if is_list[name] else pl.col(name).cast(pl.String) for name in names)


def _closing(file: IO[bytes], pages: Iterator[Page]) -> Iterator[Page]:
    with contextlib.closing(file):
        yield from pages
