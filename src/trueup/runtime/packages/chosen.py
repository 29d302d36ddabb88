"""Which packages a person means: those of the configuration, or, where it says nothing of a place, packages as they are by default."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.errors import UsageError
from trueup.exchange.naming import package_name
from trueup.exchange.places import ELSEWHERE, open_place
from trueup.exchange.statement import ID
from trueup.model import Package
from trueup.runtime.order import in_order

if TYPE_CHECKING:
    from trueup.exchange.naming import PackageName
    from trueup.model import Config


def from_here(place: str) -> str:
    """A place as it is meant where the command was typed."""
    return place if place.startswith(ELSEWHERE) else os.path.abspath(Path(place).expanduser())  # noqa: PTH100 - keeps links


def shown(config: Config, place: str) -> str:
    """A place's address without a password: two that are shown alike are the same."""
    with closing(open_place(place, config.directory)) as opened:
        return opened.shown


def going_out(config: Config, entity: str, to: str | None) -> Package:
    """The packages of an entity to a place; without one, the only ones that are configured. Raises UsageError."""
    if entity not in config.entities:
        raise UsageError(f"there is no entity {entity!r}", hint=f"configured: {', '.join(config.entities)}")
    configured = [one for one in config.packages.values() if one.direction == "out" and one.entity == entity]
    if to is None:
        if len(configured) == 1:
            return configured[0]
        raise UsageError("where to?", hint="name a place: --to FOLDER, or one of those under `packages:`")
    wanted = shown(config, from_here(to))
    for one in configured:
        if shown(config, one.place) == wanted:
            return one
    return Package(name="", direction="out", entity=entity, place=from_here(to), fields=tuple(config.entities[entity].fields))


def coming_in(config: Config, place: str) -> tuple[list[Package], PackageName | None]:
    """The packages that come from a place, in the order in which entities are looked at, and which one alone is meant (None: all).

    `place` may also be the name of `packages`, or one package itself. Raises UsageError.
    """
    if place in config.packages and config.packages[place].direction == "in":
        return [config.packages[place]], None
    given, only = from_here(place), None
    name = package_name(given.rstrip("/").rsplit("/", 1)[-1])
    if name is not None and not name.answer:
        given, only = given.rstrip("/").rsplit("/", 1)[0], name
    wanted = shown(config, given)
    found = [one for one in config.packages.values() if one.direction == "in" and shown(config, one.place) == wanted]
    if not found:
        found = _by_default(config, given)
    if only is not None:
        found = [one for one in found if one.entity == only.entity]
    if not found:
        raise UsageError(
            f"nothing is known of packages from {wanted}",
            hint="say so under `packages:` (import, from, system), or map the entity for a JSON Lines file by trueup_id, to be read",
        )
    order = {entity: at for at, entity in enumerate(in_order(config.entities, [one.entity for one in found]))}
    return sorted(found, key=lambda one: order[one.entity]), only


def _by_default(config: Config, place: str) -> list[Package]:
    """Of each entity of which there is a package, where it is clear which system that is."""
    with closing(open_place(place, config.directory)) as opened:
        there = {name.entity for text in opened.names() if (name := package_name(text)) is not None and not name.answer}
    found = []
    for entity in (name for name in config.entities if name in there):
        systems = [
            system
            for system, mapping in config.entities[entity].mappings.items()
            if config.systems[system].connector == "jsonl" and mapping.direction == "read" and mapping.object.key == (ID,)
        ]
        if len(systems) == 1:
            found.append(Package(name="", direction="in", entity=entity, place=place, system=systems[0]))
    return found
