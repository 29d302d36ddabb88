"""Writing a package into an empty folder. Nobody sees it there: under its name it is published when it is whole (`places.py`)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import NULL, records_to_json
from trueup.exchange.statement import FILE, GONE_COLUMNS, ID, Column, Resource, Statement, resource_names
from trueup.exchange.values import Totals
from trueup.model import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from trueup.exchange.statement import Head


class _MarkTakenError(Exception):
    """A value reads like the mark of null or absent: another one is needed."""


def write_package(folder: Path, head: Head, records: Callable[[], Iterable[pl.DataFrame]], gone: Callable[[], pl.DataFrame]) -> Statement:
    """Write both files and the statement, each forced to disk by whoever publishes them.

    `records()` gives frames of the head's columns, in the order of their ids: the id as a number, the others as cells. It may be asked
    again. `gone()`, asked after it, gives the columns of GONE_COLUMNS as cells, by id. Raises OSError.
    """
    (name, path), (gone_name, gone_path) = resource_names(head.entity, head.form)
    gone_columns = tuple(Column(*one) for one in GONE_COLUMNS)
    for length in count(1):
        null, absent = "\\" + "N" * length, "\\" + "A" * length
        try:
            written = _write(folder / path, _Lines(head.form, head.columns, null, absent).of(records()), Totals(head.columns))
            other = _write(folder / gone_path, _Lines("csv", gone_columns, null, absent).of([gone()]), Totals(()))
        except _MarkTakenError:
            continue
        statement = Statement(
            entity=head.entity,
            sequence=head.sequence,
            cutoff=head.cutoff,
            timezone=head.timezone,
            exported_at=head.exported_at,
            form=head.form,
            records=Resource(name, path, head.columns, written.hash, written.size),
            gone=Resource(gone_name, gone_path, gone_columns, other.hash, other.size),
            rows=written.rows,
            gone_rows=other.rows,
            totals=written.totals.texts,
            null=null,
            absent=absent,
            signed=head.signed,
        )
        (folder / FILE).write_bytes(statement.text())
        return statement
    raise AssertionError


@dataclass
class _Written:
    """What was written of a file."""

    totals: Totals
    rows: int = 0
    size: int = 0
    hash: str = ""


def _write(path: Path, parts: Iterator[tuple[pl.DataFrame, bytes]], totals: Totals) -> _Written:
    found, digest, last = _Written(totals), sha256(), 0
    with path.open("wb") as file:
        for rows, text in parts:
            file.write(text)
            digest.update(text)
            found.size += len(text)
            found.rows += rows.height
            found.totals.add(rows)
            if rows.height:
                ids = rows[ID].cast(pl.Int64)
                assert ids[0] > last
                assert ids.is_sorted()
                last = ids[-1]
    found.hash = digest.hexdigest()
    return found


class _Lines:
    """Frames as text, each with the rows that it tells."""

    def __init__(self, form: str, columns: tuple[Column, ...], null: str, absent: str) -> None:
        self._form = form
        self._columns = columns
        self._names = [column.name for column in columns]
        self._texts = [column.name for column in columns if column.type == "text"]
        self._null, self._absent = null, absent

    def of(self, frames: Iterable[pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, bytes]]:
        if self._form == "csv":
            yield pl.DataFrame(schema=dict.fromkeys(self._names, pl.String)), self._csv(None)
        for frame in frames:
            rows = frame.select(pl.col(name).cast(pl.String) for name in self._names)
            if rows.height:
                yield rows, self._csv(rows) if self._form == "csv" else json_lines(rows, self._columns)

    def _csv(self, rows: pl.DataFrame | None) -> bytes:
        out = io.BytesIO()
        if rows is None:
            pl.DataFrame(schema=dict.fromkeys(self._names, pl.String)).write_csv(out, line_terminator="\n")
            return out.getvalue()
        for name in self._texts:
            if rows[name].is_in([self._null, self._absent]).any():
                raise _MarkTakenError
        marked = rows.select(
            pl.when(pl.col(name).is_null())
            .then(pl.lit(self._absent))
            .when(pl.col(name) == NULL)
            .then(pl.lit(self._null))
            .otherwise(pl.col(name))
            .alias(name)
            for name in self._names
        )
        marked.write_csv(out, include_header=False, line_terminator="\n", quote_style="necessary")
        return out.getvalue()


def json_lines(rows: pl.DataFrame, columns: Iterable[Column]) -> bytes:
    """Rows of cells as JSON Lines: an absent value is left out, decimals and dates are texts."""
    fields = {column.name: Field(name=column.name, type=column.type) for column in columns}
    return "".join(f"{line}\n" for line in records_to_json(rows, fields).to_list()).encode()
