"""What the configuration says otherwise than when the systems were last read whole: shown by a plan, before anything follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from trueup.config.describe import mapping_spec
from trueup.reports.configured import meaning
from trueup.runtime.changes import PLACE_SETTINGS, without_login
from trueup.runtime.rules import known_entities, known_rules, rules_of
from trueup.store import mapping_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trueup.model import Config, Entity
    from trueup.store import Db

MAPPED = "mapped"


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of a mapping, or (`system` None) of an entity's rules; `field` None: as a whole.

    `before` or `now` None: not said, or not there.
    """

    entity: str
    system: str | None
    field: str | None
    part: str
    before: Any
    now: Any

    def as_json(self) -> dict[str, Any]:
        """The public form."""
        body = {name: getattr(self, name) for name in ("entity", "system", "field", "part", "before", "now")}
        return {**body, "means": meaning(body)}


def configuration_changes(db: Db, config: Config, names: Iterable[str]) -> list[Difference]:
    """Compare the mappings of these entities with those that the state remembers; a system that was never read whole differs in nothing."""
    names, found = list(names), list[Difference]()
    for name in names:
        entity = config.entities[name]
        for system in entity.mappings:
            was = config.systems[system].was
            known = mapping_version.behind(db, name, system)
            if not known and was is not None:
                known = mapping_version.behind(db, name, was)
            for version in known[:1]:
                found += [Difference(name, system, *change) for change in _changes(entity, system, config, orjson.loads(version.spec))]
        found += _rule_changes(db, entity, config)
    if set(names) == set(config.entities):
        gone = [name for name in known_entities(db) if name not in config.entities]
        found += [Difference(name, None, None, "entity", MAPPED, None) for name in gone]
    return found


def _rule_changes(db: Db, entity: Entity, config: Config) -> Iterator[Difference]:
    """What decides about edits, rows and deletes otherwise than in the last run."""
    before, now = known_rules(db, entity, config), rules_of(entity)
    if before is None:
        return
    for system in [name for name in now["systems"] if name not in before["systems"]]:
        yield Difference(entity.name, system, None, "mapping", None, MAPPED)
    for system in [name for name in before["systems"] if name not in now["systems"]]:
        yield Difference(entity.name, system, None, "mapping", MAPPED, None)
    for part in ("match", "precedence", "deletes", "guard"):
        if before[part] != now[part]:
            yield Difference(entity.name, None, None, part, before[part], now[part])
    for name, said in now["fields"].items():
        for part, old, new in _parts(before["fields"].get(name, said), said):
            yield Difference(entity.name, None, name, part, old, new)


def _changes(entity: Entity, system: str, config: Config, before: Mapping[str, Any]) -> Iterator[tuple[str | None, str, Any, Any]]:
    """(field, part, before, now) of every part that differs. `before` is the mapping as the state keeps it."""
    settings = config.systems[system].settings
    place = {name: without_login(str(settings[name])) for name in PLACE_SETTINGS if name in settings}
    for part in _parts(before["place"], place):
        yield None, *part
    spec = mapping_spec(entity, system, timezone=config.systems[system].timezone)
    old, new = before["mapping"], orjson.loads(orjson.dumps(spec, default=str))
    for part in (*_parts(old["object"], new["object"]), *_parts(_plain(old), _plain(new))):
        yield None, *part
    known = dict(old["fields"])
    for name, spec in new["fields"].items():
        was = entity.fields[name].was
        if name not in known and was is not None and was in known:
            yield name, "was", was, name
            known[name] = known.pop(was)
        if name not in known:
            yield name, "field", None, MAPPED
            continue
        for half in ("definition", "mapping"):
            for part in _parts(known[name][half], spec[half]):
                yield name, *part
    for name in known:
        if name not in new["fields"]:
            yield name, "field", MAPPED, None


def _plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: mapping.get(name) for name in ("direction", "where", "set", "timezone")}


def _parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) != now.get(name):
            yield name, before.get(name), now.get(name)
