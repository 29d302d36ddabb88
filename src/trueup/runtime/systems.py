"""Systems made ready for a run: opened connectors, described objects and compiled mappings, each failing for itself alone."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.connectors.watching import KnowsOwnWrites
from trueup.core.expressions import parse_expression
from trueup.core.mapping import MappingError, compile_mapping
from trueup.errors import ObjectMissingError, SystemUnreachableError, TrueupError
from trueup.model import ColumnInfo
from trueup.runtime.limits import Limits
from trueup.runtime.measured import measured
from trueup.runtime.opening import Opening
from trueup.runtime.unmade import Unmade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.base import Connector
    from trueup.connectors.watching import OwnWrites
    from trueup.core.mapping import CompiledMapping
    from trueup.model import Config, Entity, ObjectInfo, System
    from trueup.model import Mapping as ModelMapping
    from trueup.runtime.measured import Calls


@dataclass
class Seat:
    """One system's place in one entity's pass: its connector, and its mapping compiled against what is really there."""

    name: str
    system: System
    connector: Connector
    mapping: ModelMapping
    info: ObjectInfo
    compiled: CompiledMapping

    @property
    def returning(self) -> tuple[str, ...]:
        """The native columns that tell a stored row completely."""
        return self.compiled.value_columns

    @property
    def may_lag(self) -> bool:
        """Whether an older value may be shown after our write: a file saved over by an old window, or a system that says so."""
        return self.is_file or self.system.settle_s > 0

    @property
    def is_file(self) -> bool:
        """Whether people edit this system by saving a whole file over it."""
        return self.connector.caps.kind == "file"


class Systems:
    """The opened systems of a configuration. A connector is used by one thread at a time: one per system and entity in work."""

    def __init__(self, config: Config, connectors: Mapping[str, Connector] | None = None, *, limits: Limits | None = None) -> None:
        """Open nothing yet; `connectors` replaces connectors by name (tests and simulators put theirs in).

        `limits` are those of everybody who works on this configuration in this process.
        """
        self.config = config
        self.own_writes: Mapping[str, OwnWrites] = {}  # where connectors that are opened from now on note what they write, by system
        self.calls: dict[str, Calls] | None = None  # where the calls of each system are counted; None: they are not
        self.limits = limits or Limits(config.systems)
        self._given = {name: self.limits.around(name, connector) for name, connector in (connectors or {}).items()}
        self._open: dict[str, Connector] = {}
        self._ready: dict[tuple[str, str], tuple[float, Seat]] = {}
        self._opening = Opening(config)
        self._mappings: dict[tuple[str, str], tuple[tuple[Entity, ModelMapping, ObjectInfo], CompiledMapping]] = {}

    def connector(self, name: str) -> Connector:
        """The connector of a system, opened when first asked for."""
        if name in self._given:
            return self._given[name]
        if name not in self._open:
            opened = self._opening.open(name)
            if isinstance(opened, KnowsOwnWrites):
                opened.own_writes = self.own_writes.get(name)
            self._open[name] = self._wrapped(name, opened)
        return self._open[name]

    def _wrapped(self, name: str, connector: Connector) -> Connector:
        """A connector that counts, and keeps its system's limits: to wait for these is no time of the system's."""
        return self.limits.around(name, connector if self.calls is None else measured(connector, self.calls[name]))

    def replace(self, connectors: Mapping[str, Connector]) -> None:
        """Use these connectors instead, by name; the replaced ones stay open until `close`."""
        self._given.update({name: self._wrapped(name, connector) for name, connector in connectors.items()})
        self._ready.clear()

    def seats(
        self,
        entity: Entity,
        *,
        only_look: bool = False,
        make: bool = True,
        away: frozenset[str] = frozenset(),
        known_s: float = 0.0,
    ) -> tuple[dict[str, Seat], dict[str, TrueupError]]:
        """The systems of an entity that are ready, in order of precedence, and the errors of those that are not.

        `only_look`: nothing is made, and mappings are compiled for reading alone, so that a column that cannot be written is no problem.
        `make`: objects that may be made are made where they are missing; else they count as empty. Systems in `away` are not asked, nor
        are those that were ready less than `known_s` seconds ago.
        """
        seats: dict[str, Seat] = {}
        errors: dict[str, TrueupError] = {}
        for name in (name for name in entity.precedence if name not in away):
            known = self._ready.get((entity.name, name))
            if known is not None and time.monotonic() - known[0] < known_s:
                seats[name] = known[1]
                continue
            try:
                seats[name] = self._seat(entity, name, only_look=only_look, make=make)
            except MappingError as error:
                errors[name] = TrueupError(str(error), system=name, entity=entity.name, hint="see `trueup check`")
            except TrueupError as error:
                error.system = error.system or name
                errors[name] = error
            else:
                # What is not there yet may be there the next moment: of what only pushes, with the very message that is looked at.
                if not only_look and not isinstance(seats[name].connector, Unmade):
                    self._ready[entity.name, name] = (time.monotonic(), seats[name])
        return seats, errors

    def _seat(self, entity: Entity, name: str, *, only_look: bool, make: bool) -> Seat:
        """One system made ready. Raises what keeps it from taking part."""
        mapping = entity.mappings[name]
        system = self.config.systems[name]
        connector = self.connector(name)
        if only_look:
            mapping = replace(mapping, direction="read", set={})
        elif mapping.object.create and make:
            connector.prepare(mapping.object, native_columns(entity, name))
        elif self.is_unmade(mapping):
            connector = Unmade(connector, native_columns(entity, name))
        info = _described(connector, entity, mapping)
        return Seat(name, system, connector, mapping, info, self._compiled(entity, system, mapping, info))

    def forget(self) -> None:
        """Ask every system again what it is like, however lately that was."""
        self._ready.clear()

    def is_unmade(self, mapping: ModelMapping) -> bool:
        """Whether the object is not there, and a run may make it. Raises what else keeps it from being described."""
        connector = self.connector(mapping.system)
        if not mapping.object.create and connector.caps.kind != "push":
            return False
        try:
            connector.describe(mapping.object)
        except ObjectMissingError:
            return True
        except SystemUnreachableError:
            # A database in a file is not reachable before its file is there, which making the object makes as well.
            path = self.config.systems[mapping.system].settings.get("path")
            if path is None or "://" in str(path) or Path(self.config.directory, path).exists():
                raise
            return True
        return False

    def _compiled(self, entity: Entity, system: System, mapping: ModelMapping, info: ObjectInfo) -> CompiledMapping:
        """The mapping compiled against the object; the one of last time where nothing changed."""
        asked = (entity, mapping, info)
        known = self._mappings.get((entity.name, system.name))
        if known is not None and known[0] == asked:
            return known[1]
        compiled = compile_mapping(entity, system, mapping, info)
        self._mappings[entity.name, system.name] = (asked, compiled)
        return compiled

    def close(self) -> None:
        """Close every connector that was opened here."""
        for connector in self._open.values():
            connector.close()
        self._open.clear()
        self._opening.close()


def _described(connector: Connector, entity: Entity, mapping: ModelMapping) -> ObjectInfo:
    """The object, with the columns that it will have although none of its rows shows them yet."""
    info = connector.describe(mapping.object)
    if connector.caps.kind == "push":
        return with_unseen(info, entity, mapping.system)
    if mapping.object.create and not info.columns:  # made a moment ago: a file of objects shows columns only in its rows
        return Unmade(connector, native_columns(entity, mapping.system)).describe(mapping.object)
    return info


def with_unseen(info: ObjectInfo, entity: Entity, system: str) -> ObjectInfo:
    """What only pushes, with the pointers of its mapping that led nowhere so far: no message may have had that member yet."""
    mapping = entity.mappings[system]
    wanted = dict.fromkeys([*mapping.object.key, *native_columns(entity, system)])
    for text in (mapping.where, *(shown.read for shown in mapping.fields.values())):
        if text is not None:
            with suppress(ValueError):  # told where it is compiled
                wanted |= dict.fromkeys(parse_expression(text).names)
    unseen = [name for name in wanted if name.startswith("/") and name not in info.columns]
    return replace(info, columns={**info.columns, **{name: ColumnInfo(name=name, type="text", writable=False) for name in unseen}})


def native_columns(entity: Entity, system: str) -> dict[str, str]:
    """The native columns of an object that may be made (`create: true`), with the column type that suits their field.

    A key that the system gives is not among them: only the system knows which type it numbers rows with.
    """
    mapping = entity.mappings[system]
    types = {"reference": "text"}
    columns: dict[str, str] = {}
    if mapping.object.assign == "sequence":
        columns |= dict.fromkeys(mapping.object.key, "integer")
    elif mapping.object.assign.startswith("field:"):
        kinds = [entity.fields[name].type for name in mapping.object.assign.removeprefix("field:").split(",")]
        columns |= {name: types.get(kind, kind) for name, kind in zip(mapping.object.key, kinds, strict=True)}
    elif mapping.object.assign == "uuid":
        columns |= dict.fromkeys(mapping.object.key, "text")
    for name, shown in mapping.fields.items():
        if shown.column is not None:
            kind = entity.fields[name].type
            columns[shown.column] = types.get(kind, kind)
        for column in shown.write:
            columns.setdefault(column, "text")
    for column in mapping.set:
        columns.setdefault(column, "text")
    if mapping.object.modified:
        columns.setdefault(mapping.object.modified, "datetime")
    return columns
