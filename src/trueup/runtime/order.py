"""The order of entities in a run: what is referred to comes before what refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
            if field.type == "reference" and field.entity in entities:
                place(field.entity)
        placed.append(name)

    for name in entities:
        place(name)
    return [name for name in placed if name in chosen]
