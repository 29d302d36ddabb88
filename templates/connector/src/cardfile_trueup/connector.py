"""Reads and writes card files: a folder in which each NAME.json is an object with columns, a key and rows, all of them texts."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import polars as pl
from trueup.connectors.base import OUTCOME_SCHEMA, PAGE_ROWS, Page, Reject, WriteBatch, join_key, split_key
from trueup.errors import ObjectMissingError, ObjectUnreadableError, SystemUnreachableError, UsageError
from trueup.model import Caps, ColumnInfo, ObjectInfo, ObjectSpec

Row = dict[str, str | None]


class CardFileConnector:
    """One folder of card files. Writes hold a lock and replace the file at once, so that nobody sees half of one."""

    caps = Caps(kind="file", precondition="native", stored_row=True, find=True, assigns_keys=True, atomic=True)

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        unknown = sorted(settings.keys() - {"path"})
        if unknown:
            raise UsageError(f"unknown setting {unknown[0]!r}", hint="a card file system knows `path`", system=name)
        if not isinstance(settings.get("path"), str):
            raise UsageError("`path` is missing", hint="name the folder of the card files: path: cards", system=name)
        return cls(name, Path(directory, settings["path"]))

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        path = {"type": "string", "title": "Folder", "description": "The folder of the card files", "examples": ["cards"]}
        return {"type": "object", "properties": {"path": path}, "required": ["path"], "additionalProperties": False}

    # ---------------------------------------------------------------- what there is

    def discover(self) -> list[ObjectInfo]:
        if not self._folder.is_dir():
            raise SystemUnreachableError(f"there is no folder {self._folder}", hint="correct `path`", system=self.name)
        return [self.describe(ObjectSpec(name=path.stem, key=())) for path in sorted(self._folder.glob("*.json"))]

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        box = self._box(obj)
        self._need(obj, box, obj.key)
        columns = {name: ColumnInfo(name=name, type="text") for name in box["columns"]}
        return ObjectInfo(name=obj.label, columns=columns, key=tuple(obj.key or box["key"]), assigns_key=True)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        if obj.create and not self._path(obj).exists():
            self._save(obj, {"columns": list(dict.fromkeys([*obj.key, *columns])), "key": list(obj.key), "rows": []})

    def close(self) -> None:
        """Nothing is kept open."""

    def _path(self, obj: ObjectSpec) -> Path:
        return self._folder / f"{obj.name}.json"

    def _box(self, obj: ObjectSpec) -> dict[str, Any]:
        try:
            box = json.loads(self._path(obj).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ObjectMissingError(f"there is no card file {obj.name!r}", hint=f"look into {self._folder}", system=self.name) from None
        except (OSError, ValueError) as error:
            raise ObjectUnreadableError(f"{obj.name}.json cannot be read: {error}", hint="repair the file", system=self.name) from error
        if not isinstance(box, dict) or not {"columns", "key", "rows"} <= box.keys():
            raise ObjectUnreadableError(f"{obj.name}.json is no card file", hint="it has columns, key and rows", system=self.name)
        return box

    def _need(self, obj: ObjectSpec, box: Mapping[str, Any], names: Sequence[str]) -> None:
        for name in names:
            if name not in box["columns"]:
                hint = f"its columns are {', '.join(box['columns'])}"
                raise ObjectMissingError(f"{obj.label} has no column {name!r}", hint=hint, system=self.name)

    # ---------------------------------------------------------------- reading

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        if since is not None:
            raise ObjectUnreadableError(f"{obj.label} cannot be read from a cursor", hint="read everything", system=self.name)
        box = self._box(obj)
        self._need(obj, box, (*columns, *obj.key))
        rows, rejected = _told_apart(box["rows"], obj.key)
        if keys is not None:
            wanted = set(keys)
            rows = {key: row for key, row in rows.items() if key in wanted}
            rejected = [reject for reject in rejected if reject.key in wanted]
        frame = _frame(rows, columns)
        parts = list(frame.iter_slices(page_rows)) or [frame]
        pages = [Page(part) for part in parts[:-1]]
        return iter([*pages, Page(parts[-1], complete=True, rejected=tuple(rejected))])

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        box = self._box(obj)
        self._need(obj, box, (*columns, *values.columns, *obj.key))
        wanted = set(values.rows())
        rows, _ = _told_apart(box["rows"], obj.key)
        return _frame({key: row for key, row in rows.items() if tuple(row.get(name) for name in values.columns) in wanted}, columns)

    # ---------------------------------------------------------------- writing

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        with self._alone():
            box = self._box(obj)
            self._need(obj, box, (*batch.columns, *batch.returning))
            rows, rejected = _told_apart(box["rows"], obj.key)
            doubled = {reject.key for reject in rejected if reject.key is not None}
            left = [row for row in box["rows"] if _key_of(row, obj.key) not in rows]
            expected = {} if batch.expected is None else {row.pop("__op"): row for row in batch.expected.to_dicts()}
            done = [self._one(obj, batch, row, rows, doubled, expected.get(row["__op"])) for row in batch.rows.to_dicts()]
            self._save(obj, {**box, "rows": [*rows.values(), *left]})
        schema = {**OUTCOME_SCHEMA, **dict.fromkeys(batch.returning, pl.String())}
        return pl.DataFrame([{name: one.get(name) for name in schema} for one in done], schema=schema)

    def _one(
        self,
        obj: ObjectSpec,
        batch: WriteBatch,
        row: dict[str, Any],
        rows: dict[str, Row],
        doubled: set[str],
        expected: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Carry out one operation on `rows`, and tell its outcome."""
        op, key, written = row.pop("__op"), row.pop("__key"), row.pop("__write", None)
        values: Row = row if written is None else {name: row[name] for name in written}
        if batch.kind == "create":
            return self._created(obj, batch, op, key, values, rows, doubled)
        here = rows.get(key)
        if key in doubled:
            return _told(op, "rejected", key, "the key stands for several rows", obj.key[0])
        if here is None:
            return _told(op, "gone", key, "there is no row with this key")
        compared = values if batch.kind == "update" else (expected or {})
        if expected is not None and any(here.get(name) != expected[name] for name in compared if name in expected and name != "__version"):
            return _told(op, "stale", key, "the row changed since it was read")
        if batch.kind == "delete":
            del rows[key]
            return _told(op, "done", key)
        moved = [name for name in obj.key if name in values and values[name] != here.get(name)]
        if moved:
            return _told(op, "rejected", key, "the key of a row cannot be changed", moved[0])
        here.update(values)
        return {**_told(op, "done", key), "__stored": True, **{name: here.get(name) for name in batch.returning}}

    def _created(
        self, obj: ObjectSpec, batch: WriteBatch, op: int, key: str | None, values: Row, rows: dict[str, Row], doubled: set[str]
    ) -> dict[str, Any]:
        own: Row = dict(values)
        if key is not None:
            own |= dict(zip(obj.key, split_key(key, len(obj.key)) if len(obj.key) > 1 else [key], strict=True))
        elif any(own.get(name) is None for name in obj.key):
            own |= {name: str(uuid.uuid4()) for name in obj.key}
        told = _key_of(own, obj.key)
        if told is None or told in rows or told in doubled:
            return _told(op, "rejected", key, f"a row with the key {told} exists", obj.key[0])
        rows[told] = own
        return {**_told(op, "done", told), "__stored": True, **{name: own.get(name) for name in batch.returning}}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes into this folder meanwhile."""
        try:
            with (self._folder / ".lock").open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise SystemUnreachableError(
                f"{self._folder} cannot be written: {error}", hint="correct its rights", system=self.name
            ) from error

    def _save(self, obj: ObjectSpec, box: Mapping[str, Any]) -> None:
        path = self._path(obj)
        beside = path.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(box, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def _key_of(row: Row, key: Sequence[str]) -> str | None:
    parts = [row.get(name) for name in key]
    told = [part for part in parts if part]
    return None if len(told) < len(parts) else told[0] if len(told) == 1 else join_key(told)


def _told_apart(rows: Sequence[Row], key: Sequence[str]) -> tuple[dict[str, Row], list[Reject]]:
    """Rows by their key, and those that have none, or another one's."""
    names = ", ".join(key)
    keys = [_key_of(row, key) for row in rows]
    times = Counter(keys)
    found: dict[str, Row] = {}
    rejected: list[Reject] = []
    for number, (told, row) in enumerate(zip(keys, rows, strict=True), start=1):
        if told is None:
            rejected.append(Reject(None, f"the key ({names}) is empty", f"row {number}", names))
        elif times[told] > 1:
            rejected.append(Reject(told, f"the key ({names}) occurs more than once", f"row {number}", names))
        else:
            found[told] = row
    return found, rejected


def _frame(rows: Mapping[str, Row], columns: Sequence[str]) -> pl.DataFrame:
    series = [pl.Series("__key", list(rows), dtype=pl.String)]
    series += [pl.Series(name, [row.get(name) for row in rows.values()], dtype=pl.String) for name in columns]
    return pl.DataFrame(series)


def _told(op: int, status: str, key: str | None, reason: str | None = None, field: str | None = None) -> dict[str, Any]:
    return {"__op": op, "__status": status, "__key": key, "__reason": reason, "__field": field, "__stored": False}
