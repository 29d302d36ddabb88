"""People at work on the copies: each move of a script becomes edits of single rows, which are remembered to be asked for afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.connectors.memory import MemoryConnector
from trueup.core.cells import KEY
from trueup.runtime.systems import Systems
from trueup.setup.rehearsal.mask import Masker
from trueup.setup.rehearsal.script import OVERLONG, column_of
from trueup.setup.rehearsal.treatment import label_of
from trueup.store import shadow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from trueup.connectors.memory import MemoryTable
    from trueup.model import Config, Entity
    from trueup.setup.rehearsal.copies import Copies
    from trueup.setup.rehearsal.script import Move
    from trueup.store import Store

TRIES = 6
FEW = 50
"""Of so many edits in one move each is followed; more of them are an accident, which is followed as a whole."""
Links = dict[str, dict[int, dict[str, str]]]
"""Entity -> golden id -> system -> key."""


@dataclass(slots=True)
class Done:
    """One row that somebody changed. `cell` is what the field then reads as, None where it cannot be read; `gid` None: a new row."""

    move: int
    do: str
    entity: str
    system: str
    key: str
    gid: int | None = None
    field: str | None = None
    cell: str | None = None
    version: int = 0
    back: bool = False  # after this edit the row says what it said at the beginning of the round


@dataclass
class Played:
    """A move as it was carried out. `many` counts the rows of an accident, of which the single ones are not followed."""

    move: Move
    round: int
    systems: tuple[str, ...] = ()
    done: list[Done] = field(default_factory=list)
    many: int = 0
    keys: set[tuple[str, str]] = field(default_factory=set)  # system and key of every row that it changed
    since: int = 0  # the newest version of the state before it


class People:
    """Edits rows of the copies."""

    def __init__(self, config: Config, copies: Copies, random: Random) -> None:
        """`config` is that of the rehearsal."""
        self._config = config
        self._copies = copies
        self._random = random
        self._looking = Systems(config, {name: MemoryConnector(name, world) for name, world in copies.worlds.items()})
        self._before: list[int] = []
        self._typed: set[str] = set()  # what was typed for one record in this move: in each system something else
        self._busy: dict[tuple[int, str], set[int]] = {}
        self._first: dict[tuple[int, str, str, str, str | None], dict[str, Any]] = {}

    def play(self, move: Move, number: int, round_no: int, links: Links, version: int) -> Played:
        """Carry out a move."""
        played = Played(move, round_no, since=version)
        if not move.entity:
            return played
        entity = self._config.entities[move.entity]
        played.systems = move.systems or tuple(name for name in entity.mappings if self._copies.table(name, entity.name) is not None)[:1]
        if move.do == "add":
            for _one in range(int(move.records)):
                self._add(played, entity, links.get(entity.name, {}), number)
            return played
        chosen = self._chosen(move, played.systems, links.get(entity.name, {}), self._busy.setdefault((round_no, entity.name), set()))
        follows = len(chosen) <= FEW
        for gid, keys in chosen:
            self._typed.clear()
            for system in played.systems:
                table = self._copies.table(system, entity.name)
                if table is None or keys[system] not in table.rows:
                    continue
                before = table.rows[keys[system]].values
                if not self._change(move, entity, system, table, keys[system]):
                    continue
                played.many += 1
                played.keys.add((system, keys[system]))
                first = self._first.setdefault((round_no, system, label_of(entity.mappings[system]), keys[system], move.field), before)
                if follows:
                    done = Done(number, move.do, entity.name, system, keys[system], gid, move.field, version=version)
                    done.cell = self._cell(entity, system, keys[system], move.field)
                    done.back = move.do != "delete" and table.rows[keys[system]].values == first and move.do != "touch"
                    played.done.append(done)
        self._before = [gid for gid, _keys in chosen]
        return played

    def _chosen(
        self, move: Move, systems: tuple[str, ...], links: Mapping[int, Mapping[str, str]], busy: set[int]
    ) -> list[tuple[int, Mapping[str, str]]]:
        """The records of a move: those that nobody else edits in this round (`busy`), as far as there are enough."""
        if move.same:
            return [(gid, links[gid]) for gid in self._before if gid in links and set(systems) <= links[gid].keys()]
        fitting = [(gid, keys) for gid, keys in sorted(links.items()) if set(systems) <= keys.keys()]
        if move.records < 1:
            return self._random.sample(fitting, round(len(fitting) * move.records))
        count = min(int(move.records), len(fitting))
        others = [item for item in fitting if item[0] not in busy]
        chosen = self._random.sample(others if len(others) >= count else fitting, count)
        busy.update(gid for gid, _keys in chosen)
        return chosen

    def _cell(self, entity: Entity, system: str, key: str, name: str | None) -> str | None:
        """What a field of a row reads as; None where it cannot be read, or there is no row."""
        if name is None:
            return None
        seat = self._looking.seats(entity, only_look=True)[0].get(system)
        if seat is None:
            return None
        for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=[key]):
            if not page.rows.is_empty() and KEY in page.rows.columns:
                cells = seat.compiled.understood(page.rows, [name])
                return str(cells[name][0]) if name in cells.columns and cells[name][0] is not None else None
        return None

    # ------------------------------------------------------------ one row

    def _change(self, move: Move, entity: Entity, system: str, table: MemoryTable, key: str) -> bool:
        """Change one row; False where nobody could do that there."""
        if move.do == "delete":
            table.remove(key)
            return True
        if move.do == "touch":
            table.touch([key])
            return table.modified is not None
        column = column_of(entity, system, move.field or "")
        if column not in table.columns or column in table.key:
            return False
        value = table.rows[key].values.get(column)
        new = self._new_value(move, entity, system, table, column, value)
        if new == value and move.do != "blank":
            return False
        if new is None and not table.columns[column].info.nullable:
            return False
        table.edit(key, {column: new})
        return True

    def _new_value(self, move: Move, entity: Entity, system: str, table: MemoryTable, column: str, value: Any) -> Any:
        kind = table.columns[column].info.type
        if move.do == "blank":
            return None
        if move.do == "overlong":
            room = table.columns[column].info.max_length or OVERLONG
            return ("A text that is longer than the other system has room for. " * 10)[:room]
        if move.do == "invalid":
            return self._invalid(entity, move.field or "", kind)
        if move.do == "count":
            return _counted(value, move.by)
        if move.to is not None:
            return _typed(move.to, kind)
        return self._another(entity, system, table, column, move.field or "", value)

    def _another(self, entity: Entity, system: str, table: MemoryTable, column: str, name: str, value: Any) -> Any:
        """Another value of the same form: of a list the next one, else what masking makes of this one, or of a neighbour's."""
        shown = entity.mappings[system].fields[name]
        words = [str(item) for item in shown.values.values()] or list(entity.fields[name].one_of)
        if words and isinstance(value, str | None):
            return words[(words.index(value) + 1) % len(words)] if value in words else words[0]
        if isinstance(value, bool):
            return not value
        if value is None:
            given = [row.values[column] for row in table.rows.values() if row.values.get(column) is not None]
            if not given:
                return None
            value = self._random.choice(given)
        treatment = self._copies.treated[system, label_of(entity.mappings[system]), column]
        for turn in range(2 * TRIES):
            masker = Masker(self._random.randbytes(16), kept=self._copies.words[0], words=self._copies.words[1])
            made = treatment.mask(masker, value) if turn < TRIES else _counted(value, turn)
            if made != value and str(made) not in self._typed:
                self._typed.add(str(made))
                return made
        return value

    @staticmethod
    def _invalid(entity: Entity, name: str, kind: str) -> Any:
        field_ = entity.fields[name]
        if field_.type in {"integer", "decimal", "float", "date", "datetime", "boolean"}:
            return "to be announced"  # in a column of another type a value of the wrong type
        if field_.one_of or field_.pattern:
            return "?" if kind != "list" else ["?"]
        return None

    def _add(self, played: Played, entity: Entity, links: Mapping[int, Mapping[str, str]], number: int) -> None:
        """A new record like one that is there, entered in each of the systems as what it is matched by says."""
        fitting = [keys for _gid, keys in sorted(links.items()) if set(played.systems) <= keys.keys()]
        if not fitting:
            return
        keys = self._random.choice(fitting)
        masker = Masker(self._random.randbytes(16), kept=self._copies.words[0], words=self._copies.words[1])
        for system in played.systems:
            table = self._copies.table(system, entity.name)
            if table is None or keys[system] not in table.rows:
                continue
            label = label_of(entity.mappings[system])
            row = {}
            for name, value in table.rows[keys[system]].values.items():
                treatment = self._copies.treated.get((system, label, name))
                refers = treatment is not None and treatment.kind == "key" and name not in table.key
                row[name] = value if treatment is None or refers else treatment.mask(masker, value)
            for name in table.key:
                old = row[name]
                if isinstance(old, int) or (isinstance(old, str) and old.isdecimal()):
                    following = table.next_number(sequence=False)  # no number is given twice
                    row[name] = following if isinstance(old, int) else str(following).zfill(len(old))
            if table.modified is not None:
                row.pop(table.modified, None)
            if table.key_of(row) in table.rows:
                continue
            key = table.insert(row)
            played.many += 1
            played.done.append(Done(number, "add", entity.name, system, str(key), version=played.since))

    @staticmethod
    def introduce(links: Links, played: list[Played]) -> None:
        """Say of rows that were new which records they have become."""
        fresh = [done for play in played for done in play.done if done.gid is None]
        if not fresh:
            return
        records = {(name, system, key): gid for name, mine in links.items() for gid, rows in mine.items() for system, key in rows.items()}
        for done in fresh:
            done.gid = records.get((done.entity, done.system, done.key))


def links_of(config: Config, store: Store, copies: Copies) -> Links:
    """Which rows stand for which golden record, as the state says."""
    found: Links = {}
    with store.read() as db:
        for name, entity in config.entities.items():
            mine = found.setdefault(name, {})
            for system in entity.mappings:
                table = copies.table(system, name)
                if table is None:
                    continue
                for chunk in shadow.keys(db, name, system):
                    for key, gid in chunk.select("key", "gid").rows():
                        if gid is not None and key in table.rows:
                            mine.setdefault(gid, {})[system] = key
    return found


def _counted(value: Any, by: int) -> Any:
    """A number that is so much more; None counts as nothing. A text in which there is no whole number stays as it is."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return value + by
    text = str(value)
    whole, point, rest = text.partition(".")
    if whole.lstrip("-").isdigit():
        return f"{int(whole) + by}{point}{rest}"
    return f"{text} {abs(by)}" if by > 0 else text


def _typed(value: Any, kind: str) -> Any:
    """A value of a script as a column of this type holds it."""
    from datetime import date

    if kind == "integer":
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "date" and isinstance(value, str):
        return date.fromisoformat(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else str(value).lower() in {"true", "yes", "1"}
    return str(value)
