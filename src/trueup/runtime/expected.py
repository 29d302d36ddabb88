"""Where a value went that somebody expected in a field: from the record's history, its open conflict, its rows, and what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import cell_from_python, cell_to_python
from trueup.core.merge import APART
from trueup.core.resolve import settled_cell
from trueup.core.undo import SETTING
from trueup.reports.record_facts import Expected, Found
from trueup.reports.story_words import STATE_WORDS, conflict_sentences, event_sentence, quoted, step_sentences, when
from trueup.runtime.reasons import Reasons
from trueup.store import cursor, hold, shadow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.model import Config, Entity, Field
    from trueup.reports.record_facts import FieldStory, RecordView
    from trueup.store import Db


def look_for(db: Db, config: Config, entity: Entity, view: RecordView, story: FieldStory, text: str) -> Expected:
    """Where `text`, as a person writes a value of the story's field, turned up; and where it may be although nobody has seen it."""
    keys = {name: view.systems[name].key if name in view.systems else None for name in entity.precedence}
    search = _Search(db, config, entity, view, story, Reasons(db, config, entity, view.id, view, keys))
    return search.result(text)


class _Search:
    """One search. Values are compared as cells: cleaned, and in the one form that they are kept in."""

    def __init__(self, db: Db, config: Config, entity: Entity, view: RecordView, story: FieldStory, reasons: Reasons) -> None:
        self._db = db
        self._config = config
        self._entity = entity
        self._view = view
        self._story = story
        self._reasons = reasons
        self._field: Field = entity.fields[story.field]

    def result(self, text: str) -> Expected:
        """Everything that is known."""
        cell, said = self._read(text)
        if cell is None:
            return Expected(text, [], [*said, *self._unseen()])
        expected = Expected(cell_to_python(cell, self._field), [*self._agreed(cell), *self._said(cell), *self._asked(cell)])
        expected.sentences = [*said, *(item.why for item in expected.found)]
        if not expected.found:
            shown = quoted(expected.value)
            since = f" since {self._view.compacted[:10]}, before which the history was compacted" if self._view.compacted else ""
            expected.sentences.append(f"No system was seen to say {shown} for {self._field.name} of this record{since}.")
            expected.sentences += self._unseen()
        return expected

    def _read(self, text: str) -> tuple[str | None, list[str]]:
        """The cell of what was typed (None: no value of this field), and what is to be said about that."""
        name = self._field.name
        for system, mapping in self._entity.mappings.items():
            shown = mapping.fields.get(name)
            for canonical, native in shown.values.items() if shown is not None else ():
                if str(native) == text and canonical != text:
                    return settled_cell(canonical, self._entity, name), [f"{system} writes {quoted(canonical)} as {quoted(text)}."]
        if self._field.type == "reference" and not text.isdigit():
            return self._referred(text)
        try:
            cell = settled_cell(text, self._entity, name)
        except ValueError as error:
            return None, [f"{quoted(text)} cannot be a value of {name}: {error}. A row that says so is left as it is, with that reason."]
        value = cell_to_python(cell, self._field)
        cleaned = self._field.type == "text" and value != text
        return cell, [f"Cleaned as the configuration says, {quoted(text)} is {quoted(value)}."] if cleaned else []

    def _referred(self, text: str) -> tuple[str | None, list[str]]:
        system, colon, key = text.partition(":")
        target = self._field.entity or ""
        if colon and system in self._entity.mappings:
            rows = shadow.by_key(self._db, target, system, pl.Series([key], dtype=pl.String))
            if not rows.is_empty() and rows["gid"][0] is not None:
                return str(rows["gid"][0]), [f"{text} is {target} {rows['gid'][0]}."]
            return None, [f"No {target} is linked to {key!r} in {system}: a reference to it waits until it is."]
        return None, [f"A reference is given as the number of the {target}, or as SYSTEM:KEY."]

    def _same(self, value: Any, cell: str) -> bool:
        """Whether a value of the history or of a row is this one."""
        return value is not None and cell_from_python(value, self._field) == cell

    # -------------------------------------------------------------- where it is

    def _agreed(self, cell: str) -> Iterator[Found]:
        """What is agreed now, and who holds it."""
        name, story = self._field.name, self._story
        if story.origin is not None and self._same(story.value, cell):
            told = list(story.waiting)
            rest = f", and waits to be told to {', '.join(told)} (see above)" if told else ""
            yield Found("agreed", story.origin.system, story.origin.at, None, f"{quoted(story.value)} is what is agreed now{rest}.")
            return
        for system, value in story.elsewhere.items():
            if self._same(value, cell):
                row = self._view.systems[system]
                why = f"{system}:{row.key} holds {quoted(value)}"
                yield Found("held by", system, None, None, f"{why}; what becomes of it is told above.")
        last = story.last
        if last is None or last.after is None or not self._same(last.after, cell):
            return
        yield Found(
            "earlier", last.system, last.at, last.run, f"{quoted(last.after)} was agreed{when(last.at)}; then a mapping of {name} changed."
        )

    def _said(self, cell: str) -> Iterator[Found]:
        """Everything that the history tells of it, oldest first."""
        chain = self._story.chain
        setting = [event for event in chain if event.kind in SETTING]
        if setting and self._same(setting[0].before, cell) and not any(self._same(event.after, cell) for event in setting):
            born = self._view.born
            began = f"with the record, first seen in {born.system}{when(born.at)}," if born and born.system else ""
            next_ = event_sentence(self._view, setting[0], self._field.source_of_truth)
            words = f"{quoted(setting[0].before)} came {began} and stood until this: {next_}".replace("came  and", "came first and")
            yield Found("earlier", born.system if born else None, born.at if born else None, None, words)
        for number, event in enumerate(chain):
            if event.kind == APART and self._same(event.before, cell):
                yield Found("earlier", event.system, event.at, event.run, event_sentence(self._view, event))
            if not self._same(event.after, cell):
                continue
            words = event_sentence(self._view, event, self._field.source_of_truth)
            if event.kind not in SETTING:
                what = event.kind if event.kind in {"lost", "overruled", "candidate"} else "earlier"
                yield Found(what, event.system, event.at, event.run, words)  # type: ignore[arg-type]
                continue
            later = next((other for other in chain[number + 1 :] if other.kind in SETTING), None)
            if later is not None:
                words += f" It stood until this: {event_sentence(self._view, later, self._field.source_of_truth)}"
                yield Found("earlier", event.system, event.at, event.run, words)

    def _asked(self, cell: str) -> Iterator[Found]:
        """What a person is asked about."""
        asked = self._story.conflict
        if asked is None:
            return
        for item in asked.candidates:
            if item.system is not None and self._same(item.value, cell):
                yield Found("asked", item.system, item.at, None, " ".join(conflict_sentences(asked)))

    # -------------------------------------------------------------- where it may be

    def _unseen(self) -> Iterator[str]:
        """Why a system may say something that nobody has seen."""
        for system in self._entity.precedence:
            yield from self._unseen_in(system)
        yield f"`trueup sync --record {self._entity.name} {self._view.id}` reads the record's rows now."

    def _unseen_in(self, system: str) -> Iterator[str]:
        entity, name = self._entity, self._field.name
        if name not in entity.shown(system):
            yield f"{system}: {name} is not read from it."
            return
        item = self._view.systems.get(system)
        for row in self._reasons.failures:
            if row["system"] == system and row["stage"] in {"read", "map"}:
                yield f"{system}: the row {row['key']} cannot be read: {row['reason']}. What it says is taken once it is mended."
        for row in hold.of(self._db, entity.name, system, decided=False).iter_rows(named=True):
            count = orjson.loads(row["counts"])["count"]
            held = f"{system}: a guard holds {count:,} {row['kind']} since {row['since']:%Y-%m-%d at %H:%M:%S}Z"
            yield f"{held}, and the value may be among them: `trueup holds` (hold {row['id']})."
        if item is None or item.key is None:
            reason = next((waiting.reason for waiting in item.waiting), None) if item is not None else None
            more = f": it {reason.why}" if reason is not None and not reason.why.startswith("waits for the next") else ""
            yield f"{system}: the record has no row there{more}."
            if reason is not None:
                yield from step_sentences(reason)
            return
        if item.state in STATE_WORDS and item.state != "unreadable":
            yield f"{system}: the row {item.key} {STATE_WORDS[item.state]}: its edits are not taken."
        last = self._reasons.last_run(system)
        if last is not None and last.error is not None:
            yield f"{system}: it was left out of run {last.number}: {last.error}"
        at = cursor.get(self._db, entity.name, system).full_at
        seen = item.holds.get(name)
        told = f"it showed {quoted(seen)}" if name in item.holds else "it showed nothing there"
        yield f"{system}: when its row {item.key} was last read, {told}" + (f"; all of it was read{when(at)}." if at else ".")
