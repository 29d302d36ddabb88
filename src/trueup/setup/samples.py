"""What a system holds, as far as a proposal needs to know: its objects, their columns and keys, and some of their rows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from trueup.errors import TrueupError
from trueup.model import ObjectSpec
from trueup.setup import words
from trueup.setup.joined import joined
from trueup.setup.kinds import Column, column_of
from trueup.setup.profile.clocks import clock_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.connectors.base import Browsing, Connector, Page
    from trueup.model import ObjectInfo
    from trueup.reports.profile_facts import Clock
    from trueup.setup.kinds import Kind

SAMPLED = 5_000
"""Rows of each object that are looked at."""
MOST_OBJECTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An object of a system. `key` are the columns that tell its rows apart, empty where none was found; `rows` is None where unknown.

    `joined` is what two of its columns are together (first and last name), None where it has no such two.
    """

    system: str
    name: str
    kind: str
    key: tuple[str, ...]
    assigns_key: bool
    columns: Mapping[str, Column]
    rows: int | None
    notes: tuple[str, ...] = field(default=())
    joined: Column | None = None

    def column(self, name: str) -> Column:
        """A column, or what two are together, by its name."""
        return self.joined if self.joined is not None and self.joined.name == name else self.columns[name]

    @property
    def about(self) -> tuple[str, ...]:
        """Words for the things that it holds."""
        return words.about(self.name)

    @property
    def modified(self) -> str | None:
        """The column that tells when a row was last changed, None where there is none."""
        for column in self.columns.values():
            if column.kind == "datetime" and column.filled == 1.0 and words.meaning(column.name, self.about) == "modified":
                return column.name
        return None


@dataclass(frozen=True, slots=True)
class Looked:
    """The objects of one system; `left_out` says why others are not among them; `clock` is how far its clock is off, None: unknown."""

    samples: tuple[Sample, ...]
    left_out: tuple[str, ...] = ()
    clock: Clock | None = None


def look(system: str, connector: Connector, kind: str = "") -> Looked:
    """Read some rows of each object; `kind` is the connector's name. Raises SystemUnreachableError, AccessRefusedError."""
    infos = connector.discover()
    found: list[Sample] = []
    left_out: list[str] = []
    for info in infos[:MOST_OBJECTS]:
        try:
            found.append(_sample(system, connector, info))
        except TrueupError as error:
            left_out.append(f"{system}: {info.name}: {error.message}")
    if len(infos) > MOST_OBJECTS:
        left_out.append(f"{system}: {len(infos) - MOST_OBJECTS} objects beyond the first {MOST_OBJECTS} were not looked at")
    return Looked(tuple(found), tuple(left_out), clock_of(connector, kind))


def _sample(system: str, connector: Connector, info: ObjectInfo) -> Sample:
    names = [name for name, column in info.columns.items() if column.type not in _UNREADABLE]
    if info.key:
        frame, whole = _first(connector.read(ObjectSpec(name=info.name, key=info.key), names, page_rows=SAMPLED))
    elif connector.caps.browses:
        frame, whole = _first(cast("Browsing", connector).browse(ObjectSpec(name=info.name, key=()), names, page_rows=SAMPLED))
    else:
        frame, whole = pl.DataFrame(), False
    columns = {name: column_of(info.columns[name], _texts(frame, name)) for name in names}
    key = info.key or _likely_key(columns, words.about(info.name))
    notes = () if info.key or not key else (f"no key is declared; `{key[0]}` tells all sampled rows apart",)
    return Sample(
        system,
        info.name,
        info.kind,
        key,
        info.assigns_key,
        columns,
        frame.height if whole else info.rows,
        notes,
        joined(columns, words.about(info.name)),
    )


_UNREADABLE = frozenset({"json", "binary", "bytes"})


def _first(pages: Iterator[Page]) -> tuple[pl.DataFrame, bool]:
    """The first rows, and whether these are all."""
    parts: list[pl.DataFrame] = []
    whole = False
    with closing(pages):  # type: ignore[type-var]  # an iterator of a generator
        for page in islice(pages, 2):
            parts.append(page.rows)
            whole = page.complete
            if page.complete or sum(part.height for part in parts) >= SAMPLED:
                break
    return (pl.concat(parts, how="vertical_relaxed") if parts else pl.DataFrame()), whole


def _likely_key(columns: Mapping[str, Column], about: tuple[str, ...]) -> tuple[str, ...]:
    """The column of an object without a key that looks like one: full, every value once, and named so, of codes, or of addresses."""
    telling = [column for column in columns.values() if column.filled == 1.0 and column.distinct == 1.0]
    named = sorted((rank, place) for place, column in enumerate(telling) if (rank := _rank(column.name, about)) < len(_KEY_WORDS))
    likely = named or sorted((_KEY_KINDS.index(column.kind), place) for place, column in enumerate(telling) if column.kind in _KEY_KINDS)
    return (telling[likely[0][1]].name,) if likely else ()


_KEY_WORDS = ("id", "number", "key", "sku", "code", "reference")
_KEY_KINDS: tuple[Kind, ...] = ("code", "email")


def _rank(name: str, about: tuple[str, ...]) -> int:
    meaning = words.meaning(name, about)
    last = meaning.split()[-1] if meaning else ""
    return _KEY_WORDS.index(last) if last in _KEY_WORDS else len(_KEY_WORDS)


def _texts(frame: pl.DataFrame, name: str) -> list[str | None]:
    if name not in frame.columns:
        return []
    return [_text(value) for value in frame[name].to_list()]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
