"""The order of entities in a run: what is referred to comes before what refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.model import Entity


def in_order(entities: Mapping[str, Entity], wanted: Iterable[str]) -> list[str]:
    """The wanted entities, referred ones first; within a circle, as the configuration lists them."""
    chosen = set(wanted)
    placed: list[str] = []
    entered: set[str] = set()

    def place(name: str) -> None:
        if name in entered:
            return
        entered.add(name)
        for field in entities[name].fields.values():
            if field.type == "reference" and field.entity is not None and field.entity in entities:
                place(field.entity)
        placed.append(name)

    for name in entities:
        place(name)
    return [name for name in placed if name in chosen]


def chosen(entities: Mapping[str, Entity], wanted: Iterable[str]) -> list[str]:
    """The entities that a person named, all where none is, in the order of a run. Raises UsageError for one that is not configured."""
    names = list(wanted)
    for name in names:
        if name not in entities:
            raise UsageError(f"there is no entity {name!r}", hint=f"configured: {', '.join(entities)}")
    return in_order(entities, names or entities)
