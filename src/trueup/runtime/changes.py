"""Changed mappings on a live state: what was mapped differently when the shadows were written.

Rows are read under both mappings (`rereadings`), so that what nobody edited is told otherwise in silence; a system that became another
object is believed in nothing that it does not show. Neither overrules, deletes or delivers anything by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.config.describe import mapping_spec
from trueup.core.cells import GID, json_to_records
from trueup.core.clean import clean_column
from trueup.core.fingerprint import match_hash
from trueup.core.shadow import standing_for_what_it_shows
from trueup.store import cursor, golden, mapping_version, match_key, meta, shadow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from trueup.model import Config, Entity
    from trueup.store import Db, Store

PLACE_SETTINGS = ("path", "url", "host", "database", "schema", "file")
LOGIN_SETTING = re.compile(r"[^=]*(user|pass|secret|token|key|cert)[^=]*=", re.IGNORECASE)
"""A setting after the `?` of an address that says who asks, and not where."""
PLACE_PARTS = ("place", "key", "name", "sql")
"""The parts of a kept mapping that say where its object is."""


@dataclass(frozen=True)
class MappingChanges:
    """behind: system -> the mappings that may be behind its shadows, oldest first, where any of them is another than that of now.

    now: system -> the mapping of now; moved: systems that are another object than before.
    rematch: the match rules changed, so the index of match values must be made anew.
    opened: system -> fields that it was not written in because of its direction, and is from now on.
    closed: systems that were written, and are only read from now on: what they miss meanwhile is due when they are opened again.
    considered: systems in which every record is considered anew: one that could not be made there perhaps can be now.
    """

    behind: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    now: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()
    rematch: bool = False
    opened: dict[str, frozenset[str]] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    considered: frozenset[str] = frozenset()

    @property
    def nothing(self) -> bool:
        """Whether the configuration maps as it did."""
        return not (self.behind or self.moved or self.rematch or self.opened or self.considered)

    def apply(self, store: Store, entity: Entity, systems: Collection[str], at: datetime) -> None:
        """Prepare the state: every record is considered anew where the mapping changed, and the index of match values is made anew.

        A system that was only read stands for what it shows, from before it is written. That shadows of `systems`, which can be reached,
        may be written under their mappings of now is noted before the first of them is; and of others where fields are shown no more: their
        golden values may move, which nobody sees there when they come back.
        """
        reached = self.behind.keys() & set(systems)
        cleaned = self._cleaned_otherwise(entity) if reached and not set(systems).issuperset(entity.mappings) else []
        with store.write() as tx:
            for system in self.considered:
                cursor.set_(tx, entity.name, system, considered_version=0)
            for system, names in self.opened.items():
                _open(tx, entity, system, names)
            for system in self.closed:
                _amend_direction(tx, entity, system)
            for system in reached | {name for name, behind in self.behind.items() if _hides(behind, self.now[name])}:
                mapping_version.put(tx, entity.name, system, _text(self.now[system]), at=at)
            if self.rematch:
                match_key.clear(tx, entity.name)
                _index(tx, entity)
                meta.set_(tx, _match_name(entity), _match_text(entity))
            if cleaned:
                _index(tx, entity, cleaned)

    def _cleaned_otherwise(self, entity: Entity) -> list[str]:
        """Match fields of which the cleaning changed."""
        specs = [(before["mapping"], self.now[system]["mapping"]) for system, behind in self.behind.items() for before in behind]
        names = sorted({name for rule in entity.match for name in rule})
        return [name for name in names if any(_cleaning(before, name) != _cleaning(now, name) for before, now in specs)]


def _index(tx: Db, entity: Entity, cleaned: Collection[str] = ()) -> None:
    """Index the match values of all living records, as they are or (`cleaned`) as these fields are cleaned now.

    A record may be known only from a system that cannot be reached now: it is to be found by its values as they will be told.
    """
    for rows in golden.stream(tx, entity.name):
        alive = rows.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
        cells = pl.concat([alive.select(pl.col("id").alias(GID)), json_to_records(alive["data"], entity.fields)], how="horizontal")
        cells = cells.with_columns(clean_column(cells[name], entity.fields[name].clean, entity.fields[name].type) for name in cleaned)
        for number, rule in enumerate(entity.match):
            index = cells.select(
                pl.lit(number, dtype=pl.Int64).alias("rule"), match_hash(cells, rule, number).alias("hash"), pl.col(GID).alias("gid")
            )
            match_key.add(tx, entity.name, index.drop_nulls("hash"))


def _cleaning(mapping: Mapping[str, Any], name: str) -> Any:
    return mapping["fields"].get(name, {"definition": {"clean": None}})["definition"]["clean"]


def mapping_changes(db: Db, entity: Entity, config: Config) -> MappingChanges:
    """Compare the configuration with the mappings under which the shadows were written."""
    changes = MappingChanges(rematch=_rematch(db, entity))
    moved, closed = set(), set()
    for system in entity.mappings:
        texts = [version.spec for version in mapping_version.behind(db, entity.name, system)]
        text = _spec_text(_Mapped(entity, system, config))
        if all(kept == text for kept in texts):
            continue
        behind, now = tuple(map(_kept, texts)), orjson.loads(text)
        if all(before == now for before in behind):
            continue
        changes.behind[system], changes.now[system] = behind, now
        if any(before.get(part) != now[part] for before in behind for part in PLACE_PARTS):
            moved.add(system)
        if behind[0]["mapping"]["direction"] == "read" and entity.written(system):
            changes.opened[system] = frozenset(entity.written(system))
        if behind[0]["mapping"]["direction"] != "read" and now["mapping"]["direction"] == "read":
            closed.add(system)
    considered = frozenset(system for system, behind in changes.behind.items() if _writes_otherwise(behind, changes.now[system]))
    return replace(changes, moved=frozenset(moved), closed=frozenset(closed), considered=considered)


def _rematch(db: Db, entity: Entity) -> bool:
    known = meta.get(db, _match_name(entity))
    return known is not None and known != _match_text(entity)


def _hides(behind: Iterable[Mapping[str, Any]], now: Mapping[str, Any]) -> bool:
    """Whether a field is not mapped any more."""
    return any(before["mapping"]["fields"].keys() - now["mapping"]["fields"].keys() for before in behind)


def _writes_otherwise(behind: Iterable[Mapping[str, Any]], now: Mapping[str, Any]) -> bool:
    """Whether more changed than how values are cleaned and checked."""

    def essence(spec: Mapping[str, Any]) -> dict[str, Any]:
        fields = {
            name: [part["mapping"], *(part["definition"].get(word) for word in ("type", "entity", "scale"))]
            for name, part in spec["mapping"]["fields"].items()
        }
        return {**spec, "mapping": {**spec["mapping"], "fields": fields}}

    return any(essence(before) != essence(now) for before in behind)


def _open(tx: Db, entity: Entity, system: str, names: frozenset[str]) -> None:
    """Let a system stand for what it shows in these fields."""
    for rows in shadow.differing(tx, entity.name, system):
        sent = [standing_for_what_it_shows(seen, stands, names) for seen, stands in rows.select("seen", "sent").rows()]
        shadow.update(tx, entity.name, system, rows.select("key", pl.Series("sent", sent, dtype=pl.String)))
    _amend_direction(tx, entity, system)


def _amend_direction(tx: Db, entity: Entity, system: str) -> None:
    """Keep in mind under which direction the shadows are written from now on, also where the system cannot be read yet."""
    for version in mapping_version.behind(tx, entity.name, system)[:1]:
        known = orjson.loads(version.spec)
        known["mapping"]["direction"] = entity.mappings[system].direction
        mapping_version.amend(tx, version.id, _text(known))


def remember_mappings(store: Store, entity: Entity, config: Config, complete: Iterable[str], at: datetime) -> None:
    """Keep the mappings under which these systems were read completely."""
    texts = {system: _spec_text(_Mapped(entity, system, config)) for system in complete}
    if not texts:
        return
    with store.read() as db:
        known = {system: mapping_version.behind(db, entity.name, system) for system in texts}
        match_known = meta.get(db, _match_name(entity)) == _match_text(entity)
    fresh = {system: text for system, text in texts.items() if [version.spec for version in known[system]] != [text]}
    if not fresh and match_known:
        return
    with store.write() as tx:
        for system, text in fresh.items():
            number = mapping_version.put(tx, entity.name, system, text, at=at)
            cursor.set_(tx, entity.name, system, mapping_version=number)
        meta.set_(tx, _match_name(entity), _match_text(entity))


@dataclass(frozen=True, slots=True, eq=False)
class _Mapped:
    """A mapping of a configuration, known by being itself: nobody changes one, and to compare all of it takes as long as to write it."""

    entity: Entity
    system: str
    config: Config

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Mapped) and self.entity is other.entity and self.system == other.system and self.config is other.config

    def __hash__(self) -> int:
        return hash((id(self.entity), self.system, id(self.config)))


@lru_cache(maxsize=256)
def _spec_text(mapped: _Mapped) -> str:
    """The mapping, and where its object is; no passwords. Every pass asks for it."""
    entity, system = mapped.entity, mapped.config.systems[mapped.system]
    native = entity.mappings[mapped.system].object
    place = {name: without_login(str(system.settings[name])) for name in PLACE_SETTINGS if name in system.settings}
    mapping = mapping_spec(entity, mapped.system, timezone=system.timezone)
    body = {"mapping": mapping, "place": place, "key": list(native.key), "name": native.name, "sql": native.sql}
    return orjson.dumps(body, default=str, option=orjson.OPT_SORT_KEYS).decode()


def _kept(text: str) -> dict[str, Any]:
    """A mapping as it was kept; its address may have been kept by a trueup that knew fewer settings of a login."""
    spec: dict[str, Any] = orjson.loads(text)
    return {**spec, "place": {name: without_login(value) for name, value in spec["place"].items()}} if "place" in spec else spec


def _text(spec: Mapping[str, Any]) -> str:
    return orjson.dumps(spec, option=orjson.OPT_SORT_KEYS).decode()


def without_login(address: str) -> str:
    """An address as the state keeps it, and as people may see it: a new user or password moves nothing."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    place, question, query = rest.partition("?")
    if "@" in query and "/" not in place:  # the `?` stands in the password
        place, question, query = rest.rpartition("@")[2].partition("?")
    place = place.rpartition("@")[2]
    kept = "&".join(part for part in query.split("&") if not LOGIN_SETTING.match(part))
    return f"{scheme}://{place}{question if kept else ''}{kept}"


def index_begun(store: Store, entity: Entity) -> None:
    """Say that the index of match values is not whole until `index_whole`: a process that dies in between leaves it to be made anew."""
    with store.write() as tx:
        meta.set_(tx, _match_name(entity), "being made")


def index_whole(store: Store, entity: Entity, parts: list[pl.DataFrame]) -> None:
    """Put the values (rule, hash, gid) that were left for later into the index by hash: sorted, for appending is cheaper than inserting.

    `parts` is emptied: of a first load they are many, and are not to be held twice.
    """
    with store.write() as tx:
        for number in range(len(entity.match)):
            mine = [part.filter(pl.col("rule") == number) for part in parts]
            if number == len(entity.match) - 1:
                parts.clear()
            if mine:
                match_key.by_hash(tx, entity.name, pl.concat(mine))
                mine.clear()
        meta.set_(tx, _match_name(entity), _match_text(entity))


def _match_name(entity: Entity) -> str:
    return f"match:{entity.name}"


def _match_text(entity: Entity) -> str:
    return orjson.dumps([list(rule) for rule in entity.match]).decode()
