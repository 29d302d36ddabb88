"""Checking a package before anything is done with it: that it is whole, that it is what its maker wrote, and that it says the truth.

In this order, so that each finding is told as what it is:

    half-copied   the statement or a file is not there, or shorter than stated
    tampered      a signature or a hash does not fit, or a file is longer than stated
    wrong         names, types, encoding, order, counts or totals are not as stated: its maker's mistake
"""

from __future__ import annotations

import csv
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
import polars as pl

from trueup.core.cells import NULL
from trueup.errors import PackageError
from trueup.exchange.signing import check_signature
from trueup.exchange.statement import FILE, ID, LARGEST_STATEMENT, SIGNATURE, read_statement
from trueup.exchange.values import Totals, first_bad, same_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from trueup.exchange.naming import PackageName
    from trueup.exchange.statement import Resource, Statement

BLOCK_BYTES = 1 << 20
CHUNK_ROWS = 20_000
SHOWN = 40
csv.field_size_limit(1 << 30)  # a text may be longer than the 128 kB that the module expects

Rows = list[list[str | None]]


def check_package(folder: Path, name: PackageName, *, signers: Sequence[str] = ()) -> Statement:
    """Check that the package is whole and untouched, and is the one that its name says; its rows are checked by `checked_rows`.

    With `signers` (public keys), one of them must have signed it. Raises PackageError.
    """
    raw = _statement_text(folder)
    statement = read_statement(raw)
    for resource in statement.resources:
        _check_size(folder, resource)
    if signers:
        if statement.signed and not (folder / SIGNATURE).exists():
            raise PackageError(f"{SIGNATURE} is not there yet", kind="half-copied")
        check_signature(raw, folder / SIGNATURE, signers)
    for resource in statement.resources:
        _check_hash(folder, resource)
    if (statement.entity, statement.sequence) != (name.entity, name.number):
        said = f"{statement.entity}-{statement.sequence:06d}"
        raise PackageError(f"it says that it is {said}", kind="tampered", hint="packages must not be renamed")
    known = {FILE, SIGNATURE, *(one.path for one in statement.resources)}
    more = sorted(path.name for path in folder.iterdir() if path.name not in known)
    if more:
        raise PackageError(f"it holds a file that it does not speak of: {more[0]!r}", kind="tampered")
    return statement


def _statement_text(folder: Path) -> bytes:
    path = folder / FILE
    try:
        if path.stat().st_size > LARGEST_STATEMENT:
            raise PackageError(f"{FILE} is too large", kind="wrong")
        return path.read_bytes()
    except FileNotFoundError:
        raise PackageError(f"{FILE} is not there yet", kind="half-copied") from None


def _check_size(folder: Path, resource: Resource) -> None:
    try:
        size = (folder / resource.path).stat().st_size
    except FileNotFoundError:
        raise PackageError(f"{resource.path} is not there yet", kind="half-copied") from None
    if size < resource.bytes:
        raise PackageError(f"{resource.path} has {size:,} of {resource.bytes:,} bytes", kind="half-copied")
    if size > resource.bytes:
        raise PackageError(f"{resource.path} has {size:,} bytes, and {resource.bytes:,} were written", kind="tampered")


def _check_hash(folder: Path, resource: Resource) -> None:
    digest = sha256()
    with (folder / resource.path).open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != resource.hash:
        raise PackageError(f"{resource.path} is not what was written: its SHA-256 differs", kind="tampered")


def checked_rows(folder: Path, statement: Statement, resource: Resource) -> Iterator[pl.DataFrame]:
    """The rows of one file as frames of cells, each checked before it is given; at the end, their number, and the totals of the records.

    A package counts only when all of both files was given. Raises PackageError (wrong).
    """
    of_records = resource is statement.records
    totals, rows, last = Totals(resource.columns if of_records else ()), 0, 0
    for frame in _frames(folder, statement, resource):
        for column in resource.columns:
            at = first_bad(frame[column.name], column.type)
            if at is not None:
                cell = frame[column.name][at]
                _wrong(resource, rows + at, f"{column.name}: {_shown(cell)} is not written as its type, {column.type}")
        last = _check_order(frame, resource, rows, last)
        totals.add(frame)
        rows += frame.height
        yield frame
    stated = statement.rows if of_records else statement.gone_rows
    if rows != stated:
        raise PackageError(f"{resource.path} has {rows:,} rows, and says {stated:,}", kind="wrong")
    for name, total in totals.texts.items():
        if not same_number(total, statement.totals[name]):
            raise PackageError(f"{resource.path}: {name} adds up to {total}, and the package says {statement.totals[name]}", kind="wrong")


def _check_order(frame: pl.DataFrame, resource: Resource, before: int, last: int) -> int:
    """The last id; each must be larger than the one before it."""
    ids = frame[ID].cast(pl.Int64, strict=False)
    if ids.null_count():
        _wrong(resource, before + next(iter(ids.is_null().arg_true())), f"{ID} is missing")
    previous = pl.concat([pl.Series([last], dtype=pl.Int64), ids])
    falling = (ids <= previous[: ids.len()]).arg_true()
    if falling.len():
        at = falling[0]
        words = "is there twice" if ids[at] == previous[at] else "is out of order"
        _wrong(resource, before + at, f"{ID} {ids[at]} {words}")
    return int(ids[-1])


def _frames(folder: Path, statement: Statement, resource: Resource) -> Iterator[pl.DataFrame]:
    rows = _csv_rows(folder, statement, resource) if resource.form == "csv" else _json_rows(folder, resource)
    names = [column.name for column in resource.columns]
    chunk: Rows = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield _frame(chunk, names)
            chunk = []
    if chunk:
        yield _frame(chunk, names)


def _frame(rows: Rows, names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _csv_rows(folder: Path, statement: Statement, resource: Resource) -> Iterator[list[str | None]]:
    cells: dict[str, str | None] = {statement.null: NULL, statement.absent: None}
    names = [column.name for column in resource.columns]
    number = -1
    with (folder / resource.path).open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, None)
            if header != names:
                raise PackageError(f"{resource.path}: its columns are not {', '.join(names)}, in this order", kind="wrong")
            for number, row in enumerate(reader):
                if len(row) != len(names):
                    _wrong(resource, number, f"it has {len(row)} values, and there are {len(names)} columns")
                if any("\x00" in value for value in row):
                    _wrong(resource, number, "it holds a NUL character")
                yield [cells.get(value, value) for value in row]
        except UnicodeDecodeError as error:
            _not_utf8(resource, error)
        except csv.Error as error:
            _wrong(resource, number + 1, f"it is no CSV: {error}")


def _json_rows(folder: Path, resource: Resource) -> Iterator[list[str | None]]:
    kinds = {column.name: column.type for column in resource.columns}
    number = -1
    with (folder / resource.path).open("rb") as file:
        for number, line in enumerate(file):
            try:
                row = json.loads(line, object_pairs_hook=_members, parse_float=_Number, parse_int=_Number, parse_constant=_no_constant)
            except UnicodeDecodeError as error:
                _not_utf8(resource, error)
            except ValueError as error:
                _wrong(resource, number, f"it is no JSON: {error}")
            if not isinstance(row, dict):
                _wrong(resource, number, "it is no JSON object")
            unknown = [name for name in row if name not in kinds]
            if unknown:
                _wrong(resource, number, f"it has a member that the package does not speak of: {unknown[0]!r}")
            yield [_cell(row[name], kind, resource, number, name) if name in row else None for name, kind in kinds.items()]


class _Number(str):
    """A number as it is written: no digit of it is lost."""

    __slots__ = ()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _cell(value: Any, kind: str, resource: Resource, number: int, name: str) -> str | None:
    """A value as a cell. A value of another JSON type than its column's raises PackageError."""
    if value is None:
        return NULL
    if kind in {"list", "json"}:
        return _plain_json(value)
    fits = {
        "integer": isinstance(value, _Number),
        "decimal": isinstance(value, str),
        "boolean": isinstance(value, bool),
    }.get(kind, isinstance(value, str) and not isinstance(value, _Number))
    if not fits or (isinstance(value, str) and "\x00" in value):
        _wrong(resource, number, f"{name}: {_shown(str(value))} is not written as its type, {kind}")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _plain_json(value: Any) -> str:
    """JSON text of what was read, each number as it was written."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{orjson.dumps(name).decode()}:{_plain_json(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_plain_json, value)) + "]"
    return orjson.dumps(value).decode()


def _not_utf8(resource: Resource, error: UnicodeDecodeError) -> NoReturn:
    raise PackageError(f"{resource.path} is not in UTF-8 ({error.reason})", kind="wrong") from None


def _wrong(resource: Resource, row: int, what: str) -> NoReturn:
    """`row` counts from nought."""
    raise PackageError(f"{resource.path}, row {row + 1:,}: {what}", kind="wrong")


def _shown(cell: str | None) -> str:
    text = "null" if cell in {None, NULL} else f'"{cell}"'
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def all_ids(frames: Iterable[pl.DataFrame]) -> pl.Series:
    """The ids of all rows."""
    parts = [frame[ID].cast(pl.Int64) for frame in frames]
    return pl.concat(parts) if parts else pl.Series(ID, [], dtype=pl.Int64)
