"""What people do to the copies, round by round: a script of the user's own, or one that is drawn from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.model import Entity
    from trueup.setup.rehearsal.copies import Copies
    from trueup.setup.rehearsal.weather import Weather

Deed = Literal["edit", "blank", "count", "add", "delete", "touch", "invalid", "overlong", "kill"]
FEW, MANY = 3, 0.4
"""So many records are edited in one move; such a share of a system's rows is hit by an accident."""
OVERLONG = 300
ALL = 1.0 - 1e-9
"""A share: every record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One thing that people do.

    do       edit: another value at each of the systems; blank: nothing there any more; count: `by` more or less at each of them;
             add: a new record, entered in each of them; delete: the row goes from each of them; touch: saved without a change;
             invalid, overlong: a value that its field, or another system, does not take; kill: trueup dies in the middle of its next run
    systems  where; empty: in one of those that can
    records  how many, or a share of a system's rows (below 1)
    to       the value to be typed, None: one of the same form is made up
    same     the records of the move before
    """

    do: Deed
    entity: str = ""
    systems: tuple[str, ...] = ()
    field: str | None = None
    records: float = FEW
    to: Any = None
    by: int = -1
    same: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """Some moves, after which trueup runs a few times. `weather` None: that of the whole rehearsal."""

    name: str
    moves: tuple[Move, ...]
    weather: Weather | None = None


def drawn_from(copies: Copies, entities: Mapping[str, Entity], number: int) -> list[Round]:
    """A script that tries what the configuration says: `number` rounds, each kind of day in turn."""
    shown = [_Shown(entity, copies) for entity in entities.values()]
    days = [
        Round("an ordinary day", tuple(move for one in shown for move in one.ordinary())),
        Round("the same records at both ends", tuple(move for one in shown for move in one.both_ends())),
        Round("accidents", tuple(move for one in shown for move in one.accidents())),
    ]
    return [days[turn % len(days)] for turn in range(number)]


class _Shown:
    """One entity, and which systems people can edit which of its fields in."""

    def __init__(self, entity: Entity, copies: Copies) -> None:
        self.entity = entity
        self.copies = copies
        self.systems = [
            name for name in entity.mappings if copies.table(name, entity.name) is not None and copies.worlds[name].caps.kind != "push"
        ]

    def typed_in(self, field: str) -> list[str]:
        """The systems where people see and type a field, in a column of its own."""
        found = []
        for name in self.systems:
            mapping = self.entity.mappings[name]
            shown = mapping.fields.get(field)
            table = self.copies.table(name, self.entity.name)
            if shown is None or table is None or mapping.object.sql is not None or not shown.readable:
                continue
            column = column_of(self.entity, name, field)
            if column in table.columns and column not in mapping.object.key:
                found.append(name)
        return found

    def _fields(self) -> Iterator[tuple[str, list[str]]]:
        for name, field in self.entity.fields.items():
            systems = self.typed_in(name)
            if systems and field.type != "reference":
                yield name, systems

    def ordinary(self) -> Iterator[Move]:
        """Edits in each field, each time somewhere else, new records, and values that cannot be."""
        for number, (name, systems) in enumerate(self._fields()):
            yield Move(do="edit", entity=self.entity.name, systems=(systems[number % len(systems)],), field=name)
        for name in self._where_added():
            yield Move(do="add", entity=self.entity.name, systems=(name,), records=2)
        deeds: tuple[tuple[Deed, tuple[str, str] | None], ...] = (("invalid", self._invalid()), ("overlong", self._overlong()))
        for deed, found in deeds:
            if found is not None:
                yield Move(do=deed, entity=self.entity.name, systems=(found[1],), field=found[0], records=1)

    def both_ends(self) -> Iterator[Move]:
        """Edits of one field in two systems, counters moved in all, records entered twice, deleted here and edited there; a kill."""
        yield Move(do="kill")
        for number, (name, systems) in enumerate(self._fields()):
            if len(systems) < 2:
                continue
            two = (systems[number % len(systems)], systems[(number + 1) % len(systems)])
            if self.entity.fields[name].conflict == "add":
                yield Move(do="count", entity=self.entity.name, systems=tuple(systems), field=name)
            else:
                yield Move(do="edit", entity=self.entity.name, systems=two, field=name, records=2)
        added = self._where_added()
        if len(added) > 1 and self.entity.match:
            yield Move(do="add", entity=self.entity.name, systems=tuple(added[:2]), records=2)
        fields = [(name, systems) for name, systems in self._fields() if len(systems) > 1]
        if fields:
            name, systems = fields[0]
            yield Move(do="delete", entity=self.entity.name, systems=(systems[0],), records=2)
            yield Move(do="edit", entity=self.entity.name, systems=(systems[1],), field=name, same=True)

    def accidents(self) -> Iterator[Move]:
        """Rows saved without a change, a column emptied, and many rows deleted by mistake."""
        name = self.entity.name
        for system in self.systems:
            if self.entity.mappings[system].object.modified:
                yield Move(do="touch", entity=name, systems=(system,), records=ALL)
                break
        optional = [
            (field, systems)
            for field, systems in self._fields()
            if not self.entity.fields[field].required and not any(field in rule for rule in self.entity.match)
        ]
        if optional:
            field, systems = optional[0]
            owner = self.entity.fields[field].source_of_truth
            where = owner if owner in systems else systems[0]
            yield Move(do="blank", entity=name, systems=(str(where),), field=field, records=ALL)
        sources = self.entity.deletes.sources if self.entity.deletes is not None else ()
        here = [system for system in (*sources, *reversed(self.systems)) if system in self.systems]
        if here:
            yield Move(do="delete", entity=name, systems=(here[0],), records=MANY)

    def _where_added(self) -> list[str]:
        return [name for name in self.systems if self.entity.mappings[name].direction != "write"]

    def _invalid(self) -> tuple[str, str] | None:
        """A field with a value that it does not take, and where it can be typed."""
        asks = (
            lambda field: field.type in {"integer", "decimal", "float", "date", "datetime", "boolean"},
            lambda field: field.one_of or field.pattern,
            lambda field: field.required,
        )
        for asked in asks:
            for name, systems in self._fields():
                if asked(self.entity.fields[name]):
                    return name, systems[0]
        return None

    def _overlong(self) -> tuple[str, str] | None:
        """A text that one system has room for and another one has not."""
        for name, systems in self._fields():
            if self.entity.fields[name].type != "text":
                continue
            room = {}
            for system in systems:
                table = self.copies.table(system, self.entity.name)
                assert table is not None
                room[system] = table.columns[column_of(self.entity, system, name)].info.max_length or OVERLONG
            if min(room.values()) < max(room.values()):
                return name, max(room, key=lambda system: room[system])
        return None


def column_of(entity: Entity, system: str, field: str) -> str:
    """The native column in which people type a field; the empty text where there is none."""
    from trueup.setup.rehearsal.treatment import columns_of

    shown = entity.mappings[system].fields[field]
    columns: Sequence[str] = list(columns_of(shown))
    return columns[0] if columns else ""
