"""What is to be looked at: objects of systems, as a configuration maps them or as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.errors import TrueupError, UsageError
from trueup.model import ObjectSpec
from trueup.reports.profile_facts import ObjectProfile, SystemProfile
from trueup.setup.profile.clocks import clock_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.base import Connector
    from trueup.model import Config, ObjectInfo
    from trueup.runtime.systems import Seat, Systems

UNREADABLE = frozenset({"binary"})
"""Types of columns of which nothing but how full they are can be told are read for that; of these, not even that is worth it."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One object to be looked at: how it is named, which columns are read, and, where a configuration maps it, its seat."""

    system: SystemProfile
    connector: Connector
    spec: ObjectSpec
    info: ObjectInfo
    columns: tuple[str, ...]
    seat: Seat | None = None
    zone: str = "UTC"

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.info.name


def mapped_places(config: Config, systems: Systems, names: Sequence[str], found: dict[str, SystemProfile]) -> list[Place]:
    """What these entities map, and everything in these systems; everything mapped where nothing is named.

    Systems are noted in `found`, with what keeps them or one of their objects from being looked at. Raises UsageError for other names.
    """
    for name in names:
        if name not in config.entities and name not in config.systems:
            known = ", ".join(dict.fromkeys([*config.entities, *config.systems]))
            raise UsageError(f"there is no entity and no system {name!r}", hint=f"configured: {known}")
    entities = [name for name in names if name in config.entities] or ([] if names else list(config.entities))
    places: list[Place] = []
    for name in entities:
        entity = config.entities[name]
        seats, errors = systems.seats(entity, only_look=True, make=False)
        for system, error in errors.items():
            profile = found.setdefault(system, SystemProfile(system, config.systems[system].connector))
            profile.left_out[f"{name} ({entity.mappings[system].object.label})"] = error.message
        for system, seat in seats.items():
            profile = found.setdefault(system, SystemProfile(system, config.systems[system].connector))
            profile.clock = profile.clock or clock_of(seat.connector, profile.connector)
            columns = tuple(
                dict.fromkeys([*(key for key in seat.mapping.object.key if key in seat.info.columns), *seat.compiled.read_columns])
            )
            zone = config.systems[system].timezone or "UTC"
            places.append(Place(profile, seat.connector, seat.mapping.object, seat.info, columns, seat, zone))
    for name in dict.fromkeys(name for name in names if name in config.systems):
        profile = found.setdefault(name, SystemProfile(name, config.systems[name].connector))
        try:
            connector = systems.connector(name)
            seen = {(place.system.name, place.label) for place in places}
            here = places_in(profile, connector, config.systems[name].timezone or "UTC")
            places += [place for place in here if (name, place.label) not in seen]
        except TrueupError as error:
            profile.error = error.message
    return places


def places_in(system: SystemProfile, connector: Connector, zone: str = "UTC") -> Iterator[Place]:
    """Everything that a system holds; what time it has is noted. Raises SystemUnreachableError, AccessRefusedError."""
    system.clock = system.clock or clock_of(connector, system.connector)
    for info in connector.discover():
        columns = tuple(name for name, column in info.columns.items() if column.type not in UNREADABLE)
        if columns:
            yield Place(system, connector, ObjectSpec(name=info.name, key=info.key), info, columns, zone=zone)
        else:
            note = info.remark or "it has no column that can be read"
            system.objects.append(ObjectProfile(info.name, info.kind, key=info.key, notes=[note]))
