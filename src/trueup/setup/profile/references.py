"""Columns that refer to records of another object of their system, and the rows that point to one that is not there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.forms import COUNT, TEXT, counted
from trueup.reports.profile_facts import SAMPLES, Orphans
from trueup.setup import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.reports.profile_facts import ObjectProfile

LIKELY = 0.8
"""A column whose name says so refers to another object where so many of its different values are keys there."""
FEWEST = 3
MOST_VALUES = 5_000_000


@dataclass(slots=True)
class Values:
    """What is kept of an object to look for references: distinct texts of its key, and of columns that may refer to another one.

    `refers`: columns that do by the configuration -> to which entity.
    """

    profile: ObjectProfile
    refers: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, pl.Series] = field(default_factory=dict)
    referring: dict[str, pl.DataFrame] = field(default_factory=dict)


def may_refer(name: str) -> bool:
    """Whether a column's name says that it holds the key of something else."""
    said = words.words(name)
    return len(said) > 1 and said[-1] in {"id", "key", "number", "code", "reference", "sku", "uuid"}


def distinct_texts(values: pl.Series) -> pl.DataFrame:
    """The different values of a column as texts, with counts."""
    return counted(values.drop_nulls().cast(pl.String))


def find_orphans(objects: Sequence[Values]) -> None:
    """Note, in each object's profile, what looks like a reference and leads nowhere."""
    for held in objects:
        held.profile.orphans += _orphans(held, objects)


def _orphans(held: Values, objects: Sequence[Values]) -> Iterator[Orphans]:
    for column, texts in held.referring.items():
        if column in held.refers:
            yield from _by_configuration(held, column, texts, objects)
            continue
        if texts.height < FEWEST:
            continue
        best: tuple[float, str, pl.DataFrame] | None = None
        for other in objects:
            for key, keys in other.keys.items():
                if other is held and key == column:
                    continue
                if not _names(column, other.profile.name):
                    continue
                lost = texts.filter(~pl.col(TEXT).is_in(keys.implode()))
                share = 1 - lost.height / texts.height
                if share >= LIKELY and (best is None or share > best[0]):
                    best = (share, f"{other.profile.name}.{key}", lost)
        if best is not None and not best[2].is_empty():
            yield orphans(column, best[1], best[2], configured=False)


def _by_configuration(held: Values, column: str, texts: pl.DataFrame, objects: Sequence[Values]) -> Iterator[Orphans]:
    """Values of a configured reference that are no key of any object of its entity."""
    entity = held.refers[column]
    targets = [other for other in objects if other.profile.entity == entity and other.keys]
    if not targets:
        held.profile.notes.append(f"whether {column} leads anywhere was not looked at: no object of {entity} with one key column was, here")
        return
    keys = pl.concat([series for other in targets for series in other.keys.values()])
    lost = texts.filter(~pl.col(TEXT).is_in(keys.implode()))
    if not lost.is_empty():
        yield orphans(column, f"{targets[0].profile.name}.{next(iter(targets[0].keys))}", lost, configured=True)


def orphans(column: str, refers_to: str, lost: pl.DataFrame, *, configured: bool) -> Orphans:
    """Values that lead nowhere, told."""
    return Orphans(column, refers_to, int(lost[COUNT].sum()), lost.height, tuple(lost[TEXT].head(SAMPLES)), configured)


def _names(column: str, target: str) -> bool:
    """Whether a column is named after what an object holds: customer_id, of customers."""
    meant = set(words.about(target))
    return any(word in meant for word in words.about(column)[:-1] or words.about(column))
