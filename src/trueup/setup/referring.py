"""Columns that refer to records of another entity: each system has numbers of its own for them, and the rows behind these are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.setup import words
from trueup.setup.pairing import ENOUGH_ROWS, MOST_AGREE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.setup.kinds import Column
    from trueup.setup.proposal import ProposedEntity
    from trueup.setup.samples import Sample

_KINDS = frozenset({"integer", "code", "text"})


def references(entity: ProposedEntity, others: Sequence[ProposedEntity]) -> list[tuple[ProposedEntity, dict[str, tuple[str, float, str]]]]:
    """What rows of this entity refer to: the entity, and per system the column, how sure that is (0 to 1), and why.

    The surest first; each column once. A column counts only where its name says what it is about in one of the systems, nearly all of its
    values are keys there, and rows that are one thing refer to rows that are one thing.
    """
    found = []
    for other in others:
        keys = {system: _by_key(other, sample) for system, sample in other.samples.items() if len(sample.key) == 1}
        shared = [system for system in entity.samples if system in keys]
        for number, base in enumerate(shared):
            for column in _pointing(entity.samples[base], keys[base]):
                shown = _agreeing(entity, other, keys, (base, column), shared[number + 1 :])
                if shown is not None:
                    found.append((other, shown))
    return _each_once(found)


def _by_key(entity: ProposedEntity, sample: Sample) -> Mapping[str, str]:
    """Per key of a system's rows, in a form that can be compared, what tells that rows of several systems are one thing."""
    name = entity.match[0][0]
    telling = sample.column(entity.fields[name].shown[sample.system].column)
    keys = sample.columns[sample.key[0]].values
    return {key: value for key, value in zip(keys, telling.values, strict=True) if key is not None and value is not None}


def _pointing(sample: Sample, keys: Mapping[str, str]) -> list[Column]:
    """The columns of which nearly every value is one of these keys."""
    return [
        column
        for column in sample.columns.values()
        if column.kind in _KINDS and column.name not in sample.key and column.known and _share(column, keys) >= MOST_AGREE
    ]


def _share(column: Column, keys: Mapping[str, str]) -> float:
    return sum(value in keys for value in column.known) / len(column.known)


def _agreeing(
    entity: ProposedEntity, other: ProposedEntity, keys: Mapping[str, Mapping[str, str]], base: tuple[str, Column], rest: Sequence[str]
) -> dict[str, tuple[str, float, str]] | None:
    """The columns of the other systems in which the same rows refer to the same things, with the one that they are held against."""
    system, column = base
    mine = _referred(entity, system, column, keys[system])
    shown: dict[str, tuple[str, float, str]] = {}
    for theirs in rest:
        best: tuple[float, int, str] | None = None
        for candidate in _pointing(entity.samples[theirs], keys[theirs]):
            if not (_is_about(column, other) or _is_about(candidate, other)):
                continue
            referred = _referred(entity, theirs, candidate, keys[theirs])
            both = [mine[row] == referred[row] for row in mine.keys() & referred.keys()]
            share = sum(both) / len(both) if both else 0.0
            if len(both) >= ENOUGH_ROWS and share >= MOST_AGREE and (best is None or share > best[0]):
                best = (share, len(both), candidate.name)
        if best is not None:
            share, rows, name = best
            shown[theirs] = (name, share, f"{round(100 * share)} % of {rows} common rows refer to the same {other.name}")
    return {system: (column.name, 1.0, ""), **shown} if shown else None


def _referred(entity: ProposedEntity, system: str, column: Column, keys: Mapping[str, str]) -> Mapping[str, str]:
    """Per row of the entity, by what it is matched by: what it refers to, where it refers to something known."""
    telling = entity.samples[system].column(entity.fields[entity.match[0][0]].shown[system].column)
    return {
        row: keys[value]
        for row, value in zip(telling.values, column.values, strict=True)
        if row is not None and value is not None and value in keys
    }


def _is_about(column: Column, entity: ProposedEntity) -> bool:
    """Whether a column is named after what the entity holds: `customer_id`, or `account_id` where a system calls them accounts."""
    about = {word for name in (entity.name, *(sample.name for sample in entity.samples.values())) for word in words.about(name)}
    return bool(about & set(words.about(column.name)))


def _each_once(
    found: Sequence[tuple[ProposedEntity, dict[str, tuple[str, float, str]]]],
) -> list[tuple[ProposedEntity, dict[str, tuple[str, float, str]]]]:
    taken: set[tuple[str, str]] = set()
    kept = []
    for other, shown in sorted(found, key=lambda item: (-len(item[1]), -min(share for _name, share, _why in item[1].values()))):
        columns = {(system, name) for system, (name, _share, _why) in shown.items()}
        if not columns & taken:
            taken |= columns
            kept.append((other, shown))
    return kept
