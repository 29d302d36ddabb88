"""What trueup has to be allowed to do in a system, and is: too little says what fails, too much is more than anybody should have."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from trueup.connectors.needing import Need, Permission, Permissions
from trueup.errors import TrueupError
from trueup.runtime.connecting import opened_grant
from trueup.runtime.credentials import known_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.connectors.needing import KnowsPermissions, KnowsScopes
    from trueup.model import Config, Entity
    from trueup.runtime.systems import Seat, Systems


@dataclass(frozen=True, slots=True)
class Granted:
    """One system. `told` False: nobody can tell what this kind of system allows."""

    system: str
    permissions: Permissions
    told: bool = True

    @property
    def lacking(self) -> list[Permission]:
        """What is needed and not given."""
        return [one for one in self.permissions.needed if one.given is False]


def granted(config: Config, systems: Systems, name: str) -> Granted:
    """What a system has to allow, and does. Raises what keeps it from being asked."""
    needs = list(_needs(config, systems, name))
    connector = systems.connector(name)
    if hasattr(connector, "permissions"):
        return Granted(name, cast("KnowsPermissions", connector).permissions(needs))
    if hasattr(connector, "scopes"):
        return Granted(name, _scopes(config, name, cast("KnowsScopes", connector).scopes(needs)))
    path = config.systems[name].settings.get("path")
    if isinstance(path, str) and "://" not in path:
        return Granted(name, _file(Path(config.directory, path), needs))
    return Granted(name, Permissions(), told=False)


def _needs(config: Config, systems: Systems, name: str) -> Iterator[Need]:
    for entity in config.entities.values():
        if name not in entity.mappings:
            continue
        seats, errors = systems.seats(entity, only_look=True, make=False, away=frozenset(entity.mappings) - {name})
        if name in errors:
            raise errors[name]
        yield need_of(entity, seats[name])


def need_of(entity: Entity, seat: Seat) -> Need:
    """What is done with the object of a mapping."""
    mapping = entity.mappings[seat.name]
    reads = tuple(dict.fromkeys([*mapping.object.key, *seat.compiled.read_columns]))
    sets: dict[str, None] = {}
    for field in entity.written(seat.name):
        shown = mapping.fields[field]
        sets |= dict.fromkeys(shown.write or ((shown.column,) if shown.column is not None else ()))
    sets = {column: None for column in sets if column not in mapping.object.key}
    if not mapping.writes:
        return Need(mapping.object, reads)
    keys = () if mapping.object.assign == "system" else mapping.object.key
    deletes = entity.deletes is not None and entity.deletes.action == "propagate" and set(entity.deletes.sources) != {seat.name}
    return Need(mapping.object, reads, tuple(sets), tuple(dict.fromkeys([*keys, *sets, *mapping.set])), deletes)


def _scopes(config: Config, name: str, needed: Permissions) -> Permissions:
    """Scopes that are needed beside those that were given, as far as anybody said."""
    grant = opened_grant(config, name)
    if grant is None:
        return needed  # a token or a key of which the application alone knows what it opens
    known = known_credentials(config.state).get(name)
    asked = {*grant.scopes, *grant.optional_scopes}
    has = None if known is None else set(known.scopes) if known.scopes is not None else asked
    wanted = needed.needed or tuple(Permission(scope, name, "what the connector file asks for is not given") for scope in grant.scopes)
    again = f"`trueup connect {name}`, and agree to all"
    told = []
    for one in wanted:
        given = None if has is None else one.right in has
        remedy = "" if given is not False else again if one.right in asked else f"add it to `oauth2: {{scopes: […]}}`, then {again}"
        told.append(replace(one, given=given, remedy=remedy))
    more = sorted((has or set()) - {one.right for one in wanted}) if needed.needed else []
    return Permissions(tuple(told), tuple(f"the scope {scope} is given, and nothing here needs it" for scope in more))


def _file(path: Path, needs: list[Need]) -> Permissions:
    """Files: whether they can be read, and put in the place of themselves."""
    found = []
    if path.exists():
        found.append(Permission("read", str(path), "its rows cannot be read", given=os.access(path, os.R_OK)))
    if any(need.sets or need.makes for need in needs):
        places = (path, path.parent) if path.exists() else (path.parent,)
        without = "changes are not delivered to it"
        found += [Permission("write", str(place), without, given=os.access(place, os.W_OK)) for place in places]
    told = [one if one.given else replace(one, remedy=f"give the user of trueup the right to {one.right} it") for one in found]
    return Permissions(tuple(told))


def told_for_check(config: Config, systems: Systems, name: str) -> Iterator[tuple[str, str]]:
    """Warnings, each with its hint; of what cannot be found out nothing is said."""
    try:
        found = granted(config, systems, name)
    except TrueupError:
        return  # told where it is a problem
    for one in found.lacking:
        yield f"{one.right} on {one.place} is not allowed: {one.without}", one.remedy
    for what in found.permissions.beyond:
        yield what, "take it away: what nobody may do, nobody can do by mistake"
