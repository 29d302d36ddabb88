"""What became of the edits of a rehearsal, as the state and the copies tell; an edit of which neither tells is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import cell_from_python, json_to_records
from trueup.reports.rehearsal_facts import SettledFacts
from trueup.store import conflict, failure, golden, history, parked, shadow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import Config, Entity
    from trueup.reports.rehearsal_facts import Outcome
    from trueup.setup.rehearsal.copies import Copies
    from trueup.setup.rehearsal.people import Done, Played
    from trueup.setup.rehearsal.standin import Asked
    from trueup.store import Db, Store

KINDS: Mapping[str, Outcome] = {"lost": "gave way", "overruled": "overruled", "candidate": "waits"}
REFUSED = "refused by a person"
COMPUTED = {"add", "union", "text", "rule"}


@dataclass
class Met:
    """What was held at some time (entity and system), and which rows were rejected at some time (entity, system, key)."""

    held: set[tuple[str, str]] = field(default_factory=set)
    refused: set[tuple[str, str, str | None]] = field(default_factory=set)


class Judge:
    """Looks into the state once, at the end."""

    def __init__(self, config: Config, store: Store, copies: Copies, played: list[Played], met: Met) -> None:
        """`met` is what runs met with meanwhile."""
        self._config = config
        self._copies = copies
        self._played = played
        self._held = met.held
        self._refused = met.refused
        self._last: dict[tuple[str, str, str, str | None], int] = {}
        for number, play in enumerate(played):
            for system, key in play.keys:
                self._last[play.move.entity, system, key, play.move.field] = number
        with store.read() as db:
            self._state = {name: _Known(db, entity, self._gids(name)) for name, entity in config.entities.items()}

    def _gids(self, entity: str) -> pl.Series:
        gids = {done.gid for play in self._played for done in play.done if done.entity == entity and done.gid is not None}
        return pl.Series("gid", sorted(gids), dtype=pl.Int64)

    def outcomes(self, number: int) -> Counter[Outcome]:
        """What became of the edits of one move. Of an accident all edits are judged as one."""
        play = self._played[number]
        if not play.done and play.many:
            place = {(play.move.entity, system) for system in play.systems}
            return Counter({"held" if place & self._held else "agreed": play.many})
        return Counter(self._outcome(done, number) for done in play.done)

    def _rejected(self, done: Done, known: _Known) -> bool:
        """Whether the row, or what was typed, is or was refused with a reason."""
        here = (done.system, done.key)
        if here in known.failed or (done.do == "overlong" and (done.gid, done.field) in known.failed_fields):
            return True
        return done.do == "invalid" and (done.entity, *here) in self._refused

    def _outcome(self, done: Done, number: int) -> Outcome:
        known = self._state[done.entity]
        here = (done.system, done.key)
        if self._rejected(done, known):
            return "rejected"
        if here in known.parked:
            return "waits"
        table = self._copies.table(done.system, done.entity)
        there = table is not None and done.key in table.rows
        if done.do in {"add", "delete", "touch"}:
            return self._of_row(done, known, there=there)
        if done.back:
            return "replaced"
        return self._of_value(done, number, known) or self._of_silence(done, number, there=there)

    def _of_value(self, done: Done, number: int, known: _Known) -> Outcome | None:
        """What the state tells of a value; None: nothing."""
        entity = self._config.entities[done.entity]
        said = known.said(done)
        if done.do == "count" and not self._counts(done, number, known):
            return "lost"
        if entity.fields[done.field or ""].conflict in COMPUTED and "edit" in said:
            return "merged"
        if "edit" in said or known.agrees(done):
            return "agreed"
        for kind, outcome in KINDS.items():
            if kind in said:
                return outcome
        return "waits" if (done.gid, done.field) in known.open else None

    def _of_silence(self, done: Done, number: int, *, there: bool) -> Outcome:
        """Why the state may tell nothing of a value."""
        entity = self._config.entities[done.entity]
        if self._last[done.entity, done.system, done.key, done.field] > number:
            return "replaced"
        if (done.entity, done.system) in self._held:
            return "held"
        if not there:
            return "gone"
        if sum((done.field or "") in entity.mapped(system) for system in entity.mappings) < 2:
            return "alone"
        return "lost"

    def _counts(self, done: Done, number: int, known: _Known) -> bool:
        """Whether a counter has moved by all that was counted in its systems, as far as nobody did anything else with it meanwhile."""
        play = self._played[number]
        mine = [other for other in play.done if other.gid == done.gid]
        rows = {place for place, gid in known.links.items() if gid == done.gid} | {(other.system, other.key) for other in mine}
        if any(rows & other.keys and other is not play and other.round == play.round for other in self._played):
            return True
        after = [other for other in self._played if other.round > play.round]
        touched = any(rows & other.keys for other in after)
        moved = known.moved(done, min((other.since for other in after), default=None) if touched else None)
        # Of rows that were edited once more, some may not have been looked at in between: a system was away.
        certain = 0 if touched else sum(not self._stuck(other, known) for other in mine)
        return moved is None or moved in {Decimal(play.move.by * count) for count in range(certain, len(mine) + 1)}

    def _stuck(self, done: Done, known: _Known) -> bool:
        """Whether the row was, or is, not looked at: it cannot be read, or a person is asked which record it is."""
        here = (done.system, done.key)
        return here in known.failed or here in known.parked or (done.entity, *here) in self._refused

    def _of_row(self, done: Done, known: _Known, *, there: bool) -> Outcome:
        if done.do == "touch":
            return "agreed"
        if done.do == "add":
            if done.gid is not None:
                return "gone" if done.gid in known.gone else "agreed"
            return "held" if (done.entity, done.system) in self._held else "lost"
        if there:
            return "held" if (done.entity, done.system) in self._held else "gave way"
        if done.gid in known.gone:
            return "agreed"
        return "waits"  # the row is reported as missing, and nobody deletes it anywhere else

    def settled(self) -> list[SettledFacts]:
        """Every field in which edits met since the first run, and how they were settled."""
        found = []
        for name, known in self._state.items():
            entity = self._config.entities[name]
            waiting = Counter(title for _gid, title in known.open)
            for title, item in entity.fields.items():
                rules = known.rules.get(title, {})
                if rules or waiting[title]:
                    asks = item.owner or entity.owner
                    found.append(SettledFacts(name, title, dict(rules), waiting[title], asks if waiting[title] else None))
        return found

    def duplicates(self, asked: Mapping[str, Asked]) -> tuple[int, int]:
        """Rows that trueup made; and those of them that are no record's, or that of one that has another row there."""
        made = doubled = 0
        for name, entity in self._config.entities.items():
            from trueup.setup.rehearsal.treatment import label_of

            for system, mapping in entity.mappings.items():
                table = self._copies.table(system, name)
                if system not in asked or table is None:
                    continue
                keys = [key for key in asked[system].made.get(label_of(mapping), ()) if key in table.rows]
                links = self._state[name].links
                several = Counter(gid for (where, key), gid in links.items() if where == system and key in table.rows)
                made += len(keys)
                shared = sum(
                    label_of(other.mappings[system]) == label_of(mapping)
                    for other in self._config.entities.values()
                    if system in other.mappings
                )
                if shared == 1:
                    doubled += sum((system, key) not in links or several[links[system, key]] > 1 for key in keys)
        return made, doubled


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the history."""

    system: str | None
    version: int
    kind: str
    before: str | None
    after: str | None


class _Known:
    """What the state knows of one entity."""

    def __init__(self, db: Db, entity: Entity, gids: pl.Series) -> None:
        name = entity.name
        self._fields = entity.fields
        self.lines: dict[tuple[int, str | None], list[_Line]] = {}
        told = history.about(db, name, gids).select("gid", "field", "system", "version", "kind", "before", "after")
        for gid, field_, *line in told.rows():
            self.lines.setdefault((gid, field_), []).append(_Line(*line))
        failures = failure.of(db, name)
        self.failed = set(failures.select("system", "key").rows())
        self.failed_fields = set(failures.select("gid", "field").rows())
        self.parked = set(parked.of(db, name).select("system", "key").rows())
        self.open = set(conflict.open_of(db, name).select("gid", "field").rows())
        records = golden.fetch(db, name, gids)
        self.gone = set(records.filter(pl.col("deleted_at").is_not_null())["id"].to_list())
        cells = json_to_records(records["data"], entity.fields) if not records.is_empty() else pl.DataFrame()
        self._cells = dict(zip(records["id"].to_list(), cells.to_dicts(), strict=True)) if cells.width else {}
        self.links: dict[tuple[str, str], int] = {}
        for system in entity.mappings:
            for chunk in shadow.keys(db, name, system):
                self.links |= {(system, key): gid for key, gid in chunk.select("key", "gid").rows() if gid is not None}
        settled = history.of_kind(db, name, "lost").group_by("field", "rule").len().rows()
        overruled = history.of_kind(db, name, "overruled").group_by("field", "rule").len().rows()
        self.rules: dict[str, dict[str, int]] = {}
        for title, rule, count in [*settled, *overruled]:
            if rule == REFUSED:
                continue
            mine = self.rules.setdefault(str(title), {})
            mine[str(rule)] = mine.get(str(rule), 0) + int(count)

    def said(self, done: Done) -> set[str]:
        """The kinds of what the history tells of this field since the edit: of its system and value, or of what is made of several."""
        computes = self._computes(done)
        return {
            line.kind
            for line in self.lines.get((done.gid or 0, done.field), [])
            if line.version > done.version and (computes or (line.system == done.system and self._cell(done, line.after) == done.cell))
        }

    def moved(self, done: Done, until: int | None) -> Decimal | None:
        """By how much a counter moved after the edit, up to a version (None: the end); None where it did not only count."""
        total = Decimal()
        for line in self.lines.get((done.gid or 0, done.field), []):
            if done.version < line.version and (until is None or line.version <= until):
                if line.kind != "edit" or line.before is None or line.after is None:
                    return None
                total += Decimal(str(orjson.loads(line.after) or 0)) - Decimal(str(orjson.loads(line.before) or 0))
        return total

    def _computes(self, done: Done) -> bool:
        """Whether what comes of edits of this field is another value than what was typed."""
        return self._fields[done.field or ""].conflict in COMPUTED

    def _cell(self, done: Done, after: str | None) -> str | None:
        return None if after is None else cell_from_python(orjson.loads(after), self._fields[done.field or ""])

    def agrees(self, done: Done) -> bool:
        """Whether the golden record says what was typed."""
        cells = self._cells.get(done.gid or 0)
        return cells is not None and done.cell is not None and cells.get(done.field or "") == done.cell
