"""Check: does the configuration fit what is really there? Reads only; no state is made, nothing is written, no object is created."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from trueup.core.cells import KEY, cell_to_python
from trueup.core.mapping import MappingError, compile_mapping
from trueup.errors import ObjectMissingError, TrueupError
from trueup.reports.findings import Findings, Sample, SystemFinding
from trueup.reports.lock_facts import WELL, remedy
from trueup.reports.table import duration
from trueup.runtime.channels import unknown
from trueup.runtime.grants import told_for_check
from trueup.runtime.limits import longest_rest_s
from trueup.runtime.locks import look
from trueup.runtime.packages.examined import unusable
from trueup.runtime.runbooks import stale
from trueup.runtime.schedule import is_realtime, longest_wait_s
from trueup.runtime.untidy import UntidyFields
from trueup.yamlfile import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.base import Connector, Reject
    from trueup.connectors.watching import Watching
    from trueup.core.mapping import CompiledMapping
    from trueup.model import Config, Entity, Mapping, ObjectInfo
    from trueup.runtime.reporting.late import Late
    from trueup.runtime.systems import Systems
    from trueup.store.write_lock import WriteLock
    from trueup.yamlfile import YamlDocument, YamlPath

SAMPLE_ROWS = 5
CHECKED_ROWS = 100_000
"""How many rows per mapping are read through it to see whether they can be used."""
REASONS_SHOWN = 3
NAIVE_LOOKED_AT = 100
"""Values per page in which a zone is looked for."""

_FAMILIES = {
    **dict.fromkeys(("integer", "decimal", "float"), "numbers"),
    **dict.fromkeys(("date", "datetime", "timestamp", "time"), "dates or times"),
    "text": "text",
    "boolean": "yes or no",
}
_ZONED = re.compile(r"(?:Z|UTC|[+-]\d\d:?\d\d)$")
_CLOCK = re.compile(r"\d:\d\d")


@dataclass
class _Mapped:
    """A mapping that fits its object."""

    entity: Entity
    mapping: Mapping
    info: ObjectInfo
    compiled: CompiledMapping
    untidy: UntidyFields = field(default_factory=UntidyFields)
    looked_at: int = 0


@dataclass
class Checker:
    """One check of one configuration."""

    config: Config
    systems: Systems
    findings: Findings = field(default_factory=Findings)
    locks: Sequence[WriteLock] = ()
    late: Late | None = None

    def __post_init__(self) -> None:
        self._document: YamlDocument = read_yaml(self.config.file)

    def run(self) -> Findings:
        """Look at every system and every mapping; one that fails harms no other."""
        self.findings.notes += self.config.notes
        self._check_channels()
        self._check_runbooks()
        for one in unusable(self.config):
            self._problem(("packages", one.packages, one.setting), one.error.message, one.error.hint)
        if self.late is not None:
            self._warn(("report",), self.late.what, self.late.remedy)
        for name in self.config.systems:
            self.findings.systems[name] = self._system(name)
        for entity in self.config.entities.values():
            fitting = []
            usable = 0
            for system in entity.precedence:
                if not self.findings.systems[system].reachable:
                    continue
                found, will_work = self._mapping(entity, system)
                usable += will_work
                if found is not None:
                    fitting.append(found)
            self._compare(entity, fitting, usable)
            self._delay(entity)
        for name, seen in self.findings.systems.items():
            if seen.reachable:
                self._watch(name)
                self._permissions(name)
        self._locks()
        self.findings.problems.sort(key=lambda problem: (problem.line, problem.path))
        self.findings.warnings.sort(key=lambda problem: (problem.line, problem.path))
        return self.findings

    def _check_channels(self) -> None:
        """Whether the addresses of alerts mean anything; nothing is sent."""
        for name, addresses in self.config.alerts.to.items():
            if unknown(addresses):
                hint = "see apprise's list of services for how an address is written; `trueup alerts test` sends a message"
                self._problem(("alerts", "to", name), f"no message can be sent to {name}: its address means nothing to apprise", hint)

    def _check_runbooks(self) -> None:
        """Which pages for people do not say any more what the configuration says."""
        folder = self.config.runbooks
        if folder is None:
            return
        try:
            found = stale(self.config, folder)
        except OSError as error:
            self._warn(("runbooks",), f"{folder} cannot be read: {error.strerror}", "name a folder that you may read")
            return
        for page in found:
            self._warn(("runbooks",), f"the runbook {page.name} is out of date: {page.why}", "`trueup runbook` writes it again")

    # -------------------------------------------------------------- where things stand

    def _problem(self, path: YamlPath, message: str, hint: str | None = None) -> None:
        self.findings.problems.append(self._document.problem(path, message, hint or ""))

    def _warn(self, path: YamlPath, message: str, hint: str = "") -> None:
        self.findings.warnings.append(self._document.problem(path, message, hint))

    def _note(self, path: YamlPath, message: str, hint: str = "") -> None:
        self.findings.notes.append(self._document.problem(path, message, hint))

    def _error(self, path: YamlPath, error: TrueupError) -> None:
        self._problem(path, error.message, error.hint)

    # -------------------------------------------------------------- systems

    def _system(self, name: str) -> SystemFinding:
        found = SystemFinding(self.config.systems[name].connector)
        try:
            connector = self.systems.connector(name)
            found.precondition = connector.caps.precondition
            found.objects = tuple(item.name for item in connector.discover())
        except TrueupError as error:
            found.reachable = self._all_unmade(name)
            if not found.reachable:
                found.error = error.message
                self._error(("systems", name), error)
        else:
            found.reachable = True
        writes = any(entity.mappings[name].writes for entity in self.config.entities.values() if name in entity.mappings)
        if found.reachable and writes and found.precondition != "native":
            what = (
                "reads a row again just before it writes" if found.precondition == "read_compare" else "cannot tell whether a row changed"
            )
            self._warn(("systems", name), f"{name} {what}: an edit made in that moment would be overwritten")
        return found

    def _locks(self) -> None:
        """Whether the locks that were made are there, and keep out what the configuration says now."""
        for one in look(self.config, self.systems, self.locks).findings if self.locks else ():
            if one.standing not in WELL and one.standing != "unknown":  # a system that does not answer is told by itself
                message, _, hint = remedy(one).partition(": ")
                self._warn(("systems", one.system), f"{one.place} {message}", hint)

    def _permissions(self, name: str) -> None:
        """What trueup may do less than it has to, and more; `trueup grants` tells all of it."""
        for message, hint in told_for_check(self.config, self.systems, name):
            self._warn(("systems", name), message, hint)

    def _watch(self, name: str) -> None:
        """How the changes of a system are noticed, where an entity is to be kept in agreement as they happen."""
        realtime = [
            entity
            for entity in self.config.entities.values()
            if name in entity.mappings and any(when.kind == "realtime" for when in entity.when)
        ]
        connector = self.systems.connector(name)
        if not realtime or self._all_unmade(name):
            return
        path: YamlPath = ("systems", name)
        if not connector.caps.watch:
            self._note(path, f"{name} tells no changes as they happen: it is looked at on the schedule of `when`")
            return
        try:
            way = cast("Watching", connector).way([entity.mappings[name].object for entity in realtime])
        except TrueupError as error:
            self._error((*path, "watch"), error)
            return
        if not way.pushes:
            self._warn(path, f"{name} is looked at on a schedule only: {way.why}")
            return
        self._note(path, f"the changes of {name} are noticed as they happen ({way.how}): {way.why}")
        for index, why in way.unwatched.items():
            self._warn(("entities", realtime[index].name, "mappings", name), f"not watched: {why}")

    def _delay(self, entity: Entity) -> None:
        """Whether the schedule can keep what `max_delay` tolerates."""
        tolerated = entity.max_delay_s
        if tolerated is None:
            return
        path, now = ("entities", entity.name, "max_delay"), datetime.now(UTC)
        words = f"{entity.name} tolerates a delay of {duration(tolerated)}"
        wait_s = None if is_realtime(entity) else longest_wait_s(entity.when, now)
        if not entity.when:
            self._warn(path, f"{words}, and nothing runs it by itself", "say `when`, for example when: [realtime], and run `trueup serve`")
        elif wait_s is not None and wait_s > tolerated:
            self._warn(path, f"{words}, and its `when` lets it wait for up to {duration(wait_s)}", "run it more often, or tolerate more")
        for name in entity.precedence:
            rest_s = longest_rest_s(self.config.systems[name], now)
            if rest_s > tolerated:
                self._warn(path, f"{words}, and {name} is left alone for up to {duration(rest_s)} by its `limits`", "tolerate more")

    def _all_unmade(self, system: str) -> bool:
        """Whether nothing of a system is there yet, and the first sync may make all of it."""
        mappings = [entity.mappings[system] for entity in self.config.entities.values() if system in entity.mappings]
        try:
            return bool(mappings) and all(self.systems.is_unmade(mapping) for mapping in mappings)
        except TrueupError:
            return False

    # -------------------------------------------------------------- one mapping

    def _mapping(self, entity: Entity, system: str) -> tuple[_Mapped | None, bool]:
        """The mapping if it fits, and whether a sync can use it (it may still have to make the object)."""
        mapping = entity.mappings[system]
        path: YamlPath = ("entities", entity.name, "mappings", system)
        try:
            if self.systems.is_unmade(mapping):
                pushes = self.systems.connector(system).caps.kind == "push"
                said = f"{system} has sent nothing yet" if pushes else f"{mapping.object.label} is not there yet: the first sync makes it"
                self._note(path, said)
                return None, True
            connector = self.systems.connector(system)
            info = connector.describe(mapping.object)
        except ObjectMissingError as error:
            self._error((*path, "object"), error)
            return None, False
        except TrueupError as error:
            self._error(path, error)
            return None, False
        try:
            compiled = compile_mapping(entity, self.config.systems[system], mapping, info)
        except MappingError as error:
            for text in error.problems:
                self._mapping_problem(path, text)
            return None, False
        found = _Mapped(entity, mapping, info, compiled)
        self._times(found)
        self._required_columns(found)
        try:
            self._rows(found, connector)
        except TrueupError as error:
            self._error(path, error)
            return None, False
        return found, True

    def _mapping_problem(self, path: YamlPath, text: str) -> None:
        """A problem of the compiler, `fields.name.read: what is wrong`, at its line."""
        place, colon, message = text.partition(": ")
        if not colon or " " in place:
            self._problem(path, text)
            return
        self._problem((*path, *place.split(".")), message)

    def _times(self, found: _Mapped) -> None:
        """Times without a zone, where nobody said which zone they are in."""
        system = self.config.systems[found.mapping.system]
        if system.timezone is not None:
            return
        naive = [name for name in found.compiled.read_columns if found.info.columns[name].type == "timestamp"]
        if naive:
            self._naive(system.name, found, naive)

    def _naive(self, system: str, found: _Mapped, columns: Sequence[str]) -> None:
        self._warn(
            ("systems", system),
            f"{found.info.name}: {', '.join(columns)} {'hold' if len(columns) > 1 else 'holds'} times without a zone, taken as UTC",
            "say `timezone: Europe/London` (or whatever is right) for this system",
        )

    def _required_columns(self, found: _Mapped) -> None:
        """Columns that a new row must have and nobody fills."""
        mapping, info = found.mapping, found.info
        if not mapping.writes:
            return
        path: YamlPath = ("entities", found.entity.name, "mappings", mapping.system)
        filled = {column for writer in found.compiled.writers for column in writer.columns} | set(mapping.set)
        if mapping.object.assign != "system" or info.assigns_key:
            filled |= set(mapping.object.key)
        left = [
            name
            for name, column in info.columns.items()
            if not column.nullable and not column.has_default and column.writable and name not in filled
        ]
        keys = [name for name in left if name in mapping.object.key]
        if keys:
            self._warn((*path, "key"), f"{info.name} does not number new rows by itself, and nothing gives them a {', '.join(keys)}",
                       "say who does: key: {column: …, assign: sequence}, uuid, or a field's name")  # fmt: skip
        others = [name for name in left if name not in mapping.object.key]
        if others:
            self._warn(path, f"new rows in {info.name} need {', '.join(others)}, neither mapped nor set: {mapping.system} will refuse them",
                       f"map it, or give a constant: set: {{{others[0]}: …}}")  # fmt: skip

    # -------------------------------------------------------------- rows

    def _rows(self, found: _Mapped, connector: Connector) -> None:
        """Read rows through the mapping: show some, and say what cannot be used."""
        entity, compiled = found.entity, found.compiled
        shown = tuple(compiled.readable)
        sample = Sample(entity.name, found.mapping.system, found.mapping.object.label, shown)
        self.findings.samples.append(sample)
        reasons: dict[str, tuple[int, str, str]] = {}
        clocks: set[str] = set()
        texts = [name for name in shown if entity.fields[name].type == "text"]
        for page in connector.read(found.mapping.object, compiled.read_columns):
            sample.read += page.rows.height + len(page.rejected)
            sample.whole = page.complete
            for reject in page.rejected:
                _count(reasons, _reason(reject), reject.key or reject.where)
            sample.rejected += len(page.rejected)
            part = compiled.takes_part(page.rows)
            sample.outside += page.rows.height - int(part.sum())
            rows = page.rows.filter(part)
            mapped = compiled.to_cells(rows)
            sample.rejected += mapped.rejected[KEY].n_unique()
            found.untidy.look(mapped.rows, texts)
            found.looked_at += mapped.rows.height
            for key, name, reason in mapped.rejected.select(KEY, "field", "reason").rows():
                _count(reasons, reason if not name or reason.startswith(f"{name}: ") else f"{name}: {reason}", key)
            clocks |= set(_naive_texts(found, rows))
            for row in mapped.rows.head(SAMPLE_ROWS - len(sample.rows)).iter_rows(named=True):
                values = tuple(cell_to_python(row[name], entity.fields[name]) for name in shown)
                sample.rows.append((row[KEY], values))
            if sample.read >= CHECKED_ROWS:
                break
        if clocks and self.config.systems[found.mapping.system].timezone is None:
            self._naive(found.mapping.system, found, sorted(clocks))
        path: YamlPath = ("entities", entity.name, "mappings", found.mapping.system)
        for count, reason, example in sorted(reasons.values(), key=lambda item: -item[0])[:REASONS_SHOWN]:
            rows_word = "1 row" if count == 1 else f"{count:,} rows"
            self._warn(path, f"{rows_word} cannot be used: {reason}", f"for example {example}" if example else "")
        if len(reasons) > REASONS_SHOWN:
            self._warn(
                path, f"{len(reasons) - REASONS_SHOWN} further reasons why rows cannot be used", "after a sync, `trueup failures` lists all"
            )

    # -------------------------------------------------------------- across systems

    def _compare(self, entity: Entity, fitting: Sequence[_Mapped], usable: int) -> None:
        path: YamlPath = ("entities", entity.name)
        if usable < 2:
            self._problem(
                path,
                f"{entity.name} needs two systems that can be used, and has {usable}",
                "mend the problems above, or map another system",
            )
        elif not any(mapping.writes for mapping in entity.mappings.values()):
            self._problem(path, f"{entity.name} has no system that may be written", "give one of them direction: both or write")
        written = [item for item in fitting if item.mapping.writes]
        unruled: list[str] = []
        for name, definition in entity.fields.items():
            writers = [item for item in written if name in item.compiled.writable]
            said = _configured(self._document, ("entities", entity.name, "fields", name))
            if len(writers) >= 2 and definition.source_of_truth is None and "conflict" not in said:
                unruled.append(name)
            self._spread(path, name, fitting, writers)
            self._lengths(path, name, [item for item in fitting if name in item.compiled.readable], writers)
            self._types(path, name, definition.type, fitting)
        if unruled:
            self._note(
                (*path, "fields", unruled[0]),
                f"nothing says who wins where {', '.join(unruled)} is edited in two systems at once: such edits wait for a person",
                "say source_of_truth or conflict, or leave it so",
            )

    def _spread(self, path: YamlPath, name: str, fitting: Sequence[_Mapped], writers: Sequence[_Mapped]) -> None:
        """Untidy values of a field that a sync would copy to other systems."""
        owner = next((item.entity.fields[name].source_of_truth for item in fitting), None)
        for item in fitting:
            here = item.mapping.system
            dirty = item.untidy.found.get(name)
            to = [other.mapping.system for other in writers if other is not item]
            if dirty is None or not to or owner not in {None, here}:
                continue
            rows = f"{dirty.rows:,} of {item.looked_at:,} rows"
            cleaned = bool(item.entity.fields[name].clean)
            advice = f"add {dirty.steps} to its clean" if cleaned else f"clean: [{dirty.steps}]"
            advice = advice if dirty.steps else "mend them where they come from"
            self._note(
                (*path, "mappings", here, "fields", name),
                f"{name} is untidy in {rows} of {here}, and would be copied so to {', '.join(to)}: {dirty.said}",
                f"{advice}; `trueup profile {item.entity.name}` shows more",
            )

    def _lengths(self, path: YamlPath, name: str, readers: Sequence[_Mapped], writers: Sequence[_Mapped]) -> None:
        """A column that cannot hold what another system's column can."""
        room = {item.mapping.system: length for item in readers if (length := _length(item, name)) is not None}
        for item in writers:
            mine = _length(item, name)
            here = item.mapping.system
            longer = [system for system, length in room.items() if mine is not None and system != here and length > mine]
            if longer:
                self._note(
                    (*path, "mappings", here, "fields", name),
                    f"{name} has room for {mine} characters in {here}, for {room[longer[0]]} in {longer[0]}: longer ones fail",
                )

    def _types(self, path: YamlPath, name: str, wanted: str, fitting: Sequence[_Mapped]) -> None:
        """Typed columns of another kind than the field, as a number kept in a text column of a database."""
        for item in fitting:
            mapped = item.mapping.fields.get(name)
            if mapped is None or mapped.column is None or mapped.values or item.info.kind in {"file", "sheet"}:
                continue
            column = item.info.columns[mapped.column]
            family, expected = _FAMILIES.get(column.type), _FAMILIES.get(wanted)
            if family is not None and expected is not None and family != expected:
                self._note(
                    (*path, "mappings", item.mapping.system, "fields", name),
                    f"{name} is {wanted}, and the column {mapped.column} holds {family} ({column.native_type or column.type}):"
                    " values that do not fit are rejected one by one",
                )


def _length(item: _Mapped, name: str) -> int | None:
    column = item.mapping.fields[name].column
    return item.info.columns[column].max_length if column is not None and column in item.info.columns else None


def _configured(document: YamlDocument, path: YamlPath) -> Any:
    """What the file says at a path; an empty mapping where it says nothing."""
    found: Any = document.data
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _naive_texts(found: _Mapped, rows: pl.DataFrame) -> Iterator[str]:
    """Text columns read as points in time of which some value has a clock and names no zone."""
    times = {mapped.column for name, mapped in found.mapping.fields.items() if found.entity.fields[name].type == "datetime"}
    for column in rows.columns:
        if column not in times | {found.compiled.modified} or rows[column].dtype != pl.String:
            continue
        values = rows[column].drop_nulls().head(NAIVE_LOOKED_AT).to_list()
        if any(_CLOCK.search(value) and not _ZONED.search(value.strip()) for value in values):
            yield column


def _reason(reject: Reject) -> str:
    return f"{reject.column}: {reject.reason}" if reject.column and reject.column not in reject.reason else reject.reason


def _count(reasons: dict[str, tuple[int, str, str]], reason: str, example: str) -> None:
    """Count a reason by its words without the values in it, so that a thousand bad numbers are one reason; the first one is shown."""
    shape = _shape(reason)
    count, first, where = reasons.get(shape, (0, reason, example))
    reasons[shape] = (count + 1, first, where)


def _shape(reason: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", reason)


def check(config: Config, systems: Systems, locks: Sequence[WriteLock] = (), late: Late | None = None) -> Findings:
    """Compare a configuration with its systems. Raises nothing for what is wrong: that is found.

    `locks` are those that the state knows, `late` is a report that was due and is not with everybody.
    """
    return Checker(config, systems, locks=locks, late=late).run()
