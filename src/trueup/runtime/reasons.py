"""Why deliveries of one record wait, and what to do about it; from the state alone, and without reading a table that grows.

Looked at in this order: what a person must settle, what the system answered, what keeps the whole system, what the last run left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import orjson
import polars as pl

from trueup.connectors.registry import connector_class
from trueup.core.cells import GID, NULL
from trueup.core.match import ALIKE, REUSED
from trueup.errors import TrueupError
from trueup.model import Caps
from trueup.reports.record_facts import Why
from trueup.runtime.limits import resting_until
from trueup.runtime.questions import may_be_there, waiting_rows
from trueup.store import cursor, failure, hold, outsider, parked, paused, restored, sending, shadow, unsettled_key
from trueup.store import run as run_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.model import Config, Entity
    from trueup.reports.record_facts import RecordView
    from trueup.store import Db

LOOKED_BACK_RUNS = 50
"""So many runs are asked for the last one in which a system took part."""
NEXT = Why("next run", "waits for the next `trueup sync`", "trueup sync")


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run over all records of an entity, and what it says about one system. `pending`: what it left there."""

    number: int
    started_at: datetime
    error: str | None
    limited: bool
    pending: int


class Reasons:
    """Why the deliveries of one record wait."""

    def __init__(self, db: Db, config: Config, entity: Entity, gid: int, view: RecordView, keys: Mapping[str, str | None]) -> None:
        """`keys` are the record's rows by system, None where it has none."""
        self._db = db
        self._config = config
        self._entity = entity
        self._gid = gid
        self._view = view
        self._conflicts = {item.field: item for item in view.conflicts}
        self.failures = failure.about(db, entity.name, gid, keys).to_dicts()
        self._pauses = set(paused.list_(db))
        self._runs: list[tuple[run_table.Run, dict[str, Any]]] | None = None

    # -------------------------------------------------------------- one delivery each

    def of_field(self, system: str, key: str, field: str, cell: str | None) -> Why:
        """Why one value has not arrived in a row that is there."""
        asked = self._conflicts.get(field)
        if asked is not None:
            return _asked(asked.kind, asked.id)
        for why in (self._parked(system, key), self._refused(system, field), self._lane(system), self._reference(system, field, cell)):
            if why is not None:
                return why
        return self._cannot(system, "updates") or self._left(system, key, field)

    def of_new_row(self, system: str, cells: Mapping[str, str | None]) -> Why:
        """Why a record has no row in a system that is written to."""
        for why in (self._row_that_may_be(system), self._refused(system, None), self._lane(system)):
            if why is not None:
                return why
        if all(cells.get(name) is None for name in self._entity.written(system)):
            return Why("nothing to write", "is not made, because nothing is agreed that could be written there")
        why = self._cannot(system, "creates")
        if why is not None:
            return why
        considered = cursor.get(self._db, self._entity.name, system).considered_version
        if 0 < self._view.version <= considered:
            return self._left_out(system)
        caps = self._caps(system)
        if caps is not None and not caps.find and self.last_run(system) is not None:
            return Why("not read", "waits for a complete reading of this system", "trueup sync --full")
        return self._left(system, None, None)

    def of_delete(self, system: str, key: str) -> Why:
        """Why a row is still there although it is to be deleted."""
        for why in (self._parked(system, key), self._refused(system, None), self._lane(system), self._cannot(system, "deletes")):
            if why is not None:
                return why
        return self._left(system, key, None)

    def of_row_left_alone(self, system: str, key: str, state: str) -> Why:
        """Why a row that is not there as it was is told nothing."""
        if state == "unreadable":
            said = next((row for row in self.failures if row["system"] == system and row["key"] == key and row["stage"] != "write"), None)
            if said is None:
                return Why("unreadable", "waits because the row cannot be read: see `trueup failures`", "trueup failures")
            field = f"{said['field']}: " if said["field"] and said["field"] not in said["reason"] else ""
            words = f"waits because the row cannot be read: {field}{said['reason']}"
            return Why("unreadable", words, f"mend the row {key} in {system}, then `trueup sync`")
        if state == "outside":
            where = self._entity.mappings[system].where
            words = "waits because the row is outside of the mapping's filter" + (f" ({where})" if where else "")
            return Why("outside", words, f"it is told once {system}:{key} is inside of the filter again")
        words = "waits because the row has vanished there"
        rule = self._entity.deletes
        if rule is not None and system in rule.sources:
            return Why("missing", words, f"put the row back in {system}, or leave it so: what `deletes:` says was done")
        return Why("missing", words, f"put the row back in {system}, or say in `deletes:` that deletes in {system} count")

    # -------------------------------------------------------------- matching

    def _parked(self, system: str, key: str) -> Why | None:
        row = parked.at(self._db, self._entity.name, system, key)
        if row is None or row["why"].startswith(ALIKE):
            return None
        if row["decision"]:
            return Why(
                "parked", f"waits for the next `trueup sync`, which carries out what was decided about row {row['id']}", "trueup sync"
            )
        words = "as before, or the row of another record" if row["why"] == REUSED else "of this record"
        step = f"say whether it is the row {words}: `trueup matches link {row['id']} --to {self._gid}`, or `--new`"
        return Why("parked", f"waits because the row is parked: see `trueup matches` {row['id']}", step)

    def _row_that_may_be(self, system: str) -> Why | None:
        """A row of which nobody knows whether it is this record's: none is made as long as it stands there."""
        name = self._entity.name
        for row in parked.perhaps(self._db, name, system, self._gid).iter_rows(named=True):
            if row["decision"]:
                return Why("may be parked", f"waits for the next `trueup sync`, which places row {row['id']} as decided", "trueup sync")
            step = f"say which record {system}:{row['key']} is: `trueup matches link {row['id']} --to {self._gid}`, or `--new`"
            return Why("may be parked", f"waits because a row there may be this record: see `trueup matches` {row['id']}", step)
        waiting = waiting_rows(parked.of(self._db, name))
        if (system, self._gid) in may_be_there(self._db, name, waiting).rows():
            step = "say whether its record is another one: `trueup matches`"
            return Why("may be parked", "waits because it may be the same as a record that has a row there: see `trueup matches`", step)
        key = outsider.key_in_place_of(self._db, name, system, self._gid)
        if key is not None:
            words = f"waits because a row there may be this record, which is outside of the mapping's filter: {key}"
            return Why("outsider", words, f"let {system}:{key} into the filter, or delete it there; then `trueup sync`")
        return None

    # -------------------------------------------------------------- what the system answered

    def _refused(self, system: str, field: str | None) -> Why | None:
        for row in self.failures:
            mine = row["system"] == system and row["stage"] == "write" and row["gid"] in {None, self._gid}
            if not mine or not (row["field"] is None or field is None or row["field"] == field):
                continue
            times = f" ({row['attempts']} times so far)" if row["attempts"] > 1 else ""
            words = f"waits because {system} did not take it: {row['reason']}{times}"
            if row["next_try_at"] is None:
                step = f"change the value, or mend what {system} refuses, then `trueup failures retry {row['id']}`"
                return Why("rejected", words, step)
            again = f", to be tried again {_moment(row['next_try_at'])}"
            return Why("retry", words + again, f"`trueup failures retry {row['id']}` tries at the next sync")
        return None

    # -------------------------------------------------------------- what keeps a whole system

    def _lane(self, system: str) -> Why | None:
        """What keeps every delivery to a system."""
        for sent in sending.outstanding(self._db, self._entity.name, system):
            if GID in sent.frame.columns and self._gid in sent.frame[GID]:
                words = f"is on its way since {_moment(sent.at).removeprefix('at ')}, or was when run {sent.run} was interrupted"
                return Why("on its way", words, "`trueup sync` finds out what became of it")
        why = self._paused(system)
        if why is not None:
            return why
        until = resting_until(self._config.systems[system], datetime.now(UTC))
        if until is not None:
            words = f"waits because {system} is left alone until {_moment(until).removeprefix('at ')} by its `limits`"
            return Why("resting", words, "`trueup serve` does it then, or `trueup sync`")
        after = restored.get(self._db)
        if after is not None and after.stage(self._entity.name) == "meet":
            words = f"waits because the state was put back from a backup of {after.taken_at[:19].replace('T', ' at ')}Z"
            return Why("restored", words + ", and first meets the systems as they are now", "trueup sync")
        last = self.last_run(system)
        if last is not None and last.error is not None:
            words = f"waits because {system} was left out of run {last.number}: {'; '.join(last.error.splitlines())}"
            return Why("left out", words, "mend that, then `trueup sync`; `trueup check` says more")
        return None

    def _paused(self, system: str) -> Why | None:
        pauses = {("all", ""): "--all", ("entity", self._entity.name): self._entity.name, ("system", system): system}
        names = [name for pause, name in pauses.items() if pause in self._pauses]
        steps = [f"`trueup resume {' '.join(names)}`"] if names else []
        if self._config.systems[system].paused:
            steps.append(f"take `paused: true` of {system} out of the configuration")
        if not steps:
            return None
        step = " and ".join(steps)
        return Why("paused", f"waits because deliveries to {system} are paused", step.strip("`") if len(steps) == 1 else step)

    def _reference(self, system: str, field: str, cell: str | None) -> Why | None:
        target = self._entity.fields[field].entity
        if target is None or cell is None or cell == NULL or not cell.isdigit():
            return None
        links = shadow.by_golden(self._db, target, pl.Series([int(cell)], dtype=pl.Int64), [system])
        if not links.filter(pl.col("state") != shadow.MISSING).is_empty():
            return None
        words = f"waits because {target} {cell}, to which it refers, has no row in {system} yet"
        return Why("reference", words, f"trueup explain {target} {cell}")

    def _caps(self, system: str) -> Caps | None:
        """What the connector can do; None where only an open one could tell."""
        try:
            found = getattr(connector_class(self._config.systems[system].connector), "caps", None)
        except (TrueupError, ImportError):
            return None
        return found if isinstance(found, Caps) else None

    def _cannot(self, system: str, what: str) -> Why | None:
        caps = self._caps(system)
        if caps is None or getattr(caps, what):
            return None
        connector = self._config.systems[system].connector
        words = {"creates": "make rows", "updates": "change rows", "deletes": "delete rows"}[what]
        step = f"do it by hand in {system}: the next `trueup sync` finds it done"
        return Why("cannot", f"waits because the connector {connector} of {system} cannot {words}", step)

    # -------------------------------------------------------------- what the last run left

    def _left_out(self, system: str) -> Why:
        """A record of which an earlier run saw that no row is to be made for it."""
        where = self._entity.mappings[system].where
        if where is not None:
            words = f"is not made, because its row would be outside of the mapping's filter ({where})"
            return Why("filter", words, "it is made once its values are inside, or the filter lets it in")
        step = f"trueup sync --record {self._entity.name} {self._gid}"
        return Why("given up", "is not made before the record changes: what kept it from being made was dropped from the failures", step)

    def _left(self, system: str, key: str | None, field: str | None) -> Why:
        why = unsettled_key.why(self._db, self._entity.name, system, key) if key is not None else None
        if why is not None:
            return Why("looked at again", f"waits for the next `trueup sync`, which reads the row again: {why}", "trueup sync")
        for row in hold.of(self._db, self._entity.name, system, decided=False).iter_rows(named=True):
            words = f"waits while a guard holds {row['kind']} of {system} (hold {row['id']}), in case the row is one of them"
            return Why("held", words, f"trueup holds, then `trueup holds approve {row['id']}` or `refuse {row['id']}`")
        last = self.last_run(system)
        if last is not None and last.limited and last.pending and self._was_due(last, field):
            words = f"waits because run {last.number} was told with --limit to deliver no more"
            return Why("limit", words, "trueup sync")
        return NEXT

    def _was_due(self, last: LastRun, field: str | None) -> bool:
        """Whether the value was agreed when a run delivered, and not after it."""
        events = [event for event in self._view.history if field is None or event.field == field]
        return all(event.run == last.number or event.recorded_at < last.started_at for event in events[-1:])

    def last_run(self, system: str) -> LastRun | None:
        """The last run over all records in which a system took part, or was to; None: not known."""
        if self._runs is None:
            self._runs = list(self._whole_runs())
        for run, body in self._runs:
            said = body.get("systems", {}).get(system)
            if said is not None:
                pending = int(said["delivered"]["pending"])
                return LastRun(run.id, run.started_at, said.get("error"), "--limit" in run.command.split(), pending)
        return None

    def _whole_runs(self) -> Iterator[tuple[run_table.Run, dict[str, Any]]]:
        for run in run_table.list_(self._db, LOOKED_BACK_RUNS):
            if run.summary is None or not run.command.startswith("sync") or "--record" in run.command.split():
                continue
            body = orjson.loads(run.summary).get("entities", {}).get(self._entity.name)
            if body is not None:
                yield run, body


def _asked(kind: str, number: int) -> Why:
    if kind == "hold":
        return Why("held change", f"waits for a person to settle conflict {number}", f"trueup conflicts resolve {number} …")
    return Why("conflict", f"waits for a person to settle conflict {number}", f"trueup conflicts resolve {number} …")


def _moment(at: Any) -> str:
    return cast("datetime", at).strftime("at %Y-%m-%d %H:%M:%SZ")
