"""Find the golden records that are the same, say why, and make each group one: the plan and its doing are one and the same path."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from trueup import scratch
from trueup.core.cells import GID, NULL, cell_to_python, json_to_records
from trueup.core.facts import MISSING
from trueup.core.unite import ONLY, ranked, standing, unite
from trueup.errors import StateError, StateMissingError, UsageError
from trueup.model import EntitySummary, RunSummary, SystemSummary
from trueup.reports.dedupe_facts import Chosen, Duplicates, Evidence, Group, Known, Likeness, Question
from trueup.reports.dedupe_text import because
from trueup.reports.table import counted
from trueup.runtime.unite import alive, ask_about, told_apart, unite_records
from trueup.runtime.workspace import Workspace
from trueup.setup.linkage.judge import REVIEW, THRESHOLD, judge
from trueup.setup.linkage.model import splink_at_hand
from trueup.store import Store, conflict, golden, parked, shadow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from trueup.core.unite import Member
    from trueup.model import Entity
    from trueup.setup.linkage.model import Scored
    from trueup.setup.linkage.verdicts import Pair
    from trueup.store import Db

SHOWN_FIELDS = 6
MOST_QUESTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: one entity, in all systems or among the records of one, and how sure is sure."""

    entity: str
    system: str | None = None
    threshold: float = THRESHOLD
    review: float = REVIEW


def plan(workspace: Workspace, wanted: Wanted, tick: Callable[[str, str, int], None] | None = None) -> Duplicates:
    """What is the same, and what would become of it; nothing is changed anywhere.

    Where nothing was synced yet, the systems are read into a state that is thrown away. Raises UsageError, StateError.
    """
    _checked(workspace, wanted)
    try:
        with Store.open(workspace.state_target, read_only=True) as store, store.read() as db:
            if _met(db, wanted.entity):
                return _found(db, workspace.config.entities[wanted.entity], wanted, workspace.clock())
    except StateMissingError:
        pass
    with scratch.folder_for("dedupe") as folder:
        aside = replace(workspace.config, state=str(Path(folder, "state.db")))
        with Workspace(aside, clock=workspace.clock) as apart:
            _meet(apart, tick)
            with apart.store.read() as db:
                found = _found(db, aside.entities[wanted.entity], wanted, apart.clock())
    found.first = True
    return found


def apply(workspace: Workspace, wanted: Wanted, tick: Callable[[str, str, int], None] | None = None) -> Duplicates:
    """Make each group one record, and put the doubtful pairs before a person, as a run; nothing is written to any system.

    Where nothing was synced yet, the systems are met first: read, and linked by the match rules. Raises UsageError, StateError.
    """
    _checked(workspace, wanted)
    entity = workspace.config.entities[wanted.entity]
    with workspace.store.read() as db:
        first = not _met(db, wanted.entity)
    if first:
        _meet(workspace, tick)
    with workspace.lock("dedupe"):
        if not workspace.may_read_apart(wanted.entity):
            raise StateError(
                "the configuration has changed since the last run, or that was interrupted", hint="`trueup sync` first; then run this again"
            )
        begun, started = time.perf_counter(), workspace.clock()
        with workspace.store.read() as db:
            found = _found(db, entity, wanted, started)
        found.first = first
        if not found.groups and not found.questions:
            return found
        number = workspace.begin_run(f"dedupe {wanted.entity} --apply", [wanted.entity])
        try:
            summary = _carry_out(workspace, entity, found, number, started)
        except BaseException as error:
            workspace.end_run(number, "failed", started, None, type(error).__name__)
            raise
        result = RunSummary(run=number, status="done", started_at=started, seconds=time.perf_counter() - begun)
        result.entities[entity.name] = summary
        workspace.end_run(number, "done", started, result, None)
    return found


def _checked(workspace: Workspace, wanted: Wanted) -> None:
    config = workspace.config
    if wanted.entity not in config.entities:
        raise UsageError(f"there is no entity {wanted.entity!r}", hint=f"configured: {', '.join(config.entities)}")
    mappings = config.entities[wanted.entity].mappings
    if wanted.system is not None and wanted.system not in mappings:
        raise UsageError(f"{wanted.entity} has no system {wanted.system!r}", hint=f"its systems: {', '.join(mappings)}")
    if not 0 < wanted.review <= wanted.threshold <= 1:
        raise UsageError(
            f"--review {wanted.review:g} and --threshold {wanted.threshold:g} leave no room",
            hint="both are between 0 and 1, and --review is the smaller one",
        )
    splink_at_hand()


def _met(db: Db, entity: str) -> bool:
    """Whether the systems were ever read for this entity."""
    return golden.count(db, entity) > 0 or parked.count(db, entity) > 0


def _meet(workspace: Workspace, tick: Callable[[str, str, int], None] | None) -> None:
    """Read every system and link what the match rules recognise; nothing is written. Raises StateError where one cannot be read."""
    run = workspace.meet_all("dedupe", tick)
    wrong = [f"{name}: {part.error}" for entity in run.entities.values() for name, part in entity.systems.items() if part.error]
    if wrong or run.status == "failed":
        raise StateError(
            f"the systems cannot be compared: {'; '.join(dict.fromkeys(wrong)) or run.error}",
            hint="see to that system, or take it out of the configuration, and run again",
        )


# ---------------------------------------------------------------- finding


def _found(db: Db, entity: Entity, wanted: Wanted, now: datetime) -> Duplicates:
    """Everything about the duplicates of one entity, from the state alone."""
    gids, cells = _records(db, entity, wanted.system)
    asked = conflict.open_of(db, entity.name)["gid"].unique()
    waiting = gids.is_in(asked.implode())
    gids, cells = gids.filter(~waiting), cells.filter(~waiting)
    systems = (wanted.system,) if wanted.system is not None else tuple(entity.mappings)
    report = Duplicates(entity.name, gids.len(), systems, wanted.threshold, wanted.review)
    report.waiting, report.parked = int(waiting.sum()), parked.count(db, entity.name)
    numbers = {gid: number for number, gid in enumerate(gids.to_list())}
    pairs = [(numbers[a], numbers[b]) for a, b in told_apart(db, entity.name) if a in numbers and b in numbers]
    apart = {(min(pair), max(pair)) for pair in pairs}
    judged = judge(entity, cells, apart, threshold=wanted.threshold, review=wanted.review)
    report.compared, report.left_out = {one.field: one.kind for one in judged.fields}, judged.left_out
    report.trained, report.looked_at = judged.scored.trained, judged.scored.looked_at
    report.expected = float(judged.scored.pairs["probability"].sum())
    asked_about = judged.verdicts.asked[:MOST_QUESTIONS]
    rows = {row for group, _pairs in judged.verdicts.groups for row in group} | {
        row for one in asked_about for row in (one.left, one.right)
    }
    known = alive(db, entity, gids.gather(sorted(rows)) if rows else gids.clear())
    telling = _Telling(entity, judged.scored, gids, known, [one.field for one in judged.fields])
    report.groups = telling.groups(judged.verdicts.groups, now)
    report.questions = [telling.question(one) for one in asked_about]
    return report


def _records(db: Db, entity: Entity, system: str | None) -> tuple[pl.Series, pl.DataFrame]:
    """The living records (of one system): their golden ids, and their cells."""
    parts = []
    for frame in golden.stream(db, entity.name):
        living = frame.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
        parts.append(pl.concat([living.select(pl.col("id").alias(GID)), json_to_records(living["data"], entity.fields)], how="horizontal"))
    schema = {GID: pl.Int64(), **dict.fromkeys(entity.fields, pl.String())}
    whole = pl.concat([pl.DataFrame(schema=schema), *parts])
    if system is not None:
        here = shadow.index(db, entity.name, system).filter(pl.col("state") != MISSING)["gid"].drop_nulls()
        whole = whole.filter(pl.col(GID).is_in(here.implode()))
    return whole[GID], whole.drop(GID)


class _Telling:
    """Rows of the model as records that people know."""

    def __init__(self, entity: Entity, scored: Scored, gids: pl.Series, known: Mapping[int, Member], shown: Sequence[str]) -> None:
        self._entity = entity
        self._scored = scored
        self._gids = gids
        self._known = known
        self._shown = list(shown)

    def groups(self, found: Sequence[tuple[tuple[int, ...], tuple[Pair, ...]]], now: datetime) -> list[Group]:
        """The groups, largest and surest first, each with what would become of it."""
        whole = [(ranked(self._entity, [self._known[self._gids[row]] for row in rows]), pairs) for rows, pairs in found]
        doubles: dict[int, list[tuple[str, str]]] = {}
        if whole:
            for gid, system, key in unite(self._entity, [members for members, _pairs in whole], now).doubles.rows():
                doubles.setdefault(gid, []).append((system, key))
        told = [
            Group(
                tuple(self._record(one) for one in members),
                tuple(self._likeness(pair) for pair in pairs),
                tuple(self._chosen(members)),
                tuple(doubles.get(members[0].id, ())),
            )
            for members, pairs in whole
        ]
        return sorted(
            told, key=lambda group: (-len(group.records), -min(pair.probability for pair in group.pairs), group.records[0].record)
        )

    def question(self, pair: Pair) -> Question:
        """A pair for a person, the record that would stay first."""
        first, other = ranked(self._entity, [self._known[self._gids[row]] for row in (pair.left, pair.right)])
        return Question((self._record(first), self._record(other)), self._likeness(pair))

    def _record(self, one: Member) -> Known:
        keys = {row["system"]: row["key"] for row in one.shadows if row["state"] != MISSING}
        names = self._shown[:SHOWN_FIELDS] or list(self._entity.fields)[:SHOWN_FIELDS]
        values = {
            name: cell_to_python(cell, self._entity.fields[name])
            for name in names
            if (cell := one.cells.get(name)) is not None and cell != NULL
        }
        return Known(one.id, keys, {name: values.get(name) for name in names})

    def _likeness(self, pair: Pair) -> Likeness:
        evidence = []
        if pair.place is not None:
            row = self._scored.pairs.row(pair.place, named=True)
            for one in self._scored.learned:
                level = row[one.field.column]
                if level is not None:
                    evidence.append(Evidence(one.field.field, one.levels[level].words, row[f"w_{one.field.column}"]))
        evidence.sort(key=lambda one: -abs(one.bits))
        rule = () if pair.rule is None else self._entity.match[pair.rule]
        gids = sorted((self._gids[pair.left], self._gids[pair.right]))
        return Likeness((gids[0], gids[1]), pair.probability, tuple(evidence), rule, pair.why)

    def _chosen(self, members: Sequence[Member]) -> list[Chosen]:
        """The fields in which the records differ, and what becomes of them."""
        found = []
        for name, item in self._entity.fields.items():
            one = standing(self._entity, name, members)
            if one is not None and one.why != ONLY:
                beaten = {other.cell: cell_to_python(other.cell, item) for other in one.beaten}
                found.append(Chosen(name, cell_to_python(one.value.cell, item), one.why, tuple(beaten.values())))
        return found


# ---------------------------------------------------------------- doing


def _carry_out(workspace: Workspace, entity: Entity, found: Duplicates, run: int, now: datetime) -> EntitySummary:
    groups = [([one.record for one in group.records], _words(group)) for group in found.groups]
    done = unite_records(workspace.store, workspace.config, entity, groups, run=run, now=now)
    found.run, found.united, found.doubles = run, done.records, done.doubles
    with workspace.store.write() as tx:
        found.asked = ask_about(tx, entity, _to_ask(entity, found.questions), run=run, now=now)
        total = golden.count(tx, entity.name)
    summary = EntitySummary(total=total, updated=done.values, parked=done.doubles + found.asked)
    summary.systems = {name: SystemSummary() for name in entity.precedence}
    summary.notes.append(f"{counted(done.records, 'record')} taken in by others that are the same")
    return summary


def _words(group: Group) -> str:
    """Why a group is one record, for its history: the surest pair."""
    return because(max(group.pairs, key=lambda pair: pair.probability))


def _to_ask(entity: Entity, questions: Sequence[Question]) -> list[tuple[str, str, list[int], str]]:
    """The rows to be asked about: one of the second record, where possible in a system in which the first one has none."""
    places = {name: place for place, name in enumerate(entity.precedence)}
    found: dict[tuple[str, str], tuple[list[int], str]] = {}
    for one in questions:
        first, other = one.records
        if not other.keys:
            first, other = other, first
        if not other.keys:
            continue
        system = min(other.keys, key=lambda name: (name in first.keys, places.get(name, math.inf)))
        gids, _why = found.setdefault((system, other.keys[system]), ([], because(one.pair)))
        gids.append(first.record)
    return [(system, key, gids, why) for (system, key), (gids, why) in found.items()]
