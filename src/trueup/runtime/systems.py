"""Systems made ready for a run: opened connectors, described objects and compiled mappings, each failing for itself alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.connectors.registry import connector_class
from trueup.core.mapping import MappingError, compile_mapping
from trueup.errors import ObjectMissingError, SystemUnreachableError, TrueupError
from trueup.runtime.unmade import Unmade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.base import Connector
    from trueup.core.mapping import CompiledMapping
    from trueup.model import Config, Entity, ObjectInfo, System
    from trueup.model import Mapping as ModelMapping


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

    def __init__(self, config: Config, connectors: Mapping[str, Connector] | None = None) -> None:
        """Open nothing yet; `connectors` replaces connectors by name (tests and simulators put theirs in)."""
        self.config = config
        self._given = dict(connectors or {})
        self._open: dict[str, Connector] = {}
        self._mappings: dict[tuple[str, str], tuple[tuple[Entity, ModelMapping, ObjectInfo], CompiledMapping]] = {}

    def connector(self, name: str) -> Connector:
        """The connector of a system, opened when first asked for."""
        if name in self._given:
            return self._given[name]
        if name not in self._open:
            system = self.config.systems[name]
            kind = connector_class(system.connector)
            self._open[name] = kind.open(name, system.settings, directory=self.config.directory)
        return self._open[name]

    def replace(self, connectors: Mapping[str, Connector]) -> None:
        """Use these connectors instead, by name; the replaced ones stay open until `close`."""
        self._given.update(connectors)

    def seats(self, entity: Entity, *, only_look: bool = False, make: bool = True) -> tuple[dict[str, Seat], dict[str, TrueupError]]:
        """The systems of an entity that are ready, in order of precedence, and the errors of those that are not.

        `only_look`: nothing is made, and mappings are compiled for reading alone, so that a column that cannot be written is no problem.
        `make`: objects that may be made are made where they are missing; else they count as empty.
        """
        seats: dict[str, Seat] = {}
        errors: dict[str, TrueupError] = {}
        for name in entity.precedence:
            mapping = entity.mappings[name]
            system = self.config.systems[name]
            try:
                connector = self.connector(name)
                if only_look:
                    mapping = replace(mapping, direction="read", set={})
                elif mapping.object.create and make:
                    connector.prepare(mapping.object, native_columns(entity, name))
                elif self.is_unmade(mapping):
                    connector = Unmade(connector, native_columns(entity, name))
                info = connector.describe(mapping.object)
                if mapping.object.create and not info.columns:  # made a moment ago: a file of objects shows columns only in its rows
                    info = Unmade(connector, native_columns(entity, name)).describe(mapping.object)
                compiled = self._compiled(entity, system, mapping, info)
            except MappingError as error:
                errors[name] = TrueupError(str(error), system=name, entity=entity.name, hint="see `trueup check`")
            except TrueupError as error:
                error.system = error.system or name
                errors[name] = error
            else:
                seats[name] = Seat(name, system, connector, mapping, info, compiled)
        return seats, errors

    def is_unmade(self, mapping: ModelMapping) -> bool:
        """Whether the object is not there, and a run may make it. Raises what else keeps it from being described."""
        if not mapping.object.create:
            return False
        try:
            self.connector(mapping.system).describe(mapping.object)
        except ObjectMissingError:
            return True
        except SystemUnreachableError:
            # A database in a file is not reachable before its file is there, which making the object makes as well.
            path = self.config.systems[mapping.system].settings.get("path")
            if path is None or Path(self.config.directory, path).exists():
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
